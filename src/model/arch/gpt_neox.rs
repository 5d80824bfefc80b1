//! GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): layer norms, biases, a plain MLP, heads that turn in
//! part. Attention and MLP read the same stream where `use_parallel_residual` says so: such a block has no `resid_mid`.
//!
//! The file keeps query, key and value head by head in one map, whose outputs are put in order here.

use super::decoder::{Block, Decoder};
use super::parts::{Mlp, Norm};
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

const LAYERS: &str = "gpt_neox.layers";

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut d = sizes::dims(&mut c, None)?;
    if d.n_kv_heads != d.n_heads || d.n_heads * d.d_head != d.d_model {
        return Err(c.bad("num_attention_heads", format!("{} columns are not those of {} heads", d.d_model, d.n_heads)));
    }
    let eps = c.number_or("layer_norm_eps", 1e-5)?;
    let act = sizes::act(&mut c, "hidden_act", Act::Gelu)?;
    let tied = c.flag_or("tie_word_embeddings", false)?;
    let bias = c.flag_or("attention_bias", true)?;
    let parallel = c.flag_or("use_parallel_residual", true)?;
    let theta = c.positive("rotary_emb_base")?.unwrap_or(10_000.0);
    let partial = c.positive("rotary_pct")?.unwrap_or(0.25);
    let rope = c.rope(theta, partial, d.n_ctx)?;
    c.finish(&[])?;

    d.n_ctx = rope.reach(d.n_ctx);
    let table = Arc::new(rope.table(&c, d.d_head, d.n_ctx)?);
    let embedding = weights.embedding("gpt_neox.embed_in.weight", d.d_vocab, d.d_model)?;
    let order = Arc::new(in_order(d.n_heads, d.d_head));
    let mut blocks = Vec::new();
    for l in 0..d.n_layers {
        let norm =
            |weights: &mut Weights, name: &str| Norm::layer(weights, &format!("{LAYERS}.{l}.{name}"), d.d_model, eps);
        let linear = Linear::at(LAYERS, Layer(l));
        let qkv = linear.of(d.d_model, &[("attention.query_key_value", 3 * d.d_model)]).biased(bias);
        blocks.push(Block {
            norm_attn: Some(norm(weights, "input_layernorm")?),
            qkv: weights.linear(&qkv.ordered(order.clone()))?,
            qk_norm: None,
            rope: Some(table.clone()),
            attention: Attention::new(d.n_heads, d.n_heads, d.d_head),
            o: weights.linear(&linear.of(d.d_model, &[("attention.dense", d.d_model)]).biased(bias))?,
            norm_attn_out: None,
            norm_mlp: Some(norm(weights, "post_attention_layernorm")?),
            mlp: Mlp::Plain {
                up: weights.linear(&linear.of(d.d_model, &[("mlp.dense_h_to_4h", d.d_mlp)]).biased(true))?,
                down: weights.linear(&linear.of(d.d_mlp, &[("mlp.dense_4h_to_h", d.d_model)]).biased(true))?,
                act,
            },
            norm_mlp_out: None,
        });
    }
    let norm = Norm::layer(weights, "gpt_neox.final_layer_norm", d.d_model, eps)?;
    let head = weights.unembedding("embed_out.weight", tied, &embedding)?;
    let (trained, embedding_scale, positions) = (rope.trained, None, None);
    Ok(Box::new(Decoder { dims: d, trained, embedding, embedding_scale, positions, blocks, parallel, norm, head }))
}

/// Where all queries, then all keys, then all values stand in rows of `[head, query | key | value]`.
fn in_order(n_heads: usize, d_head: usize) -> Vec<u32> {
    let part =
        |p: usize| (0..n_heads).flat_map(move |h| ((3 * h + p) * d_head..(3 * h + p + 1) * d_head).map(|i| i as u32));
    (0..3).flat_map(part).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn heads_are_put_in_order() {
        // Two heads of width 1: q0 k0 v0 q1 k1 v1 becomes q0 q1 k0 k1 v0 v1.
        assert_eq!(super::in_order(2, 1), [0, 3, 1, 4, 2, 5]);
        assert_eq!(super::in_order(1, 2), [0, 1, 2, 3, 4, 5]);
    }
}
