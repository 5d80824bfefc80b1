//! Attention within one sequence.
//!
//! Vectors run over queries: scores are held `[key, query]`, so that softmax works lane by lane, and keys and values
//! are only ever single numbers spread over a vector. They are read where they stand, or, by many queries, from a copy
//! in which the rows of one head follow each other.

use super::super::pointwise::cap_all;
use super::super::{Kernel, LANES, Real};
use super::Attention;
use super::products::{BLOCK, add_by_column, sums_by_row};
use super::softmax::softmax_columns;
use std::ops::Range;

/// Queries from which on keys and values are copied.
const MANY: usize = 128;
/// Queries that are answered together, behind the first keys; before, and at the end, [`LANES`] are: fewer of them see
/// keys that others do not.
const WIDE: usize = 2 * LANES;
/// Keys whose values are added before the next column: they stay in the first cache.
const TILE: usize = 64;

/// Buffers reused from head to head.
#[derive(Default)]
pub struct Scratch<T> {
    /// `[key, query]`
    scores: Vec<T>,
    /// `[d_head, query]`
    queries: Vec<T>,
    mixed: Vec<T>,
    /// `[key, d_head]`
    keys: Vec<T>,
    values: Vec<T>,
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
        let (d, width) = (spec.d_head, spec.width());
        let Scratch { scores, queries: held, mixed, keys, values } = scratch;
        let [key_at, value_at] = [spec.n_heads + kv, spec.n_heads + spec.n_kv_heads + kv].map(|head| head * d);
        let n_queries = queries.len() * spec.group();
        let copied = n_queries >= MANY;
        if copied {
            for (copy, at) in [(&mut *keys, key_at), (&mut *values, value_at)] {
                copy.clear();
                rows.chunks_exact(width).for_each(|row| copy.extend_from_slice(&row[at..at + d]));
            }
        }
        let (keys, values, stride) =
            if copied { (&keys[..], &values[..], d) } else { (&rows[key_at..], &rows[value_at..], width) };
        let mut head = Head { simd, spec, kv, rows, queries, keys, values, stride, out, scores, held, mixed };
        let mut first = 0;
        while first < n_queries {
            // Fewer than the first cache holds: the wider block would mostly wait for hidden keys.
            if n_queries - first > LANES && head.sees(first).len() >= TILE {
                head.answer::<WIDE>(first);
                first += WIDE;
            } else {
                head.answer::<LANES>(first);
                first += LANES;
            }
        }
    }
}

/// What the queries of one head are answered from.
struct Head<'a, T, S> {
    simd: S,
    spec: Attention,
    kv: usize,
    rows: &'a [T],
    queries: Range<usize>,
    /// Rows that stand `stride` numbers apart.
    keys: &'a [T],
    values: &'a [T],
    stride: usize,
    out: &'a mut [T],
    scores: &'a mut Vec<T>,
    held: &'a mut Vec<T>,
    mixed: &'a mut Vec<T>,
}

impl<T: Real, S: pulp::Simd> Head<'_, T, S> {
    /// The keys that query j of the group order sees: it is that of row j / group and head j % group.
    #[inline(always)]
    fn sees(&self, query: usize) -> Range<usize> {
        self.spec.sees(self.queries.start + query / self.spec.group())
    }

    /// Answers `Q` queries from one on.
    #[inline(always)]
    fn answer<const Q: usize>(&mut self, first: usize) {
        let (spec, simd, stride) = (self.spec, self.simd, self.stride);
        let (d, width, group, scale) = (spec.d_head, spec.width(), spec.group(), T::of(spec.scale));
        // A block that is not full repeats its last query.
        let block = Q.min(self.queries.len() * group - first);
        let place = |j: usize| ((first + j) / group, self.kv * group + (first + j) % group);
        let (mut from, mut to) = ([0; Q], [0; Q]);
        self.held.resize(d * Q, T::ZERO);
        for j in 0..Q {
            let (row, head) = place(j.min(block - 1));
            let sees = self.sees(first + j.min(block - 1));
            (from[j], to[j]) = (sees.start as u32, sees.end as u32);
            let query = &self.rows[(self.queries.start + row) * width + head * d..][..d];
            for (slots, x) in self.held.chunks_exact_mut(Q).zip(query) {
                slots[j] = *x * scale;
            }
        }
        // Keys that no query of the block sees are left out; those it starts with stay in their lanes.
        let start = from[0] as usize / LANES * LANES;
        let end = to[Q - 1] as usize;
        from.iter_mut().chain(&mut to).for_each(|key| *key -= start as u32);
        self.scores.resize((end - start).next_multiple_of(LANES) * Q, T::ZERO);
        for (key, scores) in (start..end).step_by(BLOCK).zip(self.scores.chunks_exact_mut(BLOCK * Q)) {
            let mut keys = [&self.keys[..0]; BLOCK];
            for (i, k) in keys.iter_mut().enumerate() {
                *k = &self.keys[(key + i).min(end - 1) * stride..][..d];
            }
            sums_by_row(simd, keys, self.held, Q, scores, Q);
        }
        if let Some(cap) = spec.cap() {
            cap_all(self.scores, cap);
        }
        let inv = softmax_columns(self.scores, &from, &to);
        self.mixed.clear();
        self.mixed.resize(d * Q, T::ZERO);
        let weights = &self.scores[..(end - start) * Q];
        for (values, weights) in self.values[start * stride..].chunks(TILE * stride).zip(weights.chunks(TILE * Q)) {
            let mut column = 0;
            while column < d {
                let (values, mixed) = (&values[column..], &mut self.mixed[column * Q..]);
                if column + BLOCK <= d {
                    add_by_column::<BLOCK, T, S>(simd, values, stride, weights, Q, mixed);
                    column += BLOCK;
                } else {
                    add_by_column::<1, T, S>(simd, values, stride, weights, Q, mixed);
                    column += 1;
                }
            }
        }
        for slots in self.mixed.chunks_exact_mut(Q) {
            slots.iter_mut().zip(&inv).for_each(|(x, inv)| *x *= *inv);
        }
        for j in 0..block {
            let (row, head) = place(j);
            let out = &mut self.out[(row * spec.n_heads + head) * d..][..d];
            for (out, slots) in out.iter_mut().zip(self.mixed.chunks_exact(Q)) {
                *out = slots[j];
            }
        }
    }
}
