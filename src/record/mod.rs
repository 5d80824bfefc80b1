//! A capture from its plan to its folder: rows, moments, keys, checksums; resumed where it was, dealt out, joined again.

mod about;
mod folder;
mod keys;
mod merge;
mod stored;
mod sums;

pub use folder::{Found, Report, SHARED};
pub use keys::{Known, Records, RowKeys};
pub use merge::{Merged, merge};
pub use stored::moments_of;
pub use sums::part;

use crate::axes::Dims;
use crate::capture::{Group, Grouping, Variant};
use crate::error::{Error, Result};
use crate::moments::Shape;
use crate::store::manifest::{Stored, Width};
use crate::store::{Layout, moments};
use crate::unit::{Plan, Share, Task, blocks};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;

/// What a capture leaves behind.
pub struct Recording<'m> {
    pub plan: Plan<'m>,
    pub keys: RowKeys,
    /// Rows, in these numbers; `None` keeps none.
    pub rows: Option<Stored>,
    pub moments: Option<Moments>,
    /// Bytes of a file of rows.
    pub shard_bytes: u64,
    pub share: Share,
    pub threads: usize,
}

/// Which moments are kept.
pub struct Moments {
    pub shape: Arc<Shape>,
    pub grouping: Grouping,
    /// The names of the directions of the shape.
    pub directions: Vec<String>,
    /// Filtered groups of fewer rows are left out, and said to be.
    pub min_count: u64,
}

impl Recording<'_> {
    /// The sites with their widths.
    pub fn sites(&self) -> Vec<Width> {
        let dims: &Dims = self.plan.model.lm.dims();
        match &self.plan.task {
            Task::Capture { sites } => sites.iter().map(|s| Width { site: *s, width: dims.width(*s) }).collect(),
            Task::Generate(_) | Task::Likelihood => vec![],
        }
    }

    /// The hash of all that decides a byte of the results; the share does not.
    pub fn plan_hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        self.plan.units().iter().for_each(|u| hash.update(self.plan.address(u)));
        hash.update(self.keys.header());
        self.keys.lines(&self.plan.items, 0..self.plan.items.len(), 0, &mut |lines| {
            hash.update(lines);
            Ok(())
        })?;
        hash.update(format!("{:?} {}", self.rows, self.shard_bytes));
        if let Some(m) = &self.moments {
            let groups: Vec<_> = m.grouping.groups.iter().map(|g| (&g.values, g.variant.name(), g.rows)).collect();
            hash.update(serde_json::json!([m.grouping.columns, groups, m.directions, m.min_count]).to_string());
            (0..self.keys.rows()).flat_map(|row| m.grouping.of(row)).for_each(|(group, weight)| {
                hash.update(group.to_le_bytes());
                hash.update(weight.to_le_bytes());
            });
            hash.update(m.shape.print());
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    /// What one process has to do: the units that are its own, by block, and the rows of the whole that they give.
    fn dealt(&self) -> Dealt {
        let units = self.plan.units();
        let all = blocks(&self.plan, &units);
        let mine: Vec<(usize, Range<usize>)> =
            all.into_iter().enumerate().filter(|(b, _)| self.share.has(*b)).collect();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (_, block) in &mine {
            let items = units[block.start].start..units[block.end - 1].end;
            let rows = self.keys.rows_of(&items);
            match runs.last_mut() {
                Some((first, count)) if *first + *count == rows.start => *count += rows.len(),
                _ => runs.push((rows.start, rows.len())),
            }
        }
        Dealt { units, blocks: mine, runs }
    }

    /// How the rows of some units are laid out.
    fn layout(&self, dealt: &Dealt) -> Layout {
        let units = dealt.own().map(|u| if self.rows.is_some() { self.keys.rows_of(&dealt.units[u]).len() } else { 0 });
        let (sites, dtype) = (self.sites(), self.rows.unwrap_or_default());
        Layout { sites, dtype, units: units.collect(), shard_bytes: self.shard_bytes }
    }

    /// Bytes that the results will have: rows, their keys, moments.
    ///
    /// # Errors
    /// None that come from disk.
    pub fn predict(&self) -> Result<Predicted> {
        let dealt = self.dealt();
        let layout = self.layout(&dealt);
        let mut keys = 0;
        if self.rows.is_some() {
            keys = self.keys.header().len() as u64;
            let mut number = 0;
            for block in &dealt.blocks {
                number = self.keys.lines(&self.plan.items, dealt.items(&block.1), number, &mut |lines| {
                    keys += lines.len() as u64;
                    Ok(())
                })?;
            }
        }
        let moments = self.moments.as_ref().map_or(0, |m| {
            let enough = |g: &&Group| g.rows as u64 >= if g.variant == Variant::All { 1 } else { m.min_count.max(1) };
            moments::bytes(&m.shape, m.grouping.groups.iter().filter(enough).count())
        });
        let tokens_of =
            |u: usize| self.plan.items[dealt.units[u].clone()].iter().map(|i| i.tokens.len()).sum::<usize>();
        Ok(Predicted {
            rows: layout.rows(),
            files: layout.files().len(),
            bytes_of_rows: layout.bytes(),
            bytes_of_keys: keys,
            bytes_of_moments: moments,
            units: dealt.own().count(),
            tokens: dealt.own().map(tokens_of).sum(),
        })
    }

    /// A unit of middling length, to time.
    pub fn sample(&self) -> Option<Range<usize>> {
        let dealt = self.dealt();
        let mut own: Vec<usize> = dealt.own().collect();
        let tokens = |u: &usize| self.plan.items[dealt.units[*u].clone()].iter().map(|i| i.tokens.len()).sum::<usize>();
        own.sort_by_key(tokens);
        own.get(own.len() / 2).map(|u| dealt.units[*u].clone())
    }
}

/// What a capture will leave behind, said before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Predicted {
    pub rows: usize,
    pub files: usize,
    pub bytes_of_rows: u64,
    pub bytes_of_keys: u64,
    pub bytes_of_moments: u64,
    pub units: usize,
    pub tokens: usize,
}

impl Predicted {
    /// Rows that pass by, be they kept or summed.
    pub fn rows_of(&self, recording: &Recording<'_>) -> usize {
        if recording.rows.is_some() { self.rows } else { recording.dealt().runs.iter().map(|(_, n)| n).sum() }
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes_of_rows + self.bytes_of_keys + self.bytes_of_moments
    }
}

/// The share of one process.
struct Dealt {
    /// All units of the plan.
    units: Vec<Range<usize>>,
    /// Our blocks of them, with their numbers.
    blocks: Vec<(usize, Range<usize>)>,
    /// Our rows of the whole, `(first, count)`.
    runs: Vec<(usize, usize)>,
}

impl Dealt {
    /// Our units, in order.
    fn own(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.iter().flat_map(|(_, units)| units.clone())
    }

    /// The items of consecutive units.
    fn items(&self, units: &Range<usize>) -> Range<usize> {
        self.units[units.start].start..self.units[units.end - 1].end
    }
}

/// Refuses what cannot be right whoever asks for it.
fn defect(what: impl Into<String>) -> Error {
    Error::refused(what, "this is a defect of personascope; please report it")
}
