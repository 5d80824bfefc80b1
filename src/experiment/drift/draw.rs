//! The figure: projections of planted turns, how well they tell the states apart, and the free conversations.

use crate::error::Result;
use crate::experiment::cells::{distinct, estimate, null, num, round, row, rows, said, short};
use crate::experiment::spec::Drift as Settings;
use crate::figures::Width;
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Names, Page, Panel, Plot, Reference, Role, Series, Style};
use crate::table::Table;

const REPLY: &str = "mean_response";
const BEFORE: &str = "last_prompt";
const TURN: &str = "turn (the first is 0)";

/// Draws the tables of the probe, in their order.
pub(super) fn page(name: &str, s: &Settings, tables: &[Table]) -> Result<Page> {
    let [scores, planted, free, projections] = tables else { unreachable!("the probe makes four tables") };
    let site = s.site.to_string();
    Ok(Page::new(name, "Drift out of a persona", caption(&site, tables), Width::Page)
        .row(
            2.3,
            vec![
                Panel::new("Planted turns, reply mean", Plot::Curves(by_state(planted, REPLY))),
                Panel::new("States apart: reply mean", Plot::Forest(forest(scores, REPLY))),
                Panel::new("States apart: token before", Plot::Forest(forest(scores, BEFORE))),
            ],
        )
        .row(
            2.5,
            vec![
                Panel::new("Free conversations: persona kept", Plot::Curves(kept(free))).share(1.2),
                Panel::new("Free conversations: projection", Plot::Curves(moved(projections, planted))),
            ],
        ))
}

fn curve(table: &Table, name: &str, at: &[usize], value: &str) -> Series {
    let x = |r: &usize| num(table, *r, "turn");
    let points = at.iter().map(|r| (x(r), num(table, *r, value))).collect();
    let band = at.iter().map(|r| (num(table, *r, "lo"), num(table, *r, "hi"))).collect();
    Series::new(name, points).band(band)
}

fn by_state(planted: &Table, pick: &str) -> Curves {
    let of = |state: &str| {
        curve(planted, state, &rows(planted, &[("pick", pick), ("state", state)]), "projection_activation")
    };
    let series = vec![of("in persona").style(Style::Marked), of("fallen back").style(Style::Marked)];
    let y = Axis::new("projection on the axis");
    Curves::new(Axis::new(TURN).whole(), y, series)
}

fn forest(scores: &Table, pick: &str) -> Forest {
    let probe = |probe: &str| rows(scores, &[("pick", pick), ("probe", probe)]);
    let score = |r: usize| estimate(scores, r, "auroc", "auroc_lo", "auroc_hi");
    let of = |name: &str| probe(name).into_iter().map(score).collect::<Vec<_>>();
    let activation = probe("activation");
    Forest {
        x: Axis::new("AUROC").range(0.35, 1.02),
        categories: activation.iter().map(|r| short(&scores.text(*r, "site"))).collect(),
        arms: vec![
            Arm::new("projection", of("activation")),
            Arm::new("token counts", of("wording")).role(Role::Baseline),
            Arm::new("turn number", of("turn_number")).role(Role::Baseline),
            Arm::new("shuffled", activation.iter().map(|r| null(scores, *r)).collect()).role(Role::Null),
        ],
        lines: vec![Reference::vertical(0.5, "chance")],
    }
}

fn kept(free: &Table) -> Curves {
    let mut series = Vec::new();
    let mut expected = Vec::new();
    for (color, hazard) in distinct(free, "hazard_per_turn").into_iter().enumerate() {
        let at = rows(free, &[("hazard_per_turn", &hazard)]);
        let planted = at.iter().map(|r| (num(free, *r, "turn"), num(free, *r, "expected_fraction"))).collect();
        series
            .push(curve(free, &format!("hazard {hazard}"), &at, "persona_fraction").style(Style::Points).color(color));
        expected.push(Series::new("planted process", planted).style(Style::Dotted).color(color));
    }
    series.extend(expected);
    Curves::new(Axis::new(TURN).whole(), Axis::new("judged in persona").range(0.0, 1.05), series)
}

/// Projections of free conversations, with the two planted levels to read them against.
fn moved(projections: &Table, planted: &Table) -> Curves {
    let one = |(color, hazard): (usize, String)| {
        let at = rows(projections, &[("arm", &hazard)]);
        curve(projections, &format!("hazard {hazard}"), &at, "projection_activation").style(Style::Marked).color(color)
    };
    let series = distinct(projections, "arm").into_iter().enumerate().map(one).collect();
    let level = |state: &str| Some(Reference::horizontal(level(planted, state)?, state));
    Curves::new(Axis::new(TURN).whole(), Axis::new("projection on the axis"), series)
        .lines(["in persona", "fallen back"].into_iter().filter_map(level).collect())
        .names_at(Names::Hidden)
}

/// The mean projection of the planted turns of a state, weighted by conversations.
fn level(planted: &Table, state: &str) -> Option<f64> {
    let at = rows(planted, &[("pick", REPLY), ("state", state)]);
    let n: f64 = at.iter().map(|r| num(planted, *r, "conversations")).sum();
    let sum: f64 =
        at.iter().map(|r| num(planted, *r, "conversations") * num(planted, *r, "projection_activation")).sum();
    (n > 0.0).then(|| sum / n)
}

fn caption(site: &str, tables: &[Table]) -> String {
    let (scores, free) = (&tables[0], &tables[2]);
    let score = |pick: &str, probe: &str| -> Option<Estimate> {
        let r = row(scores, &[("site", site), ("pick", pick), ("probe", probe)])?;
        estimate(scores, r, "auroc", "auroc_lo", "auroc_hi")
    };
    let first = row(scores, &[("site", site), ("pick", REPLY), ("probe", "activation")]);
    let text = |column: &str| first.map_or(String::new(), |r| scores.text(r, column));
    let null = |pick: &str| {
        let r = row(scores, &[("site", site), ("pick", pick), ("probe", "activation")]);
        r.map_or("none".into(), |r| round(num(scores, r, "null_mean")))
    };
    let chats: Vec<String> = distinct(free, "conversations");
    format!(
        "Falling out of a persona. An axis (mean of planted persona turns minus mean of fallen-back turns, turns after the \
         first) is fitted on {} conversations and tested on {} others. (a) Mean projection of held-out replies at {site} by \
         planted state. (b) AUROC of the states by site for the mean over the reply: {} at {site}, token counts of the \
         reply {}, shuffled conversations {}. (c) The same for the token before the reply, which can have seen earlier \
         replies: {} at {site}, token counts of everything before it {}, shuffled conversations {}. Shuffled: each \
         conversation takes the states of another at the same turns, from the mean to the 95 % quantile. (d) The model \
         talking freely: share of {} conversations per hazard judged to be in persona by their markers (Wilson intervals); \
         dotted: the planted process through the same judgement, exactly. (e) Mean projection of the same replies at \
         {site}, colours as in d; dotted: the levels of the planted states. Bands and bars are 95 % intervals over \
         conversations.",
        text("train_conversations"),
        text("test_conversations"),
        said(score(REPLY, "activation")),
        said(score(REPLY, "wording")),
        null(REPLY),
        said(score(BEFORE, "activation")),
        said(score(BEFORE, "wording")),
        null(BEFORE),
        chats.join(" to "),
    )
}
