//! Intervals from Student's t: over independent values, and over values of a statistic without one unit at a time.

use super::interval::{FEW_CLUSTERS, Interval};
use super::stats::{mean, variance};
use super::student::t_quantile;

/// The 95 % interval of a mean of independent values by Student's t; `None` below two values.
pub fn t_interval(values: &[f64]) -> Option<Interval> {
    let (m, v, n) = (mean(values)?, variance(values)?, values.len());
    Some(around(m, (v / n as f64).sqrt(), n))
}

/// The 95 % interval of a statistic by the delete-one jackknife with Student's t: `without(i)` is the statistic without
/// unit i. Units without which it does not exist are passed over; `None` where fewer than half of them remain.
pub fn jackknife(n: usize, value: f64, without: impl Fn(usize) -> Option<f64>) -> Option<Interval> {
    let left: Vec<f64> = (0..n).filter_map(without).filter(|v| v.is_finite()).collect();
    if left.len() < 2 || 2 * left.len() < n || !value.is_finite() {
        return None;
    }
    let k = left.len() as f64;
    let squares = variance(&left)? * (k - 1.0);
    Some(around(value, ((k - 1.0) / k * squares).sqrt(), left.len()))
}

fn around(value: f64, error: f64, n: usize) -> Interval {
    let half = t_quantile(0.975, n as f64 - 1.0) * error;
    Interval {
        lo: value - half,
        hi: value + half,
        draws_used: 0,
        few_clusters: n < FEW_CLUSTERS,
        one_sided: half == 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jackknife_of_a_mean_is_the_t_interval() {
        // 1, 2, 6: mean 3, variance 7, error sqrt(7/3) = 1.5275; t(2) = 4.302653.
        let x = [1.0, 2.0, 6.0];
        let without = |i: usize| mean(&x.iter().enumerate().filter(|(j, _)| *j != i).map(|p| *p.1).collect::<Vec<_>>());
        let (a, b) = (t_interval(&x).unwrap(), jackknife(3, 3.0, without).unwrap());
        assert!((a.lo - (3.0 - 4.302653 * 1.527525)).abs() < 1e-4 && (a.lo - b.lo).abs() < 1e-12, "{a:?} {b:?}");
        assert!(t_interval(&[1.0]).is_none() && jackknife(4, 1.0, |_| None).is_none());
        assert!(t_interval(&[2.0, 2.0]).unwrap().one_sided);
    }
}
