//! The sweep itself: every prompt at every strength with every seed, and what was done to each reply.

use super::donors::Donors;
use super::op::Op;
use super::place::Place;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::generate::Settings;
use crate::model::{Along, Did, Intervention, Model, Patch, Positions, Rewrite};
use crate::table::{Cell, Table};
use crate::text::Encoded;
use crate::unit::{self, Item, Plan, Shelf, Tally, Task};
use candle_core::DType;

/// How far a projection may end from where it was to end, in lengths of the row: rounding of f32.
pub const TOLERANCE: f64 = 1e-5;
/// The same where the stream is in half precision.
pub const TOLERANCE_HALF: f64 = 1e-2;

/// A prompt in tokens.
#[derive(Clone, Debug)]
pub struct Prompted {
    pub id: String,
    pub encoded: Encoded,
    pub adapter: Option<usize>,
}

/// One edit of a sweep, at each of its strengths.
#[derive(Clone, Debug)]
pub struct Arm {
    pub site: Site,
    pub op: Op,
    /// The direction, `[d_model]` of unit length; empty for a patch.
    pub unit: Vec<f32>,
    /// What a patch puts in.
    pub donors: Option<Donors>,
    pub place: Place,
    /// One for each strength of the sweep, in the unit of the operation.
    pub amounts: Vec<f64>,
}

/// All of it.
pub struct Sweep<'m> {
    pub model: &'m Model,
    pub prompts: Vec<Prompted>,
    pub arms: Vec<Arm>,
    /// How each strength is written in results.
    pub strengths: Vec<String>,
    pub seeds: Vec<u64>,
    pub settings: Settings,
    pub max_batch_tokens: usize,
}

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Index of the prompt, of the strength, and the seed.
    pub prompt: usize,
    pub strength: usize,
    pub seed: u64,
    pub tokens: Vec<u32>,
}

/// What a sweep gave.
#[derive(Debug)]
pub struct Steered {
    /// By prompt, strength and seed.
    pub replies: Vec<Reply>,
    /// A row for each reply and edit.
    pub receipts: Table,
    /// Edits that did not do what they say, in words; at most one line for each edit and fault.
    pub faults: Vec<String>,
}

impl<'m> Sweep<'m> {
    /// Strengths of the sweep.
    fn doses(&self) -> usize {
        self.strengths.len()
    }

