//! The matrix product with weights stored `[in, out]`.
//!
//! That storage is not a matter of taste: with AVX-512 kernels the packing of a transposed right-hand side costs more
//! than the product itself for batches of 2 to 64 rows.

use super::{Real, by_dtype, slice, storage};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

struct Linear;

/// Up to this many rows and columns `gemm` cuts long sums elsewhere than for larger products.
const SMALL: usize = 64;

/// How many rows one product may have, so that the order of summation does not depend on how many there are.
pub(super) fn rows_at_once(d_out: usize) -> usize {
    if d_out <= SMALL { SMALL } else { usize::MAX }
}

/// `x [row, in] @ w [in, out]`. A weight that is not a variable gets no gradient: candle would compute and keep one.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.matmul(w);
    }
    x.contiguous()?.apply_op2(&w.contiguous()?, Linear)
}

pub(super) fn run<T: Real>(x: &[T], w: &[T], rows: usize, d_in: usize, d_out: usize) -> Vec<T> {
    // A single row would take another path (a matrix-vector product) with another order of summation, and its result
    // would depend on the company it is in. Two rows always take the general one.
    if rows == 1 {
        let twice = [x, x].concat();
        let mut out = run(&twice, w, 2, d_in, d_out);
        out.truncate(d_out);
        return out;
    }
    let most = rows_at_once(d_out);
    if rows > most {
        let pieces = x.chunks(most * d_in).map(|x| run(x, w, x.len() / d_in, d_in, d_out));
        return pieces.collect::<Vec<_>>().concat();
    }
    let mut out: Vec<T> = Vec::with_capacity(rows * d_out);
    if rows > 0 && d_out > 0 {
        // SAFETY: the three pointers cover rows * d_out, rows * d_in and d_in * d_out elements with the strides given,
        // checked by the caller; with `read_dst` false every element of `out` is written and none is read.
        unsafe {
            gemm::gemm(
                rows,
                d_out,
                d_in,
                out.as_mut_ptr(),
                1,
                d_out as isize,
                false,
                x.as_ptr(),
                1,
                d_in as isize,
                w.as_ptr(),
                1,
                d_out as isize,
                T::ZERO,
                T::ONE,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
            out.set_len(rows * d_out);
        }
    }
    out
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((rows, d_in), (w_in, d_out)) = (lx.shape().dims2()?, lw.shape().dims2()?);
        if d_in != w_in {
            candle_core::bail!("linear: input [{rows}, {d_in}] does not fit a weight [{w_in}, {d_out}]")
        }
        by_dtype!(x, "linear", T => {
            let out = run::<T>(slice(x, lx, "linear")?, slice(w, lw, "linear")?, rows, d_in, d_out);
            Ok(storage(out, (rows, d_out)))
        })
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dx = x.track_op().then(|| linear(&grad, &w.detach().t()?.contiguous()?)).transpose()?;
        let dw = w.track_op().then(|| linear(&x.detach().t()?.contiguous()?, &grad)).transpose()?;
        Ok((dx, dw))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::linear;
    use candle_core::{Device, Tensor, Var};

    #[test]
    fn gradient_agrees_with_finite_differences() {
        check_gradients(&[&[4, 3], &[3, 5]], |x| linear(&x[0], &x[1]));
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient_and_the_input_still_does() {
        let x = Var::from_vec(values(1, 6), (2, 3), &Device::Cpu).unwrap();
        let w = Tensor::from_vec(values(2, 12), (3, 4), &Device::Cpu).unwrap();
        let grads = linear(x.as_tensor(), &w).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&w).is_none());
        assert!(grads.get(x.as_tensor()).is_some());
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let f32s = |seed, n| values(seed, n).into_iter().map(|v| v as f32).collect::<Vec<_>>();
        for (d_in, d_out) in
            [(96, 192), (96, 512), (256, 96), (96, 1536), (31, 7), (96, 1), (96, 2), (1100, 8), (1, 70), (2, 70)]
        {
            let w = Tensor::from_vec(f32s(3, d_in * d_out), (d_in, d_out), &Device::Cpu).unwrap();
            let x = Tensor::from_vec(f32s(4, 131 * d_in), (131, d_in), &Device::Cpu).unwrap();
            let whole = linear(&x, &w).unwrap().to_vec2::<f32>().unwrap();
            for (from, n) in [(0, 1), (1, 2), (5, 3), (9, 17), (40, 64), (0, 130)] {
                let part = linear(&x.narrow(0, from, n).unwrap(), &w).unwrap().to_vec2::<f32>().unwrap();
                assert_eq!(part[..], whole[from..from + n], "{n} rows of [{d_in}, {d_out}]");
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let t = |r, c| Tensor::zeros((r, c), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = linear(&t(2, 3), &t(4, 5)).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]"), "{error}");
    }
}
