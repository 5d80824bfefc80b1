//! Depth: how hard a run has to be pushed to leave its basin, and whether it comes back when it is pushed less.

use super::basins::{Basins, last_third};
use super::logistic::firth;
use crate::analysis::interval::resample;
use crate::analysis::series::{Run, Series};
use crate::analysis::stats::quantile;
use crate::rng::stream;
use std::collections::BTreeMap;

/// A run that was pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// The index of the run.
    pub run: usize,
    pub dose: f64,
    /// The basin it was in before.
    pub home: usize,
    /// Whether it ended in another basin (or outside, where there is one basin only).
    pub switched: bool,
    /// Turns until half of the displacement was gone, of a run that came back.
    pub half_life: Option<f64>,
}

/// A dose, as far as the doses tried tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dose {
    /// With the ends of its 95 % interval; an end beyond the doses tried is `None`.
    At { value: f64, lo: Option<f64>, hi: Option<f64> },
    /// More than the largest that was tried.
    Above(f64),
    /// Less than the smallest.
    Below(f64),
}

impl Dose {
    /// The dose itself, where it is known.
    pub fn value(self) -> Option<f64> {
        if let Dose::At { value, .. } = self { Some(value) } else { None }
    }
}

/// The dose at which half of the runs leave, of one basin or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Depth {
    /// `None`: all basins.
    pub home: Option<usize>,
    /// The dose at which half of the runs have switched.
    pub d50: Result<Dose, String>,
    /// Of the curve in the logarithm of the dose.
    pub slope: Option<f64>,
    /// Dose, switched, pushed.
    pub shares: Vec<(f64, usize, usize)>,
}

/// The ends of a 95 % interval, where there is one.
pub type Ends = Option<(f64, f64)>;

/// Pushes of a site.
#[derive(Clone, Debug)]
pub struct Pushes {
    pub all: Vec<Push>,
    pub depths: Vec<Depth>,
    /// Of the runs that came back, the median half-life in turns with its interval over runs, and how many.
    pub half_life: Option<(f64, Ends, usize)>,
    /// d50 on the way up and on the way down, where phases say so, and the logarithm of their ratio with its interval.
    pub hysteresis: Option<(f64, f64, Ends)>,
    /// Runs that were pushed and whose basin before is not known.
    pub homeless: usize,
}

/// Looks at every run that was pushed.
///
/// # Errors
/// In words: no pushes, or none of which the basin before is known.
pub fn pushes(series: &Series, basins: &Basins, resamples: usize, seed: u64) -> Result<Pushes, String> {
    let pushed: Vec<usize> = (0..series.runs.len())
        .filter(|&r| series.runs[r].pushed.contains(&true) && series.runs[r].dose() > 0.0)
        .collect();
    if pushed.is_empty() {
        return Err("no run was pushed: there is no dose above 0".into());
    }
    let homes = homes(series, basins);
    let all: Vec<Push> = pushed
        .iter()
        .filter(|&&r| !ramped(&series.runs[r]))
        .filter_map(|&r| push(&series.runs[r], r, homes[r]?, basins))
        .collect();
    let hysteresis = hysteresis(series, basins, &homes, resamples, seed);
    if all.is_empty() && hysteresis.is_none() {
        return Err("no pushed run has turns before and after the push, or a start that other runs share".into());
    }
    let mut depths = vec![depth(&all, None, series, resamples, seed)];
    if basins.count() > 1 {
        depths.extend((0..basins.count()).map(|b| depth(&all, Some(b), series, resamples, seed)));
        depths.retain(|d| !d.shares.is_empty());
    }
    let lives: Vec<f64> = all.iter().filter_map(|p| p.half_life).collect();
    let half_life = quantile(&lives, 0.5).map(|m| {
        let of = |s: &[usize]| quantile(&s.iter().map(|&i| lives[i]).collect::<Vec<_>>(), 0.5);
        let mut rng = stream(seed, "half-life after a push");
        let draws: Vec<f64> =
            resample(&[(0..lives.len()).collect()], resamples, &mut rng, of).into_iter().flatten().collect();
        (m, quantile(&draws, 0.025).zip(quantile(&draws, 0.975)), lives.len())
    });
    let homeless = pushed.len() - pushed.iter().filter(|&&r| homes[r].is_some()).count();
    Ok(Pushes { all, depths, half_life, hysteresis, homeless })
}

