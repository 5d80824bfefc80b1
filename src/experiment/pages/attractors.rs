//! Attractors as a figure: the field with its basins, the chain over them, depth, and runs that began together.

use crate::analysis::attractors::{Options, Outcome, Verdict, attractors, tables};
use crate::analysis::series::Series as Runs;
use crate::experiment::cells::{distinct, estimate, num, round, rows, said};
use crate::experiment::findings::Parts;
use crate::figures::{
    Axis, Curves, Diagram, Field, Flow, Marker, Move, Node, Page, Panel, Path, Plot, Reference, Series, Spot, Style,
    Width,
};
use crate::table::Table;
use std::collections::BTreeMap;

/// What runs are drawn to, over all sites and at each.
#[derive(Clone, Debug)]
pub struct Judged {
    pub verdict: Verdict,
    /// By site; empty where the states have no site.
    pub sites: BTreeMap<String, String>,
}

/// The whole analysis: tables, a page per site, what it says; and the verdict.
pub fn parts(name: &str, series: &[Runs], options: Options) -> (Parts, Judged) {
    let (found, verdict) = attractors(series, options);
    let tables = tables(series, &found, options);
    let mut pages = Vec::new();
    for f in &found {
        let stem = if found.len() == 1 { name.to_string() } else { format!("{name}-{}", plain(&f.site)) };
        pages.extend(page(&stem, &f.site, &tables, &f.verdict.to_string()));
    }
    let mut summary = vec![format!("verdict: {verdict}")];
    for f in &found {
        let at = if f.site.is_empty() { String::new() } else { format!("{}: ", f.site) };
        let named = |outcome| {
            let all = f.conditions.iter().filter(|c| c.outcome == outcome).map(|c| c.name);
            all.collect::<Vec<_>>().join(", ")
        };
        summary.push(format!("{at}{}, {}", f.verdict, spoken(&tables, &f.site)));
        for outcome in [Outcome::Passed, Outcome::Failed, Outcome::Untested] {
            let names = named(outcome);
            if !names.is_empty() {
                summary.push(format!("{at}{outcome}: {names}"));
            }
        }
    }
    let sites = found.iter().filter(|f| !f.site.is_empty()).map(|f| (f.site.clone(), f.verdict.to_string())).collect();
    let warnings = match found.iter().any(|f| f.verdict != verdict) {
        true => vec!["layers disagree on the verdict: see conditions.csv".to_string()],
        false => Vec::new(),
    };
    (Parts { tables, pages, summary, warnings, ..Parts::default() }, Judged { verdict, sites })
}

fn plain(site: &str) -> String {
    site.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect()
}

/// The rows of a site among those that fit.
fn at<'a>(table: &'a Table, site: &'a str, of: &[(&'a str, &'a str)]) -> Vec<usize> {
    let mut of = of.to_vec();
    if table.column("site").is_ok() {
        of.push(("site", site));
    }
    rows(table, &of)
}

fn named<'a>(tables: &'a [Table], name: &str) -> Option<&'a Table> {
    tables.iter().find(|t| t.name == name)
}

fn quantity(tables: &[Table], site: &str, name: &str) -> Option<crate::figures::Estimate> {
    let table = named(tables, "dynamics")?;
    let r = *at(table, site, &[("quantity", name)]).first()?;
    estimate(table, r, "value", "ci_low", "ci_high")
}

fn spoken(tables: &[Table], site: &str) -> String {
    let basins = named(tables, "basins").map_or(0, |t| at(t, site, &[]).len());
    format!(
        "spectral radius {}, half-life {} turns, {basins} basin{}",
        said(quantity(tables, site, "spectral_radius")),
        said(quantity(tables, site, "half_life_turns")),
        if basins == 1 { "" } else { "s" },
    )
}

