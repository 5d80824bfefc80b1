//! Plain pairs: JSON lines or CSV with `pos`, `neg` and, where there is one, `group`.

use super::{Ask, Imported, Options, Says};
use crate::csv::Csv;
use crate::error::{Error, Result};
use crate::text::{Message, SYSTEM, USER};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where the texts of a pair stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placed {
    /// As raw text, without a chat template.
    #[default]
    Text,
    /// As what the user says.
    User,
    /// As a system turn, under which the questions that were given are asked.
    System,
}

struct Pair {
    sides: [String; 2],
    group: Option<String>,
}

const HINT: &str =
    r#"a line is {"pos": "…", "neg": "…", "group": "…"}, or a row of a CSV with these columns; group may be left out"#;

/// Reads pairs; a pair without a group is a group by itself.
///
/// # Errors
/// A line without both texts, an empty text, a group for some pairs alone, no pair; pairs as system turns without questions.
pub fn pairs(place: &str, name: &str, text: &str, options: &Options) -> Result<Imported> {
    let found = if place.to_ascii_lowercase().ends_with(".csv") { of_csv(place, text) } else { of_lines(place, text) }?;
    let grouped = found.iter().filter(|p| p.group.is_some()).count();
    if grouped != 0 && grouped != found.len() {
        let what = format!("{grouped} of {} pairs have a group", found.len());
        return Err(Error::format(place, what, "give every pair a group, or none"));
    }
    let mut warnings = Vec::new();
    let same: Vec<usize> = (0..found.len()).filter(|i| found[*i].sides[0] == found[*i].sides[1]).collect();
    if !same.is_empty() {
        warnings.push(format!("{place}: both texts of pairs {} are the same", super::some_of(&same)));
    }
    let mut seen = BTreeSet::new();
    let twice: Vec<usize> = (0..found.len()).filter(|i| !seen.insert(&found[*i].sides)).collect();
    if !twice.is_empty() {
        warnings.push(format!("{place}: pairs {} stand in it before", super::some_of(&twice)));
    }
    let questions = match (&options.questions, options.placed) {
        (Some(q), Placed::System) => &q.all[..q.all.len().min(options.most_questions.unwrap_or(usize::MAX))],
        (None, Placed::System) => {
            let what = "pairs as system turns, and nothing is asked under them";
            return Err(Error::format(place, what, "give a list of questions (--questions)"));
        }
        _ => &[],
    };
    let mut asks = Vec::new();
    for (i, pair) in found.iter().take(options.instructions.unwrap_or(usize::MAX)).enumerate() {
        let group = pair.group.clone().unwrap_or_else(|| i.to_string());
        for (polarity, text) in ["pos", "neg"].into_iter().zip(&pair.sides) {
            let ask = |id: String, says, group: &str| Ask {
                id,
                says,
                columns: vec![
                    ("trait", name.into()),
                    ("polarity", polarity.into()),
                    ("instruction", i.into()),
                    ("group", group.into()),
                ],
            };
            let id = format!("{name}/{polarity}_{i}");
            match options.placed {
                Placed::Text => asks.push(ask(id, Says::Text(text.clone()), &group)),
                Placed::User => asks.push(ask(id, Says::Messages(vec![Message::new(USER, text)]), &group)),
                Placed::System => asks.extend(questions.iter().map(|q| {
                    let messages = vec![Message::new(SYSTEM, text), Message::new(USER, &q.text)];
                    ask(format!("{name}/{polarity}_p{i}_q{}", q.id), Says::Messages(messages), &q.group)
                })),
            }
        }
    }
    Ok(Imported { asks, warnings, judge: None })
}

fn pair(here: &str, pos: Option<String>, neg: Option<String>, group: Option<String>) -> Result<Pair> {
    let side = |name: &str, text: Option<String>| {
        let text = text.ok_or_else(|| Error::format(here, format!("no text `{name}`"), HINT))?;
        if text.trim().is_empty() { Err(Error::format(here, format!("`{name}` is empty"), HINT)) } else { Ok(text) }
    };
    Ok(Pair { sides: [side("pos", pos)?, side("neg", neg)?], group: group.filter(|g| !g.is_empty()) })
}

