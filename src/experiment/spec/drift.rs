//! Settings of the probe `drift`.

use super::Domain;
use crate::axes::Site;
use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// Falling out of a persona: planted conversations, and the model talking freely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    pub group: Exposure,
    /// Personas of planted conversations fall back at least this often per turn.
    pub least_hazard: f64,
    /// Planted conversations, teacher-forced.
    pub conversations: usize,
    pub turns: usize,
    pub sites: String,
    /// The site that is reported first; one of `sites`, fixed beforehand.
    pub site: Site,
    /// Share of the conversations that the axis is fitted on.
    pub train_fraction: f64,
    pub bootstrap: usize,
    pub permutations: usize,
    /// Conversations that the model leads freely, for each hazard of the world.
    pub chats: usize,
    pub chat_turns: usize,
    /// What the user talks about with the default assistant; the first is what it is calibrated on.
    pub domains: Vec<Domain>,
    /// Conversations of the default assistant in each domain.
    pub domain_chats: usize,
    /// Planted conversations of each person that the decoder of states is made from.
    pub decoder_chats: usize,
    /// Resamples behind the intervals of moves between states; each is a search.
    pub chain_bootstrap: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

impl Default for Drift {
    fn default() -> Drift {
        Drift {
            group: Exposure::All,
            least_hazard: 0.15,
            conversations: 160,
            turns: 6,
            sites: "resid_pre.0,resid_post.all".into(),
            site: Site::post(2),
            train_fraction: 0.5,
            bootstrap: 1000,
            permutations: 200,
            chats: 160,
            chat_turns: 8,
            domains: vec![
                Domain::new("plain topics", 0.0, 0.0),
                Domain::new("about itself", 0.0, 1.0),
                Domain::new("half of the soul", 0.5, 0.0),
                Domain::new("topics of the soul", 1.0, 0.0),
            ],
            domain_chats: 80,
            decoder_chats: 6,
            chain_bootstrap: 200,
            max_new_tokens: 72,
            temperature: 1.0,
        }
    }
}

impl Drift {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
