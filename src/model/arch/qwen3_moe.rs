//! The mixtures of experts of Qwen3 (Yang et al. 2025): Qwen3 in whose layers, but for those listed, a router sends each
//! row through a few experts.

use super::experts::{Experts, Mixture};
use super::llama::{Family, LAYERS};
use super::parts::Mlp;
use crate::error::Result;
use crate::model::Lm;
use crate::model::config::Config;
use crate::model::linear::Linear;
use crate::model::weights::Weights;
use serde_json::{Map, Value};

/// Width of a head where nothing is said: that of the columns divided among the heads, unlike in the dense models.
const D_HEAD: Option<usize> = None;

/// Keys about training, and a window that is off.
const IGNORED: &[&str] = &["router_aux_loss_coef", "sliding_window", "max_window_layers"];

/// Reads the configuration and the weights.
pub fn build(weights: &mut Weights, config: &Map<String, Value>) -> Result<Box<dyn Lm>> {
    let mut c = Config::new(weights.place(), config);
    let mut family = Family::read(&mut c, D_HEAD)?;
    let bias = c.flag_or("attention_bias", false)?;
    family.biases = [bias, bias, false];
    family.qk_norm = true;
    c.must_be("use_sliding_window", &[Value::Bool(false)])?;
    let dense = c.counts("mlp_only_layers")?;
    let step = c.count_or("decoder_sparse_step", 1)?;
    // Both names are found.
    let experts =
        if c.has("num_local_experts") { c.count("num_local_experts")? } else { c.count_or("num_experts", 128)? };
    let mixture = Mixture {
        experts,
        chosen: c.count_or("num_experts_per_tok", 8)?,
        d_expert: c.count_or("moe_intermediate_size", 768)?,
        normalise: c.flag_or("norm_topk_prob", false)?,
        act: family.act,
    };
    if mixture.chosen > mixture.experts {
        let reason = format!("{} of {} experts cannot be chosen", mixture.chosen, mixture.experts);
        return Err(c.bad("num_experts_per_tok", reason));
    }
    c.finish(IGNORED)?;
    family.build(&c, weights, |family, weights, layer| {
        if dense.contains(&layer.0) || !(layer.0 + 1).is_multiple_of(step) {
            return family.gated(weights, layer);
        }
        let linear = Linear::at(LAYERS, layer);
        Ok(Mlp::Experts(Experts::read(weights, &linear.of(family.dims.d_model, &[]), mixture)?))
    })
}
