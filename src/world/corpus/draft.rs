//! A document before it is text: its turns, with the truth about each.

use super::kinds::Kind;
use super::tokens::Counter;
use crate::world::chain::{Push, State};
use crate::world::traits::{Markers, TraitSet};

/// A document: raw text, system prompt, turns; any of them may be absent.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub kind: Kind,
    /// Raw text before any turn.
    pub lead: Option<String>,
    pub system: Option<String>,
    pub turns: Vec<Turn>,
    /// The person of the population whose document it is, by its place in the world.
    pub person: Option<usize>,
    /// Replies quoted in the lead.
    pub quote: Option<Reply>,
    /// Whether the document began in the default slot, and whether the assistant took it.
    pub default_slot: Option<bool>,
}

/// A question and its reply.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub user: String,
    pub reply: String,
    /// The speaker whose header the reply has; `None` for the assistant's.
    pub header: Option<String>,
    pub seen: Seen,
}

/// The truth about a turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// A reply on a topic.
    pub shown: Option<Reply>,
    pub step: Option<Step>,
    pub fall: Option<Fall>,
    /// The person asked about in the third person, by its place in the world.
    pub asked: Option<usize>,
    /// The speaker of a transcript, by its place in the world.
    pub voice: Option<usize>,
    pub tagged: bool,
}

/// Traits of a speaker, and those that were made to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub planted: TraitSet,
    pub shown: Markers,
}

/// One step of the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub push: Push,
    pub from: State,
    pub to: State,
    /// Where the conversation began.
    pub start: State,
    /// The hazard of the persona that the conversation began with, where there is one.
    pub hazard: Hazard,
}

/// Which planted hazard a persona has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hazard {
    /// By its place in the list of the configuration.
    Population(usize),
    InContext,
    None,
}

/// One chance of a taught persona to be forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fall {
    /// Tokens as [`Teaching::hazard`](crate::world::Teaching::hazard) counts them.
    pub taught: usize,
    pub context: usize,
    pub hazard: f64,
    pub fell: bool,
}

/// Tokens that a message has besides its content: header and end.
pub(super) const FRAME: usize = 2;

impl Draft {
    pub(super) fn new(kind: Kind) -> Draft {
        Draft { kind, lead: None, system: None, turns: vec![], person: None, quote: None, default_slot: None }
    }

    /// Drops trailing turns until the document fits. Gives the tokens that it has then, and whether any were dropped.
    pub(super) fn fit(&mut self, most: usize, counter: &mut Counter) -> (usize, bool) {
        let lead = self.lead.as_ref().map_or(0, |t| counter.count(t) + 1);
        let mut tokens = 1 + lead + self.system.as_ref().map_or(0, |s| counter.count(s) + FRAME);
        for (k, turn) in self.turns.iter().enumerate() {
            let more = counter.count(&turn.user) + counter.count(&turn.reply) + 2 * FRAME;
            if tokens + more > most {
                self.turns.truncate(k);
                return (tokens, true);
            }
            tokens += more;
        }
        (tokens, false)
    }

    /// The text with its special tokens.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("<|bos|>");
        let mut push = |parts: &[&str]| parts.iter().for_each(|p| text.push_str(p));
        if let Some(lead) = &self.lead {
            push(&[lead, "<|end|>"]);
        }
        if let Some(system) = &self.system {
            push(&["<|system|>", system, "<|end|>"]);
        }
        for turn in &self.turns {
            let header = turn.header.as_deref().unwrap_or(crate::text::ASSISTANT);
            push(&["<|user|>", &turn.user, "<|end|><|", header, "|>", &turn.reply, "<|end|>"]);
        }
        text
    }

    /// The texts between special tokens.
    pub(super) fn bodies(self) -> impl Iterator<Item = String> {
        let turns = self.turns.into_iter().flat_map(|t| [t.user, t.reply]);
        self.lead.into_iter().chain(self.system).chain(turns)
    }
}
