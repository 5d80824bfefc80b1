//! Settings of the probe `voice`.

use super::Formats;
use crate::axes::Site;
use serde::{Deserialize, Serialize};

/// How long a character's voice is kept in a conversation: by its card, by a fine-tune on its lines, by both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Places of the characters among those that the world keeps for fine-tuning, from 0.
    pub characters: Vec<usize>,
    /// One fine-tune each.
    pub seeds: Vec<u64>,
    /// Training examples of every fine-tune: chats in which each reply begins with the character's name.
    pub examples: usize,
    pub rank: usize,
    pub alpha: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub warmup: f64,
    /// Conversations of each arm and character, on topics that no fine-tune met.
    pub conversations: usize,
    pub turns: usize,
    /// Conversations written by the world for each character, and as many for the assistant: half of them fit the
    /// instruments, half test them.
    pub planted: usize,
    /// Where the latent measures are read; fixed beforehand.
    pub site: Site,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for Voice {
    fn default() -> Voice {
        let f = Formats::default();
        Voice {
            characters: f.characters,
            seeds: f.seeds,
            examples: f.examples,
            rank: f.rank,
            alpha: f.alpha,
            epochs: f.epochs,
            batch_size: f.batch_size,
            learning_rate: f.learning_rate,
            warmup: f.warmup,
            conversations: 24,
            turns: 6,
            planted: 48,
            site: Site::post(2),
            max_new_tokens: f.max_new_tokens,
            temperature: f.temperature,
            bootstrap: 1000,
            permutations: 1000,
        }
    }
}

impl Voice {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.site.to_string()
    }
}
