//! When a run has left what is normal: a two-sided CUSUM (Page 1954) with a calibrated threshold.

use super::ALL;
use super::band::{Band, Source};
use super::runs::{Run, Step, domains};
use crate::analysis::interval::wilson;
use crate::analysis::nulls::normal;
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::Rng;
use std::collections::BTreeMap;

/// A stronger dependence has no stationary run to simulate.
const MOST_DEPENDENT: f64 = 0.98;

/// How alarms are raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlarmOptions {
    /// What is subtracted from every deviation, in standard deviations: half of the shift that should be seen soonest.
    pub reference: f64,
    /// The share of normal runs that may raise an alarm over their whole length.
    pub false_alarms: f64,
    pub draws: usize,
    pub seed: u64,
}

impl Default for AlarmOptions {
    fn default() -> AlarmOptions {
        AlarmOptions { reference: 0.5, false_alarms: 0.05, draws: 2000, seed: 0 }
    }
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub run: String,
    pub domain: Option<String>,
    /// Turns that were looked at.
    pub turns: usize,
    /// The first turn whose sum is above the threshold, and whether the run went up.
    pub at: Option<(usize, bool)>,
    /// The largest sum.
    pub peak: f64,
    pub threshold: f64,
    /// Where the threshold comes from.
    pub method: Method,
}

/// How a threshold was calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Calibration runs of that length: the share of false alarms holds however their turns depend on each other.
    Runs,
    /// Simulated runs that start from the default's values and whose turns depend on each other as those of the data.
    Simulated,
}

/// Alarms of all runs, and the turns they had.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarms {
    pub options: AlarmOptions,
    /// How far a turn follows the one before it in simulated runs: the coefficient of a first-order autoregression.
    pub dependence: f64,
    pub runs: Vec<Alarm>,
    /// Every turn that some run was looked at: domain (or [`ALL`]), turn, runs with an alarm by then, runs.
    pub by_turn: Vec<(String, usize, usize, usize)>,
}

/// Sums S+ = max(0, S+ + x - k) and S- = max(0, S- - x - k) of deviations x from the default's mean, in its standard
/// deviations. Where the band is that of first turns, these are not looked at again.
///
/// The threshold is that which `false_alarms` of normal runs of the same number of turns pass. With enough calibration
/// runs that are as long it is the order statistic of their own largest sums (each standardised by the others), so that a
/// new run of their kind passes it with at most that chance. Otherwise runs are simulated: a first-order autoregression that
/// starts from the default's values and keeps their deviation, the mean and deviation drawn anew each time. How far its turns
/// follow each other is taken from the calibration runs, or else from the runs themselves about the mean of each turn; drift
/// that differs between runs raises it, and with it the threshold.
pub fn alarms(runs: &[Run], band: &Band, options: AlarmOptions) -> Alarms {
    let skipped = usize::from(band.source == Source::FirstTurn);
    let dependence = match band.source {
        Source::FirstTurn => dependence(runs),
        Source::Calibration => band.lag1,
    };
    let dependence = dependence.unwrap_or_default().clamp(0.0, MOST_DEPENDENT);
    let mut thresholds: BTreeMap<usize, (f64, Method)> = BTreeMap::new();
    let mut found = Vec::with_capacity(runs.len());
    for run in runs {
        let steps = run.steps.get(skipped..).unwrap_or_default();
        let (threshold, method) =
            *thresholds.entry(steps.len()).or_insert_with(|| threshold(band, steps.len(), dependence, &options));
        let x: Vec<f64> = steps.iter().map(|s| (s.projection - band.mean) / band.sd).collect();
        let sums = sums(&x, options.reference);
        let at = sums.iter().position(|(up, down)| up.max(*down) > threshold);
        found.push(Alarm {
            run: run.name.clone(),
            domain: run.domain().map(str::to_string),
            turns: steps.len(),
            at: at.map(|i| (steps[i].turn, sums[i].0 >= sums[i].1)),
            peak: sums.iter().fold(0.0, |m, (u, d)| m.max(*u).max(*d)),
            threshold,
            method,
        });
    }
    Alarms { options, dependence, by_turn: by_turn(runs, &found, skipped), runs: found }
}

