//! Whether steps go on in the direction of the last: slow one-way drift shows here while each step is still small.

use super::runs::{Run, Step};
use crate::analysis::interval::Interval;
use crate::analysis::map::cosine;
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::{mean, permutation_p, quantile};
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// m2, the cosine of a step with the step before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Consistency {
    /// `None` for the mean over all turns of a run.
    pub turn: Option<usize>,
    /// Mean over runs.
    pub value: Option<f64>,
    /// 95 %, Student's t over runs.
    pub interval: Option<Interval>,
    /// With the states of every run in shuffled order; of the mean over turns alone. Points without any order give -0.5, a
    /// random walk 0.
    pub null_mean: Option<f64>,
    pub null_hi: Option<f64>,
    pub p: Option<f64>,
    pub runs: usize,
    pub reason: Option<String>,
}

/// m2_t = cos(z_t - z_(t-1), z_(t-1) - z_(t-2)) over consecutive turns: the mean of runs first, then each turn.
pub fn consistency(runs: &[Run], permutations: usize, seed: u64) -> Vec<Consistency> {
    let empty = |reason: &str| Consistency {
        turn: None,
        value: None,
        interval: None,
        null_mean: None,
        null_hi: None,
        p: None,
        runs: 0,
        reason: Some(reason.into()),
    };
    if runs.iter().flat_map(|r| &r.steps).all(|s| s.state.len() < 2) {
        return vec![empty("there are no states z0, z1, ... of two dimensions or more")];
    }
    let states: Vec<Vec<&Step>> = runs.iter().map(|r| r.steps.iter().collect()).collect();
    let of_run = |steps: &[&Step]| mean(&cosines(steps, None).into_iter().map(|c| c.1).collect::<Vec<_>>());
    let own: Vec<f64> = states.iter().filter_map(|s| of_run(s)).collect();
    if own.is_empty() {
        return vec![empty("no run has three consecutive turns at different states")];
    }
    let mut rng = stream(seed, "direction consistency");
    let mut orders: Vec<Vec<usize>> = states.iter().map(|s| (0..s.len()).collect()).collect();
    let mut draw = || {
        let mut all = Vec::with_capacity(own.len());
        for (steps, order) in states.iter().zip(&mut orders) {
            order.shuffle(&mut rng);
            let m2 = cosines(steps, Some(order));
            all.extend(mean(&m2.into_iter().map(|c| c.1).collect::<Vec<_>>()));
        }
        mean(&all)
    };
    let null: Vec<f64> = (0..permutations).filter_map(|_| draw()).collect();
    let value = mean(&own);
    let reason = (own.len() == 1).then(|| "no interval from a single run".to_string());
    let mut found = vec![Consistency {
        turn: None,
        value,
        interval: t_interval(&own),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: value.and_then(|v| permutation_p(v, &null)),
        runs: own.len(),
        reason,
    }];
    let mut by: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (turn, c) in states.iter().flat_map(|s| cosines(s, None)) {
        by.entry(turn).or_default().push(c);
    }
    found.extend(by.into_iter().map(|(turn, v)| Consistency {
        turn: Some(turn),
        value: mean(&v),
        interval: t_interval(&v),
        null_mean: None,
        null_hi: None,
        p: None,
        runs: v.len(),
        reason: (v.len() == 1).then(|| "no interval from a single run".into()),
    }));
    found
}

/// (turn, m2) of a run; with `order`, of its states in that order.
fn cosines(steps: &[&Step], order: Option<&[usize]>) -> Vec<(usize, f64)> {
    let state = |i: usize| &steps[order.map_or(i, |o| o[i])].state;
    let step = |i: usize| state(i).iter().zip(state(i - 1)).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let next = |i: &usize| steps[*i].turn == steps[*i - 1].turn + 1 && steps[*i - 1].turn == steps[*i - 2].turn + 1;
    (2..steps.len()).filter(next).filter_map(|i| Some((steps[i].turn, cosine(&step(i), &step(i - 1))?))).collect()
}

/// One row for all turns, then one per turn.
pub fn consistency_table(of: &[Consistency]) -> Table {
    let columns = ["turn", "m2", "ci_low", "ci_high", "null_mean", "null_95", "p_value", "runs", "reason"];
    let mut table = Table::new("consistency", &columns);
    for c in of {
        let turn =
            if c.reason.is_some() && c.value.is_none() { Cell::Empty } else { c.turn.map_or("all".into(), Cell::from) };
        let mut row = vec![turn, c.value.into()];
        row.extend([c.interval.map(|i| i.lo).into(), c.interval.map(|i| i.hi).into()]);
        row.extend([c.null_mean.into(), c.null_hi.into(), c.p.into(), c.runs.into(), c.reason.clone().into()]);
        table.push(row);
    }
    table
}
