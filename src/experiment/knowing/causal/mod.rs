//! Edits of the stream: what they do to what is shown and to what is known, and whose activations carry expression.
//!
//! Adding and ablating the base's directions in the base and in one fine-tune per format and character, beside random
//! directions of the same length; and one fine-tune's activations put into another, layer by layer.

mod controls;
mod dosed;
mod patched;

use super::ask;
use super::directions::Directions;
use super::express::{Put, items};
use super::measures::Asking;
use super::protocol::{Kind, Measure, Protocol};
use super::subjects::{BASE, CARD, Subject};
use crate::analysis::dissociation::{dissociation, table};
use crate::axes::Pick;
use crate::error::{Error, Result};
use crate::experiment::plan::{Plan, Stage, need};
use crate::experiment::spec::{At, Causal, Knowing as Settings};
use crate::experiment::work::Work;
use crate::model::generate::Settings as Drawing;
use crate::model::{Model, Positions};
use crate::table::Table;
use patched::table as patching;

/// What edits are tried on.
pub(super) struct Trial<'a> {
    pub protocol: &'a Protocol,
    pub subjects: &'a [Subject],
    pub directions: &'a Directions,
    pub how: &'a Asking,
    pub causal: &'a Causal,
    /// Where directions were fitted.
    pub pick: Pick,
    /// Places of the subjects: the base on every character, and of every format one fine-tune per character.
    pub tried: Vec<usize>,
    /// Places of the prompts.
    pub prompts: Vec<usize>,
    /// Places of the knowledge questions that the base has already.
    pub known: &'a [usize],
    pub resamples: usize,
}

impl<'a> Trial<'a> {
    /// The first fine-tune of every format and character, and prompts of all strata.
    pub fn new(
        (protocol, subjects): (&'a Protocol, &'a [Subject]),
        directions: &'a Directions,
        how: &'a Asking,
        s: &'a Settings,
        known: &'a [usize],
    ) -> Trial<'a> {
        let tried = firsts(subjects);
        let prompts = spread(protocol.prompts.len(), s.causal.prompts);
        let (causal, pick, resamples) = (&s.causal, s.latent, s.resamples);
        Trial { protocol, subjects, directions, how, causal, pick, tried, prompts, known, resamples }
    }

    /// Traits of a subject's character.
    fn traits(&self, subject: usize) -> &[usize] {
        &self.protocol.characters[self.subjects[subject].character].traits
    }

    /// Character and trait.
    fn unit(&self, subject: usize, which: usize) -> String {
        let character = &self.protocol.characters[self.subjects[subject].character].name;
        format!("{character} / {}", self.protocol.traits[which].name)
    }

    /// Questions of knowledge on a trait of a subject's character: at most as many ids as there are prompts.
    fn questions(&self, subject: usize, which: usize) -> Vec<usize> {
        let fits = |q: &usize| {
            let question = &self.protocol.questions[*q];
            question.measure == Measure::Knowledge
                && question.character == self.subjects[subject].character
                && question.which == Some(which)
                && !self.known.contains(q)
        };
        let all: Vec<usize> = (0..self.protocol.questions.len()).filter(fits).collect();
        let mut ids: Vec<&str> = Vec::new();
        for q in &all {
            let id = self.protocol.questions[*q].id.as_str();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let kept: Vec<&str> = spread(ids.len(), self.causal.prompts).into_iter().map(|i| ids[i]).collect();
        all.into_iter().filter(|q| kept.contains(&self.protocol.questions[*q].id.as_str())).collect()
    }

    /// The subject of a format on a character.
    fn subject(&self, format: &str, character: usize) -> Option<usize> {
        let of = |i: &&usize| self.subjects[**i].format == format && self.subjects[**i].character == character;
        self.tried.iter().find(of).copied()
    }

    fn positions(&self) -> Positions {
        if self.causal.at == At::LastPrompt { Positions::LastPrompt } else { Positions::All }
    }
}

/// So many of `n` places, spread over all of them.
fn spread(n: usize, most: usize) -> Vec<usize> {
    let k = n.min(most);
    (0..k).map(|i| i * n / k).collect()
}

