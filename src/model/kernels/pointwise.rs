//! Functions of single numbers: a factor, and the soft cap of logits.

use super::{Kernel, Real, by_dtype, by_type, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// `factor * x`.
pub fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = x.apply_op1_no_bwd(&Pointwise::Scale(factor))?;
    tape::push(&[&x], &y, move |grad, _| {
        Ok(vec![Some(grad.contiguous()?.apply_op1_no_bwd(&Pointwise::Scale(factor))?)])
    });
    Ok(y)
}

/// `cap * tanh(x / cap)`: nearly `x` for small numbers, never above `cap` (Bello et al. 2017, as in Gemma 2).
pub fn softcap(x: &Tensor, cap: f64) -> Result<Tensor> {
    if cap <= 0.0 {
        candle_core::bail!("softcap: the cap must be positive, not {cap}")
    }
    let x = x.contiguous()?;
    let y = x.apply_op1_no_bwd(&Pointwise::Cap(cap))?;
    let result = y.clone();
    tape::push(&[&x], &y, move |grad, _| {
        let grad = grad.contiguous()?;
        let dx = by_type!(result.dtype(), "softcap", T => {
            let dx = read::<T, _>(&result, |y| read::<T, _>(&grad, |grad| Ok(vectorised(CapBack { y, grad, cap }))))?;
            Tensor::from_vec(dx, result.shape(), result.device())?
        });
        Ok(vec![Some(dx)])
    });
    Ok(y)
}

enum Pointwise {
    Scale(f64),
    Cap(f64),
}

struct Scale<'a, T>(&'a [T], f64);

impl<T: Real> Kernel for Scale<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let factor = T::of(self.1);
        self.0.iter().map(|x| *x * factor).collect()
    }
}

struct Cap<'a, T>(&'a [T], f64);

impl<T: Real> Kernel for Cap<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let mut out = self.0.to_vec();
        cap_all(&mut out, T::of(self.1));
        out
    }
}

/// `cap * tanh(x / cap)` in place.
#[inline(always)]
pub(super) fn cap_all<T: Real>(xs: &mut [T], cap: T) {
    for x in xs {
        *x = cap * (*x / cap).tanh_fast();
    }
}

/// The gradient from the result: the slope of the cap is `1 - (y / cap)^2`.
struct CapBack<'a, T> {
    y: &'a [T],
    grad: &'a [T],
    cap: f64,
}

impl<T: Real> Kernel for CapBack<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let inv = T::of(1.0 / self.cap);
        let mut out = self.grad.to_vec();
        for (g, y) in out.iter_mut().zip(self.y) {
            let t = *y * inv;
            *g *= T::ONE - t * t;
        }
        out
    }
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        match self {
            Pointwise::Scale(_) => "scaled",
            Pointwise::Cap(_) => "softcap",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        by_dtype!(x, self.name(), T => {
            let x = slice::<T>(x, l, self.name())?;
            let y = match self {
                Pointwise::Scale(factor) => vectorised(Scale(x, *factor)),
                Pointwise::Cap(cap) => vectorised(Cap(x, *cap)),
            };
            Ok(storage(y, l.shape()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_gradients;
    use super::{scaled, softcap};
    use candle_core::{Device, Tensor};

    #[test]
    fn gradients_agree_with_finite_differences() {
        check_gradients(&[&[3, 7]], |x| scaled(&x[0], -2.5));
        check_gradients(&[&[3, 7]], |x| softcap(&x[0], 0.7));
    }

    #[test]
    fn a_cap_bends_what_comes_near_it() {
        let x = Tensor::new(&[[0.3f64, -3.0, 30.0]], &Device::Cpu).unwrap();
        let y = softcap(&x, 3.0).unwrap().to_vec2::<f64>().unwrap();
        for (got, want) in y[0].iter().zip([3.0 * 0.1f64.tanh(), -3.0 * 1f64.tanh(), 3.0 * 10f64.tanh()]) {
            assert!((got - want).abs() < 1e-15, "{y:?}");
        }
        assert!(softcap(&x, 0.0).unwrap_err().to_string().contains("positive"));
    }

    #[test]
    fn a_factor_scales() {
        let x = Tensor::new(&[[1.0f32, -2.0]], &Device::Cpu).unwrap();
        assert_eq!(scaled(&x, 1.5).unwrap().to_vec2::<f32>().unwrap(), [[1.5, -3.0]]);
    }
}
