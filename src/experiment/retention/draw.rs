//! The figure of what was planted: hazards by teaching and context, and the name that is still given.

use crate::error::Result;
use crate::experiment::cells::{distinct, estimate, num, rows};
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Page, Panel, Plot, Role, Series, Style, Width};
use crate::table::Table;

pub(super) fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let named = |name: &str| tables.iter().find(|t| t.name == name).expect("the probe makes this table");
    let (planted, identity) = (named("planted"), named("identity"));
    let caption = "How fast a persona is lost that was taught in the user's words, in conversations that the model led. \
                   (a) Breaks by the rule (two replies in a row out of persona) out of the replies that could have been \
                   one, by the number of messages that taught; open: the mean of the hazards that were planted for the \
                   same replies. (b) The same by the tokens of context before the reply. (c) Share of conversations in \
                   which a question forked off before the reply is answered with the taught name. Bars are Wilson's \
                   95 % intervals.";
    let by = |by: &str| Plot::Forest(hazards(planted, by));
    Ok(Page::new(name, "What was planted", caption, Width::Page).row(
        2.6,
        vec![
            Panel::new("Hazard by teaching", by("messages that taught")),
            Panel::new("Hazard by context (tokens)", by("tokens of context")),
            Panel::new("Gives the taught name", Plot::Curves(names(identity))),
        ],
    ))
}

fn hazards(planted: &Table, by: &str) -> Forest {
    let at: Vec<usize> =
        rows(planted, &[("by", by)]).into_iter().filter(|r| planted.num(*r, "hazard").is_some()).collect();
    let truth = |r: &usize| planted.num(*r, "planted").map(|value| Estimate { value, interval: None });
    Forest {
        x: Axis::new("hazard per reply"),
        categories: at.iter().map(|r| planted.text(*r, "bin")).collect(),
        arms: vec![
            Arm::new("found", at.iter().map(|r| estimate(planted, *r, "hazard", "lo", "hi")).collect()),
            Arm::new("planted", at.iter().map(truth).collect()).role(Role::Null),
        ],
        lines: vec![],
    }
}

fn names(identity: &Table) -> Curves {
    let one = |(color, arm): (usize, String)| {
        let at = rows(identity, &[("arm", &arm)]);
        let point = |r: &usize| (num(identity, *r, "turn"), num(identity, *r, "own_name_fraction"));
        let band = at.iter().map(|r| (num(identity, *r, "lo"), num(identity, *r, "hi"))).collect();
        let points = at.iter().map(point).collect();
        Series::new(arm.trim_start_matches('0'), points).band(band).style(Style::Marked).color(color)
    };
    let series = distinct(identity, "arm").into_iter().enumerate().map(one).collect();
    Curves::new(Axis::new("reply (the first is 0)").whole(), Axis::new("share").range(0.0, 1.05), series)
}
