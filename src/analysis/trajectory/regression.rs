//! Does the state add to what the input says? Where a position follows from the last message alone there is nothing that
//! holds it, and so no attractor in driven conversation.

use super::ridge::{Predicted, Ridge, reduced};
use super::runs::Run;
use crate::analysis::interval::Interval;
use crate::analysis::resampled::jackknife;
use crate::analysis::stats::{mean, permutation_p, quantile, variance};
use crate::rng::stream;
use crate::table::{Cell, Table};
use ndarray::Array2;
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// How the regressions are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionOptions {
    pub folds: usize,
    pub permutations: usize,
    pub seed: u64,
}

impl Default for RegressionOptions {
    fn default() -> RegressionOptions {
        RegressionOptions { folds: 5, permutations: 200, seed: 0 }
    }
}

/// A share of variance that a regression explains on runs that it was not fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    pub model: &'static str,
    /// 1 - (squared error) / (squared error of what it is compared with): the mean of the training rows, or the smaller
    /// model. Negative where it does worse.
    pub r2: Option<f64>,
    /// 95 %, jackknife over runs; the fits are taken as they are.
    pub interval: Option<Interval>,
    pub null_mean: Option<f64>,
    pub null_hi: Option<f64>,
    pub p: Option<f64>,
    pub pairs: usize,
    pub runs: usize,
    pub inputs: usize,
    pub reason: Option<String>,
}

/// The regressions, in the order of the table.
pub const MODELS: [&str; 6] =
    ["next~input", "next~state", "next~input+state", "change~input", "state|input", "input|state"];

/// Inputs beyond this many are replaced by their leading components.
pub const MOST_INPUTS: usize = 256;
/// Fewer runs cannot be dealt into folds.
const LEAST_RUNS: usize = 10;

/// Ridge regressions over pairs of consecutive turns, dealt into folds by run, with the penalty chosen inside the training
/// folds: the next projection p_(t+1) on the input u_(t+1) that leads into it, on the state p_t (not penalised), on both;
/// the change p_(t+1) - p_t on the input. `state|input` is the share of what the input leaves that the state adds,
/// `input|state` the reverse.
///
/// The null deals targets anew among runs at the same turn; for what one adds to the other, the residuals of the smaller
/// model (Freedman and Lane 1983).
pub fn regression(runs: &[Run], options: RegressionOptions) -> Vec<Regression> {
    let pairs = Pairs::of(runs, options);
    let empty = |model, reason: &str| Regression {
        model,
        r2: None,
        interval: None,
        null_mean: None,
        null_hi: None,
        p: None,
        pairs: pairs.next.len(),
        runs: pairs.runs,
        inputs: pairs.columns,
        reason: Some(reason.into()),
    };
    if pairs.runs < LEAST_RUNS.max(options.folds) {
        let reason = format!("{} runs with two consecutive turns; {LEAST_RUNS} are the least", pairs.runs);
        return MODELS.map(|m| empty(m, &reason)).to_vec();
    }
    if flat(&pairs.next) {
        return MODELS.map(|m| empty(m, "the projection does not vary")).to_vec();
    }
    const NO_INPUT: &str = "there are no inputs u0, u1, ...";
    let with_input = pairs.input.as_ref();
    let failed = "a factorisation failed: an input is a combination of the others";
    let state = column(&pairs.state);
    let by_state = Ridge::new(state.clone(), &pairs.fold, options.folds, 1);
    let by_input = with_input.and_then(|u| Ridge::new(u.clone(), &pairs.fold, options.folds, 0));
    let by_both = with_input.and_then(|u| {
        let both = ndarray::concatenate(ndarray::Axis(1), &[u.view(), state.view()]).ok()?;
        Ridge::new(both, &pairs.fold, options.folds, 1)
    });
    let single = |model, ridge: Option<&Ridge>, y: &[f64], needs_input: bool| match ridge {
        None => empty(model, if needs_input && with_input.is_none() { NO_INPUT } else { failed }),
        Some(_) if flat(y) => empty(model, "the target does not vary"),
        Some(ridge) => pairs.alone(model, ridge, y, options),
    };
    let change: Vec<f64> = pairs.next.iter().zip(&pairs.state).map(|(a, b)| a - b).collect();
    let more = |model, small: Option<&Ridge>| match (small, by_both.as_ref()) {
        (Some(small), Some(large)) => pairs.added(model, small, large, options),
        _ => empty(model, if with_input.is_none() { NO_INPUT } else { failed }),
    };
    vec![
        single(MODELS[0], by_input.as_ref(), &pairs.next, true),
        single(MODELS[1], by_state.as_ref(), &pairs.next, false),
        single(MODELS[2], by_both.as_ref(), &pairs.next, true),
        single(MODELS[3], by_input.as_ref(), &change, true),
        more(MODELS[4], by_input.as_ref()),
        more(MODELS[5], by_state.as_ref()),
    ]
}

