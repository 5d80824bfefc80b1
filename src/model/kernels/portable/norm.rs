//! Norms, computed in f32.

use super::wide;
use candle_core::{D, Result, Tensor};

/// `w * x / sqrt(mean(x^2) + eps)` over the rows of `x [row, d]`. In the dtype of `x`, whatever `w [d]` is held in.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let x = x.contiguous()?;
    // The fused kernel computes in f32 inside, but takes a weight only of the dtype of the rows.
    if x.dtype() == w.dtype() {
        return candle_nn::ops::rms_norm(&x, &w.contiguous()?, eps as f32);
    }
    candle_nn::ops::rms_norm(&wide(&x)?, &wide(w)?.contiguous()?, eps as f32)?.to_dtype(x.dtype())
}

/// `w * (x - mean) / sqrt(var + eps) + b` over the rows of `x [row, d]`.
///
/// Not the fused kernel, which takes the variance as a difference of two means.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = wide(x)?;
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let y = x.broadcast_div(&deviation)?.broadcast_mul(&wide(w)?)?;
    let y = b.map_or_else(|| Ok(y.clone()), |b| y.broadcast_add(&wide(b)?))?;
    y.to_dtype(dtype)
}

/// [`rms_norm`] of `heads` groups of `d_head` columns from column `first` on; the other columns pass through.
pub fn norm_heads(x: &Tensor, w: &Tensor, first: usize, heads: usize, d_head: usize, eps: f64) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let groups = x.narrow(1, first, heads * d_head)?.contiguous()?.reshape((rows * heads, d_head))?;
    let normed = x.force_contiguous()?;
    normed.slice_set(&rms_norm(&groups, w, eps)?.reshape((rows, heads * d_head))?, 1, first)?;
    Ok(normed)
}
