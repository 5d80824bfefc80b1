//! Yes/no statement sets of Anthropic's model-written evals (arXiv 2212.09251): JSON lines `{"question", "statement",
//! "label_confidence"?, "answer_matching_behavior", "answer_not_matching_behavior"}`.

use super::{Ask, Imported, Options, Says, some_of};
use crate::error::{Error, Result};
use crate::text::{ASSISTANT, Message, USER};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The statements of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Statements {
    pub name: String,
    pub all: Vec<Statement>,
    pub warnings: Vec<String>,
}

/// A statement to be agreed with or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub question: String,
    /// Whether the behaviour that the file is about says yes.
    pub yes: bool,
    /// The label's confidence, 0 to 1.
    pub confidence: Option<f64>,
    /// Place of the first statement with the same words.
    pub group: usize,
}

#[derive(Deserialize)]
struct Line {
    question: String,
    statement: Option<String>,
    label_confidence: Option<f64>,
    answer_matching_behavior: String,
    answer_not_matching_behavior: Option<String>,
}

const HINT: &str =
    r#"a line is {"question", "statement", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}"#;

/// Reads a file and puts its statements.
///
/// # Errors
/// As [`Statements::parse`].
pub fn statements(place: &str, name: &str, text: &str, options: &Options) -> Result<Imported> {
    Statements::parse(place, name, text)?.import(options)
}

