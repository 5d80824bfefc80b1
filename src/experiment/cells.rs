//! Reading tables back: what figures, captions and summaries are made from.

use crate::figures::Estimate;
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

/// A site as tick label: `pre.0` for `resid_pre.0`.
pub(super) fn tick(site: &str) -> String {
    site.strip_prefix("resid_").unwrap_or(site).into()
}
