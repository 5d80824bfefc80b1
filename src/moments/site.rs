//! The moments of a group at one site. Elementwise arithmetic only, so that the bits do not depend on the width of the
//! machine's vectors.

use super::full::Full;
use super::group::Step;
use super::shape::Scatter;
use super::sketch::{Sketch, Sketched};
use super::twofold::{narrow, two_sum};

/// Bytes that are kept of a value's mean and M2.
pub(super) const VALUE_BYTES: usize = 24;

/// Mean, M2 and, where asked, scatter of rows `[width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteMoments {
    pub(super) mean: Vec<f64>,
    /// What rounding took from the means, and below from M2.
    pub(super) mean_low: Vec<f32>,
    pub(super) m2: Vec<f64>,
    pub(super) m2_low: Vec<f32>,
    pub(super) spread: Spread,
}

/// What is kept of the scatter matrix.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spread {
    None,
    Full(Full),
    Sketch(Sketch),
}

impl SiteMoments {
    pub(super) fn new(width: usize, scatter: Scatter) -> SiteMoments {
        let spread = match scatter {
            Scatter::None => Spread::None,
            Scatter::Full => Spread::Full(Full::new(width)),
            Scatter::Sketch { rows } => Spread::Sketch(Sketch::new(width, rows)),
        };
        let (wide, narrow) = (vec![0.0; width], vec![0.0; width]);
        SiteMoments { mean: wide.clone(), mean_low: narrow.clone(), m2: wide, m2_low: narrow, spread }
    }

    /// `[width]`: the weighted mean.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// `[width]`: the sum of `weight (x - mean)^2`. Divide by [`super::Group::degrees`] for the variance.
    pub fn m2(&self) -> &[f64] {
        &self.m2
    }

    /// `[width, width]`: the sum of `weight (x - mean) (x - mean)^T`, where all of it was kept. Symmetric to the bit; its
    /// diagonal is M2 up to rounding.
    pub fn scatter(&self) -> Option<Vec<f64>> {
        match &self.spread {
            Spread::Full(full) => Some(full.dense()),
            _ => None,
        }
    }

    /// The sketch of the scatter matrix, where one was kept.
    pub fn sketch(&self) -> Option<Sketched> {
        match &self.spread {
            Spread::Sketch(sketch) => Some(sketch.finished()),
            _ => None,
        }
    }

    /// The next row.
    pub(super) fn push(&mut self, row: &[f32], step: Step) {
        if step.gain > 0.0 {
            let (root, mean, low) = (step.gain.sqrt(), &self.mean, &self.mean_low);
            let fill = |out: &mut [f64]| vectorised(Apart { row, mean, low, root, out });
            match &mut self.spread {
                Spread::None => {}
                Spread::Full(full) => full.push(fill),
                Spread::Sketch(sketch) => sketch.push(fill),
            }
        }
        let SiteMoments { mean, mean_low, m2, m2_low, .. } = self;
        vectorised(Push { row, mean, mean_low, m2, m2_low, step });
    }

    /// The rows of another.
    pub(super) fn merge(&mut self, other: &SiteMoments, step: Step) {
        let (root, mean) = (step.gain.sqrt(), &self.mean);
        let fill = |out: &mut [f64]| {
            for (i, out) in out.iter_mut().enumerate() {
                let low = f64::from(other.mean_low[i]) - f64::from(self.mean_low[i]);
                *out = root * ((other.mean[i] - mean[i]) + low);
            }
        };
        match (&mut self.spread, &other.spread) {
            (Spread::Full(ours), Spread::Full(theirs)) => {
                ours.merge(theirs);
                ours.push(fill);
            }
            (Spread::Sketch(ours), Spread::Sketch(theirs)) => {
                ours.merge(theirs);
                ours.push(fill);
            }
            _ => {}
        }
        vectorised(Merge { ours: self, theirs: other, step });
    }

    pub(super) fn bytes(&self) -> usize {
        let spread = match &self.spread {
            Spread::None => 0,
            Spread::Full(full) => full.held(),
            Spread::Sketch(sketch) => sketch.held(),
        };
        VALUE_BYTES * self.mean.len() + spread
    }
}

/// Runs a piece of arithmetic with the widest vectors that this processor has.
#[inline]
pub(super) fn vectorised<W: pulp::WithSimd>(work: W) -> W::Output {
    pulp::Arch::new().dispatch(work)
}

/// `root (row - mean)`: the row that the scatter matrix grows by.
struct Apart<'a> {
    row: &'a [f32],
    mean: &'a [f64],
    low: &'a [f32],
    root: f64,
    out: &'a mut [f64],
}

