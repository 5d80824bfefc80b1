//! From values by turn to tables: means by turn, gains over the base, and how long the voice holds.

use super::{Arm, PLANTED, Settings};
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::score::interval_cells;
use crate::analysis::stats::{mean, permutation_p, quantile};
use crate::analysis::turns::{TurnValue, mean_by_turn};
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::Rng;
use std::collections::BTreeMap;

/// One measure of one reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub arm: &'static str,
    pub conversation: String,
    /// Of the fine-tune.
    pub seed: Option<u64>,
    pub turn: usize,
    pub measure: &'static str,
    pub value: f64,
}

/// What is measured, in the order of tables.
pub(super) const MEASURES: [&str; 11] = [
    "markers",
    "judged",
    "classifier",
    "latent_reply",
    "latent_before",
    "line_nll",
    "line_gain",
    "named",
    "intact",
    "repetition",
    "context_tokens",
];

/// All arms in the order of tables.
pub(super) fn arms() -> Vec<&'static str> {
    std::iter::once(PLANTED).chain(Arm::ALL.map(Arm::name)).collect()
}

/// Every measure by arm and turn, with intervals over conversations; fine-tunes of several seeds that answer the same
/// questions count as one.
///
/// `chain` is what the world planted for a character of a card, by turn: the share that is judged the character's.
pub(super) fn by_turn(s: &Settings, seed: u64, values: &[Value], chain: &[f64]) -> Table {
    let columns = ["measure", "arm", "turn", "value", "lo", "hi", "interval_note", "conversations", "planted_chain"];
    let mut table = Table::new("turns", &columns);
    for measure in MEASURES {
        for arm in arms() {
            let own = values.iter().filter(|v| v.measure == measure && v.arm == arm);
            let of: Vec<TurnValue> = own
                .map(|v| TurnValue {
                    conversation: v.conversation.clone(),
                    arm: format!("{measure}/{arm}"),
                    turn: v.turn,
                    value: v.value,
                })
                .collect();
            for m in mean_by_turn(&of, s.bootstrap, seed) {
                let mut row: Vec<Cell> = vec![measure.into(), arm.into(), m.turn.into(), m.mean.into()];
                row.extend(interval_cells(bounds(measure, m.interval, m.conversations)));
                row.push(m.conversations.into());
                let expected = (measure == "judged" && arm == Arm::Card.name()).then(|| chain.get(m.turn).copied());
                row.push(expected.flatten().into());
                table.push(row);
            }
        }
    }
    table
}

/// A share at an end of its range has a one-sided bound.
fn bounds(measure: &str, interval: Option<Interval>, clusters: usize) -> Option<Interval> {
    match measure {
        "judged" | "named" | "intact" => interval.map(|i| i.bounded(clusters, 0.0, 1.0)),
        _ => interval,
    }
}

/// By conversation: the mean over seeds of a statistic of the turns.
fn by_conversation<'v>(
    values: &'v [Value],
    measure: &str,
    arm: &str,
    statistic: impl Fn(&BTreeMap<usize, f64>) -> Option<f64>,
) -> BTreeMap<&'v str, f64> {
    let mut turns: BTreeMap<(&str, Option<u64>), BTreeMap<usize, f64>> = BTreeMap::new();
    for v in values.iter().filter(|v| v.measure == measure && v.arm == arm) {
        turns.entry((v.conversation.as_str(), v.seed)).or_default().insert(v.turn, v.value);
    }
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((conversation, _), by_turn) in &turns {
        found.entry(conversation).or_default().extend(statistic(by_turn));
    }
    found.into_iter().filter_map(|(c, v)| Some((c, mean(&v)?))).collect()
}

/// The interval of a mean over conversations.
fn over(values: &[f64], s: &Settings, seed: u64, label: &str) -> Option<Interval> {
    let of = |sample: &[usize]| mean(&sample.iter().map(|i| values[*i]).collect::<Vec<_>>());
    cluster_bootstrap(values.len(), s.bootstrap, &mut stream(seed, label), of)
}

