//! What weights are held in, and how each becomes f32: exactly.

use half::{bf16, f16};
use pulp::Simd;

/// A number that a packed weight is made of.
pub trait Element: Copy + Send + Sync + 'static {
    const ZERO: Self;
    /// The nearest number of this type, ties to even; infinite beyond its range.
    fn hold(value: f32) -> Self;
    fn value(self) -> f32;
    fn is_finite(self) -> bool;
    /// A vector of numbers as f32.
    ///
    /// # Safety
    /// As many numbers as a vector has lanes must be readable.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::f32s;
}

impl Element for f32 {
    const ZERO: f32 = 0.0;
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
    #[inline(always)]
    fn hold(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const f32) -> S::f32s {
        // SAFETY: by contract; vectors are plain numbers.
        unsafe { from.cast::<S::f32s>().read_unaligned() }
    }
}

/// The widest vector that `pulp` knows.
const MOST_LANES: usize = 16;

/// A vector from numbers widened one by one: the compiler makes vector instructions of it.
#[inline(always)]
unsafe fn widened<S: Simd, E: Element>(from: *const E) -> S::f32s {
    let mut wide = [0.0f32; MOST_LANES];
    for (i, w) in wide.iter_mut().enumerate().take(S::F32_LANES) {
        // SAFETY: within the lanes that the caller vouches for.
        *w = unsafe { *from.add(i) }.value();
    }
    // SAFETY: no vector has more lanes.
    unsafe { wide.as_ptr().cast::<S::f32s>().read_unaligned() }
}

impl Element for bf16 {
    const ZERO: bf16 = bf16::ZERO;
    #[inline(always)]
    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
    #[inline(always)]
    fn hold(value: f32) -> bf16 {
        bf16::from_f32(value)
    }
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const bf16) -> S::f32s {
        // SAFETY: by contract.
        unsafe { widened::<S, bf16>(from) }
    }
}

impl Element for f16 {
    const ZERO: f16 = f16::ZERO;
    #[inline(always)]
    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
    #[inline(always)]
    fn hold(value: f32) -> f16 {
        f16::from_f32(value)
    }
    /// Of finite numbers; without a branch, so that it can be vectorised.
    #[inline(always)]
    fn value(self) -> f32 {
        // The exponent moves by the difference of the biases, 127 - 15. A subnormal has no leading 1: it is given one
        // as if its exponent were the smallest, and loses it again in a subtraction.
        const BIAS: u32 = 112 << 23;
        const SMALLEST: u32 = 113 << 23;
        let bits = u32::from(self.to_bits());
        let (sign, rest) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
        let normal = rest.wrapping_add(BIAS);
        let subnormal = (f32::from_bits(rest | SMALLEST) - f32::from_bits(SMALLEST)).to_bits();
        f32::from_bits(sign | if rest < 1 << 23 { subnormal } else { normal })
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const f16) -> S::f32s {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        if S::F32_LANES == MOST_LANES {
            use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps};
            // SAFETY: vectors of 16 lanes are those of AVX-512 here, which has the instruction.
            return unsafe { std::mem::transmute_copy(&_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) };
        }
        // SAFETY: by contract.
        unsafe { widened::<S, f16>(from) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Kernel, vectorised};
    use super::*;

    struct Widen<'a, E>(&'a [E]);

    impl<E: Element> Kernel for Widen<'_, E> {
        type Out = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut out = vec![0.0f32; self.0.len()];
            for (out, from) in out.chunks_exact_mut(S::F32_LANES).zip(self.0.chunks_exact(S::F32_LANES)) {
                // SAFETY: both chunks have the lanes of a vector.
                unsafe { out.as_mut_ptr().cast::<S::f32s>().write_unaligned(E::load(simd, from.as_ptr())) };
            }
            out
        }
    }

    #[test]
    fn every_finite_number_of_16_bits_is_widened_exactly() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|v| v.is_finite()).collect();
        let brains: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).filter(|v| v.is_finite()).collect();
        let same = |got: Vec<f32>, want: Vec<f32>| {
            assert!(got.len() > 60_000 && got.len() == want.len());
            assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
        };
        let want: Vec<f32> = halves.iter().map(|v| v.to_f32()).collect();
        same(halves.iter().map(|v| v.value()).collect(), want.clone());
        same(vectorised(Widen(&halves)), want);
        let want: Vec<f32> = brains.iter().map(|v| v.to_f32()).collect();
        same(vectorised(Widen(&brains)), want);
    }
}
