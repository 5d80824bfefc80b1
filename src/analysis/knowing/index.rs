//! Indices, gaps between them, and their intervals within one fine-tune.

use super::input::Measure;
use super::ratio::Ratio;
use crate::analysis::student::{t_quantile, two_sided_p};
use std::collections::BTreeMap;
use std::fmt;

/// A number between anchors, or a difference of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    K,
    S,
    E,
    /// `L_feel`.
    L,
    /// Known, not shown.
    KE,
    /// Claimed, not shown.
    SE,
    /// Felt, not shown.
    LE,
    LKnow,
    LSelf,
    /// Felt beyond what is known of it: `L_feel` - `L_know`.
    Leak,
}

impl Index {
    /// Those of the table of indices.
    pub const MAIN: [Index; 7] = [Index::K, Index::S, Index::E, Index::L, Index::KE, Index::SE, Index::LE];
    /// Those of the table of latent indices.
    pub const LATENT: [Index; 4] = [Index::L, Index::LKnow, Index::LSelf, Index::Leak];

    pub fn name(self) -> &'static str {
        match self {
            Index::K => "K",
            Index::S => "S",
            Index::E => "E",
            Index::L => "L",
            Index::KE => "KE",
            Index::SE => "SE",
            Index::LE => "LE",
            Index::LKnow => "L_know",
            Index::LSelf => "L_self",
            Index::Leak => "leak",
        }
    }

    /// The index of a name of [`Index::MAIN`] or [`Index::LATENT`].
    pub fn of(name: &str) -> Option<Index> {
        Index::MAIN.into_iter().chain(Index::LATENT).find(|i| i.name() == name)
    }

    /// What it is made of: a measure, less another.
    pub fn parts(self) -> (Measure, Option<Measure>) {
        match self {
            Index::K => (Measure::K, None),
            Index::S => (Measure::S, None),
            Index::E => (Measure::E, None),
            Index::L => (Measure::LFeel, None),
            Index::LKnow => (Measure::LKnow, None),
            Index::LSelf => (Measure::LSelf, None),
            Index::KE => (Measure::K, Some(Measure::E)),
            Index::SE => (Measure::S, Some(Measure::E)),
            Index::LE => (Measure::LFeel, Some(Measure::E)),
            Index::Leak => (Measure::LFeel, Some(Measure::LKnow)),
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An index of one fine-tune, with its interval over items.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub value: f64,
    /// 95 %.
    pub interval: Option<(f64, f64)>,
    /// Of no difference from the base model (of the two parts from each other).
    pub p: Option<f64>,
    /// Items behind it; of a gap, of the part with fewer.
    pub n: usize,
    pub df: Option<f64>,
    /// Why there is no interval.
    pub reason: &'static str,
}

/// A single index: Fieller's interval, Student's t over items.
pub(super) fn single(r: &Ratio) -> Found {
    let (n, df) = (r.items.len(), r.items.len() as f64 - 1.0);
    let mut found = Found { value: r.value(), interval: None, p: None, n, df: None, reason: unknown(r) };
    if found.reason.is_empty() {
        found.interval = r.limits(t_quantile(0.975, df));
        found.p = (r.nn > 0.0).then(|| two_sided_p(r.n / r.nn.sqrt(), df));
        found.df = Some(df);
        found.reason = if found.interval.is_none() { UNBOUNDED } else { "" };
    }
    found
}

const UNBOUNDED: &str = "anchors too close for an interval";

/// Why items say nothing about the error of an index.
fn unknown(r: &Ratio) -> &'static str {
    match r.items.len() {
        0 | 1 => "no standard error",
        _ if r.nn == 0.0 && r.dd == 0.0 => "no variation between items",
        _ => "",
    }
}

/// The difference a - b: the interval is put together from those of the parts (Zou and Donner 2008), with the correlation
/// that items in common give them.
pub(super) fn difference(a: &Ratio, b: &Ratio) -> Found {
    let (va, vb, cov) = (a.variance(), b.variance(), covariance(a, b));
    let n = a.items.len().min(b.items.len());
    let mut found = Found {
        value: a.value() - b.value(),
        interval: None,
        p: None,
        n,
        df: None,
        reason: [unknown(a), unknown(b)].into_iter().find(|r| *r == "no standard error").unwrap_or(""),
    };
    if !found.reason.is_empty() {
        return found;
    }
    if va + vb == 0.0 {
        return Found { reason: "no variation between items", ..found };
    }
    let (da, db) = (a.items.len() as f64 - 1.0, b.items.len() as f64 - 1.0);
    // Welch and Satterthwaite; where the items are the same ones, each gives one difference.
    let df = if a.items == b.items { da } else { (va + vb).powi(2) / (va * va / da + vb * vb / db) };
    let rho = if va > 0.0 && vb > 0.0 { (cov / (va * vb).sqrt()).clamp(-1.0, 1.0) } else { 0.0 };
    let ends = |t: f64| {
        let ((al, au), (bl, bu)) = (a.limits(t)?, b.limits(t)?);
        let half = |x: f64, y: f64| (x * x + y * y - 2.0 * rho * x * y).max(0.0).sqrt();
        let lo = found.value - half(a.value() - al, bu - b.value());
        Some((lo, found.value + half(au - a.value(), b.value() - bl)))
    };
    let interval = ends(t_quantile(0.975, df));
    // The interval that just reaches 0.
    let clear = |t: f64| ends(t).is_some_and(|(lo, hi)| lo > 0.0 || hi < 0.0);
    let (mut below, mut above) = (0.0, 1.0);
    while clear(above) && above < 1e6 {
        (below, above) = (above, 2.0 * above);
    }
    for _ in 0..60 {
        let middle = (below + above) / 2.0;
        if clear(middle) { below = middle } else { above = middle }
    }
    found.interval = interval;
    found.p = Some(two_sided_p(below, df));
    found.df = Some(df);
    found.reason = if interval.is_none() { UNBOUNDED } else { "" };
    found
}

/// The covariance of two indices through the items that they share.
fn covariance(a: &Ratio, b: &Ratio) -> f64 {
    let of_b: BTreeMap<&String, f64> = b.items.iter().zip(b.influence()).collect();
    let shared = a.items.iter().zip(a.influence()).filter_map(|(item, x)| of_b.get(item).map(|y| x * y));
    let (sum, n) = shared.fold((0.0, 0.0), |(s, n), xy| (s + xy, n + 1.0));
    if n > 1.0 { sum * n / (n - 1.0) } else { 0.0 }
}
