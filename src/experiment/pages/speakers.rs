//! Speakers as a figure: named by activations, apart in variance, along their own directions by turn and by token, and by
//! their markers.

use crate::experiment::cells::{curve, distinct, estimate, num, row, rows, said, site_axis};
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Page, Panel, Plot, Reference, Role, Series, Style, Width};
use crate::table::Table;

/// Names of the tables, for the record of a figure.
pub const NAMES: [&str; 5] = ["apart", "naming", "trajectories", "switching", "voices"];

/// Draws the tables of the probe; coordinates are those at `site`.
pub fn page(name: &str, site: &str, tables: &[Table]) -> Page {
    let [apart, naming, turns, offsets, voices] = found(tables);
    let speakers = distinct(voices, "speaker").len();
    Page::new(name, "Speakers in one transcript", caption(site, tables), Width::Page)
        .row(
            2.3,
            vec![
                Panel::new("Who speaks, named", Plot::Curves(by_site(naming, "accuracy", "accuracy", true))),
                Panel::new("Variance between speakers", Plot::Curves(by_site(apart, "share_between", "share", false))),
            ],
        )
        .row(
            2.3,
            vec![
                Panel::new("Replies by turn", Plot::Curves(coordinates(turns, "turn", "reply"))),
                Panel::new(
                    "After the header",
                    Plot::Curves(coordinates(offsets, "offset", "token of the reply (\u{2212}1: header)")),
                )
                .share(1.2),
            ],
        )
        .row(1.2 + 0.17 * speakers as f64, vec![Panel::new("Traits in replies", Plot::Forest(rates(voices)))])
}

fn found(tables: &[Table]) -> [&Table; 5] {
    NAMES.map(|name| tables.iter().find(|t| t.name == name).expect("the probe makes this table"))
}

fn by_site(t: &Table, value: &str, label: &str, chance: bool) -> Curves {
    let sites = distinct(t, "site");
    let mut series = Vec::new();
    for (i, model) in distinct(t, "model").iter().enumerate() {
        let at = |s: &String| row(t, &[("site", s), ("model", model)]);
        let values: Vec<_> =
            sites.iter().map(|s| at(s).and_then(|r| estimate(t, r, value, "ci_low", "ci_high"))).collect();
        series.push(curve(model, &values).style(if i == 0 { Style::Marked } else { Style::Dashed }));
        if i == 0 {
            let null = |r: usize| {
                let value = t.num(r, "null_mean")?;
                Some(Estimate { value, interval: t.num(r, "null_95").map(|hi| (value, hi)) })
            };
            let nulls: Vec<_> = sites.iter().map(|s| at(s).and_then(null)).collect();
            series.push(curve("speakers shuffled", &nulls).style(Style::Null));
        }
    }
    let lines = if chance && !t.rows.is_empty() {
        vec![Reference::horizontal(num(t, 0, "chance"), "")]
    } else {
        vec![Reference::horizontal(0.0, "")]
    };
    let y = if chance { Axis::new(label).range(0.0, 1.03) } else { Axis::new(label) };
    Curves::new(site_axis(&sites), y, series).lines(lines)
}

fn coordinates(t: &Table, at: &str, x: &str) -> Curves {
    let mut series = Vec::new();
    for (m, model) in distinct(t, "model").iter().enumerate() {
        for (i, who) in distinct(t, "who").iter().enumerate() {
            let of = rows(t, &[("model", model), ("who", who)]);
            let points = of.iter().map(|r| (num(t, *r, at), num(t, *r, "coordinate"))).collect();
            let band = of.iter().map(|r| (num(t, *r, "ci_low"), num(t, *r, "ci_high"))).collect();
            let name = if m == 0 { who.clone() } else { format!("{who}, {model}") };
            let style = if m == 0 { Style::Solid } else { Style::Dotted };
            series.push(Series::new(name, points).band(band).style(style).color(i));
        }
    }
    let x = if at == "turn" { Axis::new("turn").whole() } else { Axis::new(x).whole() };
    Curves::new(x, Axis::new("along the speaker's direction"), series)
        .lines(vec![Reference::horizontal(0.0, "others"), Reference::horizontal(1.0, "the speaker")])
}

