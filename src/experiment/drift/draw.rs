//! The figure: projections of planted turns, how well they tell the states apart, and the free conversations.

use crate::analysis::trajectory::ALL;
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
    let [scores, planted, rest @ ..] = tables else { unreachable!("the probe makes these tables first") };
    let site = s.site.to_string();
    let page = Page::new(name, "Drift out of a persona", caption(&site, tables), Width::Page).row(
        2.3,
        vec![
            Panel::new("Planted turns, reply mean", Plot::Curves(by_state(planted, REPLY))),
            Panel::new("States apart: reply mean", Plot::Forest(forest(scores, REPLY))),
            Panel::new("States apart: token before", Plot::Forest(forest(scores, BEFORE))),
        ],
    );
    let named = |name: &str| rest.iter().find(|t| t.name == name);
    let (Some(free), Some(projections), Some(hazards), Some(tokens)) =
        (named("free_turns"), named("turns"), named("hazards"), named("token_projections"))
    else {
        return Ok(page);
    };
    let (personas, domains): (Vec<String>, Vec<String>) = distinct(projections, "domain")
        .into_iter()
        .filter(|d| d != ALL)
        .partition(|arm| !rows(hazards, &[("hazard_per_turn", arm)]).is_empty());
    Ok(page
        .row(
            2.5,
            vec![
                Panel::new("Personas: still there", Plot::Curves(kept(free))).share(1.2),
                Panel::new("Hazard per turn, two looks", Plot::Forest(looks(hazards))),
            ],
        )
        .row(
            2.5,
            vec![
                Panel::new("Personas: projection", Plot::Curves(moved(projections, &personas, planted))),
                Panel::new("Default, by domain", Plot::Curves(moved(projections, &domains, planted))),
                Panel::new("Token by token", Plot::Curves(by_token(tokens, &domains))),
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
        let at = rows(free, &[("hazard_per_turn", &hazard), ("look", "text")]);
        let planted = at.iter().map(|r| (num(free, *r, "turn"), num(free, *r, "expected_fraction"))).collect();
        series
            .push(curve(free, &format!("hazard {hazard}"), &at, "persona_fraction").style(Style::Points).color(color));
        expected.push(Series::new("planted process", planted).style(Style::Dotted).color(color));
    }
    series.extend(expected);
    Curves::new(Axis::new(TURN).whole(), Axis::new("judged in persona").range(0.0, 1.05), series)
}

/// The hazards that the two looks at the same conversations give, beside the planted ones.
fn looks(hazards: &Table) -> Forest {
    let arms = distinct(hazards, "hazard_per_turn");
    let of = |look: &str| {
        let one = |arm: &String| {
            let r = row(hazards, &[("hazard_per_turn", arm), ("look", look)])?;
            estimate(hazards, r, "hazard", "lo", "hi")
        };
        arms.iter().map(one).collect()
    };
    let planted = |arm: &String| {
        let r = row(hazards, &[("hazard_per_turn", arm)])?;
        hazards.num(r, "realised").map(|value| Estimate { value, interval: None })
    };
    Forest {
        x: Axis::new("hazard of falling back").range(0.0, 0.5),
        categories: arms.iter().map(|a| format!("planted {a}")).collect(),
        arms: vec![
            Arm::new("from the text", of("text")),
            Arm::new("from activations", of("activation")),
            Arm::new("in the training corpus", arms.iter().map(planted).collect()).role(Role::Null),
        ],
        lines: vec![],
    }
}

/// Projections of free conversations, with the two planted levels to read them against.
fn moved(projections: &Table, arms: &[String], planted: &Table) -> Curves {
    let one = |(color, arm): (usize, &String)| {
        let at = rows(projections, &[("domain", arm)]);
        let name = if arm.parse::<f64>().is_ok() { format!("hazard {arm}") } else { arm.clone() };
        let x = |r: &usize| num(projections, *r, "turn");
        let points = at.iter().map(|r| (x(r), num(projections, *r, "projection"))).collect();
        let band = at.iter().map(|r| (num(projections, *r, "ci_low"), num(projections, *r, "ci_high"))).collect();
        Series::new(name, points).band(band).style(Style::Marked).color(color)
    };
    let series = arms.iter().enumerate().map(one).collect();
    let level = |state: &str| Some(Reference::horizontal(level(planted, state)?, state));
    Curves::new(Axis::new(TURN).whole(), Axis::new("projection on the axis"), series)
        .lines(["in persona", "fallen back"].into_iter().filter_map(level).collect())
}

/// The default's replies token by token: the first turn thin, the last one drawn out.
fn by_token(tokens: &Table, domains: &[String]) -> Curves {
    let mut series = Vec::new();
    for (color, arm) in domains.iter().enumerate() {
        for (of, style) in [("first turn", Style::Dashed), ("last turn", Style::Solid)] {
            let at = rows(tokens, &[("arm", arm), ("of", of)]);
            let name = if style == Style::Solid { arm.clone() } else { String::new() };
            series.push(
                Series { band: None, ..curve(tokens, &name, &at, "projection_activation") }.style(style).color(color),
            );
        }
    }
    Curves::new(Axis::new("token of the reply").whole(), Axis::new("projection on the axis"), series)
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
    let scores = &tables[0];
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
    let planted = format!(
        "Falling out of a persona. An axis (mean of planted persona turns minus mean of fallen-back turns, turns after the \
         first) is fitted on {} conversations and tested on {} others. (a) Mean projection of held-out replies at {site} by \
         planted state. (b) AUROC of the states by site for the mean over the reply: {} at {site}, token counts of the \
         reply {}, shuffled conversations {}. (c) The same for the token before the reply, which can have seen earlier \
         replies: {} at {site}, token counts of everything before it {}, shuffled conversations {}. Shuffled: each \
         conversation takes the states of another at the same turns, from the mean to the 95 % quantile.",
        text("train_conversations"),
        text("test_conversations"),
        said(score(REPLY, "activation")),
        said(score(REPLY, "wording")),
        null(REPLY),
        said(score(BEFORE, "activation")),
        said(score(BEFORE, "wording")),
        null(BEFORE),
    );
    let Some(free) = tables.iter().find(|t| t.name == "free_turns") else { return planted };
    let chats: Vec<String> = distinct(free, "conversations");
    format!(
        "{planted} (d) The model talking freely: share of {} conversations per hazard judged to be in persona by their \
         markers (Wilson intervals); dotted: the planted process through the same judgement, exactly. (e) The hazard of \
         those conversations, estimated through the known errors of each look: markers of the text, and activations told \
         apart by a decoder of other, planted conversations; grey: how often people fell in the training corpus. (f) Mean \
         projection of the same replies at {site}; dotted: the levels of the planted states. (g) The default assistant by \
         what the user talks about. (h) Its replies token by token: the last turn, and dashed the first. Bands and bars are \
         95 % intervals over conversations.",
        chats.join(" to "),
    )
}
