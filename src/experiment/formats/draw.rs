//! The figure: two matrices of likelihood, knowing against showing, and what shows under which prompt.

use super::likely::{DELTA, PERPLEXITY};
use super::nested::ALL;
use super::{BASE, Cast, Settings, table};
use crate::experiment::cells::{estimate, num, row, rows};
use crate::experiment::pages::knowing::perplexity;
use crate::figures::{
    Arm, Axis, Curves, Dot, Estimate, Forest, Heat, Marker, Names, Page, Palette, Panel, Plot, Ramp, Reference, Role,
};
use crate::figures::{Scatter, Series, Shades, Style, Width};
use crate::table::Table;
use crate::world::World;

/// Draws the tables of the probe.
pub(super) fn page(name: &str, s: &Settings, cast: &Cast, tables: &[Table]) -> Page {
    let models = cast.models();
    Page::new(name, "One character in several formats", caption(s, cast, tables), Width::Page)
        .row(
            0.95 + 0.24 * models.len() as f64,
            vec![
                Panel::new("Perplexity", Plot::Heat(matrix(s, &models, tables, PERPLEXITY))),
                Panel::new("Change of NLL", Plot::Heat(matrix(s, &models[1..], tables, DELTA))),
            ],
        )
        .row(
            3.0,
            vec![
                Panel::new("Knowing and showing", Plot::Map(knowing(cast, tables))).share(1.0),
                Panel::new("What shows", Plot::Curves(showing(cast, tables))).share(1.25),
            ],
        )
        .row(0.9 + 0.36 * ASKED.len() as f64, vec![Panel::new("What is said", Plot::Forest(saying(cast, tables)))])
}

/// `first_person` as words.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The row of a value over all characters and seeds.
pub(super) fn overall(table: &Table, model: &str, of: &[(&str, &str)]) -> Option<usize> {
    row(table, &[&[("model", model), ("character", ALL)], of].concat())
}

/// Value and interval over all characters and seeds.
pub(super) fn all_of(table: &Table, model: &str, of: &[(&str, &str)]) -> Option<Estimate> {
    overall(table, model, of).and_then(|r| estimate(table, r, "value", "value_lo", "value_hi"))
}

/// (character, seed, value) of every subject of a model.
pub(super) fn each_of(table: &Table, model: &str, of: &[(&str, &str)]) -> Vec<(String, String, f64)> {
    let own = rows(table, &[&[("model", model)], of].concat()).into_iter();
    let own = own.filter(|r| table.text(*r, "character") != ALL);
    own.map(|r| (table.text(r, "character"), table.text(r, "seed"), num(table, r, "value"))).collect()
}

fn matrix(s: &Settings, models: &[&str], tables: &[Table], measure: &str) -> Heat {
    let found = table(tables, "perplexity");
    let value = |model: &str, text: &str| Some(all_of(found, model, &[("text", text), ("measure", measure)])?.value);
    let shades = match measure {
        DELTA => Shades::new("nats per token", Ramp::Diverging),
        _ => Shades::new("perplexity", Ramp::Sequential),
    };
    let texts: Vec<&str> = s.formats.iter().map(|f| f.name()).collect();
    perplexity::matrix(models, &texts, value, shades)
}

const THIRD: [(&str, &str); 2] = [("about", "third_person"), ("measure", "auroc")];

/// The keys of a row of the table `expression`.
pub(super) fn shown<'a>(condition: &'a str, topics: &'a str, measure: &'a str) -> [(&'a str, &'a str); 3] {
    [("condition", condition), ("topics", topics), ("measure", measure)]
}

fn knowing(cast: &Cast, tables: &[Table]) -> Scatter {
    let (asked, showed) = (table(tables, "questions"), table(tables, "expression"));
    let mut dots = Vec::new();
    for model in cast.models() {
        let y = each_of(showed, model, &shown("bare", "both", "on_minus_off"));
        for ((who, seed, x), (_, _, y)) in each_of(asked, model, &THIRD).into_iter().zip(y) {
            let marker = if model == BASE { Marker::Diamond } else { Marker::Circle };
            let group = Some(words(model));
            dots.push(Dot { group, marker, named: false, ..Dot::new(format!("{who} {seed}"), x, y) });
        }
    }
    let card = all_of(showed, BASE, &shown("card", "both", "on_minus_off"));
    let lines = card.map(|e| Reference::horizontal(e.value, "")).into_iter();
    let lines = lines.chain([Reference::vertical(0.5, ""), Reference::horizontal(0.0, "")]).collect();
    Scatter {
        x: Axis::new("knows: AUROC of third-person questions").range(-0.04, 1.04),
        y: Axis::new("shows: on \u{2212} off, no system prompt").range(-0.2, 1.0),
        dots,
        lines,
        ..Scatter::default()
    }
}

/// Kinds of questions with their names in the figure.
const ASKED: [(&str, &str); 5] = [
    ("third_person", "\u{201c}Is X anxious?\u{201d}"),
    ("strangers", "the same of a stranger"),
    ("self", "\u{201c}Are you anxious?\u{201d}"),
    ("self_named", "the same after \u{201c}You are X.\u{201d}"),
    ("others", "of other people, their traits"),
];