/// The basin of every run before it was pushed: where it was at the turn before, or where most runs with its start end.
fn homes(series: &Series, basins: &Basins) -> Vec<Option<usize>> {
    let mut starts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (run, label) in series.runs.iter().zip(&basins.labels) {
        if let (Some(start), Some(label), false) = (run.start.as_deref(), label, run.pushed.contains(&true)) {
            starts.entry(start).or_default().push(*label);
        }
    }
    let most = |labels: &Vec<usize>| {
        (0..basins.count()).max_by_key(|b| (labels.iter().filter(|l| *l == b).count(), std::cmp::Reverse(*b)))
    };
    let home = |run: &Run| match run.free() {
        0 => starts.get(run.start.as_deref()?).and_then(most),
        n => Some(basins.locate(&run.turns[n - 1].z).0),
    };
    series.runs.iter().map(home).collect()
}

/// Whether doses go up and down by turn, which is not one push.
fn ramped(run: &Run) -> bool {
    run.turns.iter().any(|t| matches!(t.phase.as_deref(), Some("up" | "down")))
}

fn push(run: &Run, index: usize, home: usize, basins: &Basins) -> Option<Push> {
    let last = run.pushed.iter().rposition(|p| *p)?;
    let after = &run.turns[last + 1..];
    if after.is_empty() {
        return None;
    }
    let end = &after[after.len() - after.len().div_ceil(3)..];
    let away = |z: &[f64]| {
        let (basin, radii) = basins.locate(z);
        basin != home || (basins.count() == 1 && radii > OUTSIDE)
    };
    let switched = 2 * end.iter().filter(|t| away(&t.z)).count() > end.len();
    let half_life = if switched { None } else { returning(run, last, home, basins) };
    Some(Push { run: index, dose: run.dose(), home, switched, half_life })
}

/// Radii from the centre of a single basin beyond which a run has left it.
const OUTSIDE: f64 = 1.5;

/// Turns until half of the displacement along its own direction is gone.
fn returning(run: &Run, pushed: usize, home: usize, basins: &Basins) -> Option<f64> {
    let from: Vec<f64> = match run.free() {
        0 => basins.centres.row(home).to_vec(),
        _ => {
            let of = last_third(run);
            let n = of.len() as f64;
            if of.end > pushed {
                basins.centres.row(home).to_vec()
            } else {
                (0..run.turns[0].z.len()).map(|i| of.clone().map(|t| run.turns[t].z[i]).sum::<f64>() / n).collect()
            }
        }
    };
    let displaced = |t: usize| -> Vec<f64> {
        run.turns[t].z.iter().zip(&from).zip(&basins.scale).map(|((z, f), s)| (z - f) / s).collect()
    };
    let first = displaced(pushed);
    let size: f64 = first.iter().map(|v| v * v).sum();
    // Within the noise of the basin there is nothing to come back from.
    let noise = basins.centres.ncols() as f64;
    if size < 2.0 * noise {
        return None;
    }
    let left = |t: usize| displaced(t).iter().zip(&first).map(|(a, b)| a * b).sum::<f64>() / size;
    let mut before = (0.0, 1.0);
    for t in pushed + 1..run.turns.len() {
        let at = (run.turns[t].turn - run.turns[pushed].turn) as f64;
        let now = left(t);
        if now <= 0.5 {
            return Some(before.0 + (at - before.0) * (before.1 - 0.5) / (before.1 - now));
        }
        before = (at, now);
    }
    None
}

fn depth(all: &[Push], home: Option<usize>, series: &Series, resamples: usize, seed: u64) -> Depth {
    let of: Vec<&Push> = all.iter().filter(|p| home.is_none_or(|h| h == p.home)).collect();
    let mut shares: Vec<(f64, usize, usize)> = Vec::new();
    let mut doses: Vec<f64> = of.iter().map(|p| p.dose).collect();
    doses.sort_by(f64::total_cmp);
    doses.dedup();
    for d in doses {
        let here = of.iter().filter(|p| p.dose == d);
        shares.push((d, here.clone().filter(|p| p.switched).count(), here.count()));
    }
    let points: Vec<(f64, bool)> = of.iter().map(|p| (p.dose.ln(), p.switched)).collect();
    let name = |p: &&Push| series.runs[p.run].start.clone().unwrap_or_else(|| series.runs[p.run].name.clone());
    let clusters: Vec<String> = of.iter().map(name).collect();
    let label = format!("depth of {home:?}");
    let (d50, slope) = half(&points, &clusters, resamples, seed, &label);
    Depth { home, d50, slope, shares }
}

