//! Linear return dynamics z_{t+1} = A z_t + b + B u_{t+1} + e, pooled over runs: where they rest and how fast they return.

use super::lag::{Lagged, lagged};
use super::modes::{Mode, Radius, modes, radius, transition};
use super::steps::{Factor, Steps, Sums};
use crate::analysis::series::Series;
use crate::analysis::stats::quantile;
use crate::analysis::student::t_quantile;
use crate::rng::stream;
use ndarray::{Array1, Array2, Axis, s};
use rand::Rng;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

/// What was fitted to the steps of one site.
#[derive(Clone, Debug)]
pub struct Dynamics {
    pub steps: usize,
    pub runs: usize,
    /// Of A, in units of each component's standard deviation, by falling modulus.
    pub modes: Vec<Mode>,
    pub radius: Radius,
    /// `[k]`: (I - A)^-1 (b + B mean u), in the units of the input, with intervals over runs.
    pub fixed_point: Vec<Value>,
    /// `[k]`: standard deviation about the fixed point in the long run, in the units of the input. `None` without one.
    pub sd: Option<Vec<f64>>,
    /// The leading mode by what it does to the product with the turn before, which noise of measurement leaves alone.
    pub lagged: Option<Lagged>,
    /// A mode that turns or alternates and does not die away within a run.
    pub persistent: Option<Lagged>,
    /// How far the fixed point moves over a run, in standard deviations, if it is let move evenly. Near 0 for dynamics
    /// that do not change.
    pub drift: Option<f64>,
    /// `[k, k]`: A in the units of the input.
    pub transition: Array2<f64>,
}

impl Dynamics {
    /// ln 2 / -ln of the spectral radius, in turns; an end at which nothing returns is infinite.
    pub fn half_life(&self) -> (f64, f64, f64) {
        let of = |r: f64| if r >= 1.0 { f64::INFINITY } else { std::f64::consts::LN_2 / -r.max(0.0).ln() };
        (of(self.radius.value), of(self.radius.lo), of(self.radius.hi))
    }

    /// Turns in which the leading mode goes round: 2 for one that alternates; `None` for one that does not.
    pub fn period(&self) -> Option<f64> {
        let angle = self.modes[0].value.arg().abs();
        (angle > 1e-9).then(|| std::f64::consts::TAU / angle)
    }
}

/// Steps needed per coefficient of an equation.
const LEAST: usize = 2;

/// Fits the dynamics; `resamples` of the runs give the intervals of the fixed point.
///
/// # Errors
/// In words: too few runs or steps, or a matrix that cannot be taken apart.
pub fn dynamics(series: &Series, steps: &Steps, resamples: usize, seed: u64) -> Result<Dynamics, String> {
    let (n, p, k) = (steps.len(), steps.coefficients(), steps.k);
    if steps.runs.len() < 2 || n < LEAST * p {
        let runs = steps.runs.len();
        return Err(format!(
            "{n} steps in {runs} runs for {p} coefficients per equation; at least 2 runs and {} steps are needed",
            LEAST * p
        ));
    }
    let broken = || "the states are too large or too alike for a fit".to_string();
    let sums = steps.sums();
    let whole = Sums::weighted(&sums, std::iter::repeat(1.0)).ok_or_else(broken)?;
    let fit = whole.fit().ok_or_else(broken)?;
    let a = transition(&fit, k);
    let modes = modes(&a).ok_or_else(broken)?;
    let df = (sums.len() - 1) as f64;
    let errors = &steps.y - &steps.x.dot(&fit);
    let noise = errors.t().dot(&errors) / (n - p).max(1) as f64;
    let ends = (t_quantile(0.975, df), t_quantile(0.97, df));
    let radius = radius(&sums, &whole, &fit, &modes, &noise, ends).ok_or_else(broken)?;
    let point = rest(&fit, k).ok_or_else(broken)?;
    let places = resampled(&sums, k, resamples, seed);
    let fixed_point = (0..k)
        .map(|i| {
            let all: Vec<f64> = places.iter().map(|z| z[i]).collect();
            let ends = quantile(&all, 0.025).zip(quantile(&all, 0.975));
            let back = |v: f64| v * steps.scale[i] + steps.centre[i];
            Value { value: back(point[i]), interval: ends.map(|(lo, hi)| (back(lo), back(hi))) }
        })
        .collect();
    let spread = if radius.plain < 1.0 { stationary(&a, noise) } else { None };
    let (lagged, persistent) = returning(steps, &modes, &fit, longest(series, steps));
    let drift = drift(series, steps, spread.as_ref());
    let sd = spread.map(|c| (0..k).map(|i| c[[i, i]].max(0.0).sqrt() * steps.scale[i]).collect());
    let transition = Array2::from_shape_fn((k, k), |(i, j)| a[[i, j]] * steps.scale[i] / steps.scale[j]);
    Ok(Dynamics {
        steps: n,
        runs: steps.runs.len(),
        modes,
        radius,
        fixed_point,
        sd,
        lagged,
        persistent,
        drift,
        transition,
    })
}