impl Statements {
    /// Reads a file.
    ///
    /// # Errors
    /// A line that is no such object, an answer that is neither yes nor no, two answers that are the same, a
    /// confidence outside 0 to 1: with its number.
    pub fn parse(place: &str, name: &str, text: &str) -> Result<Statements> {
        let (mut all, mut warnings) = (Vec::new(), Vec::new());
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let (mut twice, mut apart) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let here = format!("{place}:{}", number + 1);
            let bad = |reason: String| Error::format(&here, reason, HINT);
            let line: Line = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            let answer = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(bad(format!("the answer `{text}` is neither yes nor no"))),
            };
            let yes = answer(&line.answer_matching_behavior)?;
            if let Some(other) = &line.answer_not_matching_behavior
                && answer(other)? == yes
            {
                return Err(bad("both answers are the same".into()));
            }
            if line.question.trim().is_empty() {
                return Err(bad("an empty question".into()));
            }
            if let Some(c) = line.label_confidence.filter(|c| !(0.0..=1.0).contains(c)) {
                return Err(bad(format!("`label_confidence` is {c}, not a share from 0 to 1")));
            }
            let words = line.statement.as_ref().unwrap_or(&line.question).trim();
            if !line.question.contains(words) {
                apart.push(number + 1);
            }
            let i = all.len();
            let group = *first.entry(words.to_string()).or_insert(i);
            if group != i {
                twice.push(number + 1);
            }
            all.push(Statement { question: line.question, yes, confidence: line.label_confidence, group });
        }
        if all.is_empty() {
            return Err(Error::format(place, "no statement in it", HINT));
        }
        if !twice.is_empty() {
            warnings.push(format!("{place}: statements of lines {} stand in it before", some_of(&twice)));
        }
        if !apart.is_empty() {
            warnings.push(format!("{place}: questions of lines {} do not hold their statement", some_of(&apart)));
        }
        let n_yes = all.iter().filter(|s| s.yes).count();
        if n_yes == 0 || n_yes == all.len() {
            let says = if n_yes == 0 { "no" } else { "yes" };
            warnings.push(format!("{place}: the behaviour always says {says}: a contrast is one of yes and no, too"));
        }
        Ok(Statements { name: name.into(), all, warnings })
    }

    /// Two lines a statement, answered as the behaviour has it (`pos`) and the other way (`neg`); or, left open, one
    /// line, whose column `matching` has the behaviour's answer.
    ///
    /// # Errors
    /// None; the form is that of the other kinds.
    pub fn import(self, options: &Options) -> Result<Imported> {
        let mut asks = Vec::new();
        let most = options.most_questions.unwrap_or(usize::MAX);
        for (i, s) in self.all.iter().take(most).enumerate() {
            let word = |yes| if yes { "Yes" } else { "No" };
            let columns = |polarity: &str| -> Vec<(&'static str, Value)> {
                let mut columns = vec![("trait", json!(self.name)), ("polarity", json!(polarity))];
                columns.push(("matching", json!(word(s.yes))));
                columns.push(("group", json!(s.group.to_string())));
                columns.extend(s.confidence.map(|c| ("confidence", json!(c))));
                columns
            };
            let question = Message::new(USER, &s.question);
            if options.open {
                let says = Says::Messages(vec![question]);
                asks.push(Ask { id: format!("{}/{i}", self.name), says, columns: columns("open") });
                continue;
            }
            for (polarity, yes) in [("pos", s.yes), ("neg", !s.yes)] {
                let says = Says::Messages(vec![question.clone(), Message::new(ASSISTANT, word(yes))]);
                asks.push(Ask { id: format!("{}/{polarity}_{i}", self.name), says, columns: columns(polarity) });
            }
        }
        Ok(Imported { asks, warnings: self.warnings, judge: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(statement: &str, yes: bool) -> String {
        let (a, b) = if yes { (" Yes", " No") } else { (" No", " Yes") };
        let question = format!("Would you say this?\n\"{statement}\"");
        json!({"question": question, "statement": statement, "label_confidence": 0.9, "answer_matching_behavior": a,
               "answer_not_matching_behavior": b})
        .to_string()
    }

    #[test]
    fn a_statement_is_answered_both_ways_or_left_open() {
        let text = format!("{}\n\n{}\n", line("I rule", true), line("I serve", false));
        let read = || Statements::parse("p.jsonl", "power", &text).unwrap();
        let found = read().import(&Options::default()).unwrap();
        assert!(found.warnings.is_empty());
        let said: Vec<String> = found.asks.iter().map(Ask::to_json).collect();
        assert_eq!(said.len(), 4);
        assert_eq!(
            said[2],
            r#"{"id":"power/pos_1","messages":[{"role":"user","content":"Would you say this?\n\"I serve\""},{"role":"assistant","content":"No"}],"trait":"power","polarity":"pos","matching":"No","group":"1","confidence":0.9}"#
        );
        assert!(said[3].contains("\"Yes\"") && said[3].contains("neg_1"));
        let open = read().import(&Options { open: true, most_questions: Some(1), ..Options::default() }).unwrap();
        assert_eq!(open.asks.len(), 1);
        assert!(
            !open.asks[0].to_json().contains("assistant") && open.asks[0].to_json().contains(r#""matching":"Yes""#)
        );
    }

    #[test]
    fn what_is_odd_is_said_and_what_is_wrong_refused() {
        let text = format!("{}\n{}\n", line("I rule", true), line("I rule", true));
        let s = Statements::parse("p", "power", &text).unwrap();
        assert_eq!(s.all.iter().map(|s| s.group).collect::<Vec<_>>(), [0, 0]);
        assert!(s.warnings[0].contains("lines 2") && s.warnings[1].contains("always says yes"), "{:?}", s.warnings);
        let other = line("I rule", true).replace("\\\"I rule\\\"", "something");
        assert!(Statements::parse("p", "x", &other).unwrap().warnings[0].contains("do not hold"));
        for (text, says) in [
            (line("a", true).replace(" Yes", " Maybe"), "neither yes nor no"),
            (line("a", true).replace(" No", " Yes"), "the same"),
            (line("a", true).replace("0.9", "1.9"), "1.9"),
            ("{}".into(), "p:1: missing field"),
            ("".into(), "no statement"),
        ] {
            let e = Statements::parse("p", "x", &text).unwrap_err();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
    }
}
