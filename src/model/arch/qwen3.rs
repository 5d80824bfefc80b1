//! Qwen3 (Yang et al. 2025): Qwen2 without its biases, with norms of queries and keys within each head.

use super::llama::Family;
use super::qwen2;
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Width of a head where nothing is said.
pub const D_HEAD: usize = 128;

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut family = Family::read(&mut c, Some(D_HEAD))?;
    family.windows = qwen2::windows(&mut c, family.dims.n_layers)?;
    let bias = c.flag_or("attention_bias", false)?;
    family.biases = [bias, bias, false];
    family.qk_norm = true;
    c.finish(&[])?;
    family.build(&c, weights, Family::gated)
}
