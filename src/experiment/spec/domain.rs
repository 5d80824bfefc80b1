//! What a user talks about.

use serde::{Deserialize, Serialize};

/// What a user talks about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    pub name: String,
    /// Share of questions on topics of the soul; others are on plain ones.
    #[serde(default)]
    pub soul: f64,
    /// Share of questions about the speaker.
    #[serde(default)]
    pub about_itself: f64,
}

impl Domain {
    /// A domain by its shares.
    pub fn new(name: &str, soul: f64, about_itself: f64) -> Domain {
        Domain { name: name.into(), soul, about_itself }
    }
}
