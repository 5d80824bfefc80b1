//! Where runs are at each turn, with bands.

use super::ALL;
use super::band::Band;
use super::runs::{Run, domains};
use crate::analysis::interval::Interval;
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::{mean, variance};
use crate::table::{Cell, Table};
use std::collections::BTreeMap;

/// The runs at one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// [`ALL`], or the domain of these turns.
    pub domain: String,
    pub turn: usize,
    pub mean: f64,
    /// 95 % of the mean, Student's t over runs; `None` with a single run.
    pub interval: Option<Interval>,
    pub sd: Option<f64>,
    /// Share of the runs outside the band of the default.
    pub outside: f64,
    pub runs: usize,
}

/// The mean at every turn, over all runs and by domain of the turn.
///
/// Runs of unequal length drop out of later turns: look at `runs` before reading a trend.
pub fn by_turn(runs: &[Run], band: &Band) -> Vec<Turn> {
    let mut cells: BTreeMap<(usize, &str, usize), Vec<f64>> = BTreeMap::new();
    for step in runs.iter().flat_map(|r| &r.steps) {
        cells.entry((0, ALL, step.turn)).or_default().push(step.projection);
        if !step.domain.is_empty() {
            cells.entry((1, &step.domain, step.turn)).or_default().push(step.projection);
        }
    }
    if domains(runs).len() < 2 {
        cells.retain(|(kind, ..), _| *kind == 0);
    }
    let (lo, hi) = band.range();
    let turn = |((_, domain, turn), v): ((usize, &str, usize), Vec<f64>)| {
        let outside = v.iter().filter(|x| !(lo..=hi).contains(*x)).count() as f64 / v.len() as f64;
        Some(Turn {
            domain: domain.into(),
            turn,
            mean: mean(&v)?,
            interval: t_interval(&v),
            sd: variance(&v).map(f64::sqrt),
            outside,
            runs: v.len(),
        })
    };
    cells.into_iter().filter_map(turn).collect()
}

/// One row per domain and turn.
pub fn turn_table(turns: &[Turn], band: &Band) -> Table {
    let columns = ["domain", "turn", "projection", "ci_low", "ci_high", "sd", "band_low", "band_high", "outside"];
    let mut table = Table::new("turns", &[&columns[..], &["runs", "reason"]].concat());
    let (lo, hi) = band.range();
    for t in turns {
        let mut row: Vec<Cell> = vec![t.domain.clone().into(), t.turn.into(), t.mean.into()];
        row.extend([t.interval.map(|i| i.lo).into(), t.interval.map(|i| i.hi).into(), t.sd.into()]);
        row.extend([lo.into(), hi.into(), t.outside.into(), t.runs.into()]);
        row.push(t.interval.is_none().then_some("no interval from a single run").into());
        table.push(row);
    }
    table
}
