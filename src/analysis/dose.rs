//! Dose-response of steering: what replies do as a direction is added more strongly, beside a random direction of the
//! same norm.

use super::interval::{Interval, cluster_bootstrap, resample};
use super::score::interval_cells;
use super::stats::{mean, quantile};
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// The trait's own direction.
    Trait,
    /// A random direction of the same norm.
    Random,
    /// A contrast fitted on shuffled labels.
    Shuffled,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arm::Trait => "trait",
            Arm::Random => "random",
            Arm::Shuffled => "shuffled",
        })
    }
}

/// What one steered reply did; each measure is in 0..=1.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub name: String,
    pub arm: Arm,
    /// In lengths of the trait's mean difference.
    pub dose: f64,
    /// Replies to one prompt are not independent: intervals resample prompts.
    pub prompt: String,
    /// Whether (or how much of) the trait's marker is there.
    pub target: f64,
    /// Whether the reply is still about its topic.
    pub intact: f64,
    /// Whether the default's helpful marker is there.
    pub helpful: f64,
}

/// The measures of an [`Outcome`], in the order of tables.
pub const MEASURES: [&str; 3] = ["target", "intact", "helpful"];

/// A rate at one dose.
#[derive(Clone, Debug, PartialEq)]
pub struct DosePoint {
    /// `None`: all traits, each with the same weight.
    pub name: Option<String>,
    pub arm: Arm,
    pub dose: f64,
    /// One of [`MEASURES`].
    pub measure: &'static str,
    pub rate: f64,
    /// 95 %, resampling prompts for one trait and traits for all of them. `None` with a single one.
    pub interval: Option<Interval>,
    pub replies: usize,
    pub clusters: usize,
}

/// Rates by trait (and over all traits), arm and dose, in ascending order.
///
/// # Errors
/// Doses or measures that are not finite, or measures outside 0..=1.
pub fn dose_response(outcomes: &[Outcome], bootstrap: usize, seed: u64) -> Result<Vec<DosePoint>> {
    check(outcomes)?;
    let mut points = Vec::new();
    for (name, arm, dose) in conditions(outcomes) {
        let here: Vec<&Outcome> = outcomes.iter().filter(|o| of(o, &name, arm, dose)).collect();
        for (m, measure) in MEASURES.into_iter().enumerate() {
            // The means of clusters weigh the same, as the design has equally many replies in each.
            let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for o in &here {
                let cluster = if name.is_some() { &o.prompt } else { &o.name };
                clusters.entry(cluster).or_default().push(value(o, m));
            }
            let means: Vec<f64> = clusters.values().filter_map(|v| mean(v)).collect();
            let Some(rate) = mean(&means) else { continue };
            let mut rng = stream(seed, &format!("dose/{name:?}/{arm}/{dose}/{measure}"));
            let resampled = |s: &[usize]| mean(&s.iter().map(|&i| means[i]).collect::<Vec<_>>());
            let interval = cluster_bootstrap(means.len(), bootstrap, &mut rng, resampled);
            points.push(DosePoint {
                name: name.clone(),
                arm,
                dose,
                measure,
                rate,
                interval: interval.map(|i| i.bounded(means.len(), 0.0, 1.0)),
                replies: here.len(),
                clusters: means.len(),
            });
        }
    }
    Ok(points)
}

/// The smallest dose at which the target's rate reaches a level.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// `None`: over all traits.
    pub name: Option<String>,
    pub arm: Arm,
    pub level: f64,
    /// In lengths of the trait's mean difference; linear between the doses tried.
    pub dose: Option<f64>,
    /// 95 %, resampling as in [`DosePoint`]. An end is `None` where the quantile falls on resamples that do not reach
    /// the level at the doses tried.
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    /// Share of the resamples that reach the level.
    pub reached_share: Option<f64>,
    pub reason: Option<String>,
}

