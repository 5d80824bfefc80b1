//! Whether what a training set holds along a direction foretells what fine-tuning on it does: correlations over fine-tunes,
//! with intervals over clusters (Chen et al. 2025, "Persona Vectors", sections 4 and 5).

use super::interval::Interval;
use super::resampled::jackknife;
use super::stats::{pearson, spearman};
use std::collections::BTreeMap;

/// One fine-tune: what was foretold of it and what came.
#[derive(Clone, Debug, PartialEq)]
pub struct Foretold {
    /// What is drawn independently: fine-tunes of one character and seed are not.
    pub cluster: String,
    pub predicted: f64,
    pub measured: f64,
}

/// How two numbers go together over fine-tunes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    pub points: usize,
    pub clusters: usize,
    /// Pearson's correlation; `None` below three points or where a side does not vary.
    pub r: Option<f64>,
    /// 95 % over clusters; `None` below four of them.
    pub interval: Option<Interval>,
    pub spearman: Option<f64>,
}

/// Below this many clusters a correlation has no interval.
const LEAST: usize = 4;

/// The correlation of what was foretold with what came.
///
/// The interval leaves out one cluster at a time on the scale of `atanh r`, where r is close to normal (Fisher 1921), with
/// Student's t. Points that are not finite take no part.
pub fn agreement(points: &[Foretold]) -> Agreement {
    let mut points: Vec<&Foretold> =
        points.iter().filter(|p| p.predicted.is_finite() && p.measured.is_finite()).collect();
    // Sums in an order of their own, whatever the order of the rows.
    points.sort_by(|a, b| {
        let numbers = a.predicted.total_cmp(&b.predicted).then(a.measured.total_cmp(&b.measured));
        a.cluster.cmp(&b.cluster).then(numbers)
    });
    let mut clusters: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, p) in points.iter().enumerate() {
        clusters.entry(p.cluster.as_str()).or_default().push(i);
    }
    let held: Vec<&Vec<usize>> = clusters.values().collect();
    let sides = |without: Option<usize>| -> (Vec<f64>, Vec<f64>) {
        let own = held.iter().enumerate().filter(|(c, _)| Some(*c) != without).flat_map(|(_, rows)| rows.iter());
        own.map(|i| (points[*i].predicted, points[*i].measured)).unzip()
    };
    let (x, y) = sides(None);
    let r = pearson(&x, &y).filter(|_| x.len() >= 3);
    let interval = r.filter(|r| r.abs() < EXACT && held.len() >= LEAST).and_then(|r| {
        let without = |c: usize| {
            let (x, y) = sides(Some(c));
            pearson(&x, &y).filter(|r| r.abs() < EXACT).map(f64::atanh)
        };
        let i = jackknife(held.len(), r.atanh(), without)?;
        Some(Interval { lo: i.lo.tanh(), hi: i.hi.tanh(), ..i })
    });
    Agreement { points: x.len(), clusters: held.len(), r, interval, spearman: r.and_then(|_| spearman(&x, &y)) }
}

/// A correlation above this is a straight line up to rounding: `atanh` of it says nothing.
const EXACT: f64 = 1.0 - 1e-12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::rng::stream;

    fn point(cluster: usize, predicted: f64, measured: f64) -> Foretold {
        Foretold { cluster: format!("c{cluster:03}"), predicted, measured }
    }

    #[test]
    fn the_correlation_is_pearsons_and_a_line_has_no_interval() {
        // x - mean = -1 0 1, y - mean = -1 1 0: 1 / 2.
        let found = agreement(&[point(0, 1.0, 1.0), point(1, 2.0, 3.0), point(2, 3.0, 2.0)]);
        assert!((found.r.unwrap() - 0.5).abs() < 1e-12 && found.interval.is_none() && found.clusters == 3);
        let line: Vec<Foretold> = (0..9).map(|i| point(i, i as f64, 2.0 * i as f64)).collect();
        let found = agreement(&line);
        assert!((found.r.unwrap() - 1.0).abs() < 1e-12 && found.interval.is_none());
        assert!((found.spearman.unwrap() - 1.0).abs() < 1e-12);
        let flat: Vec<Foretold> = (0..9).map(|i| point(i, i as f64, 1.0)).collect();
        assert_eq!((agreement(&flat).r, agreement(&[]).points), (None, 0));
        let mut holes = line.clone();
        holes.push(point(99, f64::NAN, 1.0));
        assert_eq!(agreement(&holes), agreement(&line));
    }

    #[test]
    fn the_order_of_the_rows_changes_nothing() {
        let mut rng = stream(1, "screening");
        let mut all: Vec<Foretold> = (0..30).map(|i| point(i % 10, normal(&mut rng), normal(&mut rng))).collect();
        let before = agreement(&all);
        all.reverse();
        assert_eq!(before, agreement(&all));
        let i = before.interval.unwrap();
        assert!(i.lo < before.r.unwrap() && before.r.unwrap() < i.hi && i.lo > -1.0 && i.hi < 1.0);
    }

    /// Clusters with a shared effect on both sides, and three fine-tunes in each.
    fn drawn(clusters: usize, rho: f64, seed: u64) -> Vec<Foretold> {
        let mut rng = stream(seed, &format!("clusters {clusters} {rho}"));
        let mut all = Vec::new();
        for c in 0..clusters {
            let mut pair = || {
                let (a, b) = (normal(&mut rng), normal(&mut rng));
                (a, rho * a + (1.0 - rho * rho).sqrt() * b)
            };
            let shared = pair();
            for _ in 0..3 {
                let own = pair();
                all.push(point(c, shared.0 + own.0, shared.1 + own.1));
            }
        }
        all
    }

    #[test]
    fn intervals_over_clusters_hold_what_they_promise() {
        // Shared and own parts have the same correlation, so that of the sum is rho. Of 200 intervals of 95 % 190 cover, sd
        // 3.1; what a longer run finds lies between 92 and 96 %.
        let n = crate::analysis::testing::repetitions(200) as u64;
        for (clusters, rho) in [(9, 0.0), (9, 0.8), (20, 0.8)] {
            let covers = |seed: &u64| {
                agreement(&drawn(clusters, rho, *seed)).interval.is_some_and(|i| i.lo <= rho && rho <= i.hi)
            };
            let share = (0..n).filter(covers).count() as f64 / n as f64;
            assert!((0.88..=0.99).contains(&share), "{clusters} clusters, correlation {rho}: {share}");
        }
    }
}
