//! The figures: the map of any role vectors, and what is planted in these.

use super::{HELPFUL, STYLE, table};
use crate::error::Result;
use crate::experiment::cells::{curve, estimate, num, row, rows, site_axis};
use crate::experiment::pages::map as pages;
use crate::figures::{Axis, Curves, Estimate, Page, Panel, Plot, Reference, Style, Width};
use crate::table::Table;

/// Draws the tables of the probe; `site` is the one that is mapped.
pub(super) fn pages(
    name: &str,
    site: &str,
    tables: &[Table],
    default_prompts: usize,
) -> Result<Vec<(Page, Vec<&'static str>)>> {
    let Some(t) = pages::Tables::among(tables) else { return Ok(vec![]) };
    let more = format!(
        "Every role answered the same questions under \"You are X.\" in its own words, and the default assistant \
         {default_prompts} prompts without a system prompt."
    );
    let people = table(tables, "people");
    let truth = |name: &str, column: &str| row(people, &[("persona", name)]).map(|r| num(people, r, column));
    let helpful = |name: &str| {
        truth(name, HELPFUL).map(|v| if v > 0.5 { "helpful".to_string() } else { "not helpful".to_string() })
    };
    let words =
        pages::Words { points: "role vectors (means over the model's own replies)", group: &helpful, more: &more };
    let Some(first) = pages::page(name, site, t, &words)? else { return Ok(vec![]) };
    let style = |name: &str| truth(name, STYLE).map(|v| format!("{v} style trait{}", if v == 1.0 { "" } else { "s" }));
    let second = planted(&format!("{name}_planted"), site, t, tables, &style);
    let mut names = pages::Tables::NAMES.to_vec();
    names.push("people");
    Ok(vec![(first, names), (second, vec!["loadings", "place", "density", "people", "correlations"])])
}

fn planted(
    name: &str,
    site: &str,
    t: pages::Tables<'_>,
    tables: &[Table],
    style: &dyn Fn(&str) -> Option<String>,
) -> Page {
    let caption = format!(
        "What is planted in the personas. (a) The map at {site} by the number of planted style traits; lines of equal density \
         and the star (the default assistant) as in the other figure. (b) Correlation of coordinates with planted traits at \
         every site (95 % intervals over personas); grey: 95 % of independent values."
    );
    let plane = pages::plane(site, t, style).unwrap_or_else(|| Plot::Curves(Curves::default()));
    Page::new(name, "Planted traits", caption, Width::Page).row(
        2.9,
        vec![
            Panel::new("Style traits", plane).share(1.15),
            Panel::new("Planted traits", Plot::Curves(correlations(table(tables, "correlations")))),
        ],
    )
}

fn correlations(found: &Table) -> Curves {
    let mut series = Vec::new();
    let mut names = Vec::new();
    let mut bound = Vec::new();
    for (axis, label, style) in [("assistant_axis", "axis", Style::Marked), ("PC1", "PC1", Style::Dashed)] {
        for (covariate, color, word) in [(HELPFUL, 2, "helpful"), (STYLE, 4, "style")] {
            let at = rows(found, &[("axis", axis), ("covariate", covariate)]);
            let values: Vec<_> =
                at.iter().map(|r| estimate(found, *r, "pearson_r", "pearson_lo", "pearson_hi")).collect();
            series.push(curve(&format!("{label}, {word}"), &values).style(style).color(color));
            names = at.iter().map(|r| found.text(*r, "site")).collect();
            bound = at.iter().map(|r| Some(chance(num(found, *r, "roles")))).collect();
        }
    }
    series.push(curve("95 % of chance", &bound).style(Style::Null));
    Curves::new(site_axis(&names), Axis::new("correlation r").range(-1.05, 1.05), series)
        .lines(vec![Reference::horizontal(0.0, "")])
}

/// Where 95 % of the correlations of independent values lie (Fisher's z).
fn chance(n: f64) -> Estimate {
    let r = (1.96 / (n - 3.0).max(1.0).sqrt()).tanh();
    Estimate { value: 0.0, interval: Some((-r, r)) }
}
