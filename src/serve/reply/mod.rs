//! Replies as they are drawn: a conversation goes on in one way or in several, token by token.

pub mod arms;
pub mod ask;
mod command;
mod ear;
mod event;
mod lines;
mod measure;
mod pieces;

pub use ask::{Arm, Ask, Edit};
pub use event::Event;
pub use measure::{Measure, Measured};

use super::Problem;
use super::app::App;
use super::worker::Party;
use crate::model::Model;
use crate::text::{Encoded, Span};
use arms::Arms;
use ear::Speaker;
use lines::Lines;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What comes of a request, until it closes. Dropping it ends the work.
pub type Stream = UnboundedReceiver<Event>;

/// Begins to answer. May wait for a band to be measured.
///
/// # Errors
/// What [`Arms::of`] refuses, vectors to read that do not exist, too many requests.
pub fn reply(app: &Arc<App>, ask: &Ask) -> Result<Stream, Problem> {
    let arms = Arms::of(app, ask)?;
    let groups = app.groups(&ask.read)?;
    let (lines, reading) = Lines::of(&groups);
    let commands: Vec<Value> = ask
        .arms
        .iter()
        .zip(arms.resolved.iter().zip(&arms.starts))
        .map(|(arm, (edits, start))| {
            let command = command::command(ask, edits, &app.typed.options(start.adapter));
            json!({ "name": arm.name, "adapter": arm.adapter, "command": command, "edits": edits })
        })
        .collect();
    let start = json!({
        "item": ask.item(),
        "turn": ask.turn(),
        "prompt": tokens(&app.model, &arms.encoded),
        "warnings": arms.encoded.warnings,
        "sites": lines.sites(),
        "arms": commands,
        "queued": app.worker.busy().1,
    });
    let (send, receive) = unbounded_channel();
    let _ = send.send(Event::new("start", start));
    let edits = arms.starts.iter().map(|s| s.edits.clone()).collect();
    // What a page is told by one arm alone is the reply; likelihoods are for comparing.
    let judged = ask.arms.len() > 1 || !arms.edits.is_empty();
    let ear = Box::new(Speaker::new(app.model.clone(), send, lines, edits));
    let Arms { starts, edits, settings, .. } = arms;
    app.worker
        .ask(Party { starts, edits, settings, reading: Arc::new(reading), judged, ear })
        .map_err(|e| Problem { status: 503, ..Problem::from(e) })?;
    Ok(receive)
}

/// Every token of a conversation with its place.
pub fn tokens(model: &Model, encoded: &Encoded) -> Vec<Value> {
    let mut pieces = pieces::Pieces::default();
    let mut message = None;
    let mut all = Vec::with_capacity(encoded.tokens.len());
    for (token, place) in encoded.tokens.iter().zip(&encoded.places) {
        let text = if place.span == Span::Content {
            if message != place.turn {
                (pieces, message) = (pieces::Pieces::default(), place.turn);
            }
            pieces.add(model, *token).unwrap_or_else(|_| model.text.shown(*token))
        } else {
            model.text.shown(*token)
        };
        all.push(json!({ "text": text, "span": place.span, "message": place.turn }));
    }
    all
}

#[cfg(test)]
mod tests;