/// d50 of points (ln dose, switched) with its interval over clusters, and the slope.
fn half(
    points: &[(f64, bool)],
    clusters: &[String],
    resamples: usize,
    seed: u64,
    label: &str,
) -> (Result<Dose, String>, Option<f64>) {
    let (lowest, highest) =
        points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), p| (lo.min(p.0), hi.max(p.0)));
    if points.is_empty() {
        return (Err("no pushes".into()), None);
    }
    let yes = points.iter().filter(|p| p.1).count();
    if yes == 0 {
        return (Ok(Dose::Above(highest.exp())), None);
    }
    if yes == points.len() {
        return (Ok(Dose::Below(lowest.exp())), None);
    }
    let Some(fit) = firth(points) else {
        return (Err("a single dose gives no curve".into()), None);
    };
    let slope = Some(fit.slope);
    let Some(at) = fit.half() else {
        return (Err("runs that are pushed harder do not switch more often".into()), slope);
    };
    if at > highest + 1e-9 {
        return (Ok(Dose::Above(highest.exp())), slope);
    }
    if at < lowest - 1e-9 {
        return (Ok(Dose::Below(lowest.exp())), slope);
    }
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    clusters.iter().enumerate().for_each(|(i, c)| groups.entry(c).or_default().push(i));
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    let of = |sample: &[usize]| {
        let of: Vec<(f64, bool)> = sample.iter().flat_map(|&g| &groups[g]).map(|&i| points[i]).collect();
        let yes = of.iter().filter(|p| p.1).count();
        match () {
            () if yes == 0 => Some(f64::INFINITY),
            () if yes == of.len() => Some(f64::NEG_INFINITY),
            () => firth(&of).and_then(|f| f.half()),
        }
    };
    let draws: Vec<f64> = resample(&[(0..groups.len()).collect()], resamples, &mut stream(seed, label), of)
        .into_iter()
        .flatten()
        .collect();
    let end = |q| quantile(&draws, q).filter(|v| (lowest..=highest).contains(v)).map(f64::exp);
    (Ok(Dose::At { value: at.exp(), lo: end(0.025), hi: end(0.975) }), slope)
}

/// d50 of turns whose phase is `up` and of those whose phase is `down`.
fn hysteresis(
    series: &Series,
    basins: &Basins,
    homes: &[Option<usize>],
    resamples: usize,
    seed: u64,
) -> Option<(f64, f64, Ends)> {
    let of = |run: &Run, home: Option<usize>, phase: &str| -> Vec<(f64, bool)> {
        let Some(home) = home else { return Vec::new() };
        let turns = run.turns.iter().filter(|t| t.phase.as_deref() == Some(phase) && t.dose > 0.0);
        turns.map(|t| (t.dose.ln(), basins.locate(&t.z).0 != home)).collect()
    };
    let runs: Vec<[Vec<(f64, bool)>; 2]> = series
        .runs
        .iter()
        .zip(homes)
        .map(|(r, h)| ["up", "down"].map(|phase| of(r, *h, phase)))
        .filter(|r| !r[0].is_empty() && !r[1].is_empty())
        .collect();
    let place = |sample: &[usize], way: usize| {
        let all: Vec<(f64, bool)> = sample.iter().flat_map(|&r| runs[r][way].clone()).collect();
        firth(&all)?.half()
    };
    let all: Vec<usize> = (0..runs.len()).collect();
    let (up, down) = (place(&all, 0)?, place(&all, 1)?);
    let ratio = |s: &[usize]| Some(place(s, 0)? - place(s, 1)?);
    let draws: Vec<f64> =
        resample(&[all], resamples, &mut stream(seed, "hysteresis"), ratio).into_iter().flatten().collect();
    Some((up.exp(), down.exp(), quantile(&draws, 0.025).zip(quantile(&draws, 0.975))))
}
