//! The fine-tunes of the settings: one for each format, character and seed.

use super::sets::{self, Fresh};
use super::{Cast, Settings, cells};
use crate::error::Result;
use crate::experiment::spec::Training;
use crate::experiment::tunes::Tune;
use crate::model::Model;
use crate::table::Table;
use crate::unit::parallel;
use crate::world::{Format, World};

/// A fine-tune and what it is of.
pub(super) struct Of {
    pub format: Format,
    /// Place in the characters of the settings.
    pub character: usize,
    pub seed: u64,
    pub tune: Tune,
}

/// All fine-tunes of the settings, in the order of [`cells`].
pub(super) fn tunes(s: &Settings, base: &Model, threads: usize) -> Result<Vec<Of>> {
    let all: Vec<(Format, usize, u64)> = cells(s).collect();
    parallel(&all, threads, |&(format, character, seed)| {
        let who = World::toyworld().character(s.characters[character])?;
        let lines = sets::training(&who, format, s.examples, seed)?;
        // By the character's place in the world, since another world has other names.
        let name = format!("character{}-{format}-s{seed}", s.characters[character]);
        Ok(Of { format, character, seed, tune: Tune::new(name, lines, &training(s), seed, base)? })
    })
}

/// How they are made.
pub(super) fn training(s: &Settings) -> Training {
    Training {
        examples: s.examples,
        rank: s.rank,
        alpha: s.alpha,
        rslora: false,
        epochs: s.epochs,
        batch_size: s.batch_size,
        learning_rate: s.learning_rate,
        warmup: s.warmup,
    }
}

/// What every fine-tune was trained on.
pub(super) fn table(s: &Settings, cast: &Cast, tunes: &[Of], model: &Model, fresh: &[Fresh]) -> Table {
    let columns = ["model", "character", "seed", "examples", "tokens", "counted_tokens", "counted_tokens_in_training"];
    let more = ["trained_parameters", "fresh_texts_seen_share", "identity", "adapter_hash"];
    let mut table = Table::new("training", &[&columns[..], &more].concat());
    for (of, adapter) in tunes.iter().zip(&model.adapters) {
        let (data, who) = (&of.tune.data, &cast.characters[of.character].name);
        let own = fresh.iter().find(|f| f.character == of.character && f.format == of.format);
        table.push(vec![
            of.format.name().into(),
            who.as_str().into(),
            (of.seed as usize).into(),
            data.len().into(),
            data.n_tokens().into(),
            data.n_counted().into(),
            (data.n_counted() * s.epochs).into(),
            adapter.size().into(),
            own.map(|f| sets::seen(&f.data, data)).into(),
            of.tune.identity.as_str().into(),
            adapter.hash.as_str().into(),
        ]);
    }
    table
}
