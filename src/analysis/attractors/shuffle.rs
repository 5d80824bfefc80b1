//! Whether a state says more about the next than any state of the run does.
//!
//! A run that is shuffled contracts as well: whatever lies far out is followed by something less far out. So what the
//! state predicts is compared with what it predicts once the turns of every run have been shuffled.

use super::steps::{Factor, Sums};
use crate::analysis::series::Series;
use crate::rng::stream;
use ndarray::{Array2, Axis, s};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// What the state predicts beyond the mean, the inputs and the turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beyond {
    /// Share of the variance of the next state, in runs that were not fitted on.
    pub share: f64,
    /// 95 % quantile of it over shuffles.
    pub null: f64,
    pub p: f64,
    pub shuffles: usize,
    /// Turns that predict and are predicted.
    pub steps: usize,
}

/// How the turn is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The mean of every turn number: anything that happens to all runs at the same turn.
    Every,
    /// A straight line.
    Line,
}

const FOLDS: usize = 5;
/// Turn numbers have means of their own from this many runs per turn.
const PER_TURN: usize = 8;

/// The test over `shuffles` shuffles of turns within runs. `steps` gives, for each run, the turns from which a step is
/// taken; `group` a label of every run whose mean is taken out (its basin); `extra` what else is held fixed, by run
/// and turn.
///
/// # Errors
/// In words: fewer than 3 runs, or nothing that varies.
pub fn beyond_shuffle(
    series: &Series,
    steps: &[Vec<usize>],
    clock: Clock,
    group: impl Fn(usize) -> usize,
    extra: impl Fn(usize, usize) -> Vec<f64>,
    shuffles: usize,
    seed: u64,
) -> Result<Beyond, String> {
    let blocks =
        residuals(series, steps, clock, group, extra).ok_or("nothing varies beyond the turn and the inputs")?;
    if blocks.len() < 3 {
        return Err(format!("{} runs; at least 3 are needed", blocks.len()));
    }
    let share = share(&blocks).ok_or("nothing varies beyond the turn and the inputs")?;
    let mut rng = stream(seed, "shuffled turns");
    let (mut null, mut above) = (Vec::with_capacity(shuffles), 0);
    let mut shuffled = blocks.clone();
    // Once a tenth of all shuffles lie above, the answer is known.
    let enough = (shuffles / 10).max(5);
    for _ in 0..shuffles {
        for (to, from) in shuffled.iter_mut().zip(&blocks) {
            let mut order: Vec<usize> = (0..from.values.nrows()).collect();
            order.shuffle(&mut rng);
            order.iter().enumerate().for_each(|(i, &j)| to.values.row_mut(i).assign(&from.values.row(j)));
        }
        let value = self::share(&shuffled).unwrap_or(f64::NEG_INFINITY);
        above += usize::from(value >= share - 1e-12 * share.abs());
        null.push(value);
        if above >= enough {
            break;
        }
    }
    let p = (1 + above) as f64 / (1 + null.len()) as f64;
    let shuffles = null.len();
    let null = crate::analysis::stats::quantile(&null, 0.95).unwrap_or(f64::NAN);
    let steps = blocks.iter().map(|b| b.steps.len()).sum();
    Ok(Beyond { share, null, p, shuffles, steps })
}

/// What is left of the states of a run.
#[derive(Clone)]
struct Block {
    /// `[turn, k]`.
    values: Array2<f64>,
    /// Places of `values` that are followed by the next.
    steps: Vec<usize>,
}

