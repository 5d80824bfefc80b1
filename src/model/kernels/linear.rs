//! The matrix product with weights stored `[in, out]`.
//!
//! That storage is not a matter of taste: with AVX-512 kernels the packing of a transposed right-hand side costs more
//! than the product itself for batches of 2 to 64 rows.

use super::products::{Matrix, multiply};
use super::{Real, by_dtype, by_type, read, slice, storage, tape};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

struct Linear;

/// Up to this many rows and columns `gemm` cuts long sums elsewhere than for larger products.
const SMALL: usize = 64;

/// How many rows one product may have, so that the order of summation does not depend on how many there are.
pub(super) fn rows_at_once(d_out: usize) -> usize {
    if d_out <= SMALL { SMALL } else { usize::MAX }
}

/// `x [row, in] @ w [in, out]`. What is not trained gets no gradient.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let y = x.apply_op2_no_bwd(&w, &Linear)?;
    let inputs = (x.clone(), w.clone());
    tape::push(&[&x, &w], &y, move |grad, wanted| back(&inputs.0, &inputs.1, grad, wanted));
    Ok(y)
}

pub(super) fn back(x: &Tensor, w: &Tensor, grad: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
    let ((rows, d_in), d_out) = (x.dims2()?, w.dim(1)?);
    let grad = grad.contiguous()?;
    by_type!(x.dtype(), "linear", T => read::<T, _>(&grad, |g| {
        let g = Matrix::new(g, rows, d_out);
        let dx = wanted[0].then(|| read::<T, _>(w, |w| {
            Tensor::from_vec(multiply(g, Matrix::new(w, d_in, d_out).t()), (rows, d_in), x.device())
        }));
        let dw = wanted[1].then(|| read::<T, _>(x, |x| {
            Tensor::from_vec(multiply(Matrix::new(x, rows, d_in).t(), g), (d_in, d_out), w.device())
        }));
        Ok(vec![dx.transpose()?, dw.transpose()?])
    }))
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
    multiply(Matrix::new(x, rows, d_in), Matrix::new(w, d_in, d_out))
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
}

#[cfg(test)]
mod tests {
    use super::super::tape;
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
        let (y, tape) = tape::record(|| linear(x.as_tensor(), &w)).unwrap();
        let mut grads = tape.backward(&y, y.ones_like().unwrap()).unwrap();
        assert!(grads.take(&w).is_none());
        assert!(grads.take(x.as_tensor()).is_some());
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
