//! Steering the default assistant: dose and response of trait directions beside random directions of the same norm.

mod draw;

use super::cells::{estimate, num, round, row, said};
use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::prompts::{Question, questions};
use super::spec::Steering as Settings;
use super::trait_layers::{check, last_prompts};
use super::work::{Work, drawing};
use crate::acts::Activations;
use crate::analysis::contrast::contrast;
use crate::analysis::dose::{Arm, Outcome, dose_response, dose_table, threshold_table, thresholds};
use crate::analysis::nulls::random_direction;
use crate::analysis::sweep::{Sweep, SweepOptions, sweep};
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::model::{Along, Model, Positions, Receipt};
use crate::table::{Cell, Table};
use crate::text::Message;
use crate::unit::{Item, parallel};
use crate::world::{Persona, TraitId, World, body_intact};

const ARMS: [Arm; 2] = [Arm::Trait, Arm::Random];

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    check(s.train_fraction, s.folds)?;
    need(!s.traits.is_empty(), "traits", "empty", "a list of traits of the world")?;
    let known = s.traits.iter().map(|t| World::toyworld().trait_named(t)).collect::<Result<Vec<_>>>()?;
    let repeated = (1..known.len()).find(|i| known[..*i].contains(&known[*i]));
    need(repeated.is_none(), "traits", "a list that holds a trait twice", "different traits")?;
    let finite = s.doses.iter().all(|d| d.is_finite());
    need(finite && s.doses.contains(&0.0), "doses", format!("{:?}", s.doses), "finite numbers, 0 among them")?;
    need(s.doses.len() > 1, "doses", format!("{:?}", s.doses), "0 and at least one other dose")?;
    need(s.doses.windows(2).all(|w| w[0] < w[1]), "doses", format!("{:?}", s.doses), "in ascending order")?;
    let whole = s.prompts > 0 && s.replies > 0 && s.replies.is_multiple_of(s.prompts);
    need(whole, "replies", s.replies, &format!("a multiple of `prompts`, which is {}", s.prompts))?;
    need(s.level > 0.0 && s.level < 1.0, "level", s.level, "between 0 and 1")?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    if let Some(site) = s.site {
        need(plan.sites.contains(&site), "site", site, "one of `sites`")?;
    }
    let fitted = plan.persona_prompts(model, (s.group, s.personas), s.questions, 1)?;
    let asked = asked(plan, s, model)?;
    let cells = s.traits.len() * ARMS.len() * s.doses.len();
    let one: Vec<Item> =
        (0..s.replies).map(|r| Item { tokens: asked[r % asked.len()].1.clone(), ..Item::default() }).collect();
    let items = (0..cells).flat_map(|_| one.clone()).collect();
    Ok(vec![
        plan.captures("last prompt tokens", model, fitted.iter().map(|p| p.last_token()).collect(), false),
        plan.replies("steered replies", model, items, drawing(model, s.temperature, s.max_new_tokens)?, true),
    ])
}

