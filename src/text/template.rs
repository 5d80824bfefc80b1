//! The chat template of a checkpoint, run as transformers runs it.

use super::encoded::Message;
use super::{SYSTEM, USER, python};
use crate::error::{Error, Result};
use minijinja::{AutoEscape, Environment, ErrorKind, Template, Value};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

const ANOTHER: &str = "mend the chat template, or give another one: --chat-template FILE";

/// A chat template with the variables that come from the tokenizer's configuration.
pub(super) struct ChatTemplate {
    env: Environment<'static>,
    /// File, for messages.
    name: String,
    source: String,
    variables: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Compiles `source`; `variables` are `bos_token` and its like.
    ///
    /// # Errors
    /// A syntax error, with the line.
    pub(super) fn new(name: &str, source: &str, variables: BTreeMap<String, String>) -> Result<ChatTemplate> {
        let mut env = Environment::new();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", |why: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(why)))
        });
        env.add_function("strftime_now", python::strftime_now);
        env.add_filter("tojson", python::tojson);
        let template = ChatTemplate { env, name: name.into(), source: without_generation_tags(source), variables };
        template.open(BTreeMap::new())?;
        Ok(template)
    }

    /// The template's text.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Where it stands, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The compiled template. Compiling takes some tens of microseconds and is done once per conversation.
    pub(super) fn open(&self, variables: Variables) -> Result<Open<'_>> {
        let template = self.env.template_from_named_str(&self.name, &self.source).map_err(|e| self.explain(&e))?;
        Ok(Open { template, of: self, variables, system_in_user: false })
    }

    /// An error of the template itself: `place` is file and line, the reason the engine's own words.
    fn explain(&self, e: &minijinja::Error) -> Error {
        let place = e.line().map_or(self.name.clone(), |line| format!("{}, line {line} of the template", self.name));
        if let Some(Raised(why)) = std::error::Error::source(e).and_then(|s| s.downcast_ref()) {
            let hint = "the template wants other messages: mind the roles, their order and their number";
            return Error::refused(format!("{place}: it refuses the conversation: {why}"), hint);
        }
        let reason = e.detail().map_or(e.kind().to_string(), |detail| format!("{}: {detail}", e.kind()));
        Error::format(place, reason, ANOTHER)
    }
}

/// Names that a template is rendered with, and their values.
pub type Variables = BTreeMap<String, Json>;

/// A compiled template, with the variables of one conversation.
pub(super) struct Open<'a> {
    template: Template<'a, 'a>,
    pub(super) of: &'a ChatTemplate,
    variables: Variables,
    /// Whether the template gets the text of the system turn in front of the first user turn's, two newlines between.
    pub(super) system_in_user: bool,
}

/// Refuses variables that are not the user's to set.
pub(super) fn check_name(name: &str) -> Result<()> {
    let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !word || ["messages", "add_generation_prompt"].contains(&name) {
        let hint = "a variable is a word that the template asks for, such as enable_thinking";
        return Err(Error::refused(format!("`{name}` cannot be a template variable"), hint));
    }
    Ok(())
}

/// What a template sees of a message.
#[derive(Serialize)]
struct Seen<'a> {
    role: &'a str,
    content: &'a str,
}

impl Open<'_> {
    /// The text of a conversation.
    ///
    /// # Errors
    /// What the template raises, and what fails in it, with the line.
    pub(super) fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, value) in &self.of.variables {
            context.insert(name, Value::from(value.as_str()));
        }
        // transformers defines both, as None.
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        for (name, value) in &self.variables {
            context.insert(name, Value::from_serialize(value));
        }
        let folded;
        let messages = if self.system_in_user {
            folded = system_in_user(messages);
            &folded
        } else {
            messages
        };
        let seen: Vec<Seen> = messages.iter().map(|m| Seen { role: &m.role, content: &m.content }).collect();
        context.insert("messages", Value::from_serialize(&seen));
        context.insert("add_generation_prompt", Value::from(add_generation_prompt));
        let room = ROOM + 4 * messages.iter().map(|m| m.content.len()).sum::<usize>();
        let mut text = Bounded { bytes: Vec::new(), room };
        match self.template.render_captured_to(Value::from(context), &mut text) {
            Ok(_) => {}
            Err(_) if text.bytes.len() == text.room => {
                let reason = format!("it prints more than {room} bytes for {} messages", messages.len());
                return Err(Error::format(&self.of.name, reason, ANOTHER));
            }
            Err(e) => return Err(self.of.explain(&e)),
        }
        String::from_utf8(text.bytes).map_err(|e| Error::format(&self.of.name, e.to_string(), ANOTHER))
    }
}

