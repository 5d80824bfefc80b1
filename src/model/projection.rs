//! Weights by what they are for: linear maps of blocks, the head, and what of them is trained.

use super::kernels::{self, CappedHead, HeadWeight};
use super::weight::Weight;
use crate::axes::Layer;
use crate::error::Result;
use candle_core::{Tensor, Var};
use std::ops::Range;
use std::sync::Arc;

/// A module of the checkpoint inside a fused linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// As checkpoints and adapters call it: `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Its outputs among those of the map.
    pub columns: Range<usize>,
    /// Where its outputs stand in the file, if in another order.
    pub order: Option<Arc<Vec<u32>>>,
}

/// A linear map of a block: one product for all modules that read the same rows.
pub struct Projection {
    /// `[in, out]`
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Tensor>,
    pub modules: Vec<Module>,
}

impl Projection {
    /// `x [row, in]` to `[row, out]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.biased(self.weight.multiply(x)?)
    }

    /// The product `y` with the bias.
    pub(super) fn biased(&self, y: Tensor) -> Result<Tensor> {
        Ok(match &self.bias {
            Some(bias) => kernels::add_bias(&y, bias)?,
            None => y,
        })
    }
}

/// A linear map whose outputs are added to the residual stream.
pub struct Writer<'a> {
    pub layer: Layer,
    pub map: &'a Projection,
    /// What a norm behind the map multiplies each output by, `[d_model]`; its division by the length of the row is one
    /// number for all of them, and left out.
    pub gain: Option<&'a Tensor>,
}

/// How hidden states become logits.
pub struct Unembedding {
    pub matrix: HeadMatrix,
    /// Logits l become `cap * tanh(l / cap)`.
    pub cap: Option<f64>,
}

/// The matrix of a head.
pub enum HeadMatrix {
    /// `[d_model, d_vocab]`
    Own(Weight),
    /// The embedding `[d_vocab, d_model]` itself, where it is trained.
    Tied(Tensor),
}

impl Unembedding {
    /// As the loss takes it.
    pub fn kernel(&self) -> CappedHead<'_> {
        let weight = match &self.matrix {
            HeadMatrix::Own(Weight::Plain(w)) => HeadWeight::Own(w),
            HeadMatrix::Own(Weight::Packed(w)) => HeadWeight::Packed(w),
            HeadMatrix::Tied(w) => HeadWeight::Tied(w),
        };
        CappedHead { weight, cap: self.cap }
    }

    /// `[row, d_model]` to `[row, d_vocab]`.
    pub fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        let logits = match &self.matrix {
            HeadMatrix::Own(w) => w.multiply(normed)?,
            HeadMatrix::Tied(w) => kernels::linear(normed, &w.t()?)?,
        };
        Ok(match self.cap {
            Some(cap) => kernels::softcap(&logits, cap)?,
            None => logits,
        })
    }
}

/// A tensor of the checkpoint inside a trained one.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name in the file.
    pub name: String,
    /// Its columns. `None`: all.
    pub columns: Option<Range<usize>>,
    /// The file stores its columns as rows.
    pub turned: bool,
    /// Where its columns stand in the file, if in another order.
    pub order: Option<Arc<Vec<u32>>>,
    /// What was added to what the file has.
    pub offset: f64,
}

impl Part {
    /// The trained tensor as it is.
    pub fn whole(name: &str) -> Part {
        Part { name: name.into(), columns: None, turned: false, order: None, offset: 0.0 }
    }

    /// The tensor of the file.
    fn export(&self, trained: &Tensor) -> Result<Tensor> {
        let last = trained.rank() - 1;
        let mut tensor = match &self.columns {
            None => trained.clone(),
            Some(c) => trained.narrow(last, c.start, c.len())?.contiguous()?,
        };
        if let Some(order) = &self.order {
            let mut back = vec![0; order.len()];
            order.iter().enumerate().for_each(|(ours, file)| back[*file as usize] = ours as u32);
            tensor = tensor.index_select(&Tensor::from_vec(back, order.len(), tensor.device())?, last)?;
        }
        if self.offset != 0.0 {
            tensor = (tensor - self.offset)?;
        }
        Ok(if self.turned { tensor.t()?.contiguous()? } else { tensor })
    }
}

/// A trained tensor and the tensors of the checkpoint that it holds.
pub struct Parameter {
    pub var: Var,
    pub parts: Vec<Part>,
}

impl Parameter {
    /// The tensors of the checkpoint, by name, in the layout of the file.
    pub fn export(&self) -> Result<Vec<(String, Tensor)>> {
        let whole = self.var.as_tensor().detach();
        self.parts.iter().map(|part| Ok((part.name.clone(), part.export(&whole)?))).collect()
    }
}