    /// The work: prompts with all that is asked of each side by side, so that what they share is computed once.
    ///
    /// # Errors
    /// Positions or stored rows that a prompt does not have; amounts that an operation cannot take.
    pub fn plan(&self) -> Result<Plan<'m>> {
        let mut edits: Vec<Intervention> = Vec::new();
        // Of each arm its edits by strength, where they are the same for every prompt.
        let mut common: Vec<Option<Vec<usize>>> = Vec::new();
        let mut bases: Vec<Option<Along>> = Vec::new();
        for arm in &self.arms {
            if arm.amounts.len() != self.doses() {
                let what =
                    format!("{} strengths at {}, and {} in the sweep", arm.amounts.len(), arm.site, self.doses());
                return Err(Error::refused(what, "give every edit as many strengths, or one"));
            }
            let base = match arm.op {
                Op::Patch => None,
                _ => Some(Along::new(arm.site, &arm.unit, Rewrite::Shift(0.0), Positions::All)?),
            };
            let same = match (&base, &arm.place) {
                (Some(base), Place::Same(positions)) => {
                    let first = edits.len();
                    for amount in &arm.amounts {
                        edits.push(base.and(arm.op.rewrite(*amount)?, positions.clone())?.into());
                    }
                    Some((first..edits.len()).collect())
                }
                _ => None,
            };
            common.push(same);
            bases.push(base);
        }
        let mut items = Vec::new();
        for prompt in &self.prompts {
            let mut lists: Vec<Vec<usize>> = vec![Vec::new(); self.doses()];
            for ((arm, same), base) in self.arms.iter().zip(&common).zip(&bases) {
                if let Some(same) = same {
                    lists.iter_mut().zip(same).for_each(|(list, edit)| list.push(*edit));
                    continue;
                }
                let positions = arm.place.of(&prompt.id, &prompt.encoded)?;
                for (list, amount) in lists.iter_mut().zip(&arm.amounts) {
                    list.push(edits.len());
                    edits.push(match base {
                        Some(base) => base.and(arm.op.rewrite(*amount)?, positions.clone())?.into(),
                        None => {
                            let donors = arm.donors.as_ref().ok_or_else(|| {
                                Error::refused("a patch without rows", "give it a folder of captured rows")
                            })?;
                            Patch::new(arm.site, donors.of(&prompt.id)?, *amount, positions.clone())?.into()
                        }
                    });
                }
            }
            for list in lists {
                for seed in &self.seeds {
                    items.push(Item {
                        // The id names the random numbers: the same ones at every strength.
                        id: prompt.id.clone(),
                        tokens: prompt.encoded.tokens.clone(),
                        prompt_len: prompt.encoded.tokens.len(),
                        seed: *seed,
                        adapter: prompt.adapter,
                        edits: list.clone(),
                        ..Item::default()
                    });
                }
            }
        }
        let task = Task::Generate(self.settings.clone());
        Ok(Plan { model: self.model, task, edits, items, max_batch_tokens: self.max_batch_tokens })
    }

    /// Runs it. With a shelf, finished units are taken from there.
    ///
    /// # Errors
    /// A failed pass, an interruption.
    pub fn run(
        &self,
        threads: usize,
        shelf: Option<&dyn Shelf>,
        progress: &mut dyn FnMut(&Tally) -> bool,
    ) -> Result<Steered> {
        let plan = self.plan()?;
        let units = plan.units();
        let (mut replies, mut dids): (Vec<Vec<u32>>, Vec<Did>) = Default::default();
        let mut step = |tally: &Tally| progress(tally);
        unit::run(&plan, threads, shelf, &mut step, |u, outcome| {
            replies.extend(outcome.replies);
            dids.extend(outcome.did.into_iter().map(|d| Did { item: d.item + units[u].start, ..d }));
            Ok(())
        })?;
        Ok(self.told(&plan, replies, dids))
    }

    /// Replies, receipts and faults.
    fn told(&self, plan: &Plan, replies: Vec<Vec<u32>>, dids: Vec<Did>) -> Steered {
        let half = self.model.opening().is_portable() && self.model.dtype.of_tensors() != DType::F32;
        let tolerance = if half { TOLERANCE_HALF } else { TOLERANCE };
        let mut receipts = Table::new("receipts", &COLUMNS);
        let mut faults = Vec::new();
        let mut rows = vec![0; self.arms.len()];
        let mut worst: Vec<Option<(f64, usize)>> = vec![None; self.arms.len()];
        let mut by_item: Vec<Vec<&Did>> = vec![Vec::new(); plan.items.len()];
        dids.iter().for_each(|d| by_item[d.item].push(d));
        for (k, item) in plan.items.iter().enumerate() {
            let strength = &self.strengths[self.place(k).1];
            for (a, (arm, edit)) in self.arms.iter().zip(&item.edits).enumerate() {
                let did = by_item[k].iter().find(|d| d.edit == *edit).map_or(Did::default(), |d| **d);
                rows[a] += did.rows;
                // What is no number is off by any measure.
                let off = if did.off.is_nan() { f64::INFINITY } else { did.off };
                if off > tolerance && worst[a].is_none_or(|(worst, _)| off > worst) {
                    worst[a] = Some((off, k));
                }
                let mut row: Vec<Cell> = vec![item.id.clone().into(), strength.as_str().into()];
                row.extend([Cell::Text(item.seed.to_string()), arm.site.to_string().into(), did.rows.into()]);
                let number = |v: f64| Cell::from((did.rows > 0).then_some(v));
                row.extend([did.before.mean, did.after.mean].map(number));
                row.extend([did.before.p05, did.before.p95, did.after.p05, did.after.p95, did.norm_ratio].map(number));
                row.push(number(did.after.mean - did.before.mean));
                row.extend([Cell::from(arm.op.name()), did.changed.into()]);
                row.push((did.rows == 0).then_some("the reply ended before a token of it was read").into());
                receipts.push(row);
            }
        }
        for ((arm, rows), worst) in self.arms.iter().zip(rows).zip(worst) {
            if rows == 0 {
                faults.push(format!("{} at {} on {} touched no token of any reply", arm.op, arm.site, arm.place));
            }
            if let Some((off, k)) = worst {
                let (id, strength) = (&plan.items[k].id, &self.strengths[self.place(k).1]);
                faults.push(format!(
                    "{} at {} missed its goal by {off:.1e} lengths of the row in `{id}` at strength {strength}",
                    arm.op, arm.site
                ));
            }
        }
        let reply = |(k, tokens): (usize, Vec<u32>)| {
            let (prompt, strength) = self.place(k);
            Reply { prompt, strength, seed: plan.items[k].seed, tokens }
        };
        Steered { replies: replies.into_iter().enumerate().map(reply).collect(), receipts, faults }
    }

    /// Prompt and strength of an item.
    fn place(&self, item: usize) -> (usize, usize) {
        let each = self.doses() * self.seeds.len();
        (item / each, item % each / self.seeds.len())
    }
}

const COLUMNS: [&str; 16] = [
    "id",
    "strength",
    "seed",
    "site",
    "rows",
    "projection_before",
    "projection_after",
    "projection_before_p05",
    "projection_before_p95",
    "projection_after_p05",
    "projection_after_p95",
    "norm_ratio",
    "projection_change",
    "op",
    "rows_changed",
    "reason",
];
