//! The hyperbolic tangent and the error function, in forms that the compiler can vectorise.

use super::Real;
use std::f32::consts::LOG2_E;

/// Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// Within 3 ulp of the true value everywhere.
///
/// tanh |x| = e / (e + 2) with e = exp(2 |x|) - 1, where the one is taken off before anything is rounded: with
/// 2 |x| = n ln 2 + r it is 2^n (exp(r) - 1) + (2^n - 1), whose terms never cancel.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // From 9.02 on the nearest f32 is 1.
    let y = (2.0 * x.abs()).clamp(0.0, 20.0);
    let shifted = y.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = (-n).mul_add(LN2_LO, (-n).mul_add(LN2_HI, y));
    let mut p = 1.987_569_1e-4_f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let p = p.mul_add(r * r, r);
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let e = scale.mul_add(p, scale - 1.0);
    (e / (e + 2.0)).copysign(x)
}

/// The error function within 8e-8 of the true value.
///
/// Below 1 `x + x p(x^2)`; above, `1 - exp(-g)` with g = -ln erfc a polynomial. Both are minimax fits (Lawson's
/// iteration, weighted by the error that reaches the result) that miss by less than 2e-9 before rounding.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    const ODD: [f32; 7] =
        [7.889_123e-5, -8.020_842e-4, 5.189_535_7e-3, -2.685_444_4e-2, 1.128_36e-1, -3.761_262_6e-1, 1.283_791_7e-1];
    const LOG: [f32; 7] =
        [-1.855_740_3e-4, 2.939_607_4e-3, -2.180_531_8e-2, 1.030_373_7e-1, 6.382_257e-1, 1.127_04, 3.537_193e-4];
    // From 3.84 on the nearest f32 is 1.
    let a = x.abs().clamp(0.0, 4.0);
    let square = a * a;
    let mut odd = ODD[0];
    for c in &ODD[1..] {
        odd = odd.mul_add(square, *c);
    }
    let mut log = LOG[0];
    for c in &LOG[1..] {
        log = log.mul_add(a, *c);
    }
    let (low, high) = (a.mul_add(odd, a), 1.0 - (-log).exp_fast());
    (if a < 1.0 { low } else { high }).copysign(x)
}

/// The error function to the precision of f64: the series without cancellation below 3, the continued fraction of its
/// complement above (Abramowitz and Stegun 1964, 7.1.6 and 7.1.14).
pub fn erf_f64(x: f64) -> f64 {
    const SLOPE: f64 = std::f64::consts::FRAC_2_SQRT_PI;
    let a = x.abs();
    let square = a * a;
    let value = if a >= 3.0 {
        let tail = (1..=60).rev().fold(a, |tail, k| a + 0.5 * f64::from(k) / tail);
        1.0 - 0.5 * SLOPE * (-square).exp() / tail
    } else {
        let (mut term, mut sum) = (a, a);
        for n in 1..=70 {
            term *= 2.0 * square / f64::from(2 * n + 1);
            sum += term;
        }
        SLOPE * (-square).exp() * sum
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::Real;

    /// The distance of neighbouring f32 at a value.
    fn ulp(x: f64) -> f64 {
        let x = x.abs() as f32;
        f64::from(f32::from_bits(x.to_bits() + 1) - x)
    }

    #[test]
    fn tanh_is_within_three_ulp() {
        let (mut worst, mut x) = (0.0_f64, 1e-30_f32);
        while x < 30.0 {
            let want = f64::from(x).tanh();
            worst = worst.max((f64::from(x.tanh_fast()) - want).abs() / ulp(want));
            assert_eq!((-x).tanh_fast(), -x.tanh_fast());
            x *= 1.0003;
        }
        assert!(worst < 3.0, "{worst}");
        assert_eq!([0.0_f32, f32::INFINITY, f32::NEG_INFINITY].map(f32::tanh_fast), [0.0, 1.0, -1.0]);
        assert!(f32::NAN.tanh_fast().is_nan());
    }

    #[test]
    fn erf_has_the_tabulated_values() {
        // From the C library, through another language.
        let known: [(f64, f64); 8] = [
            (0.1, 0.112_462_916_018_284_89),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.999, 0.999_977_769_831_400_2),
            (3.0, 0.999_977_909_503_001_4),
            (4.0, 0.999_999_984_582_742_1),
            (6.0, 1.0),
        ];
        for (x, want) in known {
            assert!((x.erf_fast() - want).abs() < 1e-15, "erf({x}) = {}", x.erf_fast());
            assert_eq!((-x).erf_fast(), -x.erf_fast());
        }
    }

    #[test]
    fn erf_in_f32_is_within_a_rounding() {
        let worst = (-60_000..60_000)
            .map(|i| i as f32 / 1e4)
            .fold(0.0_f64, |worst, x| worst.max((f64::from(x.erf_fast()) - f64::from(x).erf_fast()).abs()));
        assert!(worst < 8e-8, "{worst:e}");
        assert_eq!([0.0_f32, f32::INFINITY, f32::NEG_INFINITY].map(f32::erf_fast), [0.0, 1.0, -1.0]);
        assert!(f32::NAN.erf_fast().is_nan() && f64::NAN.erf_fast().is_nan());
    }
}
