//! When something is called an attractor: five conditions, and that the state predicts beyond the shuffle.

use super::basins::{Basins, last_third};
use super::depth::Dose;
use super::dynamics::{Dynamics, dynamics};
use super::kmeans::agreement;
use super::shuffle::{Beyond, Clock, beyond_shuffle};
use super::steps::Steps;
use super::{Found, Options};
use crate::analysis::interval::wilson;
use crate::analysis::series::Series;
use crate::rng::stream;
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What became of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Untested,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Untested => "untested",
        })
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub name: &'static str,
    pub outcome: Outcome,
    pub value: Option<f64>,
    pub bar: Option<f64>,
    /// What the value is, and what stood in the way.
    pub reason: String,
}

/// What the runs are drawn to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One point, and every condition was tested and passed.
    FixedPoint,
    /// One point: nothing failed, and something could not be tested.
    ProvisionalFixedPoint,
    /// States that follow each other in turn.
    Cycle,
    /// Several basins; no condition failed.
    Several,
    /// A condition failed.
    None,
    /// The data do not say.
    Undecided,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::FixedPoint => "fixed_point",
            Verdict::ProvisionalFixedPoint => "provisional_fixed_point",
            Verdict::Cycle => "cycle",
            Verdict::Several => "several",
            Verdict::None => "none",
            Verdict::Undecided => "undecided",
        })
    }
}

/// Level of every test.
const LEVEL: f64 = 0.05;
/// Starts from which an attractor has to be reached.
const STARTS: usize = 5;
/// Movement of the fixed point over a run, in standard deviations, from which it is not fixed.
const MOVING: f64 = 1.0;
/// Agreement of partitions (adjusted Rand index) that counts as the same.
const SAME: f64 = 0.8;

pub const STARTS_NAME: &str = "starts";
pub const CONTRACTION: &str = "contraction";
pub const RETURNS: &str = "returns";
pub const SECOND_VIEW: &str = "second_view";
pub const CONFOUNDS: &str = "length_and_repetition";
pub const BEYOND: &str = "beyond_shuffle";

fn passed(name: &'static str, ok: bool, value: f64, bar: f64, reason: impl Into<String>) -> Condition {
    let outcome = if ok { Outcome::Passed } else { Outcome::Failed };
    Condition { name, outcome, value: Some(value), bar: Some(bar), reason: reason.into() }
}

fn untested(name: &'static str, reason: impl Into<String>) -> Condition {
    Condition { name, outcome: Outcome::Untested, value: None, bar: None, reason: reason.into() }
}

/// The conditions that one site decides by itself; [`compare`] adds the one that takes two.
pub(super) fn conditions(series: &Series, found: &Found, lists: &[Vec<usize>], o: Options) -> Vec<Condition> {
    vec![
        starts(series, found, o),
        contraction(found),
        returns(found),
        untested(SECOND_VIEW, "a single layer"),
        confounds(series, found, lists, o),
        beyond(found.turning.as_ref().or(found.beyond.as_ref().ok()), &found.beyond),
    ]
}

fn beyond(tested: Option<&Beyond>, result: &Result<Beyond, String>) -> Condition {
    match (tested, result) {
        (Some(b), _) => passed(
            BEYOND,
            b.p <= LEVEL,
            b.p,
            LEVEL,
            format!("p of {} shuffles; share predicted {:.3}, shuffled up to {:.3}", b.shuffles, b.share, b.null),
        ),
        (None, Err(why)) => untested(BEYOND, why.clone()),
        (None, Ok(_)) => untested(BEYOND, ""),
    }
}

