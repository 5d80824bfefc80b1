//! A chain of states that is seen through errors: how often each state follows each, when every look at it may be wrong.
//!
//! Counting what was seen would count every error as a move there and back. Here the errors are known (from runs whose
//! states are known) and the moves are estimated: Baum and Welch's algorithm with the errors held fixed (Rabiner 1989).

use super::interval::{FEW_CLUSTERS, Interval};
use super::stats::quantile;
use crate::rng::stream;
use ndarray::Array2;
use rand::Rng;

/// One run: the state before its first step, if it is known, and the likelihood of every state at each look.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Probability of each state at the first look.
    pub first: Vec<f64>,
    /// `[look][state]`: probability of what was seen, given the state. Any positive factor per look is allowed.
    pub likelihoods: Vec<Vec<f64>>,
}

/// Probabilities of the next state, `[from, to]`; every row that was ever left sums to 1, others are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moves {
    pub probability: Array2<f64>,
    /// Expected number of steps out of each state.
    pub steps: Vec<f64>,
}

/// Below this many expected steps out of a state its row says nothing.
const LEAST_STEPS: f64 = 1e-6;
const ITERATIONS: usize = 400;
/// The search ends where no probability moves by more.
const CHANGE: f64 = 1e-6;

/// The most likely moves, from any start.
pub fn moves(runs: &[&Run], states: usize) -> Moves {
    // Staying is more usual than moving; the start does not decide where a likelihood of this kind ends.
    let one = |from: usize, to: usize| if from == to { 1.0 } else { 1.0 / states as f64 };
    search(runs, Array2::from_shape_fn((states, states), |(f, t)| one(f, t)))
}

/// The moves found from `near`, which are close to them: of resampled runs, those of all runs.
fn search(runs: &[&Run], near: Array2<f64>) -> Moves {
    let states = near.nrows();
    // A move of probability 0 would never be found again.
    let mut p = near + 1e-3;
    p.rows_mut().into_iter().for_each(|mut row| {
        let sum = row.sum();
        row /= sum;
    });
    let mut steps = vec![0.0; states];
    let mut passes = Passes::default();
    for _ in 0..ITERATIONS {
        let mut counts = Array2::<f64>::zeros((states, states));
        runs.iter().for_each(|run| passes.expect(run, &p, &mut counts));
        let mut change = 0.0_f64;
        for from in 0..states {
            steps[from] = counts.row(from).sum();
            if steps[from] < LEAST_STEPS {
                continue;
            }
            for to in 0..states {
                let new = counts[[from, to]] / steps[from];
                change = change.max((new - p[[from, to]]).abs());
                p[[from, to]] = new;
            }
        }
        if change < CHANGE {
            break;
        }
    }
    // What the search leaves of a move that is never made is no finding.
    p.mapv_inplace(|v| if v < 10.0 * CHANGE { 0.0 } else { v });
    p.rows_mut().into_iter().for_each(|mut row| {
        let sum = row.sum();
        row /= sum;
    });
    Moves { probability: p, steps }
}

/// Forward and backward passes over a run, each look scaled to sum to 1: `[look * states + state]`.
#[derive(Default)]
struct Passes {
    forward: Vec<f64>,
    backward: Vec<f64>,
    joint: Vec<f64>,
}

impl Passes {
    /// Passes over a run; false where it is impossible.
    fn over(&mut self, run: &Run, p: &Array2<f64>) -> bool {
        let (k, n) = (p.nrows(), run.likelihoods.len());
        self.forward.clear();
        self.forward.resize(n * k, 0.0);
        self.backward.clear();
        self.backward.resize(n * k, 1.0);
        for (t, seen) in run.likelihoods.iter().enumerate() {
            let (before, now) = self.forward.split_at_mut(t * k);
            let before = before.get(t.saturating_sub(1) * k..).unwrap_or_default();
            for to in 0..k {
                let came = match t {
                    0 => run.first[to],
                    _ => (0..k).map(|from| before[from] * p[[from, to]]).sum(),
                };
                now[to] = came * seen[to];
            }
            if !scale(&mut now[..k]) {
                return false;
            }
        }
        for t in (0..n.saturating_sub(1)).rev() {
            let (now, behind) = self.backward.split_at_mut((t + 1) * k);
            for (from, value) in now[t * k..].iter_mut().enumerate() {
                *value = (0..k).map(|to| p[[from, to]] * run.likelihoods[t + 1][to] * behind[to]).sum();
            }
            if !scale(&mut now[t * k..]) {
                return false;
            }
        }
        true
    }