/// Pairs of consecutive turns.
struct Pairs {
    next: Vec<f64>,
    state: Vec<f64>,
    /// `[pair, column]`; `None` without inputs.
    input: Option<Array2<f64>>,
    /// Columns as given.
    columns: usize,
    /// The run of each pair, counted from 0.
    run: Vec<usize>,
    /// Pairs that may stand in for each other: of the same turn, where any turn has two.
    cells: Vec<Vec<usize>>,
    fold: Vec<usize>,
    runs: usize,
    within_turn: bool,
}

impl Pairs {
    fn of(runs: &[Run], options: RegressionOptions) -> Pairs {
        let (mut next, mut state, mut run, mut flat_inputs) = (vec![], vec![], vec![], vec![]);
        let (mut count, mut columns) = (0, 0);
        let mut turns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for r in runs {
            let before = next.len();
            for w in r.steps.windows(2).filter(|w| w[1].turn == w[0].turn + 1) {
                turns.entry(w[1].turn).or_default().push(next.len());
                next.push(w[1].projection);
                state.push(w[0].projection);
                flat_inputs.extend_from_slice(&w[1].input);
                columns = w[1].input.len();
                run.push(count);
            }
            count += usize::from(next.len() > before);
        }
        let input = (columns > 0)
            .then(|| Array2::from_shape_vec((next.len(), columns), flat_inputs).ok())
            .flatten()
            .and_then(|u| reduced(u, MOST_INPUTS));
        let within_turn = turns.values().any(|c| c.len() > 1);
        let cells = if within_turn { turns.into_values().collect() } else { vec![(0..next.len()).collect()] };
        // Runs come in the order of their names: a shuffle of it deals them into folds.
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut stream(options.seed, "drift regression/folds"));
        let mut of_run = vec![0; count];
        order.iter().enumerate().for_each(|(place, r)| of_run[*r] = place % options.folds.max(2));
        let fold = run.iter().map(|r| of_run[*r]).collect();
        Pairs { next, state, input, columns, run, cells, fold, runs: count, within_turn }
    }

    /// Values dealt anew within cells.
    fn shuffled(&self, values: &[f64], rng: &mut impl Rng) -> Vec<f64> {
        let mut out = values.to_vec();
        for cell in &self.cells {
            let mut dealt = cell.clone();
            dealt.shuffle(rng);
            cell.iter().zip(&dealt).for_each(|(to, from)| out[*to] = values[*from]);
        }
        out
    }

    fn alone(&self, model: &'static str, ridge: &Ridge, y: &[f64], o: RegressionOptions) -> Regression {
        let share = |p: &Predicted, y: &[f64]| (errors(&p.by_mean, y), errors(&p.by_fit, y));
        let mut rng = stream(o.seed, &format!("drift regression/{model}"));
        let observed = share(&ridge.predict(y), y);
        let mut draw = || {
            let y = self.shuffled(y, &mut rng);
            let (mean, fit) = share(&ridge.predict(&y), &y);
            ratio(&mean, &fit)
        };
        let null: Vec<f64> = (0..o.permutations).filter_map(|_| draw()).collect();
        self.judged(model, &observed.0, &observed.1, &null)
    }

    /// What the larger model adds to the smaller.
    fn added(&self, model: &'static str, small: &Ridge, large: &Ridge, o: RegressionOptions) -> Regression {
        let y = &self.next;
        let fit = small.predict(y).by_fit;
        let observed = (errors(&fit, y), errors(&large.predict(y).by_fit, y));
        let rest: Vec<f64> = y.iter().zip(&fit).map(|(y, f)| y - f).collect();
        let mut rng = stream(o.seed, &format!("drift regression/{model}"));
        let mut draw = || {
            let dealt: Vec<f64> = self.shuffled(&rest, &mut rng).iter().zip(&fit).map(|(r, f)| r + f).collect();
            ratio(&errors(&small.predict(&dealt).by_fit, &dealt), &errors(&large.predict(&dealt).by_fit, &dealt))
        };
        let null: Vec<f64> = (0..o.permutations).filter_map(|_| draw()).collect();
        self.judged(model, &observed.0, &observed.1, &null)
    }

    fn judged(&self, model: &'static str, base: &[f64], fit: &[f64], null: &[f64]) -> Regression {
        let mut by_run = vec![(0.0, 0.0); self.runs];
        for ((r, b), f) in self.run.iter().zip(base).zip(fit) {
            by_run[*r].0 += b;
            by_run[*r].1 += f;
        }
        let (all, left): (f64, f64) = by_run.iter().fold((0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1));
        let r2 = ratio(base, fit);
        let without = |i: usize| {
            let (b, f) = (all - by_run[i].0, left - by_run[i].1);
            (b > 0.0).then(|| 1.0 - f / b)
        };
        let mut notes = Vec::new();
        if self.columns > MOST_INPUTS {
            notes.push(format!("inputs as their {MOST_INPUTS} leading components"));
        }
        if !self.within_turn {
            notes.push("no turn has two runs: the null shuffles over all turns".into());
        }
        Regression {
            model,
            r2,
            interval: r2.and_then(|v| jackknife(self.runs, v, without)).map(|i| Interval { hi: i.hi.min(1.0), ..i }),
            null_mean: mean(null),
            null_hi: quantile(null, 0.95),
            p: r2.and_then(|v| permutation_p(v, null)),
            pairs: self.next.len(),
            runs: self.runs,
            inputs: self.columns,
            reason: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }
}

