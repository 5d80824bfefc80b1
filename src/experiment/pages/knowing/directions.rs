//! Three directions of a trait: whether they can be told apart, and what models carry along them, layer by layer.

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, mean, row, rows, said, site_axis};
use crate::experiment::pages::table;
use crate::figures::{
    Axis, Curves, Heat, Multiples, Names, Page, Palette, Panel, Plot, Ramp, Reference, Shades, Width,
};
use crate::table::Table;

const KINDS: [(&str, &str); 3] = [("feel", "enacting"), ("know", "describing"), ("self", "claiming")];
const PAIRS: [(&str, &str); 3] = [("feel", "know"), ("feel", "self"), ("know", "self")];
const PLACES: [(&str, &str); 3] =
    [("last_prompt", "before the reply"), ("reply", "over the reply"), ("neutral_text", "over a fixed text")];

/// Draws the tables `transfer`, `apart` and `latent`; `site` and `pick` are those of the latent measures.
///
/// # Errors
/// A table that is missing.
pub fn page(name: &str, tables: &[Table], site: &str, pick: &str) -> Result<Page> {
    let (transfer, latent) = (table(tables, "transfer")?, table(tables, "latent")?);
    let caption = caption(tables, site, pick)?;
    let page = Page::new(name, "What the directions are, and what is carried along them", caption, Width::Page).row(
        2.1,
        vec![
            Panel::new("Each direction on the rows of each", Plot::Heat(matrix(transfer, site, pick))),
            Panel::new("Cosines by layer", Plot::Curves(cosines(transfer, pick))).share(1.15),
        ],
    );
    // Where base and card are one, there is no index to draw.
    let carried = carried(latent);
    if carried.panels.is_empty() {
        return Ok(page);
    }
    let height = 0.6 + 1.2 * carried.panels.len().div_ceil(3) as f64;
    Ok(page.row(height, vec![Panel::new("Carried along them, between base and card", Plot::Multiples(carried))]))
}

fn matrix(transfer: &Table, site: &str, pick: &str) -> Heat {
    let value = |from: &str, to: &str| {
        let own = rows(transfer, &[("site", site), ("pick", pick), ("fitted_on", from), ("tried_on", to)]);
        mean(own.into_iter().filter_map(|r| transfer.num(r, "auroc")))
    };
    Heat {
        x_label: "tried on".into(),
        y_label: "fitted on".into(),
        columns: KINDS.iter().map(|k| k.1.to_string()).collect(),
        rows: KINDS.iter().map(|k| k.1.to_string()).collect(),
        values: KINDS.iter().map(|(a, _)| KINDS.iter().map(|(b, _)| value(a, b)).collect()).collect(),
        shades: Shades::new("AUROC", Ramp::Sequential),
        decimals: 2,
    }
}

fn cosines(transfer: &Table, pick: &str) -> Curves {
    let sites = distinct(transfer, "site");
    let one = |(a, b): (&str, &str)| {
        let at = |site: &String| {
            let own = rows(transfer, &[("site", site), ("pick", pick), ("fitted_on", a), ("tried_on", b)]);
            let values: Vec<f64> = own.into_iter().filter_map(|r| transfer.num(r, "cosine")).collect();
            let interval = crate::analysis::resampled::t_interval(&values);
            mean(values).map(|value| crate::figures::Estimate { value, interval: interval.map(|i| (i.lo, i.hi)) })
        };
        let name = |k: &str| KINDS.iter().find(|(n, _)| *n == k).map_or("", |n| n.1);
        curve(&format!("{}, {}", name(a), name(b)), &sites.iter().map(at).collect::<Vec<_>>())
    };
    Curves::new(site_axis(&sites), Axis::new("cosine").range(-0.2, 1.05), PAIRS.map(one).to_vec())
        .lines(vec![Reference::horizontal(0.0, "")])
        .names_at(Names::Legend)
}

/// One panel for each place and direction: formats over layers.
fn carried(latent: &Table) -> Multiples {
    let (sites, formats) = (distinct(latent, "site"), distinct(latent, "format"));
    let palette = Palette::of(formats.iter().map(String::as_str));
    let mut panels = Vec::new();
    for (place, said) in PLACES {
        for (index, kind) in [("L", "enacting"), ("L_know", "describing"), ("L_self", "claiming")] {
            let series = formats.iter().map(|format| {
                let at = |site: &String| {
                    let of = [("site", site.as_str()), ("place", place), ("format", format), ("index", index)];
                    row(latent, &of).and_then(|r| estimate(latent, r, "value", "ci_low", "ci_high"))
                };
                let values: Vec<_> = sites.iter().map(at).collect();
                curve(&format.replace('_', " "), &values).color(palette.index(format).unwrap_or(0))
            });
            let curves = Curves::new(site_axis(&sites), Axis::new("index").range(-0.6, 1.6), series.collect());
            let curves = curves.lines(vec![Reference::horizontal(0.0, ""), Reference::horizontal(1.0, "")]);
            if curves.series.iter().any(|s| !s.points.is_empty()) {
                panels.push((format!("{kind}, {said}"), curves));
            }
        }
    }
    Multiples::new(3, panels)
}

fn caption(tables: &[Table], site: &str, pick: &str) -> Result<String> {
    let (apart, wording) = (table(tables, "apart")?, table(tables, "wording")?);
    let verdict = |(a, b): (&str, &str)| {
        let found = row(apart, &[("site", site), ("a", a), ("b", b)]);
        let told = found.map_or("not compared".into(), |r| apart.text(r, "verdict"));
        let name = |k: &str| KINDS.iter().find(|(n, _)| *n == k).map_or("", |n| n.1);
        format!("{} and {}: {told}", name(a), name(b))
    };
    let words = |kind: &str| {
        let own = rows(wording, &[("kind", kind)]).into_iter().filter_map(|r| wording.num(r, "wording_auroc"));
        said(mean(own).map(|value| crate::figures::Estimate { value, interval: None }))
    };
    Ok(format!(
        "Directions of a trait, fitted on the base alone: enacting (it is told to have the trait and answers), describing (it \
         speaks of somebody who has it) and claiming (it says that it has it itself). (a) How well each direction, at {site}, \
         {}, tells the passages of each kind apart: mean AUROC over traits, on passages that had no part in choosing \
         the site; the diagonal is held out by topic; 0.5 is chance. {}. (b) Cosines between the directions of a trait by layer: mean over \
         traits with its 95 % interval. (c) What fine-tunes carry along each direction, pooled over characters and seeds, 0 the base \
         and 1 the base under the character's card, with 95 % intervals: before the reply (last prompt token: no word of the \
         reply is in it), over the model's own reply (its words are), and over a fixed text, which is the same tokens for \
         every model. From the words alone the sides are told apart with an AUROC of {} (enacting), {} (describing) and {} \
         (claiming): directions of response means are read against that.",
        pick.replace('_', " "),
        PAIRS.map(verdict).join("; "),
        words("feel"),
        words("know"),
        words("self"),
    ))
}
