//! The figure: the plane of the first two components twice, the spectrum, the axis and the correlations by site.

use super::{HELPFUL, STYLE, table};
use crate::error::Result;
use crate::experiment::cells::{curve, estimate, num, round, row, rows, said, site_axis};
use crate::figures::{Arrow, Axis, Bars, Curves, Dot, Estimate, Marker, NullLine, Page, Panel, Plot};
use crate::figures::{Reference, Scatter, Style, Width};
use crate::table::Table;

/// Names on the map: this many personas at each end of PC1 and of PC2.
const NAMED: usize = 5;

/// Draws the tables of the probe; `site` is the one that is mapped.
pub(super) fn page(name: &str, site: &str, tables: &[Table], default_prompts: usize) -> Result<Page> {
    let axes = table(tables, "axes");
    let by_helpful = plane(site, axes, dots(site, tables, true), vec![arrow(site, axes)]);
    let by_style = plane(site, axes, dots(site, tables, false), vec![]);
    let title = |what: &str| format!("{what} at {site}");
    Ok(Page::new(name, "Persona space", caption(site, tables, default_prompts), Width::Page)
        .row(
            2.9,
            vec![
                Panel::new(title("Role vectors"), by_helpful).share(1.0),
                Panel::new(title("Style traits"), by_style).share(1.0),
            ],
        )
        .row(
            2.3,
            vec![
                Panel::new(title("Spectrum"), Plot::Bars(spectrum(site, axes, "role vectors"))),
                Panel::new("Assistant axis and PC1", Plot::Curves(cosines(table(tables, "axis")))),
                Panel::new("Planted traits", Plot::Curves(correlations(table(tables, "correlations")))).share(1.1),
            ],
        ))
}

/// The plane of the first two components at the site.
pub(in crate::experiment) fn plane(site: &str, axes: &Table, dots: Vec<Dot>, arrows: Vec<Arrow>) -> Plot {
    let share = |axis: &str| {
        let share = row(axes, &[("site", site), ("axis", axis)]).map_or(f64::NAN, |r| num(axes, r, "variance_share"));
        format!("{axis} ({:.1} % of variance)", 100.0 * share)
    };
    let (x, y) = (Axis::new(share("PC1")), Axis::new(share("PC2")));
    Plot::Map(Scatter { x, y, dots, arrows, equal: true, ..Scatter::default() })
}

/// (persona, whether it is the default, PC1, PC2) of everybody at the site, the default last.
pub(in crate::experiment) fn points(site: &str, scores: &Table) -> Vec<(String, bool, f64, f64)> {
    let of = |axis: &str| rows(scores, &[("site", site), ("axis", axis)]);
    let mut all: Vec<_> = of("PC1")
        .into_iter()
        .zip(of("PC2"))
        .map(|(a, b)| {
            let value = |r| num(scores, r, "score_activation");
            (scores.text(a, "persona"), scores.text(a, "is_default") == "1", value(a), value(b))
        })
        .collect();
    all.sort_by_key(|p| p.1);
    all
}

fn dots(site: &str, tables: &[Table], by_helpful: bool) -> Vec<Dot> {
    let (scores, people) = (table(tables, "scores"), table(tables, "people"));
    let all = points(site, scores);
    let named = ends(&all);
    let dot = |(name, is_default, x, y): &(String, bool, f64, f64)| {
        if *is_default {
            return Dot { marker: Marker::Star, priority: 9, ..Dot::new("default assistant", *x, *y) };
        }
        let r = row(people, &[("persona", name)]);
        let truth = |column| r.map_or(f64::NAN, |r| num(people, r, column));
        let word = match (by_helpful, truth(HELPFUL) > 0.5) {
            (true, true) => "helpful".into(),
            (true, false) => "not helpful".into(),
            // The names sort as the numbers do.
            (false, _) if truth(STYLE) == 1.0 => "1 style trait".into(),
            (false, _) => format!("{} style traits", truth(STYLE)),
        };
        Dot {
            group: Some(word),
            named: by_helpful && named.contains(&name.as_str()),
            ..Dot::new(name.as_str(), *x, *y)
        }
    };
    all.iter().map(dot).collect()
}

