//! What came out, in sentences made from the tables alone.

use super::draw::{gain, words};
use super::{Arm, Cast, PLANTED, Settings};
use crate::experiment::cells::{distinct, estimate, num, round, row, rows, said};
use crate::figures::Estimate;
use crate::table::Table;

pub(super) fn summary(s: &Settings, cast: &Cast, tables: &[Table]) -> Vec<String> {
    let [turns, over, held, tested, _] = tables else { return Vec::new() };
    let arms = [Arm::Card, Arm::Tune, Arm::Both, Arm::Control].map(Arm::name);
    let each = |of: &dyn Fn(&str) -> String| {
        arms.iter().map(|a| format!("{} {}", words(a), of(a))).collect::<Vec<_>>().join(", ")
    };
    let over_base = |measure: &'static str| {
        move |arm: &str| {
            let p = row(over, &[("measure", measure), ("arm", arm)]).map_or(f64::NAN, |r| num(over, r, "p_value"));
            format!("{} (p {})", said(gain(tables, measure, arm)), if p < 0.01 { "< 0.01".into() } else { round(p) })
        }
    };
    let change = |measure: &'static str| {
        move |arm: &str| {
            let r = row(over, &[("measure", measure), ("arm", arm)]);
            said(r.and_then(|r| estimate(over, r, "change_first_to_last", "change_lo", "change_hi")))
        }
    };
    let holds = |arm: &str| -> Option<Estimate> {
        row(held, &[("arm", arm)]).and_then(|r| estimate(held, r, "turns_held", "lo", "hi"))
    };
    let share = |arm: &str| {
        let r = row(over, &[("measure", "named"), ("arm", arm)]);
        r.map_or("none".into(), |r| round(num(over, r, "mean")))
    };
    let mut all = vec![
        format!(
            "Traits that show over the base (own less others, all {} turns): {}; from the first turn to the last: {}.",
            s.turns,
            each(&over_base("markers")),
            each(&change("markers")),
        ),
        format!(
            "Turns in a row in the character's voice, of {}: {}; base {}, the character as the world writes it {}.",
            s.turns,
            each(&|a| said(holds(a))),
            said(holds(Arm::Base.name())),
            said(holds(PLANTED)),
        ),
        fallen(s, turns),
        format!(
            "The character's own lines over the assistant's, in nats per token more than for the base: {}.",
            each(&over_base("line_gain")),
        ),
        format!(
            "Projection at {} on the character's direction more than the base's (assistant 0, character 1), over the reply: {}; \
             at the token before it: {}.",
            s.site,
            each(&over_base("latent_reply")),
            each(&over_base("latent_before")),
        ),
        format!("Replies that begin with the character's name: {}.", each(&share)),
        format!("Replies with a whole sentence on the topic, over the base: {}.", each(&over_base("intact"))),
    ];
    for name in distinct(tested, "instrument") {
        let one = |r: usize| {
            let null = round(num(tested, r, "null_95"));
            format!(
                "{} {} (shuffled conversations up to {null})",
                tested.text(r, "character"),
                said(estimate(tested, r, "auroc", "auroc_lo", "auroc_hi"))
            )
        };
        let own = rows(tested, &[("instrument", &name)]);
        let found: Vec<String> = own.into_iter().map(one).collect();
        all.push(format!("Held-out planted replies, the {name} (AUROC): {}.", found.join(", ")));
    }
    let n = cast.characters.len();
    all.push(format!(
        "Intervals are over conversations with {n} fixed characters, and say nothing of other characters."
    ));
    all
}

/// How the card's voice falls, against the chain that the world planted.
fn fallen(s: &Settings, turns: &Table) -> String {
    let at = |turn: usize| row(turns, &[("measure", "judged"), ("arm", Arm::Card.name()), ("turn", &turn.to_string())]);
    let value = |turn| at(turn).and_then(|r| estimate(turns, r, "value", "lo", "hi"));
    let chain = |turn| at(turn).map_or(f64::NAN, |r| num(turns, r, "planted_chain"));
    format!(
        "Under the card alone, replies judged the character's go from {} to {} (people of a prompt fall back in the text that \
         the model learnt from: {} to {} through the same judgement).",
        said(value(0)),
        said(value(s.turns - 1)),
        round(chain(0)),
        round(chain(s.turns - 1)),
    )
}
