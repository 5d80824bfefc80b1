//! The figures of a store: those of the shipped experiments, in words of its own columns.

use super::{Analysis, Mapped};
use crate::analysis::sweep::Sweep;
use crate::error::Result;
use crate::experiment::cells::{curve, distinct, num, row, site_axis};
use crate::experiment::persona_map::draw::{arrow, ends, plane, points, spectrum};
use crate::experiment::trait_layers::draw::{self as layers, Words};
use crate::figures::{Axis, Curves, Dot, Estimate, Marker, Page, Panel, Plot, Style, Width};
use crate::table::Table;

pub(super) fn sweeps(ask: &Analysis, table: &Table, caption: String) -> Result<Page> {
    let words = Words { title: "Contrasts by site".into(), caption, groups: "groups".into() };
    layers::sweeps("contrast", ask.pick.name(), table, words)
}

pub(super) fn caption(sweeps: &[Sweep], ask: &Analysis) -> String {
    let each: Vec<String> = sweeps
        .iter()
        .map(|s| {
            let negative = s.layers.iter().find_map(|l| l.direction.as_ref()).map_or("others", |d| &d.negative);
            let (train, test) = (s.train_groups.len(), s.test_groups.len());
            format!("{} against {negative} (fitted on {train} groups, scored on {test})", s.name)
        })
        .collect();
    format!(
        "AUROC of contrast vectors on rows of held-out groups by `{}`: {}. Bands and bars are 95 % bootstrap intervals \
         over held-out groups; where all resamples agree, bars (b) are one-sided 95 % bounds and no band is drawn. Grey: \
         labels shuffled by group, from the mean to the 95 % quantile. The site (right, in brackets) is chosen on training \
         groups alone.",
        ask.group,
        each.join("; "),
    )
}

pub(super) fn map(site: &str, mapped: &Mapped, [axes, _, scores]: &[Table; 3]) -> Result<Page> {
    let all = points(site, scores);
    let named = ends(&all);
    let dot = |(name, is_default, x, y): &(String, bool, f64, f64)| match is_default {
        true => Dot { marker: Marker::Star, priority: 9, ..Dot::new(name.as_str(), *x, *y) },
        false => Dot { named: named.contains(&name.as_str()), ..Dot::new(name.as_str(), *x, *y) },
    };
    let dots: Vec<Dot> = all.iter().map(dot).collect();
    let (arrows, default) = match &mapped.default {
        None => (vec![], String::new()),
        Some(d) => {
            let mut arrow = arrow(site, axes);
            arrow.label = format!("to {d}");
            let said = format!(
                " The star is {d}, which has no part in the components; the arrow is the axis from the mean of the \
                 others to it, as it lies in the plane."
            );
            (vec![arrow], said)
        }
    };
    let shares = (distinct(axes, "site").len() > 1).then(|| by_site(axes));
    let more = if shares.is_some() { " (c) The share of the first component at every site." } else { "" };
    let caption = format!(
        "The means of {} values of `{}` (each the mean over its rows) at {site}, relative to their mean: (a) the first two \
         components; names are those at the ends of either. (b) Variance by component; grey: each coordinate shuffled \
         over the groups, from the mean to the 95 % quantile.{more}{default}",
        all.len(),
        mapped.column,
    );
    let mut panels = vec![
        Panel::new(format!("Means by {} at {site}", mapped.column), plane(site, axes, dots, arrows)).share(1.3),
        Panel::new("Spectrum", Plot::Bars(spectrum(site, axes, "means of groups"))),
    ];
    panels.extend(shares.map(|c| Panel::new("First component by site", Plot::Curves(c))));
    Ok(Page::new("map", "Means of groups", caption, Width::Page).row(2.9, panels))
}

/// The share of the first component at every site, with that of chance.
fn by_site(axes: &Table) -> Curves {
    let sites = distinct(axes, "site");
    let at = |site: &String| row(axes, &[("site", site), ("axis", "PC1")]);
    let percent = |r: usize, column: &str| 100.0 * num(axes, r, column);
    let share = |r| Estimate { value: percent(r, "variance_share"), interval: None };
    let null = |r| {
        let value = percent(r, "null_share_mean");
        Estimate { value, interval: Some((value, percent(r, "null_share_95"))) }
    };
    let of = |f: &dyn Fn(usize) -> Estimate| sites.iter().map(|s| at(s).map(f)).collect::<Vec<_>>();
    let series = vec![
        curve("PC1", &of(&share)).style(Style::Marked),
        curve("shuffled coordinates", &of(&null)).style(Style::Null),
    ];
    Curves::new(site_axis(&sites), Axis::new("variance explained (%)"), series)
}
