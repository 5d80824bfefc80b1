//! Who is measured: the base, the base under a card, and every fine-tune, each on one character.

pub(super) use crate::analysis::knowing::{BASE, CARD};

use super::protocol::Protocol;
use crate::text::{Message, SYSTEM};

/// A model as it is measured on one character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    /// As in tables; of anchors one for all characters.
    pub model: String,
    /// `base`, `card`, or what it was trained on.
    pub format: String,
    /// Place of the character in the protocol.
    pub character: usize,
    /// Empty for anchors.
    pub seed: Option<u64>,
    /// Place of its adapter in the model.
    pub adapter: Option<usize>,
}

/// A fine-tune as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tuned {
    pub name: String,
    pub format: String,
    pub character: usize,
    pub seed: u64,
}

/// The anchors of every character, then the fine-tunes, whose adapters the model has in this order.
pub(super) fn subjects(protocol: &Protocol, tuned: &[Tuned]) -> Vec<Subject> {
    let anchor = |format: &str, character| Subject {
        model: format.into(),
        format: format.into(),
        character,
        seed: None,
        adapter: None,
    };
    let of = |format| (0..protocol.characters.len()).map(move |c| anchor(format, c));
    let mut all: Vec<Subject> = of(BASE).chain(of(CARD)).collect();
    all.extend(tuned.iter().enumerate().map(|(i, t)| Subject {
        model: t.name.clone(),
        format: t.format.clone(),
        character: t.character,
        seed: Some(t.seed),
        adapter: Some(i),
    }));
    all
}

impl Subject {
    /// What is said to it: behind the card where it has one, otherwise with no system prompt but the conversation's own.
    pub fn told(&self, protocol: &Protocol, messages: &[Message]) -> Vec<Message> {
        let card = (self.format == CARD).then(|| Message::new(SYSTEM, &protocol.characters[self.character].card));
        card.into_iter().chain(messages.iter().cloned()).collect()
    }
}
