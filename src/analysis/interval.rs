//! Intervals: Wilson's for counts, the percentile bootstrap over clusters for everything else.

use super::stats::quantile_sorted;
use rand::Rng;

/// Below this many clusters a bootstrap interval is known to be too narrow and is flagged.
pub const FEW_CLUSTERS: usize = 6;

/// A 95 % interval, unless its maker was given another level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub lo: f64,
    pub hi: f64,
    /// Resamples on which the statistic existed; 0 where the interval comes from a formula.
    pub draws_used: usize,
    /// Fewer than [`FEW_CLUSTERS`] clusters (of the smaller stratum): too narrow, read with care.
    pub few_clusters: bool,
    /// Every resample gave the same value. As it stands the interval has no width; [`Interval::bounded`] mends that
    /// at the end of a range, and then only one end is a bound.
    pub one_sided: bool,
}

impl Interval {
    /// Gives an interval without width at the end of a range its one-sided 95 % bound.
    ///
    /// Where `clusters` independent clusters all sit at the ceiling, a share up to 1 - 0.05^(1/clusters) of the
    /// population could sit anywhere else (the exact form of the rule of three, about 3/clusters), and at worst at the
    /// other end. Conservative. An interval with width is returned as it is.
    pub fn bounded(self, clusters: usize, floor: f64, ceiling: f64) -> Interval {
        let room = (ceiling - floor) * (1.0 - 0.05_f64.powf(1.0 / clusters.max(1) as f64));
        match self {
            i if !i.one_sided => i,
            i if i.hi >= ceiling => Interval { lo: ceiling - room, ..i },
            i if i.lo <= floor => Interval { hi: floor + room, ..i },
            i => i,
        }
    }

    /// What a reader of the table has to know about the interval; empty for an ordinary one.
    pub fn note(&self) -> &'static str {
        match (self.one_sided, self.few_clusters) {
            (true, _) if self.lo == self.hi => "no variation between resamples",
            (true, _) => "one-sided bound",
            (false, true) => "few clusters",
            (false, false) => "",
        }
    }
}

/// Wilson's score interval for `k` of `n` at `level` (0.95 for 95 %). `None` for `n` = 0, `k` > `n` or a level outside
/// (0, 1). For independent observations only: rows of one conversation are not.
pub fn wilson(k: usize, n: usize, level: f64) -> Option<Interval> {
    if n == 0 || k > n || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let (z, n_f) = (normal_quantile(0.5 + level / 2.0), n as f64);
    let p = k as f64 / n_f;
    let below = 1.0 + z * z / n_f;
    let centre = (p + z * z / (2.0 * n_f)) / below;
    let half = z / below * (p * (1.0 - p) / n_f + z * z / (4.0 * n_f * n_f)).sqrt();
    // The ends are exact at 0 and n of n; rounding must not push them off.
    let lo = if k == 0 { 0.0 } else { (centre - half).max(0.0) };
    let hi = if k == n { 1.0 } else { (centre + half).min(1.0) };
    Some(Interval { lo, hi, draws_used: 0, few_clusters: n < FEW_CLUSTERS, one_sided: false })
}

/// Percentile bootstrap over `n_groups` clusters: the statistic of `draws` samples of that many cluster indices drawn
/// with replacement, its 2.5 % and 97.5 % quantiles.
///
/// Samples on which the statistic does not exist are left out and counted in [`Interval::draws_used`]. `None` if fewer
/// than half of them, or fewer than two clusters, are usable.
pub fn cluster_bootstrap(
    n_groups: usize,
    draws: usize,
    rng: &mut impl Rng,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    stratified_bootstrap(&[(0..n_groups).collect()], draws, rng, statistic)
}

