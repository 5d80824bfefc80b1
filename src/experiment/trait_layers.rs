//! Which layers know a persona's traits: contrast vectors on held-out personas, before a word of the reply is there and
//! over the model's own replies.

pub(super) mod draw;

use super::cells::{estimate, mean, null, num, round, rows, said};
use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::prompts::Prompt;
use super::spec::TraitLayers;
use super::work::{Work, drawing};
use crate::acts::Activations;
use crate::analysis::sweep::{Sweep, SweepOptions, sweep, sweep_table};
use crate::analysis::wording::TokenCounts;
use crate::axes::Pick;
use crate::error::Result;
use crate::figures::Estimate;
use crate::model::Model;
use crate::table::Table;
use crate::unit::parallel;
use crate::world::{TraitSet, World};

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &TraitLayers, model: &Model) -> Result<Vec<Stage>> {
    check(s.train_fraction, s.folds)?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    let prompts = plan.persona_prompts(model, (s.group, s.personas), s.questions, 1)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let full = vec![0; s.max_new_tokens];
    Ok(vec![
        plan.captures("last prompt tokens", model, prompts.iter().map(Prompt::last_token).collect(), false),
        plan.replies("replies", model, prompts.iter().map(|p| p.start(0)).collect(), drawing, true),
        plan.captures("means over replies", model, prompts.iter().map(|p| p.with_reply(&full)).collect(), true),
    ])
}

/// Checks how personas are split.
pub(super) fn check(train_fraction: f64, folds: usize) -> Result<()> {
    need(train_fraction > 0.0 && train_fraction < 1.0, "train_fraction", train_fraction, "between 0 and 1")?;
    need(folds >= 2, "folds", folds, "at least 2")
}

pub(super) fn run(plan: &Plan, s: &TraitLayers, work: &mut Work<'_, '_>) -> Result<Parts> {
    let (world, seed) = (World::toyworld(), plan.spec.seed);
    let prompts = plan.persona_prompts(work.model, (s.group, s.personas), s.questions, work.threads())?;
    let before = last_prompts(plan, work, &prompts)?;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let replies = work.replies("replies", &prompts, seed, &drawing)?;
    let answered = work.answered(prompts, replies);
    let over = reply_means(plan, work, &answered)?;
    let expression = expression(work, &answered)?;

    let options = SweepOptions {
        train_fraction: s.train_fraction,
        folds: s.folds,
        bootstrap: s.bootstrap,
        permutations: s.permutations,
        seed,
    };
    let ids: Vec<_> = world.trait_ids().collect();
    let jobs: Vec<_> = [&before, &over].into_iter().flat_map(|d| ids.iter().map(move |t| (d, *t))).collect();
    let sweeps: Vec<Sweep> = parallel(&jobs, work.threads(), |((acts, counts), t)| {
        let has = |group: &str| world.persona(group).is_ok_and(|p| p.has(*t));
        sweep(&world.trait_at(*t).name, acts, Some(counts), &has, &options)
    })?;
    let layers = sweep_table("layers", &sweeps);
    let vectors = sweeps.iter().flat_map(|s| s.layers.iter().filter_map(|l| l.direction.clone())).collect();
    let mut found = Parts { vectors, summary: summary(&layers, &expression), ..Parts::default() };
    for (pick, suffix) in [(Pick::LastPrompt, ""), (Pick::MeanResponse, "_replies")] {
        let page = draw::page(&format!("{}{suffix}", plan.spec.stem), pick.name(), &layers)?;
        found.pages.push((page, vec!["layers"]));
    }
    found.tables = vec![layers, expression];
    Ok(found)
}

/// Activations at the last prompt token, with the counts of the prompts' tokens.
pub(super) fn last_prompts(
    plan: &Plan,
    work: &mut Work<'_, '_>,
    prompts: &[Prompt],
) -> Result<(Vec<Activations>, TokenCounts)> {
    let keys: Vec<_> = prompts.iter().map(|p| p.key.clone()).collect();
    let items = prompts.iter().map(Prompt::last_token).collect();
    let acts = work.activations("last prompt tokens", items, &keys, &plan.sites, Pick::LastPrompt)?;
    let texts: Vec<Vec<u32>> = prompts.iter().map(|p| p.tokens.clone()).collect();
    Ok((acts, TokenCounts::of_tokens(keys, &texts)?))
}

