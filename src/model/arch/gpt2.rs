//! GPT-2 (Radford et al. 2019): layer norms, learned positions, biases everywhere, a plain MLP.
//!
//! Its file keeps linear maps `[in, out]` (`Conv1D`). Some checkpoints name tensors without the prefix `transformer.`.

use super::decoder::{Block, Decoder};
use super::parts::{Mlp, Norm};
use super::sizes;
use crate::axes::{Dims, Layer};
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::kernels::{Act, Attention};
use crate::model::linear::Linear;
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Keys of another head of the model, and a second name of the length.
const IGNORED: &[&str] = &[
    "n_ctx",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
];

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let (d_model, n_heads) = (c.count("n_embd")?, c.count("n_head")?);
    if !d_model.is_multiple_of(n_heads) {
        return Err(c.bad("n_head", format!("{d_model} columns cannot be shared by {n_heads} heads")));
    }
    let d = Dims {
        d_model,
        n_layers: c.count("n_layer")?,
        n_heads,
        n_kv_heads: n_heads,
        d_head: d_model / n_heads,
        d_mlp: c.count_or("n_inner", 4 * d_model)?,
        d_vocab: c.count("vocab_size")?,
        n_ctx: c.count_or("n_positions", 1024)?,
    };
    let eps = c.number_or("layer_norm_epsilon", 1e-5)?;
    let act = sizes::act(&mut c, "activation_function", Act::GeluTanh)?;
    let tied = c.flag_or("tie_word_embeddings", true)?;
    let scaled = c.flag_or("scale_attn_weights", true)?;
    let by_layer = c.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    c.must_be("add_cross_attention", &[Value::Bool(false)])?;
    // Rounding alone: scores are f32 here in any case.
    c.flag_or("reorder_and_upcast_attn", false)?;
    c.finish(IGNORED)?;

    let prefix = if weights.has("wte.weight") { "" } else { "transformer." };
    let layers = format!("{prefix}h");
    let embedding = weights.embedding(&format!("{prefix}wte.weight"), d.d_vocab, d_model)?;
    let positions = weights.tensor(&format!("{prefix}wpe.weight"), &[d.n_ctx, d_model])?;
    let mut blocks = Vec::new();
    for l in 0..d.n_layers {
        let linear = Linear::at(&layers, Layer(l)).turned(false).biased(true);
        let norm =
            |weights: &mut Weights, name: &str| Norm::layer(weights, &format!("{layers}.{l}.{name}"), d_model, eps);
        let mut attention = Attention::new(n_heads, n_heads, d.d_head);
        if !scaled {
            attention.scale = 1.0;
        }
        if by_layer {
            attention.scale /= (l + 1) as f64;
        }
        blocks.push(Block {
            norm_attn: Some(norm(weights, "ln_1")?),
            qkv: weights.linear(&linear.of(d_model, &[("attn.c_attn", 3 * d_model)]))?,
            qk_norm: None,
            rope: None,
            attention,
            o: weights.linear(&linear.of(d_model, &[("attn.c_proj", d_model)]))?,
            norm_attn_out: None,
            norm_mlp: Some(norm(weights, "ln_2")?),
            mlp: Mlp::Plain {
                up: weights.linear(&linear.of(d_model, &[("mlp.c_fc", d.d_mlp)]))?,
                down: weights.linear(&linear.of(d.d_mlp, &[("mlp.c_proj", d_model)]))?,
                act,
            },
            norm_mlp_out: None,
        });
    }
    let norm = Norm::layer(weights, &format!("{prefix}ln_f"), d_model, eps)?;
    let head = weights.unembedding("lm_head.weight", tied, &embedding)?;
    let (embedding_scale, positions) = (None, Some(positions));
    let (trained, parallel) = (d.n_ctx, false);
    Ok(Box::new(Decoder { dims: d, trained, embedding, embedding_scale, positions, blocks, parallel, norm, head }))
}
