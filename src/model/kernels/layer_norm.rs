//! Layer normalisation (Ba et al. 2016): `w * (x - mean) / sqrt(variance + eps) + b`.

use super::{Kernel, Real, by_dtype, by_type, lane_sum, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// Normalises the rows of `x [row, d]`, scales them by `w [d]` and moves them by `b [d]`, where there is one.
///
/// The variance is the mean square of what is left once the mean is taken off, over all `d` numbers.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let b = b.map_or_else(|| w.zeros_like(), Tensor::contiguous)?;
    let y = x.apply_op3_no_bwd(&w, &b, &LayerNorm { eps })?;
    let inputs = (x.clone(), w.clone());
    tape::push(&[&x, &w, &b], &y, move |grad, wanted| {
        let (x, w) = inputs;
        let grad = grad.contiguous()?;
        by_type!(x.dtype(), "layer_norm", T => {
            let (dx, dw, db) = read::<T, _>(&x, |x| read::<T, _>(&w, |w| read::<T, _>(&grad, |grad| {
                Ok(vectorised(Back { x, w, grad, eps, weight: wanted[1], bias: wanted[2] }))
            })))?;
            let tensor = |wanted: bool, data| wanted.then(|| Tensor::from_vec(data, w.shape(), w.device())).transpose();
            let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
            Ok(vec![Some(dx), tensor(wanted[1], dw)?, tensor(wanted[2], db)?])
        })
    });
    Ok(y)
}

/// Mean of a row, and one over its deviation.
#[inline(always)]
fn moments<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let share = T::of(1.0 / x.len().max(1) as f64);
    let mean = lane_sum(x, |v| v) * share;
    let square = lane_sum(x, |v| (v - mean) * (v - mean));
    (mean, T::ONE / square.fma(share, T::of(eps)).root())
}

struct LayerNorm {
    eps: f64,
}

struct Normalise<'a, T> {
    x: &'a [T],
    w: &'a [T],
    b: &'a [T],
    eps: f64,
}

impl<T: Real> Kernel for Normalise<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Normalise { x, w, b, eps } = self;
        let d = w.len().max(1);
        let mut out = vec![T::ZERO; x.len()];
        for (x, y) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            let (mean, inv) = moments(x, eps);
            for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(b) {
                *y = ((*x - mean) * inv).fma(*w, *b);
            }
        }
        out
    }
}

/// The gradients of the rows, of the weight and of the bias.
struct Back<'a, T> {
    x: &'a [T],
    w: &'a [T],
    grad: &'a [T],
    eps: f64,
    /// Whether the weight's is wanted, and the bias's.
    weight: bool,
    bias: bool,
}

impl<T: Real> Kernel for Back<'_, T> {
    type Out = (Vec<T>, Vec<T>, Vec<T>);
    /// With z = (x - mean) inv and g = grad w: dx = inv (g - mean(g) - z mean(g z)), dw = sum of grad z, db = sum of grad.
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> (Vec<T>, Vec<T>, Vec<T>) {
        let Back { x, w, grad, eps, weight, bias } = self;
        let d = w.len().max(1);
        let share = T::of(1.0 / d as f64);
        let mut dx = vec![T::ZERO; x.len()];
        let [mut dw, mut db, mut z] = [d; 3].map(|d| vec![T::ZERO; d]);
        for ((x, grad), dx) in x.chunks_exact(d).zip(grad.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let (mean, inv) = moments(x, eps);
            for (z, x) in z.iter_mut().zip(x) {
                *z = (*x - mean) * inv;
            }
            for (((g, grad), w), z) in dx.iter_mut().zip(grad).zip(w).zip(&z) {
                *g = *grad * *w * *z;
            }
            let along = lane_sum(dx, |v| v) * share;
            for ((g, grad), w) in dx.iter_mut().zip(grad).zip(w) {
                *g = *grad * *w;
            }
            let level = lane_sum(dx, |v| v) * share;
            for (g, z) in dx.iter_mut().zip(&z) {
                *g = inv * (*g - level - *z * along);
            }
            if weight {
                for ((dw, grad), z) in dw.iter_mut().zip(grad).zip(&z) {
                    *dw += *grad * *z;
                }
            }
            if bias {
                for (db, grad) in db.iter_mut().zip(grad) {
                    *db += *grad;
                }
            }
        }
        (dx, dw, db)
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((_, d), d_w, d_b) = (lx.shape().dims2()?, lw.shape().dims1()?, lb.shape().dims1()?);
        if (d, d) != (d_w, d_b) {
            candle_core::bail!("layer_norm: rows of {d} do not fit a weight of {d_w} and a bias of {d_b}")
        }
        by_dtype!(x, "layer_norm", T => {
            let [w, b] = [slice(w, lw, "layer_norm")?, slice(b, lb, "layer_norm")?];
            Ok(storage(vectorised(Normalise::<T> { x: slice(x, lx, "layer_norm")?, w, b, eps: self.eps }), lx.shape()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_gradients;
    use super::layer_norm;
    use candle_core::{Device, Tensor};

    #[test]
    fn gradients_agree_with_finite_differences() {
        check_gradients(&[&[3, 7], &[7], &[7]], |x| layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5));
        check_gradients(&[&[2, 19], &[19]], |x| layer_norm(&x[0], &x[1], None, 1e-3));
    }

    #[test]
    fn a_row_comes_out_centred_and_scaled() {
        // x = (1, 2, 6): mean 3, squares 4 + 1 + 9 = 14, so the deviation is sqrt(14 / 3).
        let tensor = |v: &[f64]| Tensor::new(v, &Device::Cpu).unwrap();
        let (x, w, b) =
            (tensor(&[1.0, 2.0, 6.0]).reshape((1, 3)).unwrap(), tensor(&[1.0, 2.0, 1.0]), tensor(&[0.0, 0.5, 10.0]));
        let y = layer_norm(&x, &w, Some(&b), 0.0).unwrap().to_vec2::<f64>().unwrap();
        let s = (14.0_f64 / 3.0).sqrt();
        for (got, want) in y[0].iter().zip([-2.0 / s, 0.5 - 2.0 / s, 10.0 + 3.0 / s]) {
            assert!((got - want).abs() < 1e-12, "{y:?}");
        }
    }

    #[test]
    fn a_large_mean_costs_no_variance() {
        // In f32 the mean square of values around 10,000 has an ulp of 8; the squares of what is left do not see it.
        let row: Vec<f32> = (0..64).map(|i| 10_000.0 + (i % 2) as f32).collect();
        let x = Tensor::from_vec(row, (1, 64), &Device::Cpu).unwrap();
        let w = Tensor::ones(64, candle_core::DType::F32, &Device::Cpu).unwrap();
        let y = layer_norm(&x, &w, None, 0.0).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0].iter().enumerate().all(|(i, y)| (y - if i % 2 == 0 { -1.0 } else { 1.0 }).abs() < 1e-3), "{y:?}");
    }
}
