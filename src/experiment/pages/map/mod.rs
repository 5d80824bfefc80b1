//! Persona space as a figure: the plane with the axis and the density, the spectrum, and what holds at every site.

mod contours;

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, num, round, row, rows, said, short, site_axis};
use crate::figures::{
    Arrow, Axis, Curves, Dot, Estimate, Marker, Page, Panel, Plot, Ramp, Reference, Scatter, Series, Shades, Style,
    Width,
};
use crate::table::Table;

/// Names on the map: this many roles at each end of PC1 and of PC2.
const NAMED: usize = 5;
/// Components of the spectrum that are drawn.
const MOST_COMPONENTS: usize = 60;

/// The tables of a map.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    pub variance: &'a Table,
    pub place: &'a Table,
    pub dimension: &'a Table,
    pub loadings: &'a Table,
    pub density: &'a Table,
}

impl<'a> Tables<'a> {
    /// Names of the tables, for the record of a figure.
    pub const NAMES: [&'static str; 5] = ["variance", "place", "dimension", "loadings", "density"];

    /// Finds them; `None` where one is missing.
    pub fn among(tables: &'a [Table]) -> Option<Tables<'a>> {
        let of = |name: &str| tables.iter().find(|t| t.name == name);
        Some(Tables {
            variance: of("variance")?,
            place: of("place")?,
            dimension: of("dimension")?,
            loadings: of("loadings")?,
            density: of("density")?,
        })
    }
}

/// What the figure says in words.
pub struct Words<'a> {
    /// What a point is: `role vectors (means over replies)`.
    pub points: &'a str,
    /// The colour of a role, by a category that the legend names; by its coordinate on the assistant axis without.
    pub group: &'a dyn Fn(&str) -> Option<String>,
    /// What follows in the caption.
    pub more: &'a str,
}

/// Draws the map of `site`. `None` where the roles lie on a line there.
pub fn page(name: &str, site: &str, t: Tables<'_>, words: &Words<'_>) -> Result<Option<Page>> {
    let people = people(site, t.loadings);
    let Some(people) = people.filter(|p| p.len() > 2) else { return Ok(None) };
    let sites = distinct(t.variance, "site");
    let default = people.iter().find(|p| p.is_default).map(|p| p.name.clone());
    let mut page = Page::new(name, "Persona space", caption(site, t, &people, &sites, words), Width::Page).row(
        3.1,
        vec![
            Panel::new(format!("Roles at {}", short(site)), scatter(site, t, &people, words.group)).share(1.25),
            Panel::new(format!("Variance at {}", short(site)), Plot::Curves(spectrum(site, t))),
        ],
    );
    if sites.len() > 1 {
        let mut panels = Vec::new();
        if default.is_some() {
            panels.push(Panel::new("Assistant axis and PC1", Plot::Curves(cosines(&sites, t))));
            panels.push(Panel::new("Place of the default", Plot::Curves(default_places(&sites, t))));
        }
        panels.push(Panel::new("Dimensions", Plot::Curves(dimensions(&sites, t))));
        page = page.row(2.3, panels);
    }
    Ok(Some(page))
}

/// What a map says, in sentences with their intervals and nulls.
pub fn summary(site: &str, t: Tables<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(first), Some(d)) = (row(t.variance, &[("site", site)]), row(t.dimension, &[("site", site)])) else {
        return found;
    };
    let count = |column: &str| t.dimension.text(d, column);
    found.push(format!(
        "At {site} PC1 of {} roles holds {} of the variance (shuffled coordinates {}, 95 %: {}); 70, 80, 90 and 95 % take \
         {}, {}, {} and {} dimensions, and {} components are above chance.",
        count("roles"),
        round(num(t.variance, first, "ratio")),
        round(num(t.variance, first, "null_mean")),
        round(num(t.variance, first, "null_95")),
        count("dims_70"),
        count("dims_80"),
        count("dims_90"),
        count("dims_95"),
        count("dims_above_null"),
    ));
    let of =
        |v: &str| said(estimate(t.dimension, d, v, &format!("{}_ci_low", stem(v)), &format!("{}_ci_high", stem(v))));
    found.push(format!(
        "The participation ratio is {}, the local dimension by TwoNN {}.",
        of("participation_ratio"),
        of("twonn")
    ));
    let line = |axis: &str| row(t.place, &[("site", site), ("axis", axis)]);
    let (Some(axis), Some(pc1)) = (line("assistant_axis"), line("PC1")) else { return found };
    let with = t.place.num(pc1, "cosine_with_axis").map(f64::abs);
    let interval = t.place.num(pc1, "cosine_low").zip(t.place.num(pc1, "cosine_high"));
    found.push(format!(
        "|cos| between the assistant axis and PC1 is {} (95 % of random directions below {}).{}",
        said(with.map(|value| Estimate { value, interval })),
        round(num(t.place, pc1, "null_cosine_95")),
        t.place
            .num(axis, "halves_cosine")
            .map_or(String::new(), |v| format!(" The axis agrees with itself over random halves with {}.", round(v))),
    ));
    let place = |r: usize| {
        format!(
            "above {} of the roles and {} of their range from its nearer end",
            round(num(t.place, r, "default_rank_percentile")),
            round(num(t.place, r, "default_range_distance")),
        )
    };
    found.push(format!("On the assistant axis the default is {}; on PC1 it is {}.", place(axis), place(pc1)));
    found
}

