//! Double dissociation: which edits of the stream move what is shown, which move what is known.
//!
//! A unit is a character with a trait. Every edit is read beside controls of the same length in the same unit: random
//! directions, and directions in the span of the activations. Doses are compared where replies are still coherent.

mod tables;

pub use tables::table;

use super::interval::Interval;
use super::resampled::t_interval;
use super::stats::{benjamini_hochberg, mean, variance};
use super::student::two_sided_p;
use std::collections::BTreeMap;

/// What an edit may move, in the order of [`Effect::change`].
pub const MEASURES: [&str; 2] = ["E", "K"];
/// How much coherence a dose may cost.
pub const COHERENCE: f64 = 0.1;
/// A measure whose whole interval lies within so much of 0 is said not to move.
pub const MARGIN: f64 = 0.1;

/// What one edit did to one unit of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub format: String,
    /// Character and trait.
    pub unit: String,
    /// `add` or `ablate`.
    pub edit: String,
    /// `feel`, `know`, `self`, or the name of a control.
    pub direction: String,
    pub is_control: bool,
    /// In mean norms of the stream; `None` where there is none, as of an ablation.
    pub dose: Option<f64>,
    /// Means over items of the value under the edit less that of the same item without; `None` where no item has both.
    pub change: [Option<f64>; 2],
    /// Share of the replies that are still replies, and the same without the edit.
    pub coherent: f64,
    pub coherent_before: f64,
    /// Change of the nats per token of neutral text.
    pub nats: Option<f64>,
}

/// What an edit did over units, to one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// `*`: units are means over formats.
    pub format: String,
    pub edit: String,
    pub direction: String,
    pub is_control: bool,
    pub dose: Option<f64>,
    /// One of [`MEASURES`].
    pub measure: &'static str,
    pub effect: f64,
    pub interval: Option<Interval>,
    /// The effect less the mean of the controls in the same unit; none of controls themselves.
    pub over: Option<f64>,
    pub over_interval: Option<Interval>,
    pub p: Option<f64>,
    /// Over all operating points.
    pub q: Option<f64>,
    pub units: usize,
    pub coherent: f64,
    pub coherent_before: f64,
    /// Of the controls at the dose.
    pub coherent_controls: Option<f64>,
    pub nats: Option<f64>,
    /// Whether it is the largest dose at which it and the controls cost at most [`COHERENCE`].
    pub is_operating: bool,
    /// At operating points alone.
    pub verdict: Option<String>,
}

type Key = (String, String, String, Option<u64>);

/// Effects over units, by format (and over all of them as `*`), edit, direction and dose.
pub fn dissociation(effects: &[Effect]) -> Vec<Moved> {
    let all: Vec<Effect> = effects.iter().cloned().chain(pooled(effects)).collect();
    let mut groups: BTreeMap<Key, Vec<&Effect>> = BTreeMap::new();
    for e in &all {
        let dose = e.dose.map(f64::to_bits);
        groups.entry((e.format.clone(), e.edit.clone(), e.direction.clone(), dose)).or_default().push(e);
    }
    let mut found = Vec::new();
    for ((format, edit, direction, dose), own) in &groups {
        let controls: Vec<&Effect> = all
            .iter()
            .filter(|e| e.is_control && (&e.format, &e.edit) == (format, edit) && e.dose.map(f64::to_bits) == *dose)
            .collect();
        let share = |of: &[&Effect], f: &dyn Fn(&Effect) -> Option<f64>| {
            mean(&of.iter().filter_map(|e| f(e)).collect::<Vec<_>>())
        };
        let coherent = |e: &Effect| Some(e.coherent);
        for (m, measure) in MEASURES.into_iter().enumerate() {
            let mut values: Vec<(&str, f64)> =
                own.iter().filter_map(|e| Some((e.unit.as_str(), e.change[m]?))).collect();
            // In one order, whatever that of the rows: sums round.
            values.sort_by(|a, b| a.0.cmp(b.0).then(a.1.total_cmp(&b.1)));
            let changes: Vec<f64> = values.iter().map(|v| v.1).collect();
            let Some(effect) = mean(&changes) else { continue };
            let is_control = own[0].is_control;
            let beside = |unit: &str| {
                let mut same: Vec<f64> =
                    controls.iter().filter(|c| c.unit == unit).filter_map(|c| c.change[m]).collect();
                same.sort_by(f64::total_cmp);
                mean(&same)
            };
            let over: Vec<f64> = match is_control {
                true => vec![],
                false => values.iter().filter_map(|(unit, v)| Some(v - beside(unit)?)).collect(),
            };
            found.push(Moved {
                format: format.clone(),
                edit: edit.clone(),
                direction: direction.clone(),
                is_control,
                dose: dose.map(f64::from_bits),
                measure,
                effect,
                interval: t_interval(&changes),
                over: mean(&over),
                over_interval: t_interval(&over),
                p: p_value(&over),
                q: None,
                units: changes.len(),
                coherent: share(own, &coherent).unwrap_or(f64::NAN),
                coherent_before: share(own, &|e| Some(e.coherent_before)).unwrap_or(f64::NAN),
                coherent_controls: share(&controls, &coherent),
                nats: share(own, &|e| e.nats),
                is_operating: false,
                verdict: None,
            });
        }
    }
    operate(&mut found);
    found
}

