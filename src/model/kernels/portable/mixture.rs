//! Mixtures of experts: their answers to the rows that came to them, added up.

use super::{index, wide};
use candle_core::{DType, Result, Tensor};

/// The weighted sum over the experts of each row, `[row, d]`, in the dtype of the answers; summed in f32, experts in order.
///
/// `answers[e] [n, d]` are those of one expert to the rows in `slots[e]`, slot `row * k + rank`; `weights [row, k]`.
pub fn combine(answers: &[Tensor], slots: &[Vec<usize>], weights: &Tensor) -> Result<Tensor> {
    let (rows, k) = weights.dims2()?;
    let (d, dtype) =
        answers.first().map_or(Ok((0, weights.dtype())), |a| Ok::<_, candle_core::Error>((a.dim(1)?, a.dtype())))?;
    let fits = |(a, s): (&Tensor, &Vec<usize>)| a.dims() == [s.len(), d] && s.iter().all(|s| *s < rows * k);
    if answers.len() != slots.len() || !answers.iter().zip(slots).all(fits) {
        candle_core::bail!("combine: answers of {} experts do not fit the slots of {}", answers.len(), slots.len())
    }
    let device = weights.device();
    let weights = wide(weights)?.contiguous()?.reshape((rows * k, 1))?;
    let mut sum = Tensor::zeros((rows, d), DType::F32, device)?;
    for (answer, slots) in answers.iter().zip(slots).filter(|(_, slots)| !slots.is_empty()) {
        let weighted =
            wide(answer)?.broadcast_mul(&weights.index_select(&index(slots.iter().copied(), device)?, 0)?)?;
        sum = sum.index_add(&index(slots.iter().map(|s| s / k), device)?, &weighted, 0)?;
    }
    sum.to_dtype(dtype)
}
