//! Drift as a figure: trajectories with bands, alarms by turn, rates, and input against state.

use crate::analysis::trajectory::{
    ALL, AlarmOptions, Band, RegressionOptions, Run, alarm_table, alarmed_table, alarms, band_table, by_turn,
    consistency, consistency_table, rate_table, rates, regression, regression_table, turn_table,
};
use crate::experiment::cells::{distinct, estimate, num, round, row, rows, said};
use crate::experiment::findings::Parts;
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Page, Panel, Plot, Reference, Role, Series, Style, Width};
use crate::table::Table;

/// Runs drawn behind the means.
const DRAWN: usize = 30;
/// Domains with a curve of their own.
const MOST_DOMAINS: usize = 8;

/// The tables of drift.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    pub turns: &'a Table,
    pub band: &'a Table,
    pub rate: &'a Table,
    pub alarmed: &'a Table,
    pub consistency: &'a Table,
    pub regression: &'a Table,
}

impl<'a> Tables<'a> {
    /// Names of the tables, for the record of a figure.
    pub const NAMES: [&'static str; 6] = ["turns", "band", "rate", "alarmed", "consistency", "regression"];

    /// Finds them; `None` where one is missing.
    pub fn among(tables: &'a [Table]) -> Option<Tables<'a>> {
        let of = |name: &str| tables.iter().find(|t| t.name == name);
        Some(Tables {
            turns: of("turns")?,
            band: of("band")?,
            rate: of("rate")?,
            alarmed: of("alarmed")?,
            consistency: of("consistency")?,
            regression: of("regression")?,
        })
    }
}

/// The whole analysis of runs against what is normal: tables, the page of a name, what it says.
pub fn parts(
    name: &str,
    runs: &[Run],
    band: &Band,
    (alarming, judging): (AlarmOptions, RegressionOptions),
    unit: &str,
) -> Parts {
    let raised = alarms(runs, band, alarming);
    let tables = vec![
        turn_table(&by_turn(runs, band), band),
        band_table(band),
        rate_table(&rates(runs, band, judging.permutations.max(199), judging.seed)),
        alarm_table(&raised),
        alarmed_table(&raised),
        consistency_table(&consistency(runs, judging.permutations, judging.seed)),
        regression_table(&regression(runs, judging)),
    ];
    let mut found = Parts::default();
    if let Some(t) = Tables::among(&tables) {
        found.summary = summary(t);
        found.pages.push((page(name, t, &examples(runs), unit), Tables::NAMES.to_vec()));
    }
    found.tables = tables;
    found
}

/// Trajectories of some runs, evenly taken in the order of their names: (turn, projection).
pub fn examples(runs: &[Run]) -> Vec<Vec<(f64, f64)>> {
    let step = runs.len().div_ceil(DRAWN).max(1);
    let points = |r: &Run| r.steps.iter().map(|s| (s.turn as f64, s.projection)).collect();
    runs.iter().step_by(step).map(points).collect()
}

/// Draws drift; `unit` says what the projection is.
pub fn page(name: &str, t: Tables<'_>, examples: &[Vec<(f64, f64)>], unit: &str) -> Page {
    let mut page = Page::new(name, "Drift over turns", caption(t, examples.len()), Width::Page).row(
        2.5,
        vec![
            Panel::new("Trajectories", Plot::Curves(trajectories(t, examples, unit))).share(1.25),
            Panel::new("Runs with an alarm", Plot::Curves(alarmed(t))),
        ],
    );
    let mut panels = vec![Panel::new("Drift rate", Plot::Forest(rate_dots(t, unit)))];
    if let Some(forest) = regressions(t) {
        panels.push(Panel::new("Input against state", Plot::Forest(forest)).share(1.25));
    }
    if let Some(curves) = steps(t) {
        panels.push(Panel::new("Direction of steps", Plot::Curves(curves)));
    }
    page = page.row(2.1, panels);
    page
}

fn drawn_domains(t: &Table) -> Vec<String> {
    let all: Vec<String> = distinct(t, "domain").into_iter().filter(|d| d != ALL).collect();
    if all.len() > MOST_DOMAINS { vec![] } else { all }
}

fn trajectories(t: Tables<'_>, examples: &[Vec<(f64, f64)>], unit: &str) -> Curves {
    let thin = |points: &Vec<(f64, f64)>| Series::new("", points.clone()).style(Style::Thin);
    let mut series: Vec<Series> = examples.iter().map(thin).collect();
    let with = |domain: &str| {
        let at = rows(t.turns, &[("domain", domain)]);
        let points: Vec<(f64, f64)> =
            at.iter().map(|r| (num(t.turns, *r, "turn"), num(t.turns, *r, "projection"))).collect();
        let band = at.iter().map(|r| (num(t.turns, *r, "ci_low"), num(t.turns, *r, "ci_high"))).collect();
        (points, band)
    };
    let domains = drawn_domains(t.turns);
    for domain in &domains {
        let (points, band) = with(domain);
        series.push(Series::new(domain.as_str(), points).band(band));
    }
    let (points, band) = with(ALL);
    series.push(
        Series::new(if domains.is_empty() { "mean of runs" } else { "all" }, points).band(band).style(Style::Mean),
    );
    let edge = |column: &str, label: &str| Reference::horizontal(num(t.band, 0, column), label);
    Curves::new(Axis::new("turn").whole(), Axis::new(unit), series).lines(vec![
        edge("band_low", "95 % of the default"),
        edge("mean", ""),
        edge("band_high", ""),
    ])
}

fn alarmed(t: Tables<'_>) -> Curves {
    let mut series = Vec::new();
    let domains = drawn_domains(t.alarmed);
    for domain in domains.iter().map(String::as_str).chain([ALL]) {
        let at = rows(t.alarmed, &[("domain", domain)]);
        let of = |column: &str| at.iter().map(|r| num(t.alarmed, *r, column)).collect::<Vec<_>>();
        let points = of("turn").into_iter().zip(of("share")).collect();
        let band = of("ci_low").into_iter().zip(of("ci_high")).collect();
        let one = Series::new(domain, points).band(band);
        series.push(if domain == ALL { one.style(Style::Mean) } else { one });
    }
    let stated = if t.alarmed.rows.is_empty() { f64::NAN } else { num(t.alarmed, 0, "false_alarms") };
    Curves::new(Axis::new("turn").whole(), Axis::new("share of runs").range(0.0, 1.02), series)
        .lines(vec![Reference::horizontal(stated, "if nothing drifts")])
}

fn rate_dots(t: Tables<'_>, unit: &str) -> Forest {
    let mut categories = Vec::new();
    let (mut slope, mut step) = (Vec::new(), Vec::new());
    for domain in distinct(t.rate, "domain").into_iter().take(MOST_DOMAINS + 1) {
        let of = |quantity: &str| {
            let r = row(t.rate, &[("domain", &domain), ("quantity", quantity)])?;
            estimate(t.rate, r, "per_turn", "ci_low", "ci_high")
        };
        slope.push(of("slope"));
        step.push(of("step"));
        categories.push(domain);
    }
    Forest {
        x: Axis::new(format!("{unit} per turn")),
        categories,
        arms: vec![Arm::new("slope of a run", slope), Arm::new("step into a turn", step).role(Role::Baseline)],
        lines: vec![Reference::vertical(0.0, "")],
    }
}

/// `None` where no regression has a value.
fn regressions(t: Tables<'_>) -> Option<Forest> {
    let words = [
        ("next~input", "next turn by input"),
        ("next~state", "next turn by state"),
        ("next~input+state", "next turn by both"),
        ("change~input", "change by input"),
        ("state|input", "state beside input"),
        ("input|state", "input beside state"),
    ];
    let found: Vec<(usize, &str)> = words
        .iter()
        .filter_map(|(model, word)| Some((row(t.regression, &[("model", model)])?, *word)))
        .filter(|(r, _)| t.regression.num(*r, "r2").is_some())
        .collect();
    let value = |r: usize| estimate(t.regression, r, "r2", "ci_low", "ci_high");
    let null = |r: usize| {
        let value = t.regression.num(r, "null_mean")?;
        Some(Estimate { value, interval: t.regression.num(r, "null_95").map(|hi| (value, hi)) })
    };
    (!found.is_empty()).then(|| Forest {
        x: Axis::new("R\u{b2} on held-out runs"),
        categories: found.iter().map(|f| f.1.to_string()).collect(),
        arms: vec![
            Arm::new("fitted", found.iter().map(|f| value(f.0)).collect()),
            Arm::new("shuffled", found.iter().map(|f| null(f.0)).collect()).role(Role::Null),
        ],
        lines: vec![Reference::vertical(0.0, "")],
    })
}

/// `None` without states of several dimensions.
fn steps(t: Tables<'_>) -> Option<Curves> {
    let all = row(t.consistency, &[("turn", "all")])?;
    let at: Vec<usize> = (0..t.consistency.rows.len()).filter(|r| t.consistency.num(*r, "turn").is_some()).collect();
    let of = |column: &str| at.iter().map(|r| num(t.consistency, *r, column)).collect::<Vec<_>>();
    let points: Vec<(f64, f64)> = of("turn").into_iter().zip(of("m2")).collect();
    let band = of("ci_low").into_iter().zip(of("ci_high")).collect();
    let null = num(t.consistency, all, "null_mean");
    Some(
        Curves::new(
            Axis::new("turn").whole(),
            Axis::new("cosine with the last step").range(-1.02, 1.02),
            vec![Series::new("mean of runs", points).band(band).style(Style::Marked)],
        )
        .lines(vec![Reference::horizontal(0.0, "a walk"), Reference::horizontal(null, "shuffled turns")]),
    )
}

/// What drift says, in sentences.
pub fn summary(t: Tables<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for r in 0..t.rate.rows.len() {
        let (domain, quantity) = (t.rate.text(r, "domain"), t.rate.text(r, "quantity"));
        let Some(value) = estimate(t.rate, r, "per_turn", "ci_low", "ci_high") else { continue };
        let own = row(t.rate, &[("domain", &domain), ("quantity", "slope")]).is_some();
        if quantity == "slope" || !own {
            let runs = if domain == ALL { "all runs".into() } else { format!("`{domain}`") };
            found.push(format!(
                "The {quantity} of {runs} is {} per turn ({} deviations of the default{}).",
                said(Some(value)),
                round(num(t.rate, r, "in_default_sd")),
                t.rate.num(r, "p_value").map_or(String::new(), |p| format!(", p = {p:.3}")),
            ));
        }
    }
    if let Some(last) = rows(t.alarmed, &[("domain", ALL)]).last() {
        found.push(format!(
            "By turn {} {} of the runs have raised an alarm; of runs without drift it would be {}.",
            t.alarmed.text(*last, "turn"),
            said(estimate(t.alarmed, *last, "share", "ci_low", "ci_high")),
            round(num(t.alarmed, *last, "false_alarms")),
        ));
    }
    let model = |model: &str| {
        let r = row(t.regression, &[("model", model)])?;
        let value = estimate(t.regression, r, "r2", "ci_low", "ci_high")?;
        let null = t.regression.num(r, "null_95").map_or(String::new(), |v| format!(" (shuffled: below {})", round(v)));
        Some(format!("{}{null}", said(Some(value))))
    };
    if let Some(state) = model("next~state") {
        let input = model("next~input").map_or(String::new(), |v| format!("the input explains {v} of the next turn, "));
        let rest = model("state|input").map_or(String::new(), |v| format!(" and adds {v} to the input"));
        found.push(format!("On held-out runs {input}the state {state}{rest}."));
    }
    if let Some(r) = row(t.consistency, &[("turn", "all")]) {
        found.push(format!(
            "The cosine of a step with the last is {} (turns shuffled: {}).",
            said(estimate(t.consistency, r, "m2", "ci_low", "ci_high")),
            round(num(t.consistency, r, "null_mean")),
        ));
    }
    found
}

fn caption(t: Tables<'_>, drawn: usize) -> String {
    let runs = row(t.turns, &[("domain", ALL)]).map_or(0.0, |r| num(t.turns, r, "runs"));
    let normal = t.band.text(0, "source");
    let mut said = format!(
        "Drift over the turns of {runs} runs. (a) {drawn} runs (thin) and means with 95 % bands over runs; dotted: mean and 95 % \
         of the default ({normal}, n = {}). (b) Share of runs in which a two-sided CUSUM has passed its threshold by then (95 % \
         Wilson intervals); dotted: the share to which the threshold was calibrated. (c) Drift per turn, mean of runs with 95 % \
         t intervals.",
        t.band.text(0, "values"),
    );
    let mut letter = b'd';
    let mut add = |what: &str| {
        said.push_str(&format!(" ({}) {what}", letter as char));
        letter += 1;
    };
    if regressions(t).is_some() {
        add(
            "Share of the variance of the next turn that ridge regressions explain on runs that they have not seen (95 % \
             jackknife over runs), and what one adds to the other; grey: targets dealt anew among runs, from the mean to the \
             95 % quantile.",
        );
    }
    if steps(t).is_some() {
        add(
            "Cosine of each step with the one before it (95 % over runs); dotted: a random walk, and turns in shuffled order.",
        );
    }
    said
}
