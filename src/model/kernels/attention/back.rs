//! The gradient of attention. Weights are computed again rather than kept.

use super::super::{Kernel, LANES, Real, by_dtype, num, slice, storage, vectorised};
use super::Attention;
use super::softmax::softmax;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// The gradient of the fused input from that of what the heads gathered.
pub fn gradient(qkv: &Tensor, spec: Attention, examples: Arc<Vec<Range<usize>>>, grad: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[qkv, grad], 1)?.contiguous()?.apply_op1_no_bwd(&AttendBack { spec, examples })
}

/// The gradient of [`Attend`] from `[qkv | grad]`, row by row: the weights are computed again rather than kept.
pub struct AttendBack {
    pub spec: Attention,
    pub examples: Arc<Vec<Range<usize>>>,
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
        let mut p = vec![T::ZERO; rows.next_multiple_of(LANES)];
        let mut ds = vec![T::ZERO; rows];
        for i in 0..rows {
            for (j, p) in p[..=i].iter_mut().enumerate() {
                *p = dot(at(i, q_at), at(j, k_at)) * scale;
            }
            let inv = softmax(&mut p, i + 1);
            p[..=i].iter_mut().for_each(|p| *p *= inv);
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
            let mut dqkv = vec![<T as num::Float>::ZERO; rows * width];
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
