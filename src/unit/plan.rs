//! Plans, and how they are cut.

use super::Outcome;
use crate::axes::Site;
use crate::capture::Collect;
use crate::error::{Error, Result};
use crate::model::generate::{Settings, Start, fits, generate};
use crate::model::{Did, Edit, Example, Head, Hooks, Intervention, Model, Receipt, Rows, forward, kernels};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A prompt in tokens, and what is wanted of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Names the random stream of a reply.
    pub id: String,
    pub tokens: Vec<u32>,
    /// Positions below this are the prompt.
    pub prompt_len: usize,
    /// Ranges of positions kept when capturing, each one row.
    pub ranges: Vec<Range<usize>>,
    pub seed: u64,
    /// Index into the adapters of the model; `None` is the model by itself.
    pub adapter: Option<usize>,
    /// Indices into the edits of the plan.
    pub edits: Vec<usize>,
}

/// What is done with every item.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Keep the items' ranges at these sites.
    Capture { sites: Vec<Site> },
    /// Continue the items.
    Generate(Settings),
    /// How unlikely the tokens of the items' ranges are: a number for each range, in nats, summed over its tokens.
    Likelihood,
}

/// Work to be done, in full.
pub struct Plan<'m> {
    pub model: &'m Model,
    pub task: Task,
    pub edits: Vec<Intervention>,
    pub items: Vec<Item>,
    /// A unit is closed before it would exceed this many tokens; a longer prompt is a unit of its own.
    pub max_batch_tokens: usize,
}

/// Tokens a unit may hold by default: the stream of a small model stays in the cache of a core, that of a large one
/// still fills its matrix units.
pub const MAX_BATCH_TOKENS: usize = 2048;

/// Counts the changes of kernels that changed a bit: outcomes of others are not mixed with those of ours.
const KERNELS: u32 = 3;

