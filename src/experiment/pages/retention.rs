//! Survival of personas: curves with what is at risk, medians, hazard ratios.

use crate::error::Result;
use crate::experiment::cells::{distinct, num, row, rows, said};
use crate::figures::{
    Arm, Axis, Counts, Curves, Estimate, Forest, Names, Page, Panel, Plot, Reference, Series, Style, Width,
};
use crate::table::{Table, number};

/// Groups that are drawn; with more, those of most runs.
const MOST: usize = 6;

/// Draws the tables of [`crate::analysis::survival::Retained::tables`].
///
/// # Errors
/// A table that is missing, and what the page refuses.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let [survival, groups, tests] = [find(tables, "survival")?, find(tables, "groups")?, find(tables, "tests")?];
    let shown = shown(groups);
    let clocks = distinct(survival, "clock");
    let curves = |(i, clock): (usize, &String)| {
        let names = if i == 0 { Names::Legend } else { Names::Hidden };
        let title = if clock == "turns" { "In turns" } else { "In tokens of context" };
        Panel::new(title, Plot::Curves(curves(survival, clock, &shown).names_at(names)))
    };
    let height = 2.3 + 0.14 * shown.len() as f64;
    let page = Page::new(name, "How long personas are kept", caption(tables)?, Width::Page);
    let page = page.row(height, clocks.iter().enumerate().map(curves).collect());
    let lower: Vec<Panel> = [means(groups, &clocks), ratios(tests, &clocks)].into_iter().flatten().collect();
    let longest = |p: &Panel| if let Plot::Forest(f) = &p.plot { f.categories.len() } else { 0 };
    let most = lower.iter().map(longest).max().unwrap_or(0);
    Ok(if lower.is_empty() { page } else { page.row(1.0 + 0.16 * most as f64, lower) })
}

/// What was found, in sentences.
pub fn summary(tables: &[Table]) -> Vec<String> {
    let mut said_all = Vec::new();
    for groups in tables.iter().filter(|t| t.name == "groups") {
        for r in 0..groups.rows.len() {
            let text = |c: &str| groups.text(r, c);
            let median = if text("median").is_empty() { "not reached".into() } else { text("median") };
            said_all.push(format!(
                "{} ({}): {} of {} broke, median {median} [{}, {}]",
                text("group"),
                text("clock"),
                text("events"),
                text("n"),
                or_dash(text("median_low")),
                or_dash(text("median_high")),
            ));
        }
    }
    for tests in tables.iter().filter(|t| t.name == "tests") {
        for r in rows(tests, &[("test", "log_rank"), ("group", "all")]) {
            let (x, p, why) = (tests.num(r, "statistic"), tests.num(r, "p_value"), tests.text(r, "reason"));
            let clock = tests.text(r, "clock");
            said_all.push(match x.zip(p) {
                Some((x, p)) => format!("log-rank ({clock}): chi-square {}, p {}", number(x), number(p)),
                None => format!("log-rank ({clock}): {why}"),
            });
        }
    }
    said_all
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "\u{2013}".into() } else { text }
}

fn find<'a>(tables: &'a [Table], name: &str) -> Result<&'a Table> {
    super::table(tables, name)
}

/// The groups that are drawn, by name.
fn shown(groups: &Table) -> Vec<String> {
    let mut all: Vec<(f64, String)> = rows(groups, &[("clock", "turns")])
        .into_iter()
        .map(|r| (num(groups, r, "n"), groups.text(r, "group")))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut names: Vec<String> = all.into_iter().take(MOST).map(|g| g.1).collect();
    names.sort();
    names
}

fn curves(survival: &Table, clock: &str, groups: &[String]) -> Curves {
    let (mut series, mut ticks) = (Vec::new(), Vec::new());
    let (mut end, mut risk) = (0.0_f64, Vec::new());
    for (color, group) in groups.iter().enumerate() {
        let at = rows(survival, &[("clock", clock), ("group", group)]);
        let v = |r: &usize, c: &str| num(survival, *r, c);
        let points = at.iter().map(|r| (v(r, "time"), v(r, "survival"))).collect();
        let band = at.iter().map(|r| (v(r, "ci_low"), v(r, "ci_high"))).collect();
        series.push(Series::new(group, points).band(band).style(Style::Steps).color(color));
        let censored = at.iter().filter(|r| v(r, "censored") > 0.0).map(|r| (v(r, "time"), v(r, "survival"))).collect();
        ticks.push(Series::new("", censored).style(Style::Ticks).color(color));
        end = at.iter().map(|r| v(r, "time")).fold(end, f64::max);
        risk.push((group.clone(), at.iter().map(|r| (v(r, "time"), v(r, "at_risk"))).collect::<Vec<_>>()));
    }
    let places = places(end);
    // At risk at a place: those of the first time at or after it.
    let count = |steps: &[(f64, f64)], t: f64| steps.iter().find(|s| s.0 >= t).map_or(0.0, |s| s.1);
    let row = |(name, steps): (String, Vec<(f64, f64)>)| {
        (name, places.iter().map(|t| number(count(&steps, *t))).collect::<Vec<String>>())
    };
    let counts = Counts { title: "at risk".into(), rows: risk.into_iter().map(row).collect(), places: places.clone() };
    let x = Axis { ticks: Some(places.iter().map(|t| (*t, number(*t))).collect()), ..Axis::new(clock) };
    let y = Axis::new("still in persona").range(0.0, 1.03);
    series.extend(ticks);
    Curves::new(x.range(0.0, end * 1.02), y, series).counts(counts)
}

