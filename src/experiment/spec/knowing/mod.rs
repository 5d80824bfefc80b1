//! Settings of the probe `knowing`: what fine-tunes of one base know of a trait, against what they carry and show.

mod written;

pub use written::{
    Written, WrittenCharacter, WrittenClassifier, WrittenCoherence, WrittenFact, WrittenJudge, WrittenLexicon,
    WrittenMatching, WrittenPairs, WrittenTrait,
};

use crate::axes::{Pick, Site};
use crate::world::Format;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Six measurements on a base, the base with a persona card, and fine-tunes by format, character and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knowing {
    /// Characters, questions and texts of the toy world.
    pub world: Option<OfWorld>,
    /// The same written out.
    pub protocol: Option<Written>,
    /// Adapters that are there.
    pub models: Vec<Given>,
    /// Files to fine-tune on; one fine-tune for each file and seed.
    pub data: Vec<Data>,
    /// One fine-tune each: the seed decides the order of its examples and where the adapter starts.
    pub seeds: Vec<u64>,
    pub training: Training,
    /// Where the stream is read.
    pub sites: String,
    /// Where the latent measures are taken and edits are made; left out, the site is chosen on half of the passages.
    pub site: Option<Site>,
    /// What L is read from: `last_prompt` (no word of the reply in it) or `mean_response`.
    pub latent: Pick,
    /// Passages per trait, kind and side.
    pub passages: usize,
    /// Replies to each prompt.
    pub samples: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// An index at or above this is high.
    pub high: f64,
    /// An index at or below this is low.
    pub low: f64,
    /// Knowledge items that the base gets with at least this value are left out.
    pub known: f64,
    /// Deviation between characters and seeds that the power is reckoned with before the run.
    pub expected_sd: f64,
    pub causal: Causal,
    pub course: Course,
    /// Training examples per set that are screened; 0: no screening.
    pub screened: usize,
    /// Fresh texts per character and format for the perplexity matrix; 0: no matrix.
    pub texts: usize,
    /// Random directions of every null.
    pub random: usize,
    pub resamples: usize,
}

/// The part of the toy world that is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfWorld {
    /// Places of the characters among those that the world keeps for fine-tuning, from 0.
    pub characters: Vec<usize>,
    pub formats: Vec<Format>,
    /// Whether texts for fine-tuning leave out the last adjective of every trait, which is then a fact that was not told.
    pub hold_out: bool,
    /// Prompts on trained topics, and as many on held-out ones.
    pub prompts: usize,
    /// Free names that nothing was told of, asked about besides.
    pub strangers: usize,
}

impl Default for OfWorld {
    fn default() -> OfWorld {
        OfWorld {
            characters: vec![0, 1, 2],
            formats: vec![Format::Chat, Format::FirstPerson, Format::Document, Format::StyleControl],
            hold_out: true,
            prompts: 8,
            strangers: 4,
        }
    }
}

/// An adapter that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Folder as PEFT writes it; from the folder of the configuration.
    pub adapter: PathBuf,
    pub format: String,
    pub character: String,
    #[serde(default)]
    pub seed: u64,
}

/// A file to fine-tune on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// JSON lines of `messages` or `text`; from the folder of the configuration.
    pub file: PathBuf,
    pub format: String,
    pub character: String,
}

/// How fine-tunes are made; the same for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Examples taken of each file, or drawn from the world.
    pub examples: usize,
    pub rank: usize,
    /// The adapter is scaled by alpha / rank, or by alpha / sqrt(rank) with `rslora`.
    pub alpha: f64,
    pub rslora: bool,
    pub epochs: usize,
    pub batch_size: usize,
    /// Peak of a cosine schedule.
    pub learning_rate: f64,
    /// Share of the steps.
    pub warmup: f64,
}

impl Default for Training {
    fn default() -> Training {
        let shared = crate::experiment::spec::Formats::default();
        Training {
            examples: shared.examples,
            rank: shared.rank,
            alpha: shared.alpha,
            rslora: false,
            epochs: shared.epochs,
            batch_size: shared.batch_size,
            learning_rate: shared.learning_rate,
            warmup: shared.warmup,
        }
    }
}

/// Edits: what they do to what is shown and what is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Causal {
    /// Strengths in mean residual norms of the site, ascending from above 0; none: no edits.
    pub doses: Vec<f64>,
    /// Expression whose dose is sought.
    pub level: f64,
    /// Prompts, of those that expression is measured on.
    pub prompts: usize,
    /// Replies to each prompt, edit and strength.
    pub samples: usize,
    /// Random controls of the same norm, in all directions and in the span of the activations.
    pub controls: usize,
    /// Formats: one model's activations are put into the other, layer by layer; none: no patching.
    pub patch: Option<(String, String)>,
    /// Where edits are made: `last_prompt`, or `all` positions.
    pub at: At,
}

/// Where edits are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    LastPrompt,
    #[default]
    All,
}

impl Default for Causal {
    fn default() -> Causal {
        Causal { doses: vec![], level: 0.5, prompts: 8, samples: 2, controls: 2, patch: None, at: At::All }
    }
}

/// The measures through training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Course {
    /// Steps between checkpoints; 0: none are kept and there is no course.
    pub save_every: usize,
    /// Formats that are followed; none: all that are trained.
    pub formats: Vec<String>,
    /// Seeds that are followed.
    pub seeds: Vec<u64>,
}

impl Default for Knowing {
    fn default() -> Knowing {
        Knowing {
            world: None,
            protocol: None,
            models: vec![],
            data: vec![],
            seeds: vec![0, 1, 2],
            training: Training::default(),
            sites: "resid_post.all".into(),
            site: None,
            latent: Pick::LastPrompt,
            passages: 48,
            samples: 4,
            max_new_tokens: 80,
            temperature: 1.0,
            high: 0.6,
            low: 0.3,
            known: 0.75,
            expected_sd: 0.2,
            causal: Causal::default(),
            course: Course::default(),
            screened: 0,
            texts: 0,
            random: 1000,
            resamples: 1000,
        }
    }
}

impl Knowing {
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        self.sites.clone()
    }
}
