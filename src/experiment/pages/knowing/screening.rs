//! What a training set holds along a direction against where fine-tuning on it moved the model.

use crate::error::Result;
use crate::experiment::cells::{distinct, num, row, rows, said, two_sided};
use crate::figures::{Axis, Dot, Page, Panel, Plot, Reference, Scatter, Width};
use crate::table::Table;

/// Directions that are drawn.
const MOST: usize = 6;

/// Draws the tables `foretold` and `agreement`: one panel per direction, one dot per fine-tune.
///
/// # Errors
/// A table that is missing, and what the page refuses.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let (foretold, agreement) = (super::super::table(tables, "foretold")?, super::super::table(tables, "agreement")?);
    let mut all: Vec<(String, String)> = Vec::new();
    for r in 0..agreement.rows.len() {
        let key = (agreement.text(r, "site"), agreement.text(r, "direction"));
        if !all.contains(&key) {
            all.push(key);
        }
    }
    let drawn = &all[..all.len().min(MOST)];
    let mut page = Page::new(name, "Training sets and what they did", caption(foretold, agreement, drawn), Width::Page);
    for pair in drawn.chunks(2) {
        let panel = |(site, direction): &(String, String)| {
            Panel::new(format!("{direction}, {site}"), Plot::Map(scatter(foretold, site, direction)))
        };
        page = page.row(2.8, pair.iter().map(panel).collect());
    }
    Ok(page)
}

fn scatter(table: &Table, site: &str, direction: &str) -> Scatter {
    let dot = |r: usize| {
        let name = format!("{} {}", table.text(r, "character"), table.text(r, "seed"));
        let group = Some(table.text(r, "format").replace('_', " "));
        Dot { group, named: false, ..Dot::new(name, num(table, r, "predicted"), num(table, r, "measured")) }
    };
    Scatter {
        x: Axis::new("training set \u{2212} own answers (projection)"),
        y: Axis::new("shift of the last prompt token"),
        dots: rows(table, &[("site", site), ("direction", direction)]).into_iter().map(dot).collect(),
        lines: vec![Reference::horizontal(0.0, ""), Reference::vertical(0.0, "")],
        ..Scatter::default()
    }
}

fn caption(foretold: &Table, agreement: &Table, drawn: &[(String, String)]) -> String {
    let found = |(site, direction): &(String, String)| {
        let keys = [("site", site.as_str()), ("direction", direction), ("x", "predicted"), ("y", "measured")];
        let r = row(agreement, &keys)?;
        let r = said(two_sided(agreement, r, "r", "r_low", "r_high"));
        Some(format!("{direction} at {site}: r = {r}"))
    };
    let found: Vec<String> = drawn.iter().filter_map(found).collect();
    format!(
        "Every fine-tune ({} in all) as a dot: the mean projection of its training replies minus that of the base's own answers \
         to the same prompts, told before training, against the change of the last prompt token's projection by the \
         fine-tune, in activation units. {}. Intervals are 95 % over characters and seeds.",
        distinct(foretold, "model").len(),
        found.join("; "),
    )
}
