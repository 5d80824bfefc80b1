//! Causal grouped-query attention over packed rows (Vaswani et al. 2017; Ainslie et al. 2023).
//!
//! The rows of one example stand together; nothing is padded. Keys are held transposed in tiles, so that the scores of
//! one query over many keys are products of whole vectors; values are held `[key, d_head]`. Keys and values
//! of a group are read once for all its query heads and never copied per head. At most [`BLOCK`] score rows exist at a
//! time, so memory is linear in the length of the context.

use super::{BLOCK, Kernel, LANES, Real, by_dtype, fold_lanes, lane_sum, slice, storage, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Keys per tile.
const TILE: usize = 2 * LANES;

/// The sizes of one attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub d_head: usize,
}

impl Attention {
    /// Columns of the fused input: all query heads, then key heads, then value heads.
    pub fn width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.d_head
    }

    fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.d_head as f64).sqrt())
    }
}

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

    fn clear(&mut self) {
        self.len = 0;
        self.keys.clear();
        self.values.clear();
    }

    /// Appends the keys and values of one head from rows of the fused input.
    #[inline(always)]
    fn append(&mut self, rows: &[T], width: usize, key_at: usize, value_at: usize, d_head: usize) {
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

/// Attention of packed rows among themselves: `qkv [row, width]` to `[row, n_heads * d_head]`.
///
/// `examples` are the row ranges of the sequences; every one starts at its own position 0.
pub fn attend(qkv: &Tensor, spec: Attention, examples: &Arc<Vec<Range<usize>>>) -> Result<Tensor> {
    qkv.contiguous()?.apply_op1(Attend { spec, examples: examples.clone() })
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
    let mut scratch = Scratch::default();
    for (range, heads) in examples.iter().zip(caches) {
        heads.resize_with(spec.n_kv_heads, HeadCache::default);
        for (kv, head) in heads.iter_mut().enumerate() {
            let (rows, out) = (&x[range.start * width..range.end * width], part_of(&mut out, range, spec));
            vectorised(Job { spec, kv, rows, out, cache: head, scratch: &mut scratch });
        }
    }
    Tensor::from_vec(out, (rows, spec.n_heads * spec.d_head), qkv.device())
}

fn part_of<'a, T>(out: &'a mut [T], range: &Range<usize>, spec: Attention) -> &'a mut [T] {
    let width = spec.n_heads * spec.d_head;
    &mut out[range.start * width..range.end * width]
}

fn check(shape: &Shape, spec: Attention) -> Result<(usize, usize)> {
    let (rows, width) = shape.dims2()?;
    if width != spec.width() {
        candle_core::bail!("attend: rows of {width} for {spec:?}")
    }
    Ok((rows, width))
}

/// Buffers reused from head to head.
#[derive(Default)]
struct Scratch<T> {
    /// `[BLOCK, key]`
    scores: Vec<T>,
    /// `[BLOCK, d_head]`
    queries: Vec<T>,
    /// `[BLOCK, d_value]`
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
    /// Appends the new keys, then answers the queries of the head's group.
    #[inline(always)]
    fn run<S: pulp::Simd>(self, simd: S) {
        let Job { spec, kv, rows, out, cache, scratch } = self;
        let (d, width, group) = (spec.d_head, spec.width(), spec.group());
        let (key_at, value_at) = ((spec.n_heads + kv) * d, (spec.n_heads + spec.n_kv_heads + kv) * d);
        let past = cache.len;
        cache.append(rows, width, key_at, value_at, d);
        let stride = cache.len.next_multiple_of(TILE);
        let d_value = d.next_multiple_of(LANES);
        scratch.scores.resize(BLOCK * stride, T::ZERO);
        scratch.queries.resize(BLOCK * d, T::ZERO);
        scratch.mixed.resize(BLOCK * d_value, T::ZERO);
        let n_queries = rows.len() / width * group;
        for first in (0..n_queries).step_by(BLOCK) {
            let block = BLOCK.min(n_queries - first);
            // Query j of the group order: row j / group, head j % group. Rows ascend, so the last one sees most keys.
            let place = |j: usize| ((first + j) / group, kv * group + (first + j) % group);
            for (j, q) in scratch.queries.chunks_exact_mut(d).enumerate() {
                // A block that is not full repeats its last query.
                let (row, head) = place(j.min(block - 1));
                for (q, x) in q.iter_mut().zip(&rows[row * width + head * d..][..d]) {
                    *q = *x * spec.scale::<T>();
                }
            }
            let seen = (past + place(block - 1).0 + 1).next_multiple_of(TILE);
            for (i, tile) in cache.keys.chunks_exact(d * TILE).take(seen / TILE).enumerate() {
                let queries = rows_of(&scratch.queries, d, d);
                T::outer_sum(simd, queries, tile, TILE, &mut scratch.scores[i * TILE..], stride);
            }
            for j in 0..BLOCK {
                let sees = past + place(j.min(block - 1)).0 + 1;
                softmax(&mut scratch.scores[j * stride..][..seen], sees);
            }
            let weights = rows_of(&scratch.scores, stride, seen);
            T::outer_sum(simd, weights, &cache.values, d_value, &mut scratch.mixed, d_value);
            for (j, mixed) in scratch.mixed.chunks_exact(d_value).enumerate().take(block) {
                let (row, head) = place(j);
                out[(row * spec.n_heads + head) * d..][..d].copy_from_slice(&mixed[..d]);
            }
        }
    }
}

