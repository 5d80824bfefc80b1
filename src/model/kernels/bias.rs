//! A bias, added to every row.

use super::{Kernel, Real, by_dtype, by_type, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x [row, d] + b [d]`.
pub fn add_bias(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (x, b) = (x.contiguous()?, b.contiguous()?);
    let y = x.apply_op2_no_bwd(&b, &AddBias)?;
    let shape = b.shape().clone();
    tape::push(&[&x, &b], &y, move |grad, wanted| {
        let of_bias = || {
            let grad = grad.contiguous()?;
            by_type!(grad.dtype(), "add_bias", T => {
                let sums = read::<T, _>(&grad, |grad| Ok(vectorised(Columns { x: grad, d: shape.elem_count() })))?;
                Tensor::from_vec(sums, shape, grad.device())
            })
        };
        Ok(vec![Some(grad.clone()), wanted[1].then(of_bias).transpose()?])
    });
    Ok(y)
}

struct AddBias;

struct Sum<'a, T> {
    x: &'a [T],
    b: &'a [T],
}

impl<T: Real> Kernel for Sum<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let mut out = vec![T::ZERO; self.x.len()];
        let d = self.b.len().max(1);
        for (x, y) in self.x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            for ((y, x), b) in y.iter_mut().zip(x).zip(self.b) {
                *y = *x + *b;
            }
        }
        out
    }
}

/// The sum of every column of `x [row, d]`, rows in order.
struct Columns<'a, T> {
    x: &'a [T],
    d: usize,
}

impl<T: Real> Kernel for Columns<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let mut sums = vec![T::ZERO; self.d];
        for x in self.x.chunks_exact(self.d.max(1)) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += *x;
            }
        }
        sums
    }
}

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((_, d), d_b) = (lx.shape().dims2()?, lb.shape().dims1()?);
        if d != d_b {
            candle_core::bail!("add_bias: rows of {d} do not fit a bias of {d_b}")
        }
        by_dtype!(x, "add_bias", T => {
            Ok(storage(vectorised(Sum::<T> { x: slice(x, lx, "add_bias")?, b: slice(b, lb, "add_bias")? }), lx.shape()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_gradients;
    use super::add_bias;
    use candle_core::{Device, Tensor};

    #[test]
    fn gradients_agree_with_finite_differences() {
        check_gradients(&[&[3, 5], &[5]], |x| add_bias(&x[0], &x[1]));
    }

    #[test]
    fn every_row_gets_the_bias() {
        let x = Tensor::new(&[[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let b = Tensor::new(&[10.0f32, -1.0], &Device::Cpu).unwrap();
        assert_eq!(add_bias(&x, &b).unwrap().to_vec2::<f32>().unwrap(), [[11.0, 1.0], [13.0, 3.0]]);
        assert!(
            add_bias(&x, &x.get(0).unwrap().narrow(0, 0, 1).unwrap()).unwrap_err().to_string().contains("bias of 1")
        );
    }
}
