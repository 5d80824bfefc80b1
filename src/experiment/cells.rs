//! Reading tables back: what figures, captions and summaries are made from.

use crate::figures::{Axis, Estimate, Series};
use crate::table::Table;

/// The rows in which every column shows the given value.
pub(super) fn rows(table: &Table, of: &[(&str, &str)]) -> Vec<usize> {
    let fits = |r: &usize| of.iter().all(|(column, value)| table.text(*r, column) == *value);
    (0..table.rows.len()).filter(fits).collect()
}

/// The first of [`rows`].
pub(super) fn row(table: &Table, of: &[(&str, &str)]) -> Option<usize> {
    rows(table, of).into_iter().next()
}

/// A number; NaN, which figures leave out and count, where there is none.
pub(super) fn num(table: &Table, row: usize, column: &str) -> f64 {
    table.num(row, column).unwrap_or(f64::NAN)
}

/// The value with its interval; `None` where there is no value.
pub(super) fn estimate(table: &Table, row: usize, value: &str, lo: &str, hi: &str) -> Option<Estimate> {
    let interval = table.num(row, lo).zip(table.num(row, hi));
    table.num(row, value).map(|value| Estimate { value, interval })
}

/// [`estimate`] without an interval where it is a one-sided bound, which a band would draw as if it were wide.
pub(super) fn two_sided(table: &Table, row: usize, value: &str, lo: &str, hi: &str) -> Option<Estimate> {
    let bound = table.text(row, "interval_note") == "one-sided bound";
    estimate(table, row, value, lo, hi).map(|e| if bound { Estimate { interval: None, ..e } } else { e })
}

/// The null of a score, from its mean to its 95 % quantile.
pub(super) fn null(table: &Table, row: usize) -> Option<Estimate> {
    let mean = table.num(row, "null_mean")?;
    Some(Estimate { value: mean, interval: table.num(row, "null_95").map(|hi| (mean, hi)) })
}

/// "0.97 [0.95, 0.99]"; "none" where there is no value.
pub(super) fn said(e: Option<Estimate>) -> String {
    match e {
        None => "none".into(),
        Some(Estimate { value, interval: None }) => round(value),
        Some(Estimate { value, interval: Some((lo, hi)) }) => {
            format!("{} [{}, {}]", round(value), round(lo), round(hi))
        }
    }
}

/// Two decimals, with the minus sign of print and no minus zero.
pub(super) fn round(v: f64) -> String {
    let text = format!("{v:.2}");
    let text = if text == "-0.00" { "0.00".into() } else { text };
    text.replace('-', "\u{2212}")
}

/// The mean of what is there; `None` of nothing.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.into_iter().filter(|v| v.is_finite()).fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    (n > 0.0).then(|| sum / n)
}

/// The distinct texts of a column, in order of appearance.
pub(super) fn distinct(table: &Table, column: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for r in 0..table.rows.len() {
        let text = table.text(r, column);
        if !text.is_empty() && !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// A site as a short name: `pre.0` for `resid_pre.0`.
pub(super) fn short(site: &str) -> String {
    site.strip_prefix("resid_").unwrap_or(site).into()
}

/// An axis over sites: the layers alone where all are `resid_post` (and `resid_pre.0`), short names otherwise.
pub(super) fn site_axis(sites: &[String]) -> Axis {
    let layer = |s: &String| match s.strip_prefix("resid_post.") {
        Some(layer) => Some(layer.to_string()),
        None => (s == "resid_pre.0").then(|| "pre".into()),
    };
    match sites.iter().map(layer).collect::<Option<Vec<String>>>() {
        Some(layers) => Axis::new("resid_post layer (pre: resid_pre.0)").names(layers),
        None => Axis::new("site (resid_)").names(sites.iter().map(|s| short(s))),
    }
}

/// A curve over sites. Missing points are left out; a band is drawn where there is a two-sided interval.
pub(super) fn curve(name: &str, values: &[Option<Estimate>]) -> Series {
    let there = || values.iter().enumerate().filter_map(|(i, e)| e.map(|e| (i as f64, e)));
    let nan = (f64::NAN, f64::NAN);
    Series::new(name, there().map(|(x, e)| (x, e.value)).collect())
        .band(there().map(|(_, e)| e.interval.unwrap_or(nan)).collect())
}
