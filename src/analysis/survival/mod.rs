//! How long a persona is kept: survival of runs until their break, by group, in turns and in tokens of context.
//!
//! A run is followed until the persona breaks (the event) or until nobody looked any further (censored: it was still in
//! persona then). The curve is Kaplan and Meier's (1958), with Greenwood's variance on the log(-log) scale; groups are
//! compared by the log-rank test, by the proportional hazards of Cox (1972; ties as Efron 1977) and by restricted means.
//! A comparison with too few events is refused by name: its cells are empty and its row says why.

mod agree;
mod compare;
mod cox;
mod curve;
mod logrank;
mod rank;
mod tables;
pub(crate) mod tail;
#[cfg(test)]
mod tests;

pub use agree::Agreement;
pub use compare::Test;
pub use cox::{Cox, cox};
pub use curve::{Curve, Point, RestrictedMean};
pub use logrank::log_rank;
pub use rank::exact_spearman;

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// No run lasts longer, in turns or tokens.
const LONGEST: f64 = 1e15;

/// Fewest events of a group, and of all groups, for tests that lean on large samples.
pub const LEAST_EVENTS: (usize, usize) = (5, 10);

/// What time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    Turns,
    /// Tokens of context.
    Tokens,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Clock::Turns { "turns" } else { "tokens" })
    }
}

/// One run until its break or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub run: String,
    pub group: String,
    /// Turns until the break, or until the run was no longer watched; positive.
    pub turns: f64,
    /// The same in tokens of context; for all runs or for none.
    pub tokens: Option<f64>,
    /// Whether the persona broke; a run without a break is censored.
    pub broke: bool,
    /// One value per name of [`Retention::covariates`].
    pub covariates: Vec<Option<f64>>,
    /// How it broke, in the words of whoever labelled it.
    pub mode: Option<String>,
}

/// The same runs by another definition of a break.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// `rule`, `classifier`, `projection`, ...
    pub name: String,
    /// Turns until the break or the end, and whether it broke; one per run, `None` where it was not judged.
    pub ended: Vec<Option<(f64, bool)>>,
}

/// Runs to be analysed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retention {
    pub runs: Vec<Run>,
    /// Names of numbers that are known of every run before it starts: teaching tokens, words per reply.
    pub covariates: Vec<String>,
    pub definitions: Vec<Definition>,
}

/// Choices of an analysis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Where restricted means end, in turns; the smallest of the groups' largest times when left out.
    pub turns: Option<f64>,
    /// The same in tokens.
    pub tokens: Option<f64>,
    /// Decides resamples, and shuffles where there are too many runs for all of them.
    pub seed: u64,
}

/// The curve of one group by one clock, with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    pub clock: Clock,
    pub curve: Curve,
    /// Where the restricted mean ends.
    pub horizon: f64,
    /// `None` where the curve is not known up to the horizon.
    pub restricted: Option<RestrictedMean>,
}

/// What runs say about retention.
#[derive(Clone, Debug, PartialEq)]
pub struct Retained {
    /// By clock, then by the groups' names.
    pub groups: Vec<Group>,
    pub tests: Vec<Test>,
    pub agreement: Vec<Agreement>,
    /// Group, mode of failure, how many of the group's breaks.
    pub modes: Vec<(String, String, usize, usize)>,
    pub warnings: Vec<String>,
}

/// Times and events of one group.
pub(crate) type Ended = Vec<(f64, bool)>;

