//! What directions are fitted on: instructions that are enacted, descriptions in third person, claims in first person.

use super::super::protocol::Passage;
use super::{bad, some, text};
use crate::error::Result;
use crate::experiment::spec::{WrittenPairs, WrittenTrait};
use crate::score::words;
use crate::text::{Message, SYSTEM, USER};

/// Words of somebody who speaks of themselves.
const FIRST_PERSON: [&str; 12] = ["i", "i'm", "i'd", "i've", "i'll", "me", "my", "mine", "myself", "we", "our", "us"];
/// The longer text of a pair has at most so many times the words of the shorter one.
const MATCHED: f64 = 1.5;
/// Groups of passages, so that they can be split for cross-validation.
const GROUPS: usize = 4;

/// Those of a trait, by kind: at most `most` on each side.
pub(super) fn passages(t: &WrittenTrait, place: &str, most: usize) -> Result<[Vec<Passage>; 3]> {
    let enact = enact(t, &format!("{place}.enact"), most)?;
    let describe = pairs(t, &t.describe, &format!("{place}.describe"), most)?;
    let claim = pairs(t, &t.claim, &format!("{place}.claim"), most)?;
    let speaks = |text: &str| words(text).iter().any(|w| FIRST_PERSON.contains(&w.as_str()));
    for (i, pair) in t.describe.pairs.iter().enumerate() {
        if speaks(&pair.positive) || speaks(&pair.negative) {
            let place = format!("{place}.describe.pairs[{i}]");
            return Err(bad(&place, "somebody speaks of themselves", "describe in third person, without I, my or we"));
        }
    }
    for (i, pair) in t.claim.pairs.iter().enumerate() {
        if !speaks(&pair.positive) || !speaks(&pair.negative) {
            let place = format!("{place}.claim.pairs[{i}]");
            return Err(bad(&place, "nobody speaks of themselves", "claims are in first person"));
        }
    }
    Ok([enact, describe, claim])
}

/// Replies of the model itself under instructions and their opposites, to every question. Of fewer than all, every
/// question comes once before one comes twice.
fn enact(t: &WrittenTrait, place: &str, most: usize) -> Result<Vec<Passage>> {
    let e = &t.enact;
    some(&e.positive, &format!("{place}.positive"), "instructions to have the trait")?;
    if e.positive.len() != e.negative.len() {
        let what = format!("{} instructions, and {} positive ones", e.negative.len(), e.positive.len());
        return Err(bad(&format!("{place}.negative"), what, "give one for each positive instruction"));
    }
    if e.questions.len() < GROUPS {
        let what = format!("{} questions", e.questions.len());
        return Err(bad(&format!("{place}.questions"), what, "give at least 4, so that they can be split"));
    }
    super::distinct(e.questions.iter().map(String::as_str), &format!("{place}.questions"), "question")?;
    let all = e.positive.iter().chain(&e.negative).chain(&e.questions);
    all.into_iter().try_for_each(|t| text(t, place))?;
    let (n, each) = (e.questions.len(), e.positive.len());
    let mut passages = Vec::new();
    for k in 0..(n * each).min(most) {
        let (question, instruction) = (k % n, (k / n + k % n) % each);
        for (positive, told) in [(true, &e.positive[instruction]), (false, &e.negative[instruction])] {
            passages.push(Passage {
                group: format!("question{question}"),
                positive,
                lead: vec![Message::new(SYSTEM, told), Message::new(USER, &e.questions[question])],
                text: None,
                then: None,
            });
        }
    }
    Ok(passages)
}

/// Texts in pairs, each a group, followed by the questions of enacting in turn.
fn pairs(t: &WrittenTrait, of: &WrittenPairs, place: &str, most: usize) -> Result<Vec<Passage>> {
    text(&of.ask, &format!("{place}.ask"))?;
    if of.pairs.len() < GROUPS {
        let what = format!("{} pairs", of.pairs.len());
        return Err(bad(&format!("{place}.pairs"), what, "give at least 4, so that they can be split"));
    }
    let mut passages = Vec::new();
    for (i, pair) in of.pairs.iter().enumerate() {
        let place = format!("{place}.pairs[{i}]");
        text(&pair.positive, &format!("{place}.positive"))?;
        text(&pair.negative, &format!("{place}.negative"))?;
        let (a, b) = (words(&pair.positive).len() as f64, words(&pair.negative).len() as f64);
        if a.max(b) > MATCHED * a.min(b) {
            let may = "write both sides at about one length: at most half as many words more";
            return Err(bad(&place, format!("{a} words against {b}"), may));
        }
        if i >= most {
            continue;
        }
        for (positive, said) in [(true, &pair.positive), (false, &pair.negative)] {
            passages.push(Passage {
                group: format!("pair{i}"),
                positive,
                lead: vec![Message::new(USER, &of.ask)],
                text: Some(said.clone()),
                then: Some(t.enact.questions[i % t.enact.questions.len()].clone()),
            });
        }
    }
    let texts = || of.pairs.iter().flat_map(|p| [p.positive.as_str(), p.negative.as_str()]);
    super::distinct(texts(), &format!("{place}.pairs"), "text")?;
    Ok(passages)
}
