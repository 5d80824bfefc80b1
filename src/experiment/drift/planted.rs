//! Planted conversations, teacher-forced: what is read of each turn, and its truth.

use crate::acts::{Activations, RowKey};
use crate::analysis::wording::TokenCounts;
use crate::axes::Pick;
use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::prompts::system;
use crate::experiment::spec::Drift as Settings;
use crate::experiment::states::recognisable;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::rng::stream;
use crate::text::{Encoded, Message};
use crate::unit::{Item, parallel};
use crate::world::{Conversation, ConversationOptions, State, SystemPrompt};
use ndarray::Axis;

/// Planted conversations with two rows per turn after the first: the token before the reply, and the reply.
pub(super) struct Planted {
    chats: Vec<(Conversation, Encoded)>,
    keys: Vec<RowKey>,
    /// Tokens of each reply.
    pub replies: TokenCounts,
    /// All tokens up to each reply: what the row before it can have seen.
    pub context: TokenCounts,
}

/// Draws and encodes the conversations.
pub(super) fn make(plan: &Plan, s: &Settings, model: &Model, threads: usize) -> Result<Planted> {
    let world = plan.world;
    let people: Vec<_> = recognisable(world, s.group)?.into_iter().filter(|p| p.hazard >= s.least_hazard).collect();
    if people.is_empty() {
        return Err(Error::refused(
            format!("no persona of the group `{}` falls back with {} or more per turn", s.group, s.least_hazard),
            "lower `least_hazard`; the world's hazards are 0.05, 0.15 and 0.35",
        ));
    }
    let mut rng = stream(plan.spec.seed, "planted conversations");
    let mut drawn = Vec::with_capacity(s.conversations);
    for i in 0..s.conversations {
        let persona = people[i % people.len()];
        let options = ConversationOptions::bare(s.turns, 0.0, SystemPrompt::Fixed(system(world, persona)));
        drawn.push((format!("{i:04}-{}", persona.name), world.conversation(&mut rng, persona, &options)?));
    }
    let encoded = parallel(&drawn, threads, |(_, chat)| {
        let messages: Vec<Message> = chat.lines().into_iter().map(|l| Message::new(l.role, l.content)).collect();
        model.text.chat(&messages, false)
    })?;
    let (mut keys, mut replies, mut context, mut chats) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((id, chat), encoded) in drawn.into_iter().zip(encoded) {
        for turn in 1..s.turns {
            let content = reply(&encoded, turn);
            keys.push(RowKey { id: format!("{id}/{turn}"), group: id.clone(), turn: Some(turn), pos: None });
            replies.push(encoded.tokens[content.clone()].to_vec());
            context.push(encoded.tokens[..content.start].to_vec());
        }
        chats.push((chat, encoded));
    }
    let replies = TokenCounts::of_tokens(keys.clone(), &replies)?;
    let context = TokenCounts::of_tokens(keys.clone(), &context)?;
    Ok(Planted { chats, keys, replies, context })
}

/// The content tokens of the reply of a turn: messages are the system prompt, then question and reply in turn.
fn reply(encoded: &Encoded, turn: usize) -> std::ops::Range<usize> {
    encoded.turns[2 + 2 * turn].content.clone()
}

impl Planted {
    /// One item per conversation, with two ranges for every turn after the first.
    pub fn items(&self) -> Vec<Item> {
        let one = |(chat, encoded): &(Conversation, Encoded)| {
            let both = |turn| {
                let content = reply(encoded, turn);
                [content.start - 1..content.start, content]
            };
            let ranges = (1..chat.turns.len()).flat_map(both).collect();
            let tokens = encoded.tokens.clone();
            Item { prompt_len: encoded.last_prompt() + 1, tokens, ranges, ..Item::default() }
        };
        self.chats.iter().map(one).collect()
    }

    /// Whether the persona speaks, for every row.
    pub fn in_persona(&self) -> Vec<bool> {
        let turns = self.chats.iter().flat_map(|(chat, _)| &chat.turns[1..]);
        turns.map(|t| t.state == State::Persona).collect()
    }

    /// Activations at the token before each reply, and averaged over it.
    pub fn capture(&self, plan: &Plan, work: &mut Work<'_, '_>) -> Result<(Vec<Activations>, Vec<Activations>)> {
        let kept = work.capture("planted conversations", self.items(), &plan.sites)?;
        let (mut before, mut over) = (Vec::new(), Vec::new());
        for (site, rows) in kept {
            let half = |first: usize| {
                let chosen: Vec<usize> = (first..rows.nrows()).step_by(2).collect();
                rows.select(Axis(0), &chosen)
            };
            before.push(Activations::new(site, Pick::LastPrompt, half(0), self.keys.clone())?);
            over.push(Activations::new(site, Pick::MeanResponse, half(1), self.keys.clone())?);
        }
        Ok((before, over))
    }
}