/// The questions put to the steered assistant, about topics on which no direction was fitted, with their tokens.
fn asked(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<(Question, Vec<u32>)>> {
    let all = questions(World::toyworld(), plan.spec.seed, s.questions + s.prompts)?;
    let encode = |q: &Question| Ok((q.clone(), model.text.chat(&[Message::new("user", &q.text)], true)?.tokens));
    all[s.questions..].iter().map(encode).collect()
}

/// One condition: a trait, an arm and a dose. Its place in the list is the place of its edit.
struct Condition {
    which: TraitId,
    arm: Arm,
    dose: f64,
    direction: Direction,
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let (world, seed) = (World::toyworld(), plan.spec.seed);
    let traits = s.traits.iter().map(|t| world.trait_named(t)).collect::<Result<Vec<_>>>()?;
    let prompts = plan.persona_prompts(work.model, (s.group, s.personas), s.questions, work.threads())?;
    let (layers, _) = last_prompts(plan, work, &prompts)?;
    let (site, chosen) = choose(plan, s, &traits, &layers, work.threads())?;
    let acts = layers
        .iter()
        .find(|a| a.site == site)
        .ok_or_else(|| Error::Site { asked: site.to_string(), exist: s.sites.clone() })?;
    let mut conditions = Vec::new();
    for which in traits {
        let name = &world.trait_at(which).name;
        let has = |p: &Persona| p.has(which);
        let own = contrast(acts, &|g| world.persona(g).is_ok_and(has), (name, &format!("not {name}")))?;
        let random = random_direction(site, Pick::LastPrompt, acts.rows.ncols(), own.raw_norm, seed, name)?;
        for (arm, direction) in ARMS.into_iter().zip([own, random]) {
            let one = |dose: &f64| Condition { which, arm, dose: *dose, direction: direction.clone() };
            conditions.extend(s.doses.iter().map(one));
        }
    }
    let (outcomes, receipts) = steer(plan, s, work, &conditions)?;
    let points = dose_response(&outcomes, s.bootstrap, seed)?;
    let tables = vec![
        dose_table("doses", &points),
        threshold_table("thresholds", &thresholds(&outcomes, s.level, s.bootstrap, seed)?),
        receipt_table(&conditions, &receipts),
        chosen,
    ];
    let page = draw::page(&plan.spec.stem, s, &site.to_string(), &tables)?;
    let vectors = conditions.iter().filter(|c| c.dose == 0.0).map(|c| c.direction.clone()).collect();
    Ok(Parts {
        vectors,
        summary: summary(s, &site.to_string(), &tables),
        pages: vec![(page, vec!["doses", "thresholds"])],
        tables,
        ..Parts::default()
    })
}

/// One common site: the one given, or the layer chosen most often on training personas (the first of equals).
fn choose(
    plan: &Plan,
    s: &Settings,
    traits: &[TraitId],
    layers: &[Activations],
    threads: usize,
) -> Result<(Site, Table)> {
    let world = World::toyworld();
    // Only the choice on training personas is used: no interval and no null of the held-out ones.
    let (bootstrap, permutations) = (0, 0);
    let options = SweepOptions {
        train_fraction: s.train_fraction,
        folds: s.folds,
        bootstrap,
        permutations,
        seed: plan.spec.seed,
    };
    let sweeps: Vec<Sweep> = parallel(traits, threads, |t| {
        let has = |g: &str| world.persona(g).is_ok_and(|p| p.has(*t));
        sweep(&world.trait_at(*t).name, layers, None, &has, &options)
    })?;
    let mut table = Table::new("site_choice", &["trait", "site", "train_auroc", "chosen_for_trait", "used"]);
    // With too few personas there is no choice, and the first layer stands for none.
    let made = |w: &&Sweep| w.chosen().train_auroc.is_some() && w.chosen().direction.is_some();
    let votes = |site: Site| sweeps.iter().filter(made).filter(|w| w.chosen().site == site).count();
    let most = plan.sites.iter().map(|site| votes(*site)).max().unwrap_or(0);
    let mode = plan.sites.iter().copied().find(|site| most > 0 && votes(*site) == most);
    let site = s.site.or(mode).ok_or_else(|| {
        let what = format!("too few personas with and without {} to choose a layer by", s.traits.join(", "));
        Error::refused(what, "give more `personas`, or the `site` to steer at")
    })?;
    for w in &sweeps {
        for l in &w.layers {
            let flags = [l.site == w.chosen().site, l.site == site].map(|b| Cell::from(usize::from(b)));
            let mut row: Vec<Cell> = vec![w.name.clone().into(), l.site.to_string().into(), l.train_auroc.into()];
            row.extend(flags);
            table.push(row);
        }
    }
    Ok((site, table))
}

/// All conditions as one plan: every item has its own edit, at the last prompt token alone.
fn steer(
    plan: &Plan,
    s: &Settings,
    work: &mut Work<'_, '_>,
    conditions: &[Condition],
) -> Result<(Vec<Outcome>, Vec<Receipt>)> {
    let world = World::toyworld();
    let asked = asked(plan, s, work.model)?;
    let edit = |c: &Condition| Along::shift(&c.direction, c.dose * c.direction.raw_norm, Positions::LastPrompt);
    let edits = conditions.iter().map(edit).collect::<Result<Vec<_>>>()?;
    let (mut items, mut of) = (Vec::new(), Vec::new());
    for (e, c) in conditions.iter().enumerate() {
        for reply in 0..s.replies {
            let (question, tokens) = &asked[reply % asked.len()];
            // The id names the random numbers: the same ones for every arm and dose of a trait.
            let id = format!("{}/{}/{}", world.trait_at(c.which).name, reply % asked.len(), reply / asked.len());
            let prompt_len = tokens.len();
            items.push(Item {
                id,
                tokens: tokens.clone(),
                prompt_len,
                seed: plan.spec.seed,
                edits: vec![e],
                ..Item::default()
            });
            of.push((c, question));
        }
    }
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let edits = edits.into_iter().map(Into::into).collect();
    let (replies, receipts) = work.generate("steered replies", items, edits, &drawing)?;
    let share = |holds: bool| f64::from(u8::from(holds));
    let mut outcomes = Vec::with_capacity(of.len());
    for ((c, question), text) in of.into_iter().zip(work.texts(&replies)?) {
        let markers = world.markers(&text);
        outcomes.push(Outcome {
            name: world.trait_at(c.which).name.clone(),
            arm: c.arm,
            dose: c.dose,
            prompt: question.topic.clone(),
            target: share(markers.has(c.which)),
            intact: share(body_intact(&text, world.topic(&question.topic)?)),
            helpful: share(!markers.and(world.assistant().traits).is_empty()),
        });
    }
    Ok((outcomes, receipts))
}

/// What every edit did: one row per trait, arm and dose.
fn receipt_table(conditions: &[Condition], receipts: &[Receipt]) -> Table {
    let columns = ["trait", "arm", "dose_mean_difference", "site", "shift_activation", "rows_touched"];
    let means = ["mean_projection_before_activation", "mean_projection_after_activation", "reason"];
    let mut table = Table::new("receipts", &[&columns[..], &means].concat());
    for (c, r) in conditions.iter().zip(receipts) {
        let name = World::toyworld().trait_at(c.which).name.clone();
        let mut row: Vec<Cell> = vec![name.into(), c.arm.to_string().into(), c.dose.into()];
        row.extend([c.direction.site.to_string().into(), (c.dose * c.direction.raw_norm).into(), r.rows.into()]);
        let mean = |sum: f64| (r.rows > 0).then(|| sum / r.rows as f64);
        row.extend([mean(r.before).into(), mean(r.after).into()]);
        row.push((r.rows == 0).then_some("no row was touched").into());
        table.push(row);
    }
    table
}

/// A rate over all traits.
fn rate(doses: &Table, arm: &str, dose: f64, measure: &str) -> Option<crate::figures::Estimate> {
    let dose = crate::table::number(dose);
    let r = row(doses, &[("trait", "(all)"), ("arm", arm), ("dose_mean_difference", &dose), ("measure", measure)])?;
    estimate(doses, r, "rate", "rate_lo", "rate_hi")
}

fn summary(s: &Settings, site: &str, tables: &[Table]) -> Vec<String> {
    let (doses, thresholds) = (&tables[0], &tables[1]);
    let top = s.doses.last().copied().unwrap_or_default();
    let at = |arm: &str, dose: f64, measure: &str| said(rate(doses, arm, dose, measure));
    let mut said_all = vec![
        format!(
            "Adding a trait's direction at the last prompt token ({site}) raises its marker rate from {} at dose 0 to {} at \
             dose {top} (mean over {} traits); a random direction of the same norm gives {}.",
            at("trait", 0.0, "target"),
            at("trait", top, "target"),
            s.traits.len(),
            at("random", top, "target"),
        ),
        format!(
            "At dose {top} the body of the answer is intact in {} of replies ({} with a random direction). The default \
             assistant is helpful in {} of replies, {} at dose {top}.",
            at("trait", top, "intact"),
            at("random", top, "intact"),
            at("trait", 0.0, "helpful"),
            at("trait", top, "helpful"),
        ),
    ];
    if let Some(r) = row(thresholds, &[("trait", "(all)"), ("arm", "trait")])
        .filter(|r| thresholds.num(*r, "dose_mean_difference").is_some())
    {
        said_all.push(format!(
            "A marker rate of {} is reached at {} lengths of the mean difference.",
            round(num(thresholds, r, "target_rate")),
            said(estimate(thresholds, r, "dose_mean_difference", "dose_lo", "dose_hi")),
        ));
    }
    let out = |t: &&String| {
        row(thresholds, &[("trait", t), ("arm", "trait")])
            .is_some_and(|r| thresholds.num(r, "dose_mean_difference").is_none())
    };
    let never: Vec<&str> = s.traits.iter().filter(out).map(String::as_str).collect();
    if !never.is_empty() {
        said_all.push(format!("No dose tried reaches that rate for {}.", never.join(", ")));
    }
    said_all
}
