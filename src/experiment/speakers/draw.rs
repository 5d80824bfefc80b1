//! The figure: the voices as a map in both models, how well they are told apart, and how fast they change.

use super::Settings;
use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, num, row, rows, said, short, site_axis};
use crate::figures::{
    Arm, Axis, Curves, Dot, Estimate, Forest, Page, Panel, Plot, Reference, Role, Scatter, Series, Style, Width,
};
use crate::table::Table;

/// Speakers that are drawn in the maps, in the order of the world: the palette has no more colours.
const DRAWN: usize = 6;

pub(super) fn page(name: &str, s: &Settings, tables: &[Table]) -> Result<Page> {
    let [classification, shares, voices, _, switches, map] = tables else { unreachable!("the probe makes six tables") };
    let models = distinct(classification, "model");
    let site = s.site.to_string();
    let names = distinct(voices, "speaker");
    let mut maps = Vec::new();
    for model in &models {
        maps.push(Panel::new(model.clone(), Plot::Map(replies(map, model, &names))));
    }
    let told = |model: &str, pick: &str| {
        let r = row(classification, &[("model", model), ("site", &site), ("pick", pick)]);
        said(r.and_then(|r| estimate(classification, r, "accuracy", "lo", "hi")))
    };
    let caption = format!(
        "Named speakers in one transcript. (a, b) Replies of the first {DRAWN} speakers in the plane of the first two components at \
         {site}: under a header each in {}, all under one header in {}, where the speaker is only who was due. (c) Share of \
         replies whose speaker is told from their mean by a decoder of other conversations: {} and {} at {site}; grey: \
         speakers shuffled within conversations, to the 95 % quantile. (d) Share of the variance of reply means between \
         speakers. (e) Place of every token on the way from the mean reply of the speaker before (0) to that of the one who \
         speaks (1), where the speaker changed; {MINUS}1 is the token before the reply; dashed: {}. (f) How often each \
         speaker of {} shows its own traits and others'. Bands and bars are 95 % intervals.",
        models[0],
        models[1],
        told(&models[0], "reply"),
        told(&models[1], "reply"),
        models[1],
        models[0],
    );
    Ok(Page::new(name, "Named speakers", caption, Width::Page)
        .row(2.5, maps)
        .row(
            2.3,
            vec![
                Panel::new("Speaker told from a reply", Plot::Curves(accuracy(classification, &models))),
                Panel::new("Between speakers", Plot::Curves(between(shares, &models))),
                Panel::new("After another speaker", Plot::Curves(switching(switches, &models))),
            ],
        )
        .row(2.6, vec![Panel::new("Traits shown", Plot::Forest(traits(voices, &models[0])))]))
}

const MINUS: char = '\u{2212}';

fn replies(map: &Table, model: &str, names: &[String]) -> Scatter {
    let dot = |r: usize| {
        let speaker = num(map, r, "speaker") as usize;
        let group = names.get(speaker).filter(|_| speaker < DRAWN)?.clone();
        let at = Dot::new("", num(map, r, "pc1"), num(map, r, "pc2"));
        Some(Dot { group: Some(group), named: false, ..at })
    };
    let dots = rows(map, &[("model", model)]).into_iter().filter_map(dot).collect();
    Scatter { x: Axis::new("PC1"), y: Axis::new("PC2"), dots, equal: true, ..Scatter::default() }
}

fn accuracy(table: &Table, models: &[String]) -> Curves {
    let sites = distinct(table, "site");
    let at = |model: &str, site: &str| row(table, &[("model", model), ("site", site), ("pick", "reply")]);
    let mut series = Vec::new();
    for (color, model) in models.iter().enumerate() {
        let values: Vec<Option<Estimate>> =
            sites.iter().map(|s| estimate(table, at(model, s)?, "accuracy", "lo", "hi")).collect();
        series.push(curve(model, &values).style(Style::Marked).color(color));
    }
    let null = |s: &String| {
        let r = at(&models[0], s)?;
        let value = table.num(r, "null_mean")?;
        Some(Estimate { value, interval: table.num(r, "null_95").map(|hi| (value, hi)) })
    };
    series.push(curve("shuffled", &sites.iter().map(null).collect::<Vec<_>>()).style(Style::Null));
    Curves::new(site_axis(&sites), Axis::new("share told").range(0.0, 1.02), series)
}

fn between(shares: &Table, models: &[String]) -> Curves {
    let sites = distinct(shares, "site");
    let one = |(color, model): (usize, &String)| {
        let at = |s: &String| {
            let r = row(shares, &[("model", model), ("site", s)])?;
            estimate(shares, r, "between_share", "lo", "hi")
        };
        curve(model, &sites.iter().map(at).collect::<Vec<_>>()).style(Style::Marked).color(color)
    };
    let series = models.iter().enumerate().map(one).collect();
    let axis = Axis::new("resid_ site").names(sites.iter().map(|s| short(s)));
    Curves::new(axis, Axis::new("share of variance"), series).lines(vec![Reference::horizontal(0.0, "")])
}

fn switching(switches: &Table, models: &[String]) -> Curves {
    let one = |(color, model): (usize, &String)| {
        let at = rows(switches, &[("model", model), ("after", "another speaker")]);
        let points = at.iter().map(|r| (num(switches, *r, "token"), num(switches, *r, "place"))).collect();
        let band = at.iter().map(|r| (num(switches, *r, "lo"), num(switches, *r, "hi"))).collect();
        let style = if color == 0 { Style::Solid } else { Style::Dashed };
        Series::new(model.clone(), points).band(band).style(style).color(color)
    };
    let series = models.iter().enumerate().map(one).collect();
    let lines = vec![Reference::horizontal(0.0, "speaker before"), Reference::horizontal(1.0, "speaker now")];
    Curves::new(Axis::new("token of the reply").whole(), Axis::new("place"), series).lines(lines)
}

fn traits(voices: &Table, model: &str) -> Forest {
    let at = rows(voices, &[("model", model)]);
    let of = |value: &str, lo: &str, hi: &str| at.iter().map(|r| estimate(voices, *r, value, lo, hi)).collect();
    Forest {
        x: Axis::new("share of replies").range(0.0, 1.0),
        categories: at.iter().map(|r| voices.text(*r, "speaker")).collect(),
        arms: vec![
            Arm::new("own traits", of("own_rate", "own_lo", "own_hi")),
            Arm::new("traits of others", of("stray_rate", "stray_lo", "stray_hi")).role(Role::Baseline),
        ],
        lines: vec![],
    }
}
