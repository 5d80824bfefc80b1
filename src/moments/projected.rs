//! The spread of rows along a direction.

use super::group::Step;
use super::quantiles::Quantiles;
use super::site::vectorised;
use super::twofold::Twofold;

/// Projections of rows on a direction, each row counted once whatever its weight. A cap is set where so many of the rows
/// lie below it, and a weight of half a row has no place in that.
#[derive(Clone, Debug, PartialEq)]
pub struct Projected {
    pub count: u64,
    pub(super) mean: Twofold,
    pub(super) m2: Twofold,
    /// The smallest and the largest, exactly.
    pub min: f64,
    pub max: f64,
    pub(super) quantiles: Quantiles,
}

impl Projected {
    pub(super) fn new(accuracy: f64) -> Projected {
        Projected {
            count: 0,
            mean: Twofold::default(),
            m2: Twofold::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            quantiles: Quantiles::new(accuracy),
        }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean.high
    }

    /// The sum of the squared deviations from the mean.
    pub fn m2(&self) -> f64 {
        self.m2.high
    }

    /// Standard deviation, `count - 1` below the line; `None` for a single row.
    pub fn sd(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.m2() / (self.count - 1) as f64).sqrt())
    }

    /// The quantile `q` in 0..=1: the projection of rank `floor(q (count - 1))`, counted from 0 in rising order, to
    /// within [`Projected::accuracy`] of itself; exact at both ends. `None` where there are no rows.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        match q {
            _ if self.count == 0 => None,
            q if q <= 0.0 => Some(self.min),
            q if q >= 1.0 => Some(self.max),
            q => self.quantiles.quantile(q).map(|v| v.clamp(self.min, self.max)),
        }
    }

    /// The relative error of the quantiles.
    pub fn accuracy(&self) -> f64 {
        self.quantiles.accuracy()
    }

    pub(super) fn push(&mut self, row: &[f32], unit: &[f32]) {
        let x = vectorised(Dot(row, unit));
        let step = Step::of_counts(self.count, 1);
        let apart = self.mean.below(x);
        self.count += 1;
        self.mean.add(step.share * apart);
        self.m2.add(step.gain * apart * apart);
        (self.min, self.max) = (self.min.min(x), self.max.max(x));
        self.quantiles.push(x);
    }

    pub(super) fn merge(&mut self, other: &Projected) {
        let step = Step::of_counts(self.count, other.count);
        let apart = self.mean.below(other.mean.high) + other.mean.low;
        self.count += other.count;
        self.mean.add(step.share * apart);
        self.m2.add(step.gain * apart * apart);
        self.m2.add_sum(other.m2);
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.quantiles.merge(&other.quantiles);
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Projected>() + self.quantiles.bytes()
    }
}

/// Sums in 16 lanes, always the same, so that the bits do not depend on the machine's vectors.
struct Dot<'a>(&'a [f32], &'a [f32]);

impl pulp::WithSimd for Dot<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        let mut lanes = [0.0f64; 16];
        let (a, b) = (self.0.chunks_exact(16), self.1.chunks_exact(16));
        let mut sum = 0.0;
        for (x, y) in a.remainder().iter().zip(b.remainder()) {
            sum += f64::from(*x) * f64::from(*y);
        }
        for (x, y) in a.zip(b) {
            for i in 0..16 {
                lanes[i] += f64::from(x[i]) * f64::from(y[i]);
            }
        }
        for lane in lanes {
            sum += lane;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_are_summed_over_all_columns() {
        let (mut a, mut b) = (Projected::new(0.001), Projected::new(0.001));
        let unit: Vec<f32> = (0..35).map(|i| (i % 3) as f32 - 1.0).collect();
        // Columns i with i % 3 = 2 less those with i % 3 = 0, below 35: sums 187 and 198; so k times the row gives -11 k.
        let row = |k: f32| (0..35).map(|i| k * i as f32).collect::<Vec<_>>();
        a.push(&row(1.0), &unit);
        a.push(&row(3.0), &unit);
        b.push(&row(-2.0), &unit);
        a.merge(&b);
        // -11, -33 and 22: mean -22/3, squared deviations (11/3)^2 + (77/3)^2 + (88/3)^2 = 13794/9.
        assert_eq!((a.count, a.min, a.max), (3, -33.0, 22.0));
        assert!((a.mean() + 22.0 / 3.0).abs() < 1e-14 && (a.m2() - 13794.0 / 9.0).abs() < 1e-11);
        assert!((a.sd().unwrap() - (13794.0f64 / 18.0).sqrt()).abs() < 1e-12);
        assert_eq!((a.quantile(0.0), a.quantile(1.0)), (Some(-33.0), Some(22.0)));
        assert!((a.quantile(0.5).unwrap() + 11.0).abs() <= 0.011);
        assert_eq!(b.sd(), None);
    }

    #[test]
    fn the_same_rows_once_more_leave_the_mean_where_it_was() {
        // A mean of a third, of which a half below the last bit remains.
        let mut once = Projected::new(0.001);
        [1.0, 0.0, 0.0].iter().for_each(|x| once.push(&[*x], &[1.0]));
        assert!(once.mean.low != 0.0);
        let mut twice = once.clone();
        twice.merge(&once);
        assert_eq!((twice.mean, twice.m2()), (once.mean, 2.0 * once.m2()));
    }
}
