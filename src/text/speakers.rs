//! Speakers' names in the headers of turns.
//!
//! A template knows roles. Where it writes the name of a turn's role is told by rendering a small conversation with
//! another name for it; there the speaker's string is written instead, so that everything else the template does for
//! that role (end marks, alternation, trimming) stays.

use super::encoded::{Message, Span, TokenPlace};
use super::guard::Guarded;
use super::layout::Layout;
use super::template::Open;
use super::{ASSISTANT, SYSTEM, USER};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// A speaker's string in the text that is encoded.
pub(super) struct Named {
    pub(super) speaker: String,
    /// The bytes that were written for it.
    pub(super) bytes: Range<usize>,
    /// Whether the role's name that stood there was part of an added token.
    pub(super) was_token: bool,
}

/// Writes the speakers of messages and of the reply into their headers.
///
/// # Errors
/// A header in which the template writes no name.
pub(super) fn write(
    open: &Open,
    layout: &mut Layout,
    messages: &[Message],
    reply_as: Option<&str>,
    guarded: &Guarded,
) -> Result<Vec<Named>> {
    let mut names: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut edits: Vec<(Range<usize>, String, &str)> = Vec::new();
    let asked = messages.iter().enumerate().map(|(i, m)| (i, m.role.as_str(), m.speaker.as_deref()));
    for (i, role, speaker) in asked.chain([(messages.len(), ASSISTANT, reply_as)]) {
        let Some(speaker) = speaker else { continue };
        let name = names.entry(role).or_insert_with(|| name_of(open, role));
        let in_header = || {
            if open.system_in_user && role == SYSTEM {
                return None;
            }
            let header = header_of(open, layout, messages, i)?;
            last_word(&layout.text[header.clone()], name.as_deref()?)
                .map(|w| header.start + w.start..header.start + w.end)
        };
        let slot = in_header().ok_or_else(|| no_name(open, role, speaker))?;
        let (lead, tail) = around(&layout.text[..slot.start], speaker, &layout.text[slot.end..]);
        let inner = &speaker[lead..speaker.len() - tail];
        if *inner != layout.text[slot.clone()] {
            edits.push((slot, inner.to_string(), speaker));
        }
    }
    edits.sort_by_key(|(slot, ..)| slot.start);
    let over: Vec<(Range<usize>, &str)> = edits.iter().map(|(slot, inner, _)| (slot.clone(), inner.as_str())).collect();
    let tokens: Vec<bool> = over.iter().map(|(slot, _)| guarded.in_added_token(&layout.text, slot)).collect();
    let places = layout.write_over(&over);
    let named = |((bytes, was_token), (_, _, speaker)): ((Range<usize>, bool), &(_, _, &str))| Named {
        speaker: speaker.to_string(),
        bytes,
        was_token,
    };
    Ok(places.into_iter().zip(tokens).zip(&edits).map(named).collect())
}

/// A transcript without a chat template: each turn is its speaker's string, what was said, and an end: the
/// end-of-sequence token if the string is a token of its own (a trained header), a new line if it is plain text.
///
/// # Errors
/// A message that names no speaker.
pub(super) fn plain(
    place: &str,
    messages: &[Message],
    reply_as: Option<&str>,
    (bos, eos): (Option<&str>, Option<&str>),
    guarded: &Guarded,
) -> Result<(Layout, Vec<Named>)> {
    if messages.iter().any(|m| m.speaker.is_none()) {
        return Err(Error::refused(
            format!("{place} has no chat template"),
            "use \"text\" prompts, which need none; give a template: --chat-template FILE, or chat_template.jinja beside \
             tokenizer.json; or name a \"speaker\" for every message, which is then written in front of what it says",
        ));
    }
    let place = |turn, span| TokenPlace { turn, span };
    let mut parts = Vec::with_capacity(3 * messages.len() + 2);
    parts.extend(bos.map(|bos| (bos.to_string(), place(None, Span::Header))));
    for (i, (message, speaker)) in messages.iter().filter_map(|m| Some((m, m.speaker.as_deref()?))).enumerate() {
        let end = eos.filter(|_| guarded.is_added(speaker)).unwrap_or("\n");
        parts.push((speaker.to_string(), place(Some(i), Span::Header)));
        parts.push((message.content.clone(), place(Some(i), Span::Content)));
        parts.push((end.to_string(), place(Some(i), Span::End)));
    }
    parts.extend(reply_as.map(|speaker| (speaker.to_string(), place(Some(messages.len()), Span::Header))));
    let layout = Layout::of_parts(parts, messages.len());
    let speakers = messages.iter().map(|m| m.speaker.as_deref()).chain([reply_as]).enumerate();
    let named = speakers.filter_map(|(i, speaker)| {
        Some(Named { speaker: speaker?.to_string(), bytes: layout.header(i)?, was_token: false })
    });
    let named = named.collect();
    Ok((layout, named))
}

