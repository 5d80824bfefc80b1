//! Patching: how much of one model's expression its activations carry into another, layer by layer.

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, num, row, said, site_axis, two_sided};
use crate::experiment::pages::table;
use crate::figures::{Axis, Curves, Estimate, Page, Panel, Plot, Reference, Series, Width};
use crate::table::Table;

const WAYS: [&str; 3] = ["forward", "reverse", "control"];

/// Draws the table `patching`; `None` where nothing was recovered of anything.
///
/// # Errors
/// A table that is missing.
pub fn page(name: &str, tables: &[Table]) -> Result<Option<Page>> {
    let found = table(tables, "patching")?;
    let sites = distinct(found, "site");
    let series: Vec<Series> = WAYS.iter().filter_map(|way| series(found, &sites, way)).collect();
    if series.is_empty() {
        return Ok(None);
    }
    let lines = vec![Reference::horizontal(0.0, ""), Reference::horizontal(1.0, "")];
    let curves = Curves::new(site_axis(&sites), Axis::new("recovered expression"), series).lines(lines);
    let page = Page::new(name, "Whose activations carry expression", caption(found, &sites), Width::Column);
    Ok(Some(page.row(2.6, vec![Panel::new("", Plot::Curves(curves))])))
}

fn of(found: &Table, site: &str, way: &str) -> Option<Estimate> {
    let r = row(found, &[("site", site), ("way", way)])?;
    two_sided(found, r, "recovered", "ci_low", "ci_high")
}

fn series(found: &Table, sites: &[String], way: &str) -> Option<Series> {
    let r = row(found, &[("way", way)])?;
    let words = |column: &str| found.text(r, column).replace('_', " ");
    let values: Vec<Option<Estimate>> = sites.iter().map(|s| of(found, s, way)).collect();
    // An interval of a ratio may be wider than any figure: it is drawn where it says something.
    let shown = |e: Estimate| Estimate { interval: e.interval.filter(|(lo, hi)| hi - lo <= 4.0), ..e };
    let values: Vec<Option<Estimate>> = values.into_iter().map(|e| e.map(shown)).collect();
    let there = values.iter().any(Option::is_some);
    there.then(|| curve(&format!("{} into {}", words("from"), words("to")), &values))
}

fn caption(found: &Table, sites: &[String]) -> String {
    let Some(first) = row(found, &[("way", "forward")]) else {
        return String::new();
    };
    let best = sites
        .iter()
        .filter_map(|s| Some((s, of(found, s, "forward")?)))
        .max_by(|a, b| a.1.value.total_cmp(&b.1.value).then(b.0.cmp(a.0)));
    let words = |column: &str| found.text(first, column).replace('_', " ");
    let most = best.map_or("none has a value".into(), |(site, e)| format!("most at {site}: {}", said(Some(e))));
    let reason = found.text(first, "reason");
    let note = if reason.is_empty() { String::new() } else { format!(" Note: {reason}.") };
    format!(
        "Activations of the {} model on the prompt put into the {} model, one layer at a time, and the reverse: 0 is what the \
         patched model shows by itself, 1 what the other one shows; sums over {} characters and traits with their 95 % \
         interval ({most}). The control puts the base's activations in. By themselves they show {} and {}.{note}",
        words("from"),
        words("to"),
        num(found, first, "units"),
        said(found.num(first, "e_from").map(|value| Estimate { value, interval: None })),
        said(found.num(first, "e_to").map(|value| Estimate { value, interval: None })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovered_expression_is_drawn_by_layer() {
        let columns =
            ["site", "from", "to", "way", "recovered", "ci_low", "ci_high", "e_to", "e_from", "units", "reason"];
        let mut found = Table::new("patching", &columns);
        for l in 0..3 {
            for (way, from, to) in [("forward", "chat", "document"), ("control", "base", "document")] {
                let value = if way == "forward" { 0.3 * f64::from(l) } else { 0.0 };
                let site = format!("resid_post.{l}");
                found.push(vec![
                    site.as_str().into(),
                    from.into(),
                    to.into(),
                    way.into(),
                    value.into(),
                    (value - 0.1).into(),
                    (value + 0.1).into(),
                    0.1.into(),
                    0.8.into(),
                    9usize.into(),
                    "".into(),
                ]);
            }
        }
        let page = page("x", std::slice::from_ref(&found)).unwrap().unwrap();
        assert!(page.desc.contains("most at resid_post.2: 0.60 [0.50, 0.70]"), "{}", page.desc);
        assert!(page.draw().unwrap().svg.contains("chat into document"));
        found.rows.clear();
        assert!(super::page("x", &[found]).unwrap().is_none());
    }
}