    /// Adds the expected moves of a run under `p` to `counts`.
    fn expect(&mut self, run: &Run, p: &Array2<f64>, counts: &mut Array2<f64>) {
        if !self.over(run, p) {
            return;
        }
        let k = p.nrows();
        for t in 1..run.likelihoods.len() {
            self.joint.clear();
            for from in 0..k {
                for to in 0..k {
                    let (before, behind) = (self.forward[(t - 1) * k + from], self.backward[t * k + to]);
                    self.joint.push(before * p[[from, to]] * run.likelihoods[t][to] * behind);
                }
            }
            let sum: f64 = self.joint.iter().sum();
            if sum > 0.0 {
                counts.iter_mut().zip(&self.joint).for_each(|(c, j)| *c += j / sum);
            }
        }
    }
}

/// Divides by the sum; false where there is none.
fn scale(v: &mut [f64]) -> bool {
    let sum: f64 = v.iter().sum();
    v.iter_mut().for_each(|x| *x /= sum);
    sum > 0.0 && sum.is_finite()
}

/// The probability of every state at each look of a run, given the whole run; empty where the run is impossible.
pub fn posterior(run: &Run, moves: &Moves) -> Vec<Vec<f64>> {
    let (mut passes, k) = (Passes::default(), moves.probability.nrows());
    if !passes.over(run, &moves.probability) {
        return Vec::new();
    }
    let one = |(f, b): (&[f64], &[f64])| {
        let mut both: Vec<f64> = f.iter().zip(b).map(|(f, b)| f * b).collect();
        scale(&mut both);
        both
    };
    passes.forward.chunks(k).zip(passes.backward.chunks(k)).map(one).collect()
}

/// 95 % intervals of every move, `[from][to]`, resampling whole runs; `None` where too few resamples left a state.
pub fn intervals(runs: &[Run], states: usize, resamples: usize, seed: u64, label: &str) -> Vec<Vec<Option<Interval>>> {
    let all = moves(&runs.iter().collect::<Vec<_>>(), states).probability;
    resampled(runs.len(), states, resamples, seed, label, |sample| {
        let m = search(&sample.iter().map(|i| &runs[*i]).collect::<Vec<_>>(), all.clone());
        (m.probability, m.steps)
    })
}

/// [`intervals`] of the moves of `a` less those of `b`: two looks at the same runs, which are resampled together.
///
/// # Panics
/// If there are more runs in `a`: a defect of the caller.
pub fn paired(
    a: &[Run],
    b: &[Run],
    states: usize,
    resamples: usize,
    seed: u64,
    label: &str,
) -> Vec<Vec<Option<Interval>>> {
    let near = |runs: &[Run]| moves(&runs.iter().collect::<Vec<_>>(), states).probability;
    let (near_a, near_b) = (near(a), near(b));
    resampled(a.len(), states, resamples, seed, &format!("{label}/paired"), |sample| {
        let of = |runs: &[Run], near: &Array2<f64>| {
            search(&sample.iter().map(|i| &runs[*i]).collect::<Vec<_>>(), near.clone())
        };
        let (a, b) = (of(a, &near_a), of(b, &near_b));
        let steps = a.steps.iter().zip(&b.steps).map(|(a, b)| a.min(*b)).collect();
        (a.probability - b.probability, steps)
    })
}

