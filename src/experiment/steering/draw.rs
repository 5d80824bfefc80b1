//! The figure: response to dose, what it costs, and the dose that each trait needs.

use super::rate;
use crate::error::Result;
use crate::experiment::cells::{estimate, num, round, row, rows, said, two_sided};
use crate::experiment::spec::Steering as Settings;
use crate::figures::{Arm, Axis, Curves, Forest, Names, Page, Panel, Plot, Reference, Series, Style, Width};
use crate::table::Table;
use crate::world::World;

const DOSE: &str = "dose (mean differences)";

/// Draws the tables of the probe.
pub(super) fn page(name: &str, s: &Settings, site: &str, tables: &[Table]) -> Result<Page> {
    let (doses, thresholds) = (&tables[0], &tables[1]);
    Ok(Page::new(name, "Steering the default assistant", caption(s, site, doses), Width::Page).row(
        3.1,
        vec![
            Panel::new("Response to dose", Plot::Curves(response(doses))).share(1.5),
            Panel::new("What it costs", Plot::Curves(cost(doses))).share(1.05),
            Panel::new(format!("Dose for a rate of {}", s.level), Plot::Forest(needed(s, thresholds))).share(0.9),
        ],
    ))
}

fn curve(doses: &Table, label: &str, of: (&str, &str, &str)) -> Series {
    let at = rows(doses, &[("trait", of.0), ("arm", of.1), ("measure", of.2)]);
    let points = at.iter().map(|r| (num(doses, *r, "dose_mean_difference"), num(doses, *r, "rate"))).collect();
    let series = Series::new(label, points);
    if of.0 != "(all)" {
        return series.style(Style::Thin);
    }
    // A one-sided bound drawn as a band would look like a wide interval.
    let nan = (f64::NAN, f64::NAN);
    let two_sided = |r: &usize| two_sided(doses, *r, "rate", "rate_lo", "rate_hi").and_then(|e| e.interval);
    series.band(at.iter().map(|r| two_sided(r).unwrap_or(nan)).collect())
}

fn response(doses: &Table) -> Curves {
    let traits = crate::experiment::cells::distinct(doses, "trait");
    let traits = traits.iter().filter(|t| *t != "(all)");
    let mut series: Vec<Series> = traits.map(|t| curve(doses, t, (t, "trait", "target"))).collect();
    series.push(curve(doses, "mean", ("(all)", "trait", "target")).style(Style::Mean));
    series.push(curve(doses, "random direction", ("(all)", "random", "target")).style(Style::Null));
    let planted = World::toyworld().p_on();
    Curves::new(Axis::new(DOSE), Axis::new("marker rate of the trait").range(0.0, 1.05), series)
        .lines(vec![Reference::horizontal(planted, "")])
        .names_at(Names::Direct)
}

fn cost(doses: &Table) -> Curves {
    let of = |label: &str, arm: &str, measure: &str| curve(doses, label, ("(all)", arm, measure));
    let series = vec![
        of("body intact", "trait", "intact").color(0),
        of("body, random", "random", "intact").color(0).style(Style::Dotted),
        of("helpful", "trait", "helpful").color(1),
        of("helpful, random", "random", "helpful").color(1).style(Style::Dotted),
    ];
    Curves::new(Axis::new(DOSE), Axis::new("share of replies").range(0.0, 1.05), series)
}

fn needed(s: &Settings, thresholds: &Table) -> Forest {
    let mut names: Vec<&str> = s.traits.iter().map(String::as_str).collect();
    names.push("(all)");
    let value = |t: &&str| {
        let r = row(thresholds, &[("trait", t), ("arm", "trait")])?;
        estimate(thresholds, r, "dose_mean_difference", "dose_lo", "dose_hi")
    };
    let top = s.doses.last().copied().unwrap_or(1.0);
    Forest {
        x: Axis::new(DOSE).range(0.0, top),
        arms: vec![Arm::new("trait direction", names.iter().map(value).collect())],
        categories: names.iter().map(|n| if *n == "(all)" { "all traits".into() } else { n.to_string() }).collect(),
        ..Forest::default()
    }
}

fn caption(s: &Settings, site: &str, doses: &Table) -> String {
    let top = s.doses.last().copied().unwrap_or_default();
    let at = |arm: &str, dose: f64, measure: &str| said(rate(doses, arm, dose, measure));
    let planted = World::toyworld().p_on();
    format!(
        "Steering the default assistant (no system prompt) with contrast vectors of the last prompt token, fitted and added at \
         {site}, at the last prompt token alone; doses in lengths of each trait's mean difference. Thin lines are traits \
         ({} replies per point on {} topics that no vector was fitted on), the black line is their mean (95 % bootstrap over \
         traits), grey a random direction of the same norm. (a) Share of replies with a marker of the trait: {} at dose 0, \
         {} at dose {top}; random direction {}. Dotted line: {planted}, the rate planted for personas with the trait. (b) Share of replies \
         whose body is a sentence on the topic ({} at dose {top}) and that show the assistant's own helpful marker ({} at \
         dose 0); dotted: with a random direction. Bands are left out where all resamples agree. (c) Dose at which the rate first reaches {}, with 95 % bootstrap intervals over prompts (traits for the last \
         row); no dot: not reached, no bar: more than 2.5 % of the resamples do not reach it.",
        s.replies,
        s.prompts,
        at("trait", 0.0, "target"),
        at("trait", top, "target"),
        at("random", top, "target"),
        at("trait", top, "intact"),
        at("trait", 0.0, "helpful"),
        round(s.level),
    )
}
