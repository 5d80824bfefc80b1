//! Groups and covariates compared, each comparison with its refusal where there are too few events.

use super::cox::{Cox, Observed, cox};
use super::logrank::log_rank;
use super::rank::exact_spearman;
use super::tail::two_sided;
use super::{Clock, Ended, Group, LEAST_EVENTS, Retention, Run, time};
use crate::analysis::interval::normal_quantile;
use crate::analysis::stats::benjamini_hochberg;
use std::collections::BTreeMap;

/// Most runs of a rank correlation; with more, Cox is the better question.
const MOST_RANKED: usize = 2000;

/// One comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Test {
    /// `log_rank`, `cox`, `cox_adjusted`, `restricted_mean`, `spearman`.
    pub test: &'static str,
    pub clock: String,
    /// The group, or the covariate, that is compared; `all` groups at once.
    pub group: String,
    /// The group it is compared with; `per unit` of a covariate.
    pub against: String,
    /// Chi-square of the log-rank test, z of the others.
    pub statistic: Option<f64>,
    pub df: Option<usize>,
    pub p: Option<f64>,
    /// Benjamini and Hochberg's, over the rows of the same test and clock.
    pub q: Option<f64>,
    /// Hazard ratio, difference of restricted means, or Spearman's correlation.
    pub measure: &'static str,
    pub estimate: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub n: usize,
    pub events: usize,
    /// Why there is no result.
    pub reason: String,
}

/// All comparisons by one clock.
pub(super) fn tests(
    input: &Retention,
    runs: &[&Run],
    clock: Clock,
    ended: &BTreeMap<&str, Ended>,
    groups: &[Group],
    seed: u64,
) -> Vec<Test> {
    let mut found = log_ranks(ended);
    found.extend(hazards(input, runs, clock, ended));
    found.extend(restricted_means(groups));
    found.extend(correlations(input, runs, clock, seed));
    found.iter_mut().for_each(|t| t.clock = clock.to_string());
    for family in found.chunk_by_mut(|a, b| a.test == b.test && (a.group == "all") == (b.group == "all")) {
        let q = benjamini_hochberg(&family.iter().map(|t| t.p).collect::<Vec<_>>());
        family.iter_mut().zip(q).for_each(|(t, q)| t.q = q);
    }
    found
}

fn events(ended: &Ended) -> usize {
    ended.iter().filter(|t| t.1).count()
}

/// Why groups have too few events for a test; empty where they have enough.
fn too_few<'a>(groups: impl Iterator<Item = (&'a str, usize)>) -> String {
    let (all, mut few, mut sum) = (groups.collect::<Vec<_>>(), Vec::new(), 0);
    for (name, events) in all {
        sum += events;
        if events < LEAST_EVENTS.0 {
            few.push(format!("{events} in `{name}`"));
        }
    }
    if few.len() > 3 {
        few.splice(3.., [format!("and {} groups more", few.len() - 3)]);
    }
    match (few.is_empty(), sum < LEAST_EVENTS.1) {
        (false, _) => format!("too few events: {}, at least {} are needed", few.join(", "), LEAST_EVENTS.0),
        (true, true) => format!("too few events: {sum} in all, at least {} are needed", LEAST_EVENTS.1),
        (true, false) => String::new(),
    }
}

fn log_ranks(ended: &BTreeMap<&str, Ended>) -> Vec<Test> {
    let names: Vec<&str> = ended.keys().copied().collect();
    let one = |names: &[&str], group: &str, against: &str| {
        let of: Vec<&Ended> = names.iter().map(|n| &ended[n]).collect();
        let reason = too_few(names.iter().map(|n| (*n, events(&ended[n]))));
        let found = if reason.is_empty() { log_rank(&of) } else { None };
        let nothing = reason.is_empty() && found.is_none();
        Test {
            test: "log_rank",
            group: group.into(),
            against: against.into(),
            statistic: found.map(|f| f.0),
            df: Some(names.len() - 1),
            p: found.map(|f| f.2),
            n: of.iter().map(|e| e.len()).sum(),
            events: of.iter().map(|e| events(e)).sum(),
            reason: if nothing { "no time at which the groups were at risk together".into() } else { reason },
            ..Test::default()
        }
    };
    if names.len() < 2 {
        return vec![];
    }
    let mut found = vec![one(&names, "all", "")];
    if names.len() > 2 {
        found.extend(pairs(&names).into_iter().map(|(a, b)| one(&[a, b], b, a)));
    }
    found
}

fn pairs<'a>(names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let below = |j: usize| (0..j).map(move |i| (i, j));
    (0..names.len()).flat_map(below).map(|(i, j)| (names[i], names[j])).collect()
}

/// Cox's model with a term per group but the first, and once more with the covariates beside.
fn hazards(input: &Retention, runs: &[&Run], clock: Clock, ended: &BTreeMap<&str, Ended>) -> Vec<Test> {
    let names: Vec<&str> = ended.keys().copied().collect();
    let mut found = Vec::new();
    if names.len() > 1 {
        found.extend(model("cox", &names, &[], input, runs, clock));
    }
    if !input.covariates.is_empty() {
        let all: Vec<usize> = (0..input.covariates.len()).collect();
        found.extend(model("cox_adjusted", &names, &all, input, runs, clock));
    }
    found
}

