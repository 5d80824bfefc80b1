//! The gradient of attention. Weights are computed again rather than kept, a block of queries at a time, so that memory
//! stays linear in the length of the context.

use super::super::products::{Matrix, MatrixMut, multiply_into};
use super::super::{Kernel, LANES, Real, by_type, fold_lanes, lane_sum, read, vectorised};
use super::Attention;
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Queries that are answered together; they see no key behind the last of them.
const QUERIES: usize = 64;

/// The gradient of the fused input from that of what the heads gathered.
pub fn gradient(qkv: &Tensor, spec: Attention, examples: &Arc<Vec<Range<usize>>>, grad: &Tensor) -> Result<Tensor> {
    let grad = grad.contiguous()?;
    by_type!(qkv.dtype(), "attend", T => {
        let dqkv = read::<T, _>(qkv, |qkv| read::<T, _>(&grad, |grad| Ok(run(qkv, grad, spec, examples))))?;
        Tensor::from_vec(dqkv, qkv.shape(), qkv.device())
    })
}

/// With weights p and dp = grad . v: dv = p^T grad, ds = p (dp - sum p dp) scale, dq = ds k, dk = ds^T q. A cap puts
/// the factor `1 - tanh^2` of its argument into ds.
fn run<T: Real>(qkv: &[T], grad: &[T], spec: Attention, examples: &[Range<usize>]) -> Vec<T> {
    let (d, width, gathered) = (spec.d_head, spec.width(), spec.n_heads * spec.d_head);
    let mut dqkv = vec![T::ZERO; qkv.len()];
    let (mut p, mut ds, mut tanh) = (Vec::new(), Vec::new(), Vec::new());
    for rows in examples {
        let whole = rows.start * width..rows.end * width;
        let (own, own_grad) = (&qkv[whole.clone()], &grad[rows.start * gathered..rows.end * gathered]);
        let back = &mut dqkv[whole];
        for head in 0..spec.n_heads {
            let kv = head / spec.group();
            let [q_at, k_at, v_at] = [head, spec.n_heads + kv, spec.n_heads + spec.n_kv_heads + kv].map(|h| h * d);
            for first in (0..rows.len()).step_by(QUERIES) {
                let n = QUERIES.min(rows.len() - first);
                let start = spec.sees(first).start;
                let seen = first + n - start;
                let queries = Matrix::strided(&own[first * width + q_at..], n, d, width);
                let keys = Matrix::strided(&own[start * width + k_at..], seen, d, width);
                let values = Matrix::strided(&own[start * width + v_at..], seen, d, width);
                let grads = Matrix::strided(&own_grad[first * gathered + head * d..], n, d, gathered);
                p.resize(n * seen, T::ZERO);
                ds.resize(n * seen, T::ZERO);
                multiply_into(queries, keys.t(), MatrixMut::new(&mut p, n, seen), false);
                multiply_into(grads, values.t(), MatrixMut::new(&mut ds, n, seen), false);
                tanh.resize(if spec.softcap.is_some() { n * seen } else { 0 }, T::ZERO);
                vectorised(Slopes { p: &mut p, ds: &mut ds, tanh: &mut tanh, spec, seen, start, first });
                let (p, ds) = (Matrix::new(&p, n, seen), Matrix::new(&ds, n, seen));
                multiply_into(ds, keys, MatrixMut::strided(&mut back[first * width + q_at..], n, d, width), false);
                multiply_into(
                    ds.t(),
                    queries,
                    MatrixMut::strided(&mut back[start * width + k_at..], seen, d, width),
                    true,
                );
                multiply_into(
                    p.t(),
                    grads,
                    MatrixMut::strided(&mut back[start * width + v_at..], seen, d, width),
                    true,
                );
            }
        }
    }
    dqkv
}

/// Turns products `p` of queries and keys into weights and `ds`, the gradients of the weights, into those of the
/// products.
struct Slopes<'a, T> {
    p: &'a mut [T],
    ds: &'a mut [T],
    /// Room for as many numbers if there is a cap, else none.
    tanh: &'a mut [T],
    spec: Attention,
    /// Keys of a row.
    seen: usize,
    /// Positions of the first key and of the first query.
    start: usize,
    first: usize,
}

impl<T: Real> Kernel for Slopes<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) {
        let Slopes { p, ds, tanh, spec, seen, start, first } = self;
        let scale = T::of(spec.scale);
        // What turns a score into the argument of the exponential: done already where there is a cap.
        let stretch = if spec.softcap.is_some() { T::ONE } else { scale };
        if let Some(cap) = spec.cap::<T>() {
            for (t, p) in tanh.iter_mut().zip(p.iter_mut()) {
                *t = (*p * scale / cap).tanh_fast();
                *p = cap * *t;
            }
        }
        for (i, (p, ds)) in p.chunks_exact_mut(seen).zip(ds.chunks_exact_mut(seen)).enumerate() {
            let sees = spec.sees(first + i);
            let sees = sees.start - start..sees.end - start;
            for hidden in [0..sees.start, sees.end..seen] {
                p[hidden.clone()].fill(T::ZERO);
                ds[hidden].fill(T::ZERO);
            }
            let (p, ds) = (&mut p[sees.clone()], &mut ds[sees]);
            let mut top = [T::LOWEST; LANES];
            let chunks = p.chunks_exact(LANES);
            for (m, x) in top.iter_mut().zip(chunks.remainder()) {
                *m = m.larger(*x);
            }
            for c in chunks {
                for (m, x) in top.iter_mut().zip(c) {
                    *m = m.larger(*x);
                }
            }
            let top = fold_lanes(top, |a, b| a.larger(b));
            for x in p.iter_mut() {
                *x = ((*x - top) * stretch).exp_fast();
            }
            let inv = T::ONE / lane_sum(p, |v| v);
            for x in p.iter_mut() {
                *x *= inv;
            }
            let mut mean = [T::ZERO; LANES];
            let (weights, grads) = (p.chunks_exact(LANES), ds.chunks_exact(LANES));
            for ((m, p), g) in mean.iter_mut().zip(weights.remainder()).zip(grads.remainder()) {
                *m += *p * *g;
            }
            for (p, g) in weights.zip(grads) {
                for ((m, p), g) in mean.iter_mut().zip(p).zip(g) {
                    *m = p.fma(*g, *m);
                }
            }
            let mean = fold_lanes(mean, |a, b| a + b);
            for (g, p) in ds.iter_mut().zip(p.iter()) {
                *g = *p * (*g - mean) * scale;
            }
        }
        for (g, t) in ds.iter_mut().zip(tanh) {
            *g *= T::ONE - *t * *t;
        }
    }
}
