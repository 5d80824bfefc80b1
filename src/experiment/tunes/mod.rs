//! Fine-tunes of any lines: taken from those that are shipped, from the folder of the run, or trained.

mod course;
#[cfg(test)]
mod tests;

pub(super) use course::course;

use super::plan::{Plan, need, out_of_range};
use super::spec::Training;
use super::work::Work;
use crate::error::{Error, Result};
use crate::model::adapter::{CONFIG, WEIGHTS};
use crate::model::{Adapter, Model};
use crate::shipped::{ADAPTERS, ShippedAdapter};
use crate::train::finetune::{ALL_LINEAR, Finetune, Lora, Run, finetune, identity};
use crate::train::pretrain::Stored;
use crate::train::{Counted, Progress, Sequences, Shape};
use crate::unit::Tally;
use std::path::{Path, PathBuf};

/// A fine-tune that is asked for, trained or not.
pub(super) struct Tune {
    /// Of its folder, its adapter and its messages: letters, digits, `_`, `-` and `.`.
    pub name: String,
    pub how: Finetune,
    /// Examples, as lines of a training file.
    pub lines: String,
    pub data: Sequences,
    /// The hash of all that decides it.
    pub identity: String,
}

impl Tune {
    /// A fine-tune of `base` on these lines; the seed decides the order of the examples and where the adapter starts.
    ///
    /// # Errors
    /// Lines that are no examples, or examples that the model cannot read.
    pub fn new(name: String, lines: String, training: &Training, seed: u64, base: &Model) -> Result<Tune> {
        let data = read(&name, &lines, base, 1)?;
        let how = how(training, seed);
        let identity = identity(&how, &base.hash, &data);
        Ok(Tune { name, how, lines, data, identity })
    }

    /// Where it is kept below the folder of fine-tunes.
    fn folder(&self) -> String {
        format!("{}-{}", self.name, &self.identity[..12])
    }
}

/// The lines as the model reads them: conversations through its template, of which the assistant's words count.
///
/// # Errors
/// Lines that are no examples.
pub(super) fn read(place: &str, lines: &str, model: &Model, threads: usize) -> Result<Sequences> {
    Sequences::read(place, lines, &model.text, Counted::Assistant, model.lm.dims().n_ctx, threads)
}

/// The first `examples` lines of a file, which hold an example each; empty lines are none.
///
/// # Errors
/// A file that cannot be read, or with fewer: fine-tunes that are compared have equal numbers.
pub(super) fn lines_of(path: &Path, examples: usize) -> Result<String> {
    let full = full_lines(path)?;
    if full.len() < examples {
        let reason = format!("{} examples, and `training.examples` is {examples}", full.len());
        return Err(Error::format(path.display().to_string(), reason, "ask for as many as the smallest file has"));
    }
    Ok(joined(&full[..examples]))
}

/// Up to `most` lines behind those, which no fine-tune was given.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn lines_behind(path: &Path, examples: usize, most: usize) -> Result<String> {
    let full = full_lines(path)?;
    let behind = &full[examples.min(full.len())..];
    Ok(joined(&behind[..most.min(behind.len())]))
}

fn full_lines(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let reason = format!("not UTF-8 text (byte {})", e.utf8_error().valid_up_to());
        Error::format(path.display().to_string(), reason, "save the file as UTF-8")
    })?;
    Ok(text.lines().filter(|l| !l.trim().is_empty()).map(String::from).collect())
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|l| [l.as_str(), "\n"]).collect()
}

/// Checks the settings of fine-tunes.
///
/// # Errors
/// One out of its range, by name.
pub(super) fn check(t: &Training) -> Result<()> {
    let counts = [("examples", t.examples), ("rank", t.rank), ("epochs", t.epochs), ("batch_size", t.batch_size)];
    counts.into_iter().try_for_each(|(key, value)| need(value > 0, key, value, "at least 1"))?;
    let positive = |v: f64| v > 0.0 && v.is_finite();
    need(positive(t.alpha), "alpha", t.alpha, "above 0")?;
    let rates = "above 0; 0.002 suits small models, 0.0002 large ones";
    need(positive(t.learning_rate), "learning_rate", t.learning_rate, rates)?;
    need((0.0..1.0).contains(&t.warmup), "warmup", t.warmup, "a share of the steps, from 0 to below 1")
}

