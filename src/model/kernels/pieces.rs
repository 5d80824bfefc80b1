//! Pieces of tensors that keep their place on the tape.

use super::tape;
use candle_core::{Result, Tensor};
use std::ops::Range;

/// Some rows of `x [row, d]`.
pub fn rows(x: &Tensor, range: Range<usize>) -> Result<Tensor> {
    let n = x.dim(0)?;
    if range == (0..n) {
        return Ok(x.clone());
    }
    let y = x.narrow(0, range.start, range.len())?.contiguous()?;
    tape::push(&[x], &y, move |grad, _| Ok(vec![Some(grad.pad_with_zeros(0, range.start, n - range.end)?)]));
    Ok(y)
}

/// All numbers of some tensors, end to end.
pub fn end_to_end(tensors: &[Tensor]) -> Result<Tensor> {
    let flat = tensors.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?;
    let y = Tensor::cat(&flat, 0)?;
    let shapes: Vec<_> = tensors.iter().map(|t| t.shape().clone()).collect();
    tape::push(&tensors.iter().collect::<Vec<_>>(), &y, move |grad, wanted| {
        let mut at = 0;
        let piece = |(shape, wanted): (&candle_core::Shape, &bool)| {
            let n = shape.elem_count();
            at += n;
            wanted.then(|| grad.narrow(0, at - n, n)?.reshape(shape)).transpose()
        };
        shapes.iter().zip(wanted).map(piece).collect()
    });
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_gradients;
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        check_gradients(&[&[5, 2]], |x| rows(&x[0], 1..3));
        check_gradients(&[&[3, 2], &[4]], end_to_end);
    }
}