/// Runs from many starts come to the core of a basin: they are there at the end more often than at the beginning, against
/// swaps of end and beginning, a start at a time.
fn starts(series: &Series, found: &Found, o: Options) -> Condition {
    let basins = match &found.basins {
        Ok(b) => b,
        Err(why) => return untested(STARTS_NAME, why.clone()),
    };
    let mut by: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for (run, label) in series.runs.iter().zip(&basins.labels) {
        let (Some(start), Some(_)) = (run.start.as_deref(), label) else { continue };
        if run.free() < 3 {
            continue;
        }
        let core = |t: usize| f64::from(u8::from(basins.locate(&run.turns[t].z).1 <= 1.0));
        let end: Vec<f64> = last_third(run).map(core).collect();
        let entry = by.entry(start).or_default();
        entry.0 += core(0);
        entry.1 += end.iter().sum::<f64>() / end.len().max(1) as f64;
        entry.2 += 1.0;
    }
    if by.len() < STARTS {
        return untested(STARTS_NAME, format!("{} distinct starts; {STARTS} are needed", by.len()));
    }
    let most = basins.weights.iter().map(|w| w.starts).max().unwrap_or(0);
    if most < STARTS {
        return passed(STARTS_NAME, false, most as f64, STARTS as f64, "distinct starts of the widest basin");
    }
    let gains: Vec<f64> = by.values().map(|(first, end, n)| (end - first) / n).collect();
    let begun = by.values().map(|v| v.0 / v.2).sum::<f64>() / by.len() as f64;
    if begun > 0.9 {
        let reason = format!("{:.0} % of the runs begin where runs end: nothing is left to come to", 100.0 * begun);
        return untested(STARTS_NAME, reason);
    }
    let total: f64 = gains.iter().sum();
    let mut rng = stream(o.seed, "starts");
    const DRAWS: usize = 999;
    let above = (0..DRAWS)
        .filter(|_| {
            let swapped: f64 = gains.iter().map(|g| if rng.random::<bool>() { *g } else { -g }).sum();
            swapped >= total - 1e-12 * total.abs()
        })
        .count();
    let p = (1 + above) as f64 / (1 + DRAWS) as f64;
    let reason = format!("p against swapped ends; {most} of {} starts reach the widest basin", by.len());
    passed(STARTS_NAME, p <= LEVEL, p, LEVEL, reason)
}

/// The upper end of the spectral radius is below 1: within each basin where there are several.
fn contraction(found: &Found) -> Condition {
    let all: Vec<(Option<usize>, &Dynamics)> = match found.within.is_empty() {
        true => found.dynamics.iter().map(|d| (None, d)).collect(),
        false => found.within.iter().enumerate().filter_map(|(b, d)| Some((Some(b), d.as_ref().ok()?))).collect(),
    };
    if all.is_empty() {
        let why = found.dynamics.as_ref().err().cloned();
        return untested(CONTRACTION, why.unwrap_or_else(|| "no basin has enough steps".into()));
    }
    let of = |basin: Option<usize>| basin.map_or(String::new(), |b| format!(" of basin {b}"));
    let highest = all.iter().map(|a| a.1.radius.hi).fold(0.0, f64::max);
    for (basin, d) in &all {
        if let Some(moved) = d.drift.filter(|m| *m > MOVING) {
            let reason = format!("the fixed point{} moves by {moved:.1} standard deviations over a run", of(*basin));
            return passed(CONTRACTION, false, moved, MOVING, reason);
        }
        let noisy = d.lagged.as_ref().filter(|l| l.interval.0 > d.radius.hi && l.interval.1 >= 1.0);
        if let Some(l) = noisy {
            let reason = "over two turns the state is kept: noise of measurement makes it look as if it returned";
            return passed(CONTRACTION, false, l.interval.1, 1.0, reason);
        }
    }
    let left = found.within.iter().filter(|d| d.is_err()).count();
    let mut reason = "upper end of the spectral radius".to_string();
    if left > 0 {
        reason += &format!("; {left} basins have too few steps");
    }
    passed(CONTRACTION, highest < 1.0, highest, 1.0, reason)
}

