//! Llama (Touvron et al. 2023): pre-norm blocks, rotary positions, grouped-query attention, gated MLP, no biases.
//!
//! Written from the papers and the checkpoint layout of `LlamaForCausalLM`. Query, key and value weights are joined
//! into one product, as are gate and up.

use crate::axes::{Dims, Layer, Point};
use crate::error::Result;
use crate::model::config::Config;
use crate::model::kernels::{self, Attention, RopeTable};
use crate::model::projection::{Projection, Unembedding};
use crate::model::weights::Weights;
use crate::model::{Interrupt, Lm, Pass, Rows};
use candle_core::Tensor;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Keys that change nothing in a forward pass, or that the tokenizer and sampling read elsewhere.
const IGNORED: &[&str] = &[
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "initializer_range",
    "model_type",
    "pad_token_id",
    "pretraining_tp",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "_name_or_path",
];

/// Where checkpoints keep the blocks.
const LAYERS: &str = "model.layers";

struct Block {
    norm_attn: Tensor,
    qkv: Projection,
    o: Projection,
    norm_mlp: Tensor,
    gate_up: Projection,
    down: Projection,
}

struct Llama {
    dims: Dims,
    eps: f64,
    attention: Attention,
    rope: Arc<RopeTable>,
    /// `[d_vocab, d_model]`
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    head: Unembedding,
}

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let d_model = c.count("hidden_size")?;
    let n_heads = c.count("num_attention_heads")?;
    let dims = Dims {
        d_model,
        n_layers: c.count("num_hidden_layers")?,
        n_heads,
        n_kv_heads: c.count_or("num_key_value_heads", n_heads)?,
        d_head: c.count_or("head_dim", d_model / n_heads.max(1))?,
        d_mlp: c.count("intermediate_size")?,
        d_vocab: c.count("vocab_size")?,
        n_ctx: c.count("max_position_embeddings")?,
    };
    let eps = c.number_or("rms_norm_eps", 1e-6)?;
    let theta = c.rope_theta(10_000.0)?;
    let tied = c.flag_or("tie_word_embeddings", false)?;
    c.must_be("hidden_act", &["silu"].map(Value::from))?;
    c.must_be("attention_bias", &[Value::Bool(false)])?;
    c.must_be("mlp_bias", &[Value::Bool(false)])?;
    c.must_be("rope_scaling", &[Value::Null])?;
    c.finish(IGNORED)?;
    dims_fit(&c, &dims)?;

    let (d_q, d_kv) = (dims.n_heads * dims.d_head, dims.n_kv_heads * dims.d_head);
    let embedding = weights.tensor("model.embed_tokens.weight", &[dims.d_vocab, d_model])?;
    let mut blocks = Vec::new();
    for l in 0..dims.n_layers {
        let mut linear = |d_in, modules: &[(&str, usize)]| weights.projection(LAYERS, Layer(l), d_in, modules);
        let qkv =
            linear(d_model, &[("self_attn.q_proj", d_q), ("self_attn.k_proj", d_kv), ("self_attn.v_proj", d_kv)])?;
        let o = linear(d_q, &[("self_attn.o_proj", d_model)])?;
        let gate_up = linear(d_model, &[("mlp.gate_proj", dims.d_mlp), ("mlp.up_proj", dims.d_mlp)])?;
        let down = linear(dims.d_mlp, &[("mlp.down_proj", d_model)])?;
        let norm_attn = weights.tensor(&format!("{LAYERS}.{l}.input_layernorm.weight"), &[d_model])?;
        let norm_mlp = weights.tensor(&format!("{LAYERS}.{l}.post_attention_layernorm.weight"), &[d_model])?;
        blocks.push(Block { norm_attn, qkv, o, norm_mlp, gate_up, down });
    }
    let norm = weights.tensor("model.norm.weight", &[d_model])?;
    let head = weights.unembedding("lm_head.weight", tied, &embedding)?;
    let attention = Attention { n_heads: dims.n_heads, n_kv_heads: dims.n_kv_heads, d_head: dims.d_head };
    let rope = Arc::new(RopeTable::new(dims.d_head, theta, dims.n_ctx));
    Ok(Box::new(Llama { dims, eps, attention, rope, embedding, blocks, norm, head }))
}

fn dims_fit(c: &Config, d: &Dims) -> Result<()> {
    if !d.n_heads.is_multiple_of(d.n_kv_heads) {
        return Err(
            c.bad("num_key_value_heads", format!("{} heads cannot share {} key heads", d.n_heads, d.n_kv_heads))
        );
    }
    if d.d_head == 0 {
        return Err(c.bad("num_attention_heads", format!("{} heads for {} columns", d.n_heads, d.d_model)));
    }
    if !d.d_head.is_multiple_of(2) {
        return Err(c.bad("head_dim", format!("{} is odd, but rotary positions turn pairs", d.d_head)));
    }
    Ok(())
}

impl Lm for Llama {
    fn dims(&self) -> &Dims {
        &self.dims
    }

    fn points(&self) -> &[Point] {
        &Point::ALL
    }

    fn embed(&self, rows: &Rows) -> Result<Tensor> {
        Ok(kernels::embed(&self.embedding, rows.tokens())?)
    }

    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt> {
        let (w, dims) = (&self.blocks[layer.0], &self.dims);
        let h = kernels::rms_norm(&x, &w.norm_attn, self.eps)?;
        let qkv = pass.linear(&w.qkv, &h)?;
        let rotated = dims.n_heads + dims.n_kv_heads;
        let qkv = kernels::rope(&qkv, &self.rope, pass.rows().positions(), rotated, dims.d_head)?;
        let (mixed, x) = pass.attend(layer, self.attention, &qkv, x)?;
        let attn_out = pass.at(layer, Point::AttnOut, pass.linear(&w.o, &mixed)?)?;
        let x = pass.at(layer, Point::ResidMid, kernels::add(&x, &attn_out)?)?;
        let h = kernels::rms_norm(&x, &w.norm_mlp, self.eps)?;
        let h = kernels::swiglu(&pass.linear(&w.gate_up, &h)?)?;
        let mlp_out = pass.at(layer, Point::MlpOut, pass.linear(&w.down, &h)?)?;
        Ok(kernels::add(&x, &mlp_out)?)
    }

    fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::rms_norm(x, &self.norm, self.eps)?)
    }

    fn unembedding(&self) -> &Unembedding {
        &self.head
    }

    fn projections(&self) -> Vec<&Projection> {
        self.blocks.iter().flat_map(|b| [&b.qkv, &b.o, &b.gate_up, &b.down]).collect()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.blocks.iter_mut().flat_map(|b| [&mut b.qkv, &mut b.o, &mut b.gate_up, &mut b.down]).collect()
    }
}
