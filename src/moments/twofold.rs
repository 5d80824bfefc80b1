//! Sums to twice the precision of f64: the number and what rounding took from it.

/// An unevaluated sum of two numbers, `low` at most half a unit in the last place of `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Twofold {
    pub high: f64,
    pub low: f64,
}

impl Twofold {
    /// Adds a number.
    #[inline(always)]
    pub fn add(&mut self, x: f64) {
        (self.high, self.low) = two_sum(self.high, self.low + x);
    }

    /// Adds another sum.
    pub fn add_sum(&mut self, other: Twofold) {
        self.add(other.low);
        self.add(other.high);
    }

    /// How far `x` is above it, to the precision of the difference.
    #[inline(always)]
    pub fn below(self, x: f64) -> f64 {
        (x - self.high) - self.low
    }
}

/// The sum of two numbers and its rounding error, exactly (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B).
#[inline(always)]
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// The second half of a sum as it is kept beside vectors: 24 bits behind the 53 of the first. It is cut where it is too
/// large for f32, which only sums beyond 1e54 bring about.
#[inline(always)]
pub(super) fn narrow(low: f64) -> f32 {
    (low as f32).clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_takes_is_kept() {
        // 1e16 + 1 is not a number of f64; a thousand ones vanish one by one without the second half.
        let mut sum = Twofold::default();
        sum.add(1e16);
        (0..1001).for_each(|_| sum.add(1.0));
        assert_eq!((sum.high, sum.low), (1e16 + 1000.0, 1.0));
        assert_eq!(sum.below(1e16), -1001.0);

        // 0.1 as f64 is 0.1 + 5.55e-18; a million of them are 1e5 + 5.55e-12, of which f64 keeps 1e5. Plain f64 gives
        // 100000.00000133288.
        let (mut plain, mut sum) = (0.0, Twofold::default());
        (0..1_000_000).for_each(|_| (plain += 0.1, sum.add(0.1)).1);
        assert_eq!(sum.high, 1e5);
        assert!(plain - 1e5 > 1e-6);
    }

    #[test]
    fn second_halves_too_large_for_f32_are_cut_and_stay_finite() {
        assert_eq!(narrow(1e60), f32::MAX);
        assert_eq!(narrow(-1e60), f32::MIN);
        assert_eq!(narrow(1e-3), 1e-3f32);
    }
}
