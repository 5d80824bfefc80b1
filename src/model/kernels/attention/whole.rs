//! Attention within one sequence, keys and values read where they stand.
//!
//! Vectors run over queries: scores are held `[key, query]`, so that softmax works lane by lane, and keys and values
//! are only ever single numbers spread over a vector. Nothing is copied or padded but the queries.

use super::super::pointwise::cap_all;
use super::super::{Kernel, LANES, Real};
use super::Attention;
use super::products::{BLOCK, sums_by_column, sums_by_row};
use super::softmax::softmax_columns;
use std::ops::Range;

/// Buffers reused from head to head.
#[derive(Default)]
pub struct Scratch<T> {
    /// `[key, LANES]`
    scores: Vec<T>,
    /// `[d_head, LANES]`
    queries: Vec<T>,
    mixed: Vec<T>,
}

/// One key/value head of one sequence.
pub struct Whole<'a, T> {
    pub spec: Attention,
    pub kv: usize,
    /// The sequence's rows of the fused input.
    pub rows: &'a [T],
    /// Which of those rows ask, and their rows of the result.
    pub queries: Range<usize>,
    pub out: &'a mut [T],
    pub scratch: &'a mut Scratch<T>,
}

impl<T: Real> Kernel for Whole<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: pulp::Simd>(self, simd: S) {
        let Whole { spec, kv, rows, queries, out, scratch } = self;
        let (d, width, group, scale) = (spec.d_head, spec.width(), spec.group(), T::of(spec.scale));
        let (key_at, value_at) = ((spec.n_heads + kv) * d, (spec.n_heads + spec.n_kv_heads + kv) * d);
        let n = rows.len() / width;
        scratch.queries.resize(d * LANES, T::ZERO);
        scratch.mixed.resize(d * LANES, T::ZERO);
        let n_queries = queries.len() * group;
        for first in (0..n_queries).step_by(LANES) {
            // Query j of the group order: row j / group, head j % group. A block that is not full repeats its last one.
            let block = LANES.min(n_queries - first);
            let (mut place, mut sees) = ([(0, 0); LANES], [(); LANES].map(|()| 0..0));
            for (j, (place, sees)) in place.iter_mut().zip(&mut sees).enumerate() {
                let query = first + j.min(block - 1);
                let (row, head) = (query / group, kv * group + query % group);
                (*place, *sees) = ((row, head), spec.sees(queries.start + row));
                let query = &rows[(queries.start + row) * width + head * d..][..d];
                for (slots, x) in scratch.queries.chunks_exact_mut(LANES).zip(query) {
                    slots[j] = *x * scale;
                }
            }
            // Keys that no query of the block sees are left out; those it starts with stay in their lanes.
            let start = sees[0].start / LANES * LANES;
            let seen = sees[LANES - 1].end - start;
            scratch.scores.resize(seen.next_multiple_of(LANES) * LANES, T::ZERO);
            for key in (0..seen).step_by(BLOCK) {
                let mut keys = [&rows[..0]; BLOCK];
                for (i, k) in keys.iter_mut().enumerate() {
                    *k = &rows[(start + key + i).min(n - 1) * width + key_at..][..d];
                }
                sums_by_row(simd, keys, &scratch.queries, LANES, &mut scratch.scores[key * LANES..], LANES);
            }
            if let Some(cap) = spec.cap() {
                cap_all(&mut scratch.scores, cap);
            }
            let (from, to) =
                (sees.each_ref().map(|s| (s.start - start) as u32), sees.each_ref().map(|s| (s.end - start) as u32));
            let inv = softmax_columns(&mut scratch.scores, &from, &to);
            let (weights, values) = (&scratch.scores[..seen * LANES], &rows[start * width + value_at..]);
            let mut column = 0;
            while column < d {
                let (values, mixed) = (&values[column..], &mut scratch.mixed[column * LANES..]);
                if column + BLOCK <= d {
                    sums_by_column::<BLOCK, T, S>(simd, values, width, weights, LANES, mixed);
                    column += BLOCK;
                } else {
                    sums_by_column::<1, T, S>(simd, values, width, weights, LANES, mixed);
                    column += 1;
                }
            }
            for slots in scratch.mixed.chunks_exact_mut(LANES) {
                slots.iter_mut().zip(&inv).for_each(|(x, inv)| *x *= *inv);
            }
            for (j, (row, head)) in place.into_iter().enumerate().take(block) {
                let out = &mut out[(row * spec.n_heads + head) * d..][..d];
                for (out, slots) in out.iter_mut().zip(scratch.mixed.chunks_exact(LANES)) {
                    *out = slots[j];
                }
            }
        }
    }
}
