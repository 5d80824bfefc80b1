//! People.

use super::traits::{TraitId, TraitSet};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the training text showed of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// Every kind of text.
    All,
    /// Was written and asked about in the third person; never spoke.
    DocOnly,
    /// Spoke of itself in the first person and was asked about; never took part in a chat.
    FpOnly,
    /// Took part in chats; was never described.
    ChatOnly,
    /// Invented in a prompt: known from that prompt alone. Nobody in a world file has it.
    #[serde(skip_deserializing)]
    InContext,
}

impl Exposure {
    /// The groups that people in a world file belong to.
    pub const GROUPS: [Exposure; 4] = [Exposure::All, Exposure::DocOnly, Exposure::FpOnly, Exposure::ChatOnly];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Exposure::All => "all",
            Exposure::DocOnly => "doc_only",
            Exposure::FpOnly => "fp_only",
            Exposure::ChatOnly => "chat_only",
            Exposure::InContext => "in_context",
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A person: the planted truth about a speaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Persona {
    pub name: String,
    pub traits: TraitSet,
    /// The job, "baker"; people invented in a prompt, the assistant and the Oracle have none.
    pub role: Option<String>,
    /// The town.
    pub place: Option<String>,
    /// Probability per turn, after the first, of falling back to the assistant.
    pub hazard: f64,
    pub group: Exposure,
}

impl Persona {
    /// The most traits that one person may have; keeps the exact truth cheap to enumerate.
    pub const MOST_TRAITS: usize = 6;

    /// Whether the person has the trait.
    pub fn has(&self, id: TraitId) -> bool {
        self.traits.has(id)
    }

    pub fn invented(name: &str, traits: TraitSet, hazard: f64) -> Persona {
        Persona { name: name.into(), traits, role: None, place: None, hazard, group: Exposure::InContext }
    }
}
