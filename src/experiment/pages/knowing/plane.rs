//! The plane of knowing and feeling: one point per fine-tune and trait.

use super::range;
use crate::error::Result;
use crate::experiment::cells::{distinct, num, rows};
use crate::experiment::pages::table;
use crate::figures::{Axis, Dot, Marker, Page, Panel, Plot, Reference, Scatter, Width};
use crate::table::Table;
use std::collections::BTreeMap;

/// Points whose uncertainty is drawn; with more, the crosses would cover them.
const MOST_CROSSES: usize = 160;

/// The page; `None` where no fine-tune has K beside what it is drawn against.
pub(super) fn page(name: &str, tables: &[Table]) -> Result<Option<Page>> {
    let (indices, quadrants) = (table(tables, "indices")?, table(tables, "quadrants")?);
    let (latent, shown) = (scatter(indices, quadrants, "L"), scatter(indices, quadrants, "E"));
    let both = latent.is_some() && shown.is_some();
    let caption = caption(latent.is_some(), shown.is_some(), quadrants);
    let panels: Vec<Panel> = [(latent, "Knowing and feeling"), (shown, "Knowing and showing")]
        .into_iter()
        .filter_map(|(plot, title)| plot.map(|p| Panel::new(title, p)))
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let (width, height) = if both { (Width::Page, 3.3) } else { (Width::Column, 3.2) };
    Ok(Some(Page::new(name, "Knowing and feeling, by fine-tune and trait", caption, width).row(height, panels)))
}

/// A point's model, format, character and trait.
type Key = [String; 4];

fn scatter(indices: &Table, quadrants: &Table, against: &str) -> Option<Plot> {
    let of = |index: &str| -> BTreeMap<Key, usize> {
        let key = |r: usize| ["model", "format", "character", "trait"].map(|c| indices.text(r, c));
        let there = rows(indices, &[("index", index)]).into_iter().filter(|r| indices.num(*r, "value").is_some());
        there.map(|r| (key(r), r)).collect()
    };
    let (k, other) = (of("K"), of(against));
    let both: Vec<(&Key, usize, usize)> = k.iter().filter_map(|(key, r)| Some((key, *r, *other.get(key)?))).collect();
    if both.is_empty() {
        return None;
    }
    let (mut dots, mut crosses, mut xs, mut ys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, a, b) in &both {
        let (x, y) = (num(indices, *a, "value"), num(indices, *b, "value"));
        let pooled = key[0] == "*";
        let name = if pooled { key[1].clone() } else { format!("{} {}", key[0], key[3]) };
        dots.push(Dot {
            group: Some(key[1].clone()),
            marker: if pooled { Marker::Diamond } else { Marker::Circle },
            priority: i32::from(pooled),
            // Single fine-tunes are named where there are few.
            named: pooled || both.len() <= 8,
            ..Dot::new(name, x, y)
        });
        xs.push(x);
        ys.push(y);
        if both.len() <= MOST_CROSSES || pooled {
            let ends = |r: usize| indices.num(r, "ci_low").zip(indices.num(r, "ci_high"));
            if let Some((lo, hi)) = ends(*a) {
                crosses.push(vec![(lo, y), (hi, y)]);
                xs.extend([lo, hi]);
            }
            if let Some((lo, hi)) = ends(*b) {
                crosses.push(vec![(x, lo), (x, hi)]);
                ys.extend([lo, hi]);
            }
        }
    }
    let thresholds = ["low", "high"].map(|c| num(quadrants, 0, c));
    let label = if against == "L" { "L: carried along the feeling direction" } else { "E: shown in replies" };
    let (from, to) = range(xs.into_iter());
    let (below, above) = range(ys.into_iter());
    Some(Plot::Map(Scatter {
        x: Axis::new("K: known about the trait").range(from, to),
        y: Axis::new(label).range(below, above),
        dots,
        lines: thresholds
            .iter()
            .flat_map(|at| [Reference::vertical(*at, ""), Reference::horizontal(*at, "")])
            .collect(),
        contours: crosses,
        ..Scatter::default()
    }))
}

fn caption(latent: bool, shown: bool, quadrants: &Table) -> String {
    let against = match (latent, shown) {
        (true, true) => {
            "left against what it carries in its activations along the direction of enacting the trait (L), right against \
             what it shows in replies (E)"
        }
        (true, false) => "against what it carries in its activations along the direction of enacting the trait (L)",
        _ => "against what it shows in replies (E)",
    };
    let (low, high) = (num(quadrants, 0, "low"), num(quadrants, 0, "high"));
    let classes = distinct(quadrants, "class");
    let count = |class: &String| {
        let own =
            rows(quadrants, &[("class", class)]).into_iter().filter(|r| quadrants.text(*r, "model") != "*").count();
        (own > 0).then(|| format!("{class} {own}"))
    };
    let classes: Vec<String> = classes.iter().filter_map(count).collect();
    let classes = if classes.is_empty() { String::new() } else { format!(" Classes of them: {}.", classes.join(", ")) };
    format!(
        "What a fine-tune knows about a trait when asked in third person (K) {against}; 0 is the model before fine-tuning, 1 \
         the same model with the character's card as its prompt. Each disc is one fine-tune and trait, by the format of its \
         training text; grey crosses are 95 % intervals over items. Diamonds, with their names: means of a format, with 95 % \
         intervals over characters. Dotted: low up to {low}, high from {high}. Down and to the right lies what is known and \
         not felt.{classes}",
    )
}
