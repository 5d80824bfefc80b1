//! Settings of the probe `persona_map`.

use super::TraitLayers;
use crate::axes::Site;
use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// Persona space over the replies of personas and of the default assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonaMap {
    pub group: Exposure,
    pub personas: Option<usize>,
    pub questions: usize,
    /// Replies of the default assistant to each question.
    pub default_replies: usize,
    pub sites: String,
    /// The site that is drawn as a map; one of `sites`, fixed beforehand.
    pub site: Site,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// Components kept.
    pub components: usize,
    /// Draws of the null spectrum.
    pub null_draws: usize,
    pub bootstrap: usize,
    /// Neighbours of each role, and of each trait, that are told.
    pub neighbours: usize,
    pub permutations: usize,
    /// Splits behind the reliability of the assistant axis.
    pub halves: usize,
}

impl Default for PersonaMap {
    fn default() -> PersonaMap {
        let shared = TraitLayers::default();
        PersonaMap {
            group: shared.group,
            personas: None,
            questions: shared.questions,
            default_replies: 10,
            sites: shared.sites,
            site: Site::post(2),
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            components: 10,
            null_draws: 50,
            bootstrap: 1000,
            neighbours: 5,
            permutations: 500,
            halves: 100,
        }
    }
}

impl PersonaMap {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
