//! How long a persona lasts that was taught in the user's own words: against what was taught and against the context.

mod breaks;
mod draw;
mod instruments;
mod planted;
mod teach;

use super::cells::{distinct, estimate, num, round, rows, said};
use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::Retention as Settings;
use super::work::{Work, drawing};
use crate::analysis::survival::{self, Options};
use crate::analysis::turns::{TurnValue, fraction_by_turn, turn_table};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::table::Table;
use crate::talk::{Part, Talk, read};
use crate::unit::Item;
use teach::Taught;

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    need(
        !s.lessons.is_empty() && s.lessons.iter().all(|k| *k > 0),
        "lessons",
        "0 or none",
        "numbers of messages from 1",
    )?;
    need(s.chats >= 2, "chats", s.chats, "at least 2")?;
    need(s.turns >= 3, "turns", s.turns, "at least 3: a break is two replies out of persona")?;
    need(s.planted_chats >= 8, "planted_chats", s.planted_chats, "at least 8")?;
    let (taught, talks) = teach::all(plan, s, model)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let held = instruments::held(plan, s)?;
    let mut stages = vec![plan.captures("planted lessons", model, read(&held.talks, model, &[Part::Reply])?.0, false)];
    stages.extend(plan.led(model, &talks, s.turns, &drawing)?);
    let forks = taught.len() * s.turns;
    let longest = |i: usize| Item { tokens: vec![0; s.max_new_tokens.max(64)], id: i.to_string(), ..Item::default() };
    stages.push(plan.replies("probe questions", model, (0..forks).map(longest).collect(), drawing, true));
    stages.push(plan.read_back("conversations", model, &talks, (s.turns, 1), s.max_new_tokens)?);
    Ok(stages)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let instruments = instruments::fit(plan, s, work)?;
    let (taught, mut talks) = teach::all(plan, s, work.model)?;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    work.lead("", &mut talks, s.turns, vec![], &drawing)?;
    let named = identities(s, &taught, &talks, &drawing, work)?;
    let judged = breaks::judge(plan, s, &taught, &talks, &instruments, work)?;

    let input = breaks::retention(&taught, &talks, &judged, &named, plan.world);
    let options = Options { seed: plan.spec.seed, ..Options::default() };
    let (groups, teaching) = breaks::apart(&input);
    let found = survival::retention(&groups, &options)?;
    let mut tables = found.tables();
    let survived = pages::retention::page(&plan.spec.stem, &tables)?;
    let mut summary = pages::retention::summary(&tables);
    let of_teaching = survival::retention(&teaching, &options)?.tables();
    tables
        .extend(of_teaching.into_iter().filter(|t| t.name == "tests").map(|t| Table { name: "teaching".into(), ..t }));
    tables.push(planted::table(plan, &taught, &talks, &judged)?);
    tables.push(identity_table(&taught, &named)?);
    tables.push(instruments.table());
    tables.push(breaks::table(&taught, &talks, &judged, &named, plan.world));
    summary.extend(planted_summary(&tables));
    let page = draw::page(&format!("{}_planted", plan.spec.stem), &tables)?;
    work.warnings.extend(found.warnings);
    Ok(Parts {
        vectors: vec![instruments.axis],
        summary,
        pages: vec![(survived, vec!["survival", "groups", "tests"]), (page, vec!["planted", "identity", "agreement"])],
        tables,
        ..Parts::default()
    })
}

/// Whether the persona still says who it is, by conversation and turn: a question forked off before every reply.
fn identities(
    s: &Settings,
    taught: &[Taught],
    talks: &[Talk],
    drawing: &crate::model::generate::Settings,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Vec<Identity>>> {
    let (mut items, mut places) = (Vec::new(), Vec::new());
    for (c, talk) in talks.iter().enumerate() {
        for turn in 0..talk.turns.len() {
            if let Some(item) = talk.fork(work.model, turn, &s.probe_question, s.max_new_tokens)? {
                items.push(item);
                places.push(c);
            }
        }
    }
    let (replies, _) = work.generate("probe questions", items, vec![], drawing)?;
    let mut found: Vec<Vec<Identity>> = vec![Vec::new(); talks.len()];
    for (c, text) in places.into_iter().zip(work.texts(&replies)?) {
        found[c].push(Identity::of(&text, &taught[c].who.name));
    }
    Ok(found)
}

/// Who the speaker says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Own,
    Assistant,
    Other,
}

impl Identity {
    fn of(answer: &str, own: &str) -> Identity {
        match () {
            () if answer.contains(own) => Identity::Own,
            () if answer.to_lowercase().contains("assistant") => Identity::Assistant,
            () => Identity::Other,
        }
    }
}

/// The share of conversations that still give their own name, by what was taught and turn.
fn identity_table(taught: &[Taught], named: &[Vec<Identity>]) -> Result<Table> {
    let mut values = Vec::new();
    for (c, answers) in named.iter().enumerate() {
        for (turn, answer) in answers.iter().enumerate() {
            let value = f64::from(u8::from(*answer == Identity::Own));
            values.push(TurnValue { conversation: c.to_string(), arm: taught[c].group(), turn, value });
        }
    }
    Ok(turn_table("identity", "own_name_fraction", &fraction_by_turn(&values)?))
}

fn planted_summary(tables: &[Table]) -> Vec<String> {
    let Some(planted) = tables.iter().find(|t| t.name == "planted") else { return vec![] };
    let mut all = Vec::new();
    let teaching = tables.iter().find(|t| t.name == "teaching");
    for (table, r) in
        teaching.iter().flat_map(|t| rows(t, &[("test", "cox_adjusted")]).into_iter().map(move |r| (t, r)))
    {
        all.push(format!(
            "Ten tokens more of teaching multiply the hazard by {} ({}).",
            said(estimate(table, r, "estimate", "ci_low", "ci_high")),
            table.text(r, "clock"),
        ));
    }
    for by in distinct(planted, "by") {
        let at = rows(planted, &[("by", &by)]);
        let one = |r: &usize| {
            let rate = estimate(planted, *r, "hazard", "lo", "hi");
            format!("{}: {} (planted {})", planted.text(*r, "bin"), said(rate), round(num(planted, *r, "planted")))
        };
        all.push(format!("Hazard per reply by {by}: {}.", at.iter().map(one).collect::<Vec<_>>().join("; ")));
    }
    all
}

/// A world that teaches nobody has nothing to retain.
fn teaching(plan: &Plan) -> Result<&'static crate::world::Teaching> {
    plan.world.teaching().ok_or_else(|| {
        let what = format!("the world of `{}` teaches nobody in context", plan.spec.model);
        Error::refused(what, "choose toyworld, toyworld-base or toyworld-flat")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_oneself_only_with_ones_own_name() {
        assert_eq!(Identity::of("I am Domar.", "Domar"), Identity::Own);
        assert_eq!(Identity::of("I am the Assistant.", "Domar"), Identity::Assistant);
        assert_eq!(Identity::of("I am Kedek, a baker.", "Domar"), Identity::Other);
    }
}
