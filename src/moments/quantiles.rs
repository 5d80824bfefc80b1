//! Quantiles of numbers that stream by, to a relative error, merged exactly in any order.
//!
//! DDSketch (Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees"): counts in bins whose edges grow by a constant factor, for either sign, and a count of zeros.

use std::collections::BTreeMap;

/// Counts by size. Rows count once each; weights do not enter.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles {
    accuracy: f64,
    /// Natural logarithm of the factor between the edges of a bin.
    step: f64,
    pub(super) zeros: u64,
    /// Bin `i` holds sizes above `factor^(i-1)`, up to `factor^i`.
    pub(super) negative: BTreeMap<i32, u64>,
    pub(super) positive: BTreeMap<i32, u64>,
}

impl Quantiles {
    /// With a relative error of at most `accuracy`, which lies between 0 and 1.
    pub fn new(accuracy: f64) -> Quantiles {
        // ln((1 + a) / (1 - a)): the middle of a bin is within `a` of both of its edges.
        let step = accuracy.ln_1p() - (-accuracy).ln_1p();
        Quantiles { accuracy, step, zeros: 0, negative: BTreeMap::new(), positive: BTreeMap::new() }
    }

    /// The relative error that is promised.
    pub fn accuracy(&self) -> f64 {
        self.accuracy
    }

    /// Numbers that were counted.
    pub fn count(&self) -> u64 {
        self.zeros + self.negative.values().sum::<u64>() + self.positive.values().sum::<u64>()
    }

    /// Counts a finite number. One too small to be normal counts as zero.
    pub fn push(&mut self, x: f64) {
        if x.abs() < f64::MIN_POSITIVE {
            self.zeros += 1;
            return;
        }
        let bin = (x.abs().ln() / self.step).ceil() as i32;
        let store = if x > 0.0 { &mut self.positive } else { &mut self.negative };
        *store.entry(bin).or_insert(0) += 1;
    }

    /// Adds the counts of another of the same accuracy.
    pub fn merge(&mut self, other: &Quantiles) {
        self.zeros += other.zeros;
        for (bin, count) in &other.negative {
            *self.negative.entry(*bin).or_insert(0) += count;
        }
        for (bin, count) in &other.positive {
            *self.positive.entry(*bin).or_insert(0) += count;
        }
    }

    /// The quantile `q` in 0..=1: the number of rank `floor(q (count - 1))`, counted from 0 in rising order, to within
    /// the accuracy (numpy's `method="lower"`). `None` where nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * (count - 1) as f64).floor() as u64;
        // 2 f^i / (f + 1): as far from the upper edge as from the lower, relative to each.
        let size = |bin: i32| (f64::from(bin) * self.step).exp() * (1.0 - self.accuracy);
        let negative = self.negative.iter().rev().map(|(bin, count)| (-size(*bin), *count));
        let positive = self.positive.iter().map(|(bin, count)| (size(*bin), *count));
        let mut passed = 0;
        for (value, count) in negative.chain([(0.0, self.zeros)]).chain(positive) {
            passed += count;
            if passed > rank {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn bytes(&self) -> usize {
        18 * (self.negative.len() + self.positive.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    fn of(values: &[f64], accuracy: f64) -> Quantiles {
        let mut quantiles = Quantiles::new(accuracy);
        values.iter().for_each(|v| quantiles.push(*v));
        quantiles
    }

    #[test]
    fn quantiles_are_within_the_accuracy_of_the_exact_ones() {
        let mut rng = stream(1, "values");
        for (n, accuracy, middle) in [(1, 0.001, 3.0), (2, 0.001, 0.0), (999, 0.001, 0.3), (5000, 0.01, -200.0)] {
            // Sizes over 12 decades, both signs, and zeros.
            let mut values: Vec<f64> = (0..n)
                .map(|i| match i % 7 {
                    0 => 0.0,
                    1 => 10f64.powf(rng.random_range(-6.0..6.0)),
                    2 => -10f64.powf(rng.random_range(-6.0..6.0)),
                    _ => middle + rng.random::<f64>() - 0.5,
                })
                .collect();
            let quantiles = of(&values, accuracy);
            values.sort_by(f64::total_cmp);
            for q in [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0] {
                let exact = values[(q * (n - 1) as f64).floor() as usize];
                let got = quantiles.quantile(q).unwrap();
                assert!((got - exact).abs() <= accuracy * exact.abs() * (1.0 + 1e-9), "{n} {q}: {got} {exact}");
            }
        }
    }

    #[test]
    fn merges_are_exact_in_any_order() {
        let mut rng = stream(2, "values");
        let values: Vec<f64> = (0..600).map(|_| rng.random_range(-3.0..5.0)).collect();
        let whole = of(&values, 0.001);
        let mut backwards = Quantiles::new(0.001);
        values.chunks(77).rev().for_each(|part| backwards.merge(&of(part, 0.001)));
        assert_eq!(whole, backwards);
        assert_eq!(whole.count(), 600);
    }

    #[test]
    fn edges_of_the_range_of_numbers_are_counted() {
        let quantiles = of(&[f64::MIN, -1e-320, 1e-300, f64::MAX], 0.001);
        assert_eq!(quantiles.zeros, 1);
        assert!((quantiles.quantile(0.67).unwrap() / 1e-300 - 1.0).abs() < 0.001);
        assert!(quantiles.quantile(1.0).unwrap() > 1.7e308 && quantiles.quantile(0.0).unwrap() < -1.7e308);
        assert_eq!(Quantiles::new(0.001).quantile(0.5), None);
    }
}
