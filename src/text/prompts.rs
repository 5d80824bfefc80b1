//! Prompt files: one JSON object per line.
//!
//! `{"id":…, "messages":[{"role","content"}…]}` goes through the chat template, `{"id":…, "text":…}` is raw text, and
//! `{"id":…, "tokens":[…]}` are exact ids to which nothing is added. A message may have a `speaker`, whose string stands
//! in its header in the place of the role's name; a last message of the assistant with a speaker and no `content` is the
//! header of the reply. `template_vars` are variables for the chat template. `seed` and `adapter` say how the prompt
//! is run. Every other key is a column that results carry along.

use super::{ASSISTANT, ChatOptions, Encoded, Message, Text, USER, Variables, template};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What a prompt says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Messages(Vec<Message>),
    Text(String),
    Tokens(Vec<u32>),
}

/// What a prompt says about the adapter that it goes through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Through {
    /// Nothing.
    #[default]
    Unsaid,
    /// `"adapter": null`: the model by itself.
    Base,
    /// The adapter of this name.
    Named(String),
}

/// One line of a prompt file.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub id: String,
    pub body: Body,
    /// Overrides the seed of the command for this prompt.
    pub seed: Option<u64>,
    pub adapter: Through,
    /// The speaker of the reply that the prompt leaves open.
    pub reply_as: Option<String>,
    /// Variables for the chat template, for this prompt alone.
    pub variables: Variables,
    /// Other keys, as text, in the order of the line.
    pub columns: Vec<(String, String)>,
}

/// Keys that later work gives a meaning to; a file that uses one now would change its meaning then.
const RESERVED: &[&str] = &["edit"];
/// Columns that results have of their own.
const TAKEN: &[&str] = &["row", "pos", "token_id", "role", "turn", "span", "n_tokens", "speaker"];

impl Prompt {
    /// Reads a whole file. Empty lines are skipped.
    ///
    /// # Errors
    /// The first line that is no prompt, with its number; an id that occurs twice; a file without a prompt.
    pub fn parse_lines(place: &str, text: &str) -> Result<Vec<Prompt>> {
        let mut seen = HashSet::new();
        let mut prompts = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let here = format!("{place}:{}", number + 1);
            let prompt = Prompt::parse(&here, line)?;
            if !seen.insert(prompt.id.clone()) {
                let hint = "give every prompt an id of its own: results and random streams go by it";
                return Err(Error::format(here, format!("the id `{}` occurs twice", prompt.id), hint));
            }
            prompts.push(prompt);
        }
        if prompts.is_empty() {
            return Err(Error::format(
                place,
                "no prompt in it",
                r#"write one JSON object per line, such as {"id":"a","text":"Hello"}"#,
            ));
        }
        Ok(prompts)
    }

    fn parse(place: &str, line: &str) -> Result<Prompt> {
        let bad = |reason: String| {
            let hint = r#"a line is {"id":…, "messages":[{"role":…,"content":…}]} or {"id":…, "text":…} or {"id":…, "tokens":[…]}"#;
            Error::format(place, reason, hint)
        };
        let value: Value = serde_json::from_str(line).map_err(|e| bad(format!("not JSON ({e})")))?;
        let Value::Object(map) = value else { return Err(bad("not a JSON object".into())) };
        let id = match map.get("id") {
            Some(Value::String(s)) if !s.is_empty() => s.clone(),
            Some(Value::Number(n)) => n.to_string(),
            _ => return Err(bad("no `id`".into())),
        };
        if let Some(key) = RESERVED.iter().find(|k| map.contains_key(**k)) {
            let hint = "the key is reserved; rename the column";
            return Err(Error::format(place, format!("`{key}` is not supported in this version"), hint));
        }
        if let Some(key) = TAKEN.iter().find(|k| map.contains_key(**k)) {
            return Err(Error::format(place, format!("`{key}` is a column of the results"), "rename the key"));
        }
        let seed = match map.get("seed") {
            None | Some(Value::Null) => None,
            Some(v) => Some(v.as_u64().ok_or_else(|| bad(format!("`seed` is {v}, not a whole number >= 0")))?),
        };
        let adapter = match map.get("adapter") {
            None => Through::Unsaid,
            Some(Value::Null) => Through::Base,
            Some(Value::String(name)) => Through::Named(name.clone()),
            Some(v) => return Err(bad(format!("`adapter` is {v}, not the name of an adapter or null"))),
        };
        let bodies = ["messages", "text", "tokens"].iter().filter(|k| map.contains_key(**k)).count();
        if bodies != 1 {
            return Err(bad(format!("{bodies} of `messages`, `text`, `tokens`; exactly one is needed")));
        }
        let mut reply_as = None;
        let body = match (map.get("messages"), map.get("text"), map.get("tokens")) {
            (Some(v), ..) => {
                let (messages, reply) = messages(v).map_err(&bad)?;
                reply_as = reply;
                Body::Messages(messages)
            }
            (_, Some(v), _) => Body::Text(v.as_str().ok_or_else(|| bad("`text` is no string".into()))?.into()),
            (.., v) => Body::Tokens(tokens(v).map_err(&bad)?),
        };
        let variables = variables(map.get("template_vars"), &body).map_err(&bad)?;
        let own = ["id", "messages", "text", "tokens", "seed", "adapter", "template_vars"];
        let columns =
            map.iter().filter(|(k, _)| !own.contains(&k.as_str())).map(|(k, v)| (k.clone(), plain(v))).collect();
        Ok(Prompt { id, body, seed, adapter, reply_as, variables, columns })
    }

    /// What is asked: what the user said last, or the raw text; nothing where there are only tokens.
    pub fn question(&self) -> Option<&str> {
        match &self.body {
            Body::Messages(m) => m.iter().rev().find(|m| m.role == USER).map(|m| m.content.as_str()),
            Body::Text(t) => Some(t),
            Body::Tokens(_) => None,
        }
    }

    /// The prompt in tokens. A chat that does not end with a reply gets the header of one.
    ///
    /// # Errors
    /// Names the prompt.
    pub fn encode(&self, text: &Text) -> Result<Encoded> {
        let encoded = match &self.body {
            Body::Messages(m) => {
                let generation_header = self.reply_as.is_some() || m.last().is_none_or(|m| m.role != ASSISTANT);
                let (reply_as, variables) = (self.reply_as.clone(), self.variables.clone());
                text.chat_with(m, &ChatOptions { generation_header, reply_as, variables })
            }
            Body::Text(t) => text.raw(t),
            Body::Tokens(t) => Ok(text.exact(t)),
        };
        encoded.map_err(|e| Error::format(format!("prompt `{}`", self.id), e.to_string(), e.hint()))
    }
}

