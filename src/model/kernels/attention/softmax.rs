//! Softmax without its division: exponentials in place, and one over their sum for whoever uses them.
//!
//! Both forms add the exponential of key k to partial sum `k % LANES` and fold the partial sums in one tree: a query
//! gets the same bits from either. Scores may begin at any key that is a multiple of [`LANES`], because hidden keys add
//! exactly 0.

use super::super::{LANES, Real, fold_lanes, lane_sum};
use std::ops::Range;

/// Of one query: `scores [key]`, a multiple of [`LANES`]. Those outside `sees` are hidden and become 0.
#[inline(always)]
pub fn softmax<T: Real>(scores: &mut [T], sees: Range<usize>) -> T {
    scores[..sees.start].fill(T::LOWEST);
    scores[sees.end..].fill(T::LOWEST);
    let mut top = [T::LOWEST; LANES];
    for c in scores.chunks_exact(LANES) {
        for (m, x) in top.iter_mut().zip(c) {
            *m = m.larger(*x);
        }
    }
    let top = fold_lanes(top, |a, b| a.larger(b));
    for c in scores.chunks_exact_mut(LANES) {
        for x in c {
            *x = (*x - top).exp_fast();
        }
    }
    T::ONE / lane_sum(scores, |v| v)
}

/// Of `Q` queries: `scores [key, query]`, keys a multiple of [`LANES`]. Query q sees the keys from `from[q]` up to and
/// without `to[q]`; both ascend.
#[inline(always)]
pub fn softmax_columns<const Q: usize, T: Real>(scores: &mut [T], from: &[u32; Q], to: &[u32; Q]) -> [T; Q] {
    let (scores, _) = scores.as_chunks_mut::<Q>();
    for (key, row) in scores.iter_mut().enumerate().take(from[Q - 1] as usize) {
        for (x, from) in row.iter_mut().zip(from) {
            *x = if (key as u32) < *from { T::LOWEST } else { *x };
        }
    }
    for (key, row) in scores.iter_mut().enumerate().skip(to[0] as usize) {
        for (x, to) in row.iter_mut().zip(to) {
            *x = if key as u32 >= *to { T::LOWEST } else { *x };
        }
    }
    let mut top = [T::LOWEST; Q];
    for row in scores.iter() {
        for (m, x) in top.iter_mut().zip(row) {
            *m = m.larger(*x);
        }
    }
    let mut sums = [[T::ZERO; Q]; LANES];
    for rows in scores.chunks_exact_mut(LANES) {
        for (row, sums) in rows.iter_mut().zip(&mut sums) {
            for ((x, top), sum) in row.iter_mut().zip(&top).zip(sums) {
                *x = (*x - *top).exp_fast();
                *sum += *x;
            }
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        for (a, b) in low.iter_mut().zip(high) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += *b);
        }
        half /= 2;
    }
    let mut inv = [T::ONE; Q];
    inv.iter_mut().zip(&sums[0]).for_each(|(inv, sum)| *inv /= *sum);
    inv
}
