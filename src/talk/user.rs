//! Who plays the user.

use crate::error::Result;
use crate::model::Model;
use crate::text::{ASSISTANT, Message, SYSTEM, USER};
use crate::unit::Item;

/// Who plays the user.
#[derive(Clone, Debug, PartialEq)]
pub enum User {
    /// These words, turn after turn.
    Says(Vec<String>),
    /// A model. It sees the conversation mirrored: its own lines as the assistant's, the replies as the user's.
    Plays(Player),
}

/// A user that a model plays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Player {
    /// The system prompt that it has, if any.
    pub system: Option<String>,
    /// What it is told before its first line: templates want the user to begin.
    pub cue: String,
    /// Its lines so far; the first is given, the others are drawn.
    pub lines: Vec<String>,
    /// Index into the adapters of the model that plays it.
    pub adapter: Option<usize>,
}

impl Default for User {
    fn default() -> User {
        User::Says(Vec::new())
    }
}

impl User {
    /// A user that the model plays, beginning with `opener`.
    pub fn plays(cue: impl Into<String>, opener: impl Into<String>) -> User {
        User::Plays(Player { cue: cue.into(), lines: vec![opener.into()], ..Player::default() })
    }

    /// What is said at a turn.
    pub(super) fn question(&self, turn: usize) -> Option<&str> {
        let said = match self {
            User::Says(lines) => lines,
            User::Plays(player) => &player.lines,
        };
        said.get(turn).map(String::as_str)
    }
}

impl Player {
    /// The prompt of its next line, given the replies so far; `None` where it does not fit.
    pub(super) fn prompt(
        &self,
        model: &Model,
        id: &str,
        seed: u64,
        replies: &[&str],
        room: usize,
    ) -> Result<Option<Item>> {
        let mut messages: Vec<Message> = self.system.iter().map(|s| Message::new(SYSTEM, s)).collect();
        messages.push(Message::new(USER, &self.cue));
        for (line, reply) in self.lines.iter().zip(replies) {
            messages.push(Message::new(ASSISTANT, line));
            messages.push(Message::new(USER, *reply));
        }
        let item = super::prompt(model, &messages, None, room)?;
        let id = format!("{id}/user/{}", self.lines.len());
        Ok(item.map(|i| Item { id, seed, adapter: self.adapter, ..i }))
    }
}
