//! One file per architecture and one line in [`ARCHITECTURES`]. The conformance tests walk the table.

mod decoder;
mod experts;
mod parts;
mod sizes;

mod gemma2;
mod gemma3_text;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use super::Lm;
use super::weights::Weights;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// How a model is built from the object in `config.json` and its weights.
pub type Build = fn(&mut Weights, &Map<String, Value>) -> Result<Box<dyn Lm>>;

/// Every supported `model_type`.
pub const ARCHITECTURES: &[(&str, Build)] = &[
    ("gemma2", gemma2::build),
    ("gemma3_text", gemma3_text::build),
    ("gpt2", gpt2::build),
    ("gpt_neox", gpt_neox::build),
    ("llama", llama::build),
    ("mistral", mistral::build),
    ("olmo2", olmo2::build),
    ("phi3", phi3::build),
    ("qwen2", qwen2::build),
    ("qwen3", qwen3::build),
    ("qwen3_moe", qwen3_moe::build),
];

/// The builder for a `model_type`.
///
/// # Errors
/// An unknown type, naming the known ones.
pub fn builder(place: &str, model_type: &str) -> Result<Build> {
    ARCHITECTURES.iter().find(|(name, _)| *name == model_type).map(|(_, build)| *build).ok_or_else(|| {
        let known: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        let reason = format!("model_type `{model_type}` is not supported");
        Error::format(place, reason, format!("supported: {}", known.join(", ")))
    })
}
