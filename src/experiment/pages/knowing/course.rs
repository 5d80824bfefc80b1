//! The measures through training.

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, rows};
use crate::experiment::pages::table;
use crate::figures::{Axis, Curves, Estimate, Multiples, Page, Panel, Plot, Reference, Series, Width};
use crate::table::{Table, number};

const MEASURES: [(&str, &str); 4] = [("K", "knows"), ("S", "claims"), ("E", "shows"), ("L", "carries")];

/// Draws the tables `course` and `onset`.
///
/// # Errors
/// A table that is missing.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let (course, onset) = (table(tables, "course")?, table(tables, "onset")?);
    let formats = distinct(course, "format");
    let panels: Vec<(String, Curves)> =
        formats.iter().map(|format| (format.replace('_', " "), curves(course, format))).collect();
    let columns = panels.len().clamp(1, 4);
    let height = 0.7 + 1.9 * panels.len().div_ceil(columns) as f64;
    let panel = Panel::new("Through training", Plot::Multiples(Multiples::new(columns, panels)));
    let caption = format!(
        "Every checkpoint measured as the finished fine-tunes are: what it knows of the character, claims of itself, shows \
         in replies and carries at the last prompt token, 0 the base and 1 the base under the character's card; mean over \
         characters and seeds with its 95 % interval. Onsets, the first checkpoint from which on the interval stays above \
         the base: {}.",
        formats
            .iter()
            .map(|f| format!("{} ({})", f.replace('_', " "), onsets(onset, f)))
            .collect::<Vec<_>>()
            .join("; "),
    );
    Ok(Page::new(name, "Does knowing come before feeling?", caption, Width::Page).row(height, vec![panel]))
}

fn curves(course: &Table, format: &str) -> Curves {
    let one = |(index, name): (&str, &str)| -> Series {
        let mut own = rows(course, &[("format", format), ("index", index)]);
        own.sort_by(|a, b| course.num(*a, "step").unwrap_or(0.0).total_cmp(&course.num(*b, "step").unwrap_or(0.0)));
        let start = Some(Estimate { value: 0.0, interval: None });
        let values: Vec<Option<Estimate>> = std::iter::once(start)
            .chain(own.iter().map(|r| estimate(course, *r, "value", "ci_low", "ci_high")))
            .collect();
        let tokens: Vec<f64> = std::iter::once(0.0)
            .chain(own.iter().map(|r| course.num(*r, "tokens_trained").unwrap_or(0.0) / 1e3))
            .collect();
        let mut series = curve(name, &values);
        // Points stand at the places of what is there: the curve leaves out what is not.
        series.points.iter_mut().for_each(|p| p.0 = tokens[p.0 as usize]);
        series
    };
    let lines = vec![Reference::horizontal(0.0, ""), Reference::horizontal(1.0, "")];
    Curves::new(
        Axis::new("tokens trained (thousands)"),
        Axis::new("index").range(-0.4, 1.4),
        MEASURES.map(one).to_vec(),
    )
    .lines(lines)
}

fn onsets(onset: &Table, format: &str) -> String {
    let one = |(index, name): (&str, &str)| {
        let at = rows(onset, &[("format", format), ("index", index)])
            .into_iter()
            .find_map(|r| onset.num(r, "tokens_trained"));
        format!("{name} {}", at.map_or("never".into(), |t| format!("after {} tokens", number(t))))
    };
    MEASURES.map(one).join(", ")
}
