//! Where runs end: basins with their weights, and the boundary between the two largest.

use super::kmeans::{Choice, choose, distance, nearest};
use super::logistic::{Logistic, firth};
use crate::analysis::interval::{cluster_bootstrap, wilson};
use crate::analysis::series::{Run, Series};
use crate::analysis::stats::quantile;
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView1};
use std::collections::BTreeMap;

/// Basins, the heaviest first.
#[derive(Clone, Debug)]
pub struct Basins {
    /// `[basin, k]` in the units of the input.
    pub centres: Array2<f64>,
    /// What distances are measured in: the standard deviation of each component about its basin's centre.
    pub scale: Array1<f64>,
    /// Of each basin, the distance within which 95 % of its terminal states lie.
    pub radii: Vec<f64>,
    /// The basin of every run; `None` for a run that does not take part.
    pub labels: Vec<Option<usize>>,
    pub weights: Vec<Weight>,
    pub choice: Choice,
    /// Agreement with the clusters in another metric (every component in its own standard deviation over all runs).
    pub second_metric: f64,
}

/// The share of the runs that end in a basin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    pub share: f64,
    /// 95 %: over starts where several runs share theirs, Wilson's otherwise.
    pub lo: f64,
    pub hi: f64,
    pub runs: usize,
    /// Distinct starts from which it is reached; runs without a start count as one each.
    pub starts: usize,
}

/// Fewest turns of a run that is said to end somewhere.
const LEAST: usize = 3;
/// Runs among which basins are looked for; all others belong to the nearest.
const LOOKED_AT: usize = 2000;
/// Most basins that are looked for.
const MOST: usize = 6;

/// Basins of the terminal states: the mean over the last third of the turns before any push.
///
/// # Errors
/// In words: no run is long enough.
pub fn basins(series: &Series, resamples: usize, seed: u64) -> Result<Basins, String> {
    let mut runs: Vec<(usize, Array1<f64>)> = ends(series, |run| run.free());
    if runs.is_empty() {
        runs = ends(series, |run| run.turns.len());
    }
    if runs.is_empty() {
        return Err(format!("no run has {LEAST} turns"));
    }
    let points = Array2::from_shape_fn((runs.len(), series.k), |(i, j)| runs[i].1[j]);
    let (choice, labels) = clustered(&points, seed);
    let (_, again) = clustered(&standardised(&points), seed);
    let second_metric = super::kmeans::agreement(&labels, &again);
    let k = choice.clusters.centres.nrows();
    let centres = choice.clusters.centres.clone();
    let scale = within(series, &runs, &labels, &centres);
    let mut away: Vec<Vec<f64>> = vec![Vec::new(); k];
    for ((r, _), &l) in runs.iter().zip(&labels) {
        let run = &series.runs[*r];
        for t in last_third(run) {
            away[l].push(distance((&state(run, t) / &scale).view(), (&centres.row(l) / &scale).view()).sqrt());
        }
    }
    let mut of = vec![None; series.runs.len()];
    runs.iter().zip(&labels).for_each(|((r, _), &l)| of[*r] = Some(l));
    let weights = (0..k).map(|b| weight(series, &of, b, resamples, seed)).collect();
    let radii = away.iter().map(|d| quantile(d, 0.95).unwrap_or(0.0)).collect();
    Ok(Basins { centres, scale, radii, labels: of, weights, choice, second_metric })
}

impl Basins {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.centres.nrows()
    }

    /// The basin whose centre is nearest, and how far it is in radii of that basin.
    pub fn locate(&self, z: &[f64]) -> (usize, f64) {
        let z = ArrayView1::from(z);
        let scaled = &self.centres / &self.scale;
        let basin = nearest((&z / &self.scale).view(), scaled.view());
        let away = distance((&z / &self.scale).view(), scaled.row(basin)).sqrt();
        let radius = self.radii[basin];
        (
            basin,
            if radius > 0.0 {
                away / radius
            } else if away > 1e-9 {
                f64::INFINITY
            } else {
                0.0
            },
        )
    }

    /// Minus the sum of the weights times their logarithms: 0 for one basin, ln n for n of the same weight.
    pub fn entropy(&self) -> f64 {
        self.weights.iter().filter(|w| w.share > 0.0).map(|w| -w.share * w.share.ln()).sum::<f64>() + 0.0
    }
}

/// Clusters of at most [`LOOKED_AT`] of the points, evenly among them, and the nearest centre of every point.
fn clustered(points: &Array2<f64>, seed: u64) -> (Choice, Vec<usize>) {
    let every = points.nrows().div_ceil(LOOKED_AT).max(1);
    let choice = choose(points.slice(ndarray::s![..;every, ..]), MOST, seed);
    let labels = match every {
        1 => choice.clusters.labels.clone(),
        _ => points.rows().into_iter().map(|p| nearest(p, choice.clusters.centres.view())).collect(),
    };
    (choice, labels)
}

/// Mean states over the last third of the first `turns` turns.
fn ends(series: &Series, turns: impl Fn(&Run) -> usize) -> Vec<(usize, Array1<f64>)> {
    let one = |(r, run): (usize, &Run)| {
        let n = turns(run);
        let from = n - n / 3;
        let mean = || -> Array1<f64> {
            (from..n).map(|t| state(run, t)).fold(Array1::zeros(series.k), |s, z| s + z) / (n - from) as f64
        };
        (n >= LEAST).then(|| (r, mean()))
    };
    series.runs.iter().enumerate().filter_map(one).collect()
}

