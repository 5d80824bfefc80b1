//! Knowing against feeling: what fine-tunes of one base know of a trait, claim, carry in their activations and show.
//!
//! The base (0) and the base under a persona card (1) are the anchors of every measure. Directions are fitted on the base
//! alone; all models read and answer the same, in one batch.

mod ask;
mod axis;
mod beside;
#[cfg(test)]
mod beside_tests;
mod causal;
mod course;
mod directions;
mod express;
mod labels;
mod latent;
mod measures;
mod models;
mod more;
mod perplexity;
mod planned;
mod protocol;
mod rows;
mod screening;
mod subjects;
#[cfg(test)]
mod tests;
mod told;
mod weights;
mod world;
mod written;

pub(in crate::experiment) use perplexity::{likelihood_items, likelihoods_by};
pub(super) use planned::before;

use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::Knowing as Settings;
use super::work::{Work, drawing};
use crate::analysis::knowing::{Options, Thresholds, knowing};
use crate::axes::Pick;
use crate::error::{Error, Result};
use crate::model::{Model, Source};
use directions::Directions;
use measures::Asking;
use models::Wanted;
use protocol::Protocol;
use subjects::{Subject, Tuned, subjects};

/// What is measured, in words.
fn protocol(plan: &Plan, s: &Settings, model: &Model) -> Result<Protocol> {
    match (&s.world, &s.protocol) {
        (Some(world), None) => {
            if model.source != Source::toyworld() {
                let what = format!("`settings.world` is of the embedded model, and the model is {}", model.name);
                return Err(Error::refused(what, "write the protocol out under [settings.protocol]"));
            }
            world::protocol(world, s.passages, plan.spec.seed)
        }
        (None, Some(w)) => written::protocol(w, s.passages, &plan.spec.dir, model),
        _ => {
            let found = if s.world.is_some() { "both" } else { "neither" };
            let what = format!("the probe has {found} of [settings.world] and [settings.protocol]");
            Err(Error::refused(what, "give one of them"))
        }
    }
}

fn asking(plan: &Plan, s: &Settings, model: &Model) -> Result<Asking> {
    Ok(Asking {
        samples: s.samples,
        drawing: drawing(model, s.temperature, s.max_new_tokens)?,
        seed: plan.spec.seed,
        known: s.known,
        latent: Some(measures::place(s.latent)),
        sites: plan.sites.clone(),
    })
}

fn check(s: &Settings) -> Result<()> {
    let counts = [("passages", s.passages), ("samples", s.samples), ("max_new_tokens", s.max_new_tokens)];
    counts.into_iter().try_for_each(|(key, value)| need(value > 0, key, value, "at least 1"))?;
    need(s.passages >= 10, "passages", s.passages, "at least 10, so that some can be held out")?;
    Thresholds { high: s.high, low: s.low }.check()?;
    need(s.random >= 20, "random", s.random, "at least 20 random directions")?;
    super::tunes::check(&s.training)?;
    super::tunes::check_seeds(&s.seeds)?;
    need(s.known > 0.0 && s.known <= 1.0, "known", s.known, "above 0 and at most 1, which leaves nothing out")?;
    let picks = [Pick::LastPrompt, Pick::MeanResponse];
    need(picks.contains(&s.latent), "latent", s.latent, "last_prompt or mean_response")
}

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    check(s)?;
    let protocol = protocol(plan, s, model)?;
    let wanted = models::wanted(plan, s, &protocol, model, 1)?;
    causal::check(&s.causal, &wanted.iter().map(|w| w.tuned.format.as_str()).collect::<Vec<_>>())?;
    let all = everybody(&protocol, &wanted);
    let how = asking(plan, s, model)?;
    let training = Stage {
        name: "fine-tunes that are not there yet".into(),
        units: wanted.iter().filter(|w| w.made().is_some()).count(),
        rows: 0,
        tokens: wanted.iter().filter_map(|w| w.made()).map(|t| t.data.n_tokens() * t.how.epochs).sum(),
        bytes: 0,
        at_most: true,
    };
    let put = express::all(&protocol, &all, s.samples);
    let mut prompts = express::items(&protocol, &all, &put, model, plan.spec.seed)?;
    let (mut questions, _) = ask::items(&protocol, &all, &ask::all(&protocol, &all), model)?;
    // Before there are adapters, everything goes to the base: as much, and as long.
    prompts.iter_mut().chain(&mut questions.items).for_each(|i| i.adapter = None);
    let last = |i: &crate::unit::Item| {
        let n = i.tokens.len();
        crate::unit::Item { ranges: std::iter::once(n - 1..n).collect(), ..i.clone() }
    };
    let carried: Vec<crate::unit::Item> = prompts.iter().map(last).collect();
    let edited = causal::forecast(plan, (&protocol, &all), s, model, &how.drawing)?;
    let mut stages = vec![
        training,
        plan.replies(
            "enacted replies",
            model,
            rows::enacting(&protocol, model, plan.spec.seed)?,
            how.drawing.clone(),
            true,
        ),
        plan.likelihoods("questions", model, questions.items),
        plan.replies("replies", model, prompts, how.drawing, true),
        plan.captures("carried", model, carried, true),
    ];
    stages.extend(edited);
    Ok(stages)
}

