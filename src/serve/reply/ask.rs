//! What is asked of a reply, and what is refused of it.

use crate::serve::Problem;
use crate::text::{ASSISTANT, Message, SYSTEM, USER};
use serde::{Deserialize, Serialize};

/// Arms of one request.
pub const ARMS: usize = 16;
/// Vectors that tokens are projected on at once.
pub const READ: usize = 8;
/// Characters that say where an edit applies.
pub const PLACE: usize = 1000;
/// Messages of a conversation.
pub const MESSAGES: usize = 2000;

/// A conversation that is to go on, in one way or in several.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Names the random numbers, with the number of the reply.
    pub conversation: String,
    #[serde(default)]
    pub seed: u64,
    pub messages: Vec<Message>,
    /// The speaker of the reply, where it is not the assistant's own.
    #[serde(default)]
    pub reply_as: Option<String>,
    #[serde(default = "room")]
    pub max_new_tokens: usize,
    #[serde(default = "one")]
    pub temperature: f64,
    #[serde(default = "one")]
    pub top_p: f64,
    /// Vectors that every token is projected on.
    #[serde(default)]
    pub read: Vec<String>,
    pub arms: Vec<Arm>,
}

/// One way to go on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    #[serde(default)]
    pub name: String,
    /// The adapter; the base where there is none.
    #[serde(default)]
    pub adapter: Option<String>,
    #[serde(default)]
    pub edits: Vec<Edit>,
}

/// An edit as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub vector: String,
    pub site: String,
    pub op: String,
    pub on: String,
    pub strength: String,
}

fn room() -> usize {
    64
}

fn one() -> f64 {
    1.0
}

impl Ask {
    /// Assistant messages before the reply: with the name of the conversation, the name of its random numbers.
    pub fn turn(&self) -> usize {
        self.messages.iter().filter(|m| m.role == ASSISTANT).count()
    }

    /// `conversation/turn`.
    pub fn item(&self) -> String {
        format!("{}/{}", self.conversation, self.turn())
    }

    /// Refuses what nobody could answer.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, n_ctx: usize) -> Result<(), Problem> {
        let many = |what: &str, n: usize, least: usize, most: usize| {
            let fits = (least..=most).contains(&n);
            let said = || Problem::refused(format!("{n} {what}"), format!("{least} to {most} are possible"));
            if fits { Ok(()) } else { Err(said()) }
        };
        if self.conversation.is_empty() || self.conversation.len() > 200 {
            return Err(Problem::refused("the conversation has no name", "name it with 1 to 200 characters"));
        }
        many("arms", self.arms.len(), 1, ARMS)?;
        many("vectors to read", self.read.len(), 0, READ)?;
        many("new tokens", self.max_new_tokens, 1, n_ctx)?;
        self.arms.iter().try_for_each(|a| many("edits of an arm", a.edits.len(), 0, READ))?;
        let places = self.arms.iter().flat_map(|a| &a.edits).map(|e| e.on.len());
        many("characters of a place", places.max().unwrap_or(0), 0, PLACE)?;
        check_messages(&self.messages)?;
        match self.messages.last() {
            Some(m) if m.role == USER => Ok(()),
            _ => {
                Err(Problem::refused("the last message is not the user's", "say something before a reply is asked for"))
            }
        }
    }
}

/// Refuses roles that no conversation has.
///
/// # Errors
/// In words.
pub fn check_messages(messages: &[Message]) -> Result<(), Problem> {
    if messages.is_empty() || messages.len() > MESSAGES {
        let what = format!("a conversation of {} messages", messages.len());
        return Err(Problem::refused(what, format!("1 to {MESSAGES} are possible")));
    }
    match messages.iter().find(|m| ![SYSTEM, USER, ASSISTANT].contains(&m.role.as_str())) {
        Some(m) => Err(Problem::refused(
            format!("a message has the role `{}`", m.role),
            "roles are system, user and assistant; who speaks beside them is the message's `speaker`",
        )),
        None => Ok(()),
    }
}
