//! Persona and authorial bias told apart, between a base model and the one trained further from it; and what the header of
//! a reply does by itself.

mod draw;
mod headers;
mod sides;

use super::cells::{num, row, rows, said};
use super::findings::Parts;
use super::pages;
use super::plan::{Plan, Stage, need};
use super::spec::AuthorialBias as Settings;
use super::work::{Work, drawing};
use crate::analysis::shares::{
    Along, Design, Label, Options, Shared, Site as Found, along, shared_space, site, tables,
};
use crate::axes::Site;
use crate::error::Result;
use crate::figures::Estimate;
use crate::model::Model;
use crate::table::Table;
use crate::world::World;
use ndarray::{Array2, Axis, concatenate};
use sides::Side;

/// Names of the comparisons: the two models, and the first one with itself under another seed of replies.
const TRAINED: &str = "trained";
const ITSELF: &str = "itself";

/// The stages and their sizes; those of the other model are the same once more, and twice.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    need(s.questions >= 4, "questions", s.questions, "at least 4: intervals are over questions")?;
    need(s.contents >= 4, "contents", s.contents, "at least 4: intervals of the gate test are over contents")?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    let may = format!("one of `sites`: {}", plan.sites.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", "));
    need(plan.sites.contains(&s.site), "site", s.site, &may)?;
    sides::world_of(&s.before)?;
    let prompts = sides::prompts(plan, s, model, 1)?;
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    let full = vec![0; s.max_new_tokens];
    let mut stages = Vec::new();
    for (name, sides) in [(model.name.as_str(), 1), (s.before.as_str(), 2)] {
        let times = if sides > 1 { " (each of two seeds)" } else { "" };
        let of = |what: &str| format!("{what} of {name}{times}");
        let start = prompts.iter().map(|p| p.start(0)).collect();
        stages.push(plan.replies(&of("replies"), model, start, drawing.clone(), true));
        let read = prompts.iter().map(|p| p.with_reply(&full)).collect();
        stages.push(plan.captures(&of("means over replies"), model, read, true));
        let last = prompts.iter().map(|p| p.last_token()).collect();
        stages.push(plan.captures(&of("last prompt tokens"), model, last, false));
        let (items, _) = headers::items(plan, s, model)?;
        let items = items.into_iter().flat_map(|h| h.1).collect();
        stages.push(plan.captures(&of("headers"), model, items, false));
    }
    Ok(stages)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let seed = plan.spec.seed;
    let before = sides::open(s, work.model)?;
    let prompts = sides::prompts(plan, s, work.model, work.threads())?;
    let (after_name, before_name) = (work.model.name.clone(), before.name.clone());
    let after = sides::side(plan, s, work, &prompts, seed)?;
    let (first, again) = work.on(&before, |work| {
        let first = sides::side(plan, s, work, &prompts, seed)?;
        Ok((first, sides::side(plan, s, work, &prompts, seed.wrapping_add(1))?))
    })?;
    let options = Options { permutations: s.permutations, bootstrap: s.bootstrap, seed, ..Options::default() };

    let assistant = &plan.world.assistant().name;
    let (design, sites) = compare((&before_name, &first), (&after_name, &after), assistant, &options)?;
    let (own_design, own_sites) =
        compare((&before_name, &first), ("the same, other replies", &again), assistant, &options)?;
    let mut found = tables(&design, &sites);
    let control: Vec<Table> = tables(&own_design, &own_sites)
        .into_iter()
        .filter(|t| ["shares", "shift"].contains(&t.name.as_str()))
        .map(|t| Table { name: format!("control_{}", t.name), ..t })
        .collect();
    found.extend(control);

    let truth = Truth::of(plan.world, sides::world_of(&s.before)?);
    let own = [(TRAINED, &design, &sites, &after), (ITSELF, &own_design, &own_sites, &again)];
    let mut qualities = Table::new("traits", &TRAITS);
    let mut shared = Table::new("shared_space", &SHARED);
    for (name, design, sites, side) in own {
        for (i, of) in sites.iter().enumerate() {
            let roles: Vec<&String> = design.roles.iter().filter(|r| *r != assistant).collect();
            let means = |side: &Side| side.means(i, &roles);
            let (a, b) = (means(&first), means(side));
            for shift in &of.shifts {
                let found = along(&shift.vector, a.view(), &truth.qualities(plan.world, &roles), s.permutations, seed);
                push_traits(&mut qualities, name, &of.name, &truth, &found);
            }
            push_shared(&mut shared, name, &of.name, shared_space(a.view(), b.view(), s.permutations, seed));
        }
    }
    let expression =
        sides::expression(plan.world, sides::world_of(&s.before)?, [(&before_name, &first), (&after_name, &after)])?;
    let gate = headers::gate_table(plan, s, work, &before, [&first, &after])?;
    found.extend([qualities, shared, expression, gate]);
    found.push(verdict(&s.site, &truth, &found));

    let stem = &plan.spec.stem;
    let mut summary = pages::bias::summary(&found);
    summary.extend(said_verdict(&found, &s.site));
    summary.extend(headers::summary(&found, &s.site));
    let page = pages::bias::page(stem, &found)?;
    let planted = draw::page(&format!("{stem}_planted"), &s.site, &found)?;
    work.warnings.extend(design.warnings.iter().cloned());
    Ok(Parts {
        tables: found,
        pages: vec![(page, vec!["shares", "shift", "roles"]), (planted, vec!["traits", "gate"])],
        summary,
        ..Parts::default()
    })
}

