//! Leading conversations to their end.

use super::{Ended, Talk, User};
use crate::error::Result;
use crate::model::Model;
use crate::unit::Item;

/// Whoever continues prompts: a model with its way of drawing, and a place where finished work is kept.
pub trait Speak {
    fn model(&self) -> &Model;
    /// Tokens that a reply has at most.
    fn room(&self) -> usize;
    /// Replies to prompts, in their order. `stage` names the work for whoever watches it.
    ///
    /// # Errors
    /// A failed pass, an interruption.
    fn replies(&mut self, stage: &str, items: Vec<Item>) -> Result<Vec<Vec<u32>>>;
}

/// Leads all conversations through `turns` further turns, or as far as the model's positions and the user's words go.
/// `other` plays the users that a model plays; without it the model plays them itself.
///
/// # Errors
/// What the speaker or the chat template refuses.
pub fn lead(
    talks: &mut [Talk],
    turns: usize,
    speaker: &mut dyn Speak,
    mut other: Option<&mut dyn Speak>,
) -> Result<()> {
    for _ in 0..turns {
        match &mut other {
            Some(other) => play(talks, &mut **other)?,
            None => play(talks, speaker)?,
        }
        let (mut going, mut items) = (Vec::new(), Vec::new());
        for (i, talk) in talks.iter_mut().enumerate().filter(|(_, t)| t.ended.is_none()) {
            if let Some(item) = talk.ask(speaker.model(), speaker.room())? {
                going.push((i, item.tokens.len()));
                items.push(item);
            }
        }
        if items.is_empty() {
            break;
        }
        let turn = going.iter().map(|(i, _)| talks[*i].turns.len()).max().unwrap_or(0);
        let replies = speaker.replies(&stage(turn), items)?;
        for ((i, context), tokens) in going.into_iter().zip(replies) {
            let text = speaker.model().text.decode(&tokens)?;
            talks[i].hear(context, tokens, text);
        }
    }
    Ok(())
}

/// What a turn's replies are called.
pub fn stage(turn: usize) -> String {
    format!("replies, turn {turn}")
}

/// Draws the next line of every user that a model plays.
fn play(talks: &mut [Talk], speaker: &mut dyn Speak) -> Result<()> {
    let (mut going, mut items) = (Vec::new(), Vec::new());
    for (i, talk) in talks.iter_mut().enumerate().filter(|(_, t)| t.ended.is_none()) {
        let User::Plays(player) = &talk.user else { continue };
        let replies: Vec<&str> = talk.turns.iter().map(|t| t.reply.as_str()).collect();
        if replies.is_empty() || player.lines.len() > replies.len() {
            continue;
        }
        match player.prompt(speaker.model(), &talk.id, talk.seed, &replies, speaker.room())? {
            Some(item) => {
                going.push(i);
                items.push(item);
            }
            None => talk.ended = Some(Ended::NoRoom),
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    let lines = speaker.replies("lines of the user", items)?;
    for (i, tokens) in going.into_iter().zip(lines) {
        let text = speaker.model().text.decode(&tokens)?;
        if let User::Plays(player) = &mut talks[i].user {
            player.lines.push(text);
        }
    }
    Ok(())
}
