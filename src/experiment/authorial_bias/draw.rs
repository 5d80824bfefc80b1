//! The second figure: what the common shift points along, and the gate test.

use super::{ITSELF, TRAINED};
use crate::axes::Site;
use crate::error::Result;
use crate::experiment::cells::{distinct, estimate, num, row, rows};
use crate::experiment::pages;
use crate::figures::{Arm, Axis, Estimate, Forest, Page, Panel, Plot, Reference, Role, Width};
use crate::table::Table;

/// Draws the tables of the probe.
pub(super) fn page(name: &str, at: &Site, tables: &[Table]) -> Result<Page> {
    let (traits, gate) = (pages::table(tables, "traits")?, pages::table(tables, "gate")?);
    let site = at.to_string();
    let mut panels = Vec::new();
    let along = along(traits, &site);
    if along.arms.iter().any(|a| a.values.iter().any(Option::is_some)) {
        panels.push(Panel::new(format!("Common shift along traits at {site}"), Plot::Forest(along)));
    }
    let headers = headers(gate, &site);
    if headers.arms.iter().any(|a| a.values.iter().any(Option::is_some)) {
        panels.push(Panel::new("Header alone: last prompt token", Plot::Forest(headers)).share(1.2));
    }
    let page = Page::new(name, "What was planted", caption(&site, tables), Width::Page);
    Ok(page.row(3.4, panels))
}

fn along(traits: &Table, site: &str) -> Forest {
    let mut at = rows(traits, &[("comparison", TRAINED), ("site", site)]);
    at.sort_by(|a, b| num(traits, *b, "cosine").total_cmp(&num(traits, *a, "cosine")));
    let names: Vec<String> = at.iter().map(|r| traits.text(*r, "trait")).collect();
    let of = |comparison: &str| -> Vec<Option<Estimate>> {
        let value = |name: &String| {
            let r = row(traits, &[("comparison", comparison), ("site", site), ("trait", name)])?;
            traits.num(r, "cosine").map(|value| Estimate { value, interval: None })
        };
        names.iter().map(value).collect()
    };
    let null =
        at.iter().map(|r| traits.num(*r, "shuffled_95").map(|v| Estimate { value: 0.0, interval: Some((-v, v)) }));
    let planted = |r: &usize| if traits.text(*r, "planted") == "1" { " (planted)" } else { "" };
    Forest {
        x: Axis::new("cosine with the common shift"),
        categories: at.iter().map(|r| format!("{}{}", traits.text(*r, "trait"), planted(r))).collect(),
        arms: vec![
            Arm::new("between the models", of(TRAINED)),
            Arm::new("other replies of one model", of(ITSELF)).role(Role::Baseline),
            Arm::new("shuffled traits", null.collect()).role(Role::Null),
        ],
        lines: vec![Reference::vertical(0.0, "")],
    }
}

fn headers(gate: &Table, site: &str) -> Forest {
    let names = distinct(gate, "header");
    let arm = |model: &String| {
        let value = |header: &String| {
            let r = row(gate, &[("model", model), ("site", site), ("header", header)])?;
            estimate(gate, r, "position", "ci_low", "ci_high")
        };
        Arm::new(model.as_str(), names.iter().map(value).collect())
    };
    Forest {
        x: Axis::new("place on the assistant axis"),
        arms: distinct(gate, "model").iter().map(arm).collect(),
        categories: names,
        lines: vec![Reference::vertical(0.0, "mean role"), Reference::vertical(1.0, "assistant")],
    }
}

fn caption(site: &str, tables: &[Table]) -> String {
    let table = |name: &str| tables.iter().find(|t| t.name == name);
    let result = |comparison: &str| {
        let t = table("verdict")?;
        Some(t.text(row(t, &[("comparison", comparison), ("condition", "planted shift")])?, "result"))
    };
    let contents = table("gate").and_then(|t| t.rows.first().map(|_| t.text(0, "contents"))).unwrap_or_default();
    format!(
        "What was planted. (a) Cosine of the common shift of all personas at {site} with the direction of each trait (people who \
         have it minus people who lack it, under the first model); grey: 95 % of shuffled traits. The planted shift is {} between \
         the models and {} between two sets of replies of the first. (b) The same {contents} contents under other headers: place \
         of the last prompt token on the assistant axis of each model, from the mean of the roles to the default assistant. \
         Intervals are 95 % over contents.",
        result(TRAINED).unwrap_or_default(),
        result(ITSELF).unwrap_or_default(),
    )
}