/// Effects of units as means over formats.
fn pooled(effects: &[Effect]) -> Vec<Effect> {
    let mut groups: BTreeMap<Key, Vec<&Effect>> = BTreeMap::new();
    for e in effects {
        let dose = e.dose.map(f64::to_bits);
        groups.entry((e.unit.clone(), e.edit.clone(), e.direction.clone(), dose)).or_default().push(e);
    }
    let of = |mut own: Vec<&Effect>| {
        own.sort_by(|a, b| a.format.cmp(&b.format));
        let over = |f: &dyn Fn(&Effect) -> Option<f64>| mean(&own.iter().filter_map(|e| f(e)).collect::<Vec<_>>());
        Effect {
            format: "*".into(),
            change: [over(&|e| e.change[0]), over(&|e| e.change[1])],
            coherent: over(&|e| Some(e.coherent)).unwrap_or(f64::NAN),
            coherent_before: over(&|e| Some(e.coherent_before)).unwrap_or(f64::NAN),
            nats: over(&|e| e.nats),
            ..own[0].clone()
        }
    };
    groups.into_values().map(of).collect()
}

/// Two-sided, of a mean of 0 over units; none where they do not vary.
fn p_value(values: &[f64]) -> Option<f64> {
    let (m, v, n) = (mean(values)?, variance(values)?, values.len() as f64);
    (v > 0.0).then(|| two_sided_p(m / (v / n).sqrt(), n - 1.0))
}

/// Marks operating points and says what they show.
fn operate(all: &mut [Moved]) {
    let holds = |m: &Moved| {
        let fine = |share: f64| share >= m.coherent_before - COHERENCE - 1e-12;
        fine(m.coherent) && m.coherent_controls.is_none_or(fine)
    };
    let mut best: BTreeMap<(String, String, String), f64> = BTreeMap::new();
    let key = |m: &Moved| (m.format.clone(), m.edit.clone(), m.direction.clone());
    for m in all.iter().filter(|m| !m.is_control && holds(m)) {
        // An ablation has one strength.
        let dose = m.dose.unwrap_or(0.0);
        let at = best.entry(key(m)).or_insert(dose);
        *at = at.max(dose);
    }
    for m in all.iter_mut().filter(|m| !m.is_control) {
        m.is_operating = best.get(&key(m)).is_some_and(|d| *d == m.dose.unwrap_or(0.0)) && holds(m);
    }
    let points: Vec<usize> = (0..all.len()).filter(|i| all[*i].is_operating).collect();
    let q = benjamini_hochberg(&points.iter().map(|i| all[*i].p).collect::<Vec<_>>());
    points.iter().zip(q).for_each(|(i, q)| all[*i].q = q);
    let mut said: BTreeMap<(String, String, String), [Option<Motion>; 2]> = BTreeMap::new();
    for i in &points {
        let which = MEASURES.iter().position(|m| *m == all[*i].measure).unwrap_or(0);
        said.entry(key(&all[*i])).or_default()[which] = Some(motion(all[*i].over_interval));
    }
    for i in points {
        all[i].verdict = said.get(&key(&all[i])).map(|both| verdict(*both));
    }
}

/// Whether a measure moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Motion {
    Moves,
    /// Its interval lies within [`MARGIN`] of 0.
    Stays,
    Unclear,
}

fn motion(over: Option<Interval>) -> Motion {
    match over {
        Some(i) if i.lo > 0.0 || i.hi < 0.0 => Motion::Moves,
        // An interval without width at 0: nothing changed in any unit, which with two units is no proof.
        Some(i) if i.one_sided && i.few_clusters => Motion::Unclear,
        Some(i) if i.lo >= -MARGIN && i.hi <= MARGIN => Motion::Stays,
        _ => Motion::Unclear,
    }
}

fn verdict([e, k]: [Option<Motion>; 2]) -> String {
    use Motion::{Moves, Stays, Unclear};
    match (e.unwrap_or(Unclear), k.unwrap_or(Unclear)) {
        (Moves, Moves) => "moves both",
        (Moves, Stays) => "moves E and not K",
        (Stays, Moves) => "moves K and not E",
        (Stays, Stays) => "moves neither",
        (Moves, Unclear) => "moves E; of K not shown",
        (Unclear, Moves) => "moves K; of E not shown",
        _ => "not shown",
    }
    .into()
}

#[cfg(test)]
mod tests;
