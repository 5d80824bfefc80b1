//! Each kernel in whichever of its two forms fits the rows: our own, with a gradient, on the CPU; in tensor operations
//! where [`portable::applies`].

use super::{Act, CappedHead, LowRankPart, RopeTable, likelihood, portable};
use super::{
    act, add as add_, bias, layer_norm as layer_norm_, linear as linear_, low_rank, norm, norm_heads as heads,
};
use super::{moe, pointwise, rope as rope_};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// `a + b`, elementwise, shapes equal.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if portable::applies(a) { a + b } else { add_::add(a, b) }
}

/// `x [row, in] @ w [in, out]`. What is not trained gets no gradient.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    if portable::applies(x) { portable::linear(x, w) } else { linear_::linear(x, w) }
}

/// `x [row, out] + b [out]`.
pub fn add_bias(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    if portable::applies(x) { portable::add_bias(x, b) } else { bias::add_bias(x, b) }
}

/// `x [row, in] @ w [in, out]`, and on the block of each part `+ scale * h @ b`; `h` and `b` hold the factors of all parts
/// end to end.
pub fn linear_with_low_rank(x: &Tensor, w: &Tensor, h: &Tensor, b: &Tensor, parts: Vec<LowRankPart>) -> Result<Tensor> {
    if portable::applies(x) {
        return portable::with_low_rank(portable::linear(x, w)?, h, b, &parts);
    }
    low_rank::linear_with_low_rank(x, w, h, b, parts)
}

/// Normalises the rows of `x [row, d]` by their root mean square and scales them by `w [d]`.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    if portable::applies(x) { portable::rms_norm(x, w, eps) } else { norm::rms_norm(x, w, eps) }
}

/// Normalises the rows of `x [row, d]`, scales them by `w [d]` and moves them by `b [d]`, where there is one.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    if portable::applies(x) { portable::layer_norm(x, w, b, eps) } else { layer_norm_::layer_norm(x, w, b, eps) }
}

/// [`rms_norm`] of `heads` groups of `d_head` columns of `x [row, width]`, from column `first` on, each by itself, with one
/// weight `w [d_head]`. The other columns pass through.
pub fn norm_heads(x: &Tensor, w: &Tensor, first: usize, heads: usize, d_head: usize, eps: f64) -> Result<Tensor> {
    if portable::applies(x) {
        return portable::norm_heads(x, w, first, heads, d_head, eps);
    }
    heads::norm_heads(x, w, first, heads, d_head, eps)
}

/// Rotates the first `heads` heads of every row of `x [row, n * d_head]` by the row's place in the table.
pub fn rope(x: &Tensor, table: &Arc<RopeTable>, places: &Arc<Vec<u32>>, heads: usize, d_head: usize) -> Result<Tensor> {
    if portable::applies(x) {
        table.fits(x, places, heads, d_head)?;
        let (cos, sin) = table.angles(places, x)?;
        return portable::rope(x, &cos, &sin, heads, d_head);
    }
    rope_::rope(x, table, places, heads, d_head)
}

/// `-ln p(target)` of every row of `h [row, d_model]`, in nats; no gradient.
pub fn nll<'a>(h: &Tensor, head: impl Into<CappedHead<'a>>, targets: &[u32]) -> Result<Vec<f32>> {
    if portable::applies(h) { portable::nll(h, head.into(), targets) } else { likelihood::nll(h, head, targets) }
}

/// The weighted sum of the `answers` of some experts, `[row, d]`: each to the rows in its `slots`, with the `weights
/// [row, k]` of their slots.
pub fn combine(answers: &[Tensor], slots: &[Vec<usize>], weights: &Tensor) -> Result<Tensor> {
    if portable::applies(weights) {
        return portable::combine(answers, slots, weights);
    }
    moe::combine(answers, slots, weights)
}

/// `[row, 2 * d_mlp]`, gate first, to `act(gate) * up [row, d_mlp]`.
pub fn gated(gate_up: &Tensor, act: Act) -> Result<Tensor> {
    if portable::applies(gate_up) { portable::gated(gate_up, act) } else { act::gated(gate_up, act) }
}

/// `act(x)`, number by number.
pub fn activate(x: &Tensor, act: Act) -> Result<Tensor> {
    if portable::applies(x) { portable::activate(x, act) } else { act::activate(x, act) }
}

/// `x * factor`.
pub fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    if portable::applies(x) { portable::scaled(x, factor) } else { pointwise::scaled(x, factor) }
}

/// `cap * tanh(x / cap)`.
pub fn softcap(x: &Tensor, cap: f64) -> Result<Tensor> {
    if portable::applies(x) { portable::softcap(x, cap) } else { pointwise::softcap(x, cap) }
}
