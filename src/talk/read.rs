//! Conversations read back: which tokens are which, as items to be captured.

use super::Talk;
use crate::error::Result;
use crate::model::Model;
use crate::unit::Item;

/// What is read of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the user said, averaged.
    Question,
    /// The token before the reply's first.
    Before,
    /// The reply, averaged.
    Reply,
    /// Every token of the reply.
    Tokens,
}

/// The place of a row that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the conversation.
    pub talk: usize,
    pub turn: usize,
    pub part: Part,
    /// Of a token: its place in the reply, from 0.
    pub offset: usize,
}

/// One item per conversation that has a reply, and the place of every row in the order in which a capture gives them:
/// turn by turn, in the order of `parts`. Parts without tokens are left out.
///
/// The text is encoded anew, as the model read it when it went on. What was drawn in few tokens may come back in more (bytes
/// that are no words do): a conversation is read as far as the model's positions go, and parts behind that are left out.
///
/// # Errors
/// What the chat template refuses.
pub fn read(talks: &[Talk], model: &Model, parts: &[Part]) -> Result<(Vec<Item>, Vec<Place>)> {
    let (mut items, mut places) = (Vec::new(), Vec::new());
    let n_ctx = model.lm.dims().n_ctx;
    for (t, talk) in talks.iter().enumerate().filter(|(_, t)| !t.turns.is_empty()) {
        let mut encoded = model.text.chat(&talk.messages, false)?;
        let mut ranges = Vec::new();
        for turn in 0..talk.turns.len() {
            let at = talk.reply_at(turn);
            let (question, reply) = (encoded.turns[at - 1].content.clone(), encoded.turns[at].content.clone());
            for part in parts {
                let mut keep = |range: std::ops::Range<usize>, offset| {
                    if !range.is_empty() && range.end <= n_ctx {
                        ranges.push(range);
                        places.push(Place { talk: t, turn, part: *part, offset });
                    }
                };
                match part {
                    Part::Question => keep(question.clone(), 0),
                    Part::Before => keep(reply.start.saturating_sub(1)..reply.start, 0),
                    Part::Reply => keep(reply.clone(), 0),
                    Part::Tokens => reply.clone().enumerate().for_each(|(i, p)| keep(p..p + 1, i)),
                }
            }
        }
        let prompt_len = (encoded.last_prompt() + 1).min(n_ctx);
        encoded.tokens.truncate(n_ctx);
        items.push(Item { prompt_len, tokens: encoded.tokens, ranges, adapter: talk.adapter, ..Item::default() });
    }
    Ok((items, places))
}
