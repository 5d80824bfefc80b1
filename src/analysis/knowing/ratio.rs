//! A measure between its two anchors: (model - base) / (card - base), over the items that all three have.

use crate::analysis::stats::mean;

/// Anchors closer than this many standard errors of their difference give no index.
pub const OVERLAP: f64 = 3.0;

/// An index with what its error comes from. Items are the units: samples are averaged within an item before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ratio {
    /// Names of the items, ascending.
    pub items: Vec<String>,
    /// Per item: model - base, and card - base.
    pub over: Vec<f64>,
    pub under: Vec<f64>,
    /// Their means.
    pub n: f64,
    pub d: f64,
    /// Variances and covariance of the two means; 0 with a single item.
    pub nn: f64,
    pub nd: f64,
    pub dd: f64,
    /// What the index is off by on average; see [`pull`].
    bias: f64,
}

impl Ratio {
    /// From the items' means; `None` without items.
    pub fn of(items: Vec<String>, model: &[f64], base: &[f64], card: &[f64]) -> Option<Ratio> {
        let less = |a: &[f64]| a.iter().zip(base).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let (over, under) = (less(model), less(card));
        let (n, d) = (mean(&over)?, mean(&under)?);
        let count = items.len() as f64;
        let moment = |a: &[f64], ma: f64, b: &[f64], mb: f64| {
            let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum();
            if count > 1.0 { sum / (count - 1.0) / count } else { 0.0 }
        };
        let (nn, nd, dd) = (moment(&over, n, &over, n), moment(&over, n, &under, d), moment(&under, d, &under, d));
        let bias = if dd > 0.0 && d != 0.0 { (nd / dd - n / d) * pull(d.abs() / dd.sqrt()) } else { 0.0 };
        Some(Ratio { items, over, under, n, d, nn, nd, dd, bias })
    }

    /// Whether the anchors are too close to each other, or the same.
    pub fn overlaps(&self) -> bool {
        // Rounding leaves equal anchors with a distance of a few last digits.
        self.d.abs() <= 1e-12 * self.n.abs() || self.d == 0.0 || self.d.abs() < OVERLAP * self.dd.sqrt()
    }

    /// The index: 0 is the base model, 1 the base model with the card.
    pub fn value(&self) -> f64 {
        self.n / self.d
    }

    /// The index less what it is off by on average, being a ratio of noisy means of which only those were kept whose
    /// anchors do not overlap: (n - r d) / d is (cov / var - r) times what [`pull`] says.
    pub fn centred(&self) -> f64 {
        self.value() - self.bias
    }

    /// How much each item moves the index, to first order; the sum is 0.
    pub fn influence(&self) -> Vec<f64> {
        let (r, scale) = (self.value(), self.d * self.items.len() as f64);
        self.over.iter().zip(&self.under).map(|(n, d)| (n - r * d) / scale).collect()
    }

    /// The variance of the index, to first order.
    pub fn variance(&self) -> f64 {
        let r = self.value();
        ((self.nn - 2.0 * r * self.nd + r * r * self.dd) / (self.d * self.d)).max(0.0)
    }

    /// Fieller's (1954) limits at a quantile `t`: the r at which n - r d is t of its standard errors from 0. `None` where
    /// the anchors are so close that the set has no end.
    pub fn limits(&self, t: f64) -> Option<(f64, f64)> {
        let s = t * t;
        let (a, b, c) = (self.d * self.d - s * self.dd, self.n * self.d - s * self.nd, self.n * self.n - s * self.nn);
        let root = (b * b - a * c).max(0.0).sqrt();
        (a > 0.0).then(|| ((b - root) / a, (b + root) / a))
    }

    /// The index of a resample of items; `None` where its anchors coincide.
    pub fn resampled(&self, sample: &[usize]) -> Option<f64> {
        let (n, d) = sample.iter().fold((0.0, 0.0), |(n, d), &i| (n + self.over[i], d + self.under[i]));
        Some(n / d).filter(|r| r.is_finite())
    }
}

/// The mean of x / (d + x) for a standard normal x above [`OVERLAP`] - d: what noise of a distance d does to a ratio with
/// it, where distances below the limit are thrown away. Far out it is -1/d^2 (a ratio curves); near the limit it is above 0
/// (what is kept was lucky).
fn pull(d: f64) -> f64 {
    if d > 40.0 {
        return -1.0 / (d * d);
    }
    const STEPS: usize = 240;
    let from = (OVERLAP - d).max(-8.0);
    let step = (8.0 - from) / STEPS as f64;
    let (mut sum, mut all) = (0.0, 0.0);
    // The rule of midpoints: its error is far below what the correction itself is good to.
    for i in 0..STEPS {
        let x = from + (i as f64 + 0.5) * step;
        let weight = (-x * x / 2.0).exp();
        sum += weight * x / (d + x);
        all += weight;
    }
    sum / all
}