fn stem(value: &str) -> &str {
    value.strip_suffix("_ratio").unwrap_or(value)
}

/// Somebody on the map.
struct Person {
    name: String,
    is_default: bool,
    x: f64,
    y: f64,
    /// Coordinate on the assistant axis.
    axis: Option<f64>,
}

/// Everybody in the plane of PC1 and PC2, the default last; `None` without a plane.
fn people(site: &str, loadings: &Table) -> Option<Vec<Person>> {
    let of = |axis: &str| rows(loadings, &[("site", site), ("axis", axis)]);
    let (first, second, axis) = (of("PC1"), of("PC2"), of("assistant_axis"));
    if second.is_empty() {
        return None;
    }
    let person = |(i, (a, b)): (usize, (&usize, &usize))| Person {
        name: loadings.text(*a, "role"),
        is_default: loadings.text(*a, "is_default") == "1",
        x: num(loadings, *a, "score"),
        y: num(loadings, *b, "score"),
        axis: axis.get(i).and_then(|r| loadings.num(*r, "score")),
    };
    let mut all: Vec<Person> = first.iter().zip(&second).enumerate().map(person).collect();
    all.sort_by_key(|p| p.is_default);
    Some(all)
}

/// The plane of the first two components at a site, with roles coloured by `group`; `None` without a plane.
pub fn plane(site: &str, t: Tables<'_>, group: &dyn Fn(&str) -> Option<String>) -> Option<Plot> {
    Some(scatter(site, t, &people(site, t.loadings)?, group))
}

fn scatter(site: &str, t: Tables<'_>, people: &[Person], group: &dyn Fn(&str) -> Option<String>) -> Plot {
    let named = ends(people);
    let grouped = people.iter().any(|p| group(&p.name).is_some());
    let shaded = !grouped && people.iter().any(|p| p.axis.is_some());
    let dot = |p: &Person| match p.is_default {
        true => Dot { marker: Marker::Star, priority: 9, ..Dot::new(p.name.as_str(), p.x, p.y) },
        false => Dot {
            group: group(&p.name),
            value: p.axis.filter(|_| shaded),
            named: named.contains(&p.name.as_str()),
            ..Dot::new(p.name.as_str(), p.x, p.y)
        },
    };
    let share = |axis: &str| {
        let share = row(t.place, &[("site", site), ("axis", axis)]).map_or(f64::NAN, |r| num(t.place, r, "ratio"));
        format!("{axis} ({:.1} % of variance)", 100.0 * share)
    };
    let head = people.iter().find(|p| p.is_default).map(|p| Arrow {
        from: (0.0, 0.0),
        to: (0.8 * p.x, 0.8 * p.y),
        label: "assistant axis".into(),
    });
    Plot::Map(Scatter {
        x: Axis::new(share("PC1")),
        y: Axis::new(share("PC2")),
        dots: people.iter().map(dot).collect(),
        arrows: head.into_iter().collect(),
        contours: contours::contours(t.density, site),
        shades: shaded.then(|| Shades::new("coordinate on the assistant axis", Ramp::Diverging)),
        equal: true,
        ..Scatter::default()
    })
}

