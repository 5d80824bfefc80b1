//! The gated activation of Llama-like MLPs (Shazeer 2020): `silu(gate) * up`, from one fused product.

use super::{Kernel, Real, by_dtype, slice, storage, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

struct SwiGlu;

/// `[row, 2 * d_mlp]`, gate first, to `[row, d_mlp]`.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if !gate_up.device().is_cpu() {
        let d = gate_up.dim(1)? / 2;
        return gate_up.narrow(1, 0, d)?.silu()? * gate_up.narrow(1, d, d)?;
    }
    gate_up.contiguous()?.apply_op1(SwiGlu)
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

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let x = x.detach();
        let d = x.dim(1)? / 2;
        let (gate, up) = (x.narrow(1, 0, d)?, x.narrow(1, d, d)?);
        let s = ((gate.neg()?.exp()? + 1.0)?).recip()?;
        let silu = (&gate * &s)?;
        // silu' = s + silu (1 - s)
        let slope = (&s + (&silu * (1.0 - &s)?)?)?;
        Ok(Some(Tensor::cat(&[((grad * &up)? * slope)?, (grad * silu)?], 1)?))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gradient_agrees_with_finite_differences() {
        super::super::testing::check_gradients(&[&[3, 10]], |x| super::swiglu(&x[0]));
    }
}
