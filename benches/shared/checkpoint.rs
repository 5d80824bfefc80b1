//! Random Llama-shaped checkpoints in a folder that both sides read.

use super::peer::Done;
use personascope::model::{Filling, Model, Opening, Purpose, Source};
use personascope::train::model_files;
use std::path::Path;

pub struct Shape {
    pub name: &'static str,
    pub d_model: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
    /// Prompts of a round.
    pub prompts: usize,
}

pub const SHAPES: [Shape; 3] = [
    Shape { name: "25M", d_model: 384, layers: 8, heads: 6, kv_heads: 2, d_mlp: 1024, d_vocab: 32000, prompts: 192 },
    Shape { name: "125M", d_model: 768, layers: 12, heads: 12, kv_heads: 12, d_mlp: 2048, d_vocab: 50304, prompts: 64 },
    Shape { name: "500M", d_model: 1280, layers: 24, heads: 20, kv_heads: 4, d_mlp: 3456, d_vocab: 64000, prompts: 32 },
];

/// Random weights of a shape.
pub fn checkpoint(shape: &Shape, folder: &Path) -> Done<Source> {
    let embedded = Source::toyworld();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(folder.join(name), embedded.read(name)?.ok_or("the embedded model lacks a file")?)?;
    }
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": shape.d_vocab,
        "hidden_size": shape.d_model, "intermediate_size": shape.d_mlp, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "max_position_embeddings": 512,
        "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "hidden_act": "silu",
        "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let source = Source::Dir(folder.to_path_buf());
    let (_, parameters) = Model::open(&source, Opening { filling: Filling::Random(0), ..Opening::to(Purpose::Train) })?;
    std::fs::write(folder.join("model.safetensors"), model_files(&parameters, candle_core::DType::F32)?)?;
    let count: usize = parameters.iter().map(|p| p.var.as_tensor().elem_count()).sum();
    println!("{}: {:.1} M parameters", shape.name, count as f64 / 1e6);
    Ok(source)
}
