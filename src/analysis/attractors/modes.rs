//! Eigenvalues of a fitted transition matrix with their errors, and the largest of them without the reward for noise.
//!
//! The largest modulus of a noisy matrix is too large where several modes are equally slow: of A = r I in 16 dimensions
//! the fitted eigenvalues fill a disc about r. Where the leading modes cannot be told apart and stand away from the
//! others, they are read as one, whose modulus is their geometric mean.

use super::steps::{Factor, Sums};
use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, c64};
use ndarray::{Array1, Array2, s};

/// One mode: a real eigenvalue, or a pair that is complex conjugate.
#[derive(Clone, Debug)]
pub struct Mode {
    /// The member with the imaginary part that is not negative.
    pub value: c64,
    pub modulus: f64,
    /// 1, or 2 for a pair.
    pub multiplicity: usize,
    /// `[k]`: the left eigenvector, scaled so that its product with the right one is 1.
    pub left: Vec<c64>,
    pub right: Vec<c64>,
}

/// Modes by falling modulus; `None` where the matrix cannot be taken apart (not finite, or defective).
pub fn modes(a: &Array2<f64>) -> Option<Vec<Mode>> {
    let k = a.nrows();
    let e = Mat::from_fn(k, k, |i, j| a[[i, j]]).eigen().ok()?;
    let (values, right) = (e.S().column_vector(), e.U());
    let left = right.to_owned().partial_piv_lu().inverse();
    let finite = (0..k).all(|i| (0..k).all(|j| left[(i, j)].re.is_finite() && left[(i, j)].im.is_finite()));
    let mode = |i: usize| Mode {
        value: values[i],
        modulus: values[i].norm(),
        multiplicity: if values[i].im > 0.0 { 2 } else { 1 },
        left: (0..k).map(|j| left[(i, j)]).collect(),
        right: (0..k).map(|j| right[(j, i)]).collect(),
    };
    let mut all: Vec<Mode> = (0..k).filter(|&i| values[i].im >= 0.0).map(mode).collect();
    all.sort_by(|a, b| b.modulus.total_cmp(&a.modulus));
    (finite && !all.is_empty()).then_some(all)
}

/// Moduli of all eigenvalues, falling.
pub fn moduli(a: &Array2<f64>) -> Option<Vec<f64>> {
    let k = a.nrows();
    let values = Mat::from_fn(k, k, |i, j| a[[i, j]]).eigenvalues().ok()?;
    let mut all: Vec<f64> = values.iter().map(|v| v.norm()).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    Some(all)
}

/// The slowest mode.
#[derive(Clone, Debug)]
pub struct Radius {
    /// Without bias to first order.
    pub value: f64,
    /// 95 %.
    pub lo: f64,
    pub hi: f64,
    /// The largest modulus as least squares has it.
    pub plain: f64,
    /// Eigenvalues that are read as one.
    pub together: usize,
}

/// How far A is from a turn that shrinks all directions alike, where the noise is the same in all of them: the scatter of
/// its singular values over what the errors of the fit alone would give. `None` where the noise has no inverse.
pub fn evenness(whole: &Sums, fit: &Array2<f64>, noise: &Array2<f64>) -> Option<f64> {
    let k = fit.ncols();
    let e = Mat::from_fn(k, k, |i, j| noise[[i, j]]).self_adjoint_eigen(faer::Side::Lower).ok()?;
    let values: Vec<f64> = (0..k).map(|i| e.S()[i]).collect();
    if !(values[0] > 1e-10 * values[k - 1]) {
        return None;
    }
    let root = |power: f64| {
        Array2::from_shape_fn((k, k), |(i, j)| {
            (0..k).map(|m| e.U()[(i, m)] * values[m].powf(power) * e.U()[(j, m)]).sum::<f64>()
        })
    };
    let a = root(-0.5).dot(&transition(fit, k)).dot(&root(0.5));
    let singular = Mat::from_fn(k, k, |i, j| a[[i, j]]).singular_values().ok()?;
    let mean = singular.iter().sum::<f64>() / k as f64;
    let scatter: f64 = singular.iter().map(|s| (s - mean) * (s - mean)).sum();
    // Errors of A have the covariance noise x C, C the states' block of (X'X)^-1. Of their k^2 parts the singular
    // values feel the k (k + 1) / 2 symmetric ones, less the mean.
    let p = whole.xx.nrows();
    let inverse = Factor::new(&whole.xx)?.solve(&Array2::eye(p))?;
    let errors = k as f64 * inverse.slice(s![1..=k, 1..=k]).dot(noise).diag().sum();
    let parts = (k * (k + 1) / 2) as f64 - 1.0;
    let expected = errors * parts.max(1.0) / (k * k) as f64;
    (expected > 0.0 && k > 1).then(|| scatter / expected)
}

