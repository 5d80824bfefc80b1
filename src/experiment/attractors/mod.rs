//! Where conversations go by themselves and whether they come back: from everybody under topics, with the model for its own
//! user, and after a disturbance.
//!
//! In conversations that a user drives, everything is said under the condition of the topics: each kind of topics is
//! analysed by itself.

mod arms;
mod draw;
mod led;

pub(super) use arms::taught;

use super::cells::{distinct, estimate, rows, said};
use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::Attractors as Settings;
use super::states::{self, Fitting, Realised, Seer, chain_table, difference_table};
use super::work::{Work, drawing};
use crate::analysis::attractors::{Found, Options, Verdict, attractors, tables as analysed};
use crate::axes::Site;
use crate::error::Result;
use crate::model::Model;
use crate::table::{Cell, Table};
use crate::talk::{Part, User, read};
use crate::unit::parallel;
use crate::world::State;
use arms::{Kind, SELF_TALK};

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    need(s.components >= 2, "components", s.components, "at least 2")?;
    need(!s.topics.is_empty(), "topics", "empty", "at least one kind of topics")?;
    need(s.turns >= 3, "turns", s.turns, "at least 3")?;
    need(
        s.disturbed_at >= 1 && s.disturbed_at + 1 < s.turns,
        "disturbed_at",
        s.disturbed_at,
        "a turn with others before and behind it",
    )?;
    need(s.site != s.second, "second", s.second, "another site than `site`")?;
    need(s.decoder_chats >= 2, "decoder_chats", s.decoder_chats, "at least 2: one fits, one counts the errors")?;
    let sound = s.doses.iter().all(|d| d.is_finite() && *d >= 0.0);
    need(sound, "doses", format!("{:?}", s.doses), "numbers from 0")?;
    let all = arms::all(plan, s)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let decoding = states::forecast(plan, &states::recognisable(plan.world, s.group)?, &fitting(s, s.site))?;
    let mut stages = Vec::new();
    for _ in [s.site, s.second] {
        let items = read(&decoding, model, &[Part::Reply])?.0;
        stages.push(plan.captures("planted for the decoder", model, items, false));
    }
    let way = led::way(plan)?.0;
    stages.push(plan.captures("planted way to the Oracle", model, read(&way, model, &[Part::Before])?.0, false));
    stages.extend(plan.led(model, &all.talks, s.turns, &drawing)?);
    // A model that plays the user draws a line for every turn after the first.
    let own: Vec<_> = all.talks.iter().filter(|t| matches!(t.user, User::Plays(_))).cloned().collect();
    stages.extend(plan.led(model, &own, s.turns.saturating_sub(1), &drawing)?);
    stages.push(plan.read_back("conversations", model, &all.talks, (s.turns, 1), s.max_new_tokens)?);
    Ok(stages)
}

fn fitting(s: &Settings, site: Site) -> Fitting {
    Fitting { site, chats: s.decoder_chats, turns: 4 }
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let people = states::recognisable(plan.world, s.group)?;
    let seers =
        [Seer::fit(plan, &people, &fitting(s, s.site), work)?, Seer::fit(plan, &people, &fitting(s, s.second), work)?];
    let (way, edits) = led::pulse(plan, s, work)?;
    let mut all = arms::all(plan, s)?;
    led::lead(plan, s, &mut all, edits, work)?;
    let seen = led::read(plan, s, &all, &seers, work)?;

    // Pulses belong to the topics under which they were given.
    let mut conditions: Vec<(String, Vec<Kind>)> =
        s.topics.iter().map(|d| (d.name.clone(), vec![Kind::Undisturbed])).collect();
    conditions[0].1.push(Kind::PulseUp);
    conditions.push((SELF_TALK.into(), vec![Kind::Undisturbed]));
    let options = Options { resamples: s.bootstrap, seed: plan.spec.seed, ..Options::default() };
    let found = parallel(&conditions, work.threads(), |(topics, kinds)| {
        let series = led::series(s, &all, &seen, topics, kinds)?;
        let (found, verdict) = attractors(&series, options);
        Ok((analysed(&series, &found, options), found, verdict))
    })?;

    let mut parts = Parts { vectors: vec![way], ..Parts::default() };
    let mut joined: Vec<Table> = Vec::new();
    for ((topics, _), (tables, _, _)) in conditions.iter().zip(&found) {
        join(&mut joined, topics, tables);
    }
    let verdicts: Vec<(&str, &[Found], Verdict)> =
        conditions.iter().zip(&found).map(|((topics, _), (_, f, v))| (topics.as_str(), f.as_slice(), *v)).collect();
    joined.push(verdict_table(&verdicts, &seers, plan, s));
    let chains = led::looks(&all, &seen, &seers[0]);
    let truth = Realised::of(work.model);
    let soul = |arm: &str| s.topics.iter().find(|d| d.name == arm).map(|d| d.soul);
    // Hazards differ between people: what is planted of persona and assistant is the mean of the corpus.
    let planted = |arm: &str, from: State, to: State| -> Option<f64> {
        let share = soul(arm)?;
        Some(share * truth.step(true, from, to)? + (1.0 - share) * truth.step(false, from, to)?)
    };
    let resamples = (s.chain_bootstrap, plan.spec.seed, work.threads());
    joined.push(chain_table("moves", &chains, resamples, &planted)?);
    joined.push(difference_table("looks", &chains, resamples)?);
    joined.push(led::disturbed_table(s, &all, &seen));
    joined.push(seers[0].errors_table("decoder_errors"));
    joined.push(led::states_table(s, &all, &seen));
    parts.summary = summary(s, &joined);
    parts.tables = joined;
    let stem = &plan.spec.stem;
    parts.pages.push((draw::page(stem, &parts.tables)?, vec!["moves", "looks", "disturbed", "verdicts"]));
    let site = s.site.to_string();
    for ((topics, _), (tables, sites, _)) in conditions.iter().zip(&found) {
        let name = format!("{stem}_{}", topics.replace([' ', '-'], "_"));
        let Some(first) = sites.iter().find(|f| f.site == site) else { continue };
        parts.pages.extend(pages::attractors::page(&name, &site, tables, &first.verdict.to_string()));
    }
    Ok(parts)
}

