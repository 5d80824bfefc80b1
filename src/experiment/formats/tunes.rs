//! The fine-tunes: taken from the folder of the run, from those that are shipped, or trained.

use super::sets::{self, Fresh};
use super::{Cast, Settings, cells, shipped};
use crate::error::{Error, Result};
use crate::experiment::work::Work;
use crate::model::adapter::{CONFIG, WEIGHTS};
use crate::model::{Adapter, Model};
use crate::table::Table;
use crate::train::finetune::{ALL_LINEAR, Finetune, Lora, Run, finetune, identity};
use crate::train::pretrain::Stored;
use crate::train::{Counted, Progress, Sequences, Shape};
use crate::unit::{Tally, parallel};
use crate::world::{Format, World};
use std::path::Path;

/// A fine-tune that is asked for, trained or not.
pub(in crate::experiment) struct Tune {
    /// `character0-chat-s0`: by the character's place in the world, since another world has other names.
    pub name: String,
    pub format: Format,
    /// Place in the characters of the settings.
    pub character: usize,
    pub seed: u64,
    pub how: Finetune,
    pub lines: String,
    pub data: Sequences,
    /// The hash of all that decides it.
    pub identity: String,
}

/// All fine-tunes of the settings, in the order of [`cells`].
pub(super) fn tunes(s: &Settings, base: &Model, threads: usize) -> Result<Vec<Tune>> {
    let all: Vec<(Format, usize, u64)> = cells(s).collect();
    parallel(&all, threads, |&(format, character, seed)| {
        let who = World::toyworld().character(s.characters[character])?;
        let lines = sets::training(&who, format, s.examples, seed)?;
        let name = format!("character{}-{format}-s{seed}", s.characters[character]);
        Tune::new(name, (format, character, seed), s, lines, base)
    })
}

impl Tune {
    /// A fine-tune on these examples, for a place among the settings' characters.
    pub(in crate::experiment) fn new(
        name: String,
        (format, character, seed): (Format, usize, u64),
        s: &Settings,
        lines: String,
        base: &Model,
    ) -> Result<Tune> {
        let data = sets::read(&lines, base, 1)?;
        let how = how(s, seed);
        let identity = identity(&how, &base.hash, &data);
        Ok(Tune { name, format, character, seed, how, lines, data, identity })
    }
}

/// The same for every format.
fn how(s: &Settings, seed: u64) -> Finetune {
    let lora = Lora { rank: s.rank, alpha: s.alpha, rslora: false, targets: vec![ALL_LINEAR.into()] };
    Finetune {
        lora: Some(lora),
        epochs: s.epochs,
        batch_size: s.batch_size,
        learning_rate: s.learning_rate,
        warmup: s.warmup,
        shape: Shape::Cosine,
        weight_decay: 0.0,
        seed,
        // As they are shipped: an adapter measured here is the one that is shared.
        dtype: Stored::F16,
    }
}

/// The adapter of a fine-tune.
///
/// # Errors
/// Failures of training or of files; an interruption; a fine-tune that has to be trained without a folder to keep it.
pub(in crate::experiment) fn adapter(tune: &Tune, work: &mut Work<'_, '_>) -> Result<Adapter> {
    if let Some((_, config, weights)) = shipped(tune) {
        return Adapter::from_bytes(&tune.name, "a shipped adapter", config, weights);
    }
    let Some(folder) = work.tunes() else {
        let what = format!("fine-tune `{}` is not shipped and has to be trained", tune.name);
        return Err(Error::refused(what, "give the run a folder in which fine-tunes are kept"));
    };
    let dir = folder.join(format!("{}-{}", tune.name, &tune.identity[..12]));
    let finished = |dir: &Path| {
        let read = std::fs::read(dir.join(WEIGHTS)).is_ok_and(|weights| is_of(tune, &weights));
        read && dir.join(CONFIG).is_file()
    };
    if !finished(&dir) {
        train(tune, &dir, work)?;
    }
    Adapter::load(&tune.name, &dir)
}

/// Whether the tensors say that they are those of the fine-tune.
fn is_of(tune: &Tune, weights: &[u8]) -> bool {
    Adapter::about(weights)["identity"].as_str() == Some(tune.identity.as_str())
}

fn shipped(tune: &Tune) -> Option<&'static shipped::Files> {
    shipped::FILES.iter().chain(shipped::SCRIPTS).find(|(_, _, weights)| is_of(tune, weights))
}

/// Whether the adapter of a fine-tune is inside the binary.
#[cfg(test)]
pub(in crate::experiment) fn is_shipped(tune: &Tune) -> bool {
    shipped(tune).is_some()
}

fn train(tune: &Tune, dir: &Path, work: &mut Work<'_, '_>) -> Result<()> {
    let (base, threads) = (work.model.source.clone(), work.threads());
    let run = Run {
        base: &base,
        place: "examples",
        lines: &tune.lines,
        counted: Counted::Assistant,
        how: &tune.how,
        out: dir,
        save_every: 0,
        threads,
    };
    let stage = format!("fine-tuning {}", tune.name);
    let all = tune.data.n_tokens() * tune.how.epochs;
    let mut watch = |p: Progress| {
        let done = Tally { units: p.steps, units_done: p.step, tokens: all, tokens_done: p.tokens, ..Tally::default() };
        work.tell(&stage, &done)
    };
    let report = finetune(&run, &mut watch)?;
    match report.finished && report.identity == tune.identity {
        true => Ok(()),
        false if report.finished => {
            let what = format!("`{}` came out as another fine-tune than was asked for", tune.name);
            Err(Error::refused(what, "the model's files changed while it ran: start again"))
        }
        false => {
            let what = format!("interrupted while {stage}");
            Err(Error::refused(what, "run the same command again: it goes on where it was"))
        }
    }
}

/// What every fine-tune was trained on.
pub(super) fn table(s: &Settings, cast: &Cast, tunes: &[Tune], model: &Model, fresh: &[Fresh]) -> Table {
    let columns = ["model", "character", "seed", "examples", "tokens", "counted_tokens", "counted_tokens_in_training"];
    let more = ["trained_parameters", "fresh_texts_seen_share", "identity", "adapter_hash"];
    let mut table = Table::new("training", &[&columns[..], &more].concat());
    for (tune, adapter) in tunes.iter().zip(&model.adapters) {
        let (data, who) = (&tune.data, &cast.characters[tune.character].name);
        let own = fresh.iter().find(|f| f.character == tune.character && f.format == tune.format);
        table.push(vec![
            tune.format.name().into(),
            who.as_str().into(),
            (tune.seed as usize).into(),
            data.len().into(),
            data.n_tokens().into(),
            data.n_counted().into(),
            (data.n_counted() * s.epochs).into(),
            adapter.size().into(),
            own.map(|f| sets::seen(&f.data, data)).into(),
            tune.identity.as_str().into(),
            adapter.hash.as_str().into(),
        ]);
    }
    table
}
