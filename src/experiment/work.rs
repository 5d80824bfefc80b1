//! The model's part of a probe: captures and generations as units of work, with one tally over all stages.

use super::prompts::Prompt;
use crate::acts::{Activations, RowKey};
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::model::{Along, Intervention, Model, Receipt};
use crate::talk::{self, Ended, Part, Place, Speak, Talk};
use crate::unit::{self, Item, Shelf, Tally, Task};
use ndarray::Array2;
use std::path::Path;

/// What a run is given besides its plan.
pub struct Context<'a> {
    /// Where outcomes of units are kept; a run with the same shelf resumes.
    pub shelf: &'a dyn Shelf,
    /// Folder in which fine-tunes are kept: a finished one is not trained again, an interrupted one goes on. Without a
    /// folder a probe is refused that needs a fine-tune which is not shipped.
    pub tunes: Option<&'a Path>,
    /// Worker threads. They change no result.
    pub threads: usize,
    /// Told the stage and its tally after every unit. Returning false interrupts the run.
    pub progress: &'a mut dyn FnMut(&str, &Tally) -> bool,
}

/// Rows by site, `[row, width]`.
type Kept = Vec<(Site, Array2<f32>)>;

/// Runs the stages of one probe.
pub(super) struct Work<'w, 'c> {
    pub model: &'w Model,
    ctx: &'w mut Context<'c>,
    budget: usize,
    /// Sum over the stages.
    pub tally: Tally,
    pub warnings: Vec<String>,
}

impl<'w, 'c> Work<'w, 'c> {
    pub fn new(model: &'w Model, ctx: &'w mut Context<'c>, budget: usize) -> Work<'w, 'c> {
        Work { model, ctx, budget, tally: Tally::default(), warnings: model.warnings.clone() }
    }

    pub fn threads(&self) -> usize {
        self.ctx.threads.max(1)
    }

