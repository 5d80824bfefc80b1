//! The training loop.

use super::batches::{self, Amount, Size};
use super::checkpoint;
use super::curve::Curve;
use super::evaluate::mean_nll;
use super::gradient::gradient;
use super::optimizer::{AdamW, Slot};
use super::schedule::Schedule;
use super::sequences::Sequences;
use crate::error::{Error, Result};
use crate::model::{Adapter, Lm};
use candle_core::Var;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All that decides a run beside its data and the model it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub batch: Size,
    pub amount: Amount,
    pub schedule: Schedule,
    pub optimizer: AdamW,
    pub seed: u64,
    /// Parts into which a batch is cut for parallel work; changes the last bits of the result, threads do not.
    pub shards: usize,
    /// Steps between measurements on held-out sequences; 0: at the end alone.
    pub eval_every: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// Steps between saved models; 0: the last alone.
    pub save_every: usize,
}

/// What is trained on what.
pub struct Task<'a> {
    pub lm: &'a dyn Lm,
    /// The adapter that is trained, where it is not the model itself.
    pub adapter: Option<&'a Adapter>,
    pub vars: &'a [Var],
    pub data: &'a Sequences,
    pub heldout: Option<&'a Sequences>,
    pub settings: Settings,
    /// Hash of all that decides the result: a checkpoint of another one is refused.
    pub identity: String,
    pub threads: usize,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps made, out of all.
    pub step: usize,
    pub steps: usize,
    /// Steps that an earlier run had made.
    pub resumed: usize,
    pub tokens: usize,
    pub loss: f64,
}

/// Trains, keeping a checkpoint in `dir`, and goes on where an interrupted run stopped.
///
/// `watch` is told after every step and may end the run there by returning false: the checkpoint is written first.
/// `save` is called after every `save_every` steps with the number of steps; the model then holds their weights.
/// Gives the curve, and whether the run came to its end.
///
/// # Errors
/// A checkpoint of another run, failures of the model or of files, a loss that is not finite.
pub fn fit(
    task: &Task<'_>,
    dir: &Path,
    watch: &mut dyn FnMut(Progress) -> bool,
    save: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<(Curve, bool)> {
    let s = &task.settings;
    let plan = batches::plan(task.data, s.batch, s.amount, s.seed)?;
    let mut slots = task.vars.iter().map(Slot::new).collect::<Result<Vec<_>>>()?;
    let mut curve = checkpoint::read(dir, &task.identity, &mut slots)?.unwrap_or_default();
    let resumed = curve.len();
    if resumed > plan.len() {
        return Err(Error::refused("the checkpoint has more steps than the run", "remove it to start anew"));
    }
    let every = |n: usize, step: usize| n > 0 && step.is_multiple_of(n);
    for (i, batch) in plan.iter().enumerate().skip(resumed) {
        let step = i + 1;
        let shards = batches::shards(task.data, batch, s.shards);
        let got = gradient(task.lm, task.adapter, task.vars, task.data, &shards, task.threads)?;
        let rate = s.schedule.rate(i, plan.len());
        let norm = s.optimizer.update(&mut slots, &got.values, i, rate)?;
        let tokens: usize = batch.iter().map(|b| task.data.length(*b)).sum();
        curve.tokens.push(curve.tokens.last().copied().unwrap_or_default() + tokens as f64);
        curve.rate.push(rate);
        curve.loss.push(got.loss);
        curve.norm.push(norm);
        let measure = task.heldout.filter(|_| step == plan.len() || every(s.eval_every, step));
        let measured = measure.map(|held| mean_nll(task.lm, task.adapter, held, task.threads)).transpose()?;
        curve.heldout.push(measured.unwrap_or(f64::NAN));
        if every(s.save_every, step) {
            save(step)?;
        }
        let tokens = curve.tokens[i] as usize;
        let go = watch(Progress { step, steps: plan.len(), resumed, tokens, loss: got.loss });
        if !go || step == plan.len() || every(s.checkpoint_every, step) {
            checkpoint::write(dir, &task.identity, &slots, &curve)?;
        }
        if !go {
            return Ok((curve, step == plan.len()));
        }
    }
    Ok((curve, true))
}
