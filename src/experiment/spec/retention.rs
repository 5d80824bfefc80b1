//! Settings of the probe `retention`.

use crate::axes::Site;
use serde::{Deserialize, Serialize};

/// How long a persona lasts that was taught in the user's own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Numbers of messages that teach.
    pub lessons: Vec<usize>,
    /// Conversations for each of them.
    pub chats: usize,
    /// Replies after the lessons; training had up to 8.
    pub turns: usize,
    /// Asked beside the conversation before every reply.
    pub probe_question: String,
    /// Where replies are read.
    pub site: Site,
    /// Planted conversations that the classifier and the axis are made from: half fit, half judge.
    pub planted_chats: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            lessons: vec![1, 2, 4, 8, 12],
            chats: 80,
            turns: 8,
            probe_question: "Who are you?".into(),
            site: Site::post(2),
            planted_chats: 160,
            max_new_tokens: 48,
            temperature: 1.0,
        }
    }
}

impl Retention {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.site.to_string()
    }
}
