//! What fine-tunes wrote into the weights: percentiles by format and direction, layer by layer, and angles.

use crate::error::Result;
use crate::experiment::cells::{distinct, mean, num, rows};
use crate::figures::{
    Arm, Axis, Curves, Estimate, Forest, Multiples, Page, Panel, Plot, Reference, Series, Style, Width,
};
use crate::table::Table;

/// Directions that have a panel of their own.
const MOST: usize = 6;

/// Draws the tables `weights` and `subspaces` of [`crate::analysis::subspace`].
///
/// # Errors
/// A table that is missing, and what the page refuses.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let (weights, subspaces) = (super::super::table(tables, "weights")?, super::super::table(tables, "subspaces")?);
    let (formats, directions) = (distinct(weights, "format"), directions(weights));
    let page = Page::new(name, "What fine-tunes wrote into the weights", caption(weights, subspaces), Width::Page)
        .row(
            2.6,
            vec![Panel::new("All maps that write to the stream", Plot::Curves(totals(weights, &formats, &directions)))],
        )
        .row(
            0.5 + 1.5 * directions.len().min(MOST).div_ceil(3) as f64,
            vec![Panel::new("Layer by layer", Plot::Multiples(profiles(weights, &formats, &directions)))],
        );
    let angles = angles(subspaces);
    if angles.categories.is_empty() {
        return Ok(page);
    }
    let height = 1.0 + 0.2 * angles.categories.len() as f64;
    Ok(page.row(height, vec![Panel::new("Angles between updates", Plot::Forest(angles))]))
}

/// (site, direction) in order of appearance.
fn directions(table: &Table) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for r in 0..table.rows.len() {
        let pair = (table.text(r, "site"), table.text(r, "direction"));
        if !seen.contains(&pair) {
            seen.push(pair);
        }
    }
    seen
}

fn named((site, direction): &(String, String), all: &[(String, String)]) -> String {
    let elsewhere = all.iter().any(|(s, d)| d == direction && s != site);
    if elsewhere { format!("{direction}, {site}") } else { direction.clone() }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn totals(table: &Table, formats: &[String], directions: &[(String, String)]) -> Curves {
    let step = 0.7 / formats.len().max(1) as f64;
    let mut series = Vec::new();
    for (f, format) in formats.iter().enumerate() {
        let mut dots = Vec::new();
        for (i, (site, direction)) in directions.iter().enumerate() {
            let x = i as f64 + (f as f64 - (formats.len() as f64 - 1.0) / 2.0) * step;
            let own = rows(table, &[("format", format), ("site", site), ("direction", direction), ("layer", "*")]);
            dots.extend(own.into_iter().map(|r| (x, num(table, r, "percentile"))));
        }
        series.push(Series::new(words(format), dots).style(Style::Points));
    }
    let names: Vec<String> = directions.iter().map(|d| named(d, directions)).collect();
    Curves::new(
        Axis::new("direction").range(-0.55, directions.len() as f64 - 0.45).names(names),
        Axis::new("percentile among random directions").range(-3.0, 103.0),
        series,
    )
    .lines(vec![Reference::horizontal(50.0, ""), Reference::horizontal(97.5, "")])
}

fn profiles(table: &Table, formats: &[String], directions: &[(String, String)]) -> Multiples {
    let layers: Vec<String> = distinct(table, "layer").into_iter().filter(|l| l != "*").collect();
    let panel = |of: &(String, String)| {
        let curve = |format: &String| {
            let at = |(i, layer): (usize, &String)| {
                let own = rows(table, &[("format", format), ("site", &of.0), ("direction", &of.1), ("layer", layer)]);
                Some((i as f64, mean(own.into_iter().map(|r| num(table, r, "percentile")))?))
            };
            Series::new(words(format), layers.iter().enumerate().filter_map(at).collect()).style(Style::Marked)
        };
        let curves = Curves::new(
            Axis::new("layer").names(layers.iter().cloned()),
            Axis::new("mean percentile").range(-3.0, 103.0),
            formats.iter().map(curve).collect(),
        );
        (named(of, directions), curves.lines(vec![Reference::horizontal(50.0, "")]))
    };
    Multiples::new(3, directions.iter().take(MOST).map(panel).collect())
}

/// Pairs of formats with different seeds: mean of the mean angle over characters, layers and maps, by side.
fn angles(table: &Table) -> Forest {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let key = |r: usize| {
        let (a, b) = (table.text(r, "format_a"), table.text(r, "format_b"));
        if a <= b { (a, b) } else { (b, a) }
    };
    let fits = |r: &usize| table.text(*r, "seed_a") != table.text(*r, "seed_b");
    let all: Vec<usize> = (0..table.rows.len()).filter(fits).collect();
    for r in &all {
        if !pairs.contains(&key(*r)) {
            pairs.push(key(*r));
        }
    }
    // The reference first: two seeds of one format.
    pairs.sort_by_key(|(a, b)| (a != b, a.clone(), b.clone()));
    let arm = |side: &str| {
        let value = |pair: &(String, String)| {
            let own = || all.iter().filter(|r| key(**r) == *pair && table.text(**r, "side") == side);
            let value = mean(own().map(|r| num(table, *r, "mean_angle_deg")))?;
            Some(Estimate { value, interval: None })
        };
        Arm::new(side, pairs.iter().map(value).collect())
    };
    let chance = |column: &str| mean(all.iter().map(|r| num(table, *r, column)));
    let lines = ["null_mean_low", "null_mean_high"].iter().filter_map(|c| chance(c));
    let name = |(a, b): &(String, String)| {
        if a == b { format!("{}, two seeds", words(a)) } else { format!("{} and {}", words(a), words(b)) }
    };
    Forest {
        x: Axis::new("mean principal angle in degrees"),
        categories: pairs.iter().map(name).collect(),
        arms: vec![arm("output"), arm("input")],
        lines: lines.map(|at| Reference::vertical(at, "")).collect(),
    }
}

fn caption(weights: &Table, subspaces: &Table) -> String {
    let models = distinct(weights, "model").len();
    let pairs = if subspaces.rows.is_empty() {
        ""
    } else {
        " (c) Mean principal angle between the updates of two fine-tunes of one character with different seeds, over layers and \
         maps: what they write (output) and what they read (input). Lines: 95 % of random subspaces of like dimensions."
    };
    format!(
        "The updates of {models} fine-tunes to the maps that write to the residual stream. (a) The share of all their energy that \
         lies along a direction, as a percentile among the same shares of random directions; one dot per fine-tune. Lines: \
         chance, and 97.5 %. (b) The same for single layers, mean over fine-tunes and maps of a layer.{pairs}"
    )
}