/// The page of a site; `None` where nothing can be drawn (a single component and no pushes, for example).
pub fn page(name: &str, site: &str, tables: &[Table], verdict: &str) -> Option<(Page, Vec<&'static str>)> {
    let mut panels: Vec<Panel> = Vec::new();
    let (mut drawn, mut words) = (Vec::new(), Vec::new());
    let letter = |n: usize| char::from(b'a' + n as u8);
    let mut add = |panel: Panel, tables: &[&'static str], text: String| {
        words.push(format!("({}) {text}", letter(panels.len())));
        panels.push(panel);
        drawn.extend(tables.iter().copied());
    };
    if let Some(field) = field(tables, site) {
        add(
            Panel::new("Movement, first two components", Plot::Field(field)).share(1.2),
            &["field", "trajectories", "basins", "dynamics"],
            "Arrows: mean movement per turn by place, to one scale; lines: a sample of the runs, a dot where each begins, \
             coloured by the basin they end in; diamonds: centres of basins; star: the fixed point of the linear fit."
                .into(),
        );
    }
    if let Some(diagram) = diagram(tables, site) {
        add(
            Panel::new("Moves between basins per turn", Plot::Diagram(diagram)),
            &["markov", "basins"],
            "Chance of being in each basin a turn later; in the discs the share of runs that end there.".into(),
        );
    }
    if let Some(curves) = depth(tables, site) {
        add(
            Panel::new("Depth", Plot::Curves(curves)),
            &["depth"],
            "Share of pushed runs that end in another basin, by dose, with Wilson intervals; vertical: d50.".into(),
        );
    }
    if let Some(curves) = together(tables, site) {
        add(
            Panel::new("Runs with one start", Plot::Curves(curves)),
            &["contraction"],
            "Distance between runs that began at the same place (root of the summed variance) by turn.".into(),
        );
    }
    if panels.is_empty() {
        return None;
    }
    let place = if site.is_empty() { String::new() } else { format!(" at {site}") };
    let caption = format!(
        "What runs are drawn to{place}: {verdict}; {}. {} Intervals are 95 %.",
        spoken(tables, site),
        words.join(" "),
    );
    let mut page = Page::new(name, "Attractors", caption, Width::Page);
    let mut left = panels.into_iter().peekable();
    while left.peek().is_some() {
        page = page.row(2.7, left.by_ref().take(2).collect());
    }
    drawn.sort_unstable();
    drawn.dedup();
    Some((page, drawn))
}

fn field(tables: &[Table], site: &str) -> Option<Field> {
    let (flow, path) = (named(tables, "field"), named(tables, "trajectories")?);
    let flows = flow.map(|t| {
        let one = |r: usize| Flow {
            at: (num(t, r, "z0"), num(t, r, "z1")),
            by: (num(t, r, "dz0_per_turn"), num(t, r, "dz1_per_turn")),
        };
        at(t, site, &[]).into_iter().map(one).collect::<Vec<_>>()
    });
    let mut paths: Vec<Path> = Vec::new();
    let mut last = String::new();
    for r in at(path, site, &[]) {
        let run = path.text(r, "run");
        if run != last {
            paths.push(Path { points: Vec::new(), color: path.num(r, "basin").map_or(0, |b| b as usize) });
            last = run;
        }
        if let Some(p) = paths.last_mut() {
            p.points.push((num(path, r, "z0"), num(path, r, "z1")));
        }
    }
    let mut spots = Vec::new();
    if let Some(t) = named(tables, "basins") {
        for r in at(t, site, &[]) {
            let share = 100.0 * num(t, r, "weight");
            let name = format!("{share:.0} %");
            let color = num(t, r, "basin") as usize;
            spots.push(Spot { name, at: (num(t, r, "z0"), num(t, r, "z1")), marker: Marker::Diamond, color });
        }
    }
    // With several basins the fixed point of one fit to all of them is nowhere.
    if spots.len() < 2
        && let Some(t) = named(tables, "dynamics")
    {
        let of = |c: &str| at(t, site, &[("quantity", "fixed_point"), ("component", c)]).first().copied();
        if let Some((x, y)) = of("z0").zip(of("z1")) {
            let place = (num(t, x, "value"), num(t, y, "value"));
            let inside = |v: f64, c: &str| {
                let all = || at(path, site, &[]).into_iter().map(|r| num(path, r, c));
                let (lo, hi) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                v >= lo && v <= hi
            };
            if inside(place.0, "z0") && inside(place.1, "z1") {
                spots.push(Spot { name: "fixed point".into(), at: place, marker: Marker::Star, color: 5 });
            }
        }
    }
    let any = !paths.is_empty() || flows.as_ref().is_some_and(|f| !f.is_empty());
    any.then(|| Field {
        x: Axis::new("z0"),
        y: Axis::new("z1"),
        flows: flows.unwrap_or_default(),
        paths,
        spots,
        stretch: 0.0,
    })
}

