//! Means over pairs of prompts, and how far they would move with other prompts.

use crate::analysis::student::t_quantile;
use ndarray::Array2;

/// An estimate with its 95 % interval; none with too few prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimated {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

/// Below this many prompts the variance of a mean over pairs is not estimated.
pub const LEAST_PROMPTS: usize = 4;

/// The mean over pairs of different prompts.
pub(super) fn pair_mean(kernel: &Array2<f64>) -> f64 {
    let n = kernel.nrows() as f64;
    (kernel.sum() - kernel.diag().sum()) / (n * (n - 1.0))
}

/// The variance of [`pair_mean`] over samples of prompts (Hoeffding 1948): the mean over pairs squared minus the mean of
/// products of pairs that have no prompt in common, which is unbiased. `.1` is the part that pairs alone explain; the truth
/// cannot lie below it.
pub(super) fn pair_variance(kernel: &Array2<f64>) -> Option<(f64, f64)> {
    let size = kernel.nrows();
    if size < LEAST_PROMPTS {
        return None;
    }
    let (n, mean) = (size as f64, pair_mean(kernel));
    let (mut rows, mut squares) = (0.0, 0.0);
    for p in 0..size {
        let mut row = 0.0;
        for q in (0..size).filter(|q| *q != p) {
            let v = kernel[[p, q]] - mean;
            row += v;
            squares += v * v;
        }
        rows += row * row;
    }
    let whole = (4.0 * rows - 2.0 * squares) / (n * (n - 1.0) * (n - 2.0) * (n - 3.0));
    let pairs = 2.0 * squares / (n * (n - 1.0)).powi(2);
    Some((whole.max(pairs), pairs))
}

/// The mean over pairs with its interval, of Student's t: the degrees of freedom are those of the prompts for the part that
/// prompts explain one by one, and many for the part that pairs explain.
pub(super) fn pair_estimate(kernel: &Array2<f64>) -> Estimated {
    let value = pair_mean(kernel);
    Estimated { value, interval: pair_variance(kernel).map(|v| around(value, v, kernel.nrows())) }
}

/// A share of a whole: the ratio of two means over pairs, with the interval of its linear part.
pub(super) fn share(part: &Array2<f64>, whole: &Array2<f64>) -> Estimated {
    let (value, total) = (pair_mean(part) / pair_mean(whole), pair_mean(whole));
    let linear = (part - &(whole * value)) / total;
    Estimated { value, interval: pair_variance(&linear).map(|v| around(value, v, part.nrows())) }
}

/// The interval of a mean square whose variance is `whole`, of which pairs explain `pairs`.
///
/// What prompts explain one by one grows with the effect, and is nothing where the effect is. So an end of the interval is the
/// effect that is just not refuted by the variance it would have itself, as Wilson's is for a count. That keeps the level for
/// effects of zero, where a plain interval is too wide whenever noise makes the estimate large.
fn around(value: f64, (whole, pairs): (f64, f64), prompts: usize) -> (f64, f64) {
    let n = prompts as f64;
    let alone = (whole - pairs).max(0.0);
    let quantile = |alone: f64| {
        let all = (alone + pairs).max(f64::MIN_POSITIVE);
        // Two prompts are spent: on the mean, and on the slope along the whole that a share has.
        let df = 1.0 / ((alone / all).powi(2) / (n - 2.0) + (pairs / all).powi(2) * 2.0 / (n * (n - 1.0)));
        t_quantile(0.975, if df.is_finite() { df } else { n - 2.0 })
    };
    let (q, chance) = (quantile(alone), quantile(0.0) * pairs.sqrt());
    // (value - s)^2 = q^2 (pairs + alone s / size), for both of its roots s.
    let size = value.max(chance).max(f64::MIN_POSITIVE);
    let half = value + q * q * alone / (2.0 * size);
    let root = (half * half - value * value + q * q * pairs).max(0.0).sqrt();
    let low = if value <= chance { value - chance } else { (half - root).max(0.0) };
    (low, half + root)
}
