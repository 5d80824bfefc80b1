//! Weights by what they are for: linear maps of blocks, the head, and what of them is trained.

use super::kernels;
use crate::error::Result;
use candle_core::{Tensor, Var};
use std::ops::Range;

/// A module of the checkpoint inside a fused linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// As checkpoints and adapters call it: `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Its outputs among those of the map.
    pub columns: Range<usize>,
}

/// A linear map of a block: one product for all modules that read the same rows.
pub struct Projection {
    /// `[in, out]`
    pub weight: Tensor,
    pub modules: Vec<Module>,
}

/// How hidden states become logits.
pub enum Unembedding {
    /// `[d_model, d_vocab]`
    Own(Tensor),
    /// The embedding `[d_vocab, d_model]` itself, where it is trained.
    Tied(Tensor),
}

impl Unembedding {
    /// As the loss takes it.
    pub fn kernel(&self) -> kernels::HeadWeight<'_> {
        match self {
            Unembedding::Own(w) => kernels::HeadWeight::Own(w),
            Unembedding::Tied(w) => kernels::HeadWeight::Tied(w),
        }
    }

    /// `[row, d_model]` to `[row, d_vocab]`.
    pub fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Unembedding::Own(w) => kernels::linear(normed, w)?,
            Unembedding::Tied(w) => kernels::linear(normed, &w.t()?)?,
        })
    }
}

/// A tensor of the checkpoint inside a trained one.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name in the file.
    pub name: String,
    /// Its columns; the file stores them as rows. `None`: the tensor itself.
    pub columns: Option<Range<usize>>,
}

/// A trained tensor and the tensors of the checkpoint that it holds.
pub struct Parameter {
    pub var: Var,
    pub parts: Vec<Part>,
}

impl Parameter {
    /// The tensors of the checkpoint, by name, in the layout of the file.
    pub fn export(&self) -> Result<Vec<(String, Tensor)>> {
        let one = |part: &Part| {
            let whole = self.var.as_tensor().detach();
            let tensor = match &part.columns {
                None => whole,
                Some(c) => whole.narrow(1, c.start, c.len())?.t()?.contiguous()?,
            };
            Ok((part.name.clone(), tensor))
        };
        self.parts.iter().map(one).collect()
    }
}