/// Six to a dozen round times from 0 to the end.
fn places(end: f64) -> Vec<f64> {
    let rough = end / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().map(|k| k * power).find(|s| *s <= rough).unwrap_or(power);
    (0..=15).map(|k| f64::from(k) * step).take_while(|t| *t <= end).collect()
}

/// Restricted means by group; a clock that has none is left out.
fn means(groups: &Table, clocks: &[String]) -> Option<Panel> {
    let clock = clocks.first()?;
    let at = rows(groups, &[("clock", clock)]);
    let value = |r: &usize| {
        let interval = groups.num(*r, "ci_low").zip(groups.num(*r, "ci_high"));
        groups.num(*r, "restricted_mean").map(|value| Estimate { value, interval })
    };
    let values: Vec<Option<Estimate>> = at.iter().map(value).collect();
    let horizon = at.first().map(|r| groups.text(*r, "horizon"))?;
    let forest = Forest {
        x: Axis::new(format!("mean {clock} in persona, up to {horizon}")),
        categories: at.iter().map(|r| groups.text(*r, "group")).collect(),
        arms: vec![Arm::new(format!("up to {horizon}"), values.clone())],
        lines: vec![],
    };
    values.iter().any(Option::is_some).then(|| Panel::new("Restricted mean", Plot::Forest(forest)))
}

/// Hazard ratios of Cox's fullest model, on a logarithmic axis.
fn ratios(tests: &Table, clocks: &[String]) -> Option<Panel> {
    let adjusted = rows(tests, &[("test", "cox_adjusted")]).iter().any(|r| tests.num(*r, "estimate").is_some());
    let test = if adjusted { "cox_adjusted" } else { "cox" };
    let of = |clock: &str| rows(tests, &[("test", test), ("clock", clock)]);
    let names: Vec<String> = of(clocks.first()?).iter().take(12).map(|r| named(tests, *r)).collect();
    let arm = |clock: &String| {
        let value = |r: &usize| {
            let ln = |c: &str| tests.num(*r, c).map(f64::ln).filter(|v| v.is_finite());
            ln("estimate").map(|value| Estimate { value, interval: ln("ci_low").zip(ln("ci_high")) })
        };
        Arm::new(clock.as_str(), of(clock).iter().take(12).map(value).collect())
    };
    let arms: Vec<Arm> = clocks.iter().map(arm).collect();
    let ends = || {
        arms.iter().flat_map(|a| a.values.iter().flatten()).flat_map(|e| {
            let (lo, hi) = e.interval.unwrap_or((e.value, e.value));
            [lo, hi]
        })
    };
    let (lo, hi) = ends().fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    let ticks = |base: f64| -> Vec<(f64, String)> {
        let within = |k: &i32| (lo - 0.1..=hi + 0.1).contains(&(f64::from(*k) * base.ln()));
        (-40..=40).filter(within).map(|k| (f64::from(k) * base.ln(), number(base.powi(k)))).collect()
    };
    let ticks = [2.0, 4.0, 10.0, 1000.0].into_iter().map(ticks).find(|t| t.len() <= 7).unwrap_or_default();
    let x = Axis { ticks: Some(ticks), ..Axis::new("hazard ratio (logarithmic)") };
    let some = arms.iter().any(|a| a.values.iter().any(Option::is_some));
    let forest = Forest { x, categories: names, arms, lines: vec![Reference::vertical(0.0, "")] };
    some.then(|| Panel::new("Hazard of a break (Cox)", Plot::Forest(forest)))
}

fn named(tests: &Table, r: usize) -> String {
    format!(
        "{} ({})",
        tests.text(r, "group"),
        match tests.text(r, "against").as_str() {
            "per unit" => "per unit".into(),
            group => format!("against {group}"),
        }
    )
}

fn caption(tables: &[Table]) -> Result<String> {
    let (groups, tests) = (find(tables, "groups")?, find(tables, "tests")?);
    let n: f64 = rows(groups, &[("clock", "turns")]).iter().map(|r| num(groups, *r, "n")).sum();
    let events: f64 = rows(groups, &[("clock", "turns")]).iter().map(|r| num(groups, *r, "events")).sum();
    let all = row(tests, &[("test", "log_rank"), ("group", "all")]);
    let compared = match all.map(|r| (tests.num(r, "statistic"), tests.num(r, "p_value"), tests.text(r, "reason"))) {
        Some((Some(x), Some(p), _)) => format!(" Log-rank test in turns: chi-square {}, p {}.", said_of(x), number(p)),
        Some((_, _, reason)) => format!(" Log-rank test in turns: {reason}."),
        None => String::new(),
    };
    let total = distinct(groups, "group").len();
    let hidden =
        if total > MOST { format!(" Of {total} groups the {MOST} with most runs are drawn.") } else { String::new() };
    Ok(format!(
        "Personas kept over conversations: {n} runs, {events} of them until a break. Curves are Kaplan and Meier's, bands their 95 % \
         intervals (exponential Greenwood), ticks runs that ended in persona; below, how many are still at risk.{compared}{hidden} \
         Restricted means with Greenwood's standard errors; hazard ratios of Cox's model with 95 % intervals, ties as Efron weighs them."
    ))
}

fn said_of(value: f64) -> String {
    said(Some(Estimate { value, interval: None }))
}
