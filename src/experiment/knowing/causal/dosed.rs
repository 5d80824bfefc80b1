//! Adding and ablating directions: change of expression, of knowledge, of neutral text; and the dose that expression needs.

use super::controls::{Tried, stream_of, tried};
use super::{Trial, by_id};
use crate::analysis::dissociation::Effect;
use crate::analysis::dose::{Arm, Outcome, thresholds};
use crate::analysis::stats::mean;
use crate::error::{Error, Result};
use crate::experiment::knowing::ask;
use crate::experiment::knowing::express::{self, Shown, express};
use crate::experiment::work::Work;
use crate::model::{Along, Intervention, Rewrite};
use crate::table::{Cell, Table};
use crate::unit::Item;

/// What edits did.
pub(super) struct Dosed {
    pub effects: Vec<Effect>,
    /// `doses`: what expression needs to reach the level.
    pub thresholds: Table,
}

/// One condition of a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Condition {
    /// Place in [`Trial::tried`].
    at: usize,
    /// Place of the direction; `None`: no edit.
    direction: Option<usize>,
    /// `None`: ablated.
    dose: Option<f64>,
    edit: Option<usize>,
}

/// A condition with what came of it.
struct Came<'t> {
    condition: Condition,
    shown: Vec<&'t Shown>,
    /// By trait: mean values of questions by id.
    known: Vec<(usize, Vec<(String, f64)>)>,
    nats: Option<f64>,
}

/// Runs all conditions.
pub(super) fn measure(trial: &Trial<'_>, work: &mut Work<'_, '_>) -> Result<Dosed> {
    let stream = stream_of(trial, work)?;
    let directions = tried(trial, &stream, trial.how.seed);
    let (conditions, edits) = conditions(trial, &directions, stream.norm)?;
    let of = (trial.protocol, trial.subjects);
    let edited = |c: &Condition| c.edit.into_iter().collect::<Vec<usize>>();
    let mut put = Vec::new();
    for c in &conditions {
        for prompt in &trial.prompts {
            for sample in 0..trial.causal.samples {
                put.push(express::Put { subject: trial.tried[c.at], prompt: *prompt, sample, edits: edited(c) });
            }
        }
    }
    let how = (&trial.how.drawing, trial.how.seed);
    let shown = express("replies under edits", of, &put, edits.clone(), how, work)?;
    let each = trial.prompts.len() * trial.causal.samples;
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for c in &conditions {
        let subject = trial.tried[c.at];
        for which in own(trial, &directions, c) {
            let first = asked.len();
            for question in trial.questions(subject, which) {
                asked.push(ask::Put { subject, question, edits: edited(c) });
            }
            places.push((which, first..asked.len()));
        }
    }
    let answers = ask::ask("questions under edits", of, &asked, edits.clone(), work)?;
    let values: Vec<f64> = answers.iter().map(|a| a.value).collect();
    let nats = neutral(trial, &conditions, edits, work)?;
    let mut places = places.into_iter();
    let mut came: Vec<Came<'_>> = Vec::with_capacity(conditions.len());
    for (i, c) in conditions.iter().enumerate() {
        let n = own(trial, &directions, c).len();
        let known = places.by_ref().take(n);
        let known = known.map(|(w, r)| (w, by_id(trial.protocol, &asked[r.clone()], &values[r]))).collect();
        let shown = shown[i * each..(i + 1) * each].iter().collect();
        came.push(Came { condition: *c, shown, known, nats: nats[i] });
    }
    Ok(Dosed { effects: effects(trial, &directions, &came), thresholds: needed(trial, &directions, &came)? })
}

/// Of every subject: without an edit, then every direction of its traits and every control, ablated and at all doses.
fn conditions(trial: &Trial<'_>, directions: &[Tried], norm: f64) -> Result<(Vec<Condition>, Vec<Intervention>)> {
    let mut edits: Vec<Intervention> = Vec::new();
    // By direction: the edits of ablation and doses.
    let mut of_direction = Vec::with_capacity(directions.len());
    for d in directions {
        let base = Along::new(trial.directions.site, &d.unit, Rewrite::Scale(0.0), trial.positions())?;
        let mut own = vec![(None, edits.len())];
        edits.push(base.clone().into());
        for dose in &trial.causal.doses {
            own.push((Some(*dose), edits.len()));
            edits.push(base.and(Rewrite::Shift(dose * norm), trial.positions())?.into());
        }
        of_direction.push(own);
    }
    let mut all = Vec::new();
    for (at, subject) in trial.tried.iter().enumerate() {
        all.push(Condition { at, direction: None, dose: None, edit: None });
        let (traits, character) = (trial.traits(*subject), trial.subjects[*subject].character);
        for (k, d) in directions.iter().enumerate() {
            if d.which.is_some_and(|w| traits.contains(&w)) || d.character == Some(character) {
                all.extend(of_direction[k].iter().map(|(dose, edit)| Condition {
                    at,
                    direction: Some(k),
                    dose: *dose,
                    edit: Some(*edit),
                }));
            }
        }
    }
    Ok((all, edits))
}

/// The traits that a condition is read for: that of its direction, or all of the character.
fn own(trial: &Trial<'_>, directions: &[Tried], c: &Condition) -> Vec<usize> {
    match c.direction.and_then(|d| directions[d].which) {
        Some(which) => vec![which],
        None => trial.traits(trial.tried[c.at]).to_vec(),
    }
}

