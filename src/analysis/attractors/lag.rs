//! What a mode keeps over a turn, from products with the turn before.
//!
//! Noise of measurement makes a state look as if it returned faster than it does: it is in z_t, and not in z_{t+1}. It is
//! not in z_{t-1} either, so cov(z_{t+1}, z_{t-1}) / cov(z_t, z_{t-1}) is what the mode keeps in a turn, with or without it.

use super::modes::Mode;
use super::steps::Steps;
use crate::analysis::student::t_quantile;
use faer::c64;
use ndarray::{Array2, s};

/// A mode over two turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lagged {
    pub modulus: f64,
    /// 95 %, over runs.
    pub interval: (f64, f64),
    /// Radians per turn, 0 to pi.
    pub angle: f64,
}

impl Lagged {
    /// Turns in which the mode goes round.
    pub fn period(&self) -> f64 {
        std::f64::consts::TAU / self.angle
    }
}

/// The mode's eigenvalue by the turn before as an instrument; `None` where a turn says too little about the next (the
/// product of the two is within 4 of its errors of 0).
pub fn lagged(steps: &Steps, mode: &Mode, fit: &Array2<f64>) -> Option<Lagged> {
    let k = steps.k;
    let project = |rows: ndarray::ArrayView2<f64>| -> Vec<c64> {
        let of = |row: ndarray::ArrayView1<f64>| {
            row.iter().zip(&mode.left).fold(c64::new(0.0, 0.0), |sum, (z, w)| sum + *w * *z)
        };
        let mut all: Vec<c64> = rows.rows().into_iter().map(of).collect();
        let mean = all.iter().fold(c64::new(0.0, 0.0), |s, v| s + *v) / all.len() as f64;
        all.iter_mut().for_each(|v| *v -= mean);
        all
    };
    let now = project(steps.x.slice(s![.., 1..=k]));
    // The next state without what its input did.
    let inputs = steps.x.slice(s![.., k + 1..]).dot(&fit.slice(s![k + 1.., ..]));
    let next = project((&steps.y - &inputs).view());
    let zero = c64::new(0.0, 0.0);
    let mut runs = Vec::with_capacity(steps.runs.len());
    for range in &steps.runs {
        let (mut above, mut below) = (zero, zero);
        for i in range.clone().skip(1).filter(|&i| steps.at[i] == steps.at[i - 1] + 1) {
            above += next[i] * now[i - 1].conj();
            below += now[i] * now[i - 1].conj();
        }
        runs.push((above, below));
    }
    let sum = |f: fn(&(c64, c64)) -> c64| runs.iter().fold(zero, |s, r| s + f(r));
    let (above, below) = (sum(|r| r.0), sum(|r| r.1));
    let n = runs.len() as f64;
    let scatter: f64 = runs.iter().map(|r| (r.1 - below / n).norm_sqr()).sum();
    if !(below.norm() > 4.0 * scatter.sqrt()) || n < 3.0 {
        return None;
    }
    let value = above / below;
    let modulus = value.norm();
    let along = if modulus > 0.0 { value.conj() / modulus } else { c64::new(1.0, 0.0) };
    let squares: f64 = runs.iter().map(|r| (along * (r.0 - value * r.1) / below).re.powi(2)).sum();
    let half = t_quantile(0.975, n - 1.0) * (squares * n / (n - 1.0)).sqrt();
    let finite = modulus.is_finite() && half.is_finite();
    finite.then(|| Lagged { modulus, interval: ((modulus - half).max(0.0), modulus + half), angle: value.arg().abs() })
}
