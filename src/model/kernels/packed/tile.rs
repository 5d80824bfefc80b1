//! The innermost product: a few rows by one panel, sums in registers.

use super::super::{Kernel, vectorised};
use super::element::Element;
use pulp::Simd;

/// Columns of a panel.
pub const COLUMNS: usize = 32;
/// Rows of a tile: with [`COLUMNS`] as many sums as fit in the 32 registers of AVX-512 beside their operands.
pub const ROWS: usize = 12;
/// Terms that are summed before they are added to the result. Part of what a product is: another number is another
/// order of summation.
pub const TERMS: usize = 512;
/// Bytes that the processor fetches at once.
pub const LINE: usize = 64;

/// `out [rows, COLUMNS] (+)= x [terms, rows]^T @ w [terms, COLUMNS]`.
#[derive(Clone, Copy)]
pub struct Tile<E> {
    pub rows: usize,
    pub terms: usize,
    pub x: *const f32,
    pub w: *const E,
    pub out: *mut f32,
    /// Distance of two rows of `out`.
    pub stride: usize,
    /// Whether `out` holds the sums of earlier terms.
    pub add: bool,
    /// What is read later and may be fetched by then, a [`LINE`] a term. Any address will do.
    pub next: *const u8,
}

impl<E> Tile<E> {
    /// The same with other weights.
    pub fn with<F>(self, w: *const F) -> Tile<F> {
        let Tile { rows, terms, x, w: _, out, stride, add, next } = self;
        Tile { rows, terms, x, w, out, stride, add, next }
    }
}

/// Each sum is one chain of fused multiply-adds in the order of the terms, whatever the rows beside it.
///
/// A call of its own for every tile, so that the many shapes of it are compiled once for each type.
///
/// # Safety
/// The three matrices must be there, `rows` be 1 to [`ROWS`], and nobody else use these places of `out`.
#[inline(never)]
pub unsafe fn tile<E: Element>(t: Tile<E>) {
    vectorised(t);
}

impl<E: Element> Kernel for Tile<E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let t = self;
        // SAFETY: by the contract of `tile`, which alone runs this; parts of a tile lie within it.
        unsafe {
            if S::F32_LANES < 16 {
                return if S::REGISTER_COUNT < 32 { parts::<S, E, 2>(simd, t) } else { parts::<S, E, 4>(simd, t) };
            }
            match t.rows {
                1 => sums::<S, E, 1, 2>(simd, t, 0, 0),
                2 => sums::<S, E, 2, 2>(simd, t, 0, 0),
                3 => sums::<S, E, 3, 2>(simd, t, 0, 0),
                4 => sums::<S, E, 4, 2>(simd, t, 0, 0),
                5 => sums::<S, E, 5, 2>(simd, t, 0, 0),
                6 => sums::<S, E, 6, 2>(simd, t, 0, 0),
                7 => sums::<S, E, 7, 2>(simd, t, 0, 0),
                8 => sums::<S, E, 8, 2>(simd, t, 0, 0),
                9 => sums::<S, E, 9, 2>(simd, t, 0, 0),
                10 => sums::<S, E, 10, 2>(simd, t, 0, 0),
                11 => sums::<S, E, 11, 2>(simd, t, 0, 0),
                _ => sums::<S, E, 12, 2>(simd, t, 0, 0),
            }
        }
    }
}

/// A tile in pieces of up to 6 rows and `V` vectors.
#[inline(always)]
unsafe fn parts<S: Simd, E: Element, const V: usize>(simd: S, t: Tile<E>) {
    for row in (0..t.rows).step_by(6) {
        for column in (0..COLUMNS).step_by(V * S::F32_LANES) {
            // SAFETY: within the tile.
            unsafe {
                match t.rows - row {
                    1 => sums::<S, E, 1, V>(simd, t, row, column),
                    2 => sums::<S, E, 2, V>(simd, t, row, column),
                    3 => sums::<S, E, 3, V>(simd, t, row, column),
                    4 => sums::<S, E, 4, V>(simd, t, row, column),
                    5 => sums::<S, E, 5, V>(simd, t, row, column),
                    _ => sums::<S, E, 6, V>(simd, t, row, column),
                }
            }
        }
    }
}

/// `R` rows from `row` on and `V` vectors of columns from `column` on.
#[inline(always)]
unsafe fn sums<S: Simd, E: Element, const R: usize, const V: usize>(simd: S, t: Tile<E>, row: usize, column: usize) {
    let lanes = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); V]; R];
    // SAFETY: every address is within the matrices of the tile; `next` is only a hint.
    unsafe {
        let (mut x, mut w, mut next) = (t.x.add(row), t.w.add(column), t.next);
        for _ in 0..t.terms {
            let mut b = [simd.splat_f32s(0.0); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = E::load(simd, w.add(v * lanes));
            }
            fetch(next);
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = simd.splat_f32s(*x.add(r));
                for (acc, b) in acc.iter_mut().zip(b) {
                    *acc = simd.mul_add_e_f32s(a, b, *acc);
                }
            }
            x = x.wrapping_add(t.rows);
            w = w.wrapping_add(COLUMNS);
            next = next.wrapping_add(LINE);
        }
        for (r, acc) in acc.into_iter().enumerate() {
            for (v, acc) in acc.into_iter().enumerate() {
                let out = t.out.add((row + r) * t.stride + column + v * lanes).cast::<S::f32s>();
                out.write_unaligned(if t.add { simd.add_f32s(out.read_unaligned(), acc) } else { acc });
            }
        }
    }
}

/// Asks for a line of memory that is needed later.
#[inline(always)]
fn fetch(_at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which no address makes fail.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(_at.cast());
    }
}

/// Asks for the place of a row of a tile, which is written when its sums are done.
#[inline(always)]
pub fn fetch_place(_at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: hints, which no address makes fail.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<{ _MM_HINT_ET0 }>(_at.cast());
        _mm_prefetch::<{ _MM_HINT_ET0 }>(_at.wrapping_add(LINE / 4).cast());
    }
}