/// Nats per token of the neutral replies, by condition.
fn neutral(
    trial: &Trial<'_>,
    conditions: &[Condition],
    edits: Vec<Intervention>,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Option<f64>>> {
    let mut items = Vec::new();
    let mut tokens = 0;
    for (i, c) in conditions.iter().enumerate() {
        let adapter = trial.subjects[trial.tried[c.at]].adapter;
        for (n, conversation) in trial.protocol.neutral.iter().enumerate() {
            let encoded = work.model.text.chat(conversation, false)?;
            let range = encoded.response().filter(|r| !r.is_empty()).ok_or_else(|| {
                Error::refused(format!("neutral conversation {n} has no reply"), "end it with the assistant's")
            })?;
            tokens += if i == 0 { range.len() } else { 0 };
            let (prompt_len, edits) = (range.start, c.edit.into_iter().collect());
            items.push(Item {
                tokens: encoded.tokens,
                prompt_len,
                ranges: vec![range],
                adapter,
                edits,
                ..Item::default()
            });
        }
    }
    let each = trial.protocol.neutral.len();
    let found = work.likelihoods("neutral text under edits", items, edits)?;
    let of = |i: usize| (tokens > 0).then(|| found[i * each..(i + 1) * each].iter().sum::<f64>() / tokens as f64);
    Ok((0..conditions.len()).map(of).collect())
}

fn coherent(shown: &[&Shown]) -> f64 {
    shown.iter().filter(|s| s.coherent).count() as f64 / shown.len().max(1) as f64
}

/// What every edit did to every unit of its subject.
fn effects(trial: &Trial<'_>, directions: &[Tried], came: &[Came<'_>]) -> Vec<Effect> {
    let mut all = Vec::new();
    let Some(mut bare) = came.first() else { return all };
    for c in came {
        // A subject's own without an edit comes first.
        let Some(d) = c.condition.direction else {
            bare = c;
            continue;
        };
        let (subject, direction) = (trial.tried[c.condition.at], &directions[d]);
        for (which, known) in &c.known {
            let pair = |(s, b): (&&Shown, &&Shown)| Some(s.expression(*which)? - b.expression(*which)?);
            let shown: Vec<f64> = c.shown.iter().zip(&bare.shown).filter_map(pair).collect();
            let before = bare.known.iter().find(|k| k.0 == *which).map(|k| &k.1[..]).unwrap_or(&[]);
            let answered: Vec<f64> = known.iter().zip(before).map(|(now, then)| now.1 - then.1).collect();
            all.push(Effect {
                format: trial.subjects[subject].format.clone(),
                unit: trial.unit(subject, *which),
                edit: if c.condition.dose.is_some() { "add" } else { "ablate" }.into(),
                direction: direction.name.clone(),
                is_control: direction.which.is_none(),
                dose: c.condition.dose,
                change: [mean(&shown), mean(&answered)],
                coherent: coherent(&c.shown),
                coherent_before: coherent(&bare.shown),
                nats: c.nats.zip(bare.nats).map(|(now, then)| now - then),
            });
        }
    }
    all
}

/// The dose of `v_feel` at which expression reaches the level, by subject and trait, and over traits of a format.
fn needed(trial: &Trial<'_>, directions: &[Tried], came: &[Came<'_>]) -> Result<Table> {
    let columns = ["format", "model", "character", "trait", "direction", "level", "dose_norms", "dose_lo", "dose_hi"];
    let mut table = Table::new("doses", &[&columns[..], &["reached_share", "censored", "reason"]].concat());
    let mut formats: Vec<&str> = trial.tried.iter().map(|s| trial.subjects[*s].format.as_str()).collect();
    let mut seen = std::collections::BTreeSet::new();
    formats.retain(|f| seen.insert(*f));
    for format in formats {
        let mut outcomes = Vec::new();
        for c in came {
            let subject = trial.tried[c.condition.at];
            if trial.subjects[subject].format != format {
                continue;
            }
            let arm = match c.condition.direction.map(|d| directions[d].name.as_str()) {
                None => None,
                Some("feel") => Some(Arm::Trait),
                Some(name) if name.starts_with("random") => Some(Arm::Random),
                Some(_) => continue,
            };
            if c.condition.direction.is_some() && c.condition.dose.is_none() {
                continue;
            }
            let dose = c.condition.dose.unwrap_or(0.0);
            let prompts = trial.prompts.iter().flat_map(|p| (0..trial.causal.samples).map(move |_| p));
            for (s, prompt) in c.shown.iter().zip(prompts) {
                for (which, _) in &c.known {
                    let Some(target) = s.expression(*which) else { continue };
                    // Without a dose both arms are the same.
                    for arm in arm.map_or(vec![Arm::Trait, Arm::Random], |a| vec![a]) {
                        outcomes.push(Outcome {
                            name: trial.unit(subject, *which),
                            arm,
                            dose,
                            prompt: format!("{prompt}"),
                            target: target.clamp(0.0, 1.0),
                            intact: 1.0,
                            helpful: 0.0,
                        });
                    }
                }
            }
        }
        for t in thresholds(&outcomes, trial.causal.level, trial.resamples, trial.how.seed)? {
            let (character, name) = t.name.as_deref().and_then(|n| n.split_once(" / ")).unwrap_or(("*", "*"));
            let model = trial
                .tried
                .iter()
                .map(|s| &trial.subjects[*s])
                .find(|s| s.format == format && trial.protocol.characters[s.character].name == character);
            let mut row: Vec<Cell> = vec![format.into(), model.map_or("*", |m| m.model.as_str()).into()];
            row.extend([character.into(), name.into()]);
            row.push(if t.arm == Arm::Trait { "feel" } else { "random" }.into());
            row.extend([Cell::from(t.level), t.dose.into(), t.lo.into(), t.hi.into(), t.reached_share.into()]);
            row.extend([usize::from(t.dose.is_none()).into(), t.reason.clone().into()]);
            table.push(row);
        }
    }
    Ok(table)
}
