//! News of the worker as events.

use super::event::{Event, receipt};
use super::lines::{Lines, means};
use super::pieces::Pieces;
use crate::model::{Ended, Model};
use crate::score::quality::{distinct_n, repetition};
use crate::serve::worker::{Ear, News};
use crate::steer::{TOLERANCE, TOLERANCE_HALF};
use candle_core::DType;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Tokens are sent in no quicker succession: waking the other end costs more than a token of a small model.
const APART: Duration = Duration::from_millis(2);

/// Sends what it hears. What is said of an arm is kept until the arm is at its end, no longer.
pub struct Speaker {
    model: Arc<Model>,
    send: UnboundedSender<Event>,
    /// What has been heard since tokens were sent, and when that was.
    held: Vec<Event>,
    sent: Option<Instant>,
    lines: Lines,
    arms: Vec<Said>,
    began: Instant,
}

struct Said {
    /// Its edits, by their places among those of all arms.
    edits: Vec<usize>,
    tokens: Vec<u32>,
    pieces: Pieces,
    z: Vec<Vec<f64>>,
    first_ms: Option<f64>,
    over: bool,
}

impl Speaker {
    /// For arms with these edits.
    pub fn new(model: Arc<Model>, send: UnboundedSender<Event>, lines: Lines, edits: Vec<Vec<usize>>) -> Speaker {
        let arm = |edits| {
            let (tokens, pieces, z) = Default::default();
            Said { edits, tokens, pieces, z, first_ms: None, over: false }
        };
        let arms = edits.into_iter().map(arm).collect();
        Speaker { model, send, held: vec![], sent: None, lines, arms, began: Instant::now() }
    }

    /// Passes something on with all that came before it.
    fn say(&mut self, name: &'static str, data: serde_json::Value) {
        self.held.push(Event::new(name, data));
        self.pass_on();
    }

    fn pass_on(&mut self) {
        // Whoever is gone is noticed by `gone`.
        self.held.drain(..).for_each(|event| drop(self.send.send(event)));
    }

    fn ms(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    fn end(&mut self, arm: usize, ended: Ended, did: &[crate::model::Did], nll: Option<f64>) {
        let half = self.model.opening().is_portable() && self.model.dtype.of_tensors() != DType::F32;
        let tolerance = if half { TOLERANCE_HALF } else { TOLERANCE };
        let ms = self.ms();
        let said = &mut self.arms[arm];
        said.over = true;
        let tokens = std::mem::take(&mut said.tokens);
        let mean = means(&std::mem::take(&mut said.z));
        let of = |(e, edit): (usize, &usize)| receipt(e, did.iter().find(|d| d.edit == *edit), tolerance);
        let receipts: Vec<_> = said.edits.iter().enumerate().map(of).collect();
        let first_ms = said.first_ms;
        let quality =
            json!({ "nll": nll, "distinct_2": distinct_n(&tokens, 2), "repetition_4": repetition(&tokens, 4) });
        let text = self.model.text.decode(&tokens).unwrap_or_default();
        let ended = match ended {
            Ended::Stop => "stop",
            Ended::Length => "length",
        };
        self.say(
            "done",
            json!({ "arm": arm, "text": text, "tokens": tokens, "ended": ended, "mean": self.lines.row(&mean),
                "receipts": receipts, "quality": quality, "first_ms": first_ms, "ms": ms }),
        );
        if self.arms.iter().all(|a| a.over) {
            self.say("end", json!({}));
        }
    }
}

impl Ear for Speaker {
    fn hear(&mut self, news: News) {
        match news {
            News::Prompt { arm, z } => self.say("prompt", json!({ "arm": arm, "z": self.lines.columns(&z) })),
            News::Token { arm, token } => {
                let ms = self.ms();
                let said = &mut self.arms[arm];
                said.first_ms = said.first_ms.or(Some(ms));
                said.tokens.push(token);
                let (i, text) = (said.tokens.len() - 1, said.pieces.add(&self.model, token).unwrap_or_default());
                self.held.push(Event::new("token", json!({ "arm": arm, "i": i, "id": token, "text": text })));
            }
            News::Values { arm, at, z } => {
                self.held.push(Event::new("z", json!({ "arm": arm, "i": at, "z": self.lines.row(&z) })));
                self.arms[arm].z.push(z);
            }
            News::Ended { arm, ended, did, nll } => self.end(arm, ended, &did, nll),
            News::Failed(e) => {
                self.say("error", json!({ "arm": null, "error": e.to_string(), "hint": e.hint() }));
                self.say("end", json!({}));
            }
        }
    }

    fn settle(&mut self) {
        if !self.held.is_empty() && self.sent.is_none_or(|at| at.elapsed() >= APART) {
            self.sent = Some(Instant::now());
            self.pass_on();
        }
    }

    fn gone(&self) -> bool {
        self.send.is_closed()
    }
}