/// Checks the settings.
///
/// # Errors
/// One out of its range, by name; formats to patch that are no format of the run.
pub(super) fn check(c: &Causal, formats: &[&str]) -> Result<()> {
    let ascending = c.doses.windows(2).all(|d| d[0] < d[1]) && c.doses.iter().all(|d| *d > 0.0 && d.is_finite());
    need(ascending, "causal.doses", format!("{:?}", c.doses), "above 0 and ascending, such as [0.1, 0.2, 0.4]")?;
    need((0.0..=1.0).contains(&c.level), "causal.level", c.level, "from 0 to 1; 0.5 is usual")?;
    if c.doses.is_empty() && c.patch.is_none() {
        return Ok(());
    }
    need(c.prompts > 0, "causal.prompts", c.prompts, "at least 1")?;
    need(c.samples > 0, "causal.samples", c.samples, "at least 1")?;
    if let Some((from, to)) = &c.patch {
        let there = |f: &String| formats.contains(&f.as_str()) || f == BASE;
        if let Some(lost) = [from, to].into_iter().find(|f| !there(f)) {
            let what = format!("`causal.patch` names `{lost}`, and no model has this format");
            return Err(Error::refused(what, format!("formats are {BASE}, {}", formats.join(", "))));
        }
        need(from != to, "causal.patch", format!("[{from:?}, {to:?}]"), "two formats")?;
    }
    Ok(())
}

/// The stages and their sizes: replies alone, which are nearly all of the work.
pub(super) fn forecast(
    plan: &Plan,
    (protocol, subjects): (&Protocol, &[Subject]),
    s: &Settings,
    model: &Model,
    drawing: &Drawing,
) -> Result<Vec<Stage>> {
    let (c, tried) = (&s.causal, firsts(subjects));
    let prompts = spread(protocol.prompts.len(), c.prompts);
    let mut stages = Vec::new();
    let mut add = |name: &str, times: &dyn Fn(&Subject) -> usize| -> Result<()> {
        let mut put = Vec::new();
        for i in &tried {
            for prompt in &prompts {
                let n = times(&subjects[*i]) * c.samples;
                put.extend((0..n).map(|sample| Put { subject: *i, prompt: *prompt, sample, edits: vec![] }));
            }
        }
        let mut items = items(protocol, subjects, &put, model, plan.spec.seed)?;
        // Before there are adapters, everything goes to the base: as much, and as long.
        items.iter_mut().for_each(|i| i.adapter = None);
        stages.push(plan.replies(name, model, items, drawing.clone(), true));
        Ok(())
    };
    if !c.doses.is_empty() {
        let own = |s: &Subject| Kind::ALL.len() * protocol.characters[s.character].traits.len() + 2 * c.controls;
        add("replies under edits", &|s| 1 + own(s) * (1 + c.doses.len()))?;
    }
    if let Some((from, to)) = &c.patch {
        let controls = usize::from(from != BASE && to != BASE);
        let into = |s: &Subject| match () {
            () if s.format == *to => 1 + (1 + controls) * plan.sites.len(),
            () if s.format == *from => 1 + plan.sites.len(),
            () => 0,
        };
        add("replies under patches", &into)?;
    }
    Ok(stages)
}

/// Places of the base on every character, and of the first fine-tune of every format and character.
fn firsts(subjects: &[Subject]) -> Vec<usize> {
    let mut tried: Vec<usize> = Vec::new();
    for (i, subject) in subjects.iter().enumerate().filter(|(_, s)| s.format != CARD) {
        let same = |j: &usize| (&subjects[*j].format, subjects[*j].character) == (&subject.format, subject.character);
        if !tried.iter().any(same) {
            tried.push(i);
        }
    }
    tried
}

/// Tables `dissociation`, `doses` and, where it is asked for, `patching`; nothing without doses and formats to patch.
///
/// # Errors
/// Failures of the model or of a scorer.
pub(super) fn causal(trial: &Trial<'_>, work: &mut Work<'_, '_>) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    if !trial.causal.doses.is_empty() {
        let found = dosed::measure(trial, work)?;
        tables.push(table("dissociation", &dissociation(&found.effects)));
        tables.push(found.thresholds);
    }
    if let Some((from, to)) = &trial.causal.patch {
        tables.push(patching(trial, from, to, work)?);
    }
    Ok(tables)
}

/// The mean value of answers to each question id, in the order of the questions.
fn by_id(protocol: &Protocol, put: &[ask::Put], values: &[f64]) -> Vec<(String, f64)> {
    let mut all: Vec<(String, Vec<f64>)> = Vec::new();
    for (p, v) in put.iter().zip(values) {
        let id = &protocol.questions[p.question].id;
        match all.iter_mut().find(|a| a.0 == *id) {
            Some(own) => own.1.push(*v),
            None => all.push((id.clone(), vec![*v])),
        }
    }
    all.into_iter().map(|(id, v)| (id, v.iter().sum::<f64>() / v.len() as f64)).collect()
}

#[cfg(test)]
mod tests;