/// The names at either end of PC1 and of PC2.
fn ends(all: &[Person]) -> Vec<&str> {
    let mut named: Vec<&str> = Vec::new();
    for value in [(|p| p.x) as fn(&Person) -> f64, |p| p.y] {
        let mut order: Vec<&Person> = all.iter().filter(|p| !p.is_default).collect();
        order.sort_by(|a, b| value(a).total_cmp(&value(b)));
        let ends = order.iter().take(NAMED).chain(order.iter().rev().take(NAMED));
        named.extend(ends.map(|p| p.name.as_str()));
    }
    named
}

/// The sum of shares by component, with that of shuffled coordinates, and the components that reach stated shares.
fn spectrum(site: &str, t: Tables<'_>) -> Curves {
    let at = rows(t.variance, &[("site", site)]);
    // As far as anything happens: to 99 % of the variance.
    let most = at.iter().take_while(|r| num(t.variance, **r, "cumulative") < 0.99).count() + 1;
    let shown = at.iter().take(most.clamp(8, MOST_COMPONENTS));
    let percent = |column: &str| -> Vec<(f64, f64)> {
        shown.clone().map(|r| (num(t.variance, *r, "component"), 100.0 * num(t.variance, *r, column))).collect()
    };
    let mut sum = 0.0;
    let null: Vec<(f64, f64)> = percent("null_mean")
        .into_iter()
        .map(|(x, v)| {
            sum += v;
            (x, sum)
        })
        .collect();
    let d = row(t.dimension, &[("site", site)]);
    let mark = |share: usize| {
        let dims = d.map_or(String::new(), |r| t.dimension.text(r, &format!("dims_{share}")));
        Reference::horizontal(share as f64, format!("{share} %: {dims} dims"))
    };
    let series = vec![
        Series::new("sum up to it", percent("cumulative")),
        Series::new("each", percent("ratio")).style(Style::Marked),
        Series::new("sum, shuffled coordinates", null).style(Style::Null),
    ];
    Curves::new(Axis::new("component").whole(), Axis::new("variance explained (%)").range(0.0, 103.0), series)
        .lines([70, 80, 90, 95].map(mark).to_vec())
}

/// Something of a line of the map at every site.
fn along(sites: &[String], t: Tables<'_>, axis: &str, of: &dyn Fn(usize) -> Option<Estimate>) -> Vec<Option<Estimate>> {
    sites.iter().map(|s| row(t.place, &[("site", s), ("axis", axis)]).and_then(of)).collect()
}

fn cosines(sites: &[String], t: Tables<'_>) -> Curves {
    let p = t.place;
    let with = |r: usize| {
        let interval = p.num(r, "cosine_low").zip(p.num(r, "cosine_high"));
        p.num(r, "cosine_with_axis").map(|v| Estimate { value: v.abs(), interval })
    };
    let halves = |r: usize| estimate(p, r, "halves_cosine", "halves_low", "halves_high");
    let random = |r: usize| {
        p.num(r, "null_cosine_95")
            .map(|hi| Estimate { value: hi / 1.96 * (2.0 / std::f64::consts::PI).sqrt(), interval: Some((0.0, hi)) })
    };
    let series = vec![
        curve("with PC1", &along(sites, t, "PC1", &with)).style(Style::Marked),
        curve("with itself, halves", &along(sites, t, "assistant_axis", &halves)).style(Style::Dashed),
        curve("random directions", &along(sites, t, "PC1", &random)).style(Style::Null),
    ];
    Curves::new(site_axis(sites), Axis::new("|cosine|").range(0.0, 1.05), series)
}

