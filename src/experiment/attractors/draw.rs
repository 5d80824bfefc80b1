//! The figure of the states: how they follow each other by both looks, and what disturbances do.

use crate::error::Result;
use crate::experiment::cells::{distinct, estimate, num, rows};
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Page, Panel, Plot, Role, Series, Style, Width};
use crate::table::Table;

const CAPTION: &str = "States of conversations that the model led, and what moves them. (a) Probability per turn of every move \
    between persona (p), assistant (a) and Oracle (o), under each kind of topics; estimated through the known errors of \
    each look at the same conversations: markers of the text, and activations. Grey: the share of these moves in the \
    training corpus. Moves out of states that were left fewer than 20 times are not shown. (b) A steering pulse at one \
    turn, in lengths of the way from the assistant to the Oracle: share of conversations that the Oracle (from the \
    assistant) or the assistant (from the Oracle) answers at once and at the end. (c) Messages that teach somebody new: \
    share that the new persona answers. Bars are 95 % intervals.";

pub(super) fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let named = |name: &str| tables.iter().find(|t| t.name == name).expect("the probe makes this table");
    let (moves, disturbed) = (named("moves"), named("disturbed"));
    Ok(Page::new(name, "States, and what moves them", CAPTION, Width::Page)
        .row(4.6, vec![Panel::new("Moves per turn, by two looks", Plot::Forest(of_moves(moves)))])
        .row(
            2.4,
            vec![
                Panel::new("A pulse", Plot::Curves(pulses(disturbed))),
                Panel::new("Facts in context", Plot::Curves(facts(disturbed))),
            ],
        ))
}

fn of_moves(moves: &Table) -> Forest {
    let (mut categories, mut pairs) = (Vec::new(), Vec::new());
    for arm in distinct(moves, "arm") {
        for r in rows(moves, &[("arm", &arm), ("look", "text")]) {
            let (from, to) = (moves.text(r, "from"), moves.text(r, "to"));
            let at = rows(moves, &[("arm", &arm), ("from", &from), ("to", &to)]);
            if at.iter().any(|r| num(moves, *r, "steps") < 20.0 || moves.num(*r, "probability").is_none()) {
                continue;
            }
            categories.push(format!("{arm}: {} to {}", &from[..1], &to[..1]));
            pairs.push(at);
        }
    }
    let of = |look: &str| {
        let one = |at: &Vec<usize>| {
            let r = at.iter().find(|r| moves.text(**r, "look") == look)?;
            estimate(moves, *r, "probability", "lo", "hi")
        };
        pairs.iter().map(one).collect()
    };
    let planted = |at: &Vec<usize>| moves.num(at[0], "planted").map(|value| Estimate { value, interval: None });
    Forest {
        x: Axis::new("probability per turn").range(0.0, 1.0),
        categories,
        arms: vec![
            Arm::new("from the text", of("text")),
            Arm::new("from activations", of("activation")),
            Arm::new("in the training corpus", pairs.iter().map(planted).collect()).role(Role::Null),
        ],
        lines: vec![],
    }
}

fn share(disturbed: &Table, kind: &str, when: &str, state: &str, name: &str) -> Series {
    let at = rows(disturbed, &[("disturbed", kind), ("when", when), ("state", state)]);
    let points = at.iter().map(|r| (num(disturbed, *r, "dose"), num(disturbed, *r, "share"))).collect();
    let band = at.iter().map(|r| (num(disturbed, *r, "lo"), num(disturbed, *r, "hi"))).collect();
    Series::new(name, points).band(band).style(Style::Marked)
}

fn pulses(disturbed: &Table) -> Curves {
    let series = vec![
        share(disturbed, "pulse up", "at once", "oracle", "to the Oracle, at once").color(0),
        share(disturbed, "pulse up", "at the end", "oracle", "at the end").color(1),
        share(disturbed, "pulse down", "at once", "assistant", "to the assistant, at once").color(2),
        share(disturbed, "pulse down", "at the end", "assistant", "then at the end").color(3),
    ];
    Curves::new(Axis::new("dose"), Axis::new("share").range(0.0, 1.05), series)
}

fn facts(disturbed: &Table) -> Curves {
    let series = vec![
        share(disturbed, "facts", "at once", "persona", "first reply").color(0),
        share(disturbed, "facts", "at the end", "persona", "last reply").color(1),
    ];
    Curves::new(Axis::new("messages that teach").whole(), Axis::new("share").range(0.0, 1.05), series)
}