/// [`cluster_bootstrap`] within strata: each sample holds as many clusters of every stratum as the data, so that a
/// class never vanishes from a sample by chance. Strata that are empty take no part.
pub fn stratified_bootstrap(
    strata: &[Vec<usize>],
    draws: usize,
    rng: &mut impl Rng,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    let smallest = strata.iter().map(Vec::len).filter(|n| *n > 0).min()?;
    let all = resample(strata, draws, rng, statistic);
    let mut values: Vec<f64> = all.into_iter().flatten().filter(|v| !v.is_nan()).collect();
    if values.is_empty() {
        return None;
    }
    if values.len() * 2 < draws {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let (lo, hi) = (quantile_sorted(&values, 0.025)?, quantile_sorted(&values, 0.975)?);
    // All resamples equal, up to the rounding of sums taken in another order.
    let spread = values[values.len() - 1] - values[0];
    let one_sided = spread.abs() <= 1e-12 * hi.abs().max(1e-300) || values[0] == values[values.len() - 1];
    Some(Interval { lo, hi, draws_used: values.len(), few_clusters: smallest < FEW_CLUSTERS, one_sided })
}

/// Clusters by the classes of their rows: only positive, only negative, both.
#[derive(Clone, Debug, PartialEq)]
pub struct Strata(pub Vec<Vec<usize>>);

impl Strata {
    /// Sorts clusters by the labels of their rows; clusters without rows belong nowhere.
    pub fn of(labels: &[bool], cluster: &[usize], n_clusters: usize) -> Strata {
        let mut holds = vec![(false, false); n_clusters];
        for (&label, &c) in labels.iter().zip(cluster) {
            if label { holds[c].0 = true } else { holds[c].1 = true }
        }
        let with = |want| (0..n_clusters).filter(|&c| holds[c] == want).collect();
        Strata(vec![with((true, false)), with((false, true)), with((true, true))])
    }

    /// Clusters in the smallest stratum that is not empty.
    pub fn smallest(&self) -> usize {
        self.0.iter().map(Vec::len).filter(|n| *n > 0).min().unwrap_or(0)
    }
}

/// The statistic of each resample, as [`stratified_bootstrap`] draws them; empty below two clusters.
pub(crate) fn resample(
    strata: &[Vec<usize>],
    draws: usize,
    rng: &mut impl Rng,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Vec<Option<f64>> {
    let clusters: usize = strata.iter().map(Vec::len).sum();
    if clusters < 2 {
        return Vec::new();
    }
    let mut sample = Vec::with_capacity(clusters);
    let mut draw = || {
        sample.clear();
        for stratum in strata.iter().filter(|s| !s.is_empty()) {
            sample.extend((0..stratum.len()).map(|_| stratum[rng.random_range(0..stratum.len())]));
        }
        statistic(&sample)
    };
    (0..draws).map(|_| draw()).collect()
}

/// The quantile of the standard normal distribution, by bisection on [`normal_cdf`]; good to about 1e-10.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let (mut lo, mut hi) = (-9.0, 9.0);
    for _ in 0..80 {
        let mid = (lo + hi) / 2.0;
        if normal_cdf(mid) < p { lo = mid } else { hi = mid }
    }
    (lo + hi) / 2.0
}

/// The standard normal distribution function from the series
/// 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...), which converges for every x; good to about 1e-15, so 0 and 1 far out.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 9.0 {
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::mean;
    use crate::rng::stream;

    #[test]
    fn wilson_agrees_with_the_published_example() {
        // 11 of 30 (37 %): the interval quoted for this count is about 22 to 55 %.
        let i = wilson(11, 30, 0.95).unwrap();
        assert!((i.lo - 0.2187).abs() < 1e-4 && (i.hi - 0.5449).abs() < 1e-4, "{i:?}");
        // 0 of n: the upper end is z^2 / (n + z^2) = 3.8415 / 13.8415.
        let i = wilson(0, 10, 0.95).unwrap();
        assert!(i.lo == 0.0 && (i.hi - 0.277_533).abs() < 1e-6, "{i:?}");
        assert!(wilson(1, 0, 0.95).is_none() && wilson(3, 2, 0.95).is_none() && wilson(1, 2, 1.0).is_none());
    }

    #[test]
    fn a_bootstrap_interval_covers_a_known_mean_at_about_its_level() {
        // 40 uniform draws with mean 0.5. 300 trials of a 95 % interval miss 15 on average, sd 3.8; the percentile
        // bootstrap is known to be a little short at n = 40. Bounds: 89 % to 99 %.
        let covered = (0..300)
            .filter(|&seed| {
                let mut rng = stream(seed, "coverage");
                let x: Vec<f64> = (0..40).map(|_| rng.random::<f64>()).collect();
                let statistic = |s: &[usize]| mean(&s.iter().map(|&i| x[i]).collect::<Vec<_>>());
                let i = cluster_bootstrap(40, 300, &mut rng, statistic).unwrap();
                i.lo <= 0.5 && 0.5 <= i.hi
            })
            .count();
        assert!((267..=297).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn a_sample_at_the_ceiling_gets_a_one_sided_bound() {
        let i = cluster_bootstrap(10, 50, &mut stream(1, "x"), |_| Some(1.0)).unwrap();
        assert!(i.one_sided && i.lo == i.hi);
        // 1 - 0.05^(1/10) = 0.2589: near 3/10.
        let b = i.bounded(10, 0.0, 1.0);
        assert!((b.lo - 0.7411).abs() < 1e-4 && b.hi == 1.0 && b.note() == "one-sided bound", "{b:?}");
        let middle = cluster_bootstrap(10, 50, &mut stream(1, "x"), |_| Some(0.5)).unwrap().bounded(10, 0.0, 1.0);
        assert_eq!((middle.lo, middle.hi, middle.note()), (0.5, 0.5, "no variation between resamples"));
    }

    #[test]
    fn few_clusters_are_flagged_and_unusable_draws_counted() {
        let first = |s: &[usize]| Some(s[0] as f64);
        assert!(cluster_bootstrap(5, 100, &mut stream(1, "x"), first).unwrap().few_clusters);
        assert!(!cluster_bootstrap(6, 100, &mut stream(1, "x"), first).unwrap().few_clusters);
        let some = |s: &[usize]| (s[0] > 0).then_some(s[0] as f64);
        assert!(cluster_bootstrap(4, 400, &mut stream(1, "x"), some).unwrap().draws_used < 400);
        assert!(cluster_bootstrap(4, 400, &mut stream(1, "x"), |_| None).is_none());
        assert!(cluster_bootstrap(1, 400, &mut stream(1, "x"), first).is_none());
    }

    #[test]
    fn strata_keep_their_sizes() {
        let strata = [vec![0, 1], vec![2, 3, 4], vec![]];
        stratified_bootstrap(&strata, 20, &mut stream(1, "x"), |s| {
            assert!(s.len() == 5 && s.iter().filter(|i| **i < 2).count() == 2);
            Some(0.0)
        });
    }

    #[test]
    fn clusters_are_sorted_by_the_classes_they_hold() {
        let s = Strata::of(&[true, false, true, false], &[0, 0, 1, 3], 4);
        assert_eq!(s.0, [vec![1], vec![3], vec![0]]);
        assert_eq!(s.smallest(), 1);
    }
}