fn everybody(protocol: &Protocol, wanted: &[Wanted]) -> Vec<Subject> {
    let tuned: Vec<Tuned> = wanted.iter().map(|w| w.tuned.clone()).collect();
    subjects(protocol, &tuned)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let protocol = protocol(plan, s, work.model)?;
    let wanted = models::wanted(plan, s, &protocol, work.model, work.threads())?;
    let mut how = asking(plan, s, work.model)?;
    let sets = rows::sets(&protocol, &plan.sites, (&how.drawing, plan.spec.seed), work)?;
    let seeded = (plan.spec.seed, work.threads());
    let default = rows::default(&protocol, &plan.sites, work)?;
    let directions = Directions::fit(&protocol, (&sets, &default), &plan.sites, (s.site, s.latent), seeded)?;
    let told = told::apart(&directions, s.latent);
    if told.same {
        // One direction under two names says nothing of a difference between feeling and knowing.
        how.latent = None;
    }
    let model = models::assembled(plan, &wanted, work)?;
    let all = everybody(&protocol, &wanted);
    let options = Options {
        thresholds: Thresholds { high: s.high, low: s.low },
        site: None,
        planned: Some(planned::planned(wanted.iter().map(|w| &w.tuned))),
        resamples: s.resamples,
        seed: plan.spec.seed,
    };
    let of = (&protocol, &all[..]);
    let (found, likely, foretold, edited) = work.on(&model, |work| -> Result<_> {
        let found = measures::measure("", of, &directions, &how, work)?;
        let likely = if s.texts > 0 { beside::likely(plan, s, of, work)? } else { None };
        let foretold = match s.screened {
            0 => vec![],
            _ => beside::foretold(plan, s, of, &wanted, &directions, &found, work)?,
        };
        let trial = causal::Trial::new(of, &directions, &how, s, &found.known);
        let edited = if told.same { vec![] } else { causal::causal(&trial, work)? };
        Ok((found, likely, foretold, edited))
    })?;
    let known = knowing(&found.rows, &options)?;
    let mut parts = pages::knowing::parts(&plan.spec.stem, &known)?;
    parts.warnings.extend(told.warning.clone());
    if told.same {
        let site = directions.site;
        parts.warnings.push(format!("latent measures and edits are left out: at {site} the directions are one"));
    }
    parts.tables.push(measures::table(&found.rows));
    parts.tables.extend(more::tables(of, &found, &options)?);
    parts.tables.extend(directions.tables.iter().cloned());
    parts.tables.push(told.table);
    parts.tables.extend(beside::written(plan, of, &directions, (&model, s.random))?);
    parts.tables.extend(likely);
    parts.tables.extend(foretold);
    parts.tables.extend(edited);
    if s.course.save_every > 0 {
        parts.tables.extend(course::course(s, &protocol, &wanted, &directions, (&how, &options), work)?);
    }
    draw(plan, s, &directions, &mut parts)?;
    parts.vectors =
        directions.iter().filter(|(_, _, d)| d.site == directions.site).map(|(_, _, d)| d.clone()).collect();
    parts.vectors.push(directions.axis.clone());
    parts.record.push(("fine_tunes", model.describe_adapters()));
    Ok(parts)
}

/// The pages of the tables that there are.
fn draw(plan: &Plan, s: &Settings, directions: &Directions, parts: &mut Parts) -> Result<()> {
    let stem = &plan.spec.stem;
    let name = |suffix: &str| format!("{stem}_{suffix}");
    let has = |table: &str| parts.tables.iter().any(|t| t.name == table && !t.rows.is_empty());
    let (site, pick) = (directions.site.to_string(), s.latent.name());
    let mut pages = vec![(
        pages::knowing::directions::page(&name("directions"), &parts.tables, &site, pick)?,
        vec!["transfer", "apart", "wording", "latent"],
    )];
    if has("weights") {
        pages.push((pages::knowing::weights::page(&name("weights"), &parts.tables)?, vec!["weights", "subspaces"]));
    }
    if has("perplexity") {
        pages.push((pages::knowing::perplexity::page(&name("perplexity"), &parts.tables)?, vec!["perplexity"]));
    }
    if has("foretold") {
        pages
            .push((pages::knowing::screening::page(&name("screening"), &parts.tables)?, vec!["foretold", "agreement"]));
    }
    if has("dissociation") {
        let page = pages::knowing::dissociation::page(&name("dissociation"), &parts.tables)?;
        pages.extend(page.map(|p| (p, vec!["dissociation", "doses"])));
    }
    if has("patching") {
        let page = pages::knowing::patching::page(&name("patching"), &parts.tables)?;
        pages.extend(page.map(|p| (p, vec!["patching"])));
    }
    if has("course") {
        pages.push((pages::knowing::course::page(&name("course"), &parts.tables)?, vec!["course", "onset"]));
    }
    parts.pages.extend(pages);
    Ok(())
}