/// Analyses runs by every clock that they have. The order of the runs does not matter.
///
/// # Errors
/// No runs, a time that is not positive and finite, a run that is there twice in a group, tokens of some runs only,
/// lists of other lengths than there are runs or covariates.
pub fn retention(input: &Retention, options: &Options) -> Result<Retained> {
    check(input)?;
    let mut runs: Vec<&Run> = input.runs.iter().collect();
    runs.sort_by(|a, b| (&a.group, &a.run).cmp(&(&b.group, &b.run)));
    let mut found = Retained {
        groups: vec![],
        tests: vec![],
        agreement: agree::agreement(input, options.seed),
        modes: modes(&runs),
        warnings: vec![],
    };
    for clock in clocks(input) {
        let asked = if clock == Clock::Turns { options.turns } else { options.tokens };
        let ended = by_group(&runs, clock);
        let shortest = |e: &Ended| e.iter().map(|t| t.0).fold(0.0, f64::max);
        let horizon = asked.unwrap_or_else(|| ended.values().map(shortest).fold(f64::INFINITY, f64::min));
        if !(horizon > 0.0 && horizon.is_finite()) {
            return Err(Error::refused(
                format!("a restricted mean up to {horizon} {clock}"),
                "give a positive horizon, within the times of the runs",
            ));
        }
        let first = found.groups.len();
        for (name, ended) in &ended {
            let curve = Curve::of(ended);
            let restricted = curve.restricted_mean(horizon);
            found.groups.push(Group { name: name.to_string(), clock, curve, horizon, restricted });
        }
        let here = &found.groups[first..];
        found.tests.extend(compare::tests(input, &runs, clock, &ended, here, options.seed));
    }
    if clocks(input).len() == 1 {
        let what = "no column of tokens: turns alone cannot tell a lost persona from a full context";
        found.warnings.push(what.into());
    }
    Ok(found)
}

pub(crate) fn clocks(input: &Retention) -> Vec<Clock> {
    match input.runs.iter().all(|r| r.tokens.is_some()) {
        true => vec![Clock::Turns, Clock::Tokens],
        false => vec![Clock::Turns],
    }
}

pub(crate) fn time(run: &Run, clock: Clock) -> f64 {
    match clock {
        Clock::Turns => run.turns,
        Clock::Tokens => run.tokens.unwrap_or(f64::NAN),
    }
}

fn by_group<'a>(runs: &[&'a Run], clock: Clock) -> BTreeMap<&'a str, Ended> {
    let mut groups: BTreeMap<&str, Ended> = BTreeMap::new();
    for run in runs {
        groups.entry(&run.group).or_default().push((time(run, clock), run.broke));
    }
    groups
}

fn modes(runs: &[&Run]) -> Vec<(String, String, usize, usize)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut labelled: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs.iter().filter(|r| r.broke) {
        if let Some(mode) = &run.mode {
            *counts.entry((&run.group, mode)).or_default() += 1;
            *labelled.entry(&run.group).or_default() += 1;
        }
    }
    counts.into_iter().map(|((g, m), n)| (g.into(), m.into(), n, labelled[g])).collect()
}

fn check(input: &Retention) -> Result<()> {
    let refuse = |what: String, hint: &str| Err(Error::refused(what, hint));
    if input.runs.is_empty() {
        return refuse("no runs, no retention".into(), "give a row per run");
    }
    let mut seen = BTreeSet::new();
    for run in &input.runs {
        let times = [Some(run.turns), run.tokens];
        if let Some(bad) = times.into_iter().flatten().find(|t| !(*t > 0.0 && *t < LONGEST)) {
            let what = format!("run `{}` of group `{}` lasts {bad}", run.run, run.group);
            return refuse(what, "turns and tokens are counted from the start of the run: positive numbers");
        }
        if !seen.insert((&run.group, &run.run)) {
            let what = format!("run `{}` is there twice in group `{}`", run.run, run.group);
            return refuse(what, "give a row per run: the first break, or the end of a run without one");
        }
        if run.covariates.len() != input.covariates.len() {
            return refuse(format!("run `{}` has other covariates than the rest", run.run), "give one value per name");
        }
    }
    let tokens = input.runs.iter().filter(|r| r.tokens.is_some()).count();
    if tokens > 0 && tokens < input.runs.len() {
        let what = format!("{tokens} of {} runs have tokens", input.runs.len());
        return refuse(what, "give the tokens of every run, or leave the column out");
    }
    if let Some(d) = input.definitions.iter().find(|d| d.ended.len() != input.runs.len()) {
        return refuse(format!("definition `{}` is not about the same runs", d.name), "give one judgement per run");
    }
    Ok(())
}
