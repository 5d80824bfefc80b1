//! Several named speakers in one transcript, against the twin whose replies all stand under one header: how far the voices
//! stay apart, how true each is to itself, and how fast the model changes from one to the next.

mod apart;
mod draw;
mod switch;
mod talks;

use super::cells::{estimate, row, said};
use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::spec::Speakers as Settings;
use super::work::{Work, drawing};
use crate::analysis::turns::{TurnValue, fraction_by_turn, turn_table};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::{Model, Source};
use crate::shipped::Shipped;
use crate::table::Table;
use crate::talk::Part;
use crate::unit::parallel;
use talks::{Said, Spoken};

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    need(s.together >= 2, "together", s.together, "at least 2 speakers in a conversation")?;
    need(s.turns >= 2, "turns", s.turns, "at least 2")?;
    need(
        s.folds >= 2 && s.conversations >= s.folds,
        "conversations",
        s.conversations,
        "at least as many as `folds`, which are 2 or more",
    )?;
    need(plan.sites.contains(&s.site), "site", s.site, "one of `sites`")?;
    let n = plan.world.speakers().len();
    if n < 3 {
        let what = format!("the world of `{}` has {n} speakers under headers of their own", plan.spec.model);
        return Err(Error::refused(what, "choose toyworld-voices, or its twin toyworld-single"));
    }
    need(s.together <= n, "together", s.together, "at most as many as the world has speakers")?;
    twin(s)?;
    let talks = talks::begin(plan, s, true);
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let mut stages = Vec::new();
    // The same with both models.
    for name in [&plan.spec.model, &s.twin] {
        stages.extend(plan.led(model, &talks.0, s.turns, &drawing)?);
        let reads = [("means over replies", 1), ("before replies", 1), ("tokens of replies", s.max_new_tokens)];
        for (what, per_turn) in reads {
            let stage = format!("{name}: {what}");
            stages.push(plan.read_back(&stage, model, &talks.0, (s.turns, per_turn), s.max_new_tokens)?);
        }
    }
    Ok(stages)
}

/// The model without identities.
fn twin(s: &Settings) -> Result<&'static Shipped> {
    Shipped::named(&s.twin).ok_or_else(|| {
        Error::refused(
            format!("`twin` is `{}`, which is no shipped model", s.twin),
            format!("there are {}", Shipped::names()),
        )
    })
}

/// What was read of one model.
struct Voices {
    model: String,
    said: Vec<Said>,
    spoken: Spoken,
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let own = one(plan, s, &plan.spec.model, true, work)?;
    let model = Model::load(&Source::Embedded(twin(s)?))?;
    let other = work.on(&model, |work| one(plan, s, &s.twin, false, work))?;
    let all = [own, other];

    let names: Vec<&str> = plan.world.speakers().iter().map(|p| p.name.as_str()).collect();
    let jobs: Vec<(&Voices, Site, Part)> = all
        .iter()
        .flat_map(|v| plan.sites.iter().flat_map(move |site| [Part::Before, Part::Reply].map(|part| (v, *site, part))))
        .collect();
    let told = parallel(&jobs, work.threads(), |(v, site, part)| {
        apart::told_apart(v, *site, *part, &names, s, plan.spec.seed)
    })?;
    let classification = apart::classification_table(&told);
    let shares = apart::share_table(&all, &plan.sites);
    let voices = apart::voices_table(&all, plan.world, s.site)?;
    let turns = by_turn(&all, &told, s)?;
    let switches = switch::table(&all, s, plan.spec.seed)?;
    let map = apart::map_table(&all, s.site)?;
    let tables = vec![classification, shares, voices, turns, switches, map];
    let page = draw::page(&plan.spec.stem, s, &tables)?;
    Ok(Parts {
        summary: summary(s, &tables),
        pages: vec![(page, vec!["classification", "shares", "voices", "switch", "map"])],
        tables,
        ..Parts::default()
    })
}

/// Leads the conversations with one model and reads them.
fn one(plan: &Plan, s: &Settings, name: &str, headers: bool, work: &mut Work<'_, '_>) -> Result<Voices> {
    let (mut talks, said) = talks::begin(plan, s, headers);
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    work.lead(&format!("{name}: "), &mut talks, s.turns, vec![], &drawing)?;
    let spoken = talks::read(plan, s, name, &talks, work)?;
    Ok(Voices { model: name.into(), said: talks::replies(said, &talks), spoken })
}

/// The share of replies whose speaker is told from their activations, by turn.
fn by_turn(all: &[Voices; 2], told: &[apart::Told], s: &Settings) -> Result<Table> {
    let mut values = Vec::new();
    for t in told.iter().filter(|t| t.site == s.site && t.part == Part::Reply) {
        let voices = all.iter().find(|v| v.model == t.model).expect("told of one of them");
        for (place, right) in voices.spoken.replies.iter().zip(&t.right) {
            let value = f64::from(u8::from(*right));
            values.push(TurnValue {
                conversation: place.talk.to_string(),
                arm: t.model.clone(),
                turn: place.turn,
                value,
            });
        }
    }
    Ok(turn_table("turns", "told_fraction", &fraction_by_turn(&values)?))
}

fn summary(s: &Settings, tables: &[Table]) -> Vec<String> {
    let (classification, shares, switches) = (&tables[0], &tables[1], &tables[4]);
    let site = s.site.to_string();
    let mut all = Vec::new();
    for model in super::cells::distinct(classification, "model") {
        let told = |pick: &str, site: &str| {
            let r = row(classification, &[("model", &model), ("site", site), ("pick", pick)]);
            said(r.and_then(|r| estimate(classification, r, "accuracy", "lo", "hi")))
        };
        let null = row(classification, &[("model", &model), ("site", &site), ("pick", "reply")])
            .map_or("none".into(), |r| classification.text(r, "null_95"));
        let share = row(shares, &[("model", &model), ("site", &site)])
            .and_then(|r| estimate(shares, r, "between_share", "lo", "hi"));
        all.push(format!(
            "{model}: the speaker of a reply is told from its mean at {site} in {} (its words at resid_pre.0: {}; shuffled: \
             below {null}), before it begins in {}; speakers are {} of the variance.",
            told("reply", &site),
            told("reply", "resid_pre.0"),
            told("before", &site),
            said(share),
        ));
        let at = |offset: &str| {
            let r = row(switches, &[("model", &model), ("after", "another speaker"), ("token", offset)])?;
            estimate(switches, r, "place", "lo", "hi")
        };
        all.push(format!(
            "{model}: on the way from the last speaker (0) to the next (1) the stream lies at {} before the reply, {} at its \
             first token and {} at the eighth.",
            said(at("-1")),
            said(at("0")),
            said(at("7")),
        ));
    }
    all
}
