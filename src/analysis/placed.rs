//! Intervals for few clusters: of an AUROC, of a difference of two, of a mean, and of anything by leaving clusters out.
//!
//! The percentile bootstrap over clusters is too narrow where clusters are few: with 12 of them a 95 % interval covers
//! 79 to 93 %. Here the variance comes from how much each cluster moves the value (for the AUROC, DeLong's placements
//! summed by cluster: Obuchowski 1997), the quantile from Student's t with the degrees of freedom that clusters leave
//! (Welch 1947 where clusters hold one class), on the logit scale, which keeps the ends within 0 and 1 and mends the
//! skew near them. docs/DESIGN.md has the measured coverage.

use super::interval::{FEW_CLUSTERS, Interval, Strata};
use super::stats::ranks;
use super::student::t_quantile;

/// The AUROC of some rows and how much each cluster moves it.
#[derive(Clone, Debug)]
pub struct Placed {
    pub auroc: f64,
    /// Change of the AUROC with the weight of each cluster; they sum to 0.
    moves: Vec<f64>,
    strata: Strata,
    /// How much larger the variance is than clusters by themselves say.
    factor: f64,
}

impl Placed {
    /// Ranks the rows; `cluster` holds an index below `n_clusters` for each. `None` if a class is empty.
    pub fn new(scores: &[f64], labels: &[bool], cluster: &[usize], n_clusters: usize) -> Option<Placed> {
        let positives = labels.iter().filter(|l| **l).count() as f64;
        let negatives = labels.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 || scores.len() != labels.len() {
            return None;
        }
        // A row's rank among all less that among its own class counts the rows of the other class below it.
        let all = ranks(scores);
        let mut own = vec![0.0; scores.len()];
        for class in [true, false] {
            let members: Vec<usize> = (0..labels.len()).filter(|&r| labels[r] == class).collect();
            let of_class = ranks(&members.iter().map(|&r| scores[r]).collect::<Vec<_>>());
            members.iter().zip(of_class).for_each(|(&r, rank)| own[r] = rank);
        }
        let placement = |r: usize| {
            let below = all[r] - own[r];
            if labels[r] { below / negatives } else { 1.0 - below / positives }
        };
        let auroc = (0..labels.len()).filter(|&r| labels[r]).map(placement).sum::<f64>() / positives;
        let mut moves = vec![0.0; n_clusters];
        for (r, &label) in labels.iter().enumerate() {
            moves[cluster[r]] += (placement(r) - auroc) / if label { positives } else { negatives };
        }
        Some(Placed { auroc, moves, strata: Strata::of(labels, cluster, n_clusters), factor: 1.0 })
    }

    /// With a variance that is `factor` times as large: scores of folds that were fitted on each other's rows.
    #[must_use]
    pub fn widened(mut self, factor: f64) -> Placed {
        self.factor = factor;
        self
    }

    /// A 95 % interval; one-sided at 0 and 1.
    pub fn interval(&self) -> Option<Interval> {
        let (variance, df) = spread(&self.moves, &self.strata)?;
        let variance = variance * self.factor;
        let few_clusters = self.strata.smallest() < FEW_CLUSTERS;
        let at = self.auroc;
        if variance <= 1e-24 || at <= 0.0 || at >= 1.0 {
            let flat = Interval { lo: at, hi: at, draws_used: 0, few_clusters, one_sided: true };
            return Some(flat.bounded(self.strata.smallest(), 0.0, 1.0));
        }
        let [lo, hi] = on_logit(at, variance.sqrt(), df);
        Some(Interval { lo, hi, draws_used: 0, few_clusters, one_sided: false })
    }

