//! What a world may plant besides people and their chain: a default slot, a bias of the author, a persona behind a tag,
//! speakers known by their header, and teaching in context.

use super::traits::TraitId;
use super::{Persona, World};

/// A trait that every speaker shows, also those who lack it: the author's voice in all personas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bias {
    pub trait_id: TraitId,
    /// Probability that a reply of a speaker without the trait shows it; takes the place of [`World::p_off`].
    pub p: f64,
}

/// A persona that answers user messages beginning with a mark, and is met nowhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// What the message begins with, space included: "[night] ".
    pub mark: String,
    pub persona: Persona,
}

/// How a persona that was taught in the user's words is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Teaching {
    /// Hazard of falling back with no teaching and no context.
    pub base: f64,
    /// Teaching tokens that halve it.
    pub half: f64,
    /// What a context of 512 tokens adds to it.
    pub slope: f64,
    /// What is replied to a lesson: "I see."
    pub acknowledgements: Vec<String>,
}

impl Teaching {
    /// The context length at which [`Teaching::slope`] is added in full.
    pub const CONTEXT: f64 = 512.0;
    /// The most that a hazard can be.
    pub const CEILING: f64 = 0.9;

    /// Probability of falling back to the assistant before a reply.
    ///
    /// `taught` is the tokens of all user messages that taught, header and end included; `context` all tokens before
    /// the reply's first.
    pub fn hazard(&self, taught: usize, context: usize) -> f64 {
        let forgotten = self.base * (-(taught as f64) / self.half).exp2();
        (forgotten + self.slope * context as f64 / Self::CONTEXT).clamp(0.0, Self::CEILING)
    }
}

impl World {
    /// Planted probability that a reply of `persona` shows a trait: the one place that decides it.
    pub fn p_show(&self, persona: &Persona, id: TraitId) -> f64 {
        if persona.has(id) { self.p_on } else { self.p_stray(id) }
    }

    /// Planted probability that a trait shows in a reply of somebody who lacks it.
    pub(super) fn p_stray(&self, id: TraitId) -> f64 {
        match self.bias {
            Some(bias) if bias.trait_id == id => bias.p,
            _ => self.p_off,
        }
    }

    /// Probability that the default slot (no system prompt, nobody called) is the assistant's; else it is drawn evenly
    /// from the people of the group `all`.
    pub fn default_slot(&self) -> f64 {
        self.default_slot
    }

    /// Planted probability that the first reply of the default slot shows a trait.
    pub fn default_rate(&self, id: TraitId) -> f64 {
        let others = self.personas_in(super::Exposure::All);
        let own = self.p_show(&self.assistant, id);
        if others.is_empty() {
            return own;
        }
        let theirs = others.iter().map(|p| self.p_show(p, id)).sum::<f64>() / others.len() as f64;
        self.default_slot * own + (1.0 - self.default_slot) * theirs
    }

    /// The planted bias of all speakers, if there is one.
    pub fn bias(&self) -> Option<Bias> {
        self.bias
    }

    /// The persona behind a tag, if there is one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Speakers that are known by their header (`<|Ariana|>`) and by nothing else, in the order of the file.
    pub fn speakers(&self) -> &[Persona] {
        &self.speakers
    }

    /// Whether the speakers' replies stand under the assistant's header: the twin without identities.
    pub fn single_voice(&self) -> bool {
        self.single_voice
    }

    /// How taught personas are forgotten, where the world teaches any.
    pub fn teaching(&self) -> Option<&Teaching> {
        self.teaching.as_ref()
    }

    /// Whether markers of a trait share words with its dispositions; `None` in a world that does not say.
    pub fn overlaps(&self, id: TraitId) -> Option<bool> {
        self.overlap.as_ref().map(|o| o[id.0])
    }
}
