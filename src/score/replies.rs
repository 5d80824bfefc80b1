//! Files of replies: JSON lines with `id` and `text`, as `generate` and `steer` write them.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// A reply to be scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub id: String,
    pub text: String,
    /// What it answers, where that is known; judges read it.
    pub question: Option<String>,
    /// Other keys of the line that have one value, in order: `strength`, `seed`, `adapter`.
    pub columns: Vec<(String, String)>,
}

/// Keys whose values are no labels.
const LISTS: [&str; 2] = ["tokens", "messages"];

/// Reads replies. Ids may come again, as they do in a sweep; columns then tell the replies apart.
///
/// # Errors
/// A line without `id` or `text`, two replies that nothing tells apart, no reply.
pub fn read_replies(place: &str, text: &str) -> Result<Vec<Reply>> {
    let hint = r#"a line is {"id": "…", "text": "…"}, as `generate` and `steer` write them"#;
    let mut all: Vec<Reply> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let here = format!("{place}:{}", number + 1);
        let map: Map<String, Value> =
            serde_json::from_str(line).map_err(|e| Error::format(&here, format!("not a JSON object ({e})"), hint))?;
        let missing = |key: &str| Error::format(&here, format!("no `{key}`"), hint);
        let one = |v: &Value| match v {
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Null => Some(String::new()),
            _ => None,
        };
        let id = map.get("id").and_then(one).filter(|id| !id.is_empty()).ok_or_else(|| missing("id"))?;
        let text = map.get("text").and_then(Value::as_str).ok_or_else(|| missing("text"))?.to_string();
        let question = map.get("question").and_then(Value::as_str).map(String::from);
        let own = |k: &&String| !["id", "text", "question"].contains(&k.as_str()) && !LISTS.contains(&k.as_str());
        let columns: Vec<(String, String)> =
            map.keys().filter(own).filter_map(|k| Some((k.clone(), one(&map[k])?))).collect();
        if !seen.insert((id.clone(), columns.clone())) {
            let what = format!("a second reply with the id `{id}`, and no other key tells them apart");
            return Err(Error::format(here, what, "give every reply an id of its own, or a column such as `seed`"));
        }
        all.push(Reply { id, text, question, columns });
    }
    if all.is_empty() { Err(Error::format(place, "no reply in it", hint)) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_a_sweep_are_told_apart_by_their_columns() {
        let text = r#"{"id":"a","strength":"0","seed":1,"text":"x","tokens":[1,2]}
{"id":"a","strength":"1n","seed":1,"text":"y","tokens":[3],"question":"Why?"}"#;
        let r = read_replies("r.jsonl", text).unwrap();
        assert_eq!(r[1].columns, [("strength".into(), "1n".into()), ("seed".into(), "1".into())]);
        assert_eq!((r[0].question.as_deref(), r[1].question.as_deref()), (None, Some("Why?")));
        for (text, says) in [
            ("{\"id\":\"a\"}", "r:1: no `text`"),
            ("{\"text\":\"a\"}", "no `id`"),
            ("[]", "not a JSON object"),
            ("\n", "no reply"),
            ("{\"id\":1,\"text\":\"a\"}\n{\"id\":1,\"text\":\"b\"}", "r:2: a second reply"),
        ] {
            let e = read_replies("r", text).unwrap_err();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
    }
}