/// Adds tables of one kind of topics to those of others of the same name.
fn join(all: &mut Vec<Table>, topics: &str, tables: &[Table]) {
    for table in tables {
        let at = all.iter().position(|t| t.name == table.name).unwrap_or_else(|| {
            let columns: Vec<&str> =
                std::iter::once("topics").chain(table.columns.iter().map(String::as_str)).collect();
            all.push(Table::new(&table.name, &columns));
            all.len() - 1
        });
        for row in &table.rows {
            all[at].push([vec![topics.into()], row.clone()].concat());
        }
    }
}

/// One row per kind of topics, site and basin: the verdict, and whose mean reply lies nearest to the basin's centre.
fn verdict_table(found: &[(&str, &[Found], Verdict)], seers: &[Seer; 2], plan: &Plan, s: &Settings) -> Table {
    let columns = ["topics", "verdict", "site", "site_verdict", "basin", "weight", "lo", "hi", "nearest", "distance"];
    let mut table = Table::new("verdicts", &[&columns[..], &["to_assistant", "to_oracle", "reason"]].concat());
    for (topics, sites, verdict) in found {
        for (f, seer) in sites.iter().zip(seers) {
            let head = || -> Vec<Cell> {
                let site = f.site.clone().into();
                vec![(*topics).into(), verdict.to_string().into(), site, f.verdict.to_string().into()]
            };
            let basins = match &f.basins {
                Ok(basins) => basins,
                Err(why) => {
                    let mut row = head();
                    row.extend((0..8).map(|_| Cell::Empty));
                    row.push(why.clone().into());
                    table.push(row);
                    continue;
                }
            };
            for (b, centre) in basins.centres.rows().into_iter().enumerate() {
                let to = |name: &str| -> Option<f64> {
                    let z = seer.place_of(name, s.components)?;
                    Some(z.iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt())
                };
                let nearest = seer.means.keys().filter_map(|n| Some((n, to(n)?))).min_by(|a, b| a.1.total_cmp(&b.1));
                let w = basins.weights[b];
                let mut row = head();
                row.extend([b.into(), w.share.into(), w.lo.into(), w.hi.into()]);
                row.extend([nearest.map(|n| n.0.clone()).into(), nearest.map(|n| n.1).into()]);
                row.extend([to(&plan.world.assistant().name).into(), to(&plan.world.oracle().name).into()]);
                row.push(Cell::Empty);
                table.push(row);
            }
        }
    }
    table
}

fn summary(s: &Settings, tables: &[Table]) -> Vec<String> {
    let named = |name: &str| tables.iter().find(|t| t.name == name);
    let mut all = Vec::new();
    if let Some(t) = named("verdicts") {
        let site = s.site.to_string();
        for topics in distinct(t, "topics") {
            let at = rows(t, &[("topics", &topics), ("site", &site)]);
            let one = |r: &usize| {
                let weight = said(estimate(t, *r, "weight", "lo", "hi"));
                format!("{weight} end near {}", t.text(*r, "nearest"))
            };
            let Some(first) = at.first() else { continue };
            all.push(format!(
                "{topics}: {} ({}).",
                t.text(*first, "verdict").replace('_', " "),
                at.iter().map(one).collect::<Vec<_>>().join("; ")
            ));
        }
    }
    if let Some(t) = named("looks") {
        for topics in distinct(t, "arm") {
            let gaps = rows(t, &[("arm", &topics)]).into_iter().filter_map(|r| t.num(r, "difference"));
            let most = gaps.map(f64::abs).fold(0.0, f64::max);
            all.push(format!(
                "{topics}: the moves between states told from activations and from text differ by {most:.3} at most."
            ));
        }
    }
    all
}
