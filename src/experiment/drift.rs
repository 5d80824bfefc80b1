//! Falling out of a persona: read from planted conversations turn by turn, and watched while the model talks freely.

mod draw;
mod free;
mod led;
mod planted;

use super::cells::{distinct, estimate, mean, num, round, row, rows, said};
use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::Drift as Settings;
use super::states::{self, Fitting, Realised, Seer};
use super::work::{Work, drawing};
use crate::analysis::drift::{DriftOptions, drift, drift_table};
use crate::analysis::trajectory::{AlarmOptions, Band, RegressionOptions, Run};
use crate::analysis::turns::{TurnValue, mean_by_turn, turn_table};
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::figures::Estimate;
use crate::model::Model;
use crate::table::Table;
use crate::talk::{Part, read};
use crate::unit::parallel;

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
    need(!s.domains.is_empty(), "domains", "empty", "at least one: the first is what the default is calibrated on")?;
    need(s.decoder_chats >= 2, "decoder_chats", s.decoder_chats, "at least 2: one fits, one counts the errors")?;
    for d in &s.domains {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        need(share(d.soul) && share(d.about_itself), "domains", &d.name, "shares from 0 to 1")?;
    }
    let planted = planted::make(plan, s, model, 1)?;
    let decoding = states::forecast(plan, &states::recognisable(plan.world, s.group)?, &fitting(s))?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let mut stages = vec![
        plan.captures("planted conversations", model, planted.items(), false),
        plan.captures("planted for the decoder", model, read(&decoding, model, &[Part::Reply])?.0, false),
    ];
    let talks = free::chats(plan, s)?.2;
    stages.extend(plan.led(model, &talks, s.chat_turns, &drawing)?);
    for (name, per_turn) in [("what the user says", 1), ("free conversations", s.max_new_tokens)] {
        stages.push(plan.read_back(name, model, &talks, (s.chat_turns, per_turn), s.max_new_tokens)?);
    }
    Ok(stages)
}

fn fitting(s: &Settings) -> Fitting {
    Fitting { site: s.site, chats: s.decoder_chats, turns: s.turns.min(4) }
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
    let planted_turns = split_arm(
        &turn_table("planted_turns", "projection_activation", &mean_by_turn(&values, s.bootstrap, seed)),
        ["pick", "state"],
    );

    let axis = found.iter().find(|d| d.site == s.site && d.pick == Pick::MeanResponse).and_then(|d| d.axis.clone());
    let mut tables = vec![scores, planted_turns];
    let (mut pages, mut said) = (vec![], vec![]);
    if let Some(axis) = &axis {
        let led = freely(plan, s, axis, work)?;
        tables.extend(led.tables);
        (pages, said) = (led.pages, led.summary);
    } else {
        work.warnings.push(format!("{} has no axis: the free conversations were not led", s.site));
    }
    let page = draw::page(&plan.spec.stem, s, &tables)?;
    let drawn = ["scores", "planted_turns", "free_turns", "turns", "hazards", "token_projections"];
    pages.insert(0, (page, drawn.to_vec()));
    Ok(Parts {
        vectors: found.iter().filter_map(|d| d.axis.clone()).collect(),
        summary: [summary(s, &tables), said].concat(),
        pages,
        tables,
        ..Parts::default()
    })
}

/// The conversations that the model leads, read on the axis of the planted ones.
fn freely(plan: &Plan, s: &Settings, axis: &Direction, work: &mut Work<'_, '_>) -> Result<Parts> {
    let seer = Seer::fit(plan, &states::recognisable(plan.world, s.group)?, &fitting(s), work)?;
    let (arms, chats, mut talks) = free::chats(plan, s)?;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    work.lead("free ", &mut talks, s.chat_turns, vec![], &drawing)?;
    let read = led::read(&chats, &talks, (&seer, axis), work, plan.world)?;
    let chains = led::looks(&seer, &arms, &chats, &read);
    let [moves, looks, hazards] = led::hazards(plan, s, &chains, &Realised::of(work.model), work.threads())?;
    let fractions = led::fractions(plan, s, &arms, &chats, &read)?;
    let (states, tokens) = (led::states(&arms, &chats, &talks, &read), led::tokens(plan, s, &arms, &chats, &read));
    let runs = led::runs(&arms, &chats, &talks, &read)?;
    let calibrating: Vec<Run> = runs.iter().filter(|r| r.domain() == Some(&s.domains[0].name)).cloned().collect();
    let band = Band::calibrated(&calibrating)?;
    let seed = plan.spec.seed;
    let options = (
        AlarmOptions { seed, ..AlarmOptions::default() },
        RegressionOptions { permutations: s.permutations, seed, ..RegressionOptions::default() },
    );
    let mut found =
        pages::drift::parts(&format!("{}_turns", plan.spec.stem), &runs, &band, options, "projection on the axis");
    found.tables.extend([fractions, tokens, seer.errors_table("decoder_errors"), moves, looks, hazards, states]);
    Ok(found)
}

/// Splits an arm such as `pick/state` into two columns.
fn split_arm(table: &Table, names: [&str; 2]) -> Table {
    let mut columns: Vec<&str> = names.to_vec();
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
    let scores = &tables[0];
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
            round(num(scores, r, "null_mean")),
            round(num(scores, r, "null_95")),
            said(score("wording")),
            said(score("turn_number")),
        ));
        if let Some(gain) = estimate(scores, r, "gain_over_wording", "gain_lo", "gain_hi") {
            said_all.push(format!("There the gain over token counts is {}{}.", said(Some(gain)), clear(Some(gain))));
        }
    }
    let named = |name: &str| tables.iter().find(|t| t.name == name);
    let (Some(free), Some(hazards), Some(projections)) = (named("free_turns"), named("hazards"), named("turns")) else {
        return said_all;
    };
    for hazard in distinct(free, "hazard_per_turn") {
        let at = rows(free, &[("hazard_per_turn", &hazard), ("look", "text")]);
        let Some(last) = at.last() else { continue };
        let off =
            mean(at.iter().map(|r| (num(free, *r, "persona_fraction") - num(free, *r, "expected_fraction")).abs()));
        let look = |look: &str| {
            let r = row(hazards, &[("hazard_per_turn", &hazard), ("look", look)])?;
            estimate(hazards, r, "hazard", "lo", "hi")
        };
        said_all.push(format!(
            "Talking freely with a planted hazard of {hazard}, the persona is still there at turn {} in {} of chats (the \
             planted process seen through the same markers: {}; mean gap over turns {}); the hazard is {} from the text and \
             {} from activations.",
            free.text(*last, "turn"),
            said(estimate(free, *last, "persona_fraction", "lo", "hi")),
            round(num(free, *last, "expected_fraction")),
            off.map_or("none".into(), round),
            said(look("text")),
            said(look("activation")),
        ));
    }
    for domain in &s.domains {
        let at = rows(projections, &[("domain", &domain.name)]);
        let (Some(first), Some(last)) = (at.first(), at.last()) else { continue };
        let of = |r: usize| said(estimate(projections, r, "projection", "ci_low", "ci_high"));
        said_all.push(format!(
            "The default assistant asked about {} lies at {} on the axis at the first turn and at {} at the last.",
            domain.name,
            of(*first),
            of(*last),
        ));
    }
    said_all
}
