//! A Markov chain over basins: how often each follows each, and whether a chain describes it.

use super::basins::Basins;
use super::dynamics::Value;
use crate::analysis::series::Series;
use crate::analysis::stats::quantile;
use crate::rng::stream;
use faer::Mat;
use ndarray::{Array2, s};
use rand::Rng;

/// Fewest steps out of a state for a chain to be read from them (a rule of thumb of the field).
pub const LEAST: f64 = 200.0;
const LAGS: [usize; 2] = [2, 3];

/// A chain over basins, all at a lag of one turn.
#[derive(Clone, Debug)]
pub struct Chain {
    /// `[from, to]`, with intervals over runs.
    pub probability: Vec<Vec<Value>>,
    /// The share of time in each state in the long run; `None` where states do not reach each other, and the start decides.
    pub stationary: Option<Vec<Value>>,
    /// -1 / ln |eigenvalue| in turns, of all eigenvalues but the first; infinite where a state is never left.
    pub timescales: Vec<Value>,
    /// Mean turns from each state until each is first reached; `None` where it is never.
    pub first_passage: Vec<Vec<Option<f64>>>,
    pub checks: Vec<Check>,
}

/// Chapman and Kolmogorov: the chain's own step taken `lag` times against what is seen `lag` turns later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    pub lag: usize,
    /// The largest difference of two probabilities.
    pub difference: f64,
    /// The 95 % quantile of it that resampling of runs gives where the two agree.
    pub bar: f64,
}

/// Counts of steps `[from, to]` at a lag of one turn, and the chain or why there is none.
#[derive(Clone, Debug)]
pub struct Markov {
    pub counts: Array2<f64>,
    pub chain: Result<Chain, String>,
}

/// The chain over the basins of all turns that were not pushed.
pub fn markov(series: &Series, basins: &Basins, resamples: usize, seed: u64) -> Markov {
    let n = basins.count();
    let runs: Vec<[Array2<f64>; 3]> = series
        .runs
        .iter()
        .map(|run| {
            let at: Vec<usize> = run.turns.iter().map(|t| basins.locate(&t.z).0).collect();
            [1, 2, 3].map(|lag: usize| {
                let mut counts = Array2::zeros((n, n));
                for i in lag..at.len() {
                    let whole = run.turns[i].turn.checked_sub(run.turns[i - lag].turn) == Some(lag as i64);
                    if whole && !run.pushed[i - lag..=i].contains(&true) {
                        counts[[at[i - lag], at[i]]] += 1.0;
                    }
                }
                counts
            })
        })
        .collect();
    let whole = total(&runs, &vec![1.0; runs.len()], n);
    let counts = whole[0].clone();
    if n < 2 {
        return Markov { counts, chain: Err("one basin: there is nothing to move between".into()) };
    }
    let few: Vec<String> = (0..n)
        .filter(|&i| counts.row(i).sum() < LEAST)
        .map(|i| format!("{} steps out of basin {i}", counts.row(i).sum()))
        .collect();
    if !few.is_empty() {
        return Markov { counts, chain: Err(format!("{}; {LEAST} are needed", few.join(", "))) };
    }
    Markov { counts, chain: chain(&runs, &whole, resamples, seed).ok_or_else(|| "the chain has no answer".into()) }
}

fn total(runs: &[[Array2<f64>; 3]], weights: &[f64], n: usize) -> [Array2<f64>; 3] {
    [0, 1, 2].map(|lag| {
        let mut sum = Array2::zeros((n, n));
        runs.iter().zip(weights).filter(|(_, w)| **w > 0.0).for_each(|(r, w)| sum.scaled_add(*w, &r[lag]));
        sum
    })
}

fn rows(counts: &Array2<f64>) -> Option<Array2<f64>> {
    let mut p = counts.clone();
    for mut row in p.rows_mut() {
        let sum = row.sum();
        if !(sum > 0.0) {
            return None;
        }
        row /= sum;
    }
    Some(p)
}

