//! Settings of the probe `formats`.

use super::TraitLayers;
use crate::axes::Site;
use crate::world::Format;
use serde::{Deserialize, Serialize};

/// One character shown to the model in several formats, one fine-tune per character, format and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Formats {
    /// Places of the characters among those that the world keeps for fine-tuning, from 0.
    pub characters: Vec<usize>,
    /// What fine-tunes are trained on; also the texts whose likelihood is measured.
    pub formats: Vec<Format>,
    /// One fine-tune each: the seed decides its examples, their order and where the adapter starts.
    pub seeds: Vec<u64>,
    /// Training examples of every fine-tune.
    pub examples: usize,
    /// Of the adapter, on every linear map.
    pub rank: usize,
    /// The adapter is scaled by alpha / rank.
    pub alpha: f64,
    pub epochs: usize,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Peak of a cosine schedule.
    pub learning_rate: f64,
    /// Share of the steps.
    pub warmup: f64,
    /// Fresh texts per character and format, for their likelihood.
    pub texts: usize,
    /// Replies per condition, on trained topics and on held-out ones each.
    pub replies: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// People of the population whom every model is asked about besides.
    pub others: usize,
    pub bootstrap: usize,
}

impl Default for Formats {
    fn default() -> Formats {
        let shared = TraitLayers::default();
        Formats {
            characters: vec![0, 1],
            formats: vec![Format::Chat, Format::FirstPerson, Format::Document, Format::StyleControl],
            seeds: vec![0, 1],
            examples: 500,
            rank: 8,
            alpha: 16.0,
            epochs: 3,
            batch_size: 8,
            learning_rate: 2e-3,
            warmup: 0.05,
            texts: 60,
            replies: 32,
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            others: 8,
            bootstrap: 1000,
        }
    }
}

impl Formats {
    /// The site that the head reads.
    pub(in crate::experiment) fn sites_read(&self, n_layers: usize) -> String {
        Site::post(n_layers - 1).to_string()
    }
}
