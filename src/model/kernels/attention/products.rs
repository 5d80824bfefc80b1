//! The two products of attention, in explicit vectors: [`BLOCK`] sums at a time, none of them in memory.
//!
//! Every sum runs over its terms in order, one fused multiply-add a term, so that its value depends neither on the
//! company it is computed in nor on the shape of the block.

use super::super::Real;
use pulp::Simd;

/// Sums computed together: enough chains to hide the latency of a multiply-add.
pub const BLOCK: usize = 8;

/// `out[j] = sum_i a[j][i] b[i]` over vectors `b[i]` of `width` numbers, a multiple of `LANES`.
///
/// The rows `a[j]` have one length; `out` is `[BLOCK, stride]`, written from column 0.
#[inline(always)]
pub fn sums_by_row<T: Real, S: Simd>(simd: S, a: [&[T]; BLOCK], b: &[T], width: usize, out: &mut [T], stride: usize) {
    let b = T::vectors::<S>(b);
    let vectors = width * size_of::<T>() / size_of::<T::Vector<S>>();
    let (n, zero) = (a[0].len(), [T::ZERO; BLOCK]);
    for c in 0..vectors {
        let mut acc = [T::splat(simd, T::ZERO); BLOCK];
        // Eight terms of every row at a time: lengths that the compiler knows cost no checks.
        for (i, b) in b.chunks_exact(BLOCK * vectors).enumerate().take(n / BLOCK) {
            let mut terms = [&zero; BLOCK];
            for j in 0..BLOCK {
                terms[j] = &a[j].as_chunks().0[i];
            }
            for (t, b) in b.chunks_exact(vectors).enumerate().take(BLOCK) {
                for j in 0..BLOCK {
                    acc[j] = T::fma_lanes(simd, T::splat(simd, terms[j][t]), b[c], acc[j]);
                }
            }
        }
        for (i, b) in b.chunks_exact(vectors).enumerate().take(n).skip(n / BLOCK * BLOCK) {
            for j in 0..BLOCK {
                acc[j] = T::fma_lanes(simd, T::splat(simd, a[j][i]), b[c], acc[j]);
            }
        }
        for (j, acc) in acc.into_iter().enumerate() {
            T::vectors_mut::<S>(&mut out[j * stride..][..width])[c] = acc;
        }
    }
}

/// `out[j] = sum_i a[i][j] b[i]` for the first `N` columns of rows `a[i]` that stand `stride` numbers apart.
///
/// There are as many terms as vectors `b[i]` of `width` numbers; `out` is `[N, width]`.
#[inline(always)]
pub fn sums_by_column<const N: usize, T: Real, S: Simd>(
    simd: S,
    a: &[T],
    stride: usize,
    b: &[T],
    width: usize,
    out: &mut [T],
) {
    let b = T::vectors::<S>(b);
    let vectors = width * size_of::<T>() / size_of::<T::Vector<S>>();
    let out = T::vectors_mut::<S>(out);
    for c in 0..vectors {
        let mut acc = [T::splat(simd, T::ZERO); N];
        for (a, b) in a.chunks(stride).zip(b.chunks_exact(vectors)) {
            let (a, b) = (&a[..N], b[c]);
            for j in 0..N {
                acc[j] = T::fma_lanes(simd, T::splat(simd, a[j]), b, acc[j]);
            }
        }
        for (j, acc) in acc.into_iter().enumerate() {
            out[j * vectors + c] = acc;
        }
    }
}
