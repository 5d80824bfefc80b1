//! A score with what has to stand beside it: interval, null, p-value and, where there is no score, the reason.

use super::clustered::ClusteredAuroc;
use super::interval::{Interval, stratified_bootstrap};
use super::stats::{mean, permutation_p, quantile};
use crate::table::Cell;
use rand::Rng;

/// An AUROC on held-out rows and its company.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    pub auroc: Option<f64>,
    /// 95 %, by resampling held-out groups within their class.
    pub interval: Option<Interval>,
    /// Mean of the null.
    pub null_mean: Option<f64>,
    /// 95 % quantile of the null.
    pub null_hi: Option<f64>,
    /// One-sided p against the null, never 0.
    pub p: Option<f64>,
    /// Why something is missing, or why the score is 0.5 by construction.
    pub reason: Option<String>,
}

impl Score {
    /// No score, and why.
    pub fn missing(reason: impl Into<String>) -> Score {
        Score { reason: Some(reason.into()), ..Score::default() }
    }

    /// Chance by construction, and why: nothing was there to score with.
    pub fn chance(reason: impl Into<String>) -> Score {
        Score { auroc: Some(0.5), reason: Some(reason.into()), ..Score::default() }
    }

    /// The score of `pairs` with a bootstrap interval of `draws` resamples and the null's summary (which may be empty).
    pub fn of(pairs: &ClusteredAuroc, null: &[f64], draws: usize, rng: &mut impl Rng) -> Score {
        let Some(auroc) = pairs.value() else { return Score::missing("no pair of a positive and a negative row") };
        let strata = pairs.strata();
        let interval = stratified_bootstrap(&strata.0, draws, rng, |s| pairs.of(s));
        Score {
            auroc: Some(auroc),
            interval: interval.map(|i| i.bounded(strata.smallest(), 0.0, 1.0)),
            null_mean: mean(null),
            null_hi: quantile(null, 0.95),
            p: permutation_p(auroc, null),
            reason: None,
        }
    }

    /// Cells for [`Score::COLUMNS`].
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![self.auroc.into()];
        cells.extend(interval_cells(self.interval));
        cells.extend([self.null_mean.into(), self.null_hi.into(), self.p.into()]);
        cells
    }

    /// The columns that every table of scores shares; `reason` stands apart.
    pub const COLUMNS: [&'static str; 7] =
        ["auroc", "auroc_lo", "auroc_hi", "interval_note", "null_mean", "null_95", "p_value"];
}

/// How much one score is above another on the same rows, with the interval of the difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    pub value: f64,
    pub interval: Option<Interval>,
}

impl Gain {
    /// The gain of `a` over `b` (over 0.5 where `b` is `None`), resampling the same clusters for both.
    ///
    /// Where no resample moves the difference (both at an end of their range), the interval is widened on both sides
    /// by the one-sided bound of [`Interval::bounded`].
    pub fn of(a: &ClusteredAuroc, b: Option<&ClusteredAuroc>, draws: usize, rng: &mut impl Rng) -> Option<Gain> {
        let difference = |s: &[usize]| Some(a.of(s)? - b.map_or(Some(0.5), |b| b.of(s))?);
        let value = a.value()? - b.map_or(Some(0.5), ClusteredAuroc::value)?;
        let interval = stratified_bootstrap(&a.strata().0, draws, rng, difference).map(|i| {
            let room = 1.0 - Interval { lo: 1.0, hi: 1.0, ..i }.bounded(a.strata().smallest(), 0.0, 1.0).lo;
            if i.one_sided { Interval { lo: i.lo - room, hi: i.hi + room, ..i } } else { i }
        });
        Some(Gain { value, interval })
    }
}

/// Cells for `lo`, `hi` and `interval_note`.
pub fn interval_cells(interval: Option<Interval>) -> [Cell; 3] {
    let note = interval.map(|i| i.note()).filter(|n| !n.is_empty());
    [interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into(), note.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    /// Eight clusters of one row; the first four are positive.
    fn pairs(scores: [f64; 8]) -> ClusteredAuroc {
        let labels = [true, true, true, true, false, false, false, false];
        ClusteredAuroc::new(&scores, &labels, &[0, 1, 2, 3, 4, 5, 6, 7], 8, None)
    }

    #[test]
    fn a_perfect_score_still_has_an_interval_with_width() {
        let s = Score::of(&pairs([9., 9., 9., 9., 1., 2., 3., 4.]), &[0.4, 0.5, 0.6], 100, &mut stream(1, "s"));
        // 0.05^(1/4) = 0.4729.
        let i = s.interval.unwrap();
        assert!((i.lo - 0.4729).abs() < 1e-4 && i.hi == 1.0 && i.few_clusters && i.one_sided);
        assert_eq!((s.auroc, s.p), (Some(1.0), Some(0.25)));
    }

    #[test]
    fn the_gain_over_oneself_is_zero_and_over_noise_is_not() {
        let good = pairs([9., 9., 9., 2.5, 1., 2., 3., 4.]);
        let same = Gain::of(&good, Some(&good), 100, &mut stream(1, "g")).unwrap();
        assert_eq!(same.value, 0.0);
        assert!(same.interval.unwrap().lo < 0.0 && same.interval.unwrap().hi > 0.0);
        let over = Gain::of(&good, None, 100, &mut stream(1, "g")).unwrap();
        assert!((over.value - (14.0 / 16.0 - 0.5)).abs() < 1e-12);
    }
}
