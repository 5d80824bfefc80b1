//! From a conversation to tokens with their places.

use super::encoded::{Encoded, Message, Span, TokenPlace, Turn};
use super::guard::{Guard, Piece};
use super::layout::{self, Layout};
use super::speakers::{self, Named};
use super::template::{ChatTemplate, Open, Variables};
use super::{ASSISTANT, SYSTEM, Text, USER};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// How a conversation is rendered, beyond its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatOptions {
    /// Whether the header of a reply follows the last message.
    pub generation_header: bool,
    /// The speaker in that header.
    pub reply_as: Option<String>,
    /// Variables for the template, such as `enable_thinking`; they come before those of [`Text::set_variables`].
    pub variables: Variables,
}

impl Text {
    /// What is said where a conversation with a system turn is rendered; `None` if the template writes it as it is.
    pub fn system_note(&self) -> Option<String> {
        let messages = [Message::new(SYSTEM, "y"), Message::new(USER, "x")];
        self.chat(&messages, true).ok()?.warnings.into_iter().next()
    }

    /// As [`Text::chat_with`] with no options but the generation header.
    ///
    /// # Errors
    /// As there.
    pub fn chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Encoded> {
        self.chat_with(messages, &ChatOptions { generation_header: add_generation_prompt, ..ChatOptions::default() })
    }

    /// Renders a conversation with the checkpoint's own template, encodes it and tells the place of every token.
    ///
    /// The ids are those of `apply_chat_template` in transformers, with these deliberate differences. Special tokens
    /// written inside a message stay plain text; so do, outside the assistant's messages, the non-special added
    /// tokens that the template itself writes (`<think>`, turn marks of some checkpoints). The template's
    /// `strftime_now` is frozen at 26 July 2024. And the text of a system turn that the template refuses, or drops,
    /// stands before the first user turn's, two newlines between; [`Encoded::warnings`] says so. No post-processor
    /// runs, so a beginning-of-sequence token is there exactly as often as the template writes it.
    ///
    /// The template's text after a content is that turn's end as far as it also stands there when the turn is the
    /// last one; the rest is the header of the next turn. A content that the template prints twice counts where
    /// it stands first; one that it drops has an empty range.
    ///
    /// A message with a speaker has the speaker's string in its header in the place of the role's name; of a string such
    /// as `<|Ariana|>`, what the template writes around the name anyway is not written twice. A speaker may be an added
    /// token of the tokenizer, but not one that the template or the configuration uses. Without a template,
    /// conversations in which every message has a speaker are written as speaker, content and end.
    ///
    /// # Errors
    /// A checkpoint without a chat template, a conversation that the template refuses, a generation header asked
    /// for after the assistant's own turn with no speaker for it, a speaker that has no place or brings control tokens,
    /// and a template in which the contents cannot be located.
    pub fn chat_with(&self, messages: &[Message], options: &ChatOptions) -> Result<Encoded> {
        let generation = options.generation_header;
        let reply_as = options.reply_as.as_deref().filter(|_| generation);
        self.check(messages, generation, reply_as)?;
        let mut warnings = Vec::new();
        let (layout, named) = match &self.template {
            Some(template) => {
                let mut variables = self.variables.clone();
                variables.extend(options.variables.clone());
                warnings.extend(unknown(template, &options.variables));
                let (open, mut layout) =
                    self.rendered(template.open(variables)?, messages, generation, &mut warnings)?;
                let named = speakers::write(&open, &mut layout, messages, reply_as, &self.guarded)?;
                (layout, named)
            }
            None if generation && reply_as.is_none() && messages.iter().all(|m| m.speaker.is_some()) => {
                return Err(Error::refused(
                    format!("{} has no chat template, so nobody is known to reply", self.place),
                    "end the messages with one that has a \"speaker\" and no \"content\"",
                ));
            }
            None => {
                let token = |name: &str| self.named.get(name).map(String::as_str);
                let ends = (token("bos_token"), token("eos_token"));
                let parts = speakers::plain(&self.place, messages, reply_as, ends, &self.guarded)?;
                warnings
                    .push(format!("{} has no chat template: turns are written as speaker, content, end", self.place));
                parts
            }
        };
        let said = |(i, bytes): &(usize, _)| Guard {
            bytes: Clone::clone(bytes),
            from_assistant: messages[*i].role == ASSISTANT,
        };
        let guards: Vec<Guard> = layout.printed.iter().map(said).collect();
        let pieces = self.guarded.encode(&layout.text, &guards)?;
        for speaker in &named {
            warnings.extend(self.check_speaker(speaker, &pieces)?);
        }
        let twice = pieces.len() > 1 && self.bos.is_some() && pieces[..2].iter().all(|p| Some(p.id) == self.bos);
        warnings.extend(twice.then(|| "the rendering begins with two beginning-of-sequence tokens".to_string()));
        let mut encoded = self.place_tokens(messages, &layout, &pieces, generation);
        (encoded.reply_as, encoded.warnings) = (reply_as.map(str::to_string), warnings);
        Ok(encoded)
    }

