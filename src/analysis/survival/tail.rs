//! Tails of the chi-square distribution.

use crate::analysis::student::ln_gamma;

/// The chance of a value above `x` with `df` degrees of freedom: the regularised incomplete gamma function Q(df/2, x/2)
/// (Abramowitz and Stegun 6.5.29 and 6.5.31). `None` where `x` is no number or `df` is 0.
pub(crate) fn chi_square(x: f64, df: usize) -> Option<f64> {
    if x.is_nan() || df == 0 {
        return None;
    }
    let (a, x) = (df as f64 / 2.0, x.max(0.0) / 2.0);
    if x == 0.0 {
        return Some(1.0);
    }
    if x.is_infinite() {
        return Some(0.0);
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    let q = if x < a + 1.0 { 1.0 - front * series(a, x) } else { front * fraction(a, x) };
    Some(q.clamp(0.0, 1.0))
}

/// The chance of a standard normal value farther from 0 than `z`, on both sides.
pub(crate) fn two_sided(z: f64) -> Option<f64> {
    chi_square(z * z, 1)
}

fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, a);
    while term > 1e-17 * sum {
        k += 1.0;
        term *= x / k;
        sum += term;
    }
    sum
}

/// The continued fraction of the upper part, by the method of Lentz (1976).
fn fraction(a: f64, x: f64) -> f64 {
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / away(b));
    let mut h = d;
    for i in 1..1000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / away(an * d + b);
        c = away(b + an / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // Two degrees of freedom are exponential: exp(-x/2). The others: 5 % and 0.1 % points of printed tables.
        for x in [0.1_f64, 1.0, 7.0, 40.0] {
            assert!((chi_square(x, 2).unwrap() - (-x / 2.0).exp()).abs() < 1e-11);
        }
        for (x, df, p) in [(3.841459, 1, 0.05), (10.827566, 1, 0.001), (7.814728, 3, 0.05), (31.410433, 20, 0.05)] {
            assert!((chi_square(x, df).unwrap() - p).abs() < 1e-7, "{x} {df}");
        }
        assert_eq!((chi_square(0.0, 3), chi_square(f64::INFINITY, 3)), (Some(1.0), Some(0.0)));
        assert_eq!((chi_square(1.0, 0), chi_square(f64::NAN, 1)), (None, None));
        assert!((two_sided(-1.959963984540054).unwrap() - 0.05).abs() < 1e-12);
    }
}
