//! A weight in one of its two forms: a tensor, or packed for the CPU.

use super::kernels::{self, LowRankPart, Packed};
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// A matrix `[in, out]` that rows are multiplied with.
#[derive(Clone)]
pub enum Weight {
    /// On any device, and where gradients are wanted.
    Plain(Tensor),
    /// On the CPU, where it is only run: in panels, of f32 or of 16 bits; products are in f32.
    Packed(Arc<Packed>),
}

impl Weight {
    /// Inputs and outputs.
    ///
    /// # Errors
    /// A tensor that is no matrix.
    pub fn dims(&self) -> Result<(usize, usize)> {
        Ok(match self {
            Weight::Plain(w) => w.dims2()?,
            Weight::Packed(w) => (w.d_in(), w.d_out()),
        })
    }

    /// The numbers `[in, out]`: the tensor itself, or in f32 what is packed.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Weight::Plain(w) => w.clone(),
            Weight::Packed(w) => w.to_tensor()?,
        })
    }

    /// Inputs.
    pub fn d_in(&self) -> usize {
        match self {
            Weight::Plain(w) => w.dims().first().copied().unwrap_or(0),
            Weight::Packed(w) => w.d_in(),
        }
    }

    /// `x [row, in]` to `[row, out]`.
    pub fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Weight::Plain(w) => kernels::linear(x, w)?,
            Weight::Packed(w) => kernels::linear_packed(x, w)?,
        })
    }

    /// The same and the low-rank parts, as [`kernels::linear_with_low_rank`] adds them.
    pub fn multiply_with_low_rank(
        &self,
        x: &Tensor,
        h: &Tensor,
        b: &Tensor,
        parts: Vec<LowRankPart>,
    ) -> Result<Tensor> {
        Ok(match self {
            Weight::Plain(w) => kernels::linear_with_low_rank(x, w, h, b, parts)?,
            Weight::Packed(w) => kernels::packed_with_low_rank(x, w, h, b, &parts)?,
        })
    }

    /// The sum with `delta [in, out]`, in f32.
    pub fn plus(&self, delta: &Tensor) -> Result<Weight> {
        Ok(match self {
            Weight::Plain(w) => {
                let sum = (w.to_dtype(DType::F32)? + delta.to_device(w.device())?)?;
                Weight::Plain(sum.to_dtype(w.dtype())?)
            }
            Weight::Packed(w) => Weight::Packed(Arc::new(Packed::of(DType::F32, &(w.to_tensor()? + delta)?)?)),
        })
    }

    /// Whether it is being trained.
    pub fn is_variable(&self) -> bool {
        matches!(self, Weight::Plain(w) if w.is_variable())
    }
}

/// What tokens become.
pub enum Embedding {
    /// `[d_vocab, d_model]`
    Table(Tensor),
    /// A packed weight `[d_model, d_vocab]`, of which a token takes a column: the head can be the same one.
    Packed(Arc<Packed>),
}

impl Embedding {
    /// Tokens and their width.
    ///
    /// # Errors
    /// A table that is no matrix.
    pub fn dims(&self) -> Result<(usize, usize)> {
        Ok(match self {
            Embedding::Table(table) => table.dims2()?,
            Embedding::Packed(w) => (w.d_out(), w.d_in()),
        })
    }

    /// The rows of some tokens, `[token, d_model]`.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        Ok(match self {
            Embedding::Table(table) => kernels::embed(table, ids)?,
            Embedding::Packed(w) => Tensor::from_vec(w.gather(ids)?, (ids.len(), w.d_in()), &Device::Cpu)?,
        })
    }
}
