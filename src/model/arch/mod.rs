//! One file per architecture and one line in [`ARCHITECTURES`]. The conformance tests walk the table.

pub mod llama;

use super::Lm;
use super::weights::Weights;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// How a model is built from the object in `config.json` and its weights.
pub type Build = fn(&mut Weights, &Map<String, Value>) -> Result<Box<dyn Lm>>;

/// Every supported `model_type`.
pub const ARCHITECTURES: &[(&str, Build)] = &[("llama", llama::build)];

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