/// The names at either end of PC1 and of PC2.
pub(in crate::experiment) fn ends(all: &[(String, bool, f64, f64)]) -> Vec<&str> {
    let mut named: Vec<&str> = Vec::new();
    for axis in 0..2 {
        let mut order: Vec<usize> = (0..all.len()).filter(|i| !all[*i].1).collect();
        let value = |i: &usize| if axis == 0 { all[*i].2 } else { all[*i].3 };
        order.sort_by(|a, b| value(a).total_cmp(&value(b)));
        let ends = order.iter().take(NAMED).chain(order.iter().rev().take(NAMED));
        named.extend(ends.map(|i| all[*i].0.as_str()));
    }
    named
}

/// The assistant axis as it lies in the plane, from the mean of the roles, three quarters of the way to the default.
pub(in crate::experiment) fn arrow(site: &str, axes: &Table) -> Arrow {
    let at = |axis: &str| {
        row(axes, &[("site", site), ("axis", axis)]).map_or(f64::NAN, |r| num(axes, r, "default_score_activation"))
    };
    Arrow { from: (0.0, 0.0), to: (0.75 * at("PC1"), 0.75 * at("PC2")), label: "assistant axis".into() }
}

/// The shares of the components, with those of chance; `name` says of what.
pub(in crate::experiment) fn spectrum(site: &str, axes: &Table, name: &str) -> Bars {
    let components: Vec<usize> =
        rows(axes, &[("site", site)]).into_iter().filter(|r| axes.text(*r, "axis") != "assistant_axis").collect();
    let percent = |column: &str| components.iter().map(|r| 100.0 * num(axes, *r, column)).collect::<Vec<_>>();
    let (mean, high) = (percent("null_share_mean"), percent("null_share_95"));
    let band = mean.iter().copied().zip(high).collect();
    Bars {
        x: Axis::new("component"),
        y: Axis::new("variance explained (%)"),
        name: name.into(),
        values: percent("variance_share"),
        null: Some(NullLine { name: "shuffled coordinates".into(), values: mean, band: Some(band) }),
    }
}

fn sites(table: &Table, rows: &[usize]) -> Vec<String> {
    rows.iter().map(|r| table.text(*r, "site")).collect()
}

fn cosines(axis: &Table) -> Curves {
    let all: Vec<usize> = (0..axis.rows.len()).collect();
    let of = |value, lo, hi| all.iter().map(|r| estimate(axis, *r, value, lo, hi)).collect::<Vec<_>>();
    let random = |r: &usize| {
        let value = num(axis, *r, "null_cosine_mean");
        Some(Estimate { value, interval: Some((0.0, num(axis, *r, "null_cosine_95"))) })
    };
    let null: Vec<_> = all.iter().map(random).collect();
    Curves::new(
        site_axis(&sites(axis, &all)),
        Axis::new("|cosine|").range(0.0, 1.05),
        vec![
            curve("with PC1", &of("cosine_pc1", "cosine_lo", "cosine_hi")).style(Style::Marked),
            curve("with itself, halves", &of("reliability_cosine", "reliability_lo", "reliability_hi"))
                .style(Style::Dashed),
            curve("random directions", &null).style(Style::Null),
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
            names = sites(found, &at);
            bound = at.iter().map(|r| Some(chance(num(found, *r, "personas")))).collect();
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

fn caption(site: &str, tables: &[Table], default_prompts: usize) -> String {
    let (axes, axis, people) = (table(tables, "axes"), table(tables, "axis"), table(tables, "people"));
    let a = row(axis, &[("site", site)]);
    let pc1 = row(axes, &[("site", site), ("axis", "PC1")]);
    let cosine = a.and_then(|r| estimate(axis, r, "cosine_pc1", "cosine_lo", "cosine_hi"));
    format!(
        "Persona space from the means over the model's own replies: {} personas under \"You are X.\" and the default \
         assistant ({default_prompts} prompts without a system prompt), which has no part in the components. (a) The first two \
         components at {site}, with the assistant axis (default minus mean of the roles) as it lies in the plane; names \
         are those of the personas at the ends of either component. (b) The same, by the number of planted style \
         traits; the star is the default. (c) Variance by component; grey: each coordinate shuffled over personas, from \
         the mean to the 95 % quantile. (d) Size of the cosine of the assistant axis with PC1 (95 % interval over \
         personas; {} at {site}) and with itself over random halves of the rows; grey: random directions, up to their \
         95 % quantile. (e) Correlation of the projections with the planted traits (95 % intervals over personas); \
         grey: 95 % of independent values. On PC1 the default is above {} of the roles.",
        people.rows.len(),
        said(cosine),
        pc1.map_or("none".into(), |r| round(num(axes, r, "default_rank_percentile"))),
    )
}
