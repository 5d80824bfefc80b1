//! Quantiles of Student's t distribution, for degrees of freedom that need not be whole.

/// The value below which `p` of the distribution lies. `df` below 1 counts as 1.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    let df = df.max(1.0);
    if p < 0.5 {
        return -t_quantile(1.0 - p, df);
    }
    let (mut lo, mut hi) = (0.0, 1.0);
    while below(hi, df) < p && hi < 1e9 {
        hi *= 2.0;
    }
    for _ in 0..100 {
        let mid = (lo + hi) / 2.0;
        // Nothing is left between them.
        if mid == lo || mid == hi {
            break;
        }
        if below(mid, df) < p { lo = mid } else { hi = mid }
    }
    (lo + hi) / 2.0
}

/// The chance of a value at least as far from 0 as `t`, on either side. `df` below 1 counts as 1; 1 for a `t` that is no number.
pub fn two_sided_p(t: f64, df: f64) -> f64 {
    let df = df.max(1.0);
    if t.is_nan() { 1.0 } else { incomplete_beta(df / (df + t * t), df / 2.0, 0.5) }
}

/// The share of the distribution below a `t` that is not negative.
fn below(t: f64, df: f64) -> f64 {
    1.0 - incomplete_beta(df / (df + t * t), df / 2.0, 0.5) / 2.0
}

/// The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast on this side of its middle only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            change = d * c;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// The logarithm of the gamma function for positive values: Stirling's series behind a shift past 10.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + (std::f64::consts::TAU).ln() / 2.0 + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_a_quantile_is_the_one_it_was_asked_for() {
        for df in [1.0, 2.0, 7.3, 40.0] {
            assert!((two_sided_p(t_quantile(0.975, df), df) - 0.05).abs() < 1e-9);
        }
        // Cauchy: 1 - 2 atan(1) / pi. Far out the chance is small, not 0; everything is as far as 0.
        assert!((two_sided_p(-1.0, 1.0) - 0.5).abs() < 1e-12);
        assert!((0.0..1e-12).contains(&two_sided_p(1e4, 8.0)) && two_sided_p(1e4, 8.0) > 0.0);
        assert_eq!((two_sided_p(0.0, 5.0), two_sided_p(f64::NAN, 5.0)), (1.0, 1.0));
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided 5 % points of printed tables; one degree of freedom is Cauchy: tan(0.475 pi).
        for (df, t) in [(1.0, 12.7062), (2.0, 4.302653), (5.0, 2.570582), (10.0, 2.228139), (30.0, 2.042272)] {
            assert!((t_quantile(0.975, df) - t).abs() < 1e-4, "{df}: {}", t_quantile(0.975, df));
        }
        assert!((t_quantile(0.975, 1e6) - 1.959966).abs() < 1e-4);
        assert_eq!(t_quantile(0.025, 7.0), -t_quantile(0.975, 7.0));
        assert!((t_quantile(0.5, 3.0)).abs() < 1e-9);
        // Between whole numbers it lies between their values.
        assert!((2.2281..2.5706).contains(&t_quantile(0.975, 7.3)));
    }
}