/// The smallest dose of 0 or more that reaches `level`, by trait (and over all traits) and arm.
///
/// # Errors
/// As [`dose_response`].
pub fn thresholds(outcomes: &[Outcome], level: f64, bootstrap: usize, seed: u64) -> Result<Vec<Threshold>> {
    check(outcomes)?;
    let mut curves: Vec<(Option<String>, Arm)> = conditions(outcomes).into_iter().map(|(n, a, _)| (n, a)).collect();
    curves.dedup();
    let curve = |(name, arm): (Option<String>, Arm)| {
        // dose -> cluster -> target values
        let mut by_dose: Vec<(f64, BTreeMap<&str, Vec<f64>>)> = Vec::new();
        for o in outcomes.iter().filter(|o| of(o, &name, arm, o.dose) && o.dose >= 0.0) {
            let at = by_dose.iter().position(|(d, _)| *d == o.dose).unwrap_or_else(|| {
                by_dose.push((o.dose, BTreeMap::new()));
                by_dose.len() - 1
            });
            let cluster = if name.is_some() { &o.prompt } else { &o.name };
            by_dose[at].1.entry(cluster).or_default().push(o.target);
        }
        by_dose.sort_by(|a, b| a.0.total_cmp(&b.0));
        let clusters: Vec<&str> =
            by_dose.iter().flat_map(|(_, c)| c.keys().copied()).collect::<BTreeSet<_>>().into_iter().collect();
        let means: Vec<(f64, Vec<Option<f64>>)> = by_dose
            .iter()
            .map(|(d, by)| (*d, clusters.iter().map(|c| by.get(c).and_then(|v| mean(v))).collect()))
            .collect();
        let reached = |sample: &[usize]| {
            let rate = |m: &[Option<f64>]| mean(&sample.iter().filter_map(|&i| m[i]).collect::<Vec<_>>());
            let line: Vec<(f64, f64)> = means.iter().filter_map(|(d, m)| Some((*d, rate(m)?))).collect();
            crossing(&line, level)
        };
        let everything: Vec<usize> = (0..clusters.len()).collect();
        let dose = reached(&everything);
        let mut rng = stream(seed, &format!("threshold/{name:?}/{arm}/{level}"));
        // Resamples that never get there sit at infinity, so that they count in the quantiles.
        let far = |s: &[usize]| Some(reached(s).unwrap_or(f64::INFINITY));
        let draws: Vec<f64> = resample(&[everything], bootstrap, &mut rng, far).into_iter().flatten().collect();
        let end = |q| quantile(&draws, q).filter(|v| v.is_finite());
        let share = draws.iter().filter(|v| v.is_finite()).count() as f64 / draws.len() as f64;
        let reason = match dose {
            None => Some(format!("the rate does not reach {level} at the doses tried")),
            Some(d) if means.first().is_some_and(|f| f.0 == d) => {
                Some(format!("the rate is at {level} or above already at the smallest dose tried"))
            }
            Some(_) if draws.is_empty() => Some("no interval from a single cluster".into()),
            Some(_) if end(0.975).is_none() => Some("more than 2.5 % of the resamples do not reach the level".into()),
            Some(_) => None,
        };
        let reached_share = (!draws.is_empty()).then_some(share);
        Threshold { name, arm, level, dose, lo: end(0.025), hi: end(0.975), reached_share, reason }
    };
    Ok(curves.into_iter().map(curve).collect())
}

/// The first dose at which a broken line through (dose, rate), in ascending order of dose, is at `level` or above.
pub fn crossing(line: &[(f64, f64)], level: f64) -> Option<f64> {
    let at = line.iter().position(|(_, rate)| *rate >= level)?;
    let (dose, rate) = line[at];
    let Some((before, low)) = at.checked_sub(1).map(|i| line[i]) else { return Some(dose) };
    Some(before + (dose - before) * (level - low) / (rate - low))
}

/// One row per trait, arm, dose and measure; the trait `(all)` is the mean over traits.
pub fn dose_table(name: &str, points: &[DosePoint]) -> Table {
    let columns = ["trait", "arm", "dose_mean_difference", "measure", "rate", "rate_lo", "rate_hi", "interval_note"];
    let mut table = Table::new(name, &[&columns[..], &["replies", "clusters", "cluster_kind", "reason"]].concat());
    for p in points {
        let mut row: Vec<Cell> = vec![shown(&p.name), p.arm.to_string().into(), p.dose.into()];
        row.extend([p.measure.into(), p.rate.into()]);
        row.extend(interval_cells(p.interval));
        let kind = if p.name.is_some() { "prompt" } else { "trait" };
        row.extend([p.replies.into(), p.clusters.into(), kind.into()]);
        row.push(p.interval.is_none().then_some("no interval from a single cluster").into());
        table.push(row);
    }
    table
}

