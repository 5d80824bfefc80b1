//! Conversations that a model leads: whoever plays the user asks, the model replies, turn after turn, all of them
//! together so that a turn is one batch.
//!
//! The user may be a list of words, or a model: this one or another, which sees the conversation mirrored. A reply can be
//! given under edits of its own turn, and questions can be forked off, which the conversation never hears of.

mod lead;
mod read;
mod user;

pub use lead::{Speak, lead, stage};
pub use read::{Part, Place, read};
pub use user::User;

use crate::error::Result;
use crate::model::Model;
use crate::text::{Message, USER};
use crate::unit::Item;
use std::collections::BTreeMap;

/// One conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Talk {
    /// Names the random streams of its replies.
    pub id: String,
    /// What it began with, in a word that several conversations may share.
    pub start: String,
    pub seed: u64,
    /// Index into the adapters of the model that replies.
    pub adapter: Option<usize>,
    /// What stood before the first turn, and everything said since.
    pub messages: Vec<Message>,
    pub user: User,
    /// The speakers in whose header the replies stand, turn by turn; beyond its end the assistant's own.
    pub reply_as: Vec<String>,
    /// Indices into the edits that a reply is given under, by turn.
    pub edits: BTreeMap<usize, Vec<usize>>,
    pub turns: Vec<Turn>,
    /// Why there is no further turn.
    pub ended: Option<Ended>,
}

/// One question and its reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub question: String,
    /// As it was drawn.
    pub tokens: Vec<u32>,
    pub reply: String,
    /// Tokens before the reply: all the context there was.
    pub context: usize,
}

/// Why a conversation has no further turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The next question with a reply of full length would go beyond the model's positions.
    NoRoom,
    /// The user has nothing more to say.
    NoQuestion,
}

impl Talk {
    /// A conversation that is still to begin.
    pub fn new(id: impl Into<String>, messages: Vec<Message>, user: User, seed: u64) -> Talk {
        Talk { id: id.into(), messages, user, seed, ..Talk::default() }
    }

    /// A conversation that was held elsewhere, as (question, reply): it is read like one that a model led.
    pub fn held(id: impl Into<String>, before: Vec<Message>, said: impl IntoIterator<Item = (String, String)>) -> Talk {
        let mut talk = Talk::new(id, before, User::default(), 0);
        for (question, reply) in said {
            talk.messages.push(Message::new(USER, question));
            talk.hear(0, Vec::new(), reply);
        }
        talk.ended = Some(Ended::NoQuestion);
        talk
    }

    /// The prompt of the next reply; `None`, with the reason in [`Talk::ended`], where there is none. `room` tokens are
    /// kept free for the reply.
    fn ask(&mut self, model: &Model, room: usize) -> Result<Option<Item>> {
        let turn = self.turns.len();
        let Some(question) = self.user.question(turn) else {
            self.ended = Some(Ended::NoQuestion);
            return Ok(None);
        };
        let mut messages = self.messages.clone();
        messages.push(Message::new(USER, question));
        let Some(mut item) = prompt(model, &messages, self.reply_as.get(turn), room)? else {
            self.ended = Some(Ended::NoRoom);
            return Ok(None);
        };
        item.id = format!("{}/{turn}", self.id);
        (item.seed, item.adapter) = (self.seed, self.adapter);
        item.edits = self.edits.get(&turn).cloned().unwrap_or_default();
        self.messages = messages;
        Ok(Some(item))
    }

    /// The prompt of the first reply, without beginning; `None` where there is none.
    ///
    /// # Errors
    /// What the chat template refuses.
    pub fn first(&self, model: &Model, room: usize) -> Result<Option<Item>> {
        self.clone().ask(model, room)
    }

    /// Takes the reply to the question that was asked last.
    fn hear(&mut self, context: usize, tokens: Vec<u32>, reply: String) {
        let question = self.messages.last().map(|m| m.content.clone()).unwrap_or_default();
        let message = Message::new(crate::text::ASSISTANT, &reply);
        self.messages.push(match self.reply_as.get(self.turns.len()) {
            Some(speaker) => message.by(speaker),
            None => message,
        });
        self.turns.push(Turn { question, tokens, reply, context });
    }

    /// Messages before the first turn.
    fn before(&self) -> usize {
        self.messages.len() - 2 * self.turns.len()
    }

    /// The place of the reply of a turn among the messages.
    pub fn reply_at(&self, turn: usize) -> usize {
        self.before() + 2 * turn + 1
    }

    /// The prompt in which a question stands in the place of the one of `turn`: what the conversation would have
    /// answered there. The conversation does not change. `None` where it does not fit.
    ///
    /// # Errors
    /// What the chat template refuses.
    pub fn fork(&self, model: &Model, turn: usize, question: &str, room: usize) -> Result<Option<Item>> {
        let end = (self.before() + 2 * turn).min(self.messages.len());
        let mut messages = self.messages[..end].to_vec();
        messages.push(Message::new(USER, question));
        let item = prompt(model, &messages, self.reply_as.get(turn), room)?;
        let id = format!("{}/{turn}?", self.id);
        Ok(item.map(|i| Item { id, seed: self.seed, adapter: self.adapter, ..i }))
    }
}

/// The conversation so far with the header of a reply; `None` where a reply of `room` tokens would find no place.
fn prompt(model: &Model, messages: &[Message], reply_as: Option<&String>, room: usize) -> Result<Option<Item>> {
    let options =
        crate::text::ChatOptions { generation_header: true, reply_as: reply_as.cloned(), ..Default::default() };
    let tokens = model.text.chat_with(messages, &options)?.tokens;
    let fits = tokens.len() + room <= model.lm.dims().n_ctx;
    Ok(fits.then(|| Item { prompt_len: tokens.len(), tokens, ..Item::default() }))
}

#[cfg(test)]
mod tests;
