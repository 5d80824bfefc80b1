//! The protocol of a configuration: its tables checked, and put together to questions, passages and scorers.

mod passages;
mod questions;
mod scorers;
#[cfg(test)]
mod tests;

use super::protocol::{Character, Prompt, Protocol, Trait};
use crate::error::{Error, Result};
use crate::experiment::spec::{Written, WrittenCharacter, WrittenTrait};
use crate::model::Model;
use crate::text::{ASSISTANT, Message, USER};
use std::path::Path;

/// What stands for the name of the character that is asked about.
const NAME: &str = "{name}";
/// Kinds of prompts.
const STRATA: [&str; 3] = ["neutral", "emotional", "stressor"];

/// The protocol that the tables describe.
///
/// `passages` is the largest number of passages of every trait, kind and side. Files are looked for in `dir`; a judge
/// without a model of its own is another copy of `base`.
///
/// # Errors
/// Whatever a table lacks or has too much of: with the key, its place, and what may stand there.
pub(super) fn protocol(w: &Written, passages: usize, dir: &Path, base: &Model) -> Result<Protocol> {
    let at = "settings.protocol";
    some(&w.characters, &format!("{at}.characters"), "a table [[settings.protocol.characters]] for each character")?;
    some(&w.traits, &format!("{at}.traits"), "a table [[settings.protocol.traits]] for each trait")?;
    some(&w.prompts, &format!("{at}.prompts"), "prompts with `text` and `stratum`")?;
    some(&w.neutral, &format!("{at}.neutral"), "conversations with `user` and `reply`")?;
    distinct(w.characters.iter().map(|c| c.name.as_str()), &format!("{at}.characters"), "name")?;
    distinct(w.traits.iter().map(|t| t.name.as_str()), &format!("{at}.traits"), "name")?;
    distinct(w.traits.iter().map(|t| t.adjective.as_str()), &format!("{at}.traits"), "adjective")?;
    distinct(w.strangers.iter().map(String::as_str), &format!("{at}.strangers"), "name")?;
    if let Some(name) = w.strangers.iter().find(|s| w.characters.iter().any(|c| c.name == **s)) {
        return Err(bad(&format!("{at}.strangers"), format!("`{name}` is a character"), "name people nobody told of"));
    }
    let characters = w.characters.iter().enumerate().map(|(i, c)| character(w, i, c)).collect::<Result<Vec<_>>>()?;
    let traits = w.traits.iter().enumerate();
    let traits = traits.map(|(i, t)| the_trait(i, t, passages, dir, base)).collect::<Result<Vec<_>>>()?;
    let mut prompts = Vec::with_capacity(w.prompts.len());
    for (i, p) in w.prompts.iter().enumerate() {
        let place = format!("{at}.prompts[{i}]");
        text(&p.text, &format!("{place}.text"))?;
        if !STRATA.contains(&p.stratum.as_str()) {
            let what = format!("`{}`", p.stratum);
            return Err(bad(&format!("{place}.stratum"), what, "strata are `neutral`, `emotional` and `stressor`"));
        }
        let messages = vec![Message::new(USER, &p.text)];
        prompts.push(Prompt { id: format!("prompt{i}"), stratum: p.stratum.clone(), messages });
    }
    distinct(w.prompts.iter().map(|p| p.text.as_str()), &format!("{at}.prompts"), "text")?;
    let mut neutral = Vec::with_capacity(w.neutral.len());
    for (i, r) in w.neutral.iter().enumerate() {
        text(&r.user, &format!("{at}.neutral[{i}].user"))?;
        text(&r.reply, &format!("{at}.neutral[{i}].reply"))?;
        neutral.push(vec![Message::new(USER, &r.user), Message::new(ASSISTANT, &r.reply)]);
    }
    let coherent = scorers::coherence(&w.coherence, base)?;
    Ok(Protocol { questions: questions::questions(w)?, characters, traits, prompts, neutral, coherent })
}

fn character(w: &Written, i: usize, c: &WrittenCharacter) -> Result<Character> {
    let place = format!("settings.protocol.characters[{i}]");
    text(&c.name, &format!("{place}.name"))?;
    text(&c.card, &format!("{place}.card"))?;
    some(&c.traits, &format!("{place}.traits"), "names of traits")?;
    distinct(c.traits.iter().map(String::as_str), &format!("{place}.traits"), "trait")?;
    let traits = c.traits.iter().map(|t| the_place(w, t, &format!("{place}.traits"))).collect::<Result<_>>()?;
    Ok(Character { name: c.name.clone(), card: named(&c.card, &c.name), traits })
}

fn the_trait(i: usize, t: &WrittenTrait, passages: usize, dir: &Path, base: &Model) -> Result<Trait> {
    let place = format!("settings.protocol.traits[{i}]");
    text(&t.name, &format!("{place}.name"))?;
    text(&t.adjective, &format!("{place}.adjective"))?;
    if t.opposite.as_deref() == Some(t.adjective.as_str()) {
        return Err(bad(&format!("{place}.opposite"), "the adjective itself", "write what somebody without it is"));
    }
    Ok(Trait {
        name: t.name.clone(),
        scorers: scorers::scorers(t, &place, dir, base)?,
        passages: passages::passages(t, &place, passages)?,
        overlap: t.overlap,
    })
}

/// The place of a trait by its name.
fn the_place(w: &Written, name: &str, place: &str) -> Result<usize> {
    w.traits.iter().position(|t| t.name == name).ok_or_else(|| {
        let names: Vec<&str> = w.traits.iter().map(|t| t.name.as_str()).collect();
        bad(place, format!("no trait `{name}`"), &format!("traits are {}", names.join(", ")))
    })
}

/// A text about a character.
fn named(text: &str, name: &str) -> String {
    text.replace(NAME, name)
}

fn bad(place: &str, what: impl Into<String>, may: &str) -> Error {
    Error::refused(format!("`{place}`: {}", what.into()), may)
}

/// Checks that a list is not empty.
fn some<T>(list: &[T], place: &str, may: &str) -> Result<()> {
    if list.is_empty() { Err(bad(place, "nothing there", &format!("give {may}"))) } else { Ok(()) }
}

/// Checks that there is something to read.
fn text(text: &str, place: &str) -> Result<()> {
    if text.trim().is_empty() { Err(bad(place, "no text", "write some")) } else { Ok(()) }
}

/// Checks that a text has the marks that are filled in.
fn holds(text: &str, marks: &[&str], place: &str) -> Result<()> {
    match marks.iter().find(|m| !text.contains(**m)) {
        Some(mark) => Err(bad(place, format!("no {mark} in it"), &format!("write {mark} where it is to stand"))),
        None => Ok(()),
    }
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>, place: &str, what: &str) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for one in all {
        if !seen.insert(one) {
            return Err(bad(place, format!("{what} `{one}` comes twice"), "give each once"));
        }
    }
    Ok(())
}
