//! A rising curve through yes and no: logistic regression in one variable that exists where yes and no are apart, too.

/// P(yes) = 1 / (1 + exp(-(a + b x))).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    pub intercept: f64,
    pub slope: f64,
}

impl Logistic {
    /// Where yes and no are as frequent; `None` for a curve that does not rise.
    pub fn half(&self) -> Option<f64> {
        (self.slope > 0.0).then(|| -self.intercept / self.slope).filter(|v| v.is_finite())
    }

    /// P(yes) at x.
    pub fn at(&self, x: f64) -> f64 {
        1.0 / (1.0 + (-(self.intercept + self.slope * x)).exp())
    }
}

/// The fit with Firth's penalty (1993), half the logarithm of the information's determinant: finite also where a single
/// x parts yes from no, and less biased in small samples. `None` without both answers, or without two values of x.
pub fn firth(points: &[(f64, bool)]) -> Option<Logistic> {
    let n = points.len() as f64;
    let mean = points.iter().map(|p| p.0).sum::<f64>() / n;
    let sd = (points.iter().map(|p| (p.0 - mean).powi(2)).sum::<f64>() / n).sqrt();
    let yes = points.iter().filter(|p| p.1).count();
    if !(sd > 1e-12 * mean.abs()) || yes == 0 || yes == points.len() {
        return None;
    }
    let x: Vec<f64> = points.iter().map(|p| (p.0 - mean) / sd).collect();
    let p = yes as f64 / n;
    let (mut a, mut b) = ((p / (1.0 - p)).ln(), 0.0);
    let value = |a: f64, b: f64| {
        let (mut sum, mut i00, mut i01, mut i11) = (0.0, 0.0, 0.0, 0.0);
        for (x, p) in x.iter().zip(points) {
            let t = a + b * x;
            // ln(1 + e^t) without overflow.
            let soft = t.max(0.0) + (-t.abs()).exp().ln_1p();
            sum += if p.1 { t - soft } else { -soft };
            let q = 1.0 / (1.0 + (-t).exp());
            let w = q * (1.0 - q);
            (i00, i01, i11) = (i00 + w, i01 + w * x, i11 + w * x * x);
        }
        sum + 0.5 * (i00 * i11 - i01 * i01).max(1e-300).ln()
    };
    let mut now = value(a, b);
    for _ in 0..100 {
        let (mut i00, mut i01, mut i11) = (0.0, 0.0, 0.0);
        for x in &x {
            let q = 1.0 / (1.0 + (-(a + b * x)).exp());
            let w = q * (1.0 - q);
            (i00, i01, i11) = (i00 + w, i01 + w * x, i11 + w * x * x);
        }
        let det = i00 * i11 - i01 * i01;
        if !(det > 1e-300) {
            break;
        }
        let (mut ga, mut gb) = (0.0, 0.0);
        for (x, p) in x.iter().zip(points) {
            let q = 1.0 / (1.0 + (-(a + b * x)).exp());
            let leverage = q * (1.0 - q) * (i11 - 2.0 * i01 * x + i00 * x * x) / det;
            let g = f64::from(u8::from(p.1)) - q + leverage * (0.5 - q);
            (ga, gb) = (ga + g, gb + g * x);
        }
        let (mut da, mut db) = ((i11 * ga - i01 * gb) / det, (i00 * gb - i01 * ga) / det);
        let most = da.abs().max(db.abs());
        if most > 5.0 {
            (da, db) = (da * 5.0 / most, db * 5.0 / most);
        }
        let mut step = 1.0;
        let better = loop {
            let new = value(a + step * da, b + step * db);
            if new >= now - 1e-12 {
                break Some(new);
            }
            step /= 2.0;
            if step < 1e-6 {
                break None;
            }
        };
        let Some(new) = better else { break };
        (a, b) = (a + step * da, b + step * db);
        now = new;
        if most * step < 1e-9 {
            break;
        }
    }
    let slope = b / sd;
    Some(Logistic { intercept: a - slope * mean, slope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_lies_in_the_gap_where_yes_and_no_are_apart() {
        let points: Vec<(f64, bool)> = (0..10).map(|i| (f64::from(i), i >= 6)).collect();
        let half = firth(&points).unwrap().half().unwrap();
        assert!((5.0..6.0).contains(&half), "{half}");
    }

    #[test]
    fn a_two_by_two_table_has_halves_added_to_its_counts() {
        // With one indicator Firth's penalty adds a half to each of the four counts: 3 of 10 and 8 of 10 give logits
        // ln(3.5 / 7.5) and ln(8.5 / 2.5).
        let points: Vec<(f64, bool)> =
            (0..20).map(|i| (f64::from(i / 10), if i < 10 { i < 3 } else { i < 18 })).collect();
        let fit = firth(&points).unwrap();
        assert!((fit.intercept - (3.5_f64 / 7.5).ln()).abs() < 1e-6, "{fit:?}");
        assert!((fit.intercept + fit.slope - (8.5_f64 / 2.5).ln()).abs() < 1e-6);
    }

    #[test]
    fn without_both_answers_or_two_values_there_is_no_curve() {
        assert!(firth(&[(0.0, true), (1.0, true)]).is_none());
        assert!(firth(&[(1.0, true), (1.0, false)]).is_none());
        assert!(firth(&[]).is_none());
        let falling: Vec<(f64, bool)> = (0..10).map(|i| (f64::from(i), i < 5)).collect();
        assert!(firth(&falling).unwrap().half().is_none());
    }
}