impl Plan<'_> {
    /// Refuses items that the model cannot take.
    ///
    /// # Errors
    /// The first item that is empty, too long or outside the vocabulary; a site that the model does not have.
    pub fn check(&self) -> Result<()> {
        let dims = self.model.lm.dims();
        let new_tokens = if let Task::Generate(s) = &self.task { s.max_new_tokens } else { 0 };
        if let Some(item) = self.items.iter().find(|i| i.adapter.is_some_and(|a| a >= self.model.adapters.len())) {
            let what = format!("prompt `{}` asks for adapter {:?}, which the model lacks", item.id, item.adapter);
            return Err(Error::refused(what, "add the adapter to the model"));
        }
        self.items.iter().try_for_each(|i| fits(&i.id, &i.tokens, new_tokens, dims.d_vocab, dims.n_ctx))?;
        if self.task == Task::Likelihood {
            let predicted =
                |i: &&Item| i.ranges.iter().any(|r| r.start == 0 || r.end > i.tokens.len() || r.start > r.end);
            if let Some(item) = self.items.iter().find(predicted) {
                let what = format!("prompt `{}` asks how likely tokens are that nothing predicts", item.id);
                return Err(Error::refused(what, "ask for positions from the second token to the last"));
            }
        }
        let sites = if let Task::Capture { sites } = &self.task { sites.clone() } else { vec![] };
        for site in sites.iter().copied().chain(self.edits.iter().map(Intervention::site)) {
            if !self.model.lm.has(site) {
                let exist = Site::describe_all(dims.n_layers, self.model.lm.points());
                return Err(Error::Site { asked: site.to_string(), exist });
            }
        }
        Ok(())
    }

    /// What is worth saying about sequences that are longer than any the model was trained on; they run all the same.
    pub fn beyond_training(&self) -> Option<String> {
        let trained = self.model.lm.trained_len();
        let more = if let Task::Generate(s) = &self.task { s.max_new_tokens } else { 0 };
        let lengths = self.items.iter().map(|item| item.tokens.len() + more).filter(|n| *n > trained);
        let (count, longest) = lengths.fold((0, 0), |(count, longest), n| (count + 1, longest.max(n)));
        let with = if more > 0 { format!(" with {more} new ones") } else { String::new() };
        let what =
            format!("of {} prompts go beyond the {trained} tokens that the model was trained on", self.items.len());
        (count > 0).then(|| format!("{count} {what}: the longest has {longest}{with}; take what lies there with care"))
    }

    /// The units, as ranges of items, in order.
    pub fn units(&self) -> Vec<Range<usize>> {
        let more = if let Task::Generate(s) = &self.task { s.max_new_tokens } else { 0 };
        cut(self.items.iter().map(|i| i.tokens.len() + more), self.max_batch_tokens)
    }

    /// Rows that an outcome of the whole plan has.
    pub fn rows(&self) -> usize {
        self.items.iter().map(|i| self.rows_of(i)).sum()
    }

    /// Rows that one item gives: kept rows or numbers, or one reply.
    pub fn rows_of(&self, item: &Item) -> usize {
        if matches!(self.task, Task::Generate(_)) { 1 } else { item.ranges.len() }
    }

    /// The address of a unit: SHA-256 over everything that decides its outcome.
    pub fn address(&self, unit: &Range<usize>) -> String {
        let mut hash = Sha256::new();
        let edits: Vec<_> = self.edits.iter().map(Intervention::digest).collect();
        let task = match &self.task {
            Task::Capture { sites } => json!({ "capture": sites }),
            Task::Generate(s) => json!({ "generate": [s.max_new_tokens, s.sampling, s.stops] }),
            Task::Likelihood => json!("likelihood"),
        };
        let version = env!("CARGO_PKG_VERSION");
        hash.update(json!([version, KERNELS, self.model.hash, self.model.computing(), task, edits]).to_string());
        for item in &self.items[unit.clone()] {
            let named = matches!(self.task, Task::Generate(_)).then_some((&item.id, item.seed));
            let ranges: Vec<_> = item.ranges.iter().map(|r| (r.start, r.end)).collect();
            let adapter = item.adapter.and_then(|a| self.model.adapters.get(a)).map(|a| &a.hash);
            hash.update(json!([item.tokens, item.prompt_len, ranges, named, item.edits, adapter]).to_string());
        }
        format!("{:x}", hash.finalize())
    }

    /// Runs one unit on the calling thread. Where memory runs out, as on a device that others use too, the unit is cut
    /// in two and each half is run by itself.
    ///
    /// # Errors
    /// A failed pass; a prompt that does not fit into memory by itself, by its id.
    pub fn execute(&self, unit: &Range<usize>) -> Result<Outcome> {
        match self.pass(unit) {
            Err(e) if is_out_of_memory(&e) => {
                if unit.len() < 2 {
                    let item = &self.items[unit.start];
                    let what = format!("memory ran out over prompt `{}` of {} tokens: {e}", item.id, item.tokens.len());
                    return Err(Error::refused(
                        what,
                        "shorten it, choose fewer sites, --dtype bf16 or a larger device",
                    ));
                }
                let half = unit.start + unit.len() / 2;
                let (first, mut second) = (self.execute(&(unit.start..half))?, self.execute(&(half..unit.end))?);
                second.did.iter_mut().for_each(|d| d.item += half - unit.start);
                let mut all = first.join(second);
                all.splits += 1;
                Ok(all)
            }
            done => done,
        }
    }

    fn pass(&self, unit: &Range<usize>) -> Result<Outcome> {
        let (lm, adapters, items) = (&*self.model.lm, &self.model.adapters[..], &self.items[unit.clone()]);
        match &self.task {
            Task::Capture { sites } => {
                let rows = packed(items);
                let mut collect = Collect::new(sites, items.iter().map(|i| &i.ranges[..]).collect(), lm.dims());
                let hooks = Hooks::default().adapters(adapters);
                let mut hooks = self.edits.iter().fold(hooks, |h, e| h.edit(e)).tap(&mut collect);
                let head = if sites.contains(&Site::Logits) { Head::AllRows } else { Head::Skip };
                let (_, mut receipts) = forward(lm, &rows, &mut hooks, None, head)?;
                let did = did(&mut receipts);
                Ok(Outcome { kept: collect.into_kept()?, receipts, did, ..Outcome::default() })
            }
            Task::Likelihood => {
                let rows = packed(items);
                let hooks = Hooks::default().adapters(adapters);
                let mut hooks = self.edits.iter().fold(hooks, |h, e| h.edit(e));
                let (normed, mut receipts) = forward(lm, &rows, &mut hooks, None, Head::Normed)?;
                let normed = normed.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
                // Row t predicts token t + 1; the last row of an item predicts nothing.
                let next = |i: &Item| i.tokens[1..].iter().copied().chain([0]).collect::<Vec<u32>>();
                let nll =
                    kernels::nll(&normed, lm.unembedding().kernel(), &items.iter().flat_map(next).collect::<Vec<_>>())?;
                let own = |(at, item): (&Range<usize>, &Item)| {
                    let sum = |r: &Range<usize>| {
                        nll[at.start + r.start - 1..at.start + r.end - 1].iter().map(|n| f64::from(*n)).sum::<f64>()
                            as f32
                    };
                    item.ranges.iter().map(sum).collect::<Vec<f32>>()
                };
                let sums = rows.ranges().iter().zip(items).flat_map(own).collect();
                let did = did(&mut receipts);
                Ok(Outcome { kept: vec![(Site::Logits, sums)], receipts, did, ..Outcome::default() })
            }
            Task::Generate(settings) => {
                let starts: Vec<Start> = items
                    .iter()
                    .map(|i| Start {
                        id: i.id.clone(),
                        tokens: i.tokens.clone(),
                        seed: i.seed,
                        adapter: i.adapter,
                        edits: i.edits.clone(),
                    })
                    .collect();
                let edits: Vec<&dyn Edit> = self.edits.iter().map(|e| e as &dyn Edit).collect();
                let (replies, mut receipts) = generate(lm, adapters, &starts, &edits, settings)?;
                let did = did(&mut receipts);
                Ok(Outcome { replies, receipts, did, ..Outcome::default() })
            }
        }
    }
}