fn resampled(
    runs: usize,
    states: usize,
    resamples: usize,
    seed: u64,
    label: &str,
    of: impl Fn(&[usize]) -> (Array2<f64>, Vec<f64>),
) -> Vec<Vec<Option<Interval>>> {
    let mut rng = stream(seed, &format!("hidden chain/{label}"));
    let mut draws: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); states]; states];
    for _ in 0..if runs > 0 { resamples } else { 0 } {
        let sample: Vec<usize> = (0..runs).map(|_| rng.random_range(0..runs)).collect();
        let (value, steps) = of(&sample);
        for from in (0..states).filter(|f| steps[*f] >= 1.0) {
            (0..states).for_each(|to| draws[from][to].push(value[[from, to]]));
        }
    }
    let one = |v: Vec<f64>| {
        let enough = v.len() * 2 >= resamples.max(1);
        let (lo, hi) = (quantile(&v, 0.025)?, quantile(&v, 0.975)?);
        let few_clusters = runs < FEW_CLUSTERS;
        enough.then_some(Interval { lo, hi, draws_used: v.len(), one_sided: false, few_clusters })
    };
    draws.into_iter().map(|row| row.into_iter().map(one).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: [[f64; 3]; 3] = [[0.85, 0.15, 0.0], [0.0, 1.0, 0.0], [0.0, 0.1, 0.9]];
    /// What is seen: `[truth][seen]`.
    const SEEN: [[f64; 3]; 3] = [[0.9, 0.06, 0.04], [0.08, 0.9, 0.02], [0.05, 0.05, 0.9]];

    fn draw(rng: &mut impl Rng, p: &[f64]) -> usize {
        let mut u: f64 = rng.random();
        for (i, p) in p.iter().enumerate() {
            if u < *p {
                return i;
            }
            u -= p;
        }
        p.len() - 1
    }

    fn runs(n: usize, turns: usize, seed: u64) -> Vec<Run> {
        let mut rng = stream(seed, "runs");
        let one = |i: usize, rng: &mut rand_chacha::ChaCha8Rng| {
            let start = [0, 2][i % 2];
            let mut state = start;
            let mut likelihoods = Vec::new();
            for t in 0..turns {
                if t > 0 {
                    state = draw(rng, &TRUTH[state]);
                }
                let seen = draw(rng, &SEEN[state]);
                likelihoods.push((0..3).map(|s| SEEN[s][seen]).collect());
            }
            Run { first: (0..3).map(|s| f64::from(u8::from(s == start))).collect(), likelihoods }
        };
        (0..n).map(|i| one(i, &mut rng)).collect()
    }

    #[test]
    fn moves_are_found_through_the_errors_and_not_with_them() {
        let all = runs(2000, 8, 1);
        let m = moves(&all.iter().collect::<Vec<_>>(), 3);
        // 1,000 runs leave a state some 4,600 times: a standard error of sqrt(.15 * .85 / 4600) = 0.005, and errors of one
        // look in ten widen it to about 0.008.
        assert!((m.probability[[0, 1]] - 0.15).abs() < 0.03, "{:?}", m.probability);
        assert!((m.probability[[2, 1]] - 0.10).abs() < 0.03 && m.probability[[1, 1]] > 0.97, "{:?}", m.probability);
        // Counting what is seen would give 0.15 * 0.9 + 0.85 * 0.06 = 0.19 and more.
        assert!(m.probability.rows().into_iter().all(|r| (r.sum() - 1.0).abs() < 1e-9));
    }

    #[test]
    fn intervals_hold_what_was_planted() {
        let all = runs(200, 8, 2);
        let i = intervals(&all, 3, 100, 0, "test")[0][1].unwrap();
        assert!(i.lo < 0.15 && 0.15 < i.hi && i.hi - i.lo < 0.2, "{i:?}");
    }

    #[test]
    fn a_look_is_corrected_by_the_looks_beside_it() {
        let m = Moves { probability: Array2::from_shape_fn((3, 3), |(f, t)| TRUTH[f][t]), steps: vec![1.0; 3] };
        // Persona, "assistant", persona. Had it stayed the persona: .85 * .06 * .85 * .9 = .0390; fallen at the second look:
        // .15 * .9 * 1 * .08 = .0108; at the third: .85 * .06 * .15 * .08 = .0006. Of the second look: .0396 / .0504 = .786.
        let look = |seen: usize| (0..3).map(|s| SEEN[s][seen]).collect::<Vec<f64>>();
        let run = Run { first: vec![1.0, 0.0, 0.0], likelihoods: vec![look(0), look(1), look(0)] };
        let p = posterior(&run, &m);
        assert!((p[1][0] - 0.786).abs() < 0.002, "{p:?}");
        let never = Run { first: vec![0.0; 3], likelihoods: vec![look(0)] };
        assert!(posterior(&never, &m).is_empty());
    }
}