/// One row per trait and arm.
pub fn threshold_table(name: &str, thresholds: &[Threshold]) -> Table {
    let mut columns = vec!["trait", "arm", "target_rate", "dose_mean_difference", "dose_lo", "dose_hi"];
    columns.extend(["reached_share", "reason"]);
    let mut table = Table::new(name, &columns);
    for t in thresholds {
        let mut row: Vec<Cell> = vec![shown(&t.name), t.arm.to_string().into(), t.level.into()];
        row.extend([t.dose, t.lo, t.hi, t.reached_share].map(Cell::from));
        row.push(t.reason.clone().into());
        table.push(row);
    }
    table
}

fn shown(name: &Option<String>) -> Cell {
    name.clone().unwrap_or_else(|| "(all)".into()).into()
}

fn of(o: &Outcome, name: &Option<String>, arm: Arm, dose: f64) -> bool {
    name.as_ref().is_none_or(|n| *n == o.name) && o.arm == arm && o.dose == dose
}

fn value(o: &Outcome, measure: usize) -> f64 {
    [o.target, o.intact, o.helpful][measure]
}

/// The (trait, arm, dose) that occur, then the same over all traits, each in ascending order.
fn conditions(outcomes: &[Outcome]) -> Vec<(Option<String>, Arm, f64)> {
    let one = |o: &Outcome| [(Some(o.name.clone()), o.arm, o.dose), (None, o.arm, o.dose)];
    let mut all: Vec<(Option<String>, Arm, f64)> = outcomes.iter().flat_map(one).collect();
    // `None` last.
    let key = |c: &(Option<String>, Arm, f64)| (c.0.is_none(), c.0.clone(), c.1);
    all.sort_by(|a, b| key(a).cmp(&key(b)).then(a.2.total_cmp(&b.2)));
    all.dedup();
    all
}

