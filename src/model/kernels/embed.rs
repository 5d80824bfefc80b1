//! The embedding.

use super::{by_type, read, tape};
use candle_core::{Result, Tensor};

/// The rows of `table [d_vocab, d_model]` at `ids`.
pub fn embed(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let index = Tensor::from_slice(ids, ids.len(), table.device())?;
    let y = table.index_select(&index, 0)?;
    if !tape::is_wanted(table) {
        return Ok(y);
    }
    let (shape, ids) = (table.shape().clone(), ids.to_vec());
    tape::push(&[table], &y, move |grad, _| {
        let (grad, d) = (grad.contiguous()?, shape.dims()[1]);
        by_type!(grad.dtype(), "embed", T => {
            let mut sum = vec![<T as super::num::Float>::ZERO; shape.elem_count()];
            read::<T, _>(&grad, |grad| {
                for (id, grad) in ids.iter().zip(grad.chunks_exact(d)) {
                    let row = &mut sum[*id as usize * d..][..d];
                    row.iter_mut().zip(grad).for_each(|(s, g)| *s += *g);
                }
                Ok(())
            })?;
            Ok(vec![Some(Tensor::from_vec(sum, shape, grad.device())?)])
        })
    });
    Ok(y)
}

#[cfg(test)]
mod tests {
    #[test]
    fn gradient_agrees_with_finite_differences() {
        // Row 2 is read twice, row 1 never.
        super::super::testing::check_gradients(&[&[4, 3]], |x| super::embed(&x[0], &[2, 0, 2, 3]));
    }
}