fn state(run: &Run, t: usize) -> Array1<f64> {
    Array1::from(run.turns[t].z.clone())
}

/// The last third of the turns before any push, or of all where the run begins with one.
pub(super) fn last_third(run: &Run) -> std::ops::Range<usize> {
    let n = if run.free() >= LEAST { run.free() } else { run.turns.len() };
    n - n / 3..n
}

fn standardised(points: &Array2<f64>) -> Array2<f64> {
    let mut out = points.clone();
    for mut column in out.columns_mut() {
        let (mean, sd) = (column.mean().unwrap_or(0.0), column.std(0.0));
        column.mapv_inplace(|v| if sd > 0.0 { (v - mean) / sd } else { 0.0 });
    }
    out
}

/// Standard deviations of terminal states about the centres of their basins.
fn within(series: &Series, runs: &[(usize, Array1<f64>)], labels: &[usize], centres: &Array2<f64>) -> Array1<f64> {
    let (mut squares, mut n) = (Array1::<f64>::zeros(series.k), 0.0);
    for ((r, _), &l) in runs.iter().zip(labels) {
        for t in last_third(&series.runs[*r]) {
            let d = state(&series.runs[*r], t) - centres.row(l);
            squares += &(&d * &d);
            n += 1.0;
        }
    }
    let all = centres.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    squares.mapv(|s| (s / f64::max(n, 1.0)).sqrt()).mapv(|s| if s > 1e-12 * all { s } else { 1.0 })
}

fn weight(series: &Series, labels: &[Option<usize>], basin: usize, resamples: usize, seed: u64) -> Weight {
    let mut starts: BTreeMap<(bool, &str), (f64, f64)> = BTreeMap::new();
    let mut reached: Vec<(bool, &str)> = Vec::new();
    for (run, label) in series.runs.iter().zip(labels) {
        let Some(label) = label else { continue };
        let key = run.start.as_deref().map_or((false, run.name.as_str()), |s| (true, s));
        let entry = starts.entry(key).or_default();
        entry.1 += 1.0;
        if *label == basin {
            entry.0 += 1.0;
            reached.push(key);
        }
    }
    let runs: f64 = starts.values().map(|v| v.1).sum();
    let own: f64 = starts.values().map(|v| v.0).sum();
    reached.sort_unstable();
    reached.dedup();
    let by_start: Vec<(f64, f64)> = starts.values().copied().collect();
    let independent = by_start.iter().all(|s| s.1 <= 1.0) || by_start.len() < 2;
    let share = own / runs.max(1.0);
    let resampled = || {
        let of = |s: &[usize]| {
            let (a, b) = s.iter().fold((0.0, 0.0), |(a, b), &i| (a + by_start[i].0, b + by_start[i].1));
            (b > 0.0).then(|| a / b)
        };
        let mut rng = stream(seed, &format!("weight of basin {basin}"));
        cluster_bootstrap(by_start.len(), resamples, &mut rng, of).map(|i| i.bounded(by_start.len(), 0.0, 1.0))
    };
    let interval = if independent { None } else { resampled() };
    let interval = interval.or_else(|| wilson(own as usize, runs as usize, 0.95));
    let (lo, hi) = interval.map_or((0.0, 1.0), |i| (i.lo, i.hi));
    Weight { share, lo: lo.min(share), hi: hi.max(share), runs: own as usize, starts: reached.len() }
}

/// Where starts divide between the two largest basins.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// Along the line from the centre of the first basin (0) to that of the second (1), where a run ends in either as
    /// often.
    pub place: f64,
    pub interval: Option<(f64, f64)>,
    /// `[k]`: the point itself.
    pub point: Array1<f64>,
    pub runs: usize,
}

/// The boundary by first states.
///
/// # Errors
/// In words: fewer than two basins, or starts that do not divide.
pub fn boundary(series: &Series, basins: &Basins, resamples: usize, seed: u64) -> Result<Boundary, String> {
    if basins.count() < 2 {
        return Err("one basin has no boundary".into());
    }
    let (a, b) = (basins.centres.row(0), basins.centres.row(1));
    let line = (&b - &a) / &basins.scale;
    let along = |z: &[f64]| {
        let from = (&ArrayView1::from(z) - &a) / &basins.scale;
        from.dot(&line) / line.dot(&line)
    };
    let runs = series.runs.iter().zip(&basins.labels).filter(|(_, l)| l.is_some_and(|l| l < 2));
    let points: Vec<(f64, bool)> = runs.map(|(r, l)| (along(&r.turns[0].z), *l == Some(1))).collect();
    let of = |sample: &[usize]| -> Option<f64> {
        let of: Vec<(f64, bool)> = sample.iter().map(|&i| points[i]).collect();
        firth(&of).and_then(|l: Logistic| l.half()).filter(|v| (-2.0..=3.0).contains(v))
    };
    let all: Vec<usize> = (0..points.len()).collect();
    let place = of(&all).ok_or("where a run begins does not say in which of the two basins it ends")?;
    let interval = cluster_bootstrap(points.len(), resamples, &mut stream(seed, "boundary"), of);
    let point = (&a + &((&b - &a) * place)).to_owned();
    Ok(Boundary { place, interval: interval.map(|i| (i.lo, i.hi)), point, runs: points.len() })
}
