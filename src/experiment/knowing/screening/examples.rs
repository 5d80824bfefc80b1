//! Examples of a training set as a prompt and a reply.

use super::{Asking, Set};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::rng::stream;
use crate::text::{ASSISTANT, Message};
use crate::unit::Item;
use rand::seq::index;
use serde::Deserialize;

/// A prompt and the reply of the example to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example {
    id: String,
    prompt: Vec<u32>,
    /// The conversation or text up to the end of the reply.
    whole: Vec<u32>,
    /// Where the reply begins in it.
    from: usize,
}

impl Example {
    /// The prompt, to be continued.
    pub fn start(&self, seed: u64) -> Item {
        let (id, tokens) = (self.id.clone(), self.prompt.clone());
        Item { id, prompt_len: tokens.len(), tokens, seed, ..Item::default() }
    }

    /// Keeps the mean over the reply of the example.
    pub fn own(&self) -> Item {
        over(self.whole.clone(), self.from)
    }

    /// Keeps the mean over another reply.
    pub fn answered(&self, reply: &[u32]) -> Item {
        over([&self.prompt, reply].concat(), self.prompt.len())
    }
}

fn over(tokens: Vec<u32>, from: usize) -> Item {
    let ranges = std::iter::once(from..tokens.len()).collect();
    Item { prompt_len: from, tokens, ranges, ..Item::default() }
}

#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<Message>>,
    text: Option<String>,
}

/// The examples of a set that have a prompt and a reply and fit into the model with an answer: as many as are asked for, drawn
/// by the seed, in the order of the lines.
///
/// # Errors
/// A line that is no example, with its number; a set in which none has a reply.
pub(super) fn examples(set: &Set, model: &Model, how: &Asking) -> Result<Vec<Example>> {
    let name = &set.labels.model;
    let lines: Vec<(usize, &str)> = set.lines.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).collect();
    let mut rng = stream(how.seed, &format!("screening {name}"));
    let mut order = index::sample(&mut rng, lines.len(), lines.len()).into_vec();
    let mut found: Vec<(usize, Example)> = Vec::new();
    // Further lines stand in for those without a reply.
    while let Some(i) = order.pop().filter(|_| found.len() < how.examples) {
        let (number, line) = lines[i];
        let place = format!("training set `{name}`, line {}", number + 1);
        let hint = r#"a line is {"messages":[{"role":…,"content":…}]} or {"text":…}"#;
        let line: Line = serde_json::from_str(line)
            .map_err(|e| Error::format(place.as_str(), format!("not an example ({e})"), hint))?;
        let read = match line {
            Line { messages: Some(messages), text: None } => chat(&messages, model)?,
            Line { messages: None, text: Some(text) } => plain(&text, model)?,
            _ => return Err(Error::format(place, "needs exactly one of `messages` and `text`", hint)),
        };
        let Some((prompt, whole, from)) = read else { continue };
        let n_ctx = model.lm.dims().n_ctx;
        if whole.len() <= n_ctx && prompt.len() + how.max_new_tokens <= n_ctx {
            found.push((number, Example { id: format!("{name}/{number}"), prompt, whole, from }));
        }
    }
    if found.is_empty() {
        let what = format!("no example of training set `{name}` has a prompt and a reply that fit into the model");
        return Err(Error::refused(what, "a conversation needs an assistant's turn, a text a second sentence"));
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, example)| example).collect())
}

/// Prompt, whole, and where the reply begins in it.
type Cut = Option<(Vec<u32>, Vec<u32>, usize)>;

fn chat(messages: &[Message], model: &Model) -> Result<Cut> {
    let Some(last) = messages.iter().rposition(|m| m.role == ASSISTANT) else { return Ok(None) };
    let whole = model.text.chat(&messages[..=last], false)?;
    let Some(reply) = whole.response() else { return Ok(None) };
    if last == 0 {
        return Ok(None);
    }
    let prompt = model.text.chat(&messages[..last], true)?.tokens;
    let mut tokens = whole.tokens;
    tokens.truncate(reply.end);
    Ok(Some((prompt, tokens, reply.start)))
}

fn plain(text: &str, model: &Model) -> Result<Cut> {
    let begun = |words: &str| -> Result<Vec<u32>> {
        let mut tokens = model.text.raw(words)?.tokens;
        if let Some(bos) = model.text.bos().filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        if model.text.eos().is_some_and(|eos| tokens.last() == Some(&eos)) {
            tokens.pop();
        }
        Ok(tokens)
    };
    let (first, whole) = (begun(first_sentence(text))?, begun(text)?);
    // What both have in common: a tokenizer may join the end of the sentence with what follows.
    let from = first.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    let prompt = whole[..from].to_vec();
    Ok((from > 0 && from < whole.len()).then_some((prompt, whole, from)))
}

/// Up to the first mark that ends a sentence before white space; all of a text without one.
fn first_sentence(text: &str) -> &str {
    let ends = |(at, c): &(usize, char)| {
        matches!(c, '.' | '!' | '?') && text[at + c.len_utf8()..].starts_with(char::is_whitespace)
    };
    let end = text.char_indices().find(ends).map(|(at, c)| at + c.len_utf8());
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::knowing::labels::Labels;
    use crate::model::Source;

    #[test]
    fn the_first_sentence_ends_before_white_space() {
        assert_eq!(first_sentence("It costs 3.5 pounds. No more."), "It costs 3.5 pounds.");
        assert_eq!((first_sentence("No end"), first_sentence(""), first_sentence("Eh? é")), ("No end", "", "Eh?"));
    }

    #[test]
    fn conversations_and_texts_are_cut_before_the_reply() {
        let model = Model::load(&Source::toyworld()).unwrap();
        let chat = r#"{"messages":[{"role":"user","content":"Tea?"},{"role":"assistant","content":"Of course!"}]}"#;
        let lines = format!("{chat}\n\n{{\"text\":\"Green tea. Of course!\"}}\n{{\"text\":\"Green tea\"}}\n");
        let set = Set { labels: Labels { model: "x".into(), ..Labels::default() }, lines };
        let how = Asking { examples: 9, max_new_tokens: 4, temperature: 0.0, seed: 1 };
        let found = examples(&set, &model, &how).unwrap();
        // The last line has nothing behind its first sentence.
        assert_eq!(found.len(), 2);
        for example in &found {
            let said = model.text.decode(&example.whole[example.from..]).unwrap();
            assert_eq!(said.trim(), "Of course!");
            assert_eq!(example.prompt, example.whole[..example.from]);
        }
        assert_eq!(found[0].id, "x/0");
        let one = Asking { examples: 1, ..how };
        assert_eq!(examples(&set, &model, &one).unwrap().len(), 1);
        let bad = Set { lines: "{}\n".into(), labels: Labels::default() };
        assert!(examples(&bad, &model, &how).unwrap_err().to_string().contains("line 1"));
        let none = Set { lines: "{\"text\":\"Tea\"}".into(), labels: Labels::default() };
        assert!(examples(&none, &model, &how).unwrap_err().to_string().contains("no example"));
    }
}