fn diagram(tables: &[Table], site: &str) -> Option<Diagram> {
    let (moves, basins) = (named(tables, "markov")?, named(tables, "basins")?);
    let nodes: Vec<Node> = at(basins, site, &[])
        .into_iter()
        .map(|r| Node {
            name: basins.text(r, "basin"),
            at: (num(basins, r, "z0"), basins.num(r, "z1").unwrap_or(0.0)),
            weight: num(basins, r, "weight"),
            note: round(num(basins, r, "weight")),
        })
        .collect();
    let moves: Vec<Move> = at(moves, site, &[("quantity", "probability")])
        .into_iter()
        .filter_map(|r| {
            let share = moves.num(r, "value")?;
            let (from, to) = (moves.num(r, "from")? as usize, moves.num(r, "to")? as usize);
            Some(Move { from, to, share, label: if share < 0.005 { "< 0.01".into() } else { round(share) } })
        })
        .filter(|m| m.share > 0.0)
        .collect();
    (nodes.len() > 1 && !moves.is_empty()).then_some(Diagram { nodes, moves })
}

fn depth(tables: &[Table], site: &str) -> Option<Curves> {
    let t = named(tables, "depth")?;
    let mut series = Vec::new();
    let mut lines = Vec::new();
    let basins: Vec<String> = distinct(t, "basin");
    let single = basins.len() <= 2;
    for basin in basins.iter().filter(|b| (*b == "all") == single) {
        let of = at(t, site, &[("quantity", "switched_share"), ("basin", basin)]);
        if of.is_empty() {
            continue;
        }
        let points = of.iter().map(|r| (num(t, *r, "dose").log2(), num(t, *r, "value"))).collect();
        let band = of.iter().map(|r| (num(t, *r, "ci_low"), num(t, *r, "ci_high"))).collect();
        let name = if single { "switched".to_string() } else { format!("from basin {basin}") };
        let mut curve = Series::new(name, points).band(band).style(Style::Marked);
        if !single {
            curve = curve.color(basin.parse().unwrap_or(0));
        }
        series.push(curve);
    }
    if let Some(r) = at(t, site, &[("quantity", "d50"), ("basin", "all")]).first()
        && let Some(d50) = t.num(*r, "value")
    {
        lines.push(Reference::vertical(d50.log2(), format!("d50 {}", round(d50))));
    }
    lines.push(Reference::horizontal(0.5, ""));
    (!series.is_empty()).then(|| {
        Curves::new(
            Axis::new("dose (logarithm to base 2)"),
            Axis::new("share that switched").range(-0.02, 1.02),
            series,
        )
        .lines(lines)
    })
}

fn together(tables: &[Table], site: &str) -> Option<Curves> {
    let t = named(tables, "contraction")?;
    let of = at(t, site, &[]);
    let root = |r: usize, c: &str| num(t, r, c).max(0.0).sqrt();
    let points: Vec<(f64, f64)> = of.iter().map(|r| (num(t, *r, "turn"), root(*r, "dispersion"))).collect();
    let band = of.iter().map(|r| (root(*r, "ci_low"), root(*r, "ci_high"))).collect();
    let finite = points.iter().any(|p| p.1.is_finite());
    finite.then(|| {
        let curve = Series::new("runs with one start", points).band(band).style(Style::Marked);
        Curves::new(Axis::new("turn").whole(), Axis::new("distance between runs"), vec![curve])
            .names_at(crate::figures::Names::Hidden)
    })
}
