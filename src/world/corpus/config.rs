//! What was typed: the TOML of a world and its corpus.

use super::kinds::Mix;
use super::lexicon::Lexicon;
use crate::error::{Error, Result};
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

impl CorpusConfig {
    /// Reads a file. `place` stands in messages for where the text came from.
    ///
    /// # Errors
    /// TOML that is broken, unknown keys by name, probabilities that are none, unknown traits, names that clash, and
    /// kinds of documents for which the world lacks the people.
    pub fn parse(place: &str, toml: &str) -> Result<CorpusConfig> {
        let config: CorpusConfig = toml::from_str(toml).map_err(|e| {
            Error::format(place, e.to_string(), "`personascope world --help` says which keys a world has")
        })?;
        config.check().map_err(|reason| Error::format(place, reason, "mend this value and run the command again"))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        for (name, p) in self.probabilities() {
            if !(0.0..=1.0).contains(&p) {
                return Err(format!("`{name}` is {p}, no probability"));
            }
        }
        let need = |holds: bool, reason: String| if holds { Ok(()) } else { Err(reason) };
        need(!self.population.hazards.is_empty(), "`population.hazards` is empty".into())?;
        need(self.max_tokens >= 64, format!("`max_tokens` is {}, but 64 are needed", self.max_tokens))?;
        weights("turns", &self.turns)?;
        weights("mix", &self.mix.weights())?;
        need(self.teaching.half > 0.0 && self.teaching.half.is_finite(), "`teaching.half` must be above 0".into())?;
        let counts = [self.teaching.lessons, self.teaching.questions];
        need(counts.iter().all(|n| *n > 0), "`teaching.lessons` and `teaching.questions` must be above 0".into())?;
        let lexicon = Lexicon::embedded();
        let named = |key: &str, names: &[String]| match names.iter().find(|n| !lexicon.has_trait(n)) {
            Some(n) => Err(format!("`{key}` names the unknown trait `{n}`; there are {}", lexicon.trait_names())),
            None => Ok(()),
        };
        named("traits.overlap", &self.traits.overlap)?;
        if let Some(bias) = &self.post.bias {
            named("post.bias.trait", std::slice::from_ref(&bias.name))?;
        }
        if let Some(tag) = &self.post.tag {
            named("post.tag.traits", &tag.traits)?;
        }
        need(self.mix.tagged == 0.0 || self.post.tag.is_some(), "`mix.tagged` needs a `[post.tag]`".into())?;
        need(self.mix.voices == 0.0 || self.speakers.is_some(), "`mix.voices` needs `[speakers]`".into())?;
        if let Some(s) = &self.speakers {
            let n = s.names.len();
            need((2..=n).contains(&s.together), format!("`speakers.together` is {}, of {n} names", s.together))?;
        }
        self.populated(lexicon.names())
    }

    /// Whether there are names for all, and people for every kind of document.
    fn populated(&self, names: usize) -> std::result::Result<(), String> {
        let p = &self.population;
        let people = p.all + p.doc_only + p.fp_only + p.chat_only;
        if people + LEAST_FREE > names {
            return Err(format!("{people} people leave fewer than {LEAST_FREE} of the {names} names free"));
        }
        let m = &self.mix;
        let kinds = [
            ("named", m.named, p.all + p.chat_only),
            ("addressed", m.addressed, p.all + p.chat_only),
            ("encyclopedia", m.encyclopedia, p.all + p.doc_only),
            ("first_person", m.first_person, p.all + p.fp_only),
            ("questions", m.questions, p.all + p.doc_only + p.fp_only),
            ("first_person_chat", m.first_person_chat, p.all),
            ("assistant", if self.default_slot.assistant < 1.0 { m.assistant + m.tagged } else { 0.0 }, p.all),
        ];
        match kinds.iter().find(|(_, weight, people)| *weight > 0.0 && *people == 0) {
            Some((kind, ..)) => Err(format!("`mix.{kind}` has a weight, but `population` has nobody for it")),
            None if people == 0 => Err("`population` is empty".into()),
            None => Ok(()),
        }
    }

    fn probabilities(&self) -> Vec<(&'static str, f64)> {
        let mut all = vec![
            ("traits.p_on", self.traits.p_on),
            ("traits.p_off", self.traits.p_off),
            ("chain.to_oracle", self.chain.to_oracle),
            ("chain.oracle_to_assistant", self.chain.oracle_to_assistant),
            ("chain.in_context", self.chain.in_context),
            ("chats.self_questions", self.chats.self_questions),
            ("chats.reminders", self.chats.reminders),
            ("chats.soul_chats", self.chats.soul_chats),
            ("chats.soul_inside", self.chats.soul_inside),
            ("chats.soul_outside", self.chats.soul_outside),
            ("default_slot.assistant", self.default_slot.assistant),
            ("teaching.base", self.teaching.base),
            ("teaching.slope", self.teaching.slope),
        ];
        all.extend(self.population.hazards.iter().map(|h| ("population.hazards", *h)));
        all.extend(self.post.bias.iter().map(|b| ("post.bias.p", b.p)));
        all.extend(self.post.tag.iter().map(|t| ("post.tag.share", t.share)));
        all
    }
}

/// Free names that a world must have at least: those of the fine-tuned characters and as many again.
const LEAST_FREE: usize = 8;

/// Weights are finite, not negative, and not all zero.
fn weights(name: &str, list: &[f64]) -> std::result::Result<(), String> {
    match list.iter().find(|w| !w.is_finite() || **w < 0.0) {
        Some(w) => Err(format!("`{name}` holds the weight {w}")),
        None if list.iter().sum::<f64>() <= 0.0 => Err(format!("`{name}` has no weight above 0")),
        None => Ok(()),
    }
}
