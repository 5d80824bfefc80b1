//! Several personas in one transcript, each under its own header, against a twin that learned the same replies under one.

mod read;

use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::Speakers as Settings;
use super::work::{Work, drawing};
use crate::analysis::speakers::{By, Naming, Options, apart, naming};
use crate::error::{Error, Result};
use crate::model::{Model, Source};
use crate::rng::stream;
use crate::table::{Cell, Table};
use crate::talk::{Part, Talk, User, read as items};
use crate::unit::{Tally, parallel};
use crate::world::World;
use rand::Rng;
use rand::seq::{IndexedRandom, index};
use read::Heard;

/// Conversations with who is to speak at each turn.
struct Cast {
    talks: Vec<Talk>,
    /// Of every conversation, by turn: a place among the speakers of the world.
    schedule: Vec<Vec<usize>>,
}

/// The header of a speaker.
fn header(name: &str) -> String {
    format!("<|{name}|>")
}

/// Each conversation has a cast of its own; who replies is drawn anew at every turn. Without headers the schedule is the
/// same and nobody is told of it.
fn cast(plan: &Plan, s: &Settings, headers: bool) -> Result<Cast> {
    let world = plan.world;
    let topics = world.plain_topics();
    let mut found = Cast { talks: vec![], schedule: vec![] };
    for i in 0..s.chats {
        let mut rng = stream(plan.spec.seed, &format!("speakers/{i}"));
        let together = index::sample(&mut rng, world.speakers().len(), s.together).into_vec();
        let schedule: Vec<usize> = (0..s.turns).map(|_| together[rng.random_range(0..together.len())]).collect();
        let mut said = Vec::with_capacity(s.turns);
        for _ in 0..s.turns {
            let Some(topic) = topics.choose(&mut rng) else { break };
            said.push(world.question(&mut rng, topic));
        }
        let mut talk = Talk::new(i.to_string(), vec![], User::Says(said), plan.spec.seed);
        if headers {
            talk.reply_as = schedule.iter().map(|p| header(&world.speakers()[*p].name)).collect();
        }
        found.talks.push(talk);
        found.schedule.push(schedule);
    }
    Ok(found)
}

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    let speakers = plan.world.speakers().len();
    if speakers < 2 {
        return Err(Error::refused(
            format!("the world of {} has no speakers under headers of their own", model.name),
            "name a model that has: model = \"toyworld-voices\"",
        ));
    }
    need((2..=speakers).contains(&s.together), "together", s.together, &format!("2 to {speakers}"))?;
    need(s.chats >= 20, "chats", s.chats, "at least 20: conversations are dealt into folds")?;
    need(s.turns >= 2, "turns", s.turns, "at least 2: a header changes between turns")?;
    need(s.folds >= 2, "folds", s.folds, "at least 2")?;
    need(plan.sites.contains(&s.site), "site", s.site, "one of `sites`")?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let headed = cast(plan, s, !plan.world.single_voice())?;
    let mut stages = plan.led(model, &headed.talks, s.turns, &drawing)?;
    let held: Vec<Talk> = headed
        .talks
        .iter()
        .map(|t| Talk::held(t.id.clone(), vec![], vec![(String::from("?"), String::new()); s.turns]))
        .collect();
    stages.push(plan.captures("replies", model, items(&held, model, &[Part::Before])?.0, true));
    if !s.twin.is_empty() {
        let twin: Vec<Stage> =
            stages.iter().map(|stage| Stage { name: format!("twin: {}", stage.name), ..stage.clone() }).collect();
        stages.extend(twin);
    }
    Ok(stages)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let own = one(plan, s, work, "")?;
    let mut all = vec![(work.model.name.clone(), own)];
    if !s.twin.is_empty() {
        let name = &s.twin;
        let twin = Model::load(&Source::parse(name))?;
        if !twin.text.tokenizer_hash().eq(work.model.text.tokenizer_hash()) {
            work.warnings.push(format!("{name} has another tokenizer than {}", work.model.name));
        }
        let single = World::shipped(name).is_none_or(World::single_voice);
        let found = work.on(&twin, |work| one_with(plan, s, work, "twin: ", !single))?;
        all.push((twin.name.clone(), found));
    }
    let tables = tables(plan.world, &all);
    let page = pages::speakers::page(&plan.spec.stem, &s.site.to_string(), &tables);
    Ok(Parts {
        summary: pages::speakers::summary(&s.site.to_string(), &tables),
        pages: vec![(page, pages::speakers::NAMES.to_vec())],
        tables,
        ..Parts::default()
    })
}