fn packed(items: &[Item]) -> Rows {
    Rows::pack(items.iter().enumerate().map(|(index, item)| {
        let (prompt_len, adapter, edits) = (item.prompt_len, item.adapter, item.edits.clone());
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits }, item.tokens.clone())
    }))
}

/// What receipts say of each item; the rows themselves are let go.
fn did(receipts: &mut [Receipt]) -> Vec<Did> {
    let did = receipts.iter().enumerate().flat_map(|(edit, receipt)| Did::of(edit, receipt)).collect();
    receipts.iter_mut().for_each(|r| r.touched.clear());
    did
}

/// Devices say it in words only.
fn is_out_of_memory(e: &Error) -> bool {
    matches!(e, Error::Tensor(e) if e.to_string().to_lowercase().replace('_', " ").contains("out of memory"))
}

/// Cuts consecutive lengths into runs whose sum is at most `budget`; a longer one stands alone.
pub(super) fn cut(lengths: impl Iterator<Item = usize>, budget: usize) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for (i, length) in lengths.enumerate() {
        match units.last_mut() {
            Some(unit) if sum + length <= budget => {
                unit.end = i + 1;
                sum += length;
            }
            _ => {
                units.push(i..i + 1);
                sum = length;
            }
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_keep_the_order_and_the_budget() {
        let lengths = [3usize, 4, 5, 20, 1, 1, 8];
        let units = cut(lengths.into_iter(), 10);
        assert_eq!(units, [0..2, 2..3, 3..4, 4..7]);
        assert!(cut(std::iter::empty(), 10).is_empty());
    }
}
