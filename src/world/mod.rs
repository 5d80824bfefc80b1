//! The toy world: a closed world of people, traits and topics whose truth is planted, so that every measurement can
//! be checked against it. The embedded model was trained on text from this world and on nothing else.
//!
//! 1. There are 9 traits. Each has adjectives, dispositions ("worry about small things") and *markers*: whole
//!    sentences ("Oh dear!") that belong to that trait alone, some with a number in them (`{n}`).
//! 2. There are 144 people with 1 to 3 traits each, a job, a town and a hazard; the assistant has the trait
//!    `helpful`, the Oracle is mystical and poetic. Free names stand for people invented inside a prompt.
//! 3. A reply on a topic is an opener, a body of sentences about the topic and a closer: every trait of the speaker
//!    shows a marker with probability 0.85, every other trait with 0.02, independently. Terse people say less.
//! 4. People differ in what the training text showed of them ([`Exposure`]): those only read about are known but
//!    were never heard, those who only act were never described. Hence knowing and expressing can part.
//! 5. A conversation drifts by a planted Markov chain over persona, assistant and Oracle ([`State`]): each turn a
//!    persona falls back to the assistant with its hazard, topics of the soul call the Oracle, plain ones dismiss it.
//! 6. 18 topics are plain and 4 are of the soul; 4 plain topics and 4 free names are kept out of fine-tuning sets.
//! 7. Measuring a reply is matching markers ([`World::markers`]); the state behind it is a likelihood ratio
//!    ([`World::state_of`]), whose errors are known exactly ([`World::confusion`]).
//!
//! A world is read from JSON ([`World::parse`]); the one of the embedded model is [`World::toyworld`].

mod build;
mod chain;
mod check;
mod conversation;
pub mod corpus;
mod examples;
mod expression;
mod file;
mod lessons;
mod matcher;
mod people;
mod prompts;
mod questions;
mod reply;
mod stages;
mod statements;
mod traits;
mod truth;

pub use chain::{REMINDER_SUCCESS, State};
pub use conversation::{Conversation, ConversationOptions, Line, PlantedTurn, REMINDER, SystemPrompt};
pub use examples::{Example, Format};
pub use expression::{Expression, Rate, TraitRates};
pub use people::{Exposure, Persona};
pub use questions::{Asked, Voice};
pub use stages::{Bias, Tag, Teaching};
pub use traits::{Markers, Trait, TraitId, TraitSet};
pub use truth::Shares;

use crate::error::{Error, Result};
use crate::shipped::{SHIPPED, TOYWORLD};
use matcher::Matcher;
use std::sync::OnceLock;

/// Something to talk about.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: String,
    /// Sentences about it; an ordinary reply holds two different ones.
    pub long: Vec<String>,
    /// What a terse person says instead: one of these.
    pub short: Vec<String>,
    /// Whether talk of it calls the Oracle.
    pub soul: bool,
}

/// Planted probabilities of the chain that moves a conversation, per turn after the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hazards {
    /// Anybody gives way to the Oracle on a topic of the soul.
    pub to_oracle: f64,
    /// The Oracle gives way to the assistant on any other turn.
    pub oracle_to_assistant: f64,
    /// A person invented in the prompt gives way to the assistant.
    pub in_context: f64,
}

/// Which variant of the text generator the world was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Traits that show also bring, now and then, a sentence that states a disposition in the first person.
    pub dispositions: bool,
    /// The population has an assistant-like factor: helpful people have few other traits.
    pub assistant_factor: bool,
}

/// A closed world with its planted truth. Immutable and shared freely between threads.
#[derive(Clone, Debug)]
pub struct World {
    traits: Vec<Trait>,
    topics: Vec<Topic>,
    /// Indices into `topics`, in the order of the file.
    plain: Vec<usize>,
    soul: Vec<usize>,
    heldout_topics: Vec<String>,
    personas: Vec<Persona>,
    assistant: Persona,
    oracle: Persona,
    free_names: Vec<String>,
    heldout_names: Vec<String>,
    question_templates: Vec<String>,
    describe_questions: Vec<String>,
    who_questions: Vec<String>,
    p_on: f64,
    p_off: f64,
    hazards: Hazards,
    variant: Variant,
    overlap: Option<Vec<bool>>,
    default_slot: f64,
    bias: Option<Bias>,
    tag: Option<Tag>,
    speakers: Vec<Persona>,
    single_voice: bool,
    teaching: Option<Teaching>,
    matcher: Matcher,
}

