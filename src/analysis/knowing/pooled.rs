//! Over fine-tunes: what a format does to models, with an interval over characters and seeds.
//!
//! The unit is a character with a seed. Units of one character share its anchors and whatever is particular to it, so
//! they are no independent values: seeds are averaged within their character and Student's t is taken over characters
//! (the between-stratum of a nested analysis of variance), which keeps its level whether characters differ or not. The
//! estimate is the mean over characters, each with the same weight.
//!
//! With a single character the interval is about that character alone: seeds vary, and what all of them share (items,
//! anchors) is taken from the items.

use crate::analysis::interval::FEW_CLUSTERS;
use crate::analysis::stats::{mean, variance};
use crate::analysis::student::{t_quantile, two_sided_p};
use std::collections::{BTreeMap, BTreeSet};

/// One unit: a character with a seed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    pub character: String,
    pub value: f64,
    /// The value without the bias of a ratio of means: what the interval is centred on.
    pub centred: f64,
    /// By trait and item how much the item moves the value, where the format has a single character; empty elsewhere.
    pub influence: BTreeMap<String, f64>,
}

impl Unit {
    /// The difference of two units of one character.
    pub fn less(&self, other: &Unit) -> Unit {
        let mut influence = self.influence.clone();
        for (key, v) in &other.influence {
            *influence.entry(key.clone()).or_default() -= v;
        }
        let (value, centred) = (self.value - other.value, self.centred - other.centred);
        Unit { character: self.character.clone(), value, centred, influence }
    }
}

/// A mean over units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pooled {
    pub value: f64,
    /// 95 %.
    pub interval: Option<(f64, f64)>,
    /// Of a mean of 0.
    pub p: Option<f64>,
    pub df: Option<f64>,
    /// The standard deviation of what the interval is taken over.
    pub sd: Option<f64>,
    /// What was taken off the value before the interval was put around it.
    pub bias: f64,
    pub clusters: usize,
    pub characters: usize,
    /// Why there is no interval.
    pub reason: &'static str,
}

impl Pooled {
    /// What a reader has to know; empty for an ordinary interval.
    pub fn note(&self) -> &'static str {
        match (self.clusters < FEW_CLUSTERS, self.characters) {
            (true, _) => "few clusters",
            (false, 1) => "one character: seeds of it alone",
            _ => "",
        }
    }
}

/// The mean of units; `None` of none.
pub(super) fn pool(units: &[Unit]) -> Option<Pooled> {
    let mut by: BTreeMap<&str, Vec<&Unit>> = BTreeMap::new();
    units.iter().for_each(|u| by.entry(&u.character).or_default().push(u));
    let over = |f: fn(&Unit) -> f64, units: &[&Unit]| mean(&units.iter().map(|u| f(u)).collect::<Vec<_>>());
    let means = |f: fn(&Unit) -> f64| by.values().filter_map(|units| over(f, units)).collect::<Vec<f64>>();
    let value = mean(&means(|u| u.value))?;
    let (clusters, characters) = (units.len(), by.len());
    let draws = if characters > 1 { means(|u| u.centred) } else { units.iter().map(|u| u.centred).collect() };
    let centre = mean(&draws)?;
    let mut found = Pooled {
        value,
        interval: None,
        p: None,
        df: None,
        sd: None,
        bias: value - centre,
        clusters,
        characters,
        reason: "",
    };
    let Some(v) = variance(&draws) else {
        return Some(Pooled { reason: "one cluster: no interval", ..found });
    };
    // Means of the same numbers in another order differ in their last digits.
    if v.sqrt() <= 1e-12 * centre.abs().max(1e-3) {
        return Some(Pooled { reason: "no variation between clusters", sd: Some(0.0), ..found });
    }
    let (own, df) = (v / draws.len() as f64, draws.len() as f64 - 1.0);
    let (shared, items) = if characters == 1 { shared(units) } else { (0.0, 1.0) };
    // Satterthwaite's degrees of freedom of a sum of two variances.
    let df = (own + shared).powi(2) / (own * own / df + shared * shared / items);
    let se = (own + shared).sqrt();
    let half = t_quantile(0.975, df) * se;
    found.interval = Some((centre - half, centre + half));
    found.p = Some(two_sided_p(centre / se, df));
    (found.df, found.sd) = (Some(df), Some(v.sqrt()));
    Some(found)
}

/// The variance of the mean of units that comes from items which all of them answer, and its degrees of freedom. What items
/// do to single units is in the variance between these already, and is taken off.
fn shared(units: &[Unit]) -> (f64, f64) {
    let count = units.len() as f64;
    let keys: BTreeSet<&String> = units.iter().flat_map(|u| u.influence.keys()).collect();
    let (mut common, mut single) = (0.0, 0.0);
    for key in &keys {
        let all: Vec<f64> = units.iter().map(|u| u.influence.get(*key).copied().unwrap_or(0.0)).collect();
        let m = all.iter().sum::<f64>() / count;
        common += m * m;
        single += all.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (count - 1.0);
    }
    let (n, bessel) = (keys.len() as f64, keys.len() as f64 / (keys.len() as f64 - 1.0));
    if n > 1.0 { (bessel * (common - single / count).max(0.0), n - 1.0) } else { (0.0, 1.0) }
}