/// Parts of the runs that are left out in turn.
const FOLDS: usize = 10;

/// The spectral radius with its interval over runs: errors of eigenvalues to first order, each run one observation.
/// Modes that are read as one have the geometric mean of their moduli, without its jackknifed bias; the interval then
/// reaches up to where the largest of them by itself would be. `noise` is the covariance of the errors, `t` the quantiles of
/// Student's distribution for both ends by themselves and for the lower end of a joint reading.
pub fn radius(
    sums: &[Sums],
    whole: &Sums,
    fit: &Array2<f64>,
    modes: &[Mode],
    noise: &Array2<f64>,
    (t, t_low): (f64, f64),
) -> Option<Radius> {
    let k = fit.ncols();
    let influence = influences(sums, whole, fit, modes)?;
    let n = sums.len() as f64;
    let covariance = influence.t().dot(&influence) * (n / (n - 1.0).max(1.0));
    let se = |i: usize| covariance[[i, i]].max(0.0).sqrt();
    let plain = modes[0].modulus;
    let together = cluster(modes, &covariance, evenness(whole, fit, noise));
    let count: usize = modes[..together].iter().map(|m| m.multiplicity).sum();
    if together <= 1 {
        return Some(Radius {
            value: plain,
            lo: (plain - t * se(0)).max(0.0),
            hi: plain + t * se(0),
            plain,
            together: count,
        });
    }
    // The geometric mean, and its influence.
    let log: f64 = modes[..together].iter().map(|m| m.multiplicity as f64 * m.modulus.ln()).sum::<f64>() / count as f64;
    let weights: Array1<f64> =
        modes[..together].iter().map(|m| m.multiplicity as f64 / (count as f64 * m.modulus)).collect();
    let own = covariance.slice(s![..together, ..together]);
    let se_log = weights.dot(&own.dot(&weights)).max(0.0).sqrt();
    let log = log - bias(sums, whole, k, count, log).unwrap_or(0.0);
    let value = log.exp();
    let typical = median((0..together).map(se).collect());
    let hi = (plain + t * typical).max(value);
    Some(Radius { value, lo: value * (-t_low * se_log).exp(), hi, plain, together: count })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How many leading modes cannot be told apart: the most of them whose moduli agree within their errors and that stand
/// away from the next.
fn cluster(modes: &[Mode], covariance: &Array2<f64>, evenness: Option<f64>) -> usize {
    let apart = |i: usize| {
        let v = covariance[[i, i]] + covariance[[i - 1, i - 1]] - 2.0 * covariance[[i, i - 1]];
        modes[i - 1].modulus - modes[i].modulus > APART * v.max(0.0).sqrt()
    };
    let alike = |m: usize, most: f64, odd_most: f64| {
        let total: f64 = modes[..m].iter().map(|x| x.multiplicity as f64).sum();
        let mean = modes[..m].iter().map(|x| x.multiplicity as f64 * x.modulus).sum::<f64>() / total;
        // Each deviation in its own error, or the usual one where that is larger.
        let own: Vec<f64> = (0..m).map(|i| covariance[[i, i]]).collect();
        let cap = 4.0 * median(own.clone());
        let usual = own.iter().map(|v| v.min(cap)).sum::<f64>() / m as f64;
        let odd = |i: usize| (modes[i].modulus - mean).powi(2) / covariance[[i, i]].max(usual).max(f64::MIN_POSITIVE);
        let sum: f64 = (0..m).map(|i| modes[i].multiplicity as f64 * odd(i)).sum();
        sum <= most * total && odd(0) <= odd_most
    };
    if evenness.is_some_and(|e| e <= EVEN) && alike(modes.len(), f64::INFINITY, ODD_OF_ALL) {
        return modes.len();
    }
    (FEW..modes.len()).rev().find(|&m| apart(m) && alike(m, ALIKE, ODD)).unwrap_or(1)
}

/// Modes that are worth reading as one: of fewer the largest is hardly too large.
const FEW: usize = 3;
/// How uneven the singular values may be, as [`evenness`] has it: noise alone gives 1, with a deviation of about 0.12 in
/// 16 dimensions.
const EVEN: f64 = 1.4;
/// [`ODD`] where the singular values already say that all modes are as slow.
const ODD_OF_ALL: f64 = 14.0;
/// A gap between moduli that noise does not make, in its error.
const APART: f64 = 5.0;
/// Mean squared deviation of moduli that are the same, in their errors: noise alone gives about 1.
const ALIKE: f64 = 1.5;
/// The same of the largest alone.
const ODD: f64 = 4.0;

/// `[run, mode]`: what each run adds to each modulus, to first order.
pub fn influences(sums: &[Sums], whole: &Sums, fit: &Array2<f64>, modes: &[Mode]) -> Option<Array2<f64>> {
    let k = fit.ncols();
    let factor = Factor::new(&whole.xx)?;
    let p = whole.xx.nrows();
    // (X'X)^-1 restricted to states, times the right vectors: [p, mode].
    let pick = |part: fn(&c64) -> f64| {
        let mut right = Array2::zeros((p, modes.len()));
        for (c, m) in modes.iter().enumerate() {
            m.right.iter().enumerate().for_each(|(i, v)| right[[i + 1, c]] = part(v));
        }
        factor.solve(&right)
    };
    let (re, im) = (pick(|v| v.re)?, pick(|v| v.im)?);
    let mut out = Array2::zeros((sums.len(), modes.len()));
    for (r, sum) in sums.iter().enumerate() {
        // Scores of the run: X'Y - X'X fit, [p, k].
        let score = &sum.xy - &sum.xx.dot(fit);
        let (a, b) = (score.t().dot(&re), score.t().dot(&im));
        for (c, m) in modes.iter().enumerate() {
            let mut sum = c64::new(0.0, 0.0);
            for i in 0..k {
                sum += m.left[i] * c64::new(a[[i, c]], b[[i, c]]);
            }
            out[[r, c]] = if m.modulus > 0.0 { (m.value.conj() * sum).re / m.modulus } else { sum.norm() };
        }
    }
    Some(out)
}

/// The jackknifed bias of the mean logarithm of the `count` largest moduli.
fn bias(sums: &[Sums], whole: &Sums, k: usize, count: usize, log: f64) -> Option<f64> {
    let folds = FOLDS.min(sums.len());
    let mut total = 0.0;
    for f in 0..folds {
        let part = Sums::weighted(sums, (0..sums.len()).map(|r| if r % folds == f { 1.0 } else { 0.0 }))?;
        let fit = whole.without(&part).fit()?;
        let all = moduli(&transition(&fit, k))?;
        total += all[..count].iter().map(|m| m.ln()).sum::<f64>() / count as f64;
    }
    let bias = (folds as f64 - 1.0) * (total / folds as f64 - log);
    bias.is_finite().then_some(bias)
}

/// A `[k, k]` of coefficients `[1 + k + m, k]`: the next state is A times the state.
pub fn transition(fit: &Array2<f64>, k: usize) -> Array2<f64> {
    fit.slice(s![1..=k, ..]).t().to_owned()
}
