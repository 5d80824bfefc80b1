//! Persona space: role vectors, their components, the assistant axis and the place of the default assistant.

mod draw;

use super::cells::{estimate, row, said};
use super::findings::Parts;
use super::pages::map as pages;
use super::plan::{Plan, Stage, need};
use super::prompts::{Prompt, default_prompts, questions};
use super::spec::PersonaMap as Settings;
use super::trait_layers::reply_means;
use super::work::{Work, drawing};
use crate::analysis::map::{
    Covariate, MapOptions, RoleVectors, Shape, correlate, correlation_table, map_tables, shape,
};
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::model::Model;
use crate::table::Table;
use crate::unit::parallel;
use crate::world::{TraitId, World};
use ndarray::{Array1, Array2, Axis};

/// Names of the covariates.
const HELPFUL: &str = "helpful";
const STYLE: &str = "style_traits";

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    need(s.default_replies > 0, "default_replies", s.default_replies, "at least 1")?;
    need(s.components >= 2, "components", s.components, "at least 2: a map has two")?;
    need(s.null_draws > 0, "null_draws", s.null_draws, "at least 1")?;
    need(s.halves > 0, "halves", s.halves, "at least 1")?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    let may = format!("one of `sites`: {}", plan.sites.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", "));
    need(plan.sites.contains(&s.site), "site", s.site, &may)?;
    let (roles, default) = prompts(plan, s, model, 1)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let start = |of: &[Prompt]| of.iter().map(|p| p.start(0)).collect();
    let full = vec![0; s.max_new_tokens];
    let both = roles.iter().chain(&default).map(|p| p.with_reply(&full)).collect();
    Ok(vec![
        plan.replies("replies", model, start(&roles), drawing.clone(), true),
        plan.replies("replies of the default assistant", model, start(&default), drawing, true),
        plan.captures("means over replies", model, both, true),
    ])
}

fn prompts(plan: &Plan, s: &Settings, model: &Model, threads: usize) -> Result<(Vec<Prompt>, Vec<Prompt>)> {
    let world = plan.world;
    let roles = plan.persona_prompts(model, (s.group, s.personas), s.questions, threads)?;
    let questions = questions(world, plan.spec.seed, s.questions)?;
    Ok((roles, default_prompts(model, &world.assistant().name, &questions, s.default_replies)?))
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let (world, seed) = (plan.world, plan.spec.seed);
    let (roles, default) = prompts(plan, s, work.model, work.threads())?;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let role_replies = work.replies("replies", &roles, seed, &drawing)?;
    let default_replies = work.replies("replies of the default assistant", &default, seed, &drawing)?;
    let n_default = default.len();
    // The roles' rows are cut into the same units as when they stand alone only if they come first.
    let prompts = roles.into_iter().chain(default).collect();
    let answered = work.answered(prompts, role_replies.into_iter().chain(default_replies).collect());
    let (layers, _) = reply_means(plan, work, &answered)?;

    let options = MapOptions {
        components: s.components,
        null_draws: s.null_draws,
        bootstrap: s.bootstrap,
        permutations: s.permutations,
        halves: s.halves,
        seed,
        ..MapOptions::default()
    };
    let name = &world.assistant().name;
    let covariates = covariates(world);
    let of_site = parallel(&layers, work.threads(), |acts| {
        let mut vectors = RoleVectors::of_groups(acts, Some(name))?;
        trait_directions(world, &mut vectors);
        let found = shape(&vectors, &options)?;
        let correlations = correlate(&found, &covariates, &options);
        Ok((found, correlations))
    })?;
    let shapes: Vec<&Shape> = of_site.iter().map(|o| &o.0).collect();
    let pairs: Vec<_> = of_site.iter().map(|o| (&o.0, o.1.as_slice())).collect();
    let site = s.site.to_string();
    let mut tables = map_tables(&shapes, s.neighbours, &site);
    // Coordinates that anybody looks at.
    if let Some(loadings) = tables.iter_mut().find(|t| t.name == "loadings") {
        let axis = loadings.column("axis")?;
        loadings.rows.retain(|row| ["assistant_axis", "PC1", "PC2", "PC3"].contains(&row[axis].show().as_str()));
    }
    tables.extend([correlation_table(&pairs), people_table(world, &shapes)]);
    let mut found = Parts { vectors: axes(&shapes)?, summary: summary(&site, &tables, n_default), ..Parts::default() };
    found.pages = draw::pages(&plan.spec.stem, &site, &tables, n_default)?;
    if found.pages.is_empty() {
        found.warnings.push(format!("the roles lie on a line at {site}: no map is drawn"));
    }
    found.tables = tables;
    Ok(found)
}

