//! Means and fractions by turn of a conversation, with intervals over conversations.

use super::interval::{FEW_CLUSTERS, Interval, cluster_bootstrap, wilson};
use super::score::interval_cells;
use super::stats::mean;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use std::collections::BTreeMap;

/// One value at one turn of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnValue {
    pub conversation: String,
    /// What the conversation belongs to: a hazard, a persona, `planted`. Turns are averaged within it.
    pub arm: String,
    pub turn: usize,
    pub value: f64,
}

/// A mean at one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnMean {
    pub arm: String,
    pub turn: usize,
    pub mean: f64,
    /// 95 %. `None` with a single conversation.
    pub interval: Option<Interval>,
    pub conversations: usize,
}

/// The mean by arm and turn, in ascending order. A conversation with several values at a turn counts once, with their
/// mean; the interval resamples conversations.
///
/// Conversations of unequal length drop out of later turns: look at `conversations` before reading a trend.
pub fn mean_by_turn(values: &[TurnValue], bootstrap: usize, seed: u64) -> Vec<TurnMean> {
    let one = |((arm, turn), by): ((&str, usize), BTreeMap<&str, Vec<f64>>)| {
        let means: Vec<f64> = by.values().filter_map(|v| mean(v)).collect();
        let mut rng = stream(seed, &format!("by turn/{arm}/{turn}"));
        let resampled = |s: &[usize]| mean(&s.iter().map(|&i| means[i]).collect::<Vec<_>>());
        Some(TurnMean {
            arm: arm.into(),
            turn,
            mean: mean(&means)?,
            interval: cluster_bootstrap(means.len(), bootstrap, &mut rng, resampled),
            conversations: means.len(),
        })
    };
    cells(values).into_iter().filter_map(one).collect()
}

/// The fraction of conversations whose value is at least 0.5 (in persona: 1, fallen back: 0), by arm and turn, with
/// Wilson's interval: conversations are independent, and there is one value each.
///
/// # Errors
/// Two values of one conversation at one turn.
pub fn fraction_by_turn(values: &[TurnValue]) -> Result<Vec<TurnMean>> {
    let one = |((arm, turn), by): ((&str, usize), BTreeMap<&str, Vec<f64>>)| {
        if let Some((twice, _)) = by.iter().find(|(_, v)| v.len() > 1) {
            return Err(Error::refused(
                format!("conversation `{twice}` of `{arm}` has several states at turn {turn}"),
                "give one state per conversation and turn, or take mean_by_turn",
            ));
        }
        let k = by.values().filter(|v| v[0] >= 0.5).count();
        let n = by.len();
        let interval = wilson(k, n, 0.95).map(|i| Interval { few_clusters: n < FEW_CLUSTERS, ..i });
        Ok(TurnMean { arm: arm.into(), turn, mean: k as f64 / n as f64, interval, conversations: n })
    };
    cells(values).into_iter().map(one).collect()
}

/// One row per arm and turn. `unit` names the column of the mean, for example `projection_activation` or
/// `persona_fraction`.
pub fn turn_table(name: &str, unit: &str, means: &[TurnMean]) -> Table {
    let mut table = Table::new(name, &["arm", "turn", unit, "lo", "hi", "interval_note", "conversations", "reason"]);
    for m in means {
        let mut row: Vec<Cell> = vec![m.arm.clone().into(), m.turn.into(), m.mean.into()];
        row.extend(interval_cells(m.interval));
        let reason = m.interval.is_none().then_some("no interval from a single conversation");
        row.extend([m.conversations.into(), reason.into()]);
        table.push(row);
    }
    table
}

fn cells(values: &[TurnValue]) -> BTreeMap<(&str, usize), BTreeMap<&str, Vec<f64>>> {
    let mut cells: BTreeMap<_, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for v in values {
        let cell = cells.entry((v.arm.as_str(), v.turn)).or_default();
        cell.entry(v.conversation.as_str()).or_default().push(v.value);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(conversation: usize, turn: usize, value: f64) -> TurnValue {
        TurnValue { conversation: format!("c{conversation}"), arm: "a".into(), turn, value }
    }

    #[test]
    fn a_conversation_counts_once_per_turn() {
        let v = [value(0, 0, 1.0), value(0, 0, 3.0), value(1, 0, 6.0), value(1, 2, 5.0)];
        let m = mean_by_turn(&v, 100, 1);
        // (2 + 6) / 2, and a turn that only one conversation reaches.
        assert_eq!((m[0].mean, m[0].conversations, m[1].turn, m[1].mean), (4.0, 2, 2, 5.0));
        assert!(m[0].interval.unwrap().few_clusters && m[1].interval.is_none());
        let t = turn_table("t", "projection_activation", &m);
        assert!(t.text(1, "reason").contains("single") && t.text(0, "reason").is_empty());
    }

    #[test]
    fn fractions_have_wilsons_interval_and_one_state_per_conversation() {
        let v: Vec<TurnValue> = (0..30).map(|c| value(c, 1, f64::from(u8::from(c < 11)))).collect();
        let f = fraction_by_turn(&v).unwrap();
        // 11 of 30 again: 0.2187 to 0.5449.
        assert!((f[0].mean - 11.0 / 30.0).abs() < 1e-12 && (f[0].interval.unwrap().lo - 0.2187).abs() < 1e-4);
        let twice = [value(0, 1, 1.0), value(0, 1, 0.0)];
        assert!(fraction_by_turn(&twice).unwrap_err().to_string().contains("c0"));
    }
}