/// The first `n` numbers of the [`BLOCK`] rows of a table.
#[inline(always)]
fn rows_of<T>(table: &[T], stride: usize, n: usize) -> [&[T]; BLOCK] {
    std::array::from_fn(|j| &table[j * stride..][..n])
}

/// Softmax over the first `sees` scores; the rest become 0. The length is a multiple of [`TILE`].
#[inline(always)]
fn softmax<T: Real>(scores: &mut [T], sees: usize) {
    // What is hidden takes part with a value that changes neither the maximum nor the sum: no ragged end.
    let first = scores[0];
    scores[sees..].fill(first);
    let mut top = [first; LANES];
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
    scores[sees..].fill(T::ZERO);
    let inv = T::ONE / lane_sum(scores, |v| v);
    for c in scores.chunks_exact_mut(LANES) {
        for x in c {
            *x = *x * inv;
        }
    }
}

struct Attend {
    spec: Attention,
    examples: Arc<Vec<Range<usize>>>,
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = check(l.shape(), self.spec)?;
        by_dtype!(x, "attend", T => {
            let x = slice::<T>(x, l, "attend")?;
            let mut out = vec![<T as super::num::Float>::ZERO; rows * self.spec.n_heads * self.spec.d_head];
            let (mut cache, mut scratch) = (HeadCache::default(), Scratch::default());
            for range in self.examples.iter() {
                for kv in 0..self.spec.n_kv_heads {
                    cache.clear();
                    let (rows, out) = (&x[range.start * width..range.end * width], part_of(&mut out, range, self.spec));
                    let job = Job { spec: self.spec, kv, rows, out, cache: &mut cache, scratch: &mut scratch };
                    vectorised(job);
                }
            }
            Ok(storage(out, (rows, self.spec.n_heads * self.spec.d_head)))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = AttendBack { spec: self.spec, examples: self.examples.clone() };
        let both = Tensor::cat(&[&x.detach(), grad], 1)?;
        Ok(Some(both.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}

/// The gradient of [`Attend`] from `[qkv | grad]`, row by row: the weights are computed again rather than kept.
struct AttendBack {
    spec: Attention,
    examples: Arc<Vec<Range<usize>>>,
}

/// The gradient of one query head of one example, added to `dqkv`.
struct Back<'a, T> {
    spec: Attention,
    head: usize,
    both: &'a [T],
    dqkv: &'a mut [T],
}

impl<T: Real> Kernel for Back<'_, T> {
    type Out = ();
    /// With weights p and dp = grad . v:
    /// dv += p grad, ds = p (dp - sum p dp), dq = scale ds k, dk += scale ds q.
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) {
        let Back { spec, head, both, dqkv } = self;
        let Attention { n_heads, n_kv_heads, d_head: d } = spec;
        let (width, scale) = (spec.width(), spec.scale::<T>());
        let stride = width + n_heads * d;
        let kv = head / spec.group();
        let (q_at, k_at, v_at, g_at) =
            (head * d, (n_heads + kv) * d, (n_heads + n_kv_heads + kv) * d, width + head * d);
        let at = |row: usize, col: usize| &both[row * stride + col..][..d];
        let rows = both.len() / stride;
        let mut p = vec![T::ZERO; rows.next_multiple_of(TILE)];
        let mut ds = vec![T::ZERO; rows];
        for i in 0..rows {
            for (j, p) in p[..=i].iter_mut().enumerate() {
                *p = dot(at(i, q_at), at(j, k_at)) * scale;
            }
            softmax(&mut p, i + 1);
            for (j, ds) in ds[..=i].iter_mut().enumerate() {
                *ds = dot(at(i, g_at), at(j, v_at));
            }
            let mean = dot(&p[..=i], &ds[..=i]);
            for j in 0..=i {
                let s = p[j] * (ds[j] - mean) * scale;
                for c in 0..d {
                    dqkv[i * width + q_at + c] += s * at(j, k_at)[c];
                    dqkv[j * width + k_at + c] += s * at(i, q_at)[c];
                    dqkv[j * width + v_at + c] += p[j] * at(i, g_at)[c];
                }
            }
        }
    }
}

#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::ZERO, |s, (a, b)| a.fma(*b, s))
}

