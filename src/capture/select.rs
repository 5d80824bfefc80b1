//! From a pick and the place of every token to the rows that are kept.

use crate::axes::Pick;
use crate::error::{Error, Result};
use crate::text::{ASSISTANT, Encoded};
use std::ops::Range;

/// One kept row: a token, or the mean over a range of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Positions that are averaged; one position for a token.
    pub range: Range<usize>,
    /// The turn it belongs to; `None` for what belongs to no message.
    pub turn: Option<usize>,
    pub role: String,
    /// Whose turn it is, where the turn names its speaker.
    pub speaker: Option<String>,
    /// `header`, `content` or `end` for a token; `None` for a mean.
    pub span: Option<String>,
    pub is_mean: bool,
}

/// The rows that `pick` keeps of a prompt.
///
/// Means are over content tokens alone: no BOS, no template tokens, no end of turn. Raw text and exact tokens count
/// as one turn.
///
/// # Errors
/// A prompt without the rows that were asked for, named by `id`.
pub fn select(pick: Pick, id: &str, encoded: &Encoded) -> Result<Vec<Kept>> {
    if encoded.tokens.is_empty() {
        return Err(Error::refused(
            format!("prompt `{id}` is empty"),
            "give it at least one token, or leave the line out",
        ));
    }
    let role_of = |turn: Option<usize>| match turn.map(|t| encoded.turns.get(t)) {
        Some(Some(turn)) => turn.role.clone(),
        // The header that opens a reply stands behind the last message.
        Some(None) => ASSISTANT.into(),
        None => String::new(),
    };
    let speaker_of = |turn: Option<usize>| turn.and_then(|t| encoded.speaker(t)).map(str::to_string);
    let token = |pos: usize| {
        let place = &encoded.places[pos];
        let (turn, span) = (place.turn, Some(place.span.to_string()));
        Kept { range: pos..pos + 1, turn, role: role_of(turn), speaker: speaker_of(turn), span, is_mean: false }
    };
    let mean = |turn: usize, range: &Range<usize>| Kept {
        range: range.clone(),
        turn: Some(turn),
        role: role_of(Some(turn)),
        speaker: speaker_of(Some(turn)),
        span: None,
        is_mean: true,
    };
    match pick {
        Pick::All => Ok((0..encoded.tokens.len()).map(token).collect()),
        Pick::LastPrompt => Ok(vec![token(encoded.last_prompt())]),
        Pick::MeanResponse => {
            let is_chat = encoded.turns.len() != 1 || encoded.turns[0].role == ASSISTANT;
            let last = encoded.turns.len().saturating_sub(1);
            let range = if is_chat { encoded.response() } else { raw_turn(encoded) };
            match range {
                Some(range) if !range.is_empty() => Ok(vec![mean(last, &range)]),
                _ => Err(Error::refused(
                    format!("prompt `{id}` does not end with a reply, so it has no mean over one"),
                    "end its messages with an assistant turn, or use --pick last_prompt or all",
                )),
            }
        }
        Pick::EachTurn => {
            let turns = encoded.turns.iter().enumerate().filter(|(_, t)| !t.content.is_empty());
            let rows: Vec<Kept> = turns.map(|(i, t)| mean(i, &t.content)).collect();
            if rows.is_empty() {
                let what = format!("prompt `{id}` has no turn with content");
                return Err(Error::refused(what, "give it a message with some text"));
            }
            Ok(rows)
        }
    }
}

/// The whole of a raw text or of exact tokens; `None` for a chat.
fn raw_turn(encoded: &Encoded) -> Option<Range<usize>> {
    let turn = &encoded.turns[0];
    ["text", "tokens"].contains(&turn.role.as_str()).then(|| turn.content.clone())
}