fn rates(t: &Table) -> Forest {
    let speakers = distinct(t, "speaker");
    let mut arms = Vec::new();
    for (m, model) in distinct(t, "model").iter().enumerate() {
        for (rate, lo, hi, word) in
            [("own_rate", "own_low", "own_high", "own traits"), ("other_rate", "other_low", "other_high", "others")]
        {
            let at = |s: &String| {
                let r = row(t, &[("model", model), ("speaker", s)])?;
                estimate(t, r, rate, lo, hi)
            };
            let name = if m == 0 { word.to_string() } else { format!("{word}, {model}") };
            let role = if m == 0 { Role::Finding } else { Role::Baseline };
            arms.push(Arm::new(name, speakers.iter().map(at).collect()).role(role));
        }
    }
    let lines = match t.rows.is_empty() {
        true => vec![],
        false => vec![
            Reference::vertical(num(t, 0, "planted_own"), "planted"),
            Reference::vertical(num(t, 0, "planted_other"), ""),
        ],
    };
    Forest { x: Axis::new("share of replies that show a trait").range(-0.02, 1.02), categories: speakers, arms, lines }
}

/// What was found, in sentences.
pub fn summary(site: &str, tables: &[Table]) -> Vec<String> {
    let [apart, naming, turns, offsets, _] = found(tables);
    let mut all = Vec::new();
    for model in distinct(naming, "model") {
        let of = |t: &Table, value: &str| {
            let r = row(t, &[("site", site), ("model", &model)])?;
            Some((estimate(t, r, value, "ci_low", "ci_high"), t.num(r, "null_95"), t.num(r, "p_value")))
        };
        let words = |found: Option<(Option<Estimate>, Option<f64>, Option<f64>)>| {
            let (value, null, p) = found.unwrap_or((None, None, None));
            format!(
                "{} (shuffled: below {}, p = {})",
                said(value),
                said(null.map(|value| Estimate { value, interval: None })),
                p.map_or("none".into(), |p| format!("{p:.3}"))
            )
        };
        all.push(format!(
            "{model}: at {site} the speaker of a reply is named right in {} of the cases, and speakers hold {} of the variance.",
            words(of(naming, "accuracy")),
            words(of(apart, "share_between")),
        ));
        let mean = |t: &Table, who: &str, at: &str, value: &str| {
            let r = row(t, &[("model", &model), ("who", who), (at, value)])?;
            estimate(t, r, "coordinate", "ci_low", "ci_high")
        };
        let last = rows(turns, &[("model", &model), ("who", "speaking")]).last().map(|r| turns.text(*r, "turn"));
        if let Some(last) = last {
            all.push(format!(
                "{model}: along a speaker's own direction a reply of the last turn is at {} if it is the speaker's and at {} if \
                 not; after a new header the last token of the header is at {}, the first of the reply at {}, and the speaker \
                 before at {}.",
                said(mean(turns, "speaking", "turn", &last)),
                said(mean(turns, "silent", "turn", &last)),
                said(mean(offsets, "new", "offset", "-1")),
                said(mean(offsets, "new", "offset", "0")),
                said(mean(offsets, "previous", "offset", "0")),
            ));
        }
    }
    all
}

fn caption(site: &str, tables: &[Table]) -> String {
    let [_, naming, ..] = found(tables);
    let models = distinct(naming, "model");
    let twin = models.get(1).map_or(String::new(), |twin| {
        format!(
            " {twin} learned the same replies under a single header; its curves are for the same schedule of speakers, of \
             which it is not told."
        )
    });
    format!(
        "Conversations in which the speaker of every reply is drawn anew and stands in its header ({}).{twin} (a) How often a \
         linear discriminant names the speaker of a reply in conversations that it has not seen (95 % jackknife over \
         conversations), from the mean over the reply at every site; resid_pre.0 is the wording alone; grey: speakers dealt anew \
         within conversations, from the mean to the 95 % quantile; dotted: one over the speakers. (b) Share of the variance of \
         replies between speakers. (c) Replies along the direction of a member of the cast at {site} (0: the mean of the \
         others, 1: its own; directions of other conversations), for the one who speaks and for those who are silent. (d) The \
         same token by token behind a header: of the new speaker and of the one before where they differ, and of a speaker \
         who goes on. (e) How often traits of a speaker, and traits that it lacks, show in its replies; dotted: planted.",
        models.first().map_or("", String::as_str),
    )
}