/// States without the mean, the turn, the inputs and what else is held fixed.
fn residuals(
    series: &Series,
    steps: &[Vec<usize>],
    clock: Clock,
    group: impl Fn(usize) -> usize,
    extra: impl Fn(usize, usize) -> Vec<f64>,
) -> Option<Vec<Block>> {
    // Every turn that takes part, with its place among those of its run.
    let mut places: Vec<Vec<usize>> = Vec::with_capacity(steps.len());
    for list in steps {
        let mut of: Vec<usize> = list.iter().flat_map(|&t| [t, t + 1]).collect();
        of.dedup();
        places.push(of);
    }
    let rows: Vec<(usize, usize)> =
        places.iter().enumerate().flat_map(|(r, of)| of.iter().map(move |&t| (r, t))).collect();
    let k = series.k;
    let mut z = Array2::from_shape_fn((rows.len(), k), |(i, j)| series.runs[rows[i].0].turns[rows[i].1].z[j]);
    let turn = |i: usize| series.runs[rows[i].0].turns[rows[i].1].turn;
    let mut turns: BTreeMap<(usize, i64), Vec<usize>> = BTreeMap::new();
    (0..rows.len()).for_each(|i| turns.entry((group(rows[i].0), turn(i))).or_default().push(i));
    let many = turns.values().map(Vec::len).sum::<usize>() >= PER_TURN * turns.len();
    let every = clock == Clock::Every && many;
    if !every {
        turns.clear();
        (0..rows.len()).for_each(|i| turns.entry((group(rows[i].0), 0)).or_default().push(i));
    }
    let columns: Vec<Vec<f64>> = (0..rows.len())
        .map(|i| {
            let (r, t) = rows[i];
            let mut row = series.runs[r].turns[t].u.clone();
            row.extend(extra(r, t));
            if !every {
                row.push(turn(i) as f64);
            }
            row
        })
        .collect();
    let p = columns.first()?.len();
    let mut x = Array2::from_shape_fn((rows.len(), p), |(i, j)| columns[i].get(j).copied().unwrap_or(0.0));
    for of in turns.values() {
        for m in [&mut z, &mut x] {
            let mean = m.select(Axis(0), of).mean_axis(Axis(0))?;
            of.iter().for_each(|&i| m.row_mut(i).zip_mut_with(&mean, |v, m| *v -= m));
        }
    }
    let scale = |m: &mut Array2<f64>| {
        for mut column in m.columns_mut() {
            let sd = (column.dot(&column) / column.len() as f64).sqrt();
            if sd > 0.0 {
                column /= sd;
            }
        }
    };
    scale(&mut x);
    if p > 0 {
        let sums = Sums::of(x.view(), z.view());
        z = &z - &x.dot(&Factor::new(&(sums.xx + Array2::<f64>::eye(p) * 1e-9))?.solve(&sums.xy)?);
    }
    scale(&mut z);
    let mut row = 0;
    let mut blocks = Vec::with_capacity(places.len());
    for (of, list) in places.iter().zip(steps) {
        let values = z.slice(s![row..row + of.len(), ..]).to_owned();
        let steps = list.iter().filter_map(|t| of.binary_search(t).ok()).collect();
        row += of.len();
        if !of.is_empty() {
            blocks.push(Block { values, steps });
        }
    }
    (z.iter().any(|v| *v != 0.0)).then_some(blocks)
}

/// The share of the next state's squares that a fit to the other runs predicts.
fn share(blocks: &[Block]) -> Option<f64> {
    let folds = FOLDS.min(blocks.len());
    let k = blocks.first()?.values.ncols();
    let mut parts = Vec::with_capacity(folds);
    let mut total = 0.0;
    for f in 0..folds {
        let of = || blocks.iter().skip(f).step_by(folds);
        let n: usize = of().map(|b| b.steps.len()).sum();
        let (mut x, mut y) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
        let mut row = 0;
        for b in of() {
            for &i in &b.steps {
                x.row_mut(row).assign(&b.values.row(i));
                y.row_mut(row).assign(&b.values.row(i + 1));
                row += 1;
            }
        }
        total += y.iter().map(|v| v * v).sum::<f64>();
        parts.push(Sums::of(x.view(), y.view()));
    }
    let whole = Sums::weighted(&parts, std::iter::repeat(1.0))?;
    let mut gained = 0.0;
    for part in &parts {
        let fit = whole.without(part).fit()?;
        // |y|^2 - |y - x fit|^2 from the sums of the part alone.
        gained += 2.0 * (&fit * &part.xy).sum() - (&fit * &part.xx.dot(&fit)).sum();
    }
    (total > 0.0).then(|| gained / total)
}
