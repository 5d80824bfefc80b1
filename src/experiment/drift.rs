//! Falling out of a persona: read from planted conversations turn by turn, and watched while the model talks freely.

mod draw;
mod free;
mod planted;

use super::cells::{estimate, mean, num, row, rows, said};
use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::spec::Drift as Settings;
use super::work::{Work, drawing};
use crate::analysis::drift::{DriftOptions, drift, drift_table};
use crate::analysis::turns::{TurnValue, mean_by_turn, turn_table};
use crate::axes::Pick;
use crate::error::Result;
use crate::figures::Estimate;
use crate::model::Model;
use crate::table::Table;
use crate::unit::{Item, parallel};

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    super::trait_layers::check(s.train_fraction, 2)?;
    need(s.conversations >= 4, "conversations", s.conversations, "at least 4")?;
    need(s.turns >= 2, "turns", s.turns, "at least 2: nobody falls back before the second")?;
    need(s.chat_turns >= 1, "chat_turns", s.chat_turns, "at least 1")?;
    need(s.chats >= 1, "chats", s.chats, "at least 1")?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    let may = format!("one of `sites`: {}", plan.sites.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", "));
    need(plan.sites.contains(&s.site), "site", s.site, &may)?;
    let planted = planted::make(plan, s, model, 1)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let mut stages = vec![plan.captures("planted conversations", model, planted.items(), false)];
    let starts = free::begin(plan, s, model)?;
    let mut longest: Vec<Item> = starts;
    for turn in 0..s.chat_turns {
        stages.push(plan.replies(&free::stage(turn), model, longest.clone(), drawing.clone(), true));
        // A reply of full length, and the next question about as long as the whole first prompt.
        longest.iter_mut().for_each(|i| i.tokens.resize(i.tokens.len() + s.max_new_tokens + 24, 0));
    }
    let whole = longest.into_iter().map(|i| Item { ranges: vec![0..1; s.chat_turns], ..i });
    stages.push(plan.captures("free conversations", model, whole.collect(), true));
    Ok(stages)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let seed = plan.spec.seed;
    let options =
        DriftOptions { train_fraction: s.train_fraction, bootstrap: s.bootstrap, permutations: s.permutations, seed };
    let planted = planted::make(plan, s, work.model, work.threads())?;
    let (before, over) = planted.capture(plan, work)?;
    let jobs: Vec<_> =
        before.iter().map(|a| (a, &planted.context)).chain(over.iter().map(|a| (a, &planted.replies))).collect();
    let states = planted.in_persona();
    let found = parallel(&jobs, work.threads(), |(acts, counts)| drift(acts, &states, counts, &options))?;
    let scores = drift_table("scores", &found);

    let mut values = Vec::new();
    for (d, (acts, _)) in found.iter().zip(&jobs).filter(|(d, _)| d.site == s.site) {
        for (r, value) in &d.projections {
            let state = if states[*r] { "in persona" } else { "fallen back" };
            let key = &acts.keys[*r];
            let (arm, conversation) = (format!("{}/{state}", d.pick), key.group.clone());
            values.extend(key.turn.map(|turn| TurnValue { conversation, arm, turn, value: *value }));
        }
    }
    let planted_turns =
        split_arm(&turn_table("planted_turns", "projection_activation", &mean_by_turn(&values, s.bootstrap, seed)));

    let axis = found.iter().find(|d| d.site == s.site && d.pick == Pick::MeanResponse).and_then(|d| d.axis.clone());
    let (fractions, projections) = free::run(plan, s, work, axis.as_ref())?;
    let tables = vec![scores, planted_turns, fractions, projections];
    let page = draw::page(&plan.spec.stem, s, &tables)?;
    Ok(Parts {
        vectors: found.iter().filter_map(|d| d.axis.clone()).collect(),
        summary: summary(s, &tables),
        pages: vec![(page, vec!["scores", "planted_turns", "free_turns", "free_projections"])],
        tables,
        ..Parts::default()
    })
}

/// Splits the arm `pick/state` into two columns.
fn split_arm(table: &Table) -> Table {
    let mut columns: Vec<&str> = vec!["pick", "state"];
    columns.extend(table.columns[1..].iter().map(String::as_str));
    let mut out = Table::new(&table.name, &columns);
    for (r, row) in table.rows.iter().enumerate() {
        let arm = table.text(r, "arm");
        let (pick, state) = arm.split_once('/').unwrap_or((&arm, ""));
        out.push([vec![pick.into(), state.into()], row[1..].to_vec()].concat());
    }
    out
}

/// What an interval of a gain says.
fn clear(gain: Option<Estimate>) -> &'static str {
    match gain.and_then(|g| g.interval) {
        Some((lo, _)) if lo > 0.0 => ": more than the words say",
        _ => ": no more than the words say",
    }
}

fn summary(s: &Settings, tables: &[Table]) -> Vec<String> {
    let (scores, free) = (&tables[0], &tables[2]);
    let site = s.site.to_string();
    let mut said_all = Vec::new();
    for (pick, words) in
        [("mean_response", "averaged over the reply"), ("last_prompt", "at the token before the reply")]
    {
        let score = |probe: &str| {
            let r = row(scores, &[("site", &site), ("pick", pick), ("probe", probe)])?;
            estimate(scores, r, "auroc", "auroc_lo", "auroc_hi")
        };
        let Some(r) = row(scores, &[("site", &site), ("pick", pick), ("probe", "activation")]) else { continue };
        said_all.push(format!(
            "{site} {words} tells planted persona turns from fallen-back turns with AUROC {} (within a turn {}); shuffled \
             conversations give {} (95 % {}), token counts {}, the turn's number {}.",
            said(score("activation")),
            said(score("activation_within_turn")),
            super::cells::round(num(scores, r, "null_mean")),
            super::cells::round(num(scores, r, "null_95")),
            said(score("wording")),
            said(score("turn_number")),
        ));
        if let Some(gain) = estimate(scores, r, "gain_over_wording", "gain_lo", "gain_hi") {
            said_all.push(format!("There the gain over token counts is {}{}.", said(Some(gain)), clear(Some(gain))));
        }
    }
    for hazard in super::cells::distinct(free, "hazard_per_turn") {
        let at = rows(free, &[("hazard_per_turn", &hazard)]);
        let Some(last) = at.last() else { continue };
        let off =
            mean(at.iter().map(|r| (num(free, *r, "persona_fraction") - num(free, *r, "expected_fraction")).abs()));
        said_all.push(format!(
            "Talking freely with a planted hazard of {hazard}, the persona is still there at turn {} in {} of chats (the \
             planted process seen through the same markers: {}; mean gap over turns {}).",
            free.text(*last, "turn"),
            said(estimate(free, *last, "persona_fraction", "lo", "hi")),
            super::cells::round(num(free, *last, "expected_fraction")),
            off.map_or("none".into(), super::cells::round),
        ));
    }
    said_all
}
