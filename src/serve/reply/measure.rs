//! A conversation read again: the projections of every token, as `capture` takes them.

use super::arms;
use super::ask::{READ, check_messages};
use super::lines::{Lines, means};
use crate::model::generate::Start;
use crate::serve::Problem;
use crate::serve::app::App;
use crate::text::{ASSISTANT, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    pub messages: Vec<Message>,
    #[serde(default)]
    pub adapter: Option<String>,
    pub read: Vec<String>,
}

/// What comes back.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub tokens: Vec<Value>,
    pub sites: Value,
    pub z: Value,
    pub turns: Vec<Value>,
}

impl Measure {
    /// Reads the conversation.
    ///
    /// # Errors
    /// What the template refuses; vectors that do not exist; a conversation beyond the model's positions.
    pub fn take(&self, app: &App) -> Result<Measured, Problem> {
        check_messages(&self.messages)?;
        if self.read.is_empty() || self.read.len() > READ {
            return Err(Problem::refused(
                format!("{} vectors to read", self.read.len()),
                format!("1 to {READ} are possible"),
            ));
        }
        let adapter = self.adapter.as_ref().map(|name| arms::find_adapter(&app.model, name)).transpose()?;
        let encoded = app.model.text.chat(&self.messages, false)?;
        let (lines, reading) = Lines::of(&app.groups(&self.read)?);
        let (id, tokens) = ("the conversation".into(), encoded.tokens.clone());
        let z = app.worker.read(Start { id, tokens, seed: 0, adapter, edits: vec![] }, reading)?;
        let replies = self.messages.iter().enumerate().filter(|(_, m)| m.role == ASSISTANT);
        let turns = replies.enumerate().map(|(turn, (message, _))| {
            let content = encoded.turns[message].content.clone();
            json!({ "message": message, "turn": turn, "mean": lines.row(&means(&z[content])) })
        });
        let turns = turns.collect();
        Ok(Measured { tokens: super::tokens(&app.model, &encoded), sites: lines.sites(), z: lines.columns(&z), turns })
    }
}