/// Runs that are pushed less than half of them need to leave come back.
fn returns(found: &Found) -> Condition {
    let pushes = match &found.pushes {
        Ok(p) => p,
        Err(why) => return untested(RETURNS, why.clone()),
    };
    let Some(whole) = pushes.depths.first() else { return untested(RETURNS, "no pushes") };
    let below = match &whole.d50 {
        Ok(Dose::At { value, .. }) => *value,
        Ok(Dose::Above(_)) => f64::INFINITY,
        Ok(Dose::Below(least)) => {
            let reason = format!("every push moved more than half of the runs: the smallest dose was {least}");
            return untested(RETURNS, reason);
        }
        Err(why) => return untested(RETURNS, why.clone()),
    };
    let of = || pushes.all.iter().filter(|p| p.dose < below);
    let (n, back) = (of().count(), of().filter(|p| !p.switched).count());
    let Some(interval) = wilson(back, n, 0.95) else { return untested(RETURNS, "no push was below d50") };
    let reason = format!("lower end of the share of {n} pushes below d50 after which the run came back ({back})");
    passed(RETURNS, interval.lo > 0.5, interval.lo, 0.5, reason)
}

/// The state predicts with the length of replies held fixed, and without exact repetitions.
fn confounds(series: &Series, found: &Found, lists: &[Vec<usize>], o: Options) -> Condition {
    let used = || series.runs.iter().zip(lists).filter(|(_, l)| !l.is_empty()).flat_map(|(r, _)| &r.turns);
    let lengths = used().all(|t| t.chars.is_some());
    let hashes = used().all(|t| t.text_hash.is_some());
    let label = |r: usize| found.basins.as_ref().ok().and_then(|b| b.labels[r]).unwrap_or(0);
    let clock = if found.turning.is_some() { Clock::Line } else { Clock::Every };
    let test = |lists: &[Vec<usize>], length: bool| {
        let extra = |r: usize, t: usize| -> Vec<f64> {
            let chars = series.runs[r].turns[t].chars.filter(|_| length);
            chars.map(|c| c.max(0.0).ln_1p()).into_iter().collect()
        };
        beyond_shuffle(series, lists, clock, label, extra, o.shuffles, o.seed)
    };
    let mut worst: Option<f64> = None;
    if lengths {
        match test(lists, true) {
            Ok(b) if b.p > LEVEL => {
                return passed(CONFOUNDS, false, b.p, LEVEL, "p with the length of the replies held fixed");
            }
            Ok(b) => worst = Some(b.p),
            Err(why) => return untested(CONFOUNDS, why),
        }
    }
    if hashes {
        let (fresh, repeated) = without_repetition(series, lists);
        if repeated > 0 {
            let steps = Steps::new(series, |r, _| fresh[r].clone());
            let total = repeated + steps.len();
            match (dynamics(series, &steps, 0, o.seed), test(&fresh, lengths)) {
                (Ok(d), Ok(b)) => {
                    if b.p > LEVEL || (found.within.is_empty() && found.turning.is_none() && d.radius.hi >= 1.0) {
                        let reason =
                            format!("p without {repeated} of {total} steps into a reply that was given before");
                        return passed(CONFOUNDS, false, b.p, LEVEL, reason);
                    }
                    worst = Some(worst.map_or(b.p, |w| w.max(b.p)));
                }
                _ => {
                    let share = repeated as f64 / total as f64;
                    let reason = "share of steps into a reply that was given before: too few are left";
                    return passed(CONFOUNDS, false, share, 1.0 - share, reason);
                }
            }
        }
    }
    match (lengths, hashes) {
        (true, true) => passed(
            CONFOUNDS,
            true,
            worst.unwrap_or(0.0),
            LEVEL,
            "largest p, with the length of the replies held fixed and without exact repetitions",
        ),
        (true, false) => untested(CONFOUNDS, "length explains nothing; no text_hash to look for repetitions"),
        (false, true) => untested(CONFOUNDS, "repetition explains nothing; no chars to look at length"),
        (false, false) => untested(CONFOUNDS, "neither chars nor text_hash in every row"),
    }
}

/// Steps into replies that the run had not given before, and how many others there were.
fn without_repetition(series: &Series, lists: &[Vec<usize>]) -> (Vec<Vec<usize>>, usize) {
    let mut gone = 0;
    let fresh = series.runs.iter().zip(lists).map(|(run, list)| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let again: Vec<bool> =
            run.turns.iter().map(|t| t.text_hash.as_deref().is_some_and(|h| !seen.insert(h))).collect();
        let kept: Vec<usize> = list.iter().copied().filter(|&t| !again[t + 1]).collect();
        gone += list.len() - kept.len();
        kept
    });
    (fresh.collect(), gone)
}

