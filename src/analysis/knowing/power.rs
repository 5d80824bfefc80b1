//! How likely a planned contrast is to be found, before it is measured.

use crate::analysis::interval::normal_cdf;
use crate::analysis::student::{ln_gamma, t_quantile};

/// The power of a two-sided t test of a mean over `clusters` independent clusters whose values have standard deviation
/// `sd`, at level `alpha`, where the truth is `effect`: the noncentral t distribution, integrated over the estimate of sd.
///
/// `None` below two clusters, for an sd that is not positive or a level outside (0, 1).
pub fn power(clusters: usize, sd: f64, effect: f64, alpha: f64) -> Option<f64> {
    let positive = sd > 0.0 && sd.is_finite();
    let level = alpha > 0.0 && alpha < 1.0;
    if clusters < 2 || !positive || !level || !effect.is_finite() {
        return None;
    }
    let df = clusters as f64 - 1.0;
    Some(beyond(effect.abs() * (clusters as f64).sqrt() / sd, df, t_quantile(1.0 - alpha / 2.0, df)))
}

/// The smallest effect that is found with the chance `wanted`; `None` where [`power`] is, or for a chance at or below
/// `alpha` or from 1 on.
pub fn smallest_effect(clusters: usize, sd: f64, alpha: f64, wanted: f64) -> Option<f64> {
    power(clusters, sd, 0.0, alpha)?;
    if !(wanted > alpha && wanted < 1.0) {
        return None;
    }
    let df = clusters as f64 - 1.0;
    let limit = t_quantile(1.0 - alpha / 2.0, df);
    let (mut below, mut above) = (0.0, 1.0);
    while beyond(above, df, limit) < wanted && above < 1e6 {
        above *= 2.0;
    }
    for _ in 0..60 {
        let middle = (below + above) / 2.0;
        if beyond(middle, df, limit) < wanted { below = middle } else { above = middle }
    }
    Some(above * sd / (clusters as f64).sqrt())
}

/// The chance that (Z + shift) / U is further than `limit` from 0, with U = sqrt(chi-square(df) / df): Simpson's rule over
/// the density of U.
fn beyond(shift: f64, df: f64, limit: f64) -> f64 {
    const STEPS: usize = 1200;
    let spread = 10.0 / (2.0 * df).sqrt();
    let (from, to) = ((1.0 - spread).max(0.0), 1.0 + spread);
    let front = std::f64::consts::LN_2 + df / 2.0 * (df / 2.0).ln() - ln_gamma(df / 2.0);
    let at = |u: f64| {
        // At 0 the density is that of a half normal with one degree of freedom, and 0 with more.
        let log = if df > 1.0 { (df - 1.0) * u.max(1e-300).ln() } else { 0.0 };
        let density = (front + log - df * u * u / 2.0).exp();
        density * (normal_cdf(shift - limit * u) + normal_cdf(-shift - limit * u))
    };
    let step = (to - from) / STEPS as f64;
    let sum: f64 = (0..=STEPS)
        .map(|i| {
            let weight = match i {
                0 | STEPS => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * at(from + i as f64 * step)
        })
        .sum();
    (sum * step / 3.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_that_of_the_noncentral_t() {
        // scipy.stats.nct: sf(t(0.975, n - 1), n - 1, delta) + cdf(-t, n - 1, delta), delta = effect sqrt(n) / sd.
        for (n, sd, effect, want) in NCT {
            let found = power(n, sd, effect, 0.05).unwrap();
            assert!((found - want).abs() < 1e-6, "{n} {sd} {effect}: {found}");
        }
        // Without an effect it is the level, however few clusters there are.
        for n in [2, 3, 9, 400] {
            assert!((power(n, 1.0, 0.0, 0.05).unwrap() - 0.05).abs() < 1e-6);
        }
        assert_eq!(power(9, 1.0, 0.5, 0.05), power(9, 1.0, -0.5, 0.05));
        assert!(power(1, 1.0, 1.0, 0.05).is_none() && power(9, 0.0, 1.0, 0.05).is_none());
        assert!(power(9, f64::NAN, 1.0, 0.05).is_none() && power(9, 1.0, 1.0, 1.0).is_none());
    }

    #[test]
    fn the_smallest_effect_is_found_as_often_as_wanted() {
        for (n, sd) in [(3, 0.2), (9, 1.0), (40, 3.0)] {
            let effect = smallest_effect(n, sd, 0.05, 0.8).unwrap();
            assert!((power(n, sd, effect, 0.05).unwrap() - 0.8).abs() < 1e-9);
        }
        assert!(smallest_effect(9, 1.0, 0.05, 0.05).is_none() && smallest_effect(9, 1.0, 0.05, 1.0).is_none());
    }

    const NCT: [(usize, f64, f64, f64); 5] = [
        (2, 1.0, 1.0, 0.092809155),
        (3, 0.2, 0.5, 0.619152328),
        (9, 1.0, 0.7, 0.455358084),
        (20, 0.3, 0.25, 0.942101757),
        (200, 2.0, 0.3, 0.560079669),
    ];
}
