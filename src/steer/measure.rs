//! What the model does by itself: mean norms of the stream and quantiles of projections, over tokens that stream by.

use super::Prompted;
use crate::axes::{Pick, Site};
use crate::capture::{Names, Selection};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Plan, Tally, Task};
use std::collections::BTreeMap;

/// Over the tokens that somebody said in some prompts, unsteered.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Mean norm of the rows of each site, in activation units.
    pub norms: BTreeMap<Site, f64>,
    /// Of each direction asked for, the projections in ascending order.
    projections: Vec<Vec<f32>>,
    pub tokens: usize,
}

/// How many tokens a cap touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    pub touched: usize,
    pub tokens: usize,
}

/// One pass over the prompts; activations are looked at and let go.
///
/// # Errors
/// A failed pass; a site that the model does not have; prompts in which nobody says anything.
pub fn measure(
    model: &Model,
    prompts: &[Prompted],
    sites: &[Site],
    directions: &[(Site, &[f32])],
    threads: usize,
    progress: &mut dyn FnMut(&Tally) -> bool,
) -> Result<Measured> {
    let names = Names::default();
    let selection = Selection::from(Pick::All);
    let item = |p: &Prompted| {
        let ranges = selection.rows(&p.id, &p.encoded, &names)?.iter().map(|k| k.range()).collect();
        let prompt_len = p.encoded.last_prompt() + 1;
        let (id, tokens) = (p.id.clone(), p.encoded.tokens.clone());
        Ok(Item { id, tokens, prompt_len, ranges, adapter: p.adapter, ..Item::default() })
    };
    let items = prompts.iter().map(item).collect::<Result<Vec<_>>>()?;
    let mut all: Vec<Site> = sites.iter().copied().chain(directions.iter().map(|d| d.0)).collect();
    all.sort();
    all.dedup();
    let task = Task::Capture { sites: all.clone() };
    let plan = Plan { model, task, edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS };
    let mut measured = Measured { projections: vec![Vec::new(); directions.len()], ..Measured::default() };
    let mut sums: BTreeMap<Site, (f64, usize)> = BTreeMap::new();
    unit::run(&plan, threads, None, &mut |tally: &Tally| progress(tally), |_, outcome| {
        for (site, rows) in &outcome.kept {
            let width = model.lm.dims().width(*site);
            let sum = sums.entry(*site).or_default();
            for row in rows.chunks_exact(width) {
                sum.0 += row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                sum.1 += 1;
            }
            for ((_, unit), list) in directions.iter().zip(&mut measured.projections).filter(|((s, _), _)| s == site) {
                let along =
                    |row: &[f32]| row.iter().zip(*unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum::<f64>();
                list.extend(rows.chunks_exact(width).map(|row| along(row) as f32));
            }
        }
        Ok(())
    })?;
    measured.projections.iter_mut().for_each(|p| p.sort_by(f32::total_cmp));
    measured.tokens = sums.values().map(|s| s.1).max().unwrap_or(0);
    if measured.tokens == 0 && !all.is_empty() {
        return Err(Error::refused("there is no token to measure by", "give prompts in which somebody says something"));
    }
    measured.norms = sums.into_iter().map(|(site, (sum, n))| (site, sum / n as f64)).collect();
    Ok(measured)
}

impl Measured {
    /// The projection on a direction below which `percent` of the tokens lie, interpolated between order statistics.
    pub fn percentile(&self, direction: usize, percent: f64) -> Option<f64> {
        let sorted = self.projections.get(direction).filter(|p| !p.is_empty())?;
        let at = percent / 100.0 * (sorted.len() - 1) as f64;
        let (low, high) = (f64::from(sorted[at.floor() as usize]), f64::from(sorted[at.ceil() as usize]));
        Some(low + at.fract() * (high - low))
    }

    /// How many tokens a floor (or, else, a ceiling) at `threshold` touches.
    pub fn share(&self, direction: usize, floor: bool, threshold: f64) -> Option<Share> {
        let sorted = self.projections.get(direction)?;
        let below = sorted.partition_point(|c| f64::from(*c) < threshold);
        let above = sorted.len() - sorted.partition_point(|c| f64::from(*c) <= threshold);
        Some(Share { touched: if floor { below } else { above }, tokens: sorted.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_and_the_tokens_they_touch_are_read_off_the_projections() {
        let m = Measured { projections: vec![vec![1.0, 2.0, 2.0, 3.0, 9.0]], ..Measured::default() };
        // Position 0.25 * 4 = 1, and 0.875 * 4 = 3.5 between 3 and 9.
        assert_eq!((m.percentile(0, 25.0), m.percentile(0, 87.5)), (Some(2.0), Some(6.0)));
        let touched = |floor, at| m.share(0, floor, at).unwrap().touched;
        assert_eq!([touched(true, 2.0), touched(false, 2.0), touched(true, 0.0), touched(false, 9.0)], [1, 2, 0, 0]);
        assert!(m.percentile(1, 5.0).is_none() && m.share(1, true, 0.0).is_none());
    }
}
