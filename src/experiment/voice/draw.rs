//! The figure: what is said, found likely and projected, by turn; how long the voice holds.

use super::{Arm, Cast, PLANTED, Settings};
use crate::experiment::cells::{distinct, estimate, num, round, row, rows, said, two_sided};
use crate::figures::{
    Arm as Dots, Axis, Curves, Estimate, Forest, Names, Page, Panel, Plot, Reference, Role, Series, Style, Width,
};
use crate::table::Table;

const TURN: &str = "turn (the first is 0)";

/// The arm as the figure calls it.
pub(super) fn words(arm: &str) -> String {
    match arm {
        "fine_tune" => "fine-tune".into(),
        "fine_tune_card" => "fine-tune + card".into(),
        "control" => "control fine-tune".into(),
        other => other.into(),
    }
}

/// Draws the tables of the probe, in their order.
pub(super) fn page(name: &str, s: &Settings, cast: &Cast, tables: &[Table]) -> Page {
    let turns = &tables[0];
    let panel = |title: &str, measure: &str, y: Axis| {
        Panel::new(title, Plot::Curves(curves(turns, measure, y).names_at(Names::Hidden)))
    };
    let named = Curves { names: Names::Legend, ..curves(turns, "markers", Axis::new("own traits less others")) };
    Page::new(name, "A character's voice over a conversation", caption(s, cast, tables), Width::Page)
        .row(
            2.5,
            vec![
                Panel::new("Traits that show", Plot::Curves(named)).share(1.5),
                Panel::new("Turns held", Plot::Forest(held(s, &tables[2]))),
            ],
        )
        .row(
            2.1,
            vec![
                panel("Classifier of words", "classifier", Axis::new("probability of the character").range(0.0, 1.02)),
                panel("Held-out lines", "line_gain", Axis::new("nats per token")).share(1.0),
                panel("Name before the reply", "named", Axis::new("share of replies").range(-0.02, 1.02)),
            ],
        )
        .row(
            2.1,
            vec![
                panel("Projection over the reply", "latent_reply", Axis::new("assistant 0, character 1")),
                panel("Projection before it", "latent_before", Axis::new("assistant 0, character 1")),
            ],
        )
}

fn curves(turns: &Table, measure: &str, y: Axis) -> Curves {
    let mut series = Vec::new();
    for arm in super::kept::arms() {
        let at = rows(turns, &[("measure", measure), ("arm", arm)]);
        if at.is_empty() {
            continue;
        }
        let points = at.iter().map(|r| (num(turns, *r, "turn"), num(turns, *r, "value"))).collect();
        // A one-sided bound would look like a wide interval.
        let two_sided = |r: &usize| turns.text(*r, "interval_note") != "one-sided bound";
        let end = |r: &usize, column: &str| if two_sided(r) { num(turns, *r, column) } else { f64::NAN };
        let band = at.iter().map(|r| (end(r, "lo"), end(r, "hi"))).collect();
        let one = Series::new(words(arm), points).band(band);
        series.push(match arm {
            PLANTED => one.style(Style::Dotted).color(4),
            "control" => one.style(Style::Null),
            "base" => one.style(Style::Dashed).color(3),
            "card" => one.style(Style::Marked).color(0),
            "fine_tune" => one.style(Style::Marked).color(1),
            _ => one.style(Style::Marked).color(2),
        });
    }
    Curves::new(Axis::new(TURN).whole(), y, series)
}

fn held(s: &Settings, table: &Table) -> Forest {
    let arms = distinct(table, "arm");
    let value = |arm: &str| row(table, &[("arm", arm)]).and_then(|r| two_sided(table, r, "turns_held", "lo", "hi"));
    let only = |role: fn(&str) -> bool| arms.iter().map(|a| value(a).filter(|_| role(a))).collect::<Vec<_>>();
    let is_null = |a: &str| ["base", "control"].contains(&a);
    Forest {
        x: Axis::new("turns").range(0.0, s.turns as f64 + 0.2),
        categories: arms.iter().map(|a| words(a)).collect(),
        arms: vec![
            Dots::new("held", only(|a| !["base", "control"].contains(&a))),
            Dots::new("floor", arms.iter().map(|a| value(a).filter(|_| is_null(a))).collect()).role(Role::Null),
        ],
        lines: vec![Reference::vertical(s.turns as f64, "all")],
    }
}

/// Mean of a measure over all turns of an arm, with its gain over the base.
pub(super) fn gain(tables: &[Table], measure: &str, arm: &str) -> Option<Estimate> {
    let over = &tables[1];
    row(over, &[("measure", measure), ("arm", arm)]).and_then(|r| estimate(over, r, "gain", "gain_lo", "gain_hi"))
}

fn caption(s: &Settings, cast: &Cast, tables: &[Table]) -> String {
    let over = &tables[1];
    let null = |measure: &str, arm: &str| {
        row(over, &[("measure", measure), ("arm", arm)]).map_or("none".into(), |r| round(num(over, r, "null_95")))
    };
    let names: Vec<&str> = cast.characters.iter().map(|c| c.name.as_str()).collect();
    let arms = [Arm::Card, Arm::Tune, Arm::Both].map(Arm::name);
    let gains: Vec<String> = arms
        .iter()
        .map(|a| format!("{} {} (null {})", words(a), said(gain(tables, "markers", a)), null("markers", a)))
        .collect();
    format!(
        "A character's voice over a conversation of {} turns on topics that no fine-tune met; {} conversations for each of {} \
         ({}), the same questions for every arm, {} fine-tunes each. Card: the name and all traits in the system turn. \
         Fine-tune: on chats in which each reply begins with the name. Control: a fine-tune on the assistant's own chats. \
         Planted (dotted): the character as the world writes it. (a) Share of the character's traits that show less that of \
         the others; over the base, all turns: {} (null: 95 % quantile under random signs of the conversations). (b) Turns in \
         a row judged the character's by their markers. (c) Probability that the reply's words are the character's. (d) How \
         much more the assistant's line costs than the character's, fresh lines to the same question after the model's own \
         replies. (e) Replies that begin with the character's name; it is taken off for all else. (f) Projection of the \
         reply's mean at {} on the character's direction, and (g) of the token before the reply, scaled to the planted means \
         of turns after the first. Bands and bars: 95 % over conversations, characters fixed.",
        s.turns,
        s.conversations,
        cast.characters.len(),
        names.join(", "),
        s.seeds.len(),
        gains.join(", "),
        s.site,
    )
}
