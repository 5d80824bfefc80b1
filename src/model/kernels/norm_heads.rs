//! Root-mean-square normalisation of single heads, where they stand in a fused row: what several families do to queries
//! and keys before they are rotated (Henry et al. 2020 under the name QKNorm, with another norm).

use super::{Kernel, Real, by_dtype, by_type, lane_sum, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// Normalises `heads` groups of `d_head` columns of `x [row, width]`, from column `first` on, each by itself, and scales
/// them by `w [d_head]`. The other columns pass through.
pub fn norm_heads(x: &Tensor, w: &Tensor, first: usize, heads: usize, d_head: usize, eps: f64) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let op = NormHeads { first, heads, d_head, eps };
    let y = x.apply_op2_no_bwd(&w, &op)?;
    let inputs = (x.clone(), w.clone());
    tape::push(&[&x, &w], &y, move |grad, wanted| {
        let (x, w) = inputs;
        let (grad, width) = (grad.contiguous()?, x.dim(1)?);
        by_type!(x.dtype(), "norm_heads", T => {
            let (dx, dw) = read::<T, _>(&x, |x| read::<T, _>(&w, |w| read::<T, _>(&grad, |grad| {
                Ok(vectorised(Back { op: &op, x, width, w, grad, weight: wanted[1] }))
            })))?;
            let dw = wanted[1].then(|| Tensor::from_vec(dw, w.shape(), w.device())).transpose()?;
            Ok(vec![Some(Tensor::from_vec(dx, x.shape(), x.device())?), dw])
        })
    });
    Ok(y)
}

#[derive(Clone, Copy)]
struct NormHeads {
    first: usize,
    heads: usize,
    d_head: usize,
    eps: f64,
}

impl NormHeads {
    /// One over the length of a head, in units of the square root of its size.
    #[inline(always)]
    fn inverse<T: Real>(&self, head: &[T]) -> T {
        let share = T::of(1.0 / self.d_head.max(1) as f64);
        T::ONE / lane_sum(head, |v| v * v).fma(share, T::of(self.eps)).root()
    }
}

struct Normalise<'a, T> {
    op: &'a NormHeads,
    x: &'a [T],
    width: usize,
    w: &'a [T],
}

impl<T: Real> Kernel for Normalise<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Normalise { op, x, width, w } = self;
        let mut out = x.to_vec();
        for row in out.chunks_exact_mut(width.max(1)) {
            for head in row[op.first..].chunks_exact_mut(op.d_head).take(op.heads) {
                let inv = op.inverse(head);
                for (x, w) in head.iter_mut().zip(w) {
                    *x = *w * (*x * inv);
                }
            }
        }
        out
    }
}

/// The gradients of the rows and of the weight.
struct Back<'a, T> {
    op: &'a NormHeads,
    x: &'a [T],
    width: usize,
    w: &'a [T],
    grad: &'a [T],
    /// Whether the weight's is wanted.
    weight: bool,
}

impl<T: Real> Kernel for Back<'_, T> {
    type Out = (Vec<T>, Vec<T>);
    /// With y = x inv, g = grad w and inv' = -inv^3 x / d: dx = inv (g - y mean(g y)), dw = sum of grad y.
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> (Vec<T>, Vec<T>) {
        let Back { op, x, width, w, grad, weight } = self;
        let share = T::of(1.0 / op.d_head.max(1) as f64);
        let (mut dx, mut dw) = (grad.to_vec(), vec![T::ZERO; w.len()]);
        for (x, dx) in x.chunks_exact(width.max(1)).zip(dx.chunks_exact_mut(width.max(1))) {
            let heads = x[op.first..].chunks_exact(op.d_head).zip(dx[op.first..].chunks_exact_mut(op.d_head));
            for (x, dx) in heads.take(op.heads) {
                let inv = op.inverse(x);
                if weight {
                    for ((dw, grad), x) in dw.iter_mut().zip(dx.iter()).zip(x) {
                        *dw += *grad * (*x * inv);
                    }
                }
                for (g, w) in dx.iter_mut().zip(w) {
                    *g *= *w;
                }
                let mut along = T::ZERO;
                for (g, x) in dx.iter().zip(x) {
                    along = g.fma(*x, along);
                }
                let along = along * inv * inv * share;
                for (g, x) in dx.iter_mut().zip(x) {
                    *g = inv * (*g - *x * along);
                }
            }
        }
        (dx, dw)
    }
}

impl CustomOp2 for NormHeads {
    fn name(&self) -> &'static str {
        "norm_heads"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((_, width), d_w) = (lx.shape().dims2()?, lw.shape().dims1()?);
        if d_w != self.d_head || self.d_head == 0 || self.first + self.heads * self.d_head > width {
            let NormHeads { first, heads, d_head, .. } = self;
            candle_core::bail!(
                "norm_heads: {heads} heads of {d_head} from column {first} of {width}, a weight of {d_w}"
            )
        }
        by_dtype!(x, "norm_heads", T => {
            let (x, w) = (slice(x, lx, "norm_heads")?, slice(w, lw, "norm_heads")?);
            Ok(storage(vectorised(Normalise::<T> { op: self, x, width, w }), lx.shape()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rms_norm;
    use super::super::testing::{check_gradients, values};
    use super::norm_heads;
    use candle_core::{Device, Tensor};

    #[test]
    fn gradients_agree_with_finite_differences() {
        check_gradients(&[&[3, 14], &[5]], |x| norm_heads(&x[0], &x[1], 2, 2, 5, 1e-5));
        check_gradients(&[&[2, 19], &[19]], |x| norm_heads(&x[0], &x[1], 0, 1, 19, 1e-5));
    }

    #[test]
    fn each_head_is_a_row_of_the_plain_norm_and_the_rest_passes_through() {
        let (rows, first, heads, d, width) = (3, 4, 2, 20, 50);
        let data: Vec<f32> = values(1, rows * width).into_iter().map(|v| v as f32).collect();
        let x = Tensor::from_vec(data, (rows, width), &Device::Cpu).unwrap();
        let w = Tensor::from_vec(values(2, d).into_iter().map(|v| v as f32).collect(), d, &Device::Cpu).unwrap();
        let y = norm_heads(&x, &w, first, heads, d, 1e-6).unwrap().to_vec2::<f32>().unwrap();
        let own = x.narrow(1, first, heads * d).unwrap().contiguous().unwrap().reshape((rows * heads, d)).unwrap();
        let own = rms_norm(&own, &w, 1e-6).unwrap().reshape((rows, heads * d)).unwrap().to_vec2::<f32>().unwrap();
        for ((y, x), own) in y.iter().zip(x.to_vec2::<f32>().unwrap()).zip(own) {
            assert_eq!(
                (&y[..first], &y[first..first + heads * d], &y[first + heads * d..]),
                (&x[..first], &own[..], &x[first + heads * d..])
            );
        }
    }

    #[test]
    fn heads_outside_the_row_are_refused() {
        let t = |n: usize| Tensor::zeros(n, candle_core::DType::F32, &Device::Cpu).unwrap();
        let x = t(12).reshape((1, 12)).unwrap();
        let error = norm_heads(&x, &t(4), 1, 3, 4, 1e-6).unwrap_err().to_string();
        assert!(error.contains("3 heads of 4 from column 1 of 12"), "{error}");
    }
}