    /// Renders and finds the parts; a system turn that is refused or dropped goes to the first user turn.
    fn rendered<'t>(
        &self,
        mut open: Open<'t>,
        messages: &[Message],
        generation: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(Open<'t>, Layout)> {
        let find = |open: &Open, text| layout::find(open, messages, generation, text, &|t| self.guarded.added_in(t));
        let said = |i: usize| !messages[i].content.trim().is_empty();
        let system = messages[0].role == SYSTEM && messages.iter().any(|m| m.role == USER);
        let in_user = |open: &mut Open| {
            open.system_in_user = true;
            let text = open.render(messages, generation).ok();
            let layout = text.and_then(|text| find(open, text).ok()).filter(|l| l.contents[0].is_some() || !said(0));
            open.system_in_user = layout.is_some();
            layout
        };
        let instead = "its text stands before the first user turn's instead, two newlines between";
        let layout = match open.render(messages, generation) {
            Ok(text) => {
                let layout = find(&open, text)?;
                let dropped = system && said(0) && layout.contents[0].is_none();
                match dropped.then(|| in_user(&mut open)).flatten() {
                    Some(other) => {
                        warnings.push(format!("{}: the template drops the system turn; {instead}", open.of.name()));
                        other
                    }
                    None => layout,
                }
            }
            Err(refused @ Error::Refused { .. }) if system => match in_user(&mut open) {
                Some(layout) => {
                    warnings.push(format!("{refused}; the system turn is left out and {instead}"));
                    layout
                }
                None => return Err(stopped_at(&open, messages, refused)),
            },
            Err(e) => return Err(stopped_at(&open, messages, e)),
        };
        let dropped = (0..messages.len()).filter(|i| layout.contents[*i].is_none() && said(*i));
        let roles: BTreeSet<&str> = dropped.map(|i| messages[i].role.as_str()).collect();
        let nothing = |role| format!("{}: the template prints nothing of a {role} turn", open.of.name());
        warnings.extend(roles.into_iter().map(nothing));
        Ok((open, layout))
    }

    fn check(&self, messages: &[Message], generation: bool, reply_as: Option<&str>) -> Result<()> {
        let Some(last) = messages.last() else {
            return Err(Error::refused("a conversation without messages", "give at least one message"));
        };
        if generation && last.role == ASSISTANT && reply_as.is_none() {
            return Err(Error::refused(
                "a generation header after the assistant's own turn",
                "end the conversation with another role, name the speaker of the reply, or ask for no generation header",
            ));
        }
        // A role is the template's to print, so its text is markup; it must not bring control tokens of its own.
        for message in messages {
            if let Some(token) = self.guarded.special_in(&message.role) {
                return Err(Error::refused(
                    format!("the role `{}` contains the special token `{token}`", message.role),
                    "a role is a plain word such as system, user or assistant; a header of another kind is a \"speaker\"",
                ));
            }
        }
        let empty = |s: &str| s.trim().is_empty();
        if messages.iter().filter_map(|m| m.speaker.as_deref()).chain(reply_as).any(empty) {
            return Err(Error::refused("a speaker without a name", "give a name, or leave `speaker` out"));
        }
        Ok(())
    }