impl CustomOp1 for AttendBack {
    fn name(&self) -> &'static str {
        "attend_back"
    }

    fn cpu_fwd(&self, both: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, stride) = l.shape().dims2()?;
        let width = self.spec.width();
        by_dtype!(both, "attend_back", T => {
            let both = slice::<T>(both, l, "attend_back")?;
            let mut dqkv = vec![<T as super::num::Float>::ZERO; rows * width];
            for r in self.examples.iter() {
                for head in 0..self.spec.n_heads {
                    let part = &both[r.start * stride..r.end * stride];
                    let back = &mut dqkv[r.start * width..r.end * width];
                    vectorised(Back::<T> { spec: self.spec, head, both: part, dqkv: back });
                }
            }
            Ok(storage(dqkv, (rows, width)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::*;
    use candle_core::{D, Device};

    const SPEC: Attention = Attention { n_heads: 4, n_kv_heads: 2, d_head: 6 };

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let spec = Attention { n_heads: 2, n_kv_heads: 1, d_head: 3 };
        let examples = Arc::new(vec![0..3, 3..5]);
        check_gradients(&[&[5, spec.width()]], |x| attend(&x[0], spec, &examples));
    }

    /// The textbook form, in tensor operations, for one sequence.
    fn textbook(x: &Tensor, s: Attention) -> Tensor {
        let n = x.dim(0).unwrap();
        let part = |at: usize, heads: usize| {
            let y = x.narrow(1, at * s.d_head, heads * s.d_head).unwrap();
            y.reshape((n, heads, s.d_head)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
        };
        let (q, k, v) =
            (part(0, s.n_heads), part(s.n_heads, s.n_kv_heads), part(s.n_heads + s.n_kv_heads, s.n_kv_heads));
        let mask: Vec<f64> = (0..n * n).map(|i| if i % n > i / n { f64::NEG_INFINITY } else { 0.0 }).collect();
        let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu).unwrap();
        let heads: Vec<Tensor> = (0..s.n_heads)
            .map(|h| {
                let kv = h / s.group();
                let scores = q.get(h).unwrap().matmul(&k.get(kv).unwrap().t().unwrap()).unwrap();
                let scores = ((scores * s.scale::<f64>()).unwrap() + &mask).unwrap();
                let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1).unwrap()).unwrap().exp().unwrap();
                let p = e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap()).unwrap();
                p.matmul(&v.get(kv).unwrap()).unwrap()
            })
            .collect();
        Tensor::cat(&heads, 1).unwrap()
    }

    #[test]
    fn packed_rows_agree_with_the_textbook_sequence_by_sequence() {
        let lengths = [1usize, 2, 33, 7, 64];
        let n = lengths.iter().sum::<usize>();
        let x = Tensor::from_vec(values(5, n * SPEC.width()), (n, SPEC.width()), &Device::Cpu).unwrap();
        let mut examples = Vec::new();
        for l in lengths {
            let from = examples.last().map_or(0, |r: &Range<usize>| r.end);
            examples.push(from..from + l);
        }
        let got = attend(&x, SPEC, &Arc::new(examples.clone())).unwrap();
        for r in examples {
            let want = textbook(&x.narrow(0, r.start, r.len()).unwrap(), SPEC);
            let diff = (got.narrow(0, r.start, r.len()).unwrap() - want).unwrap().abs().unwrap();
            assert!(diff.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12, "rows {r:?}");
        }
    }

    #[test]
    fn cached_steps_give_the_bits_of_the_whole() {
        let n = 70;
        let data: Vec<f32> = values(6, n * SPEC.width()).into_iter().map(|v| v as f32).collect();
        let x = Tensor::from_vec(data, (n, SPEC.width()), &Device::Cpu).unwrap();
        let whole = attend(&x, SPEC, &Arc::new(vec![0..n])).unwrap().to_vec2::<f32>().unwrap();
        let mut heads = Vec::new();
        let mut from = 0;
        for step in [1, 30, 1, 1, 2, 35] {
            let part = x.narrow(0, from, step).unwrap();
            let got = attend_cached(&part, SPEC, &[0..step], &mut [&mut heads]).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(got[..], whole[from..from + step], "{step} rows after {from}");
            from += step;
        }
        assert_eq!(heads[0].len(), n);
    }
}
