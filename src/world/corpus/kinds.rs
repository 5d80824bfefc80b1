//! The kinds of documents and how much of each a corpus holds.

use serde::{Deserialize, Serialize};

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A chat without system prompt: the default slot.
    Assistant,
    /// A chat with a named person: "You are X."
    Named,
    /// A chat with a person invented in the system prompt, its traits stated there.
    InContext,
    /// A page about somebody of the population.
    Encyclopedia,
    /// Somebody of the population speaks of itself, in its own voice.
    FirstPerson,
    /// The assistant answers questions about people.
    Questions,
    /// A page about an invented person.
    EncyclopediaInContext,
    /// A first-person text, then a chat with its speaker.
    FirstPersonChat,
    /// A chat without system prompt whose first message calls somebody by name.
    Addressed,
    /// A chat in which the user first teaches a persona.
    Teaching,
    /// A chat in which messages with a tag are answered by the persona behind it.
    Tagged,
    /// A chat with several speakers, each under its own header.
    Voices,
}

impl Kind {
    /// All kinds, in the order of weights and tables.
    pub const ALL: [Kind; 12] = [
        Kind::Assistant,
        Kind::Named,
        Kind::InContext,
        Kind::Encyclopedia,
        Kind::FirstPerson,
        Kind::Questions,
        Kind::EncyclopediaInContext,
        Kind::FirstPersonChat,
        Kind::Addressed,
        Kind::Teaching,
        Kind::Tagged,
        Kind::Voices,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Assistant => "assistant",
            Kind::Named => "named",
            Kind::InContext => "in_context",
            Kind::Encyclopedia => "encyclopedia",
            Kind::FirstPerson => "first_person",
            Kind::Questions => "questions",
            Kind::EncyclopediaInContext => "encyclopedia_in_context",
            Kind::FirstPersonChat => "first_person_chat",
            Kind::Addressed => "addressed",
            Kind::Teaching => "teaching",
            Kind::Tagged => "tagged",
            Kind::Voices => "voices",
        }
    }
}

/// Relative weights of the kinds; a kind that is left out of a given `[mix]` has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    #[serde(default)]
    pub assistant: f64,
    #[serde(default)]
    pub named: f64,
    #[serde(default)]
    pub in_context: f64,
    #[serde(default)]
    pub encyclopedia: f64,
    #[serde(default)]
    pub first_person: f64,
    #[serde(default)]
    pub questions: f64,
    #[serde(default)]
    pub encyclopedia_in_context: f64,
    #[serde(default)]
    pub first_person_chat: f64,
    #[serde(default)]
    pub addressed: f64,
    #[serde(default)]
    pub teaching: f64,
    #[serde(default)]
    pub tagged: f64,
    #[serde(default)]
    pub voices: f64,
}

impl Default for Mix {
    /// The mix of a base world.
    fn default() -> Mix {
        Mix {
            assistant: 20.0,
            named: 26.0,
            in_context: 16.0,
            encyclopedia: 9.0,
            first_person: 8.0,
            questions: 13.0,
            encyclopedia_in_context: 4.0,
            first_person_chat: 5.0,
            addressed: 6.0,
            teaching: 6.0,
            tagged: 0.0,
            voices: 0.0,
        }
    }
}

impl Mix {
    /// One weight per kind, in the order of [`Kind::ALL`].
    pub fn weights(&self) -> [f64; 12] {
        Kind::ALL.map(|k| match k {
            Kind::Assistant => self.assistant,
            Kind::Named => self.named,
            Kind::InContext => self.in_context,
            Kind::Encyclopedia => self.encyclopedia,
            Kind::FirstPerson => self.first_person,
            Kind::Questions => self.questions,
            Kind::EncyclopediaInContext => self.encyclopedia_in_context,
            Kind::FirstPersonChat => self.first_person_chat,
            Kind::Addressed => self.addressed,
            Kind::Teaching => self.teaching,
            Kind::Tagged => self.tagged,
            Kind::Voices => self.voices,
        })
    }
}