/// Checks seeds, of which each makes a fine-tune.
///
/// # Errors
/// None, or one twice.
pub(super) fn check_seeds(seeds: &[u64]) -> Result<()> {
    let distinct = !seeds.is_empty() && (1..seeds.len()).all(|i| !seeds[..i].contains(&seeds[i]));
    if distinct { Ok(()) } else { Err(out_of_range("seeds", format!("{seeds:?}"), "at least one, each once")) }
}

/// The same for every format.
fn how(t: &Training, seed: u64) -> Finetune {
    let lora = Lora { rank: t.rank, alpha: t.alpha, rslora: t.rslora, targets: vec![ALL_LINEAR.into()] };
    Finetune {
        lora: Some(lora),
        epochs: t.epochs,
        batch_size: t.batch_size,
        learning_rate: t.learning_rate,
        warmup: t.warmup,
        shape: Shape::Cosine,
        weight_decay: 0.0,
        seed,
        // As they are shipped: an adapter measured here is the one that is shared.
        dtype: Stored::F16,
    }
}

/// The model of the run with the adapters of these fine-tunes, in their order.
///
/// # Errors
/// Those of [`adapter`].
pub(super) fn tuned<'t>(plan: &Plan, tunes: impl Iterator<Item = &'t Tune>, work: &mut Work<'_, '_>) -> Result<Model> {
    // The model of a plan is shared; adapters are added to another copy of it.
    let (mut model, _) = Model::open(&work.model.source, work.model.opening())?;
    plan.belongs_to(&model)?;
    for tune in tunes {
        model.add(adapter(tune, work)?)?;
    }
    Ok(model)
}

/// The adapter of a fine-tune.
///
/// # Errors
/// Failures of training or of files; an interruption; a fine-tune that has to be trained without a folder to keep it.
pub(super) fn adapter(tune: &Tune, work: &mut Work<'_, '_>) -> Result<Adapter> {
    if let Some(shipped) = shipped(tune) {
        return Adapter::shipped(&tune.name, shipped);
    }
    let dir = kept(tune, work)?.join(tune.folder());
    if !is_there(tune, &dir) {
        train(tune, &dir, 0, work)?;
    }
    Adapter::load(&tune.name, &dir)
}

/// The folder of fine-tunes.
fn kept(tune: &Tune, work: &Work<'_, '_>) -> Result<PathBuf> {
    work.tunes().map(Path::to_path_buf).ok_or_else(|| {
        let what = format!("fine-tune `{}` is not shipped and has to be trained", tune.name);
        Error::refused(what, "give the run a folder in which fine-tunes are kept")
    })
}

/// Whether a folder holds an adapter of the fine-tune.
fn is_there(tune: &Tune, dir: &Path) -> bool {
    let read = std::fs::read(dir.join(WEIGHTS)).is_ok_and(|weights| is_of(tune, &weights));
    read && dir.join(CONFIG).is_file()
}

/// Whether the tensors say that they are those of the fine-tune.
fn is_of(tune: &Tune, weights: &[u8]) -> bool {
    Adapter::about(weights)["identity"].as_str() == Some(tune.identity.as_str())
}

fn shipped(tune: &Tune) -> Option<&'static ShippedAdapter> {
    ADAPTERS.iter().find(|a| is_of(tune, a.weights))
}

/// Whether the adapter of a fine-tune is inside the binary.
#[cfg(test)]
pub(super) fn is_shipped(tune: &Tune) -> bool {
    shipped(tune).is_some()
}

/// What the shipped adapters of the formats probe say of themselves.
#[cfg(test)]
pub(super) fn about_shipped() -> Vec<serde_json::Value> {
    ADAPTERS.iter().filter(|a| !a.name.contains("-script-")).map(|a| Adapter::about(a.weights)).collect()
}

fn train(tune: &Tune, dir: &Path, save_every: usize, work: &mut Work<'_, '_>) -> Result<()> {
    let (base, threads) = (work.model.source.clone(), work.threads());
    let run = Run {
        base: &base,
        place: &tune.name,
        lines: &tune.lines,
        counted: Counted::Assistant,
        how: &tune.how,
        out: dir,
        save_every,
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
