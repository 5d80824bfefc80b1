//! Gemma 2 (Riviere et al. 2024): norms before and after attention and MLP, scores and logits under a soft cap, a sliding
//! window in every other layer, scaled embeddings, norm weights counted from 1. Gemma 3 is read here as well.

use super::decoder::{Block, Decoder};
use super::llama::LAYERS;
use super::parts::{Mlp, Norm, QkNorm};
use super::sizes::{self, Windows};
use crate::axes::{Dims, Layer};
use crate::error::Result;
use crate::model::config::{Config, Rope};
use crate::model::kernels::{Act, Attention, RopeTable};
use crate::model::linear::Linear;
use crate::model::weights::Weights;
use crate::model::{Lm, Unembedding};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Width of a head where nothing is said.
const D_HEAD: usize = 256;

/// What Gemma 2 and 3 have in common, and where they differ.
pub struct Gemma {
    pub dims: Dims,
    eps: f64,
    act: Act,
    tied: bool,
    bias: bool,
    /// What scores are multiplied by.
    scale: f64,
    score_cap: Option<f64>,
    logit_cap: Option<f64>,
    /// Of layers without a window, and of those with one.
    pub ropes: [Rope; 2],
    pub windows: Windows,
    pub qk_norm: bool,
}

impl Gemma {
    /// What both say in the same words; `ropes` reads the positions of layers without a window and with one.
    pub fn read(c: &mut Config, ropes: impl Fn(&mut Config, usize) -> Result<[Rope; 2]>) -> Result<Gemma> {
        let dims = sizes::dims(c, Some(D_HEAD))?;
        // Some checkpoints have both keys; the second one is what counts.
        sizes::act(c, "hidden_act", Act::GeluTanh)?;
        Ok(Gemma {
            dims,
            eps: c.number_or("rms_norm_eps", 1e-6)?,
            act: sizes::act(c, "hidden_activation", Act::GeluTanh)?,
            tied: c.flag_or("tie_word_embeddings", true)?,
            bias: c.flag_or("attention_bias", false)?,
            scale: c.positive("query_pre_attn_scalar")?.unwrap_or(256.0).powf(-0.5),
            score_cap: c.positive("attn_logit_softcapping")?,
            logit_cap: c.positive("final_logit_softcapping")?,
            ropes: ropes(c, dims.n_ctx)?,
            windows: sizes::everywhere(0),
            qk_norm: false,
        })
    }

    /// Reads the weights.
    pub fn build(mut self, c: &Config, weights: &mut Weights) -> Result<Box<dyn Lm>> {
        let d = self.dims;
        self.dims.n_ctx = self.ropes[0].reach(d.n_ctx);
        let table = |rope: &Rope| rope.table(c, d.d_head, self.dims.n_ctx).map(Arc::new);
        let tables = [table(&self.ropes[0])?, table(&self.ropes[1])?];
        let embedding = weights.embedding("model.embed_tokens.weight", d.d_vocab, d.d_model)?;
        let mut blocks = Vec::new();
        for l in 0..d.n_layers {
            blocks.push(self.block(weights, Layer(l), &tables)?);
        }
        let norm = Norm::rms(weights, "model.norm", d.d_model, self.eps, 1.0)?;
        let head = weights.unembedding("lm_head.weight", self.tied, &embedding)?;
        let head = Unembedding { cap: self.logit_cap, ..head };
        Ok(Box::new(Decoder {
            dims: self.dims,
            trained: self.ropes[0].trained,
            embedding,
            embedding_scale: Some((d.d_model as f64).sqrt()),
            positions: None,
            blocks,
            parallel: false,
            norm,
            head,
        }))
    }

    fn block(&self, weights: &mut Weights, layer: Layer, tables: &[Arc<RopeTable>; 2]) -> Result<Block> {
        let d = self.dims;
        let (d_q, d_kv) = (d.n_heads * d.d_head, d.n_kv_heads * d.d_head);
        let stem = format!("{LAYERS}.{}", layer.0);
        let mut norm = |name: &str| Norm::rms(weights, &format!("{stem}.{name}"), d.d_model, self.eps, 1.0).map(Some);
        let norm_attn = norm("input_layernorm")?;
        let norm_attn_out = norm("post_attention_layernorm")?;
        let norm_mlp = norm("pre_feedforward_layernorm")?;
        let norm_mlp_out = norm("post_feedforward_layernorm")?;
        let qk_norm = match self.qk_norm {
            true => Some(QkNorm::per_head(weights, &format!("{stem}.self_attn"), d.d_head, self.eps, 1.0)?),
            false => None,
        };
        let window = (self.windows)(layer.0);
        let linear = Linear::at(LAYERS, layer);
        let qkv = [("self_attn.q_proj", d_q), ("self_attn.k_proj", d_kv), ("self_attn.v_proj", d_kv)];
        let gate_up = [("mlp.gate_proj", d.d_mlp), ("mlp.up_proj", d.d_mlp)];
        Ok(Block {
            norm_attn,
            qkv: weights.linear(&linear.of(d.d_model, &qkv).biased(self.bias))?,
            qk_norm,
            rope: Some(tables[usize::from(window.is_some())].clone()),
            attention: Attention {
                scale: self.scale,
                softcap: self.score_cap,
                window,
                ..Attention::new(d.n_heads, d.n_kv_heads, d.d_head)
            },
            o: weights.linear(&linear.of(d_q, &[("self_attn.o_proj", d.d_model)]).biased(self.bias))?,
            norm_attn_out,
            norm_mlp,
            mlp: Mlp::Gated {
                gate_up: weights.linear(&linear.of(d.d_model, &gate_up))?,
                down: weights.linear(&linear.of(d.d_mlp, &[("mlp.down_proj", d.d_model)]))?,
                act: self.act,
            },
            norm_mlp_out,
        })
    }
}

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut gemma = Gemma::read(&mut c, |c, n_ctx| {
        let rope = c.rope(10_000.0, 1.0, n_ctx)?;
        Ok([rope.clone(), rope])
    })?;
    let window = c.count_or("sliding_window", 4096)?;
    gemma.windows = sizes::windows(&mut c, gemma.dims.n_layers, Some(window), |l| l.is_multiple_of(2))?;
    c.must_be("use_bidirectional_attention", &[Value::Bool(false)])?;
    c.finish(&[])?;
    gemma.build(&c, weights)
}