fn check(outcomes: &[Outcome]) -> Result<()> {
    let bad = |o: &&Outcome| !o.dose.is_finite() || (0..MEASURES.len()).any(|m| !(0.0..=1.0).contains(&value(o, m)));
    match outcomes.iter().find(bad) {
        None => Ok(()),
        Some(o) => Err(Error::refused(
            format!("an outcome of `{}` at dose {} on `{}` is out of range", o.name, o.dose, o.prompt),
            "doses are finite, and target, intact and helpful are between 0 and 1",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// Two traits, 20 prompts, doses -1..=4: the target's rate is 0, .1, .2, .4, .8, .8 on the trait arm and 0.1 on the
    /// random one.
    fn outcomes() -> Vec<Outcome> {
        let rates = [(-1.0, 0.0), (0.0, 0.1), (1.0, 0.2), (2.0, 0.4), (3.0, 0.8), (4.0, 0.8)];
        let mut all = Vec::new();
        for name in ["odds", "anxious"] {
            for (dose, rate) in rates {
                for p in 0..20 {
                    for (arm, rate) in [(Arm::Trait, rate), (Arm::Random, 0.1)] {
                        // Exactly `rate` of the prompts; 1e-9 keeps 20 * 0.1 from rounding.
                        let target = f64::from(u8::from(f64::from(p) + 0.5 < 20.0 * rate + 1e-9));
                        let (name, prompt) = (name.to_string(), format!("q{p}"));
                        all.push(Outcome { name, arm, dose, prompt, target, intact: 1.0, helpful: 0.5 });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn rates_and_thresholds_are_those_that_were_planted() {
        let o = outcomes();
        let t = dose_table("dose", &dose_response(&o, 200, 1).unwrap());
        // (2 traits + all) x 2 arms x 6 doses x 3 measures.
        assert_eq!(t.rows.len(), 3 * 2 * 6 * 3);
        // anxious, random, dose -1 is first: traits and arms sort as text and as declared.
        let at = |name: &str, arm: &str, dose: &str, measure: &str| {
            let cell = |r: usize, c| t.text(r, c);
            (0..t.rows.len())
                .find(|&r| {
                    cell(r, "trait") == name
                        && cell(r, "arm") == arm
                        && cell(r, "dose_mean_difference") == dose
                        && cell(r, "measure") == measure
                })
                .unwrap()
        };
        assert_eq!(t.num(at("odds", "trait", "3", "target"), "rate"), Some(0.8));
        assert_eq!(t.num(at("(all)", "random", "4", "target"), "rate"), Some(0.1));
        let (lo, hi) = {
            let r = at("odds", "trait", "2", "target");
            (t.num(r, "rate_lo").unwrap(), t.num(r, "rate_hi").unwrap())
        };
        // 8 of 20: the sd of the rate is 0.11, so the interval is about 0.19 to 0.61.
        assert!((lo - 0.19).abs() < 0.08 && (hi - 0.61).abs() < 0.08, "{lo} {hi}");
        // Always intact: the bound for 20 prompts is 0.05^(1/20) = 0.861.
        assert!((t.num(at("odds", "trait", "2", "intact"), "rate_lo").unwrap() - 0.861).abs() < 1e-3);

        let thresholds = thresholds(&o, 0.5, 200, 1).unwrap();
        assert_eq!(thresholds.len(), 6);
        for t in &thresholds {
            match t.arm {
                // Between .4 at 2 and .8 at 3: 2 + .1/.4.
                Arm::Trait => assert!((t.dose.unwrap() - 2.25).abs() < 1e-9, "{t:?}"),
                _ => assert!(t.dose.is_none() && t.reason.as_ref().unwrap().contains("does not reach 0.5"), "{t:?}"),
            }
        }
        let odds = thresholds.iter().find(|t| t.name.as_deref() == Some("odds") && t.arm == Arm::Trait).unwrap();
        assert!(odds.lo.unwrap() < 2.25 && odds.hi.unwrap() > 2.25 && odds.reached_share == Some(1.0), "{odds:?}");
        assert_eq!(threshold_table("thresholds", &thresholds).rows.len(), 6);
    }

    #[test]
    fn a_line_is_crossed_where_it_first_reaches_the_level() {
        assert_eq!(crossing(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)], 0.5), Some(0.5));
        assert_eq!(crossing(&[(0.0, 0.6), (1.0, 1.0)], 0.5), Some(0.0));
        assert_eq!(crossing(&[(0.0, 0.1), (1.0, 0.5)], 0.5), Some(1.0));
        assert_eq!(crossing(&[(0.0, 0.1), (1.0, 0.4)], 0.5), None);
        assert_eq!(crossing(&[], 0.5), None);
    }

    #[test]
    fn resamples_that_fall_short_leave_the_upper_end_open() {
        let mut o: Vec<Outcome> = outcomes().into_iter().filter(|o| o.name == "odds" && o.arm == Arm::Trait).collect();
        // The largest dose reaches 0.5 in exactly half of the prompts.
        o.retain(|o| o.dose == 0.0 || o.dose == 4.0);
        for p in o.iter_mut().filter(|p| p.dose == 4.0) {
            p.target = f64::from(u8::from(p.prompt[1..].parse::<usize>().unwrap() < 10));
        }
        let t = &thresholds(&o, 0.5, 400, 1).unwrap()[0];
        assert_eq!(t.dose, Some(4.0));
        assert!(t.lo.is_some() && t.hi.is_none() && (0.3..0.8).contains(&t.reached_share.unwrap()), "{t:?}");
        assert!(t.reason.as_ref().unwrap().contains("resamples"));
    }

    #[test]
    fn the_order_of_outcomes_changes_nothing_and_bad_ones_are_refused() {
        let mut o = outcomes();
        let first = dose_response(&o, 50, 1).unwrap();
        let mut rng = stream(1, "order");
        for i in (1..o.len()).rev() {
            o.swap(i, rng.random_range(0..=i));
        }
        assert_eq!(first, dose_response(&o, 50, 1).unwrap());
        o[0].intact = f64::NAN;
        assert!(dose_response(&o, 50, 1).is_err() && thresholds(&o, 0.5, 50, 1).is_err());
    }
}
