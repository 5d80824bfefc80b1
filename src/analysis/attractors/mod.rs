//! Attractors in a space of states: linear return dynamics, basins, a Markov chain over them, depth by perturbation, and
//! the conditions under which any of it is called an attractor.

pub mod basins;
pub mod conditions;
pub mod depth;
pub mod dynamics;
pub mod kmeans;
pub mod lag;
pub mod logistic;
pub mod loops;
pub mod markov;
pub mod modes;
pub mod paired;
pub mod shuffle;
pub mod steps;
mod tables;
#[cfg(test)]
mod tests;

pub use conditions::{Condition, Outcome, Verdict};
pub use tables::tables;

use super::series::{Run, Series};
use basins::{Basins, Boundary};
use depth::Pushes;
use dynamics::Dynamics;
use loops::Repetition;
use markov::Markov;
use paired::Dispersion;
use shuffle::{Beyond, Clock, beyond_shuffle};
use steps::Steps;

/// How much is drawn, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Resamples of runs or starts behind an interval.
    pub resamples: usize,
    /// Shuffles of the turns.
    pub shuffles: usize,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { resamples: 1000, shuffles: 199, seed: 0 }
    }
}

/// What was found at one site. What could not be computed is an error in words.
#[derive(Clone, Debug)]
pub struct Found {
    pub site: String,
    /// Of all runs together.
    pub dynamics: Result<Dynamics, String>,
    /// Of each basin by itself, where there are several.
    pub within: Vec<Result<Dynamics, String>>,
    /// What the state says beyond the shuffle, every turn number having a mean of its own.
    pub beyond: Result<Beyond, String>,
    /// The same with a straight line over turns, where a mode turns and lasts: runs that go round in step would otherwise
    /// leave nothing.
    pub turning: Option<Beyond>,
    pub basins: Result<Basins, String>,
    pub boundary: Result<Boundary, String>,
    pub markov: Result<Markov, String>,
    pub paired: Vec<Dispersion>,
    pub pushes: Result<Pushes, String>,
    pub repetition: Option<Repetition>,
    pub conditions: Vec<Condition>,
    pub verdict: Verdict,
}

/// Every site, in order, with conditions that compare sites; and the verdict they share.
pub fn attractors(series: &[Series], options: Options) -> (Vec<Found>, Verdict) {
    let mut all: Vec<Found> = series.iter().map(|s| one(s, options)).collect();
    conditions::compare(series, &mut all);
    let first = all.first().map_or(Verdict::Undecided, |f| f.verdict);
    let shared = all.iter().all(|f| f.verdict == first);
    (all, if shared { first } else { Verdict::Undecided })
}

fn one(series: &Series, o: Options) -> Found {
    let basins = basins::basins(series, o.resamples, o.seed);
    let label = |r: usize| basins.as_ref().ok().and_then(|b| b.labels[r]).unwrap_or(0);
    let lists = free_steps(series);
    let steps = Steps::new(series, |r, _| lists[r].clone());
    let dynamics = dynamics::dynamics(series, &steps, o.resamples, o.seed);
    let within = match &basins {
        Ok(b) if b.count() > 1 => (0..b.count()).map(|basin| inside(series, b, &lists, basin, o)).collect(),
        _ => Vec::new(),
    };
    let shuffled = |clock| beyond_shuffle(series, &lists, clock, label, |_, _| Vec::new(), o.shuffles, o.seed);
    let beyond = shuffled(Clock::Every);
    let lasts = dynamics.as_ref().is_ok_and(|d| d.persistent.is_some());
    let turning = if lasts { shuffled(Clock::Line).ok() } else { None };
    let with = |b: &Result<Basins, String>| b.as_ref().map_err(Clone::clone).cloned();
    let mut found = Found {
        site: series.site.clone(),
        boundary: with(&basins).and_then(|b| basins::boundary(series, &b, o.resamples, o.seed)),
        markov: with(&basins).map(|b| markov::markov(series, &b, o.resamples, o.seed)),
        pushes: with(&basins).and_then(|b| depth::pushes(series, &b, o.resamples, o.seed)),
        paired: paired::paired(series, o.resamples, o.seed),
        repetition: loops::repetition(series),
        dynamics,
        within,
        beyond,
        turning,
        basins,
        conditions: Vec::new(),
        verdict: Verdict::Undecided,
    };
    found.conditions = conditions::conditions(series, &found, &lists, o);
    found
}

/// Steps before any push, those of phase `free` where any is; all steps without a push where these are too few.
fn free_steps(series: &Series) -> Vec<Vec<usize>> {
    let named = |run: &Run, t: usize| run.turns[t].phase.as_deref() == Some("free");
    let any = series.runs.iter().any(|r| (0..r.turns.len()).any(|t| named(r, t)));
    let free = |run: &Run| -> Vec<usize> {
        let first = run.free();
        run.steps().filter(|&t| t + 1 < first && (!any || named(run, t + 1))).collect()
    };
    let lists: Vec<Vec<usize>> = series.runs.iter().map(free).collect();
    let enough = 2 * (1 + series.k + series.m);
    if lists.iter().map(Vec::len).sum::<usize>() >= enough && lists.iter().filter(|l| !l.is_empty()).count() > 2 {
        return lists;
    }
    series.runs.iter().map(|r| r.steps().collect()).collect()
}

/// The dynamics of runs that end in a basin, over steps within it.
fn inside(
    series: &Series,
    basins: &Basins,
    lists: &[Vec<usize>],
    basin: usize,
    o: Options,
) -> Result<Dynamics, String> {
    let own = |run: &Run, t: usize| basins.locate(&run.turns[t].z).0 == basin;
    let steps = Steps::new(series, |r, run| {
        if basins.labels[r] != Some(basin) {
            return Vec::new();
        }
        lists[r].iter().copied().filter(|&t| own(run, t) && own(run, t + 1)).collect()
    });
    dynamics::dynamics(series, &steps, o.resamples.min(200), o.seed)
}