fn of_lines(place: &str, text: &str) -> Result<Vec<Pair>> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let here = format!("{place}:{}", number + 1);
        let map: Map<String, Value> =
            serde_json::from_str(line).map_err(|e| Error::format(&here, format!("not a JSON object ({e})"), HINT))?;
        let text = |keys: [&str; 2]| keys.iter().find_map(|k| map.get(*k)?.as_str().map(String::from));
        let group = match map.get("group") {
            None | Some(Value::Null) => None,
            Some(Value::String(s)) => Some(s.clone()),
            Some(other) => Some(other.to_string()),
        };
        all.push(pair(&here, text(["pos", "positive"]), text(["neg", "negative"]), group)?);
    }
    some(place, all)
}

fn of_csv(place: &str, text: &str) -> Result<Vec<Pair>> {
    let (mut csv, names) = Csv::open(text.as_bytes(), place)?;
    let column = |keys: &[&str]| names.iter().position(|n| keys.contains(&n.as_str()));
    let (pos, neg, group) = (column(&["pos", "positive"]), column(&["neg", "negative"]), column(&["group"]));
    let (mut all, mut cells) = (Vec::new(), Vec::new());
    while csv.record(&mut cells)? {
        let cell = |i: Option<usize>| i.map(|i| cells[i].clone());
        all.push(pair(&format!("{place}, line {}", csv.line()), cell(pos), cell(neg), cell(group))?);
    }
    some(place, all)
}

fn some(place: &str, all: Vec<Pair>) -> Result<Vec<Pair>> {
    if all.is_empty() { Err(Error::format(place, "no pair in it", HINT)) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::super::Questions;
    use super::*;

    #[test]
    fn pairs_come_from_json_lines_and_from_csv_alike() {
        let csv = "group,pos,neg\nx,\"I am, well, calm\",I shout\ny,a,b\n";
        let lines = "{\"pos\":\"I am, well, calm\",\"neg\":\"I shout\",\"group\":\"x\"}\n{\"positive\":\"a\",\"negative\":\"b\",\"group\":\"y\"}";
        let a = pairs("p.csv", "calm", csv, &Options::default()).unwrap();
        assert_eq!(a, pairs("p.jsonl", "calm", lines, &Options::default()).unwrap());
        assert_eq!(
            a.asks[1].to_json(),
            r#"{"id":"calm/neg_0","text":"I shout","trait":"calm","polarity":"neg","instruction":0,"group":"x"}"#
        );
        let user = Options { placed: Placed::User, ..Options::default() };
        assert!(
            pairs("p.csv", "calm", csv, &user).unwrap().asks[2].to_json().contains(r#"{"role":"user","content":"a"}"#)
        );
        let system = Options { placed: Placed::System, ..Options::default() };
        assert!(pairs("p.csv", "calm", csv, &system).unwrap_err().hint().contains("--questions"));
        let system = Options { questions: Some(Questions::of("q", &["Why?".into(), "How?".into()])), ..system };
        let asked = pairs("p.csv", "calm", csv, &system).unwrap();
        // Under system turns it is the question that must not be parted.
        assert_eq!((asked.asks.len(), &asked.asks[1].columns[3].1), (8, &Value::from("1")));
    }

    #[test]
    fn what_is_no_pair_is_refused_with_its_line() {
        for (place, text, says) in [
            ("p.jsonl", "{\"pos\":\"a\"}", "p.jsonl:1: no text `neg`"),
            ("p.jsonl", "{\"pos\":\"a\",\"neg\":\" \"}", "`neg` is empty"),
            ("p.jsonl", "\n", "no pair"),
            ("p.csv", "pos,other\na,b\n", "p.csv, line 2: no text `neg`"),
            ("p.csv", "pos,neg\n", "no pair"),
            ("p.jsonl", "{\"pos\":\"a\",\"neg\":\"b\",\"group\":1}\n{\"pos\":\"a\",\"neg\":\"b\"}", "1 of 2 pairs"),
        ] {
            let e = pairs(place, "x", text, &Options::default()).err().unwrap();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
        let w = pairs("p.csv", "x", "pos,neg\na,a\na,a\n", &Options::default()).unwrap().warnings;
        assert!(w[0].contains("pairs 0, 1 are the same") && w[1].contains("pairs 1 stand"), "{w:?}");
    }
}