/// What one model gave.
struct Found {
    /// Per site: name, how far apart, how well named.
    sites: Vec<(String, crate::analysis::speakers::Apart, Naming)>,
    heard: Heard,
}

fn one(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>, stage: &str) -> Result<Found> {
    one_with(plan, s, work, stage, !plan.world.single_voice())
}

fn one_with(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>, stage: &str, headers: bool) -> Result<Found> {
    let mut cast = cast(plan, s, headers)?;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    work.lead(stage, &mut cast.talks, s.turns, vec![], &drawing)?;
    let world = plan.world;
    let names: Vec<String> = world.speakers().iter().map(|p| p.name.clone()).collect();
    let (layers, places) = work.read(&format!("{stage}replies"), &cast.talks, &[Part::Reply], &plan.sites)?;
    let said = read::said(&places, &cast.schedule);
    let options = Options { folds: s.folds, permutations: s.permutations, seed: plan.spec.seed };
    let silent = Tally::default();
    work.tell(&format!("{stage}speakers by site"), &silent);
    let sites = parallel(&layers, work.threads(), |(site, rows)| {
        let far = apart(rows.view(), &said, names.len(), options)?;
        Ok((site.to_string(), far, naming(rows.view(), &said, &names, options)?))
    })?;
    let heard = read::heard(s, world, work, &cast, (&layers, &said), options, stage)?;
    Ok(Found { sites, heard })
}

fn tables(world: &World, all: &[(String, Found)]) -> Vec<Table> {
    let judged = ["ci_low", "ci_high", "null_mean", "null_95", "p_value"];
    let mut apart = Table::new("apart", &[&["site", "model", "share_between"][..], &judged, &["reason"]].concat());
    let mut named = Table::new("naming", &[&["site", "model", "accuracy"][..], &judged, &["chance"]].concat());
    for (model, found) in all {
        for (site, a, n) in &found.sites {
            let mut row: Vec<Cell> = vec![site.clone().into(), model.clone().into(), a.share.into()];
            row.extend([a.interval.map(|i| i.lo).into(), a.interval.map(|i| i.hi).into()]);
            row.extend([a.null_mean.into(), a.null_hi.into(), a.p.into()]);
            row.push(a.share.is_none().then_some("all replies are the same here").into());
            apart.push(row);
            let mut row: Vec<Cell> = vec![site.clone().into(), model.clone().into(), n.accuracy.into()];
            row.extend([n.interval.map(|i| i.lo).into(), n.interval.map(|i| i.hi).into()]);
            row.extend([n.null_mean.into(), n.null_hi.into(), n.p.into(), n.chance.into()]);
            named.push(row);
        }
    }
    let means = |name: &str, at: &str, of: &dyn Fn(&Found) -> &Vec<By>| {
        let mut table = Table::new(name, &["model", "who", at, "coordinate", "ci_low", "ci_high", "conversations"]);
        for (model, found) in all {
            for b in of(found) {
                let mut row: Vec<Cell> = vec![model.clone().into(), b.who.into(), Cell::Int(b.at), b.mean.into()];
                row.extend([b.interval.map(|i| i.lo).into(), b.interval.map(|i| i.hi).into(), b.runs.into()]);
                table.push(row);
            }
        }
        table
    };
    let turns = means("trajectories", "turn", &|f| &f.heard.turns);
    let offsets = means("switching", "offset", &|f| &f.heard.offsets);
    vec![apart, named, turns, offsets, read::voices_table(world, all.iter().map(|(m, f)| (m.as_str(), &f.heard)))]
}
