//! What a probe minimises: a loss of each row's margin, summed, with a penalty on the weights.

/// The loss of a row with prediction `m` (intercept and all) and target `y`: +1 or -1, or a graded score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// log(1 + exp(-y m)).
    Logistic,
    /// max(0, 1 - y m)^2: scikit-learn's `LinearSVC`.
    SquaredHinge,
    /// (m - y)^2 / 2.
    Squared,
}

impl Loss {
    /// Value, first and second derivative in `m`.
    pub fn at(self, m: f64, y: f64) -> (f64, f64, f64) {
        match self {
            Loss::Logistic => {
                let z = y * m;
                let e = (-z.abs()).exp();
                // exp(-z) / (1 + exp(-z)), without overflow on either side.
                let wrong = if z >= 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
                (e.ln_1p() + (-z).max(0.0), -y * wrong, wrong * (1.0 - wrong))
            }
            Loss::SquaredHinge => {
                let short = (1.0 - y * m).max(0.0);
                (short * short, -2.0 * y * short, if short > 0.0 { 2.0 * y * y } else { 0.0 })
            }
            Loss::Squared => ((m - y) * (m - y) / 2.0, m - y, 1.0),
        }
    }

    /// The second derivative that rows have about where they end: what a first guess of the curvature takes.
    pub(super) fn typical(self) -> f64 {
        match self {
            Loss::Logistic => 0.1,
            Loss::SquaredHinge => 1.0,
            Loss::Squared => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_the_value() {
        let h = 1e-5;
        for loss in [Loss::Logistic, Loss::SquaredHinge, Loss::Squared] {
            for (m, y) in [(0.3, 1.0), (-2.0, 1.0), (4.0, -1.0), (0.2, -1.0)] {
                let (_, first, second) = loss.at(m, y);
                let (up, down) = (loss.at(m + h, y), loss.at(m - h, y));
                assert!(((up.0 - down.0) / (2.0 * h) - first).abs() < 1e-8, "{loss:?} at {m}");
                assert!(((up.1 - down.1) / (2.0 * h) - second).abs() < 1e-6, "{loss:?} at {m}");
            }
        }
        // log 2 at 0, and no overflow far out.
        assert!((Loss::Logistic.at(0.0, 1.0).0 - 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(Loss::Logistic.at(-1e4, 1.0), (1e4, -1.0, 0.0));
        assert_eq!(Loss::Logistic.at(1e4, 1.0).0, 0.0);
    }
}
