//! OLMo 2 (Walsh et al. 2025): Llama with its norms behind attention and MLP instead of before them, and with norms of
//! queries and keys over all heads.

use super::decoder::{Block, Decoder};
use super::llama::LAYERS;
use super::parts::{Mlp, Norm, QkNorm};
use super::sizes;
use crate::axes::Layer;
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::kernels::{Act, Attention};
use crate::model::linear::Linear;
use crate::model::weights::Weights;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut d = sizes::dims(&mut c, None)?;
    let eps = c.number_or("rms_norm_eps", 1e-5)?;
    let act = sizes::act(&mut c, "hidden_act", Act::Silu)?;
    let tied = c.flag_or("tie_word_embeddings", false)?;
    let bias = c.flag_or("attention_bias", false)?;
    let rope = c.rope(10_000.0, 1.0, d.n_ctx)?;
    c.finish(&[])?;

    d.n_ctx = rope.reach(d.n_ctx);
    let table = Arc::new(rope.table(&c, d.d_head, d.n_ctx)?);
    let attention = Attention::new(d.n_heads, d.n_kv_heads, d.d_head);
    let (d_q, d_kv) = (d.n_heads * d.d_head, d.n_kv_heads * d.d_head);
    let embedding = weights.embedding("model.embed_tokens.weight", d.d_vocab, d.d_model)?;
    let mut blocks = Vec::new();
    for l in 0..d.n_layers {
        let stem = format!("{LAYERS}.{l}");
        let linear = Linear::at(LAYERS, Layer(l));
        let qkv = [("self_attn.q_proj", d_q), ("self_attn.k_proj", d_kv), ("self_attn.v_proj", d_kv)];
        let gate_up = [("mlp.gate_proj", d.d_mlp), ("mlp.up_proj", d.d_mlp)];
        blocks.push(Block {
            norm_attn: None,
            qkv: weights.linear(&linear.of(d.d_model, &qkv).biased(bias))?,
            qk_norm: Some(QkNorm::whole(weights, &format!("{stem}.self_attn"), &attention, eps)?),
            rope: Some(table.clone()),
            attention,
            o: weights.linear(&linear.of(d_q, &[("self_attn.o_proj", d.d_model)]).biased(bias))?,
            norm_attn_out: Some(Norm::rms(weights, &format!("{stem}.post_attention_layernorm"), d.d_model, eps, 0.0)?),
            norm_mlp: None,
            mlp: Mlp::Gated {
                gate_up: weights.linear(&linear.of(d.d_model, &gate_up))?,
                down: weights.linear(&linear.of(d.d_mlp, &[("mlp.down_proj", d.d_model)]))?,
                act,
            },
            norm_mlp_out: Some(Norm::rms(weights, &format!("{stem}.post_feedforward_layernorm"), d.d_model, eps, 0.0)?),
        });
    }
    let norm = Norm::rms(weights, "model.norm", d.d_model, eps, 0.0)?;
    let head = weights.unembedding("lm_head.weight", tied, &embedding)?;
    let (trained, parallel) = (rope.trained, false);
    let (embedding_scale, positions) = (None, None);
    Ok(Box::new(Decoder { dims: d, trained, embedding, embedding_scale, positions, blocks, parallel, norm, head }))
}