/// Each arm against the base on the same questions, over all turns, and from the first turn to the last.
///
/// The null turns the sign of each conversation's difference at random: what there would be if arm and base were alike.
pub(super) fn over_base(s: &Settings, seed: u64, values: &[Value]) -> Table {
    let columns =
        ["measure", "arm", "mean", "base", "gain", "gain_lo", "gain_hi", "interval_note", "null_95", "p_value"];
    let more = ["change_first_to_last", "change_lo", "change_hi", "change_note", "conversations"];
    let mut table = Table::new("over_base", &[&columns[..], &more].concat());
    let whole = |turns: &BTreeMap<usize, f64>| mean(&turns.values().copied().collect::<Vec<_>>());
    let last = s.turns - 1;
    let change = |turns: &BTreeMap<usize, f64>| Some(turns.get(&last)? - turns.get(&0)?);
    for measure in MEASURES {
        let base = by_conversation(values, measure, Arm::Base.name(), whole);
        for arm in Arm::ALL.into_iter().filter(|a| *a != Arm::Base).map(Arm::name) {
            let own = by_conversation(values, measure, arm, whole);
            let pairs: Vec<(f64, f64)> = own.iter().filter_map(|(c, v)| Some((*v, *base.get(c)?))).collect();
            let gains: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
            let Some(gain) = mean(&gains) else { continue };
            let label = format!("over base/{measure}/{arm}");
            let null = flipped(&gains, s.permutations, &mut stream(seed, &format!("{label}/null")));
            let side = |of: fn(&(f64, f64)) -> f64| mean(&pairs.iter().map(of).collect::<Vec<_>>());
            let mut row: Vec<Cell> = vec![measure.into(), arm.into()];
            row.extend([side(|p| p.0).into(), side(|p| p.1).into(), gain.into()]);
            row.extend(interval_cells(over(&gains, s, seed, &label)));
            row.extend([quantile(&null, 0.95).into(), permutation_p(gain.abs(), &null).into()]);
            let changes: Vec<f64> = by_conversation(values, measure, arm, change).into_values().collect();
            row.push(mean(&changes).into());
            row.extend(interval_cells(over(&changes, s, seed, &format!("{label}/change"))));
            row.push(gains.len().into());
            table.push(row);
        }
    }
    table
}

/// Sizes of the mean under random signs.
fn flipped(gains: &[f64], draws: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut one = |_| {
        let sum: f64 = gains.iter().map(|g| if rng.random_bool(0.5) { *g } else { -*g }).sum();
        (sum / gains.len().max(1) as f64).abs()
    };
    (0..draws).map(&mut one).collect()
}

/// How many turns in a row, from the first, are judged to be the character's: at most as many as there are.
fn run_of(turns: &BTreeMap<usize, f64>) -> Option<f64> {
    let lost = turns.iter().find(|(_, v)| **v < 0.5).map(|(t, _)| *t);
    Some(lost.unwrap_or(turns.len()) as f64)
}

/// How long the voice holds from the first turn: turns until a reply is judged to be another's, at most all; and tokens of
/// context by then.
///
/// One reply without markers ends it, so even the character itself does not reach all turns: `planted` is what to compare
/// with.
pub(super) fn held(s: &Settings, seed: u64, values: &[Value]) -> Table {
    let columns =
        ["arm", "turns_held", "lo", "hi", "interval_note", "of_turns", "whole_share", "tokens_held", "conversations"];
    let mut table = Table::new("held", &columns);
    for arm in arms() {
        let held = by_conversation(values, "judged", arm, run_of);
        let each: Vec<f64> = held.values().copied().collect();
        let Some(value) = mean(&each) else { continue };
        let whole =
            by_conversation(values, "judged", arm, |t| Some(f64::from(u8::from(run_of(t) == Some(t.len() as f64)))));
        let tokens = tokens_held(values, arm);
        let mut row: Vec<Cell> = vec![arm.into(), value.into()];
        let interval = over(&each, s, seed, &format!("held/{arm}"));
        row.extend(interval_cells(interval.map(|i| i.bounded(each.len(), 0.0, s.turns as f64))));
        row.extend([s.turns.into(), mean(&whole.into_values().collect::<Vec<_>>()).into(), tokens.into()]);
        row.push(each.len().into());
        table.push(row);
    }
    table
}