/// The same runs at another layer, and in another metric; then the verdicts.
pub(super) fn compare(series: &[Series], all: &mut [Found]) {
    let named: Vec<Vec<Option<usize>>> = all.iter().map(labels).collect();
    for i in 0..all.len() {
        if all.len() > 1 {
            let others = (0..all.len()).filter(|j| *j != i).map(|j| {
                let shared = shared_labels(&series[i], &named[i], &series[j], &named[j]);
                let same = if shared.0.is_empty() { 0.0 } else { agreement(&shared.0, &shared.1) };
                let held = |f: &Found| [CONTRACTION, BEYOND].iter().all(|n| outcome(f, n) == Outcome::Passed);
                (j, same, held(&all[j]))
            });
            let best = others.max_by(|a, b| (a.2, a.1).partial_cmp(&(b.2, b.1)).unwrap_or(std::cmp::Ordering::Equal));
            let metric = all[i].basins.as_ref().map_or(0.0, |b: &Basins| b.second_metric);
            if let Some((j, same, held)) = best {
                let value = same.min(metric);
                let reason = format!(
                    "agreement of the basins with those at {} ({same:.2}{}) and in standard deviations ({metric:.2})",
                    all[j].site,
                    if held { "" } else { ", where the state does not return or says nothing beyond the shuffle" },
                );
                let found = passed(SECOND_VIEW, held && value >= SAME, value, SAME, reason);
                if let Some(c) = all[i].conditions.iter_mut().find(|c| c.name == SECOND_VIEW) {
                    *c = found;
                }
            }
        }
    }
    all.iter_mut().for_each(|f| f.verdict = verdict(f));
}

fn labels(found: &Found) -> Vec<Option<usize>> {
    found.basins.as_ref().map(|b| b.labels.clone()).unwrap_or_default()
}

/// Basins of the runs that both sites have.
fn shared_labels(a: &Series, of_a: &[Option<usize>], b: &Series, of_b: &[Option<usize>]) -> (Vec<usize>, Vec<usize>) {
    let theirs: BTreeMap<&str, Option<usize>> =
        b.runs.iter().map(|r| r.name.as_str()).zip(of_b.iter().copied()).collect();
    let both = a.runs.iter().zip(of_a).filter_map(|(r, l)| Some(((*l)?, (*theirs.get(r.name.as_str())?)?)));
    both.unzip()
}

fn outcome(found: &Found, name: &str) -> Outcome {
    found.conditions.iter().find(|c| c.name == name).map_or(Outcome::Untested, |c| c.outcome)
}

fn verdict(found: &Found) -> Verdict {
    let of = |name| outcome(found, name);
    let turns = found.dynamics.as_ref().is_ok_and(|d| d.persistent.is_some());
    if turns && of(BEYOND) == Outcome::Passed {
        return Verdict::Cycle;
    }
    if of(BEYOND) == Outcome::Untested || of(CONTRACTION) == Outcome::Untested {
        return Verdict::Undecided;
    }
    let others = [STARTS_NAME, RETURNS, SECOND_VIEW, CONFOUNDS];
    if of(BEYOND) == Outcome::Failed || others.iter().any(|n| of(n) == Outcome::Failed) {
        return Verdict::None;
    }
    if of(CONTRACTION) == Outcome::Failed {
        let outside = found.dynamics.as_ref().is_ok_and(|d| d.radius.lo >= 1.0);
        return if outside { Verdict::None } else { Verdict::Undecided };
    }
    let several = found.basins.as_ref().is_ok_and(|b| b.count() > 1);
    match (several, others.iter().any(|n| of(n) == Outcome::Untested)) {
        (true, _) => Verdict::Several,
        (false, true) => Verdict::ProvisionalFixedPoint,
        (false, false) => Verdict::FixedPoint,
    }
}
