//! Settings of the probe `speakers`.

use crate::axes::Site;
use serde::{Deserialize, Serialize};

/// Several named speakers in one transcript, against the twin with one header for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speakers {
    /// The shipped model whose replies all stand under the assistant's header.
    pub twin: String,
    pub conversations: usize,
    /// Speakers of one conversation.
    pub together: usize,
    pub turns: usize,
    pub sites: String,
    /// The site that is drawn; one of `sites`.
    pub site: Site,
    /// Folds of conversations by which speakers are told apart.
    pub folds: usize,
    pub permutations: usize,
    pub bootstrap: usize,
    /// Tokens of a reply that are placed between speakers.
    pub tokens: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

impl Default for Speakers {
    fn default() -> Speakers {
        Speakers {
            twin: "toyworld-single".into(),
            conversations: 200,
            together: 3,
            turns: 6,
            sites: "resid_pre.0,resid_post.all".into(),
            site: Site::post(2),
            folds: 5,
            permutations: 40,
            bootstrap: 300,
            tokens: 24,
            max_new_tokens: 48,
            temperature: 1.0,
        }
    }
}

impl Speakers {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