fn sums(x: &[f64], k: f64) -> Vec<(f64, f64)> {
    let mut s = (0.0_f64, 0.0_f64);
    let mut next = |x: &f64| {
        s = ((s.0 + x - k).max(0.0), (s.1 - x - k).max(0.0));
        s
    };
    x.iter().map(&mut next).collect()
}

fn peak(x: impl Iterator<Item = f64>, k: f64) -> f64 {
    let (mut up, mut down, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
    for x in x {
        (up, down) = ((up + x - k).max(0.0), (down - x - k).max(0.0));
        most = most.max(up).max(down);
    }
    most
}

fn threshold(band: &Band, turns: usize, dependence: f64, o: &AlarmOptions) -> (f64, Method) {
    if let Some(of_runs) = of_runs(band, turns, o) {
        return (of_runs, Method::Runs);
    }
    (simulated(band, turns, dependence, o), Method::Simulated)
}

/// The smallest value that a new run passes with at most the stated chance; `None` where there are too few runs.
fn of_runs(band: &Band, turns: usize, o: &AlarmOptions) -> Option<f64> {
    if band.source != Source::Calibration || turns == 0 {
        return None;
    }
    let (n, sum) = (band.count() as f64, band.values.iter().flatten().sum::<f64>());
    let squares: f64 = band.values.iter().flatten().map(|v| (v - band.mean).powi(2)).sum();
    let mut peaks = Vec::new();
    for run in band.values.iter().filter(|v| v.len() >= turns) {
        let m = n - run.len() as f64;
        if m < 3.0 {
            return None;
        }
        let mean = (sum - run.iter().sum::<f64>()) / m;
        let own: f64 = run.iter().map(|v| (v - band.mean).powi(2)).sum();
        let variance = (squares - own - m * (mean - band.mean).powi(2)) / (m - 1.0);
        if !(variance > 0.0) {
            return None;
        }
        peaks.push(peak(run[..turns].iter().map(|v| (v - mean) / variance.sqrt()), o.reference));
    }
    peaks.sort_by(f64::total_cmp);
    let place = ((peaks.len() + 1) as f64 * (1.0 - o.false_alarms)).ceil() as usize;
    peaks.get(place.checked_sub(1)?).copied()
}

/// The quantile of the largest sum of simulated runs.
fn simulated(band: &Band, turns: usize, dependence: f64, o: &AlarmOptions) -> f64 {
    let pool: Vec<f64> = band.values.iter().flatten().map(|v| (v - band.mean) / band.sd).collect();
    let mut rng = stream(o.seed, &format!("alarms/{turns}"));
    // A smoothed bootstrap that keeps mean 0 and variance 1.
    let width = (pool.len() as f64).powf(-0.2);
    let spread = ((pool.len() as f64 - 1.0) / pool.len() as f64 + width * width).sqrt();
    // Long runs need fewer draws for the same work; what they need of the default is drawn with them.
    let work = (turns + pool.len()).max(1);
    let draws = o.draws.min(50_000_000 / work).max(200);
    let mut peaks: Vec<f64> = (0..draws)
        .map(|_| {
            let mut draw = || (pool[rng.random_range(0..pool.len())] + width * normal(&mut rng)) / spread;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..pool.len() {
                let v = draw();
                sum += v;
                squares += v * v;
            }
            let n = pool.len() as f64;
            let mean = sum / n;
            let sd = ((squares - n * mean * mean) / (n - 1.0)).max(1e-12).sqrt();
            let mut at = draw();
            let fresh = (1.0 - dependence * dependence).sqrt();
            let step = |_| {
                at = dependence * at + fresh * draw();
                (at - mean) / sd
            };
            peak((0..turns).map(step), o.reference)
        })
        .collect();
    peaks.sort_by(f64::total_cmp);
    let place = ((draws as f64 * (1.0 - o.false_alarms)).ceil() as usize).clamp(1, draws);
    peaks[place - 1]
}

/// The regression of a turn on the one before it, each relative to the mean of the runs at its turn (of its domain, where
/// two of them are there); `None` where no pair of turns has others to be compared with.
fn dependence(runs: &[Run]) -> Option<f64> {
    let mut cells: BTreeMap<(usize, &str), (f64, f64)> = BTreeMap::new();
    for s in runs.iter().flat_map(|r| &r.steps) {
        let cell = cells.entry((s.turn, &s.domain)).or_default();
        *cell = (cell.0 + s.projection, cell.1 + 1.0);
    }
    // With n values about their own mean each has lost 1/n of its square.
    let rest = |s: &Step| {
        let (sum, n) = cells[&(s.turn, s.domain.as_str())];
        (n > 1.0).then(|| (s.projection - sum / n) * (n / (n - 1.0)).sqrt())
    };
    let (mut products, mut squares) = (0.0, 0.0);
    for w in runs.iter().flat_map(|r| r.steps.windows(2)).filter(|w| w[1].turn == w[0].turn + 1) {
        if let (Some(a), Some(b)) = (rest(&w[0]), rest(&w[1])) {
            products += a * b;
            squares += a * a;
        }
    }
    (squares > 0.0).then(|| products / squares)
}

fn by_turn(runs: &[Run], alarms: &[Alarm], skipped: usize) -> Vec<(String, usize, usize, usize)> {
    let split = domains(runs).len() > 1;
    let mut cells: BTreeMap<(usize, &str, usize), (usize, usize)> = BTreeMap::new();
    for (run, alarm) in runs.iter().zip(alarms) {
        let own = run.domain().filter(|_| split);
        for step in run.steps.get(skipped..).unwrap_or_default() {
            let raised = usize::from(alarm.at.is_some_and(|(t, _)| t <= step.turn));
            for key in [Some((0, ALL)), own.map(|d| (1, d))].into_iter().flatten() {
                let cell = cells.entry((key.0, key.1, step.turn)).or_default();
                *cell = (cell.0 + raised, cell.1 + 1);
            }
        }
    }
    cells.into_iter().map(|((_, d, t), (k, n))| (d.to_string(), t, k, n)).collect()
}

/// One row per run; `alarm_turn` is empty where there was no alarm.
pub fn alarm_table(alarms: &Alarms) -> Table {
    let columns =
        ["run", "domain", "turns", "alarm_turn", "direction", "peak", "threshold", "method", "dependence", "reason"];
    let mut table = Table::new("alarms", &columns);
    for a in &alarms.runs {
        let reason = match a.at {
            Some(_) => None,
            None if a.turns == 0 => Some("no turn behind the first"),
            None => Some("no alarm"),
        };
        let mut row: Vec<Cell> = vec![a.run.clone().into(), a.domain.clone().into(), a.turns.into()];
        row.push(a.at.map(|(t, _)| t).into());
        row.push(a.at.map(|(_, up)| if up { "up" } else { "down" }).into());
        row.extend([a.peak.into(), a.threshold.into()]);
        row.push(if a.method == Method::Runs { "calibration runs" } else { "simulated" }.into());
        row.push((a.method == Method::Simulated).then_some(alarms.dependence).into());
        row.push(reason.into());
        table.push(row);
    }
    table
}

/// One row per domain and turn: the share of runs with an alarm by then, with Wilson's 95 % interval. Runs that have ended
/// are not counted any more.
pub fn alarmed_table(alarms: &Alarms) -> Table {
    let mut table = Table::new("alarmed", &["domain", "turn", "share", "ci_low", "ci_high", "runs", "false_alarms"]);
    for (domain, turn, raised, runs) in &alarms.by_turn {
        let interval = wilson(*raised, *runs, 0.95);
        let mut row: Vec<Cell> = vec![domain.clone().into(), (*turn).into()];
        row.push((*raised as f64 / *runs as f64).into());
        row.extend([interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into(), (*runs).into()]);
        row.push(alarms.options.false_alarms.into());
        table.push(row);
    }
    table
}
