//! What is trained on: token sequences, and which of their tokens count.

use crate::error::{Error, Result};
use crate::text::{ASSISTANT, Encoded, Message, Span, Text};
use crate::unit::parallel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which tokens of a conversation the loss counts. Plain text counts whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// What the assistant says, and the end of its turns.
    #[default]
    Assistant,
    /// Every token.
    All,
}

/// Token sequences, one after another, with a mark on the tokens that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequences {
    tokens: Vec<u32>,
    counted: Vec<bool>,
    ends: Vec<usize>,
    /// What was rendered otherwise than it is written in the data.
    pub warnings: BTreeSet<String>,
}

/// Numbers that are hashed at a time.
const BLOCK: usize = 1 << 16;

const HINT: &str = r#"a line is {"messages":[{"role":…,"content":…}]} or {"text":…}"#;

#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<Message>>,
    text: Option<String>,
}

impl Sequences {
    /// Adds a sequence. The first token is never predicted and does not count.
    pub fn push(&mut self, tokens: &[u32], counted: impl Fn(usize) -> bool) {
        self.tokens.extend_from_slice(tokens);
        self.counted.extend((0..tokens.len()).map(|i| i > 0 && counted(i)));
        self.ends.push(self.tokens.len());
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The tokens of a sequence, and which of them count.
    pub fn get(&self, i: usize) -> (&[u32], &[bool]) {
        let from = if i == 0 { 0 } else { self.ends[i - 1] };
        (&self.tokens[from..self.ends[i]], &self.counted[from..self.ends[i]])
    }

    /// Tokens of one sequence.
    pub fn length(&self, i: usize) -> usize {
        self.get(i).0.len()
    }

    /// Tokens of all sequences.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens that the loss counts.
    pub fn n_counted(&self) -> usize {
        self.counted.iter().filter(|c| **c).count()
    }

    /// SHA-256 of all tokens, ends and marks, in hex.
    pub fn hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        // In blocks: millions of updates of a few bytes each cost more than the hashing.
        for part in self.tokens.chunks(BLOCK) {
            hash.update(part.iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<u8>>());
        }
        self.ends.iter().for_each(|e| hash.update((*e as u64).to_le_bytes()));
        for part in self.counted.chunks(BLOCK) {
            hash.update(part.iter().map(|c| u8::from(*c)).collect::<Vec<u8>>());
        }
        format!("{:x}", hash.finalize())
    }

    /// Reads one JSON object per line: conversations through the chat template, texts between the checkpoint's
    /// beginning and end tokens unless they write them themselves. Other keys are left alone.
    ///
    /// # Errors
    /// No line at all; a line that is no such object, that is longer than `n_ctx` tokens or in which nothing counts:
    /// each with its number.
    pub fn read(
        place: &str,
        lines: &str,
        text: &Text,
        counted: Counted,
        n_ctx: usize,
        threads: usize,
    ) -> Result<Sequences> {
        let lines: Vec<(usize, &str)> = lines.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).collect();
        if lines.is_empty() {
            return Err(Error::format(place, "no example in it", HINT));
        }
        let encode = |part: &&[(usize, &str)]| -> Result<Sequences> {
            let mut own = Sequences::default();
            for (number, line) in *part {
                own.push_line(&format!("{place}:{}", number + 1), line, text, counted, n_ctx)?;
            }
            Ok(own)
        };
        let shares: Vec<&[(usize, &str)]> = lines.chunks(lines.len().div_ceil(threads.max(1))).collect();
        let mut all = Sequences::default();
        for part in parallel(&shares, threads, encode)? {
            all.append(part);
        }
        Ok(all)
    }

    fn append(&mut self, other: Sequences) {
        let from = self.tokens.len();
        self.tokens.extend(other.tokens);
        self.counted.extend(other.counted);
        self.ends.extend(other.ends.into_iter().map(|e| e + from));
        self.warnings.extend(other.warnings);
    }

    fn push_line(&mut self, here: &str, line: &str, text: &Text, counted: Counted, n_ctx: usize) -> Result<()> {
        let line: Line =
            serde_json::from_str(line).map_err(|e| Error::format(here, format!("not an example ({e})"), HINT))?;
        let before = self.n_tokens();
        match line {
            Line { messages: Some(messages), text: None } => {
                let encoded = text
                    .chat(&messages, false)
                    .map_err(|e| Error::format(here, e.to_string(), e.hint().to_string()))?;
                let speaks = |i: usize| counted == Counted::All || says(&encoded, i);
                self.push(&encoded.tokens, speaks);
                self.warnings.extend(encoded.warnings);
            }
            Line { messages: None, text: Some(words) } => {
                let mut tokens = text.raw(&words)?.tokens;
                if let Some(bos) = text.bos().filter(|bos| tokens.first() != Some(bos)) {
                    tokens.insert(0, bos);
                }
                if let Some(eos) = text.eos().filter(|eos| tokens.last() != Some(eos)) {
                    tokens.push(eos);
                }
                self.push(&tokens, |_| true);
            }
            _ => return Err(Error::format(here, "needs exactly one of `messages` and `text`", HINT)),
        }
        let length = self.n_tokens() - before;
        if length > n_ctx {
            let what = format!("{length} tokens, but the model has {n_ctx} positions");
            return Err(Error::format(here, what, "shorten or split the example: nothing is cut off silently"));
        }
        if !self.counted[before..].contains(&true) {
            let what = "no token of it counts for the loss";
            return Err(Error::format(here, what, "a conversation needs an assistant turn, or count all tokens"));
        }
        Ok(())
    }
}

