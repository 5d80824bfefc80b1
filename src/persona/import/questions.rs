//! Lists of questions.

use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// A question with its name in ids and the group that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The file's own id, or its place from 0.
    pub id: String,
    pub text: String,
    /// The id of the first question with the same text.
    pub group: String,
}

/// Questions in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    pub all: Vec<Question>,
    /// Texts that come more than once.
    pub warnings: Vec<String>,
}

impl Questions {
    /// Questions named by their places.
    pub fn of(place: &str, texts: &[String]) -> Questions {
        Questions::named(place, texts.iter().enumerate().map(|(i, t)| (i.to_string(), t.clone())).collect())
    }

    /// Reads JSON lines `{"question", "id"}`, JSON lines that are texts, or plain text, one question a line.
    ///
    /// # Errors
    /// No question; a line of JSON without a question; an id that comes twice.
    pub fn parse(place: &str, text: &str) -> Result<Questions> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let hint = r#"a line is {"question": "…"}, with an "id" if you like, or the question itself"#;
        let mut all: Vec<(String, String)> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let here = format!("{place}:{}", number + 1);
            let json = line.trim_start().starts_with(['{', '"']);
            let (id, question) = match json.then(|| serde_json::from_str::<Value>(line)) {
                None => (None, line.trim().to_string()),
                Some(Ok(Value::String(s))) => (None, s),
                Some(Ok(Value::Object(o))) => {
                    let said = o.get("question").and_then(Value::as_str);
                    let said = said.ok_or_else(|| Error::format(&here, "no text `question`", hint))?;
                    let id = match o.get("id") {
                        Some(Value::String(s)) if !s.is_empty() => Some(s.clone()),
                        Some(Value::Number(n)) => Some(n.to_string()),
                        None | Some(Value::Null) => None,
                        Some(other) => return Err(Error::format(here, format!("`id` is {other}"), hint)),
                    };
                    (id, said.to_string())
                }
                Some(Ok(other)) => return Err(Error::format(here, format!("{other} is no question"), hint)),
                Some(Err(e)) => return Err(Error::format(here, format!("not JSON ({e})"), hint)),
            };
            if question.trim().is_empty() {
                return Err(Error::format(here, "an empty question", hint));
            }
            let id = id.unwrap_or_else(|| all.len().to_string());
            if all.iter().any(|(other, _)| *other == id) {
                return Err(Error::format(
                    here,
                    format!("the id `{id}` comes twice"),
                    "give every question its own id",
                ));
            }
            all.push((id, question));
        }
        match all.is_empty() {
            true => Err(Error::format(place, "no question in it", hint)),
            false => Ok(Questions::named(place, all)),
        }
    }

    fn named(place: &str, all: Vec<(String, String)>) -> Questions {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        let mut questions = Questions::default();
        for (id, text) in all {
            let group = first.entry(text.trim().to_string()).or_insert_with(|| id.clone()).clone();
            if group != id {
                questions.warnings.push(format!(
                    "{place}: questions {group} and {id} are the same text; both are asked, and share the group {group}"
                ));
            }
            questions.all.push(Question { id, text, group });
        }
        questions
    }

    /// How many different texts there are.
    pub fn distinct(&self) -> usize {
        self.all.iter().filter(|q| q.id == q.group).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_twice_is_said_and_shares_a_group() {
        let text = "{\"question\": \"A?\", \"id\": 7}\n\n{\"question\": \"B?\", \"id\": 8}\n{\"question\": \"A? \", \"id\": 227}\n";
        let q = Questions::parse("q.jsonl", text).unwrap();
        let groups: Vec<_> = q.all.iter().map(|q| (q.id.as_str(), q.group.as_str())).collect();
        assert_eq!(groups, [("7", "7"), ("8", "8"), ("227", "7")]);
        assert_eq!((q.distinct(), q.warnings.len()), (2, 1));
        assert!(q.warnings[0].contains("questions 7 and 227"), "{:?}", q.warnings);
    }

    #[test]
    fn questions_are_read_from_plain_lines_and_json_texts_too() {
        let q = Questions::parse("q.txt", "What is tea?\n\"Why?\"\n").unwrap();
        assert_eq!(q.all.iter().map(|q| q.text.as_str()).collect::<Vec<_>>(), ["What is tea?", "Why?"]);
        assert!(q.warnings.is_empty());
        for (text, says) in [
            ("\n", "no question"),
            ("{\"id\": 1}", "q:1: no text `question`"),
            ("{", "not JSON"),
            ("{\"question\": \" \"}", "empty"),
            ("{\"question\":\"a\",\"id\":1}\n{\"question\":\"b\",\"id\":1}", "q:2: the id `1` comes twice"),
            ("{\"question\":\"a\",\"id\":[]}", "`id` is []"),
        ] {
            let e = Questions::parse("q", text).unwrap_err().to_string();
            assert!(e.contains(says), "{text}: {e}");
        }
    }
}
