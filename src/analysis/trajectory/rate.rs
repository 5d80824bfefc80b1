//! How fast runs drift.

use super::ALL;
use super::band::Band;
use super::runs::{Run, domains};
use crate::analysis::interval::Interval;
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::{mean, permutation_p};
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::Rng;

/// A rate of drift, per turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// [`ALL`], or a domain.
    pub domain: String,
    /// `slope`: least squares over the turns of a run. `step`: change into a turn of the domain.
    pub quantity: &'static str,
    /// The mean over runs, in units of the projection.
    pub value: Option<f64>,
    /// 95 %, Student's t over runs.
    pub interval: Option<Interval>,
    /// In deviations of the default.
    pub in_sd: Option<f64>,
    /// Two-sided, by flipping the signs of runs: where there is no drift, a run goes down as often as up.
    pub p: Option<f64>,
    pub runs: usize,
    pub reason: Option<String>,
}

/// The rates over all runs; and by domain, `slope` over the runs that keep to one and `step` over turns of it.
pub fn rates(runs: &[Run], band: &Band, permutations: usize, seed: u64) -> Vec<Rate> {
    let of = |domain: &str, quantity: &'static str, values: Vec<f64>| {
        let value = mean(&values);
        let mut rng = stream(seed, &format!("drift rate/{quantity}/{domain}"));
        let mut draw = || {
            let flip = |v: &f64| if rng.random::<bool>() { *v } else { -*v };
            mean(&values.iter().map(flip).collect::<Vec<_>>()).map(f64::abs)
        };
        let null: Vec<f64> = if values.len() < 2 { vec![] } else { (0..permutations).filter_map(|_| draw()).collect() };
        let reason = match values.len() {
            0 => Some("no run has two turns here".to_string()),
            1 => Some("no interval from a single run".to_string()),
            _ => None,
        };
        Rate {
            domain: domain.into(),
            quantity,
            value,
            interval: t_interval(&values),
            in_sd: value.map(|v| v / band.sd),
            p: value.and_then(|v| permutation_p(v.abs(), &null)),
            runs: values.len(),
            reason,
        }
    };
    let slopes = |kept: &dyn Fn(&Run) -> bool| runs.iter().filter(|r| kept(r)).filter_map(slope).collect::<Vec<_>>();
    let steps = |domain: Option<&str>| runs.iter().filter_map(|r| step(r, domain)).collect::<Vec<_>>();
    let mut found = vec![of(ALL, "slope", slopes(&|_| true)), of(ALL, "step", steps(None))];
    let all = domains(runs);
    if all.len() > 1 {
        for domain in all {
            let own = slopes(&|r| r.domain() == Some(domain));
            if !own.is_empty() {
                found.push(of(domain, "slope", own));
            }
            found.push(of(domain, "step", steps(Some(domain))));
        }
    }
    found
}

/// The least-squares slope of a run over its turns; `None` below two.
pub(super) fn slope(run: &Run) -> Option<f64> {
    let t: Vec<f64> = run.steps.iter().map(|s| s.turn as f64).collect();
    let centre = mean(&t)?;
    let squares: f64 = t.iter().map(|t| (t - centre).powi(2)).sum();
    let products: f64 = t.iter().zip(&run.steps).map(|(t, s)| (t - centre) * s.projection).sum();
    (squares > 0.0).then(|| products / squares)
}

/// The mean change between consecutive turns, into turns of a domain where one is given.
fn step(run: &Run, domain: Option<&str>) -> Option<f64> {
    let into = run.steps.windows(2).filter(|w| w[1].turn == w[0].turn + 1);
    let of = into.filter(|w| domain.is_none_or(|d| w[1].domain == d));
    mean(&of.map(|w| w[1].projection - w[0].projection).collect::<Vec<_>>())
}

/// One row per domain and quantity.
pub fn rate_table(rates: &[Rate]) -> Table {
    let columns = ["domain", "quantity", "per_turn", "ci_low", "ci_high", "in_default_sd", "p_value", "runs", "reason"];
    let mut table = Table::new("rate", &columns);
    for r in rates {
        let mut row: Vec<Cell> = vec![r.domain.clone().into(), r.quantity.into(), r.value.into()];
        row.extend([r.interval.map(|i| i.lo).into(), r.interval.map(|i| i.hi).into(), r.in_sd.into()]);
        row.extend([r.p.into(), r.runs.into(), r.reason.clone().into()]);
        table.push(row);
    }
    table
}
