//! Gemma 3, text (Kamath et al. 2025): Gemma 2 without soft caps, with norms of queries and keys within each head, and with
//! rotary positions of their own in the layers that slide (five of six).

use super::gemma2::Gemma;
use super::sizes;
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::{Config, Rope, Scaling};
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Bases of the frequencies where nothing is said, of layers without a window and with one.
const THETAS: [f64; 2] = [1e6, 1e4];

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut gemma = Gemma::read(&mut c, ropes)?;
    let window = c.count_or("sliding_window", 4096)?;
    // Every n-th layer sees all; both spellings of the key are found.
    let either = c.count_or("_sliding_window_pattern", 6)?;
    let every = c.count_or("sliding_window_pattern", either)?;
    gemma.windows = sizes::windows(&mut c, gemma.dims.n_layers, Some(window), move |l| !(l + 1).is_multiple_of(every))?;
    gemma.qk_norm = true;
    c.must_be("use_bidirectional_attention", &[Value::Bool(false)])?;
    c.finish(&[])?;
    gemma.build(&c, weights)
}

fn ropes(c: &mut Config, n_ctx: usize) -> Result<[Rope; 2]> {
    let nested = c.nested_rope("full_attention", THETAS[0], n_ctx)?;
    if let (Some(whole), Some(local)) = (nested, c.nested_rope("sliding_attention", THETAS[1], n_ctx)?) {
        return Ok([whole, local]);
    }
    let whole = c.rope(THETAS[0], 1.0, n_ctx)?;
    let theta = c.positive("rope_local_base_freq")?.unwrap_or(THETAS[1]);
    Ok([whole, Rope { theta, partial: 1.0, scaling: Scaling::None, trained: n_ctx }])
}
