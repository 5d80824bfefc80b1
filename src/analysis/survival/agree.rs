//! How far definitions of a break agree: on whether a run broke, and on when.

use super::Retention;
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::stats::{mean, quantile};
use crate::rng::stream;

const RESAMPLES: usize = 1000;

/// Two definitions of a break on the same runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    pub a: String,
    pub b: String,
    /// Runs that both judged.
    pub n: usize,
    pub both: usize,
    pub only_a: usize,
    pub only_b: usize,
    pub neither: usize,
    /// Cohen's kappa of the events: agreement beyond what the two rates of breaks give by chance. `None` where one side is
    /// constant in the way that leaves no room beyond chance.
    pub kappa: Option<f64>,
    /// Over runs.
    pub interval: Option<Interval>,
    /// Mean of turns by `b` minus turns by `a`, over runs that broke by both.
    pub difference: Option<f64>,
    /// Its interval over runs.
    pub difference_interval: Option<Interval>,
    /// The 95 % quantile of its size.
    pub largest: Option<f64>,
}

/// Every pair of definitions; the input's own break comes first, as `event`.
pub(super) fn agreement(input: &Retention, seed: u64) -> Vec<Agreement> {
    type Ended = Vec<Option<(f64, bool)>>;
    let mut all: Vec<(String, Ended)> = Vec::new();
    if !input.definitions.is_empty() {
        all.push(("event".into(), input.runs.iter().map(|r| Some((r.turns, r.broke))).collect()));
    }
    all.extend(input.definitions.iter().map(|d| (d.name.clone(), d.ended.clone())));
    // By the names of the runs: the order of the rows must not reach a resample.
    let mut order: Vec<usize> = (0..input.runs.len()).collect();
    order.sort_by_key(|i| (&input.runs[*i].group, &input.runs[*i].run));
    let below = |j: usize| (0..j).map(move |i| (i, j));
    (0..all.len()).flat_map(below).map(|(i, j)| pair(&all[i], &all[j], &order, seed)).collect()
}

type Named = (String, Vec<Option<(f64, bool)>>);

fn pair(a: &Named, b: &Named, order: &[usize], seed: u64) -> Agreement {
    let judged: Vec<((f64, bool), (f64, bool))> = order.iter().filter_map(|&i| a.1[i].zip(b.1[i])).collect();
    let count = |x: bool, y: bool| judged.iter().filter(|j| (j.0.1, j.1.1) == (x, y)).count();
    let of = |rows: &mut dyn Iterator<Item = usize>| {
        let mut cells = [0.0; 4];
        rows.for_each(|r| cells[2 * usize::from(judged[r].0.1) + usize::from(judged[r].1.1)] += 1.0);
        kappa(cells)
    };
    let gaps: Vec<f64> = judged.iter().filter(|j| j.0.1 && j.1.1).map(|j| j.1.0 - j.0.0).collect();
    let mut rng = stream(seed, &format!("agreement/{}/{}", a.0, b.0));
    let interval = cluster_bootstrap(judged.len(), RESAMPLES, &mut rng, |s| of(&mut s.iter().copied()));
    let difference_interval =
        cluster_bootstrap(gaps.len(), RESAMPLES, &mut rng, |s| mean(&s.iter().map(|&i| gaps[i]).collect::<Vec<_>>()));
    Agreement {
        a: a.0.clone(),
        b: b.0.clone(),
        n: judged.len(),
        both: count(true, true),
        only_a: count(true, false),
        only_b: count(false, true),
        neither: count(false, false),
        kappa: of(&mut (0..judged.len())),
        interval,
        difference: mean(&gaps),
        difference_interval,
        largest: quantile(&gaps.iter().map(|g| g.abs()).collect::<Vec<_>>(), 0.95),
    }
}

/// Cohen's kappa (1960) of a table of two by two: neither, only b, only a, both.
fn kappa([neither, b, a, both]: [f64; 4]) -> Option<f64> {
    let n = neither + a + b + both;
    let seen = (neither + both) / n;
    let (pa, pb) = ((a + both) / n, (b + both) / n);
    let chance = pa * pb + (1.0 - pa) * (1.0 - pb);
    (n > 0.0 && chance < 1.0 - 1e-12).then(|| (seen - chance) / (1.0 - chance))
}
