//! Knowing against feeling as figures: the indices by format, and the plane of both.

pub mod course;
pub mod directions;
pub mod dissociation;
mod indices;
pub mod patching;
pub mod perplexity;
mod plane;
pub mod screening;
pub mod weights;

use crate::analysis::knowing::Knowing;
use crate::error::Result;
use crate::experiment::cells::{distinct, estimate, row, rows, said};
use crate::experiment::findings::Parts;
use crate::figures::Page;
use crate::table::{Table, number};

/// Everything that is written of an analysis; figures are called `name`_indices and `name`_plane.
///
/// # Errors
/// None that data can cause; a table that is missing is a defect.
pub fn parts(name: &str, found: &Knowing) -> Result<Parts> {
    let tables = found.tables();
    let mut parts = Parts { summary: summary(&tables), warnings: found.warnings.clone(), ..Parts::default() };
    for (page, of) in pages(name, &tables)? {
        match page {
            Some(page) => parts.pages.push((page, of)),
            None => parts.warnings.push(format!("there is nothing to draw from {}", of.join(" and "))),
        }
    }
    parts.tables = tables;
    Ok(parts)
}

/// The pages that there are, and the tables of those that have nothing to show.
///
/// # Errors
/// A table that is missing.
pub fn pages(name: &str, tables: &[Table]) -> Result<Vec<(Option<Page>, Vec<&'static str>)>> {
    Ok(vec![
        (indices::page(&format!("{name}_indices"), tables)?, vec!["indices", "contrasts"]),
        (plane::page(&format!("{name}_plane"), tables)?, vec!["indices", "quadrants"]),
    ])
}

/// What was found, in sentences: a line per format, then the planned contrasts.
pub fn summary(tables: &[Table]) -> Vec<String> {
    let mut found = Vec::new();
    let of = |name: &str| tables.iter().find(|t| t.name == name);
    let Some(indices) = of("indices") else { return found };
    for format in formats(indices) {
        found.push(of_format(indices, of("quadrants"), &format));
    }
    if let Some(t) = of("contrasts") {
        found.extend(rows(t, &[("planned", "planned")]).into_iter().map(|r| of_contrast(t, r)));
    }
    if let Some(t) = of("partial") {
        let r = row(t, &[("format", "*"), ("of", "L_feel")]).filter(|r| t.num(*r, "partial_r2").is_some());
        found.extend(r.map(|r| {
            let share = said(estimate(t, r, "partial_r2", "ci_low", "ci_high"));
            format!("Within fine-tunes, L_feel explains {share} of what L_know leaves of the variance of replies in E.")
        }));
    }
    found
}

fn of_format(indices: &Table, quadrants: Option<&Table>, format: &str) -> String {
    let at = |index: &str| row(indices, &[("model", "*"), ("format", format), ("index", index)]);
    let value = |index: &str| {
        let e = estimate(indices, at(index)?, "value", "ci_low", "ci_high");
        e.map(|e| said(Some(e)))
    };
    let words = [("K", "knows"), ("S", "claims"), ("E", "shows"), ("L", "carries"), ("KE", "known, not shown")];
    let known = words.iter().filter_map(|(index, word)| value(index).map(|v| format!("{word} {v}")));
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        let why = at("K").map_or(String::new(), |r| indices.text(r, "reason"));
        return format!("{format}: no index ({why})");
    }
    let class = quadrants.and_then(|t| {
        let r = row(t, &[("model", "*"), ("format", format)])?;
        let share = t.num(r, "share").map_or(String::new(), |s| format!(" in {:.0} % of resamples", 100.0 * s));
        Some(t.text(r, "class")).filter(|c| !c.is_empty()).map(|c| format!("; {c}{share}"))
    });
    let mut notes = ["K", "S", "E", "L"].iter().filter_map(|i| at(i)).map(|r| indices.text(r, "note"));
    let note = notes.find(|n| !n.is_empty()).map_or(String::new(), |n| format!("; {n}"));
    format!("{format}: {}{}{note}", known.join(", "), class.unwrap_or_default())
}

fn of_contrast(t: &Table, r: usize) -> String {
    let text = |c: &str| t.text(r, c);
    let what = format!("{}: {} less {}", text("index"), text("a"), text("b"));
    match estimate(t, r, "difference", "ci_low", "ci_high") {
        None => format!("{what}: {}", text("reason")),
        Some(e) => {
            let p = t.num(r, "p_value").map_or(String::new(), |p| format!(", p {}", number(round_p(p))));
            let note = if text("note").is_empty() { String::new() } else { format!(" ({})", text("note")) };
            format!("{what} is {}{p}: {}{note}", said(Some(e)), text("verdict"))
        }
    }
}

/// Two digits of a p-value.
fn round_p(p: f64) -> f64 {
    format!("{p:.1e}").parse().unwrap_or(p)
}

/// Formats of fine-tunes, in the order of the table.
fn formats(indices: &Table) -> Vec<String> {
    distinct(indices, "format")
}

/// Formats in words, with how much stands behind them: `chat (3 models)`.
fn counted(indices: &Table, format: &str) -> usize {
    let mut models: Vec<String> = rows(indices, &[("format", format), ("index", "K")])
        .into_iter()
        .map(|r| format!("{}\u{1f}{}", indices.text(r, "model"), indices.text(r, "character")))
        .filter(|m| !m.starts_with('*'))
        .collect();
    models.sort();
    models.dedup();
    models.len()
}

/// A range that shows what is there, but not what one wild value would make of it.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = values.filter(|v| v.is_finite()).fold((-0.1_f64, 1.1_f64), |(l, h), v| (l.min(v), h.max(v)));
    (lo.max(-1.5) - 0.05, hi.min(2.5) + 0.05)
}
