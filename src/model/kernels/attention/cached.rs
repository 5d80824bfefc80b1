//! Attention over a cache: what decoding needs, a row or a few at a time.
//!
//! Vectors run over keys, so keys are held transposed in tiles. Values are held `[key, d_head]`.

use super::super::pointwise::cap_all;
use super::super::{Kernel, LANES, Real, slice, team, vectorised};
use super::products::{BLOCK, sums_by_row};
use super::softmax::softmax;
use super::whole::{self, Whole};
use super::{Attention, check};
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Mutex;

/// Keys per tile.
const TILE: usize = 2 * LANES;

/// Keys and values of one example and one key/value head.
#[derive(Clone, Debug, Default)]
pub struct HeadCache<T> {
    /// `[tile, d_head, TILE]`: within a tile keys are transposed. Slots behind the last key are 0.
    keys: Vec<T>,
    /// `[key, d_head]`, both rounded up (to [`TILE`] and [`LANES`]) with zeros.
    values: Vec<T>,
    len: usize,
}

impl<T: Real> HeadCache<T> {
    /// Keys held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first `n` keys, at most all, and their values.
    pub fn beginning(&self, n: usize) -> HeadCache<T> {
        let (len, held) = (n.min(self.len), self.len.div_ceil(TILE));
        let tiles = len.div_ceil(TILE);
        if tiles == 0 {
            return HeadCache { keys: vec![], values: vec![], len: 0 };
        }
        let [mut keys, mut values] = [&self.keys, &self.values].map(|all| all[..all.len() / held * tiles].to_vec());
        let (d_head, d_value) = (self.keys.len() / held / TILE, self.values.len() / held / TILE);
        let last = &mut keys[(tiles - 1) * d_head * TILE..];
        last.chunks_exact_mut(TILE).for_each(|slots| slots[len - (tiles - 1) * TILE..].fill(T::ZERO));
        values[len * d_value..].fill(T::ZERO);
        HeadCache { keys, values, len }
    }

    /// Appends the keys and values of one head from rows of the fused input.
    #[inline(always)]
    fn append(&mut self, rows: &[T], spec: Attention, kv: usize) {
        let (d_head, width) = (spec.d_head, spec.width());
        let [key_at, value_at] = [spec.n_heads + kv, spec.n_heads + spec.n_kv_heads + kv].map(|head| head * d_head);
        let tiles = (self.len + rows.len() / width).div_ceil(TILE);
        let d_value = d_head.next_multiple_of(LANES);
        self.keys.resize(tiles * d_head * TILE, T::ZERO);
        self.values.resize(tiles * TILE * d_value, T::ZERO);
        for row in rows.chunks_exact(width) {
            let tile = &mut self.keys[self.len / TILE * d_head * TILE..][..d_head * TILE];
            for (slots, k) in tile.chunks_exact_mut(TILE).zip(&row[key_at..key_at + d_head]) {
                slots[self.len % TILE] = *k;
            }
            self.values[self.len * d_value..][..d_head].copy_from_slice(&row[value_at..value_at + d_head]);
            self.len += 1;
        }
    }
}

/// Attention of new rows to the cached keys of their example and among themselves; the new keys are appended.
///
/// `caches[i]` holds the heads of the example whose rows are `examples[i]`. Inference only: no gradient.
pub fn attend_cached(
    qkv: &Tensor,
    spec: Attention,
    examples: &[Range<usize>],
    caches: &mut [&mut Vec<HeadCache<f32>>],
) -> Result<Tensor> {
    let qkv = qkv.contiguous()?;
    let (rows, width) = check(qkv.shape(), spec)?;
    let (held, layout) = qkv.storage_and_layout();
    let candle_core::Storage::Cpu(cpu) = &*held else { candle_core::bail!("cached attention runs on the CPU") };
    let x = slice::<f32>(cpu, layout, "attend")?;
    let mut out = vec![0.0f32; rows * spec.n_heads * spec.d_head];
    let (mut rest, mut each) = (&mut out[..], Vec::new());
    for (range, heads) in examples.iter().zip(caches) {
        let (out, behind) = rest.split_at_mut(range.len() * spec.n_heads * spec.d_head);
        rest = behind;
        each.push(Mutex::new((&x[range.start * width..range.end * width], out, heads)));
    }
    team::each(each.len(), &|i| {
        let (rows, out, heads) = &mut *each[i].lock().unwrap_or_else(|e| e.into_inner());
        let (mut scratch, mut whole) = (Scratch::default(), whole::Scratch::default());
        heads.resize_with(spec.n_kv_heads, HeadCache::default);
        for (kv, cache) in heads.iter_mut().enumerate() {
            let n = rows.len() / width;
            if cache.is_empty() && n > 1 {
                // Many queries and nothing behind them: the other form is faster and gives the same bits.
                vectorised(Whole { spec, kv, rows, queries: 0..n, out, scratch: &mut whole });
                cache.append(rows, spec, kv);
                continue;
            }
            vectorised(Job { spec, kv, rows, out, cache, scratch: &mut scratch });
        }
    });
    Tensor::from_vec(out, (rows, spec.n_heads * spec.d_head), qkv.device())
}

