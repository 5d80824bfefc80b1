//! Phi-3 and Phi-4-mini (Abdin et al. 2024): Llama with fused weights in the file, heads that may turn in part, a window in
//! every layer, and positions stretched by LongRoPE.

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
    family.eps = c.number_or("rms_norm_eps", 1e-5)?;
    let window = c.count_or("sliding_window", 0)?;
    family.windows = sizes::everywhere(window);
    family.fused = true;
    // Two switches that nothing reads at these values.
    c.must_be("full_attn_mod", &[1.into()])?;
    c.must_be("interpolate_factor", &[1.into()])?;
    c.finish(&[])?;
    family.build(&c, weights, Family::gated)
}
