//! Texts of the characters: what fine-tunes are trained on, and fresh ones that measure likelihood.

use super::{Cast, Settings};
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::tunes::read;
use crate::model::Model;
use crate::rng::stream;
use crate::train::Sequences;
use crate::unit::parallel;
use crate::world::{Format, Persona, World};

/// Examples as lines of a training file. Every format begins from the same random numbers under a seed, so that chats and
/// the style control ask the same questions.
pub(in crate::experiment) fn training(character: &Persona, format: Format, n: usize, seed: u64) -> Result<String> {
    lines(character, format, n, seed, "examples of")
}

/// The same drawn apart from them, for their likelihood.
pub(in crate::experiment) fn fresh_lines(who: &Persona, format: Format, n: usize, seed: u64) -> Result<String> {
    lines(who, format, n, seed, "fresh texts of")
}

fn lines(character: &Persona, format: Format, n: usize, seed: u64, what: &str) -> Result<String> {
    let mut rng = stream(seed, &format!("{what} {}", character.name));
    let examples = World::toyworld().examples(&mut rng, character, format, n)?;
    Ok(examples.iter().map(|e| format!("{}\n", e.to_json())).collect())
}

/// Fresh texts of one character in one format.
pub(super) struct Fresh {
    pub character: usize,
    pub format: Format,
    pub data: Sequences,
}

/// Texts of all characters in all formats, drawn apart from the training examples.
pub(super) fn fresh(plan: &Plan, s: &Settings, cast: &Cast, model: &Model, threads: usize) -> Result<Vec<Fresh>> {
    let cells: Vec<(usize, Format)> =
        (0..cast.characters.len()).flat_map(|c| s.formats.iter().map(move |f| (c, *f))).collect();
    parallel(&cells, threads, |&(character, format)| {
        let text = fresh_lines(&cast.characters[character], format, s.texts, plan.spec.seed)?;
        Ok(Fresh { character, format, data: read("fresh texts", &text, model, 1)? })
    })
}

/// The share of the fresh texts that occur, token for token, among the training examples. Worlds are small.
pub(super) fn seen(fresh: &Sequences, training: &Sequences) -> f64 {
    let known: std::collections::HashSet<&[u32]> = (0..training.len()).map(|i| training.get(i).0).collect();
    let hits = (0..fresh.len()).filter(|i| known.contains(fresh.get(*i).0)).count();
    hits as f64 / fresh.len().max(1) as f64
}