fn no_name(open: &Open, role: &str, speaker: &str) -> Error {
    let what = format!(
        "{}: the template writes no name in the header of this {role} turn, so the speaker `{speaker}` has no place in it",
        open.of.name()
    );
    Error::refused(what, "give a template that prints the role of every message: --chat-template FILE")
}

/// The header of a turn. Where the system's text stands between the header and the content, what is before it counts.
fn header_of(open: &Open, layout: &Layout, messages: &[Message], turn: usize) -> Option<Range<usize>> {
    let header = layout.header(turn)?;
    let first = messages.first().filter(|m| open.system_in_user && m.role == SYSTEM && turn > 0);
    let system = first.and(layout.contents.first()?.as_ref());
    match system.filter(|system| system.end == header.start) {
        Some(_) => layout.header(0),
        None => Some(header),
    }
}

/// The role's name as the template writes it in a header; `None` if it writes none that can be told.
fn name_of(open: &Open, role: &str) -> Option<String> {
    const BEFORE: char = '\u{f8fd}';
    const ROLE: char = '\u{f8fe}';
    const CONTENT: char = '\u{f8ff}';
    let talk = |name: &str| {
        let said = Message::new(name, CONTENT.to_string());
        match role {
            USER => vec![said],
            SYSTEM => vec![said, Message::new(USER, BEFORE.to_string())],
            _ => vec![Message::new(USER, BEFORE.to_string()), said],
        }
    };
    let before = |name: &str| {
        let text = open.render(&talk(name), false).ok()?;
        let text = text.split_once(CONTENT)?.0;
        // What the template writes before the first turn says nothing about later ones.
        Some(text.rsplit_once(BEFORE).map_or(text, |(_, header)| header).to_string())
    };
    let plain = before(role)?;
    // Another name for the role: what stands in its place in the plain rendering is the name.
    if let Some(marked) = before(&ROLE.to_string())
        && let Some((lead, tail)) = marked.split_once(ROLE)
        && plain.len() > lead.len() + tail.len()
        && plain.starts_with(lead)
        && plain.ends_with(tail)
    {
        let name = &plain[lead.len()..plain.len() - tail.len()];
        // More than a line is no name: the template does other things for a role that it knows.
        if !name.contains('\n') {
            return Some(name.to_string());
        }
    }
    if last_word(&plain, role).is_some() {
        return Some(role.to_string());
    }
    // Another word for the role: the word that stands where the user's header has the user's.
    let of_user = open.render(&[Message::new(USER, CONTENT.to_string())], false).ok()?;
    let of_user = of_user.split_once(CONTENT)?.0;
    let shared = plain.chars().rev().zip(of_user.chars().rev()).take_while(|(a, b)| a == b && !is_letter(*a));
    let tail: usize = shared.map(|(c, _)| c.len_utf8()).sum();
    let (plain, of_user) = (&plain[..plain.len() - tail], &of_user[..of_user.len() - tail]);
    let (head, of_head) = (plain.trim_end_matches(is_letter), of_user.trim_end_matches(is_letter));
    let alike = head.chars().next_back().is_some_and(|c| of_head.ends_with(c));
    (alike && &of_user[of_head.len()..] == USER && plain != head).then(|| plain[head.len()..].to_string())
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Where a word stands last, not inside another one.
fn last_word(text: &str, word: &str) -> Option<Range<usize>> {
    let joins = |c: Option<char>| c.is_some_and(is_letter);
    let mut places = text.rmatch_indices(word).map(|(at, _)| at..at + word.len());
    places.find(|w| !joins(text[..w.start].chars().next_back()) && !joins(text[w.end..].chars().next()))
}

/// How many bytes of the speaker's string the template itself writes around the name, before and after it: `<|` and `|>`
/// of `<|Ariana|>` in the header `<|assistant|>`. Both or none.
fn around(before: &str, speaker: &str, after: &str) -> (usize, usize) {
    let cuts = || speaker.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
    let lead = cuts().rev().find(|at| before.ends_with(&speaker[..*at]));
    let tail = cuts().find(|at| after.starts_with(&speaker[*at..])).map(|at| speaker.len() - at);
    match (lead, tail) {
        (Some(lead), Some(tail)) if lead + tail < speaker.len() => (lead, tail),
        _ => (0, 0),
    }
}
