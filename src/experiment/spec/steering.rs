//! Settings of the probe `steering`.

use super::TraitLayers;
use crate::axes::Site;
use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// Steering the default assistant with trait directions, beside random directions of the same norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steering {
    /// Exposure group of the personas that directions are fitted on.
    pub group: Exposure,
    pub personas: Option<usize>,
    /// Questions that directions are fitted on; steered prompts are about other topics.
    pub questions: usize,
    pub sites: String,
    /// Where directions are fitted and added; the most frequent choice of the sweep over `sites` when left out.
    pub site: Option<Site>,
    pub traits: Vec<String>,
    /// In lengths of the trait's mean difference.
    pub doses: Vec<f64>,
    /// Questions put to the steered assistant.
    pub prompts: usize,
    /// Replies per trait, arm and dose; a multiple of `prompts`.
    pub replies: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// The marker rate whose dose is sought.
    pub level: f64,
    pub train_fraction: f64,
    pub folds: usize,
    pub bootstrap: usize,
}

impl Default for Steering {
    fn default() -> Steering {
        let shared = TraitLayers::default();
        let traits = ["anxious", "formal", "cheerful", "odds", "mystical", "grumpy", "poetic"];
        Steering {
            group: shared.group,
            personas: None,
            questions: shared.questions,
            sites: shared.sites,
            site: None,
            traits: traits.map(String::from).to_vec(),
            doses: vec![0.0, 0.5, 1.0, 2.0, 3.0, 4.0],
            prompts: 8,
            replies: 24,
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            level: 0.5,
            train_fraction: shared.train_fraction,
            folds: shared.folds,
            bootstrap: 1000,
        }
    }
}

impl Steering {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