/// Buffers reused from head to head.
#[derive(Default)]
struct Scratch<T> {
    /// `[query, key]`
    scores: Vec<T>,
    /// `[query, d_head]`
    queries: Vec<T>,
    /// `[query, d_value]`
    mixed: Vec<T>,
}

/// One key/value head of one example.
struct Job<'a, T> {
    spec: Attention,
    kv: usize,
    /// The example's rows of the fused input, and of the result.
    rows: &'a [T],
    out: &'a mut [T],
    cache: &'a mut HeadCache<T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> Kernel for Job<'_, T> {
    type Out = ();
    /// Appends the new keys, then answers the queries of the head's group, as many at a time as there are up to
    /// [`BLOCK`].
    #[inline(always)]
    fn run<S: pulp::Simd>(mut self, simd: S) {
        let Job { spec, kv, rows, .. } = self;
        let past = self.cache.len;
        self.cache.append(rows, spec, kv);
        let n_queries = rows.len() / spec.width() * spec.group();
        for first in (0..n_queries).step_by(BLOCK) {
            match n_queries - first {
                1 => self.answer::<1, S>(simd, past, first),
                2 => self.answer::<2, S>(simd, past, first),
                3 => self.answer::<3, S>(simd, past, first),
                4 => self.answer::<4, S>(simd, past, first),
                5 => self.answer::<5, S>(simd, past, first),
                6 => self.answer::<6, S>(simd, past, first),
                7 => self.answer::<7, S>(simd, past, first),
                _ => self.answer::<BLOCK, S>(simd, past, first),
            }
        }
    }
}

impl<T: Real> Job<'_, T> {
    /// Answers `N` queries in the order of the group: query j is row j / group, head j % group.
    #[inline(always)]
    fn answer<const N: usize, S: pulp::Simd>(&mut self, simd: S, past: usize, first: usize) {
        let Job { spec, kv, rows, out, cache, scratch } = self;
        let (d, width, group, scale) = (spec.d_head, spec.width(), spec.group(), T::of(spec.scale));
        let d_value = d.next_multiple_of(LANES);
        let place = |j: usize| ((first + j) / group, *kv * group + (first + j) % group);
        let sees = |j: usize| spec.sees(past + place(j).0);
        // Rows ascend, so the first query sees the first key and the last one the last.
        let (tile, tiles) = (sees(0).start / TILE, sees(N - 1).end.div_ceil(TILE));
        let (start, seen) = (tile * TILE, (tiles - tile) * TILE);
        scratch.scores.resize(N * seen, T::ZERO);
        scratch.queries.resize(N * d, T::ZERO);
        scratch.mixed.resize(N * d_value, T::ZERO);
        for (j, q) in scratch.queries.chunks_exact_mut(d).enumerate() {
            let (row, head) = place(j);
            for (q, x) in q.iter_mut().zip(&rows[row * width + head * d..][..d]) {
                *q = *x * scale;
            }
        }
        let queries = rows_of::<N, T>(&scratch.queries, d);
        for (i, keys) in cache.keys[start * d..].chunks_exact(d * TILE).take(seen / TILE).enumerate() {
            sums_by_row(simd, queries, keys, TILE, &mut scratch.scores[i * TILE..], seen);
        }
        if let Some(cap) = spec.cap() {
            cap_all(&mut scratch.scores, cap);
        }
        let mut inv = [T::ZERO; N];
        for (j, (inv, scores)) in inv.iter_mut().zip(scratch.scores.chunks_exact_mut(seen)).enumerate() {
            let sees = sees(j);
            *inv = softmax(scores, sees.start - start..sees.end - start);
        }
        let weights = rows_of::<N, T>(&scratch.scores, seen);
        sums_by_row(simd, weights, &cache.values[start * d_value..], d_value, &mut scratch.mixed, d_value);
        for (j, mixed) in scratch.mixed.chunks_exact(d_value).enumerate() {
            let (row, head) = place(j);
            for (out, mixed) in out[(row * spec.n_heads + head) * d..][..d].iter_mut().zip(mixed) {
                *out = *mixed * inv[j];
            }
        }
    }
}

/// The `N` rows of a table.
#[inline(always)]
fn rows_of<const N: usize, T>(table: &[T], width: usize) -> [&[T]; N] {
    std::array::from_fn(|j| &table[j * width..][..width])
}
