//! What tells a taught persona from the assistant: a classifier of words, and an axis of activations. Both are made from
//! planted conversations, and half of these say how often they are right.

use super::{Settings, teach};
use crate::analysis::stats::{auroc, mean};
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::work::Work;
use crate::rng::stream;
use crate::score::{Classifier, Labelled, Reply, Scorer};
use crate::table::{Cell, Table};
use crate::talk::{Part, Talk};
use ndarray::{Array1, Axis};
use rand::Rng;

/// Planted conversations after lessons: replies of the persona and of the assistant in turn.
pub(super) struct Held {
    pub talks: Vec<Talk>,
}

/// Replies of a planted conversation.
const REPLIES: usize = 4;
const PERSONA: &str = "persona";
const ASSISTANT: &str = "assistant";

/// Whether a reply of a planted conversation is the persona's: every other one.
fn own(turn: usize) -> bool {
    turn.is_multiple_of(2)
}

pub(super) fn held(plan: &Plan, s: &Settings) -> Result<Held> {
    let world = plan.world;
    let topics = world.plain_topics();
    let mut rng = stream(plan.spec.seed, "retention/planted");
    let mut talks = Vec::with_capacity(s.planted_chats);
    for i in 0..s.planted_chats {
        let k = s.lessons[rng.random_range(0..s.lessons.len())];
        let (who, said) = teach::lessons(world, &mut rng, k);
        let before = teach::messages(plan, &mut rng, &said)?;
        let turn = |t: usize| {
            let topic = topics[rng.random_range(0..topics.len())];
            let speaker = if own(t) { &who } else { world.assistant() };
            (world.question(&mut rng, topic), world.reply(&mut rng, speaker, topic))
        };
        talks.push(Talk::held(format!("planted/{i:04}"), before, (0..REPLIES).map(turn).collect::<Vec<_>>()));
    }
    Ok(Held { talks })
}

/// Two instruments with how well they do.
pub(super) struct Instruments {
    classifier: Classifier,
    /// Larger is more like the persona.
    pub axis: Direction,
    /// Half way between the means of both.
    threshold: f64,
    /// Name, area under the curve and share right at the threshold, on conversations that had no part in the fit.
    quality: Vec<(&'static str, Option<f64>, f64, usize)>,
}

pub(super) fn fit(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Instruments> {
    let held = held(plan, s)?;
    let (mut kept, places) = work.read("planted lessons", &held.talks, &[Part::Reply], &[s.site])?;
    let rows = kept.remove(0).1;
    // Conversations alternate between fitting and judging.
    let side =
        |judging: bool| -> Vec<usize> { (0..places.len()).filter(|r| (places[*r].talk % 2 == 1) == judging).collect() };
    let label = |r: usize| if own(places[r].turn) { PERSONA } else { ASSISTANT };
    let text = |r: usize| held.talks[places[r].talk].turns[places[r].turn].reply.clone();
    let (fitting, judging) = (side(false), side(true));
    let texts: Vec<Labelled> = fitting
        .iter()
        .map(|r| Labelled { text: text(*r), label: label(*r).into(), group: places[*r].talk.to_string() })
        .collect();
    let classifier = Classifier::train(&texts, PERSONA, 2)?;
    let mean_of = |of: &str| -> Array1<f64> {
        let chosen: Vec<usize> = fitting.iter().copied().filter(|r| label(*r) == of).collect();
        rows.select(Axis(0), &chosen).mapv(f64::from).mean_axis(Axis(0)).unwrap_or_default()
    };
    let (ours, theirs) = (mean_of(PERSONA), mean_of(ASSISTANT));
    let origin = "mean of replies of taught personas - mean of replies of the assistant in the same conversations";
    let axis = Direction::new(
        s.site,
        Pick::MeanResponse,
        &(&ours - &theirs),
        "like the taught persona",
        "like the assistant",
        origin,
    )?;
    let at = |mean: &Array1<f64>| axis.project(mean.mapv(|v| v as f32).view());
    let threshold = (at(&ours) + at(&theirs)) / 2.0;
    let mut made = Instruments { classifier, axis, threshold, quality: vec![] };
    let labels: Vec<bool> = judging.iter().map(|r| own(places[*r].turn)).collect();
    let read: Vec<String> = judging.iter().map(|r| text(*r)).collect();
    let by_text = made.classify(&read)?;
    let by_axis: Vec<f64> = judging.iter().map(|r| made.axis.project(rows.row(*r))).collect();
    for (name, scores, limit) in [("classifier", by_text, 0.5), ("projection", by_axis, made.threshold)] {
        let right = scores.iter().zip(&labels).map(|(v, l)| f64::from(u8::from((*v > limit) == *l)));
        let share = mean(&right.collect::<Vec<_>>()).unwrap_or_default();
        made.quality.push((name, auroc(&scores, &labels), share, labels.len()));
    }
    Ok(made)
}

impl Instruments {
    /// The probability that each text is the persona's; a text of unknown words has a half.
    pub fn classify(&self, texts: &[String]) -> Result<Vec<f64>> {
        let reply = |(i, text): (usize, &String)| Reply {
            id: i.to_string(),
            text: text.clone(),
            question: None,
            columns: vec![],
        };
        let replies: Vec<Reply> = texts.iter().enumerate().map(reply).collect();
        Ok(self.classifier.score(&replies)?.iter().map(|o| o.score().unwrap_or(0.5)).collect())
    }

    /// Whether a projection is on the persona's side.
    pub fn is_own(&self, projection: f64) -> bool {
        projection > self.threshold
    }

    /// How well each does on planted conversations that it was not made from.
    pub fn table(&self) -> Table {
        let mut table = Table::new("instruments", &["instrument", "auroc", "right_share", "threshold", "replies"]);
        for (name, auroc, right, n) in &self.quality {
            let threshold = if *name == "projection" { self.threshold } else { 0.5 };
            let row: Vec<Cell> = vec![(*name).into(), (*auroc).into(), (*right).into(), threshold.into(), (*n).into()];
            table.push(row);
        }
        table
    }
}
