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
/// The `N` rows `a[j]` have one length; `out` is `[N, stride]`, written from column 0.
#[inline(always)]
pub fn sums_by_row<const N: usize, T: Real, S: Simd>(
    simd: S,
    a: [&[T]; N],
    b: &[T],
    width: usize,
    out: &mut [T],
    stride: usize,
) {
    let mut sums = RowSums { simd, a, b: T::vectors::<S>(b), vectors: vectors_of::<T, S>(width), done: 0, out, stride };
    // Few rows take many columns at a time: the chains that hide the latency, and longer runs of memory.
    match N {
        1 => sums.columns::<8>(),
        2 | 3 => sums.columns::<4>(),
        4..=6 => sums.columns::<2>(),
        _ if is_widest::<T, S>() => sums.columns::<2>(),
        _ => {}
    }
    if N == 1 {
        sums.columns::<2>();
    }
    sums.columns::<1>();
}

struct RowSums<'a, const N: usize, T: Real, S: Simd> {
    simd: S,
    a: [&'a [T]; N],
    b: &'a [T::Vector<S>],
    /// Vectors of a `b[i]`, and how many of them have been summed.
    vectors: usize,
    done: usize,
    out: &'a mut [T],
    stride: usize,
}

impl<const N: usize, T: Real, S: Simd> RowSums<'_, N, T, S> {
    /// Sums `V` columns of vectors at a time, as long as there are so many.
    #[inline(always)]
    fn columns<const V: usize>(&mut self) {
        let RowSums { simd, a, b, vectors, stride, .. } = *self;
        let (n, zero) = (a[0].len(), [T::ZERO; BLOCK]);
        while self.done + V <= vectors {
            let c = self.done;
            let mut acc = [[T::splat(simd, T::ZERO); V]; N];
            // Eight terms of every row at a time: lengths that the compiler knows cost no checks.
            for (i, b) in b.chunks_exact(BLOCK * vectors).enumerate().take(n / BLOCK) {
                let mut terms = [&zero; N];
                for j in 0..N {
                    terms[j] = &a[j].as_chunks().0[i];
                }
                for (t, b) in b.chunks_exact(vectors).enumerate().take(BLOCK) {
                    let b = &b[c..c + V];
                    for j in 0..N {
                        let term = T::splat(simd, terms[j][t]);
                        for v in 0..V {
                            acc[j][v] = T::fma_lanes(simd, term, b[v], acc[j][v]);
                        }
                    }
                }
            }
            for (i, b) in b.chunks_exact(vectors).enumerate().take(n).skip(n / BLOCK * BLOCK) {
                let b = &b[c..c + V];
                for j in 0..N {
                    let term = T::splat(simd, a[j][i]);
                    for v in 0..V {
                        acc[j][v] = T::fma_lanes(simd, term, b[v], acc[j][v]);
                    }
                }
            }
            let width = vectors * size_of::<T::Vector<S>>() / size_of::<T>();
            for (j, acc) in acc.into_iter().enumerate() {
                T::vectors_mut::<S>(&mut self.out[j * stride..][..width])[c..c + V].copy_from_slice(&acc);
            }
            self.done += V;
        }
    }
}

/// `out[j] += sum_i a[i][j] b[i]` for the first `N` columns of rows `a[i]` that stand `stride` numbers apart.
///
/// There are as many terms as vectors `b[i]` of `width` numbers; `out` is `[N, width]`.
#[inline(always)]
pub fn add_by_column<const N: usize, T: Real, S: Simd>(
    simd: S,
    a: &[T],
    stride: usize,
    b: &[T],
    width: usize,
    out: &mut [T],
) {
    let mut sums = ColumnSums::<N, T, S> {
        simd,
        a,
        stride,
        b: T::vectors::<S>(b),
        vectors: vectors_of::<T, S>(width),
        done: 0,
        out,
    };
    if is_widest::<T, S>() {
        sums.columns::<2>();
    }
    sums.columns::<1>();
}

struct ColumnSums<'a, const N: usize, T: Real, S: Simd> {
    simd: S,
    a: &'a [T],
    stride: usize,
    b: &'a [T::Vector<S>],
    /// Vectors of a `b[i]`, and how many of them have been summed.
    vectors: usize,
    done: usize,
    out: &'a mut [T],
}

impl<const N: usize, T: Real, S: Simd> ColumnSums<'_, N, T, S> {
    /// Sums `V` columns of vectors at a time, as long as there are so many.
    #[inline(always)]
    fn columns<const V: usize>(&mut self) {
        let ColumnSums { simd, a, stride, b, vectors, .. } = *self;
        while self.done + V <= vectors {
            let (c, out) = (self.done, T::vectors_mut::<S>(self.out));
            let mut acc = [[T::splat(simd, T::ZERO); V]; N];
            for j in 0..N {
                acc[j].copy_from_slice(&out[j * vectors + c..][..V]);
            }
            for (a, b) in a.chunks(stride).zip(b.chunks_exact(vectors)) {
                let (a, b) = (&a[..N], &b[c..c + V]);
                for j in 0..N {
                    let term = T::splat(simd, a[j]);
                    for v in 0..V {
                        acc[j][v] = T::fma_lanes(simd, term, b[v], acc[j][v]);
                    }
                }
            }
            for j in 0..N {
                out[j * vectors + c..][..V].copy_from_slice(&acc[j]);
            }
            self.done += V;
        }
    }
}

/// Vectors that `width` numbers fill.
#[inline(always)]
fn vectors_of<T: Real, S: Simd>(width: usize) -> usize {
    width * size_of::<T>() / size_of::<T::Vector<S>>()
}

/// Whether vectors have 64 bytes: then there are 32 registers of them, else 16.
#[inline(always)]
fn is_widest<T: Real, S: Simd>() -> bool {
    size_of::<T::Vector<S>>() == 64
}