/// Means over replies, with the counts of the replies' tokens.
pub(super) fn reply_means(
    plan: &Plan,
    work: &mut Work<'_, '_>,
    answered: &[(Prompt, Vec<u32>)],
) -> Result<(Vec<Activations>, TokenCounts)> {
    let keys: Vec<_> = answered.iter().map(|(p, _)| crate::acts::RowKey { pos: None, ..p.key.clone() }).collect();
    let items = answered.iter().map(|(p, r)| p.with_reply(r)).collect();
    let acts = work.activations("means over replies", items, &keys, &plan.sites, Pick::MeanResponse)?;
    let texts: Vec<Vec<u32>> = answered.iter().map(|(_, r)| r.clone()).collect();
    Ok((acts, TokenCounts::of_tokens(keys, &texts)?))
}

/// How often each trait shows in the replies, among personas that have it and that lack it.
fn expression(work: &Work<'_, '_>, answered: &[(Prompt, Vec<u32>)]) -> Result<Table> {
    let world = World::toyworld();
    let texts = parallel(answered, work.threads(), |(_, r)| work.model.text.decode(r))?;
    let mut shown: Vec<(TraitSet, TraitSet)> = Vec::with_capacity(texts.len());
    for ((prompt, _), text) in answered.iter().zip(&texts) {
        shown.push((world.persona(&prompt.key.group)?.traits, world.markers(text)));
    }
    let all = world.expression(shown);
    let columns = ["trait", "rate_with", "replies_with", "planted_with", "rate_without", "replies_without"];
    let mut table = Table::new("expression", &[&columns[..], &["planted_without"]].concat());
    let named = all.per_trait.iter().map(|r| (world.trait_at(r.id).name.as_str(), r.on, r.off));
    for (name, on, off) in named.chain([("(all)", all.on, all.off)]) {
        let mut row = vec![name.into(), on.value().into(), on.of.into(), world.p_on().into()];
        row.extend([off.value().into(), off.of.into(), world.p_off().into()]);
        table.push(row);
    }
    Ok(table)
}

fn summary(layers: &Table, expression: &Table) -> Vec<String> {
    let mut said_all = Vec::new();
    for (pick, words) in
        [("last_prompt", "at the last prompt token"), ("mean_response", "over the model's own replies")]
    {
        let chosen = rows(layers, &[("pick", pick), ("probe", "contrast"), ("chosen", "1")]);
        let wording = rows(layers, &[("pick", pick), ("probe", "wording")]);
        let at = |rows: &[usize], column: &str| -> Vec<f64> { rows.iter().map(|r| num(layers, *r, column)).collect() };
        let Some(average) = mean(at(&chosen, "auroc")) else { continue };
        let lowest = chosen.iter().min_by(|a, b| num(layers, **a, "auroc").total_cmp(&num(layers, **b, "auroc")));
        let lowest = lowest.map_or(String::new(), |r| {
            let e = said(estimate(layers, *r, "auroc", "auroc_lo", "auroc_hi"));
            format!("; the lowest is {} with {e}", layers.text(*r, "trait"))
        });
        let null = Estimate { value: mean(at(&chosen, "null_mean")).unwrap_or(f64::NAN), interval: None };
        let top = at(&chosen, "null_95").into_iter().fold(f64::NAN, f64::max);
        said_all.push(format!(
            "Contrast vectors {words} tell held-out personas apart with a mean AUROC of {} over {} traits{lowest}. \
             Shuffled labels give {} (largest 95 % quantile {}), token counts {}.",
            round(average),
            chosen.len(),
            said(Some(null)),
            round(top),
            mean(at(&wording, "auroc")).map_or("none".into(), round),
        ));
    }
    let constant = rows(layers, &[("pick", "last_prompt"), ("reason", "constant"), ("probe", "contrast")]);
    if let Some(r) = constant.first() {
        said_all.push(format!(
            "At {} the last prompt token is the same for everybody: AUROC {} by construction (constant), a negative \
             control.",
            layers.text(*r, "site"),
            said(estimate(layers, *r, "auroc", "auroc_lo", "auroc_hi").or(null(layers, *r))),
        ));
    }
    if let Some(r) = rows(expression, &[("trait", "(all)")]).first() {
        said_all.push(format!(
            "The model shows a trait of its persona in {} of replies (planted {}) and another trait in {} (planted {}).",
            round(num(expression, *r, "rate_with")),
            round(num(expression, *r, "planted_with")),
            round(num(expression, *r, "rate_without")),
            round(num(expression, *r, "planted_without")),
        ));
    }
    said_all
}