/// Bytes that a template may print beyond a multiple of the contents.
const ROOM: usize = 16 << 20;

/// What a template prints, as long as there is room: one that never ends must not take all memory.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        let fits = part.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&part[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The conversation without its system turn, whose text then stands in front of the first user turn's.
fn system_in_user(messages: &[Message]) -> Vec<Message> {
    let Some((system, rest)) = messages.split_first().filter(|(first, _)| first.role == SYSTEM) else {
        return messages.to_vec();
    };
    let mut rest = rest.to_vec();
    match rest.iter_mut().find(|m| m.role == USER) {
        _ if system.content.trim().is_empty() => {}
        Some(user) => user.content = format!("{}\n\n{}", system.content, user.content),
        None => rest.insert(0, Message::new(USER, &system.content)),
    }
    rest
}

/// What a template says through `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Turns `{% generation %}` blocks, which mark trained text and print nothing, into `{% if true %}` blocks: the same
/// whitespace rules then apply to them.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open + 2);
        out.push_str(before);
        rest = tag;
        let Some(close) = tag.find("%}") else { continue };
        let body = &tag[..close];
        let word = body.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let stands_for = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        out.push_str(&body.replacen(word, stands_for, 1));
        rest = &tag[close..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String> {
        let variables = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        let messages = [Message::new("user", "a <b> & 'c'\n"), Message::new("assistant", " d")];
        ChatTemplate::new("x/chat_template.jinja", source, variables)?.open(BTreeMap::new())?.render(&messages, true)
    }

    #[test]
    fn the_environment_is_that_of_transformers() {
        assert_eq!(render("{{ bos_token }}{{ eos_token }}|{{ tools is none }}").unwrap(), "<s>|True");
        assert_eq!(
            render("{{ messages[::-1][0].content.strip() }}{{ messages[0]['content'] }}!").unwrap(),
            "da <b> & 'c'\n!"
        );
        // trim_blocks eats the newline after a block, lstrip_blocks the blanks before it, and one newline at the end goes.
        let looped =
            "{% for m in messages %}\n  {% if loop.last %}{% break %}{% endif %}\n{{ m.role }}\n{% endfor %}\n\n";
        assert_eq!(render(looped).unwrap(), "user\n");
    }

    #[test]
    fn generation_tags_print_nothing_and_keep_their_whitespace_rules() {
        let tagged = "a\n  {%- generation -%}\n  b {% endgeneration %}\nc{{ '{%' }}";
        assert_eq!(render(tagged).unwrap(), "ab c{%");
        assert_eq!(without_generation_tags("{% set generation = 1 %}"), "{% set generation = 1 %}");
    }

    #[test]
    fn what_prints_without_end_is_stopped() {
        let endless =
            "{% for i in range(9000) %}{% for j in range(9000) %}{{ i }} and {{ j }} and so on{% endfor %}{% endfor %}";
        let e = render(endless).unwrap_err();
        assert!(e.to_string().contains("x/chat_template.jinja: it prints more than 167"), "{e}");
    }

    #[test]
    fn errors_name_file_line_and_reason() {
        let e = render("line\n{% if %}").unwrap_err();
        assert!(e.to_string().contains("x/chat_template.jinja, line 2"), "{e}");
        let e = render("\n\n{{ messages | nothing }}").unwrap_err();
        assert!(e.to_string().contains("line 3") && e.to_string().contains("nothing"), "{e}");
        let e = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert!(matches!(e, Error::Refused { .. }) && e.to_string().contains("roles must alternate"), "{e}");
        assert!(e.to_string().contains("x/chat_template.jinja, line 1"), "{e}");
    }
}