/// (I - A)^-1 b: where nothing changes at the mean input.
fn rest(fit: &Array2<f64>, k: usize) -> Option<Array1<f64>> {
    let m = Array2::eye(k) - transition(fit, k);
    let b = fit.row(0).to_owned().insert_axis(Axis(1));
    solve(&m, &b).map(|z| z.column(0).to_owned())
}

/// M^-1 R of any square matrix; `None` where it is not finite.
fn solve(m: &Array2<f64>, right: &Array2<f64>) -> Option<Array2<f64>> {
    use faer::linalg::solvers::Solve;
    let k = m.nrows();
    let lu = faer::Mat::from_fn(k, k, |i, j| m[[i, j]]).partial_piv_lu();
    let s = lu.solve(faer::Mat::from_fn(k, right.ncols(), |i, j| right[[i, j]]));
    let s = Array2::from_shape_fn((k, right.ncols()), |(i, j)| s[(i, j)]);
    s.iter().all(|v| v.is_finite()).then_some(s)
}

/// Fixed points of resamples of the runs.
fn resampled(sums: &[Sums], k: usize, resamples: usize, seed: u64) -> Vec<Array1<f64>> {
    let mut rng = stream(seed, "fixed point");
    let draw = |_| {
        let mut weights = vec![0.0; sums.len()];
        (0..sums.len()).for_each(|_| weights[rng.random_range(0..sums.len())] += 1.0);
        let fit = Sums::weighted(sums, weights.into_iter())?.fit()?;
        rest(&fit, k)
    };
    (0..resamples).filter_map(draw).collect()
}

/// The covariance that A and the noise end in: the sum of A^j N A'^j, by doubling.
fn stationary(a: &Array2<f64>, noise: Array2<f64>) -> Option<Array2<f64>> {
    let (mut sum, mut power) = (noise, a.clone());
    for _ in 0..40 {
        let next = power.dot(&sum).dot(&power.t());
        let change = next.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        sum = sum + next;
        if !change.is_finite() {
            return None;
        }
        if change < 1e-12 {
            break;
        }
        power = power.dot(&power);
    }
    sum.iter().all(|v| v.is_finite()).then_some(sum)
}

/// Turns of the longest run that takes part.
fn longest(series: &Series, steps: &Steps) -> usize {
    steps.names.iter().map(|&r| series.runs[r].turns.len()).max().unwrap_or(0)
}

/// The leading mode over two turns, and the first mode that turns and lasts.
fn returning(steps: &Steps, modes: &[Mode], fit: &Array2<f64>, turns: usize) -> (Option<Lagged>, Option<Lagged>) {
    // Half of the amplitude is left after the run.
    let lasting = 0.5_f64.powf(1.0 / turns.max(2) as f64);
    let lasts = |l: &Lagged| {
        let (lo, hi) = l.interval;
        lo > lasting || (hi >= 1.0 && l.modulus > lasting)
    };
    let turning = |m: &&Mode| m.value.arg().abs() > 0.1 && m.modulus > 0.3;
    let persistent =
        modes.iter().filter(turning).filter_map(|m| lagged(steps, m, fit)).find(|l| l.angle > 0.1 && lasts(l));
    (lagged(steps, &modes[0], fit), persistent)
}

/// The movement of the fixed point over a run in standard deviations, from two halves of the runs: noise, which the
/// halves do not share, adds nothing on average.
fn drift(series: &Series, steps: &Steps, spread: Option<&Array2<f64>>) -> Option<f64> {
    let (k, p) = (steps.k, steps.coefficients());
    let size = spread?.diag().sum();
    let mut turns: Vec<f64> = Vec::with_capacity(steps.len());
    for (range, &r) in steps.runs.iter().zip(&steps.names) {
        turns.extend(range.clone().map(|i| series.runs[r].turns[steps.at[i]].turn as f64));
    }
    let mean = turns.iter().sum::<f64>() / turns.len() as f64;
    let span = turns.iter().fold(0.0_f64, |m, t| m.max((t - mean).abs())) * 2.0;
    let mut x = Array2::zeros((steps.len(), p + 1));
    x.slice_mut(s![.., ..p]).assign(&steps.x);
    x.column_mut(p).assign(&Array1::from_iter(turns.iter().map(|t| (t - mean) / span.max(1.0))));
    let half = |odd: usize| {
        let of = |(i, r): (usize, &std::ops::Range<usize>)| {
            (i % 2 == odd).then(|| Sums::of(x.slice(s![r.clone(), ..]), steps.y.slice(s![r.clone(), ..])))
        };
        let sums: Vec<Sums> = steps.runs.iter().enumerate().filter_map(of).collect();
        let whole = Sums::weighted(&sums, std::iter::repeat(1.0))?;
        let fit = Factor::new(&whole.xx)?.solve(&whole.xy)?;
        let along = fit.row(p).to_owned().insert_axis(Axis(1));
        solve(&(Array2::eye(k) - transition(&fit, k)), &along).map(|z| z.column(0).to_owned())
    };
    let product = half(0)?.dot(&half(1)?);
    (size > 0.0).then(|| (product.max(0.0) / size).sqrt())
}
