//! Root-mean-square normalisation (Zhang and Sennrich 2019): `w * x / sqrt(mean(x^2) + eps)`.

use super::{Kernel, Real, by_dtype, by_type, lane_sum, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

struct RmsNorm {
    eps: f64,
}

/// Normalises the rows of `x [row, d]` and scales them by `w [d]`.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let y = x.apply_op2_no_bwd(&w, &RmsNorm { eps })?;
    let inputs = (x.clone(), w.clone());
    tape::push(&[&x, &w], &y, move |grad, wanted| {
        let (x, w) = inputs;
        let grad = grad.contiguous()?;
        by_type!(x.dtype(), "rms_norm", T => {
            let (dx, dw) = read::<T, _>(&x, |x| read::<T, _>(&w, |w| read::<T, _>(&grad, |grad| {
                Ok(vectorised(Back { x, w, grad, eps, weight: wanted[1] }))
            })))?;
            let dw = wanted[1].then(|| Tensor::from_vec(dw, w.shape(), w.device())).transpose()?;
            Ok(vec![Some(Tensor::from_vec(dx, x.shape(), x.device())?), dw])
        })
    });
    Ok(y)
}

/// The gradients of the rows and of the weight.
struct Back<'a, T> {
    x: &'a [T],
    w: &'a [T],
    grad: &'a [T],
    eps: f64,
    /// Whether the weight's is wanted.
    weight: bool,
}

impl<T: Real> Kernel for Back<'_, T> {
    type Out = (Vec<T>, Vec<T>);
    /// With y = x inv, g = grad w and inv' = -inv^3 x / d: dx = inv (g - y mean(g y)), dw = sum of grad y.
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> (Vec<T>, Vec<T>) {
        let Back { x, w, grad, eps, weight } = self;
        let d = w.len().max(1);
        let scale = T::of(1.0 / d as f64);
        let (mut dx, mut dw) = (vec![T::ZERO; x.len()], vec![T::ZERO; w.len()]);
        for ((x, grad), dx) in x.chunks_exact(d).zip(grad.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let inv = T::ONE / lane_sum(x, |v| v * v).fma(scale, T::of(eps)).root();
            for (((g, grad), w), x) in dx.iter_mut().zip(grad).zip(w).zip(x) {
                *g = *grad * *w * *x;
            }
            let along = lane_sum(dx, |v| v) * inv * inv * scale;
            for (((dx, grad), w), x) in dx.iter_mut().zip(grad).zip(w).zip(x) {
                *dx = inv * (*grad * *w - *x * along);
            }
            if weight {
                for ((dw, grad), x) in dw.iter_mut().zip(grad).zip(x) {
                    *dw += *grad * (*x * inv);
                }
            }
        }
        (dx, dw)
    }
}

struct Normalise<'a, T> {
    x: &'a [T],
    w: &'a [T],
    eps: f64,
}

impl<T: Real> Kernel for Normalise<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Normalise { x, w, eps } = self;
        let scale = T::of(1.0 / w.len().max(1) as f64);
        let mut out = vec![T::ZERO; x.len()];
        for (x, y) in x.chunks_exact(w.len()).zip(out.chunks_exact_mut(w.len())) {
            let inv = T::ONE / lane_sum(x, |v| v * v).fma(scale, T::of(eps)).root();
            for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                *y = *w * (*x * inv);
            }
        }
        out
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((_, d), d_w) = (lx.shape().dims2()?, lw.shape().dims1()?);
        if d != d_w {
            candle_core::bail!("rms_norm: rows of {d} do not fit a weight of {d_w}")
        }
        by_dtype!(x, "rms_norm", T => {
            Ok(storage(vectorised(Normalise::<T> { x: slice(x, lx, "rms_norm")?, w: slice(w, lw, "rms_norm")?, eps: self.eps }), lx.shape()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_gradients;
    use super::rms_norm;
    use candle_core::{Device, Tensor};

    #[test]
    fn gradient_agrees_with_finite_differences() {
        check_gradients(&[&[3, 7], &[7]], |x| rms_norm(&x[0], &x[1], 1e-5));
    }

    #[test]
    fn a_row_comes_out_with_the_length_of_its_weight() {
        // x = (3, 4): mean square 12.5, so y = (3, 4) / sqrt(12.5) * (1, 2) = (0.8485, 2.2627).
        let x = Tensor::new(&[[3.0f64, 4.0]], &Device::Cpu).unwrap();
        let w = Tensor::new(&[1.0f64, 2.0], &Device::Cpu).unwrap();
        let y = rms_norm(&x, &w, 0.0).unwrap().to_vec2::<f64>().unwrap();
        assert!((y[0][0] - 3.0 / 12.5f64.sqrt()).abs() < 1e-12 && (y[0][1] - 8.0 / 12.5f64.sqrt()).abs() < 1e-12);
    }
}
