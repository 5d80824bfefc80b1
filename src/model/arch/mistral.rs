//! Mistral (Jiang et al. 2023): Llama with a sliding window in every layer, or in none.

use super::llama::Family;
use super::sizes;
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut family = Family::read(&mut c, None)?;
    // Where the key is missing and not null, the window is that of the first release.
    let window = if c.has("sliding_window") { c.count_or("sliding_window", 0)? } else { 4096 };
    family.windows = sizes::everywhere(window);
    c.finish(&[])?;
    family.build(&c, weights, Family::gated)
}