/// Each trait as a direction: mean of the roles that have it minus mean of those that lack it.
pub(crate) fn trait_directions(world: &World, vectors: &mut RoleVectors) {
    let mean = |with: bool, id: TraitId| {
        let of: Vec<usize> = (0..vectors.roles.len())
            .filter(|i| world.persona(&vectors.roles[*i]).is_ok_and(|p| p.has(id) == with))
            .collect();
        vectors.vectors.select(Axis(0), &of).mean_axis(Axis(0))
    };
    let mut found: Vec<(String, Array1<f64>)> = world
        .trait_ids()
        .filter_map(|id| Some((world.trait_at(id).name.clone(), mean(true, id)? - mean(false, id)?)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let mut directions = Array2::zeros((found.len(), vectors.vectors.ncols()));
    directions.rows_mut().into_iter().zip(&found).for_each(|(mut row, (_, v))| row.assign(v));
    (vectors.traits, vectors.directions) = (found.into_iter().map(|f| f.0).collect(), directions);
}

/// The assistant axis of every site.
fn axes(shapes: &[&Shape]) -> Result<Vec<Direction>> {
    let of = |s: &&Shape| {
        let d = s.default.as_ref()?;
        let origin = format!("mean({}) - mean of {} roles", d.name, s.roles.len());
        let site = s.site.parse().ok()?;
        Some(Direction::new(site, Pick::MeanResponse, &d.axis, "like the default assistant", "like a role", &origin))
    };
    shapes.iter().filter_map(of).collect()
}

fn covariates(world: &World) -> [Covariate; 2] {
    let of = |name: &str, value: &dyn Fn(&crate::world::Persona) -> usize| Covariate {
        name: name.into(),
        values: world.personas().iter().map(|p| (p.name.clone(), value(p) as f64)).collect(),
    };
    let assistant = world.assistant().traits;
    [of(HELPFUL, &|p| p.traits.and(assistant).len()), of(STYLE, &|p| p.traits.minus(assistant).len())]
}

/// The planted truth about every role that was mapped.
fn people_table(world: &World, shapes: &[&Shape]) -> Table {
    let mut table = Table::new("people", &["persona", HELPFUL, STYLE, "traits", "hazard_per_turn"]);
    let assistant = world.assistant().traits;
    let roles = shapes.first().map(|m| m.roles.as_slice()).unwrap_or_default();
    for p in roles.iter().filter_map(|r| world.persona(r).ok()) {
        let names: Vec<&str> = p.traits.iter().map(|t| world.trait_at(t).name.as_str()).collect();
        table.push(vec![
            p.name.clone().into(),
            p.traits.and(assistant).len().into(),
            p.traits.minus(assistant).len().into(),
            names.join(" ").into(),
            p.hazard.into(),
        ]);
    }
    table
}

/// Finds a table among those of this probe.
fn table<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables.iter().find(|t| t.name == name).expect("the probe makes this table")
}

fn summary(site: &str, tables: &[Table], default_prompts: usize) -> Vec<String> {
    let mut said_all = pages::Tables::among(tables).map_or(vec![], |t| pages::summary(site, t));
    said_all.push(format!(
        "The default assistant was asked {default_prompts} prompts without a system prompt, and the roles under \"You are X.\"."
    ));
    let correlations = table(tables, "correlations");
    for name in ["assistant_axis", "PC1"] {
        let r = |covariate| {
            let r = row(correlations, &[("site", site), ("axis", name), ("covariate", covariate)])?;
            let p = correlations.num(r, "p_value")?;
            Some(format!("{} (p = {p:.3})", said(estimate(correlations, r, "pearson_r", "pearson_lo", "pearson_hi"))))
        };
        if let (Some(helpful), Some(style)) = (r(HELPFUL), r(STYLE)) {
            said_all.push(format!(
                "{} correlates {helpful} with planted `helpful` and {style} with the number of style traits.",
                if name == "PC1" { "PC1" } else { "The assistant axis" },
            ));
        }
    }
    said_all
}
