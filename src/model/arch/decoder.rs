//! The decoder that all architectures are: one loop body, filled in by the file of each.

use super::parts::{Mlp, Norm, QkNorm};
use crate::axes::{Dims, Layer, Point};
use crate::error::Result;
use crate::model::kernels::{self, Attention, RopeTable};
use crate::model::projection::{Projection, Unembedding};
use crate::model::{Embedding, Interrupt, Lm, Pass, Rows, Writer};
use candle_core::Tensor;
use std::sync::Arc;

/// A block: what an architecture lacks is `None`.
pub struct Block {
    /// Before attention.
    pub norm_attn: Option<Norm>,
    pub qkv: Projection,
    pub qk_norm: Option<QkNorm>,
    pub rope: Option<Arc<RopeTable>>,
    pub attention: Attention,
    pub o: Projection,
    /// Of what attention adds.
    pub norm_attn_out: Option<Norm>,
    /// Before the MLP.
    pub norm_mlp: Option<Norm>,
    pub mlp: Mlp,
    /// Of what the MLP adds.
    pub norm_mlp_out: Option<Norm>,
}

impl Block {
    fn writers(&self, layer: Layer) -> Vec<Writer<'_>> {
        let attention = Some((&self.o, &self.norm_attn_out));
        let mlp = self.mlp.down().map(|down| (down, &self.norm_mlp_out));
        let both = [attention, mlp].into_iter().flatten();
        both.map(|(map, norm)| Writer { layer, map, gain: norm.as_ref().map(Norm::gain) }).collect()
    }

    fn projections_mut(&mut self) -> impl Iterator<Item = &mut Projection> {
        [&mut self.qkv, &mut self.o].into_iter().chain(self.mlp.projections_mut())
    }
}

/// A decoder-only transformer.
pub struct Decoder {
    pub dims: Dims,
    /// Positions that it was trained on, before any scaling of its rotary positions.
    pub trained: usize,
    pub embedding: Embedding,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f64>,
    /// Learned positions, `[n_ctx, d_model]`.
    pub positions: Option<Tensor>,
    pub blocks: Vec<Block>,
    /// Attention and MLP read the same stream, so that nothing lies between them.
    pub parallel: bool,
    pub norm: Norm,
    pub head: Unembedding,
}

/// The points of a block whose attention and MLP read the same stream.
const PARALLEL: [Point; 4] = [Point::ResidPre, Point::AttnOut, Point::MlpOut, Point::ResidPost];

fn normed(norm: &Option<Norm>, x: &Tensor) -> Result<Tensor> {
    norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.apply(x))
}

impl Lm for Decoder {
    fn dims(&self) -> &Dims {
        &self.dims
    }

    fn trained_len(&self) -> usize {
        self.trained
    }

    fn positions_change_at(&self) -> Option<usize> {
        self.blocks.iter().find_map(|b| b.rope.as_ref().and_then(|r| r.changes_at()))
    }

    fn points(&self) -> &[Point] {
        if self.parallel { &PARALLEL } else { &Point::ALL }
    }

    fn embed(&self, rows: &Rows) -> Result<Tensor> {
        let mut x = self.embedding.rows(rows.tokens())?;
        if let Some(scale) = self.embedding_scale {
            x = kernels::scaled(&x, scale)?;
        }
        Ok(match &self.positions {
            Some(table) => kernels::add(&x, &kernels::embed(table, rows.positions())?)?,
            None => x,
        })
    }

    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt> {
        let w = &self.blocks[layer.0];
        let a = w.attention;
        let mut qkv = pass.linear(&w.qkv, &normed(&w.norm_attn, &x)?)?;
        if let Some(norm) = &w.qk_norm {
            qkv = norm.apply(&qkv, &a)?;
        }
        if let Some(rope) = &w.rope {
            let places = rope.places(pass.rows().positions(), pass.rows().ranges());
            qkv = kernels::rope(&qkv, rope, &places, a.n_heads + a.n_kv_heads, a.d_head)?;
        }
        let (mixed, x) = pass.attend(layer, a, &qkv, x)?;
        let attn_out = normed(&w.norm_attn_out, &pass.linear(&w.o, &mixed)?)?;
        let attn_out = pass.at(layer, Point::AttnOut, attn_out)?;
        let mid = kernels::add(&x, &attn_out)?;
        let (read, mid) = if self.parallel {
            (x, mid)
        } else {
            let mid = pass.at(layer, Point::ResidMid, mid)?;
            (mid.clone(), mid)
        };
        let mlp_out = w.mlp.apply(&normed(&w.norm_mlp, &read)?, pass)?;
        let mlp_out = pass.at(layer, Point::MlpOut, normed(&w.norm_mlp_out, &mlp_out)?)?;
        Ok(kernels::add(&mid, &mlp_out)?)
    }

    fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.apply(x)
    }

    fn unembedding(&self) -> &Unembedding {
        &self.head
    }

    fn projections(&self) -> Vec<&Projection> {
        self.blocks.iter().flat_map(|b| [&b.qkv, &b.o].into_iter().chain(b.mlp.projections())).collect()
    }

    fn writers(&self) -> Vec<Writer<'_>> {
        self.blocks.iter().enumerate().flat_map(|(l, block)| block.writers(Layer(l))).collect()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.blocks.iter_mut().flat_map(Block::projections_mut).collect()
    }
}