fn column(values: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i])
}

fn errors(predicted: &[f64], y: &[f64]) -> Vec<f64> {
    predicted.iter().zip(y).map(|(p, y)| (p - y) * (p - y)).collect()
}

fn ratio(base: &[f64], fit: &[f64]) -> Option<f64> {
    let (b, f) = (base.iter().sum::<f64>(), fit.iter().sum::<f64>());
    (b > 0.0).then(|| 1.0 - f / b)
}

fn flat(y: &[f64]) -> bool {
    let size = y.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    !(variance(y).unwrap_or_default().sqrt() > 1e-12 * size)
}

/// One row per model.
pub fn regression_table(of: &[Regression]) -> Table {
    let columns = ["model", "r2", "ci_low", "ci_high", "null_mean", "null_95", "p_value", "pairs", "runs", "inputs"];
    let mut table = Table::new("regression", &[&columns[..], &["reason"]].concat());
    for r in of {
        let mut row: Vec<Cell> = vec![r.model.into(), r.r2.into()];
        row.extend([r.interval.map(|i| i.lo).into(), r.interval.map(|i| i.hi).into()]);
        row.extend([r.null_mean.into(), r.null_hi.into(), r.p.into()]);
        row.extend([r.pairs.into(), r.runs.into(), r.inputs.into(), r.reason.clone().into()]);
        table.push(row);
    }
    table
}
