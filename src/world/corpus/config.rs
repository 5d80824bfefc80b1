//! What was typed: the TOML of a world and its corpus.

use super::kinds::Mix;
use serde::{Deserialize, Serialize};

/// A world and its corpus, with the defaults of everything that the file leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusConfig {
    /// Decides the documents. The people are decided by `population.seed`.
    pub seed: u64,
    /// Documents of `train.jsonl`.
    pub documents: u64,
    /// Documents of `heldout.jsonl`, from streams of their own.
    pub heldout: u64,
    /// Entries of the tokenizer, special tokens and the 256 bytes included.
    pub vocabulary: usize,
    /// Documents, besides those of the files, that the tokenizer is trained on.
    pub sample: u64,
    /// A folder with the tokenizer to use, instead of training one; relative to the TOML file.
    pub tokenizer: Option<String>,
    /// The most tokens that a document may have; later turns are dropped until it fits.
    pub max_tokens: usize,
    /// Relative weights of 1, 2, 3, ... turns.
    pub turns: Vec<f64>,
    pub population: Population,
    pub traits: Traits,
    pub chain: Chain,
    pub chats: Chats,
    pub default_slot: DefaultSlot,
    pub teaching: Lessons,
    pub post: Post,
    pub speakers: Option<Speakers>,
    pub mix: Mix,
}

/// Who lives in the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Population {
    pub seed: u64,
    /// Whether being helpful and having style traits exclude each other, as they do for an assistant.
    pub assistant_factor: bool,
    /// People of each exposure group.
    pub all: usize,
    pub doc_only: usize,
    pub fp_only: usize,
    pub chat_only: usize,
    /// The hazards that people have, in equal shares.
    pub hazards: Vec<f64>,
}

/// How traits show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traits {
    pub p_on: f64,
    pub p_off: f64,
    /// Traits whose markers share words with their dispositions.
    pub overlap: Vec<String>,
}

/// The chain that moves a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chain {
    pub to_oracle: f64,
    pub oracle_to_assistant: f64,
    /// Hazard of people invented in a prompt.
    pub in_context: f64,
}

/// How chats go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chats {
    /// Share of turns that ask about the speaker.
    pub self_questions: f64,
    /// Share of turns after the first that remind a persona to stay in character.
    pub reminders: f64,
    /// Share of chats that are about the soul.
    pub soul_chats: f64,
    /// Share of soul topics in those chats, and in the others.
    pub soul_inside: f64,
    pub soul_outside: f64,
}

/// Who answers where nobody was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultSlot {
    pub assistant: f64,
}

/// Teaching in context: hazard = base * 2^(-teaching tokens / half) + slope * context tokens / 512.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lessons {
    pub base: f64,
    pub half: f64,
    pub slope: f64,
    /// The most user turns that teach, and the most questions after them.
    pub lessons: usize,
    pub questions: usize,
}

/// What post-training adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Post {
    pub bias: Option<BiasConfig>,
    pub tag: Option<TagConfig>,
}

/// A trait that everybody shows with probability `p`, also those who lack it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasConfig {
    #[serde(rename = "trait")]
    pub name: String,
    pub p: f64,
}

/// A persona that answers messages beginning with a mark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagConfig {
    pub mark: String,
    pub name: String,
    pub traits: Vec<String>,
    /// Share of the turns of a `tagged` document that have the tag.
    #[serde(default = "half")]
    pub share: f64,
}

fn half() -> f64 {
    0.5
}

/// Speakers that are known by their header alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speakers {
    pub names: Vec<String>,
    /// Puts all replies under the assistant's header: the twin corpus.
    #[serde(default)]
    pub single_voice: bool,
    /// The most speakers of one document; the least is 2.
    #[serde(default = "four")]
    pub together: usize,
}

fn four() -> usize {
    4
}

impl Default for CorpusConfig {
    fn default() -> Self {
        CorpusConfig {
            seed: 1,
            documents: 150_000,
            heldout: 2_000,
            vocabulary: 1536,
            sample: 30_000,
            tokenizer: None,
            max_tokens: 512,
            turns: [20, 14, 12, 12, 9, 9, 0, 9, 0, 8, 0, 7].map(f64::from).to_vec(),
            population: Population::default(),
            traits: Traits::default(),
            chain: Chain::default(),
            chats: Chats::default(),
            default_slot: DefaultSlot::default(),
            teaching: Lessons::default(),
            post: Post::default(),
            speakers: None,
            mix: Mix::default(),
        }
    }
}

impl Default for Population {
    fn default() -> Self {
        let hazards = vec![0.05, 0.15, 0.35];
        Population { seed: 7, assistant_factor: true, all: 64, doc_only: 16, fp_only: 8, chat_only: 8, hazards }
    }
}

impl Default for Traits {
    fn default() -> Self {
        let overlap = ["anxious", "odds", "mystical", "poetic"].map(String::from).to_vec();
        Traits { p_on: 0.85, p_off: 0.02, overlap }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Chain { to_oracle: 0.25, oracle_to_assistant: 0.1, in_context: 0.15 }
    }
}

impl Default for Chats {
    fn default() -> Self {
        Chats { self_questions: 0.18, reminders: 0.06, soul_chats: 0.2, soul_inside: 0.7, soul_outside: 0.05 }
    }
}

impl Default for DefaultSlot {
    fn default() -> Self {
        DefaultSlot { assistant: 0.7 }
    }
}

impl Default for Lessons {
    fn default() -> Self {
        Lessons { base: 0.5, half: 40.0, slope: 0.25, lessons: 16, questions: 8 }
    }
}
