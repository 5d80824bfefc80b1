//! Conversations before and after encoding.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
    /// Who speaks, as it stands in the turn's header in the place of the role's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into(), speaker: None }
    }

    /// The same message under the header of `speaker`.
    pub fn by(self, speaker: impl Into<String>) -> Message {
        Message { speaker: Some(speaker.into()), ..self }
    }
}

/// Which part of a turn a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// What the template writes before the content: role marks, separators, default system texts.
    Header,
    /// What somebody said.
    Content,
    /// What the template writes after the content.
    End,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Span::Header => "header",
            Span::Content => "content",
            Span::End => "end",
        })
    }
}

/// The place of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenPlace {
    /// The message, counted from 0; the number of messages for a generation header; `None` for what belongs to no
    /// message, such as a beginning-of-sequence token.
    pub turn: Option<usize>,
    pub span: Span,
}

/// One message in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub role: String,
    /// The speaker whose header the turn has, where it names one.
    pub speaker: Option<String>,
    /// The tokens of the content; empty if the content is empty or the template does not print it.
    pub content: Range<usize>,
}

/// A prompt in tokens, with the place of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub tokens: Vec<u32>,
    /// One per token.
    pub places: Vec<TokenPlace>,
    /// One per message.
    pub turns: Vec<Turn>,
    /// Whether the prompt ends with the header of a turn that is still to be written.
    pub generation_header: bool,
    /// The speaker of that header, where it names one.
    pub reply_as: Option<String>,
    /// What was done otherwise than asked, in words that do not depend on the prompt where they can.
    pub warnings: Vec<String>,
}

impl Encoded {
    /// The speaker of a turn; of the reply that a generation header opens where `turn` is the number of turns.
    pub fn speaker(&self, turn: usize) -> Option<&str> {
        self.turns.get(turn).map_or(self.reply_as.as_deref(), |t| t.speaker.as_deref())
    }

    /// Whether any turn names its speaker.
    pub fn has_speakers(&self) -> bool {
        self.reply_as.is_some() || self.turns.iter().any(|t| t.speaker.is_some())
    }

    /// The index of the last token before the reply.
    ///
    /// With a generation header this is the last token. Without one it is the last token before the content of the
    /// last assistant turn, and the last token of all where no assistant speaks. 0 if nothing stands before.
    pub fn last_prompt(&self) -> usize {
        let reply = self.turns.iter().rev().find(|t| t.role == super::ASSISTANT);
        match reply {
            Some(turn) if !self.generation_header => turn.content.start.saturating_sub(1),
            _ => self.tokens.len().saturating_sub(1),
        }
    }

    /// The content tokens of the last turn if it is the assistant's and has any.
    pub fn response(&self) -> Option<Range<usize>> {
        let last = self.turns.last().filter(|t| t.role == super::ASSISTANT && !t.content.is_empty())?;
        Some(last.content.clone())
    }
}