fn model(
    test: &'static str,
    names: &[&str],
    covariates: &[usize],
    input: &Retention,
    runs: &[&Run],
    clock: Clock,
) -> Vec<Test> {
    let known = |r: &&&Run| covariates.iter().all(|c| r.covariates[*c].is_some());
    let used: Vec<&Run> = runs.iter().filter(known).copied().collect();
    let row = |r: &&Run| -> Observed {
        let mut x: Vec<f64> = names[1..].iter().map(|n| f64::from(u8::from(r.group == *n))).collect();
        x.extend(covariates.iter().map(|c| r.covariates[*c].unwrap_or_default()));
        (time(r, clock), r.broke, x)
    };
    let broke = |name: &str| used.iter().filter(|r| r.broke && r.group == name).count();
    let events = used.iter().filter(|r| r.broke).count();
    let terms = names.len() - 1 + covariates.len();
    let mut reason = too_few(names.iter().map(|n| (*n, broke(n))));
    if reason.is_empty() && events < LEAST_EVENTS.0 * terms {
        reason = format!("too few events: {events} for {terms} terms, at least {} for each", LEAST_EVENTS.0);
    }
    let fitted = match reason.is_empty() {
        true => cox(&used.iter().map(row).collect::<Vec<_>>()).map_err(|why| reason = why).ok(),
        false => None,
    };
    let z975 = normal_quantile(0.975);
    let term = |(j, (group, against)): (usize, (String, String))| {
        let of = |f: &dyn Fn(&Cox) -> f64| fitted.as_ref().map(f);
        Test {
            test,
            group,
            against,
            statistic: of(&|m| m.z[j]),
            df: Some(1),
            p: of(&|m| m.p[j]),
            measure: "hazard ratio",
            estimate: of(&|m| m.coefficients[j].exp()),
            interval: fitted.as_ref().map(|m| {
                let at = |sign: f64| (m.coefficients[j] + sign * z975 * m.standard_errors[j]).exp();
                (at(-1.0), at(1.0))
            }),
            n: used.len(),
            events,
            reason: reason.clone(),
            ..Test::default()
        }
    };
    let groups = names[1..].iter().map(|n| (n.to_string(), names[0].to_string()));
    let numbers = covariates.iter().map(|c| (input.covariates[*c].clone(), "per unit".to_string()));
    groups.chain(numbers).enumerate().map(term).collect()
}

/// Differences of restricted means, group by group.
fn restricted_means(groups: &[Group]) -> Vec<Test> {
    let z975 = normal_quantile(0.975);
    let one = |(i, j): (usize, usize)| {
        let (a, b) = (&groups[i], &groups[j]);
        let ((na, ea), (nb, eb)) = (a.curve.counts(), b.curve.counts());
        let mut test = Test {
            test: "restricted_mean",
            group: b.name.clone(),
            against: a.name.clone(),
            measure: "difference of restricted means",
            n: na + nb,
            events: ea + eb,
            reason: too_few([(a.name.as_str(), ea), (b.name.as_str(), eb)].into_iter()),
            ..Test::default()
        };
        match a.restricted.zip(b.restricted) {
            None if test.reason.is_empty() => {
                test.reason = format!("a curve is not known up to the horizon of {}", a.horizon);
            }
            Some((x, y)) if test.reason.is_empty() => {
                let (difference, se) = (y.mean - x.mean, x.standard_error.hypot(y.standard_error));
                test.estimate = Some(difference);
                if se > 0.0 {
                    test.statistic = Some(difference / se);
                    test.p = two_sided(difference / se);
                    test.interval = Some((difference - z975 * se, difference + z975 * se));
                } else {
                    test.reason = "no break before the horizon: no standard error".into();
                }
            }
            _ => {}
        }
        test
    };
    let below = |j: usize| (0..j).map(move |i| (i, j));
    (0..groups.len()).flat_map(below).map(one).collect()
}

/// Rank correlations of covariates with the time to the break, where every run broke.
fn correlations(input: &Retention, runs: &[&Run], clock: Clock, seed: u64) -> Vec<Test> {
    let one = |(c, name): (usize, &String)| {
        let known: Vec<(&&Run, f64)> = runs.iter().filter_map(|r| Some((r, r.covariates[c]?))).collect();
        let events = known.iter().filter(|(r, _)| r.broke).count();
        let x: Vec<f64> = known.iter().map(|k| k.1).collect();
        let y: Vec<f64> = known.iter().map(|k| time(k.0, clock)).collect();
        let censored = known.len() - events;
        let mut reason = match known.len() {
            _ if censored > 0 => format!("{censored} of {} runs are censored: see Cox", known.len()),
            n if n > MOST_RANKED => format!("more than {MOST_RANKED} runs: see Cox"),
            _ => String::new(),
        };
        let found = if reason.is_empty() { exact_spearman(&x, &y, seed, name) } else { None };
        if reason.is_empty() && found.is_none() {
            reason = "fewer than three runs, or no variation".into();
        }
        Test {
            test: "spearman",
            group: name.clone(),
            measure: "Spearman's correlation",
            estimate: found.map(|f| f.0),
            p: found.map(|f| f.1),
            n: known.len(),
            events,
            reason,
            ..Test::default()
        }
    };
    input.covariates.iter().enumerate().map(one).collect()
}
