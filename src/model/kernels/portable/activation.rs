//! What is done number by number, in f32: in bf16 every step of a formula would round.

use super::super::Act;
use super::wide;
use candle_core::{Result, Tensor};

/// `act(x)`.
pub fn activate(x: &Tensor, act: Act) -> Result<Tensor> {
    curve(&wide(x)?, act)?.to_dtype(x.dtype())
}

/// `[row, 2 * d_mlp]`, gate first, to `act(gate) * up [row, d_mlp]`.
pub fn gated(gate_up: &Tensor, act: Act) -> Result<Tensor> {
    let x = wide(gate_up)?;
    let d = x.dim(1)? / 2;
    (curve(&x.narrow(1, 0, d)?, act)? * x.narrow(1, d, d)?)?.to_dtype(gate_up.dtype())
}

/// `cap * tanh(x / cap)`.
pub fn softcap(x: &Tensor, cap: f64) -> Result<Tensor> {
    ((wide(x)? / cap)?.tanh()? * cap)?.to_dtype(x.dtype())
}

/// `x * factor`.
pub fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    (wide(x)? * factor)?.to_dtype(x.dtype())
}

fn curve(x: &Tensor, act: Act) -> Result<Tensor> {
    match act {
        Act::Silu => x.silu(),
        Act::GeluTanh => x.gelu(),
        Act::Gelu => x.gelu_erf(),
    }
}