/// The bias analysis of two sides at every site: what `analyze bias` does with files.
fn compare(a: (&str, &Side), b: (&str, &Side), assistant: &str, options: &Options) -> Result<(Design, Vec<Found>)> {
    let label = |model: &str, side: &Side| -> Vec<Label> {
        let one = |(role, prompt): &(String, String)| Label {
            model: model.into(),
            role: role.clone(),
            prompt: prompt.clone(),
            is_default: role == assistant,
        };
        side.rows.iter().map(one).collect()
    };
    let labels: Vec<Label> = label(a.0, a.1).into_iter().chain(label(b.0, b.1)).collect();
    let design = Design::of(&labels, Some(a.0), options.seed)?;
    let mut found = Vec::new();
    for (x, y) in a.1.replies.iter().zip(&b.1.replies) {
        let both = concatenate(Axis(0), &[x.rows.view(), y.rows.view()]);
        let both: Array2<f32> =
            both.map_err(|_| super::plan::out_of_range("before", b.0, "a model of the same width"))?;
        found.push(site(&x.site.to_string(), &design, both.view(), options)?);
    }
    Ok((design, found))
}

/// What is planted between the two models.
struct Truth {
    /// The trait that everybody shows after the training and nobody before.
    planted: Option<String>,
}

impl Truth {
    fn of(after: &World, before: &World) -> Truth {
        let name = |w: &World| w.bias().map(|b| w.trait_at(b.trait_id).name.clone());
        Truth { planted: name(after).filter(|n| name(before).as_ref() != Some(n)) }
    }

    /// Who has which trait.
    fn qualities(&self, world: &World, roles: &[&String]) -> Vec<(String, Vec<bool>)> {
        let has = |id| roles.iter().map(|r| world.persona(r).is_ok_and(|p| p.has(id))).collect();
        world.trait_ids().map(|id| (world.trait_at(id).name.clone(), has(id))).collect()
    }
}

const TRAITS: [&str; 9] =
    ["comparison", "site", "trait", "planted", "cosine", "shuffled_95", "p_value", "random_95", "rank"];
const SHARED: [&str; 6] = ["comparison", "site", "cosine", "shuffled_95", "p_value", "reason"];