    /// How much larger this AUROC is than another of the same rows, with the 95 % interval of the difference.
    ///
    /// Where both are at an end of their range nothing moves the difference, and the interval is as wide on both sides
    /// as the one-sided bound there.
    pub fn gain(&self, other: &Placed) -> (f64, Option<Interval>) {
        let moves: Vec<f64> = self.moves.iter().zip(&other.moves).map(|(a, b)| a - b).collect();
        let value = self.auroc - other.auroc;
        let few_clusters = self.strata.smallest() < FEW_CLUSTERS;
        let interval = spread(&moves, &self.strata).map(|(variance, df)| {
            let half = match variance <= 1e-24 {
                true => 1.0 - 0.05_f64.powf(1.0 / self.strata.smallest().max(1) as f64),
                false => (variance * self.factor.max(other.factor)).sqrt() * t_quantile(0.975, df),
            };
            let (lo, hi) = ((value - half).max(-1.0), (value + half).min(1.0));
            Interval { lo, hi, draws_used: 0, few_clusters, one_sided: variance <= 1e-24 }
        });
        (value, interval)
    }
}

/// The mean of values and its 95 % interval; with `unit`, of a share in 0..=1. The variance is `factor` times that of
/// the clusters. `None` of nothing; no interval of fewer than two clusters.
pub fn clustered_mean(
    values: &[f64],
    cluster: &[usize],
    n_clusters: usize,
    unit: bool,
    factor: f64,
) -> Option<(f64, Option<Interval>)> {
    let n = values.len() as f64;
    let mean = super::stats::mean(values)?;
    let mut moves = vec![0.0; n_clusters];
    let mut holds = vec![false; n_clusters];
    for (v, &c) in values.iter().zip(cluster) {
        moves[c] += (v - mean) / n;
        holds[c] = true;
    }
    let strata = Strata(vec![(0..n_clusters).filter(|&c| holds[c]).collect()]);
    let clusters = strata.smallest();
    let interval = spread(&moves, &strata).map(|(variance, df)| {
        let (few_clusters, variance) = (clusters < FEW_CLUSTERS, variance * factor);
        if variance <= 1e-24 {
            let flat = Interval { lo: mean, hi: mean, draws_used: 0, few_clusters, one_sided: true };
            return if unit { flat.bounded(clusters, 0.0, 1.0) } else { flat };
        }
        let [lo, hi] = match unit && mean > 0.0 && mean < 1.0 {
            true => on_logit(mean, variance.sqrt(), df),
            false => [-1.0, 1.0].map(|side| mean + side * variance.sqrt() * t_quantile(0.975, df)),
        };
        Interval { lo, hi, draws_used: 0, few_clusters, one_sided: false }
    });
    Some((mean, interval))
}

/// The 95 % interval of any value by leaving out each cluster in turn (Tukey's jackknife); `without` gives the value
/// of the others. `None` if one of these does not exist, or below two clusters.
pub fn jackknife(value: f64, n_clusters: usize, without: impl Fn(usize) -> Option<f64>) -> Option<Interval> {
    if n_clusters < 2 {
        return None;
    }
    let n = n_clusters as f64;
    let others: Vec<f64> = (0..n_clusters).map(without).collect::<Option<_>>()?;
    let mean = others.iter().sum::<f64>() / n;
    let variance = others.iter().map(|v| (v - mean).powi(2)).sum::<f64>() * (n - 1.0) / n;
    let half = variance.sqrt() * t_quantile(0.975, n - 1.0);
    let few_clusters = n_clusters < FEW_CLUSTERS;
    Some(Interval { lo: value - half, hi: value + half, draws_used: 0, few_clusters, one_sided: false })
}

/// The ends on the logit scale, with a standard error on the plain one.
fn on_logit(at: f64, error: f64, df: f64) -> [f64; 2] {
    let (centre, half) = ((at / (1.0 - at)).ln(), t_quantile(0.975, df) * error / (at * (1.0 - at)));
    [centre - half, centre + half].map(|x| 1.0 / (1.0 + (-x).exp()))
}

