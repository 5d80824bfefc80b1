//! The gated activation of Llama-like MLPs (Shazeer 2020): `silu(gate) * up`, from one fused product.

use super::{Kernel, Real, by_dtype, by_type, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

struct SwiGlu;

/// `[row, 2 * d_mlp]`, gate first, to `[row, d_mlp]`.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if !gate_up.device().is_cpu() {
        let d = gate_up.dim(1)? / 2;
        return gate_up.narrow(1, 0, d)?.silu()? * gate_up.narrow(1, d, d)?;
    }
    let x = gate_up.contiguous()?;
    let y = x.apply_op1_no_bwd(&SwiGlu)?;
    let input = x.clone();
    tape::push(&[&x], &y, move |grad, _| {
        let (grad, d) = (grad.contiguous()?, input.dim(1)? / 2);
        by_type!(input.dtype(), "swiglu", T => {
            let dx = read::<T, _>(&input, |x| read::<T, _>(&grad, |grad| Ok(vectorised(Back { x, grad, d }))))?;
            Ok(vec![Some(Tensor::from_vec(dx, input.shape(), input.device())?)])
        })
    });
    Ok(y)
}

/// The gradient of gate and up.
struct Back<'a, T> {
    x: &'a [T],
    grad: &'a [T],
    d: usize,
}

impl<T: Real> Kernel for Back<'_, T> {
    type Out = Vec<T>;
    /// With s the logistic function of the gate: silu' = s (1 + gate (1 - s)).
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Back { x, grad, d } = self;
        let mut out = vec![T::ZERO; x.len()];
        for ((row, grad), dx) in x.chunks_exact(2 * d).zip(grad.chunks_exact(d)).zip(out.chunks_exact_mut(2 * d)) {
            let ((gate, up), (d_gate, d_up)) = (row.split_at(d), dx.split_at_mut(d));
            for ((((dg, du), g), u), grad) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(grad) {
                let s = T::ONE / (T::ONE + (-*g).exp_fast());
                *dg = *grad * *u * s * (T::ONE + *g * (T::ONE - s));
                *du = *grad * *g * s;
            }
        }
        out
    }
}

struct Gate<'a, T> {
    x: &'a [T],
    d: usize,
}

impl<T: Real> Kernel for Gate<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Gate { x, d } = self;
        let mut out = vec![T::ZERO; x.len() / 2];
        for (row, y) in x.chunks_exact(2 * d).zip(out.chunks_exact_mut(d)) {
            let (gate, up) = row.split_at(d);
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = *g / (T::ONE + (-*g).exp_fast()) * *u;
            }
        }
        out
    }
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = l.shape().dims2()?;
        if !width.is_multiple_of(2) {
            candle_core::bail!("swiglu: {width} columns are not a gate and an up of one size")
        }
        by_dtype!(x, "swiglu", T => Ok(storage(vectorised(Gate::<T> { x: slice(x, l, "swiglu")?, d: width / 2 }), (rows, width / 2))))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gradient_agrees_with_finite_differences() {
        super::super::testing::check_gradients(&[&[3, 10]], |x| super::swiglu(&x[0]));
    }
}