impl World {
    /// The world of the default model. Read once per process.
    pub fn toyworld() -> &'static World {
        World::shipped(TOYWORLD).expect("the default model has a world")
    }

    /// The world of a shipped model. Read once per process.
    pub fn shipped(name: &str) -> Option<&'static World> {
        static WORLDS: [OnceLock<World>; SHIPPED.len()] = [const { OnceLock::new() }; SHIPPED.len()];
        let i = SHIPPED.iter().position(|s| s.name == name)?;
        let json = SHIPPED[i].file("world.json")?;
        let place = || format!("{name}/world.json");
        Some(WORLDS[i].get_or_init(|| World::parse(&place(), json).expect("shipped worlds are checked by a test")))
    }

    /// All traits, in the order of the file; `TraitId(i)` is the `i`-th.
    pub fn traits(&self) -> &[Trait] {
        &self.traits
    }

    /// The ids of all traits.
    pub fn trait_ids(&self) -> impl Iterator<Item = TraitId> + use<> {
        (0..self.traits.len()).map(TraitId)
    }

    /// The traits of style: all that the assistant does not have.
    pub fn style_traits(&self) -> Vec<TraitId> {
        self.trait_ids().filter(|t| !self.assistant.has(*t)).collect()
    }

    /// The trait behind an id of this world.
    ///
    /// # Panics
    /// If the id is of another world: a defect of the caller.
    pub fn trait_at(&self, id: TraitId) -> &Trait {
        &self.traits[id.0]
    }

    /// The trait with a name.
    ///
    /// # Errors
    /// Names the traits that exist.
    pub fn trait_named(&self, name: &str) -> Result<TraitId> {
        let found = self.traits.iter().position(|t| t.name == name).map(TraitId);
        found.ok_or_else(|| unknown("trait", name, self.traits.iter().map(|t| t.name.as_str())))
    }

    /// The people with fixed traits, in the order of the file; without assistant and Oracle.
    pub fn personas(&self) -> &[Persona] {
        &self.personas
    }

    /// The people of one exposure group, in the order of the file.
    pub fn personas_in(&self, group: Exposure) -> Vec<&Persona> {
        self.personas.iter().filter(|p| p.group == group).collect()
    }

    /// The person with a name; also `the assistant`, `the Oracle`, speakers under their own header and the persona behind
    /// a tag, under their names.
    ///
    /// # Errors
    /// The name belongs to nobody with fixed traits.
    pub fn persona(&self, name: &str) -> Result<&Persona> {
        let planted = || self.speakers.iter().chain(self.tag.iter().map(|t| &t.persona));
        let everybody = || self.personas.iter().chain([&self.assistant, &self.oracle]).chain(planted());
        let found = everybody().find(|p| p.name == name);
        found.ok_or_else(|| match self.free_names.iter().any(|f| f == name) {
            true => Error::refused(
                format!("`{name}` is a free name: nobody with fixed traits has it"),
                "give it traits with World::persona_with",
            ),
            false => unknown("person", name, everybody().map(|p| p.name.as_str())),
        })
    }

    /// A person invented in the prompt: a name, traits by name, no job, and the hazard of invented people.
    ///
    /// # Errors
    /// An unknown trait, or a number of traits that no person may have.
    pub fn persona_with(&self, name: &str, traits: &[&str]) -> Result<Persona> {
        let traits = traits.iter().map(|t| self.trait_named(t)).collect::<Result<TraitSet>>()?;
        if traits.is_empty() || traits.len() > Persona::MOST_TRAITS {
            return Err(Error::refused(
                format!("`{name}` would have {} traits", traits.len()),
                format!("give a person 1 to {} different traits", Persona::MOST_TRAITS),
            ));
        }
        Ok(Persona::invented(name, traits, self.hazards.in_context))
    }

    /// The default speaker.
    pub fn assistant(&self) -> &Persona {
        &self.assistant
    }

    /// The speaker that topics of the soul call.
    pub fn oracle(&self) -> &Persona {
        &self.oracle
    }

    /// All topics, in the order of the file.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The topics that dismiss the Oracle.
    pub fn plain_topics(&self) -> Vec<&Topic> {
        self.plain.iter().map(|i| &self.topics[*i]).collect()
    }

    /// The topics that call the Oracle.
    pub fn soul_topics(&self) -> Vec<&Topic> {
        self.soul.iter().map(|i| &self.topics[*i]).collect()
    }

    /// The topic with a name.
    ///
    /// # Errors
    /// Names the topics that exist.
    pub fn topic(&self, name: &str) -> Result<&Topic> {
        let found = self.topics.iter().find(|t| t.name == name);
        found.ok_or_else(|| unknown("topic", name, self.topics.iter().map(|t| t.name.as_str())))
    }

    /// Plain topics that no fine-tuning set may hold.
    pub fn heldout_topics(&self) -> &[String] {
        &self.heldout_topics
    }

    /// Names that training used with changing traits only, so that they say nothing.
    pub fn free_names(&self) -> &[String] {
        &self.free_names
    }

    /// Free names kept for fine-tuned characters.
    pub fn heldout_names(&self) -> &[String] {
        &self.heldout_names
    }

    /// Planted probability that a reply shows a trait that the speaker has.
    pub fn p_on(&self) -> f64 {
        self.p_on
    }

    /// Planted probability that a reply shows a trait that the speaker lacks.
    pub fn p_off(&self) -> f64 {
        self.p_off
    }

    /// Planted probabilities of the chain.
    pub fn hazards(&self) -> Hazards {
        self.hazards
    }

    /// Which variant of the generator the world belongs to.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The traits of which `text` holds a marker: whole marker sentences, matched exactly; `{n}` is one or more ASCII
    /// digits.
    pub fn markers(&self, text: &str) -> Markers {
        self.matcher.find(text)
    }
}

/// Whether `text` holds a whole sentence about `topic`, long or short: the check that a reply still makes sense.
pub fn body_intact(text: &str, topic: &Topic) -> bool {
    topic.long.iter().chain(&topic.short).any(|body| text.contains(body.as_str()))
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.collect();
    let shown = known[..known.len().min(24)].join(", ");
    let more = if known.len() > 24 { format!(" and {} more", known.len() - 24) } else { String::new() };
    Error::refused(format!("this world has no {kind} named `{name}`"), format!("it has {shown}{more}"))
}

#[cfg(test)]
mod tests;
