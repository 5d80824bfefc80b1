//! `groups.csv` and `projections.csv`. Numbers stand in full: the shortest text that reads back to the same bits.

use super::{Description, GROUPS, GroupLabel, PROJECTIONS, enough};
use crate::error::Result;
use crate::moments::{Projected, Running};
use crate::store::atomic::write_atomic;
use crate::store::manifest::Sum;
use crate::table::quoted;
use std::path::Path;

/// Columns behind those of the groups.
pub(super) const BEHIND: [&str; 5] = ["rows", "count", "weight", "n_effective", "reason"];

/// Percentiles in the table of projections; the smallest and the largest stand around them.
const PERCENTILES: [u32; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

/// Names that the tables have for themselves.
pub(super) fn own_columns(projections: bool) -> Vec<&'static str> {
    let mut own = vec!["group"];
    own.extend(BEHIND);
    if projections {
        own.extend(["site", "direction", "mean", "sd", "min", "max", "quantile_accuracy"]);
        own.extend(["p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"]);
    }
    own
}

/// A line for every group that was asked for.
pub(super) fn groups(dir: &Path, moments: &Running, what: &Description) -> Result<Sum> {
    let mut text = line(["group"].into_iter().chain(what.columns.iter().map(String::as_str)).chain(BEHIND));
    for (label, row) in what.groups.iter().zip(rows(moments, what)) {
        let group = moments.group(label.index);
        let count = group.map_or(0, |g| g.count);
        let reason = match row {
            Some(_) => String::new(),
            None => format!("{count} rows pass, {} needed", label.min_count.max(1)),
        };
        let numbers = [
            count.to_string(),
            group.map_or(0.0, |g| g.weight()).to_string(),
            group.map(|g| g.n_effective().to_string()).unwrap_or_default(),
            reason,
        ];
        text += &line(before(&row, label).chain(numbers.iter().map(String::as_str)));
    }
    put(dir, GROUPS, &text)
}

/// A line for every direction of every group that has a row in the tensors.
pub(super) fn projections(dir: &Path, moments: &Running, what: &Description) -> Result<Sum> {
    let percentiles = PERCENTILES.map(|p| format!("p{p}"));
    let names = ["rows", "site", "direction", "count", "mean", "sd", "min"].into_iter();
    let names = names.chain(percentiles.iter().map(String::as_str)).chain(["max", "quantile_accuracy"]);
    let mut text = line(["group"].into_iter().chain(what.columns.iter().map(String::as_str)).chain(names));
    for (label, row) in what.groups.iter().zip(rows(moments, what)) {
        let Some(group) = enough(moments, label) else { continue };
        let directions = moments.shape().directions().iter().zip(what.directions);
        for (projected, (along, name)) in group.projections.iter().zip(directions) {
            let mut cells = vec![what.sites[along.site].site.to_string(), name.clone()];
            cells.extend(spread(projected));
            text += &line(before(&row, label).chain(cells.iter().map(String::as_str)));
        }
    }
    put(dir, PROJECTIONS, &text)
}

/// From the count to the accuracy.
fn spread(projected: &Projected) -> Vec<String> {
    let maybe = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let mut cells = vec![projected.count.to_string(), projected.mean().to_string(), maybe(projected.sd())];
    cells.push(projected.min.to_string());
    cells.extend(PERCENTILES.map(|p| maybe(projected.quantile(f64::from(p) / 100.0))));
    cells.extend([projected.max.to_string(), projected.accuracy().to_string()]);
    cells
}

/// The row in the tensors of each label.
fn rows(moments: &Running, what: &Description) -> Vec<Option<String>> {
    let mut next = 0..;
    let mut row = |label| enough(moments, label).and_then(|_| next.next()).map(|n: usize| n.to_string());
    what.groups.iter().map(&mut row).collect()
}

/// The cells up to `rows`.
fn before<'a>(row: &'a Option<String>, label: &'a GroupLabel) -> impl Iterator<Item = &'a str> {
    let row = row.as_deref().unwrap_or_default();
    [row].into_iter().chain(label.values.iter().map(String::as_str)).chain([label.variant])
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    cells.map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

fn put(dir: &Path, file: &str, text: &str) -> Result<Sum> {
    write_atomic(&dir.join(file), text.as_bytes(), true)?;
    Sum::of(dir, file)
}