/// The messages, and the speaker of a reply that the last entry opens.
fn messages(value: &Value) -> Result<(Vec<Message>, Option<String>), String> {
    let list = value.as_array().ok_or("`messages` is no list")?;
    let (mut all, mut reply_as) = (Vec::with_capacity(list.len()), None);
    for (i, m) in list.iter().enumerate() {
        let map = m.as_object().ok_or(format!("message {i} is no object"))?;
        if let Some(key) = map.keys().find(|k| !["role", "content", "speaker"].contains(&k.as_str())) {
            return Err(format!("message {i} has a key `{key}`; only role, content and speaker are supported"));
        }
        let get = |k: &str| text_of(map, k).ok_or(format!("message {i} has no text `{k}`"));
        let role = get("role")?;
        let speaker = map.contains_key("speaker").then(|| get("speaker")).transpose()?.map(str::to_string);
        if i + 1 == list.len() && role == ASSISTANT && speaker.is_some() && !map.contains_key("content") {
            reply_as = speaker;
        } else {
            all.push(Message { speaker, ..Message::new(role, get("content")?) });
        }
    }
    if all.is_empty() {
        return Err("`messages` is empty".into());
    }
    Ok((all, reply_as))
}

fn variables(value: Option<&Value>, body: &Body) -> Result<Variables, String> {
    let Some(value) = value else { return Ok(Variables::new()) };
    let map = value.as_object().ok_or("`template_vars` is no object")?;
    if !matches!(body, Body::Messages(_)) {
        return Err("`template_vars` without `messages`: nothing goes through the template".into());
    }
    map.keys().try_for_each(|name| template::check_name(name)).map_err(|e| e.to_string())?;
    Ok(map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn text_of<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

fn tokens(value: Option<&Value>) -> Result<Vec<u32>, String> {
    let list = value.and_then(Value::as_array).ok_or("`tokens` is no list")?;
    list.iter().map(|v| v.as_u64().and_then(|v| u32::try_from(v).ok()).ok_or(format!("`{v}` is no token id"))).collect()
}

/// A value as it stands in a CSV field.
fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_and_their_columns_are_read() {
        let text = r#"{"id":"a","messages":[{"role":"user","content":"Hi"}],"trait":"anxious","n":3}

{"id":7,"text":"Once","seed":5}
{"id":"c","tokens":[1,2]}"#;
        let p = Prompt::parse_lines("f", text).unwrap();
        assert_eq!(p[0].columns, [("trait".into(), "anxious".into()), ("n".into(), "3".into())]);
        assert_eq!((p[1].id.as_str(), p[1].seed, &p[1].body), ("7", Some(5), &Body::Text("Once".into())));
        assert_eq!(p[2].body, Body::Tokens(vec![1, 2]));
        let text = r#"{"id":"a","text":"x","adapter":"warm","n":1}
{"id":"b","text":"x","adapter":null}"#;
        let q = Prompt::parse_lines("f", text).unwrap();
        assert_eq!(
            [&p[0], &q[0], &q[1]].map(|p| p.adapter.clone()),
            [Through::Unsaid, Through::Named("warm".into()), Through::Base]
        );
        assert_eq!(q[0].columns, [("n".into(), "1".into())]);
    }

    #[test]
    fn speakers_open_replies_and_variables_are_read() {
        let text = r#"{"id":"a","messages":[{"role":"user","content":"Hi","speaker":"Zoe"},{"role":"assistant","speaker":"<|A|>"}],"template_vars":{"x":false}}"#;
        let p = &Prompt::parse_lines("f", text).unwrap()[0];
        assert_eq!(p.body, Body::Messages(vec![Message::new("user", "Hi").by("Zoe")]));
        assert_eq!(p.reply_as.as_deref(), Some("<|A|>"));
        assert_eq!(p.variables, Variables::from([("x".into(), Value::Bool(false))]));
        assert!(p.columns.is_empty());
    }

    #[test]
    fn each_way_a_line_can_be_wrong_is_named_with_its_line() {
        for (line, says) in [
            ("{", "not JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"text":"x"}"#, "no `id`"),
            (r#"{"id":"a"}"#, "0 of"),
            (r#"{"id":"a","text":"x","tokens":[1]}"#, "2 of"),
            (r#"{"id":"a","tokens":[-1]}"#, "no token id"),
            (r#"{"id":"a","tokens":[5000000000]}"#, "no token id"),
            (r#"{"id":"a","messages":[]}"#, "empty"),
            (r#"{"id":"a","messages":[{"role":"user"}]}"#, "content"),
            (r#"{"id":"a","messages":[{"role":"user","content":"x","name":"y"}]}"#, "`name`"),
            (r#"{"id":"a","text":"x","adapter":1}"#, "`adapter`"),
            (r#"{"id":"a","text":"x","speaker":"y"}"#, "`speaker`"),
            (r#"{"id":"a","messages":[{"role":"user","speaker":"A"}]}"#, "content"),
            (r#"{"id":"a","messages":[{"role":"assistant","speaker":"A"}]}"#, "empty"),
            (r#"{"id":"a","messages":[{"role":"user","content":"x","speaker":3}]}"#, "text `speaker`"),
            (r#"{"id":"a","text":"x","template_vars":{"a":1}}"#, "template_vars"),
            (r#"{"id":"a","messages":[{"role":"user","content":"x"}],"template_vars":[1]}"#, "no object"),
            (r#"{"id":"a","messages":[{"role":"user","content":"x"}],"template_vars":{"messages":1}}"#, "`messages`"),
            (r#"{"id":"a","text":"x","pos":1}"#, "`pos`"),
            (r#"{"id":"a","text":"x","seed":-1}"#, "`seed`"),
            (r#"{"id":"first","text":"x"}"#, "twice"),
        ] {
            let file = format!("{{\"id\":\"first\",\"text\":\"ok\"}}\n{line}");
            let e = Prompt::parse_lines("p.jsonl", &file).unwrap_err();
            assert!(e.to_string().contains(says) && e.to_string().starts_with("p.jsonl:2"), "{line}: {e}");
            assert!(!e.hint().is_empty());
        }
        assert!(Prompt::parse_lines("p.jsonl", "\n").is_err());
    }
}
