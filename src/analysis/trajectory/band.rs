//! What is normal: mean and deviation of the default, from its first turns or from runs that are known to be normal.

use super::runs::Run;
use crate::analysis::stats::{mean, pearson, variance};
use crate::error::{Error, Result};
use crate::table::{Cell, Table};

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The first turn of every run.
    FirstTurn,
    /// Every turn of runs that were given for it.
    Calibration,
}

/// The default's projections.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    pub source: Source,
    pub mean: f64,
    /// n - 1 below the line.
    pub sd: f64,
    /// Projections by run, in the order of turns.
    pub values: Vec<Vec<f64>>,
    /// Correlation of a turn with the one before it, each relative to the mean of all; `None` with single turns.
    pub lag1: Option<f64>,
}

/// Multiples of the deviation between which 95 % of a normal distribution lie.
pub const WIDTH: f64 = 1.96;

impl Band {
    /// From runs that are known to be normal.
    ///
    /// # Errors
    /// Fewer than three values, or values that do not differ.
    pub fn calibrated(runs: &[Run]) -> Result<Band> {
        let values = runs.iter().map(|r| r.steps.iter().map(|s| s.projection).collect()).collect();
        Band::of(Source::Calibration, values)
    }

    /// From the first turn of every run.
    ///
    /// # Errors
    /// Fewer than three runs, or first turns that do not differ.
    pub fn first_turns(runs: &[Run]) -> Result<Band> {
        let first = runs.iter().filter_map(|r| r.steps.first()).map(|s| vec![s.projection]).collect();
        Band::of(Source::FirstTurn, first)
    }

    fn of(source: Source, values: Vec<Vec<f64>>) -> Result<Band> {
        let all: Vec<f64> = values.iter().flatten().copied().collect();
        let (m, sd) = (mean(&all).unwrap_or_default(), variance(&all).unwrap_or_default().sqrt());
        if all.len() < 3 || !(sd > 1e-12 * m.abs()) {
            let what = match source {
                Source::FirstTurn => "first turns",
                Source::Calibration => "calibration turns",
            };
            return Err(Error::refused(
                format!("{} {what} with a deviation of {sd} do not say what is normal", all.len()),
                "give runs that are known to be normal: --calibration FILE, or a column `calibration`",
            ));
        }
        let pairs = || values.iter().flat_map(|run| run.windows(2));
        let (a, b): (Vec<f64>, Vec<f64>) = pairs().map(|w| (w[0], w[1])).unzip();
        Ok(Band { source, mean: m, sd, lag1: pearson(&a, &b), values })
    }

    /// Values behind the band.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// From, to: where 95 % of normal values lie.
    pub fn range(&self) -> (f64, f64) {
        (self.mean - WIDTH * self.sd, self.mean + WIDTH * self.sd)
    }
}

/// One row: what is normal.
pub fn band_table(band: &Band) -> Table {
    let mut table = Table::new("band", &["source", "mean", "sd", "band_low", "band_high", "values", "runs", "lag1"]);
    let source = match band.source {
        Source::FirstTurn => "first turns",
        Source::Calibration => "calibration runs",
    };
    let (lo, hi) = band.range();
    let mut row: Vec<Cell> = vec![source.into()];
    row.extend([band.mean, band.sd, lo, hi].map(Cell::from));
    row.extend([band.count().into(), band.values.len().into(), band.lag1.into()]);
    table.push(row);
    table
}