/// Mean tokens of context at the end of the last reply that was still the character's; 0 where the first was not.
fn tokens_held(values: &[Value], arm: &str) -> Option<f64> {
    let mut judged: BTreeMap<(&str, Option<u64>), BTreeMap<usize, f64>> = BTreeMap::new();
    let mut context: BTreeMap<(&str, Option<u64>, usize), f64> = BTreeMap::new();
    for v in values.iter().filter(|v| v.arm == arm) {
        match v.measure {
            "judged" => {
                judged.entry((v.conversation.as_str(), v.seed)).or_default().insert(v.turn, v.value);
            }
            "context_tokens" => {
                context.insert((v.conversation.as_str(), v.seed, v.turn), v.value);
            }
            _ => {}
        }
    }
    if context.is_empty() {
        return None;
    }
    let each: Vec<f64> = judged
        .iter()
        .filter_map(|((c, seed), turns)| match run_of(turns)? as usize {
            0 => Some(0.0),
            n => context.get(&(*c, *seed, n - 1)).copied(),
        })
        .collect();
    mean(&each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(arm: &'static str, conversation: &str, seed: Option<u64>, by_turn: &[f64]) -> Vec<Value> {
        let one = |(turn, value): (usize, &f64)| Value {
            arm,
            conversation: conversation.into(),
            seed,
            turn,
            measure: "judged",
            value: *value,
        };
        by_turn.iter().enumerate().map(one).collect()
    }

    fn settings() -> Settings {
        Settings { turns: 3, bootstrap: 50, permutations: 400, ..Settings::default() }
    }

    #[test]
    fn a_voice_holds_until_the_first_reply_of_another() {
        let of = |v: &[f64]| run_of(&v.iter().copied().enumerate().collect()).unwrap();
        assert_eq!((of(&[1.0, 1.0, 0.0, 1.0]), of(&[0.0, 1.0]), of(&[1.0, 1.0])), (2.0, 0.0, 2.0));
        // Two seeds of one conversation are one: (2 + 0) / 2, beside 3.
        let all = [
            values("card", "a", Some(0), &[1.0, 1.0, 0.0]),
            values("card", "a", Some(1), &[0.0, 1.0, 1.0]),
            values("card", "b", Some(0), &[1.0, 1.0, 1.0]),
        ]
        .concat();
        let t = held(&settings(), 0, &all);
        assert_eq!((t.num(0, "turns_held"), t.num(0, "conversations")), (Some(2.0), Some(2.0)));
        // The whole of b, and neither of a's.
        assert_eq!(t.num(0, "whole_share"), Some(0.5));
    }

    #[test]
    fn gains_are_paired_by_conversation_and_the_null_turns_their_signs() {
        let mut all = Vec::new();
        for i in 0..12 {
            let name = format!("c{i:02}");
            all.extend(values("base", &name, None, &[0.0, 0.0, 0.0]));
            all.extend(values("card", &name, None, &[1.0, 1.0, 0.0]));
            // As far above as below: nothing.
            let noise = if i % 2 == 0 { 0.5 } else { -0.5 };
            all.extend(values("control", &name, None, &[noise; 3]));
        }
        // A conversation that the base never had does not count.
        all.extend(values("card", "other", None, &[9.0; 3]));
        let t = over_base(&settings(), 0, &all);
        let r = t.where_is("arm", "card")[0];
        assert!((t.num(r, "gain").unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((t.num(r, "conversations"), t.num(r, "base")), (Some(12.0), Some(0.0)));
        // All 12 signs equal happens once in 2048: nearly never in 400 draws.
        assert!(t.num(r, "p_value").unwrap() < 0.01 && t.num(r, "null_95").unwrap() < 0.5);
        let r = t.where_is("arm", "control")[0];
        assert_eq!((t.num(r, "gain"), t.num(r, "p_value")), (Some(0.0), Some(1.0)));
        // The change is of all conversations of the arm: -1 of 12 and 0 of one.
        let r = t.where_is("arm", "card")[0];
        assert!((t.num(r, "change_first_to_last").unwrap() + 12.0 / 13.0).abs() < 1e-12);
    }
}
