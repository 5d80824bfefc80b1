//! Runs that began at the same place: whether they stay together.

use super::dynamics::Value;
use crate::analysis::interval::cluster_bootstrap;
use crate::analysis::series::{Run, Series};
use crate::rng::stream;
use std::collections::BTreeMap;

/// How far runs of a start are from each other at one turn.
#[derive(Clone, Debug)]
pub struct Dispersion {
    pub turn: i64,
    /// Mean over starts of the variance between their runs, summed over components.
    pub dispersion: Value,
    /// Over that of the turn before, with an interval over starts.
    pub ratio: Option<Value>,
    pub starts: usize,
    pub runs: usize,
}

/// Dispersion by turn of starts with two runs or more, before any push; empty without such starts. A ratio compares the
/// same starts at both turns.
pub fn paired(series: &Series, resamples: usize, seed: u64) -> Vec<Dispersion> {
    let mut starts: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in &series.runs {
        if let Some(start) = run.start.as_deref() {
            starts.entry(start).or_default().push(run);
        }
    }
    // turn -> start -> (variance, runs)
    let mut turns: BTreeMap<i64, BTreeMap<&str, (f64, usize)>> = BTreeMap::new();
    for (start, runs) in &starts {
        let mut at: BTreeMap<i64, Vec<&[f64]>> = BTreeMap::new();
        for run in runs {
            run.turns[..run.free()].iter().for_each(|t| at.entry(t.turn).or_default().push(&t.z));
        }
        for (turn, states) in at.into_iter().filter(|(_, s)| s.len() > 1) {
            turns.entry(turn).or_default().insert(start, (variance(&states), states.len()));
        }
    }
    let mut out = Vec::with_capacity(turns.len());
    for (&turn, now) in &turns {
        let values: Vec<f64> = now.values().map(|v| v.0).collect();
        let mean = |s: &[usize]| Some(s.iter().map(|&i| values[i]).sum::<f64>() / s.len() as f64);
        let all: Vec<usize> = (0..values.len()).collect();
        let interval = |n: usize, label: &str, of: &dyn Fn(&[usize]) -> Option<f64>| {
            let mut rng = stream(seed, &format!("{label}/{turn}"));
            cluster_bootstrap(n, resamples, &mut rng, of).map(|i| (i.lo, i.hi))
        };
        let ratio = turn.checked_sub(1).and_then(|t| turns.get(&t)).and_then(|before| {
            let both: Vec<(f64, f64)> = now.iter().filter_map(|(s, v)| Some((v.0, before.get(s)?.0))).collect();
            let of = |s: &[usize]| {
                let (a, b) = s.iter().fold((0.0, 0.0), |(a, b), &i| (a + both[i].0, b + both[i].1));
                (b > 0.0).then(|| a / b)
            };
            let value = of(&(0..both.len()).collect::<Vec<_>>())?;
            Some(Value { value, interval: interval(both.len(), "ratio", &of) })
        });
        out.push(Dispersion {
            turn,
            dispersion: Value {
                value: mean(&all).unwrap_or(0.0),
                interval: interval(values.len(), "dispersion", &mean),
            },
            ratio,
            starts: now.len(),
            runs: now.values().map(|v| v.1).sum(),
        });
    }
    out
}

/// Variance (n - 1 below the line) summed over components.
fn variance(states: &[&[f64]]) -> f64 {
    let n = states.len() as f64;
    let k = states[0].len();
    let one = |i: usize| {
        let mean = states.iter().map(|z| z[i]).sum::<f64>() / n;
        states.iter().map(|z| (z[i] - mean).powi(2)).sum::<f64>() / (n - 1.0)
    };
    (0..k).map(one).sum()
}