    /// Where fine-tunes are kept.
    pub fn tunes(&self) -> Option<&'c Path> {
        self.ctx.tunes
    }

    /// Tells how far work is that is no unit.
    ///
    /// Gives false where the run is to stop.
    pub fn tell(&mut self, stage: &str, tally: &Tally) -> bool {
        (self.ctx.progress)(stage, tally)
    }

    /// The same run on another model; its tally and warnings are taken over at the end.
    pub fn on<T>(&mut self, model: &Model, run: impl FnOnce(&mut Work<'_, 'c>) -> Result<T>) -> Result<T> {
        let (tally, warnings) = (self.tally, std::mem::take(&mut self.warnings));
        let mut other = Work { model, ctx: &mut *self.ctx, budget: self.budget, tally, warnings };
        let found = run(&mut other);
        (self.tally, self.warnings) = (other.tally, other.warnings);
        found
    }

    /// Keeps the ranges of all items at the given sites: one array per site, `[row, width]`.
    pub fn capture(&mut self, stage: &str, items: Vec<Item>, sites: &[Site]) -> Result<Vec<(Site, Array2<f32>)>> {
        let mut kept: Vec<(Site, Vec<f32>)> = sites.iter().map(|s| (*s, Vec::new())).collect();
        let rows: usize = items.iter().map(|i| i.ranges.len()).sum();
        let task = Task::Capture { sites: sites.to_vec() };
        self.stage(stage, task, vec![], items, |outcome| {
            for ((_, all), (_, part)) in kept.iter_mut().zip(outcome.kept) {
                all.extend(part);
            }
        })?;
        let dims = self.model.lm.dims();
        let shaped = |(site, values): (Site, Vec<f32>)| {
            let (found, expected) = (vec![values.len()], vec![rows, dims.width(site)]);
            let shape = (rows, dims.width(site));
            let array = Array2::from_shape_vec(shape, values);
            let array =
                array.map_err(|_| Error::Shape { place: stage.into(), name: site.to_string(), found, expected })?;
            Ok((site, array))
        };
        kept.into_iter().map(shaped).collect()
    }

    /// How unlikely the tokens of all ranges are under edits, in nats: a sum per range, in order.
    pub fn likelihoods(&mut self, stage: &str, items: Vec<Item>, edits: Vec<Intervention>) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        self.stage(stage, Task::Likelihood, edits, items, |outcome| {
            outcome.kept.iter().for_each(|(_, sums)| all.extend(sums.iter().map(|n| f64::from(*n))));
        })?;
        Ok(all)
    }

    /// [`Work::capture`] of one row per key, as activations.
    pub fn activations(
        &mut self,
        stage: &str,
        items: Vec<Item>,
        keys: &[RowKey],
        sites: &[Site],
        pick: Pick,
    ) -> Result<Vec<Activations>> {
        let kept = self.capture(stage, items, sites)?;
        kept.into_iter().map(|(site, rows)| Activations::new(site, pick, rows, keys.to_vec())).collect()
    }

    /// Continues all items under edits (along a direction, or patches): the replies in order, and one receipt per edit.
    pub fn generate(
        &mut self,
        stage: &str,
        items: Vec<Item>,
        edits: Vec<Intervention>,
        settings: &Settings,
    ) -> Result<(Vec<Vec<u32>>, Vec<Receipt>)> {
        let mut replies = Vec::with_capacity(items.len());
        let mut receipts = vec![Receipt::default(); edits.len()];
        self.stage(stage, Task::Generate(settings.clone()), edits, items, |outcome| {
            replies.extend(outcome.replies);
            for (sum, one) in receipts.iter_mut().zip(outcome.receipts) {
                sum.add(one);
            }
        })?;
        Ok((replies, receipts))
    }

    /// Leads conversations through `turns` turns, each reply under the edits of its turn; gives a receipt per edit.
    pub fn lead(
        &mut self,
        name: &str,
        talks: &mut [Talk],
        turns: usize,
        edits: Vec<Along>,
        settings: &Settings,
    ) -> Result<Vec<Receipt>> {
        let mut drawn = Drawn { work: &mut *self, name, settings: settings.clone(), edits, receipts: vec![] };
        talk::lead(talks, turns, &mut drawn, None)?;
        let receipts = drawn.receipts;
        let short = talks.iter().filter(|t| t.ended == Some(Ended::NoRoom)).count();
        if short > 0 {
            let (all, n_ctx) = (talks.len(), self.model.lm.dims().n_ctx);
            self.warnings.push(format!(
                "{short} of {all} {name}conversations ended early: their next prompt and reply would not fit {n_ctx} \
                 positions"
            ));
        }
        Ok(receipts)
    }

    /// Parts of conversations at the given sites: one array per site, and the place of each row.
    pub fn read(&mut self, stage: &str, talks: &[Talk], parts: &[Part], sites: &[Site]) -> Result<(Kept, Vec<Place>)> {
        let (items, places) = talk::read(talks, self.model, parts)?;
        Ok((self.capture(stage, items, sites)?, places))
    }

    /// Replies to prompts, drawn under `seed`.
    pub fn replies(
        &mut self,
        stage: &str,
        prompts: &[Prompt],
        seed: u64,
        settings: &Settings,
    ) -> Result<Vec<Vec<u32>>> {
        let items = prompts.iter().map(|p| p.start(seed)).collect();
        Ok(self.generate(stage, items, vec![], settings)?.0)
    }

    /// Leaves out prompts with an empty reply, which has no mean, and says so.
    pub fn answered(&mut self, prompts: Vec<Prompt>, replies: Vec<Vec<u32>>) -> Vec<(Prompt, Vec<u32>)> {
        let all = prompts.len();
        let kept: Vec<_> = prompts.into_iter().zip(replies).filter(|(_, r)| !r.is_empty()).collect();
        if kept.len() < all {
            self.warnings.push(format!("{} of {all} replies are empty and left out", all - kept.len()));
        }
        kept
    }

    /// Decoded replies.
    pub fn texts(&self, replies: &[Vec<u32>]) -> Result<Vec<String>> {
        replies.iter().map(|r| self.model.text.decode(r)).collect()
    }

    fn stage(
        &mut self,
        stage: &str,
        task: Task,
        edits: Vec<Intervention>,
        mut items: Vec<Item>,
        mut take: impl FnMut(unit::Outcome),
    ) -> Result<()> {
        items.iter_mut().for_each(|item| item.adapter = item.adapter.or(self.model.default_adapter));
        let plan = unit::Plan { model: self.model, task, edits, items, max_batch_tokens: self.budget };
        self.warnings.extend(plan.beyond_training().map(|w| format!("{stage}: {w}")));
        let progress = &mut *self.ctx.progress;
        let mut step = |tally: &Tally| progress(stage, tally);
        let tally = unit::run(&plan, self.ctx.threads.max(1), Some(self.ctx.shelf), &mut step, |_, outcome| {
            take(outcome);
            Ok(())
        })?;
        self.tally.units += tally.units;
        self.tally.units_done += tally.units_done;
        self.tally.tokens += tally.tokens;
        self.tally.tokens_done += tally.tokens_done;
        self.tally.rows_computed += tally.rows_computed;
        self.tally.rows_resumed += tally.rows_resumed;
        Ok(())
    }
}

/// A way of drawing replies in a run, for conversations that the model leads.
pub(super) struct Drawn<'a, 'w, 'c> {
    pub work: &'a mut Work<'w, 'c>,
    /// What the stage is called before "replies, turn N".
    pub name: &'a str,
    pub settings: Settings,
    pub edits: Vec<Along>,
    /// One per edit, over all turns.
    pub receipts: Vec<Receipt>,
}

impl Speak for Drawn<'_, '_, '_> {
    fn model(&self) -> &Model {
        self.work.model
    }

    fn room(&self) -> usize {
        self.settings.max_new_tokens
    }

    fn replies(&mut self, stage: &str, items: Vec<Item>) -> Result<Vec<Vec<u32>>> {
        let stage = format!("{}{stage}", self.name);
        let edits = self.edits.iter().cloned().map(Into::into).collect();
        let (replies, receipts) = self.work.generate(&stage, items, edits, &self.settings)?;
        self.receipts.resize(receipts.len(), Receipt::default());
        self.receipts.iter_mut().zip(receipts).for_each(|(all, one)| all.add(one));
        Ok(replies)
    }
}

/// How replies are drawn: until a stop token or any special one.
pub(crate) fn drawing(model: &Model, temperature: f64, max_new_tokens: usize) -> Result<Settings> {
    let mut stops: Vec<u32> = model.stops.iter().chain(model.text.special_ids()).copied().collect();
    stops.sort_unstable();
    stops.dedup();
    Ok(Settings { max_new_tokens, sampling: Sampling::new(temperature, 1.0)?, stops })
}
