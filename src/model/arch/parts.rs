//! What blocks are made of.

use super::experts::Experts;
use crate::error::Result;
use crate::model::Pass;
use crate::model::kernels::{self, Act, Attention};
use crate::model::projection::Projection;
use crate::model::weights::Weights;
use candle_core::Tensor;

/// A normalisation of rows.
pub enum Norm {
    /// `weight * x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich 2019).
    Rms { weight: Tensor, eps: f64 },
    /// `weight * (x - mean) / sqrt(var + eps) + bias` (Ba et al. 2016).
    Layer { weight: Tensor, bias: Tensor, eps: f64 },
}

impl Norm {
    /// The root-mean-square norm `{name}.weight [d]`; what is multiplied is `offset` plus what is stored.
    pub fn rms(weights: &mut Weights, name: &str, d: usize, eps: f64, offset: f64) -> Result<Norm> {
        Ok(Norm::Rms { weight: weights.norm(&format!("{name}.weight"), d, offset)?, eps })
    }

    /// The layer norm `{name}.weight [d]`, `{name}.bias [d]`.
    pub fn layer(weights: &mut Weights, name: &str, d: usize, eps: f64) -> Result<Norm> {
        let weight = weights.norm(&format!("{name}.weight"), d, 0.0)?;
        Ok(Norm::Layer { weight, bias: weights.tensor(&format!("{name}.bias"), &[d])?, eps })
    }

    /// What it multiplies each column by, `[d]`.
    pub fn gain(&self) -> &Tensor {
        let (Norm::Rms { weight, .. } | Norm::Layer { weight, .. }) = self;
        weight
    }

    /// `x [row, d]` normalised.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Norm::Rms { weight, eps } => kernels::rms_norm(x, weight, *eps)?,
            Norm::Layer { weight, bias, eps } => kernels::layer_norm(x, weight, Some(bias), *eps)?,
        })
    }
}

/// Root-mean-square norms of queries and keys, before they are rotated.
pub struct QkNorm {
    q: Tensor,
    k: Tensor,
    eps: f64,
    /// Over all heads together and not within each.
    whole: bool,
}

impl QkNorm {
    /// Norms within each head: `{stem}.q_norm.weight [d_head]` and `k_norm` alike.
    pub fn per_head(weights: &mut Weights, stem: &str, d_head: usize, eps: f64, offset: f64) -> Result<QkNorm> {
        let q = weights.norm(&format!("{stem}.q_norm.weight"), d_head, offset)?;
        let k = weights.norm(&format!("{stem}.k_norm.weight"), d_head, offset)?;
        Ok(QkNorm { q, k, eps, whole: false })
    }

    /// Norms over all heads: `{stem}.q_norm.weight [n_heads * d_head]` and `k_norm` alike.
    pub fn whole(weights: &mut Weights, stem: &str, a: &Attention, eps: f64) -> Result<QkNorm> {
        let q = weights.norm(&format!("{stem}.q_norm.weight"), a.n_heads * a.d_head, 0.0)?;
        let k = weights.norm(&format!("{stem}.k_norm.weight"), a.n_kv_heads * a.d_head, 0.0)?;
        Ok(QkNorm { q, k, eps, whole: true })
    }

    /// The fused rows with queries and keys normalised.
    pub fn apply(&self, qkv: &Tensor, a: &Attention) -> Result<Tensor> {
        let queries = a.n_heads * a.d_head;
        let (q, k) = if self.whole {
            ((1, queries), (1, a.n_kv_heads * a.d_head))
        } else {
            ((a.n_heads, a.d_head), (a.n_kv_heads, a.d_head))
        };
        let qkv = kernels::norm_heads(qkv, &self.q, 0, q.0, q.1, self.eps)?;
        Ok(kernels::norm_heads(&qkv, &self.k, queries, k.0, k.1, self.eps)?)
    }
}

/// What a block does to each row by itself.
pub enum Mlp {
    /// `down(act(gate x) * up x)` (Shazeer 2020), gate and up in one product.
    Gated {
        gate_up: Projection,
        down: Projection,
        act: Act,
    },
    /// `down(act(up x))`.
    Plain {
        up: Projection,
        down: Projection,
        act: Act,
    },
    Experts(Experts),
}

impl Mlp {
    /// `x [row, d_model]` to the same shape.
    pub fn apply(&self, x: &Tensor, pass: &Pass<'_, '_>) -> Result<Tensor> {
        match self {
            Mlp::Gated { gate_up, down, act } => pass.linear(down, &kernels::gated(&pass.linear(gate_up, x)?, *act)?),
            Mlp::Plain { up, down, act } => pass.linear(down, &kernels::activate(&pass.linear(up, x)?, *act)?),
            Mlp::Experts(experts) => experts.apply(x),
        }
    }

    /// The map whose outputs it gives; experts have several, which adapters do not change.
    pub fn down(&self) -> Option<&Projection> {
        match self {
            Mlp::Gated { down, .. } | Mlp::Plain { down, .. } => Some(down),
            Mlp::Experts(_) => None,
        }
    }

    /// Its linear maps, in forward order.
    pub fn projections(&self) -> Vec<&Projection> {
        match self {
            Mlp::Gated { gate_up: up, down, .. } | Mlp::Plain { up, down, .. } => vec![up, down],
            Mlp::Experts(_) => vec![],
        }
    }

    /// The same, to be changed.
    pub fn projections_mut(&mut self) -> Vec<&mut Projection> {
        match self {
            Mlp::Gated { gate_up: up, down, .. } | Mlp::Plain { up, down, .. } => vec![up, down],
            Mlp::Experts(_) => vec![],
        }
    }
}