fn default_places(sites: &[String], t: Tables<'_>) -> Curves {
    let value =
        |column: &'static str| move |r: usize| t.place.num(r, column).map(|value| Estimate { value, interval: None });
    let (rank, range) = (value("default_rank_percentile"), value("default_range_distance"));
    let series = vec![
        curve("rank, axis", &along(sites, t, "assistant_axis", &rank)).style(Style::Marked).color(0),
        curve("range, axis", &along(sites, t, "assistant_axis", &range)).style(Style::Dashed).color(0),
        curve("rank, PC1", &along(sites, t, "PC1", &rank)).style(Style::Marked).color(1),
        curve("range, PC1", &along(sites, t, "PC1", &range)).style(Style::Dashed).color(1),
    ];
    Curves::new(site_axis(sites), Axis::new("place among roles"), series)
        .lines(vec![Reference::horizontal(1.0, ""), Reference::horizontal(0.0, "")])
}

fn dimensions(sites: &[String], t: Tables<'_>) -> Curves {
    let of = |value: &str, stem: Option<&str>| -> Vec<Option<Estimate>> {
        let one = |s: &String| {
            let r = row(t.dimension, &[("site", s)])?;
            match stem {
                Some(stem) => estimate(t.dimension, r, value, &format!("{stem}_ci_low"), &format!("{stem}_ci_high")),
                None => t.dimension.num(r, value).map(|value| Estimate { value, interval: None }),
            }
        };
        sites.iter().map(one).collect()
    };
    let series = vec![
        curve("participation ratio", &of("participation_ratio", Some("participation"))).style(Style::Marked),
        curve("TwoNN", &of("twonn", Some("twonn"))).style(Style::Marked),
        curve("for 70 %", &of("dims_70", None)).style(Style::Dashed),
        curve("for 90 %", &of("dims_90", None)).style(Style::Dotted),
    ];
    Curves::new(site_axis(sites), Axis::new("dimensions"), series)
}

fn caption(site: &str, t: Tables<'_>, people: &[Person], sites: &[String], words: &Words<'_>) -> String {
    let default = people.iter().find(|p| p.is_default).map(|p| p.name.as_str());
    let roles = people.len() - usize::from(default.is_some());
    let scaling = row(t.dimension, &[("site", site)]).map_or(String::new(), |r| t.dimension.text(r, "scaling"));
    let star = default.map_or(String::new(), |d| {
        format!(
            "; the star is {d}, which has no part in the components, and the arrow the assistant axis (default minus mean \
             of the roles) as it lies in the plane"
        )
    });
    let mut said = format!(
        "Persona space of {roles} {} at {site} ({scaling}). (a) The first two components, with lines of equal density (Gaussian \
         kernel, at 10, 30, 50 and 80 % of the highest){star}; names are those at the ends of either component. (b) Variance \
         by component and its sum, with that of shuffled coordinates; dotted: the dimensions that hold 70, 80, 90 and 95 %.",
        words.points,
    );
    if sites.len() > 1 {
        let mut letter = b'c';
        let mut add = |what: &str| {
            said.push_str(&format!(" ({}) {what}", letter as char));
            letter += 1;
        };
        if default.is_some() {
            add(
                "Size of the cosine of the assistant axis with PC1 (95 % interval over roles) and with itself over random \
                 halves (95 % of them); grey: random directions, up to their 95 % quantile.",
            );
            add(
                "The default among the roles: the share of roles below it, and its distance from the nearer end of their \
                 range (negative beyond an end). The axis is drawn through the default itself, so only its place on PC1 is a finding.",
            );
        }
        add("Dimensions by four counts, with 95 % jackknife intervals over roles where there are any.");
    }
    if !words.more.is_empty() {
        said.push(' ');
        said.push_str(words.more);
    }
    said
}