impl pulp::WithSimd for Apart<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let n = self.row.len();
        let (mean, low, out) = (&self.mean[..n], &self.low[..n], &mut self.out[..n]);
        for i in 0..n {
            out[i] = self.root * ((f64::from(self.row[i]) - mean[i]) - f64::from(low[i]));
        }
    }
}

struct Push<'a> {
    row: &'a [f32],
    mean: &'a mut [f64],
    mean_low: &'a mut [f32],
    m2: &'a mut [f64],
    m2_low: &'a mut [f32],
    step: Step,
}

impl pulp::WithSimd for Push<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Push { row, step, .. } = self;
        let n = row.len();
        let (mean, mean_low) = (&mut self.mean[..n], &mut self.mean_low[..n]);
        let (m2, m2_low) = (&mut self.m2[..n], &mut self.m2_low[..n]);
        for i in 0..n {
            let apart = (f64::from(row[i]) - mean[i]) - f64::from(mean_low[i]);
            grow(&mut mean[i], &mut mean_low[i], step.share * apart);
            grow(&mut m2[i], &mut m2_low[i], step.gain * apart * apart);
        }
    }
}

struct Merge<'a> {
    ours: &'a mut SiteMoments,
    theirs: &'a SiteMoments,
    step: Step,
}

impl pulp::WithSimd for Merge<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Merge { ours, theirs, step } = self;
        let n = theirs.mean.len();
        let (mean, mean_low) = (&mut ours.mean[..n], &mut ours.mean_low[..n]);
        let (m2, m2_low) = (&mut ours.m2[..n], &mut ours.m2_low[..n]);
        let (their_mean, their_low) = (&theirs.mean[..n], &theirs.mean_low[..n]);
        let (their_m2, their_m2_low) = (&theirs.m2[..n], &theirs.m2_low[..n]);
        for i in 0..n {
            let low = f64::from(their_low[i]) - f64::from(mean_low[i]);
            let apart = (their_mean[i] - mean[i]) + low;
            grow(&mut mean[i], &mut mean_low[i], step.share * apart);
            grow(&mut m2[i], &mut m2_low[i], step.gain * apart * apart + f64::from(their_m2_low[i]));
            grow(&mut m2[i], &mut m2_low[i], their_m2[i]);
        }
    }
}

/// [`super::twofold::Twofold::add`] of a sum whose second half is f32.
#[inline(always)]
fn grow(high: &mut f64, low: &mut f32, x: f64) {
    let (sum, rest) = two_sum(*high, f64::from(*low) + x);
    (*high, *low) = (sum, narrow(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]], weights: &[f64]) -> SiteMoments {
        let mut site = SiteMoments::new(2, Scatter::Full);
        let mut before = 0.0;
        for (row, weight) in rows.iter().zip(weights) {
            let share = weight / (before + weight);
            site.push(row, Step { share, gain: before * share });
            before += weight;
        }
        site
    }

    #[test]
    fn moments_of_a_few_rows_are_those_by_hand() {
        // Means (1, 2): deviations (-1, 2), (1, 0), (0, -2); M2 = (1 + 1, 4 + 4), off the diagonal -2.
        let site = of(&[[0.0, 4.0], [2.0, 2.0], [1.0, 0.0]], &[1.0; 3]);
        assert_eq!((site.mean(), site.m2()), (&[1.0, 2.0][..], &[2.0, 8.0][..]));
        for (got, want) in site.scatter().unwrap().iter().zip([2.0, -2.0, -2.0, 8.0]) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        // Weights 1 and 3: mean (0 + 3 * 2) / 4 = 1.5; M2 = 1.5^2 + 3 * 0.5^2 = 3.
        let site = of(&[[0.0, 5.0], [2.0, 5.0]], &[1.0, 3.0]);
        assert_eq!((site.mean(), site.m2()), (&[1.5, 5.0][..], &[3.0, 0.0][..]));
    }

    #[test]
    fn huge_values_stay_numbers() {
        // Squares of 1e30 are beyond f32, in which the second halves are kept.
        let site = of(&[[1e30, -3e38], [-1e30, 3e38], [1e30, 3e38]], &[1.0; 3]);
        assert!(site.m2().iter().chain(site.mean()).all(|v| v.is_finite()));
        assert!((site.m2()[0] / (8.0 / 3.0 * f64::from(1e30f32).powi(2)) - 1.0).abs() < 1e-14);
    }
}
