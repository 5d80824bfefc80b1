//! Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on query, key and value, and a sliding window from some layer
//! on where it is switched on.

use super::llama::Family;
use super::sizes::{self, Windows};
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut family = Family::read(&mut c, None)?;
    family.windows = windows(&mut c, family.dims.n_layers)?;
    family.biases = [true, false, false];
    c.finish(&[])?;
    family.build(&c, weights, Family::gated)
}

/// The sliding window of each layer, as Qwen's configurations say it.
pub fn windows(c: &mut Config, n_layers: usize) -> Result<Windows> {
    let on = c.flag_or("use_sliding_window", false)?;
    let window = c.count_or("sliding_window", 4096)?;
    let first = c.whole_or("max_window_layers", 28)?;
    sizes::windows(c, n_layers, on.then_some(window), move |l| l >= first)
}
