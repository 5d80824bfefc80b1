//! The residual addition. candle's own waits on a pool that all workers share.

use super::{Kernel, Real, by_dtype, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

struct Add;

/// `a + b`, elementwise, shapes equal.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let sum = add_untaped(a, b)?;
    tape::push(&[a, b], &sum, |grad, _| Ok(vec![Some(grad.clone()), Some(grad.clone())]));
    Ok(sum)
}

/// The same, of which no gradient will be asked.
pub(super) fn add_untaped(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Add)
}

struct Sum<'a, T>(&'a [T], &'a [T]);

impl<T: Real> Kernel for Sum<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        self.0.iter().zip(self.1).map(|(a, b)| *a + *b).collect()
    }
}

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        if la.shape() != lb.shape() {
            candle_core::bail!("cannot add {:?} to {:?}", lb.shape(), la.shape())
        }
        by_dtype!(a, "add", T => Ok(storage(vectorised(Sum::<T>(slice(a, la, "add")?, slice(b, lb, "add")?)), la.shape())))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gradient_agrees_with_finite_differences() {
        super::super::testing::check_gradients(&[&[3, 5], &[3, 5]], |x| super::add(&x[0], &x[1]));
    }
}
