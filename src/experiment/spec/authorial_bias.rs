//! Settings of the probe `authorial_bias`.

use super::TraitLayers;
use crate::axes::Site;
use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// The persona and the model that speaks through it, between a base model and the one trained from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorialBias {
    /// The model that the probe's own was trained from; a shipped one.
    pub before: String,
    /// Exposure group of the personas.
    pub group: Exposure,
    pub personas: Option<usize>,
    /// Questions on plain topics, each put to every persona and to the default assistant under both models.
    pub questions: usize,
    pub sites: String,
    /// The site that is reported first; one of `sites`, fixed beforehand.
    pub site: Site,
    /// Contents of the gate test: questions drawn anew, each on another topic.
    pub contents: usize,
    /// The name in the header of a speaker, in the gate test.
    pub speaker: String,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for AuthorialBias {
    fn default() -> AuthorialBias {
        let shared = TraitLayers::default();
        AuthorialBias {
            before: "toyworld-base".into(),
            group: shared.group,
            personas: None,
            questions: 16,
            sites: "resid_post.all".into(),
            // What the head reads: a bias of the author is in what is said.
            site: Site::post(3),
            contents: 16,
            speaker: "Ariana".into(),
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            bootstrap: 1000,
            permutations: 1999,
        }
    }
}

impl AuthorialBias {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