fn push_traits(table: &mut Table, comparison: &str, site: &str, truth: &Truth, found: &[Along]) {
    for a in found {
        let above = found.iter().filter(|b| b.cosine > a.cosine).count();
        table.push(vec![
            comparison.into(),
            site.into(),
            a.name.as_str().into(),
            usize::from(comparison == TRAINED && truth.planted.as_ref() == Some(&a.name)).into(),
            a.cosine.into(),
            a.shuffled_95.into(),
            a.p.into(),
            a.random_95.into(),
            (above + 1).into(),
        ]);
    }
}

fn push_shared(table: &mut Table, comparison: &str, site: &str, found: Option<Shared>) {
    table.push(vec![
        comparison.into(),
        site.into(),
        found.map(|f| f.cosine).into(),
        found.map(|f| f.shuffled_95).into(),
        found.map(|f| f.p).into(),
        if found.is_none() { "roles do not differ".into() } else { crate::table::Cell::Empty },
    ]);
}

/// Whether a planted shift is found at a site, comparison by comparison: all three conditions have to hold.
fn verdict(at: &Site, truth: &Truth, tables: &[Table]) -> Table {
    let mut t = Table::new("verdict", &["comparison", "site", "condition", "result", "value", "bar"]);
    let site = at.to_string();
    let find = |name: &str| tables.iter().find(|t| t.name == name);
    for (comparison, shift) in [(TRAINED, "shift"), (ITSELF, "control_shift")] {
        let p = find(shift).and_then(|t| {
            let r = row(t, &[("site", &site)])?;
            Some(t.num(r, "p_roles")?.max(t.num(r, "p_prompts")?))
        });
        let space = find("shared_space")
            .and_then(|t| t.num(row(t, &[("comparison", comparison), ("site", &site)])?, "p_value"));
        let trait_p = truth.planted.as_ref().zip(find("traits")).and_then(|(name, t)| {
            let r = row(t, &[("comparison", comparison), ("site", &site), ("trait", name)])?;
            // Only the largest cosine of all, and a positive one, is that of the planted trait.
            let first = num(t, r, "rank") == 1.0 && num(t, r, "cosine") > 0.0;
            if first { t.num(r, "p_value") } else { Some(1.0) }
        });
        let mut all = true;
        for (condition, p) in
            [("the models share a space", space), ("a common shift", p), ("along the planted trait", trait_p)]
        {
            let result = p.map_or("untested", |p| if p <= 0.05 { "passed" } else { "failed" });
            all &= result == "passed";
            t.push(vec![
                comparison.into(),
                site.as_str().into(),
                condition.into(),
                result.into(),
                p.into(),
                0.05.into(),
            ]);
        }
        let found = if all { "found" } else { "absent" };
        let empty = crate::table::Cell::Empty;
        t.push(vec![
            comparison.into(),
            site.as_str().into(),
            "planted shift".into(),
            found.into(),
            empty.clone(),
            empty,
        ]);
    }
    t
}

fn said_verdict(tables: &[Table], at: &Site) -> Vec<String> {
    let site = at.to_string();
    let table = |name: &str| tables.iter().find(|t| t.name == name);
    let (Some(verdict), Some(traits)) = (table("verdict"), table("traits")) else { return vec![] };
    let result = |comparison: &str| {
        row(verdict, &[("comparison", comparison), ("condition", "planted shift")])
            .map_or(String::new(), |r| verdict.text(r, "result"))
    };
    let mut all = vec![format!(
        "The planted shift is {} between the models and {} between two sets of replies of one.",
        result(TRAINED),
        result(ITSELF)
    )];
    for r in rows(traits, &[("comparison", TRAINED), ("site", &site), ("planted", "1")]) {
        let value = |c: &str| Some(Estimate { value: num(traits, r, c), interval: None });
        all.push(format!(
            "At {site} the common shift has a cosine of {} with the direction of {}, rank {} of {} traits; 95 % of shuffled \
             labels stay below {}.",
            said(value("cosine")),
            traits.text(r, "trait"),
            traits.text(r, "rank"),
            rows(traits, &[("comparison", TRAINED), ("site", &site)]).len(),
            said(value("shuffled_95")),
        ));
    }
    all
}
