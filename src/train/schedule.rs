//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Constant,
    /// In a straight line.
    Linear,
    /// Along half a period of the cosine (Loshchilov and Hutter 2017).
    #[default]
    Cosine,
}

/// A linear warm-up from 0 to the peak, then a fall to a share of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub peak: f64,
    /// Steps of the warm-up; the peak is reached at its last one.
    pub warmup: usize,
    pub shape: Shape,
    /// What is left at the end, as a share of the peak.
    pub last: f64,
}

impl Schedule {
    /// The rate of step `step` (from 0) out of `steps`.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let way = (step - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        let left = match self.shape {
            Shape::Constant => return self.peak,
            Shape::Linear => 1.0 - way,
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * way).cos()),
        };
        self.peak * (self.last + (1.0 - self.last) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_its_last() {
        let s = |shape| Schedule { peak: 2.0, warmup: 4, shape, last: 0.1 };
        assert_eq!((0..4).map(|i| s(Shape::Linear).rate(i, 14)).collect::<Vec<_>>(), [0.5, 1.0, 1.5, 2.0]);
        // Half way of the 10 steps that are left: 2 (0.1 + 0.9 / 2) = 1.1, of both shapes.
        assert!((s(Shape::Linear).rate(9, 14) - 1.1).abs() < 1e-12);
        assert!((s(Shape::Cosine).rate(9, 14) - 1.1).abs() < 1e-12);
        assert!((s(Shape::Cosine).rate(14, 14) - 0.2).abs() < 1e-12);
        assert_eq!(s(Shape::Constant).rate(13, 14), 2.0);
    }
}