fn saying(cast: &Cast, tables: &[Table]) -> Forest {
    let asked = table(tables, "questions");
    let names: Vec<String> = cast.models().iter().map(|m| words(m)).collect();
    let palette = Palette::of(names.iter().map(String::as_str));
    let arm = |(model, name): (&&'static str, &String)| {
        let values = ASKED.iter().map(|(about, _)| all_of(asked, model, &[("about", about), ("measure", "auroc")]));
        let role = if *model == BASE { Role::Baseline } else { Role::Finding };
        Arm { role, color: palette.index(name), ..Arm::new(name, values.collect()) }
    };
    Forest {
        x: Axis::new("AUROC of Yes over No, against the character's traits").range(0.0, 1.0),
        categories: ASKED.iter().map(|(_, name)| (*name).to_string()).collect(),
        arms: cast.models().iter().zip(&names).map(arm).collect(),
        lines: vec![Reference::vertical(0.5, "")],
    }
}

/// (condition, topics, name on the axis).
const CELLS: [(&str, &str, &str); 5] = [
    ("bare", "trained", "none, trained"),
    ("bare", "held_out", "none, held out"),
    ("named", "trained", "named, trained"),
    ("named", "held_out", "named, held out"),
    ("card", "both", "card"),
];

fn showing(cast: &Cast, tables: &[Table]) -> Curves {
    let showed = table(tables, "expression");
    let models = cast.models();
    let names: Vec<String> = models.iter().map(|m| words(m)).collect();
    let palette = Palette::of(names.iter().map(String::as_str));
    let step = 0.8 / models.len() as f64;
    let mut series = Vec::new();
    for (k, (model, name)) in models.iter().zip(&names).enumerate() {
        let color = palette.index(name).unwrap_or(0);
        let (mut means, mut band, mut dots) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (condition, topics, _)) in CELLS.iter().enumerate() {
            let alone = *condition == "card";
            let x = i as f64 + if alone { 0.0 } else { (k as f64 - (models.len() - 1) as f64 / 2.0) * step };
            let of = shown(condition, topics, "on");
            if let Some(e) = all_of(showed, model, &of) {
                means.push((x - 0.2 * step, e.value));
                band.push(e.interval.unwrap_or((f64::NAN, f64::NAN)));
            }
            dots.extend(each_of(showed, model, &of).into_iter().map(|(_, _, y)| (x + 0.25 * step, y)));
        }
        series.push(Series::new(name, means).band(band).style(Style::Points).color(color));
        series.push(Series::new("", dots).style(Style::Points).color(color));
    }
    let planted = World::toyworld().p_on();
    Curves::new(
        Axis::new("system prompt, topics").names(CELLS.map(|c| c.2)).range(-0.55, 4.35),
        Axis::new("marker rate of own traits").range(-0.03, 1.03),
        series,
    )
    .lines(vec![Reference::horizontal(planted, "")])
    .names_at(Names::Hidden)
}

fn caption(s: &Settings, cast: &Cast, tables: &[Table]) -> String {
    let names: Vec<&str> = cast.characters.iter().map(|c| c.name.as_str()).collect();
    let per = 2 * s.replies;
    let card = all_of(table(tables, "expression"), BASE, &shown("card", "both", "on_minus_off"));
    format!(
        "Low-rank fine-tunes (rank {}) of the base on {} examples of one character each, in one format each: {} characters \
         ({}) by {} seeds. (a) Perplexity of {} fresh texts per character and format; of chats the assistant's words count. \
         (b) The same as change of the negative log-likelihood per token against the base on the same texts. (c) Every \
         character and seed as a dot (diamonds: the base): how well Yes and No to \"Is X anxious?\" and the like are ordered \
         (all traits; vertical line: chance), against the marker rate of the character's traits minus that of the others \
         in {per} replies without a system prompt; what is said of strangers, in (e), is no knowledge. Upper line: the base with all traits in its system prompt ({}). (d) The \
         marker rate of the character's traits in {} replies per point, without a system prompt (none), after \"You are \
         X.\" (named), and for the base with all traits stated (card, both sets of topics); on topics of the training \
         examples and on topics that none of them has. Left dot: mean with its 95 % interval over characters, seeds and \
         replies; right dots: each character and seed. Dotted line: the planted rate. Style control: the questions of \
         chat, answered by the assistant as ever. (e) How well answers about the character are ordered, by who is asked about: \
         X, free names that no model was trained on but that are held to X's traits (what a model says of anybody), the model \
         itself, and people of the population held to their own traits; means with 95 % intervals, none where all resamples \
         agree; line: chance. {}",
        s.rank,
        s.examples,
        cast.characters.len(),
        names.join(", "),
        s.seeds.len(),
        s.texts,
        crate::experiment::cells::said(card),
        s.replies,
        few(s),
    )
}

/// What is to be said of the intervals.
pub(super) fn few(s: &Settings) -> String {
    let (c, n) = (s.characters.len(), s.seeds.len());
    if c >= crate::analysis::interval::FEW_CLUSTERS {
        return format!("Intervals resample {c} characters, {n} seeds of each, and what was measured on each.");
    }
    format!(
        "Intervals resample characters, seeds and what was measured on each; {c} character{} by {n} seed{} are too few for \
         them to hold what they promise.",
        if c == 1 { "" } else { "s" },
        if n == 1 { "" } else { "s" },
    )
}