    /// Refuses control tokens in a speaker's string; a warning if it looks like a token and is none.
    fn check_speaker(&self, named: &Named, pieces: &[Piece]) -> Result<Option<String>> {
        let Named { speaker, bytes, was_token } = named;
        let touching = pieces.iter().filter(|p| p.bytes.start < bytes.end && bytes.start < p.bytes.end);
        let mut own = false;
        for piece in touching.clone().filter(|p| self.guarded.is_added_id(p.id)) {
            let whole = piece.bytes.start <= bytes.start && bytes.end <= piece.bytes.end;
            own |= whole;
            let control = self.control.contains(&piece.id);
            if control || !whole && self.guarded.is_markup(piece.id) {
                let token = self.token(piece.id).unwrap_or_default();
                let what = match control {
                    true => format!("the speaker `{speaker}` would be read as the control token `{token}`"),
                    false => format!("the speaker `{speaker}` contains the special token `{token}`"),
                };
                return Err(Error::refused(what, "a speaker is plain text, or one added token of its own"));
            }
        }
        let looks = speaker.starts_with("<|") && speaker.ends_with("|>");
        Ok((!own && (*was_token || looks)).then(|| {
            let n = touching.count();
            format!("the speaker `{speaker}` is no token of this tokenizer; its name is read as {n} tokens")
        }))
    }

    fn place_tokens(
        &self,
        messages: &[Message],
        layout: &Layout,
        pieces: &[Piece],
        generation_header: bool,
    ) -> Encoded {
        let mut places: Vec<TokenPlace> = pieces.iter().map(|p| layout.place(&p.bytes)).collect();
        if pieces.first().is_some_and(|p| Some(p.id) == self.bos) && places[0].span == Span::Header {
            places[0].turn = None;
        }
        let mut empty_at = 0;
        let turns = messages
            .iter()
            .enumerate()
            .map(|(i, m)| {
                let inside = |p: &TokenPlace| *p == TokenPlace { turn: Some(i), span: Span::Content };
                let content = match (places.iter().position(inside), &layout.contents[i]) {
                    (Some(first), _) => first..places.iter().rposition(inside).map_or(first, |l| l + 1),
                    (None, Some(bytes)) => {
                        let at = pieces.iter().position(|p| p.bytes.start >= bytes.start).unwrap_or(pieces.len());
                        at..at
                    }
                    (None, None) => empty_at..empty_at,
                };
                empty_at = content.end;
                Turn { role: m.role.clone(), speaker: m.speaker.clone(), content }
            })
            .collect();
        let tokens = pieces.iter().map(|p| p.id).collect();
        Encoded { tokens, places, turns, generation_header, reply_as: None, warnings: vec![] }
    }
}

/// The error of a rendering with the message that it stops at: the last of the shortest beginning that fails, too.
fn stopped_at(open: &Open, messages: &[Message], error: Error) -> Error {
    let fails = |n: &usize| open.render(&messages[..*n], false).is_err();
    let Some(n) = (1..=messages.len()).find(fails) else { return error };
    let at = format!(" (at message {}, `{}`)", n - 1, messages[n - 1].role);
    match error {
        Error::Refused { what, hint } => Error::Refused { what: what + &at, hint },
        Error::Format { place, reason, hint } => Error::Format { place, reason: reason + &at, hint },
        other => other,
    }
}

/// Warnings about variables that a template never mentions.
pub(super) fn unknown(template: &ChatTemplate, variables: &Variables) -> Vec<String> {
    let unknown = variables.keys().filter(|name| !template.source().contains(name.as_str()));
    unknown.map(|name| format!("{}: the template does not use the variable `{name}`", template.name())).collect()
}