/// The variance of a value that independent clusters move so, and its degrees of freedom. `None` below two clusters.
fn spread(moves: &[f64], strata: &Strata) -> Option<(f64, f64)> {
    let clusters: usize = strata.0.iter().map(Vec::len).sum();
    if clusters < 2 {
        return None;
    }
    let (mut variance, mut below) = (0.0, 0.0);
    for stratum in strata.0.iter().filter(|s| !s.is_empty()) {
        // A class of one cluster says nothing of how clusters differ; it counts as the least that could.
        let (k, left) = (stratum.len() as f64, (stratum.len() as f64 - 1.0).max(1.0));
        let own = k.max(2.0) / left * stratum.iter().map(|&c| moves[c].powi(2)).sum::<f64>();
        variance += own;
        below += own * own / left;
    }
    Some((variance, if below > 0.0 { variance * variance / below } else { clusters as f64 - 1.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::analysis::stats::auroc;
    use crate::rng::stream;

    #[test]
    fn the_value_is_the_auroc_and_rows_of_their_own_give_delongs_variance() {
        // Positives 3, 2, 0; negatives 1, 2. Placements: 1, (1 + 1/2)/2 = 0.75, 0; 1 - 1/3 = 2/3, (1 + 1/2)/3 = 1/2.
        let (s, l) = ([3.0, 2.0, 0.0, 1.0, 2.0], [true, true, true, false, false]);
        let p = Placed::new(&s, &l, &[0, 1, 2, 3, 4], 5).unwrap();
        let a = 1.75 / 3.0;
        assert!((p.auroc - a).abs() < 1e-12 && (p.auroc - auroc(&s, &l).unwrap()).abs() < 1e-12);
        let s10 = ((1.0 - a).powi(2) + (0.75 - a).powi(2) + a * a) / 2.0;
        let s01 = (2.0 / 3.0 - a).powi(2) + (0.5 - a).powi(2);
        let (variance, df) = spread(&p.moves, &p.strata).unwrap();
        assert!((variance - (s10 / 3.0 + s01 / 2.0)).abs() < 1e-12);
        let welch = (s10 / 3.0 + s01 / 2.0).powi(2) / ((s10 / 3.0).powi(2) / 2.0 + (s01 / 2.0).powi(2));
        assert!((df - welch).abs() < 1e-9);
        assert!(Placed::new(&s, &[true; 5], &[0; 5], 1).is_none());
    }

    /// Share of 95 % intervals that hold the truth: `clusters` of 10 rows, half the variance shared within clusters.
    fn covered(clusters: usize, truth: f64, within: bool, trials: u64) -> f64 {
        // The difference of means at which a pair of independent rows is in order with chance `truth`.
        let shift = 2.0_f64.sqrt() * quantile(truth);
        let hits = (0..trials).filter(|seed| {
            let mut rng = stream(*seed, &format!("coverage {clusters} {truth} {within}"));
            let (mut scores, mut labels, mut cluster) = (vec![], vec![], vec![]);
            for c in 0..clusters {
                let centre = normal(&mut rng) * 0.5_f64.sqrt();
                for r in 0..10 {
                    let label = if within { r % 2 == 0 } else { c % 2 == 0 };
                    scores.push(centre + normal(&mut rng) * 0.5_f64.sqrt() + if label { shift } else { 0.0 });
                    labels.push(label);
                    cluster.push(c);
                }
            }
            let i = Placed::new(&scores, &labels, &cluster, clusters).unwrap().interval().unwrap();
            i.lo <= truth && truth <= i.hi
        });
        hits.count() as f64 / trials as f64
    }

    /// Of the normal distribution, for the four chances used here.
    fn quantile(p: f64) -> f64 {
        match p {
            0.65 => 0.385_320,
            0.8 => 0.841_621,
            0.95 => 1.644_854,
            _ => 0.0,
        }
    }

    #[test]
    fn intervals_cover_what_they_say_with_few_clusters_and_near_the_ceiling() {
        // 200 trials have a standard deviation of 1.5 %: three of them below 95 %, and never all.
        for (clusters, truth, within) in [(12, 0.5, false), (12, 0.8, false), (12, 0.95, false), (12, 0.65, true)] {
            let c = covered(clusters, truth, within, 200);
            assert!((0.905..=0.995).contains(&c), "{clusters} clusters, {truth}, within {within}: {c}");
        }
    }

    #[test]
    fn intervals_cover_for_either_level_of_labels_few_and_many_clusters_and_every_truth() {
        // 500 trials have a standard deviation of 1 %. With 4,000 each all 16 lie between 0.915 and 0.985.
        let mut off = Vec::new();
        for within in [false, true] {
            for clusters in [12, 40] {
                for truth in [0.5, 0.65, 0.8, 0.95] {
                    let c = covered(clusters, truth, within, 500);
                    if !(0.905..=0.99).contains(&c) {
                        off.push((within, clusters, truth, c));
                    }
                }
            }
        }
        assert!(off.is_empty(), "{off:?}");
    }

    #[test]
    fn a_perfect_score_has_a_one_sided_bound_and_the_gain_over_oneself_is_zero() {
        let labels = [true, true, true, true, false, false, false, false];
        let best = Placed::new(&[9., 9., 9., 9., 1., 2., 3., 4.], &labels, &[0, 1, 2, 3, 4, 5, 6, 7], 8).unwrap();
        let i = best.interval().unwrap();
        // 0.05^(1/4) = 0.4729.
        assert!((i.lo - 0.4729).abs() < 1e-4 && i.hi == 1.0 && i.one_sided && i.few_clusters);
        let (zero, i) = best.gain(&best);
        assert!(zero == 0.0 && i.is_some_and(|i| i.lo < 0.0 && i.hi > 0.0));
        let other = Placed::new(&[9., 1., 3., 4., 1., 2., 3., 9.], &labels, &[0, 1, 2, 3, 4, 5, 6, 7], 8).unwrap();
        let (gain, i) = best.gain(&other);
        assert!(gain > 0.0 && i.is_some_and(|i| i.lo < gain && i.hi > gain && i.lo < i.hi));
    }

    #[test]
    fn a_wider_variance_moves_both_ends_by_its_root_on_the_logit_scale() {
        let labels = [true, true, true, false, false, false];
        let p = Placed::new(&[3., 1., 4., 2., 0., 1.5], &labels, &[0, 1, 2, 3, 4, 5], 6).unwrap();
        let half = |i: Interval| ((i.hi / (1.0 - i.hi)).ln() - (i.lo / (1.0 - i.lo)).ln()) / 2.0;
        let (narrow, wide) = (p.interval().unwrap(), p.clone().widened(2.0).interval().unwrap());
        assert!((half(wide) / half(narrow) - 2.0_f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_mean_of_clusters_of_one_row_has_the_interval_of_the_textbook() {
        // 1, 2, 3: mean 2, sd 1, so 2 +- 4.302653 / sqrt 3.
        let (mean, i) = clustered_mean(&[1.0, 2.0, 3.0], &[0, 1, 2], 3, false, 1.0).unwrap();
        let half = 4.302_653 / 3.0_f64.sqrt();
        let i = i.unwrap();
        assert!(mean == 2.0 && (i.lo - (2.0 - half)).abs() < 1e-4 && (i.hi - (2.0 + half)).abs() < 1e-4);
        // The jackknife of a mean is the same.
        let x = [1.0, 2.0, 3.0];
        let j = jackknife(2.0, 3, |c| Some((6.0 - x[c]) / 2.0)).unwrap();
        assert!((j.lo - i.lo).abs() < 1e-9 && (j.hi - i.hi).abs() < 1e-9);
        let (one, i) = clustered_mean(&[1.0; 4], &[0, 1, 2, 3], 4, true, 1.0).unwrap();
        assert!(one == 1.0 && i.is_some_and(|i| i.one_sided && (i.lo - 0.4729).abs() < 1e-4));
    }
}
