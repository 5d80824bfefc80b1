//! Persona space: role vectors, their components, the assistant axis and the place of the default assistant.

pub(super) mod draw;

use super::cells::{estimate, num, round, row, said};
use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::prompts::{Prompt, default_prompts, questions};
use super::spec::PersonaMap as Settings;
use super::trait_layers::reply_means;
use super::work::{Work, drawing};
use crate::acts::Activations;
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::map::{
    Covariate, MapOptions, PersonaMap, correlate, correlation_table, map_table, persona_map, scores_table,
    spectrum_table,
};
use crate::analysis::nulls::{Reliability, split_half};
use crate::analysis::pca::pca;
use crate::error::Result;
use crate::model::Model;
use crate::rng::stream;
use crate::table::{Cell, Table};
use crate::unit::parallel;
use crate::world::World;
use ndarray::Axis;

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
        seed,
    };
    let name = &world.assistant().name;
    let covariates = covariates(world);
    let of_site = parallel(&layers, work.threads(), |acts| {
        let map = persona_map(acts, name, &options)?;
        let correlations = correlate(&map, &covariates, &options);
        let halves = split_half(acts, &|g| g == name, s.halves, seed)?;
        let cosine = cosine_interval(&map, s.axis_bootstrap, seed);
        Ok((map, correlations, halves, cosine))
    })?;
    let maps: Vec<PersonaMap> = of_site.iter().map(|o| o.0.clone()).collect();
    let pairs: Vec<_> = of_site.iter().map(|o| (&o.0, o.1.as_slice())).collect();
    let axis = axis_table(&of_site.iter().map(|o| (&o.0, o.2, o.3)).collect::<Vec<_>>(), &layers);
    let tables = vec![
        map_table("axes", &maps),
        axis,
        correlation_table("correlations", &pairs),
        spectrum_table("dimensions", &maps),
        drawn_scores(scores_table("scores", &maps)),
        people_table(world, &maps),
    ];
    let page = draw::page(&plan.spec.stem, &s.site.to_string(), &tables, n_default)?;
    Ok(Parts {
        vectors: maps.iter().map(|m| m.axis.clone()).collect(),
        summary: summary(&s.site.to_string(), &tables, n_default),
        pages: vec![(page, vec!["axes", "axis", "correlations", "scores", "people"])],
        tables,
        ..Parts::default()
    })
}

fn covariates(world: &World) -> [Covariate; 2] {
    let of = |name: &str, value: &dyn Fn(&crate::world::Persona) -> usize| Covariate {
        name: name.into(),
        values: world.personas().iter().map(|p| (p.name.clone(), value(p) as f64)).collect(),
    };
    let assistant = world.assistant().traits;
    [of(HELPFUL, &|p| p.traits.and(assistant).len()), of(STYLE, &|p| p.traits.minus(assistant).len())]
}

/// Coordinates on the axes that anybody looks at: the assistant axis and the first three components.
fn drawn_scores(mut scores: Table) -> Table {
    if let Ok(axis) = scores.column("axis") {
        let kept = ["assistant_axis", "PC1", "PC2", "PC3"];
        scores.rows.retain(|row| kept.contains(&row[axis].show().as_str()));
    }
    scores
}

/// The planted truth about every role that was mapped.
fn people_table(world: &World, maps: &[PersonaMap]) -> Table {
    let mut table = Table::new("people", &["persona", HELPFUL, STYLE, "traits", "hazard_per_turn"]);
    let assistant = world.assistant().traits;
    let roles = maps.first().map(|m| m.roles.as_slice()).unwrap_or_default();
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

/// The interval of the size of the cosine between the assistant axis and PC1, resampling roles; the default's own rows
/// are taken as they are.
fn cosine_interval(map: &PersonaMap, draws: usize, seed: u64) -> Option<Interval> {
    let mut rng = stream(seed, &format!("cosine/{}", map.site));
    cluster_bootstrap(map.roles.len(), draws, &mut rng, |sample| {
        let points = map.role_vectors.select(Axis(0), sample);
        let found = pca(points.view()).ok()?;
        let raw = &map.default_vector - &found.mean;
        Some((found.components.row(0).dot(&raw) / raw.dot(&raw).sqrt()).abs())
    })
}

/// One row per site: the assistant axis, how far it agrees with itself and with PC1.
fn axis_table(of: &[(&PersonaMap, Reliability, Option<Interval>)], layers: &[Activations]) -> Table {
    let columns =
        ["site", "layer", "pick", "default_rows", "axis_norm_activation", "cosine_pc1", "cosine_lo", "cosine_hi"];
    let null = ["null_cosine_mean", "null_cosine_95", "reliability_cosine", "reliability_lo", "reliability_hi"];
    let mut table = Table::new("axis", &[&columns[..], &null].concat());
    for ((map, halves, interval), acts) in of.iter().zip(layers) {
        let d = map.role_vectors.ncols() as f64;
        let rows = acts.keys.iter().filter(|k| k.group == map.default).count();
        let pc1 = map.axes.get(1).map(|a| a.cosine_with_assistant.abs());
        let mut row: Vec<Cell> = vec![map.site.to_string().into(), map.site.layer().into(), map.pick.name().into()];
        row.extend([rows.into(), map.axis.raw_norm.into(), pc1.into()]);
        row.extend([interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into()]);
        // The coordinate of a random unit vector is nearly normal with variance 1/d.
        row.extend([(2.0 / (std::f64::consts::PI * d)).sqrt().into(), (1.96 / d.sqrt()).into()]);
        row.extend([halves.cosine_mean, halves.cosine_lo, halves.cosine_hi].map(Cell::from));
        table.push(row);
    }
    table
}

/// Finds a table among those of this probe.
fn table<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables.iter().find(|t| t.name == name).expect("the probe makes this table")
}

fn summary(site: &str, tables: &[Table], default_prompts: usize) -> Vec<String> {
    let (axes, axis, correlations) = (table(tables, "axes"), table(tables, "axis"), table(tables, "correlations"));
    let mut said_all = Vec::new();
    if let (Some(pc1), Some(a)) = (row(axes, &[("site", site), ("axis", "PC1")]), row(axis, &[("site", site)])) {
        said_all.push(format!(
            "At {site} PC1 of {} role vectors holds {} of the variance (null {}, 95 % {}), and |cos| between PC1 and \
             the assistant axis is {} (random directions {}, 95 % {}).",
            table(tables, "people").rows.len(),
            round(num(axes, pc1, "variance_share")),
            round(num(axes, pc1, "null_share_mean")),
            round(num(axes, pc1, "null_share_95")),
            said(estimate(axis, a, "cosine_pc1", "cosine_lo", "cosine_hi")),
            round(num(axis, a, "null_cosine_mean")),
            round(num(axis, a, "null_cosine_95")),
        ));
        said_all.push(format!(
            "The default assistant was asked {default_prompts} prompts without a system prompt; its axis agrees with \
             itself over random halves with a cosine of {}.",
            round(num(axis, a, "reliability_cosine")),
        ));
    }
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
    if let Some(r) = row(axes, &[("site", site), ("axis", "PC1")]) {
        said_all.push(format!(
            "On PC1 the default assistant is above {} of the roles.",
            round(num(axes, r, "default_rank_percentile")),
        ));
    }
    said_all
}
