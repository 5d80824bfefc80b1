//! Llama 2 and 3 (Touvron et al. 2023; Grattafiori et al. 2024): pre-norm blocks, rotary positions, grouped-query
//! attention, gated MLP.
//!
//! Written from the papers and the checkpoint layout of `LlamaForCausalLM`. The neighbours of the family, which differ in
//! little, are read here as well.

use super::decoder::{Block, Decoder};
use super::parts::{Mlp, Norm, QkNorm};
use super::sizes::{self, Windows};
use crate::axes::{Dims, Layer};
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::{Config, Rope};
use crate::model::kernels::{Act, Attention, RopeTable};
use crate::model::linear::Linear;
use crate::model::weights::Weights;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Where checkpoints keep the blocks.
pub const LAYERS: &str = "model.layers";

/// What the family of Llama has in common, and where its members differ.
pub struct Family {
    pub dims: Dims,
    pub eps: f64,
    pub act: Act,
    pub tied: bool,
    pub rope: Rope,
    /// Of each layer.
    pub windows: Windows,
    /// Biases of query, key and value; of the output of attention; of the MLP.
    pub biases: [bool; 3],
    /// Norms of queries and keys within each head.
    pub qk_norm: bool,
    /// Fused in the file: `qkv_proj` and `gate_up_proj`.
    pub fused: bool,
}

impl Family {
    /// What all members say in the same words. Heads are `d_head` wide where nothing is said.
    pub fn read(c: &mut Config, d_head: Option<usize>) -> Result<Family> {
        let dims = sizes::dims(c, d_head)?;
        Ok(Family {
            dims,
            eps: c.number_or("rms_norm_eps", 1e-6)?,
            act: sizes::act(c, "hidden_act", Act::Silu)?,
            tied: c.flag_or("tie_word_embeddings", false)?,
            rope: c.rope(10_000.0, 1.0, dims.n_ctx)?,
            windows: sizes::everywhere(0),
            biases: [false; 3],
            qk_norm: false,
            fused: false,
        })
    }

    /// Reads the weights; `mlp` reads that of a layer.
    pub fn build(
        mut self,
        c: &Config,
        weights: &mut Weights,
        mlp: impl Fn(&Family, &mut Weights, Layer) -> Result<Mlp>,
    ) -> Result<Box<dyn Lm>> {
        let d = self.dims;
        self.dims.n_ctx = self.rope.reach(d.n_ctx);
        let rope = Arc::new(self.rope.table(c, d.d_head, self.dims.n_ctx)?);
        let embedding = weights.embedding("model.embed_tokens.weight", d.d_vocab, d.d_model)?;
        let mut blocks = Vec::new();
        for l in 0..d.n_layers {
            let mlp = mlp(&self, weights, Layer(l))?;
            blocks.push(self.block(weights, Layer(l), rope.clone(), mlp)?);
        }
        let norm = Norm::rms(weights, "model.norm", d.d_model, self.eps, 0.0)?;
        let head = weights.unembedding("lm_head.weight", self.tied, &embedding)?;
        Ok(Box::new(Decoder {
            dims: self.dims,
            trained: self.rope.trained,
            embedding,
            embedding_scale: None,
            positions: None,
            blocks,
            parallel: false,
            norm,
            head,
        }))
    }

    fn block(&self, weights: &mut Weights, layer: Layer, rope: Arc<RopeTable>, mlp: Mlp) -> Result<Block> {
        let d = self.dims;
        let (d_q, d_kv) = (d.n_heads * d.d_head, d.n_kv_heads * d.d_head);
        let stem = format!("{LAYERS}.{}", layer.0);
        let norm =
            |weights: &mut Weights, name: &str| Norm::rms(weights, &format!("{stem}.{name}"), d.d_model, self.eps, 0.0);
        let linear = Linear::at(LAYERS, layer);
        let apart = [("self_attn.q_proj", d_q), ("self_attn.k_proj", d_kv), ("self_attn.v_proj", d_kv)];
        let joined = [("self_attn.qkv_proj", d_q + 2 * d_kv)];
        let modules: &[(&str, usize)] = if self.fused { &joined } else { &apart };
        let qk_norm = match self.qk_norm {
            true => Some(QkNorm::per_head(weights, &format!("{stem}.self_attn"), d.d_head, self.eps, 0.0)?),
            false => None,
        };
        Ok(Block {
            norm_attn: Some(norm(weights, "input_layernorm")?),
            qkv: weights.linear(&linear.of(d.d_model, modules).biased(self.biases[0]))?,
            qk_norm,
            rope: Some(rope),
            attention: Attention {
                window: (self.windows)(layer.0),
                ..Attention::new(d.n_heads, d.n_kv_heads, d.d_head)
            },
            o: weights.linear(&linear.of(d_q, &[("self_attn.o_proj", d.d_model)]).biased(self.biases[1]))?,
            norm_attn_out: None,
            norm_mlp: Some(norm(weights, "post_attention_layernorm")?),
            mlp,
            norm_mlp_out: None,
        })
    }

    /// The gated MLP of one layer.
    pub fn gated(&self, weights: &mut Weights, layer: Layer) -> Result<Mlp> {
        let (d, bias) = (self.dims, self.biases[2]);
        let linear = Linear::at(LAYERS, layer);
        let apart = [("mlp.gate_proj", d.d_mlp), ("mlp.up_proj", d.d_mlp)];
        let joined = [("mlp.gate_up_proj", 2 * d.d_mlp)];
        let modules: &[(&str, usize)] = if self.fused { &joined } else { &apart };
        let gate_up = weights.linear(&linear.of(d.d_model, modules).biased(bias))?;
        let down = weights.linear(&linear.of(d.d_mlp, &[("mlp.down_proj", d.d_model)]).biased(bias))?;
        Ok(Mlp::Gated { gate_up, down, act: self.act })
    }
}

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut family = Family::read(&mut c, None)?;
    let (attention, mlp) = (c.flag_or("attention_bias", false)?, c.flag_or("mlp_bias", false)?);
    family.biases = [attention, attention, mlp];
    c.finish(&[])?;
    family.build(&c, weights, Family::gated)
}
