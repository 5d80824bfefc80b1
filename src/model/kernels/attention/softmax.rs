//! Softmax without its division: exponentials in place, and one over their sum for whoever uses them.
//!
//! Both forms add the exponential of key k to partial sum `k % LANES` and fold the partial sums in one tree: a query
//! gets the same bits from either.

use super::super::{LANES, Real, fold_lanes, lane_sum};

/// Of one query: `scores [key]`, a multiple of [`LANES`]. Those from `sees` on are hidden and become 0.
#[inline(always)]
pub fn softmax<T: Real>(scores: &mut [T], sees: usize) -> T {
    scores[sees..].fill(T::LOWEST);
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

/// Of [`LANES`] queries: `scores [key, query]`, keys a multiple of [`LANES`]. Query q sees the first `sees[q]` keys,
/// and queries see more in ascending order.
#[inline(always)]
pub fn softmax_columns<T: Real>(scores: &mut [T], sees: &[u32; LANES]) -> [T; LANES] {
    let all_see = sees[0] as usize;
    for (key, row) in scores.chunks_exact_mut(LANES).enumerate().skip(all_see) {
        for (x, sees) in row.iter_mut().zip(sees) {
            *x = if key as u32 >= *sees { T::LOWEST } else { *x };
        }
    }
    let mut top = [T::LOWEST; LANES];
    for row in scores.chunks_exact(LANES) {
        for (m, x) in top.iter_mut().zip(row) {
            *m = m.larger(*x);
        }
    }
    let mut sums = [[T::ZERO; LANES]; LANES];
    for rows in scores.chunks_exact_mut(LANES * LANES) {
        for (row, sums) in rows.chunks_exact_mut(LANES).zip(&mut sums) {
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
    let mut inv = [T::ONE; LANES];
    inv.iter_mut().zip(&sums[0]).for_each(|(inv, sum)| *inv /= *sum);
    inv
}