fn chain(runs: &[[Array2<f64>; 3]], whole: &[Array2<f64>; 3], resamples: usize, seed: u64) -> Option<Chain> {
    let p = rows(&whole[0])?;
    let n = p.nrows();
    let apart = |all: &[Array2<f64>; 3]| -> Option<Vec<Array2<f64>>> {
        let p = rows(&all[0])?;
        LAGS.iter().map(|&lag| Some(power(&p, lag) - rows(&all[lag - 1])?)).collect()
    };
    let seen = apart(whole)?;
    let mut rng = stream(seed, "chain");
    let (mut ps, mut stationaries, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    let mut bars = vec![Vec::new(); LAGS.len()];
    for _ in 0..resamples {
        let mut weights = vec![0.0; runs.len()];
        (0..runs.len()).for_each(|_| weights[rng.random_range(0..runs.len())] += 1.0);
        let drawn = total(runs, &weights, n);
        let Some(p) = rows(&drawn[0]) else { continue };
        if let Some(differences) = apart(&drawn) {
            for ((bar, d), s) in bars.iter_mut().zip(&differences).zip(&seen) {
                bar.push((d - s).iter().fold(0.0_f64, |m, v| m.max(v.abs())));
            }
        }
        stationaries.extend(stationary(&p));
        scales.extend(timescales(&p));
        ps.push(p);
    }
    let value = |value: f64, all: Vec<f64>| Value {
        value,
        interval: quantile(&all, 0.025).zip(quantile(&all, 0.975)).filter(|i| !i.0.is_nan() && !i.1.is_nan()),
    };
    let entry = |i: usize, j: usize| value(p[[i, j]], ps.iter().map(|p| p[[i, j]]).collect());
    let checks = LAGS.iter().zip(&seen).zip(&bars).map(|((&lag, d), bar)| Check {
        lag,
        difference: d.iter().fold(0.0_f64, |m, v| m.max(v.abs())),
        bar: quantile(bar, 0.95).unwrap_or(0.0),
    });
    let own = stationary(&p);
    let own_scales = timescales(&p)?;
    Some(Chain {
        probability: (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect(),
        stationary: own.map(|own| (0..n).map(|i| value(own[i], stationaries.iter().map(|s| s[i]).collect())).collect()),
        timescales: (0..own_scales.len())
            .map(|i| value(own_scales[i], scales.iter().filter_map(|s| s.get(i).copied()).collect()))
            .collect(),
        first_passage: (0..n).map(|i| (0..n).map(|j| passage(&p, i, j)).collect()).collect(),
        checks: checks.collect(),
    })
}

fn power(p: &Array2<f64>, times: usize) -> Array2<f64> {
    (1..times).fold(p.clone(), |q, _| q.dot(p))
}

fn solve(m: &Array2<f64>, right: &[f64]) -> Option<Vec<f64>> {
    use faer::linalg::solvers::Solve;
    let n = m.nrows();
    let s = Mat::from_fn(n, n, |i, j| m[[i, j]]).partial_piv_lu().solve(Mat::from_fn(n, 1, |i, _| right[i]));
    let s: Vec<f64> = (0..n).map(|i| s[(i, 0)]).collect();
    s.iter().all(|v| v.is_finite() && v.abs() < 1e12).then_some(s)
}

/// Where pi = pi P and the entries sum to 1; `None` where states do not reach each other.
fn stationary(p: &Array2<f64>) -> Option<Vec<f64>> {
    let n = p.nrows();
    let mut m = p.t().to_owned() - Array2::<f64>::eye(n);
    m.row_mut(n - 1).fill(1.0);
    let mut right = vec![0.0; n];
    right[n - 1] = 1.0;
    solve(&m, &right).filter(|s| s.iter().all(|v| *v > -1e-9))
}

fn timescales(p: &Array2<f64>) -> Option<Vec<f64>> {
    let moduli = super::modes::moduli(p)?;
    Some(moduli[1..].iter().map(|m| if *m >= 1.0 - 1e-12 { f64::INFINITY } else { -1.0 / m.ln() }).collect())
}

/// Mean turns from i until j is first reached: of j itself, until it is left to come back.
fn passage(p: &Array2<f64>, from: usize, to: usize) -> Option<f64> {
    let n = p.nrows();
    // h = 1 + P without the column of `to`, times h.
    let mut m = Array2::<f64>::eye(n) - p;
    m.slice_mut(s![.., to]).assign(&Array2::<f64>::eye(n).column(to));
    let h = solve(&m, &vec![1.0; n])?;
    (h[from] >= 1.0 - 1e-9).then_some(h[from])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_chain_of_two_states_is_that_of_the_textbook() {
        // Leaves 0 with .1 and 1 with .3: stationary .75 and .25, second eigenvalue .6, passages 10 and 10/3.
        let p = array![[0.9, 0.1], [0.3, 0.7]];
        let pi = stationary(&p).unwrap();
        assert!((pi[0] - 0.75).abs() < 1e-9 && (pi[1] - 0.25).abs() < 1e-9);
        assert!((timescales(&p).unwrap()[0] + 1.0 / 0.6_f64.ln()).abs() < 1e-9);
        assert!((passage(&p, 0, 1).unwrap() - 10.0).abs() < 1e-9);
        assert!((passage(&p, 1, 0).unwrap() - 10.0 / 3.0).abs() < 1e-9);
        // Return to 0: 1 / .75.
        assert!((passage(&p, 0, 0).unwrap() - 4.0 / 3.0).abs() < 1e-9);
        assert!(passage(&array![[1.0, 0.0], [0.3, 0.7]], 0, 1).is_none());
    }
}
