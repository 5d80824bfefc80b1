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

/// Columns of `x [row, d]` in another order, each of them once: column i of the result is column `order[i]`.
pub fn columns(x: &Tensor, order: &[u32]) -> Result<Tensor> {
    let index = Tensor::from_slice(order, order.len(), x.device())?;
    let y = x.index_select(&index, 1)?;
    tape::push(&[x], &y, move |grad, _| {
        let mut back = vec![0; index.dim(0)?];
        index.to_vec1::<u32>()?.into_iter().enumerate().for_each(|(to, from)| back[from as usize] = to as u32);
        let back = Tensor::from_vec(back, index.dim(0)?, grad.device())?;
        Ok(vec![Some(grad.index_select(&back, 1)?)])
    });
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
        check_gradients(&[&[2, 4]], |x| columns(&x[0], &[2, 0, 3, 1]));
    }
}
