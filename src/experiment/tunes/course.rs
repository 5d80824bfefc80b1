//! A fine-tune through its training: the adapter at every checkpoint.

use super::{Tune, is_there, kept, train};
use crate::error::{Error, Result};
use crate::experiment::work::Work;
use crate::model::Adapter;

/// A point of the course of a fine-tune.
#[derive(Clone, Debug)]
pub(in crate::experiment) struct Checkpoint {
    /// Steps made.
    pub step: usize,
    /// Tokens that went through the model up to there, with those that the loss does not count and those of repeated
    /// epochs.
    pub tokens: usize,
    /// `None`: the base, before the first step. Named `NAME.STEP`.
    pub adapter: Option<Adapter>,
}

/// The checkpoints of a fine-tune, the untrained base first and the finished adapter last.
///
/// A course is trained in a folder of its own: its last checkpoint is the fine-tune that [`super::adapter`] gives, byte for
/// byte, and what stands between is nowhere else.
///
/// # Errors
/// `save_every` of 0; those of training.
pub(in crate::experiment) fn course(
    tune: &Tune,
    save_every: usize,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Checkpoint>> {
    if save_every == 0 {
        return Err(Error::refused("a course without checkpoints", "give `save_every` at least 1"));
    }
    let dir = kept(tune, work)?.join(format!("{}-every{save_every}", tune.folder()));
    let tokens = tune.how.tokens_by_step(&tune.data)?;
    let steps = tokens.len();
    let places: Vec<(usize, std::path::PathBuf)> = (1..=steps)
        .filter(|step| step.is_multiple_of(save_every) && *step < steps)
        .map(|step| (step, dir.join(crate::train::finetune::saved(step))))
        .chain([(steps, dir.clone())])
        .collect();
    if !places.iter().all(|(_, dir)| is_there(tune, dir)) {
        train(tune, &dir, save_every, work)?;
    }
    let mut all = vec![Checkpoint { step: 0, tokens: 0, adapter: None }];
    for (step, place) in places {
        let adapter = Adapter::load(&format!("{}.{step}", tune.name), &place)?;
        all.push(Checkpoint { step, tokens: tokens[step - 1], adapter: Some(adapter) });
    }
    Ok(all)
}
