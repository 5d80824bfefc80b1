//! Persona files of others, as lines of a prompt file.
//!
//! Every line has its contrast in columns: `persona` or `trait`, `polarity` (`pos`, `neg`), and `group`, which is the same
//! for lines that must not be parted when rows are split: those that ask the same thing.

mod instructions;
mod pairs;
mod questions;
mod statements;

pub use instructions::{Instructions, Preface};
pub use pairs::{Placed, pairs};
pub use questions::{Question, Questions};
pub use statements::{Statements, statements};

use super::{Card, system};
use crate::error::{Error, Result};
use crate::text::Message;
use serde_json::{Map, Value, json};

/// One line of a prompt file.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub id: String,
    pub says: Says,
    /// In the order in which they stand in the line.
    pub columns: Vec<(&'static str, Value)>,
}

/// What a line puts to the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    Messages(Vec<Message>),
    Text(String),
}

impl Ask {
    /// The line, without its end.
    pub fn to_json(&self) -> String {
        let mut line = Map::new();
        line.insert("id".into(), self.id.as_str().into());
        match &self.says {
            Says::Messages(messages) => line.insert("messages".into(), json!(messages)),
            Says::Text(text) => line.insert("text".into(), text.as_str().into()),
        };
        line.extend(self.columns.iter().map(|(key, value)| (key.to_string(), value.clone())));
        Value::Object(line).to_string()
    }
}

/// What a file gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    pub asks: Vec<Ask>,
    /// True things about the file that whoever uses it should know.
    pub warnings: Vec<String>,
    /// The judge's prompt, with `{question}` and `{answer}`.
    pub judge: Option<String>,
}

/// How files become prompts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Asked of everybody, in the place of a file's own questions.
    pub questions: Option<Questions>,
    /// What `{model_name}` stands for.
    pub model_name: Option<String>,
    /// Take at most so many instructions of each file, from the first.
    pub instructions: Option<usize>,
    /// Take at most so many questions, from the first.
    pub most_questions: Option<usize>,
    pub preface: Preface,
    /// Where the texts of pairs stand.
    pub placed: Placed,
    /// Leave the replies to yes/no statements open, one line each.
    pub open: bool,
}

/// Reads a file by what is in it: a card (`.toml`), instructions (`.json`), statements or pairs (`.jsonl`, `.csv`).
///
/// `name` stands for the persona or trait in columns and ids.
///
/// # Errors
/// A file of no known kind, anything that its kind refuses.
pub fn import(place: &str, name: &str, text: &str, options: &Options) -> Result<Imported> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let ends = |end: &str| place.to_ascii_lowercase().ends_with(end);
    if ends(".toml") {
        return of_card(place, &Card::parse(place, text)?, options);
    }
    if ends(".csv") {
        return pairs(place, name, text, options);
    }
    // A file of one object over many lines, or an object a line.
    if serde_json::from_str::<Map<String, Value>>(text).is_ok_and(|o| o.contains_key("instruction")) {
        return Instructions::parse(place, name, text)?.import(place, options);
    }
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    match serde_json::from_str::<Map<String, Value>>(first) {
        Ok(o) if o.contains_key("answer_matching_behavior") => Statements::parse(place, name, text)?.import(options),
        Ok(o) if ["pos", "positive"].iter().any(|k| o.contains_key(*k)) => pairs(place, name, text, options),
        _ => {
            let hint = "known are cards (.toml), instruction files (`instruction`, `questions`, `eval_prompt`), statement sets \
                        (`statement`, `answer_matching_behavior`) and pairs (`pos`, `neg`; JSON lines or CSV)";
            // A JSON file that is broken says where.
            match serde_json::from_str::<Value>(text) {
                Err(e) if ends(".json") => Err(Error::format(place, format!("not JSON ({e})"), hint)),
                _ => Err(Error::format(place, "a file of no known kind", hint)),
            }
        }
    }
}

/// A card asked its questions: under each of its instructions, or under the whole card where it has none.
fn of_card(place: &str, card: &Card, options: &Options) -> Result<Imported> {
    let pairs: Vec<(String, Option<String>)> = match card.system.pos.as_slice() {
        [] => vec![(system(card), None)],
        pos => pos.iter().enumerate().map(|(i, p)| (p.clone(), card.system.neg.get(i).cloned())).collect(),
    };
    let all = Instructions {
        name: card.name.clone(),
        column: "persona",
        pairs,
        questions: Questions::of(place, &card.questions),
        judge: None,
        warnings: Vec::new(),
    };
    all.import(place, options)
}

/// Counts that a name appears in: `5 (0, 3, 7, 9, 12)`, the first few.
fn some_of(places: &[usize]) -> String {
    let shown: Vec<String> = places.iter().take(5).map(usize::to_string).collect();
    let more = if places.len() > 5 { format!(" and {} more", places.len() - 5) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::prompts::Prompt;

    #[test]
    fn files_are_known_by_what_is_in_them_and_their_lines_are_prompts() {
        let questions = Questions::of("q", &["How are you?".into()]);
        let options = Options { questions: Some(questions), ..Options::default() };
        for (place, text, lines) in [
            ("a.toml", "name = \"Ana\"\ntraits = [\"dry\"]", 1),
            ("b.json", r#"{"instruction":[{"pos":"Be b.","neg":"Be c."}]}"#, 2),
            (
                "c.jsonl",
                r#"{"statement":"I rule","question":"I rule?","answer_matching_behavior":" Yes","answer_not_matching_behavior":" No"}"#,
                2,
            ),
            ("d.jsonl", r#"{"pos":"one","neg":"two"}"#, 2),
            ("e.csv", "pos,neg\none,two\n", 2),
        ] {
            let found = import(place, "x", text, &options).unwrap();
            let written: String = found.asks.iter().map(|a| a.to_json() + "\n").collect();
            let prompts = Prompt::parse_lines(place, &written).unwrap();
            assert_eq!(prompts.len(), lines, "{place}");
            assert!(prompts[0].columns.iter().any(|(k, v)| k == "polarity" && v == "pos"), "{place}: {written}");
            assert!(prompts[0].columns.iter().any(|(k, _)| k == "group"), "{place}: {written}");
        }
    }

    #[test]
    fn what_is_of_no_known_kind_is_refused() {
        for (place, text, says) in
            [("a.json", "{\"a\": 1}", "no known kind"), ("a.json", "{", "not JSON"), ("a.txt", "", "no known kind")]
        {
            let e = import(place, "a", text, &Options::default()).unwrap_err();
            assert!(e.to_string().contains(says) && e.hint().contains("pairs"), "{e}");
        }
    }
}
