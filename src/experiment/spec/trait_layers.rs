//! Settings of the probe `trait_layers`.

use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// Contrast vectors of traits over layers, at the last prompt token and over the model's own replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraitLayers {
    /// Exposure group of the personas.
    pub group: Exposure,
    /// How many of its personas, from the first; all when left out.
    pub personas: Option<usize>,
    /// Questions on plain topics, each put to every persona.
    pub questions: usize,
    /// Sites, as on the command line.
    pub sites: String,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// Share of the personas that directions are fitted on.
    pub train_fraction: f64,
    /// Folds inside the training personas, for choosing the layer.
    pub folds: usize,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for TraitLayers {
    fn default() -> TraitLayers {
        TraitLayers {
            group: Exposure::All,
            personas: None,
            questions: 10,
            sites: "resid_pre.0,resid_post.all".into(),
            max_new_tokens: 80,
            temperature: 1.0,
            train_fraction: 5.0 / 8.0,
            folds: 5,
            bootstrap: 1000,
            permutations: 200,
        }
    }
}

impl TraitLayers {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