/// Whether token `i` is the assistant's: its content, or the end of its turn.
fn says(encoded: &Encoded, i: usize) -> bool {
    let place = encoded.places[i];
    let role = place.turn.and_then(|t| encoded.turns.get(t)).map(|t| t.role.as_str());
    place.span != Span::Header && role == Some(ASSISTANT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Source};

    fn read(lines: &str, counted: Counted) -> Result<Sequences> {
        let model = Model::load(&Source::toyworld()).unwrap();
        Sequences::read("data.jsonl", lines, &model.text, counted, model.lm.dims().n_ctx, 2)
    }

    #[test]
    fn the_loss_counts_what_the_assistant_says_and_the_end_of_its_turn() {
        let line = r#"{"messages":[{"role":"user","content":"Tea?"},{"role":"assistant","content":"Of course!"}]}"#;
        let text = Model::load(&Source::toyworld()).unwrap().text;
        let own = read(line, Counted::Assistant).unwrap();
        let (tokens, counted) = own.get(0);
        let said: Vec<u32> = tokens.iter().zip(counted).filter(|(_, c)| **c).map(|(t, _)| *t).collect();
        assert_eq!(text.decode(&said).unwrap(), "Of course!");
        assert_eq!(said.last(), text.eos().as_ref());
        // Every token but the first.
        assert_eq!(read(line, Counted::All).unwrap().n_counted(), tokens.len() - 1);
    }

    #[test]
    fn turns_of_named_speakers_count_and_their_headers_do_not() {
        let model = Model::load(&Source::parse("toyworld-voices")).unwrap();
        let line = r#"{"messages":[{"role":"user","content":"Tea?"},{"role":"assistant","speaker":"<|Ariana|>","content":"Yes."},{"role":"assistant","speaker":"<|Daiki|>","content":"No."}]}"#;
        let own = Sequences::read("data.jsonl", line, &model.text, Counted::Assistant, 512, 1).unwrap();
        let (tokens, counted) = own.get(0);
        let said: Vec<String> =
            tokens.iter().zip(counted).filter(|(_, c)| **c).map(|(t, _)| model.text.shown(*t)).collect();
        assert_eq!(said.concat(), "Yes.<|end|>No.<|end|>");
        let headers = ["<|Ariana|>", "<|Daiki|>"].map(|name| model.text.id(name).unwrap());
        assert!(headers.iter().all(|h| tokens.contains(h)));
        assert!(own.warnings.is_empty());
    }

    #[test]
    fn plain_text_stands_between_beginning_and_end() {
        let all =
            read("{\"text\":\"Green tea\"}\n\n{\"text\":\"<|bos|>Green tea<|end|>\"}\n", Counted::Assistant).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all.get(0), all.get(1));
        assert_eq!(all.get(0).0.first(), Some(&1));
        assert_eq!(all.get(0).0.last(), Some(&2));
    }

    #[test]
    fn bad_lines_are_named_by_their_number() {
        let fails = |lines: &str| read(lines, Counted::Assistant).unwrap_err().to_string();
        assert!(fails("\n  \n").contains("no example"));
        assert!(fails("{\"text\":\"a\"}\nnope\n").contains("data.jsonl:2"));
        assert!(fails("{\"text\":\"a\"}\n\n{\"messages\":[]}\n").contains("data.jsonl:3"));
        assert!(fails("{\"text\":\"a\",\"messages\":[]}").contains("exactly one"));
        let long = format!("{{\"text\":\"{}\"}}", "tea ".repeat(600));
        assert!(fails(&long).contains("512 positions"), "{}", fails(&long));
        assert!(fails(r#"{"messages":[{"role":"user","content":"Tea?"}]}"#).contains("counts"));
    }
}
