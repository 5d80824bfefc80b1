//! Does the feeling direction tell of expression what the knowing one does not?
//!
//! Per reply: expression on the two latent values at the same item and sample (or at the item, where they were read before
//! any reply), each less its mean within the fine-tune and
//! trait, so that only what differs between the replies of one model counts.

use super::Options;
use super::input::{Measure, Measured};
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::rng::stream;
use std::collections::{BTreeMap, BTreeSet};

/// What one latent value adds to the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The part of what the other leaves of the variance of expression that this one explains.
    pub r2: f64,
    /// In standard deviations of expression per standard deviation of it, the other held.
    pub slope: f64,
    /// Of `r2`, over characters with a seed.
    pub interval: Option<Interval>,
    /// Of `slope`.
    pub slope_interval: Option<Interval>,
}

/// Expression by both latent values, of one format at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    pub site: String,
    /// `*` for all formats together.
    pub format: String,
    pub feel: Option<Share>,
    pub know: Option<Share>,
    /// Of both together.
    pub r2: Option<f64>,
    pub replies: usize,
    pub clusters: usize,
    /// Why something is missing.
    pub reason: &'static str,
}

/// Sums of squares and products of E, feel and know within fine-tunes: ee, ff, kk, ef, ek, fk.
type Moments = [f64; 6];

/// Every site and format, and all formats together. Anchors have no part in it.
pub(super) fn partial(rows: &[Measured], options: &Options) -> Vec<Partial> {
    let sites: BTreeSet<&str> =
        rows.iter().filter(|r| r.measure == Measure::LFeel && !r.is_anchor()).map(|r| r.site.as_str()).collect();
    let known = rows.iter().any(|r| r.measure == Measure::LKnow && !r.is_anchor());
    let mut found = Vec::new();
    for site in sites.into_iter().filter(|_| known) {
        let clusters = clusters(rows, site);
        let formats: BTreeSet<&str> = clusters.keys().map(|k| k.0).collect();
        let of = |format: Option<&str>| {
            let those = clusters.iter().filter(|(k, _)| format.is_none_or(|f| k.0 == f));
            let (moments, replies): (Vec<Moments>, Vec<usize>) = those.map(|(_, v)| *v).unzip();
            judge(site, format.unwrap_or("*"), &moments, replies.iter().sum(), options)
        };
        found.extend(formats.iter().map(|f| of(Some(f))));
        found.push(of(None));
    }
    found
}

/// Per format, character and seed the moments and how many replies.
fn clusters<'a>(rows: &'a [Measured], site: &str) -> BTreeMap<(&'a str, &'a str, &'a str), (Moments, usize)> {
    type Reply<'a> = [&'a str; 7];
    let mut replies: BTreeMap<Reply<'a>, [(f64, f64); 3]> = BTreeMap::new();
    let mut samples: BTreeMap<Reply<'a>, BTreeSet<&'a str>> = BTreeMap::new();
    for r in rows.iter().filter(|r| r.measure == Measure::E && !r.is_anchor()) {
        let item = [r.format.as_str(), &r.character, &r.seed, &r.model, &r.quality, &r.item, ""];
        samples.entry(item).or_default().insert(&r.sample);
    }
    let mut order: Vec<(Reply<'a>, usize, f64)> = Vec::new();
    for r in rows.iter().filter(|r| !r.is_anchor()) {
        let which = match r.measure {
            Measure::E => 0,
            Measure::LFeel if r.site == site => 1,
            Measure::LKnow if r.site == site => 2,
            _ => continue,
        };
        let Some(v) = r.value else { continue };
        let of = |sample: &'a str| -> Reply<'a> {
            [&r.format, &r.character, &r.seed, &r.model, &r.quality, &r.item, sample]
        };
        // What is read before the reply belongs to every reply to the prompt.
        match samples.get(&of("")).filter(|_| r.sample.is_empty() && which > 0) {
            Some(own) => order.extend(own.iter().map(|sample| (of(sample), which, v))),
            None => order.push((of(&r.sample), which, v)),
        }
    }
    order.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    for (reply, which, v) in order {
        let sum = &mut replies.entry(reply).or_default()[which];
        *sum = (sum.0 + v, sum.1 + 1.0);
    }
    let mut within: BTreeMap<[&str; 5], Vec<[f64; 3]>> = BTreeMap::new();
    for (reply, sums) in replies {
        if sums.iter().all(|s| s.1 > 0.0) {
            let [format, character, seed, model, quality, ..] = reply;
            within.entry([format, character, seed, model, quality]).or_default().push(sums.map(|s| s.0 / s.1));
        }
    }
    let mut clusters = BTreeMap::new();
    for ([format, character, seed, ..], points) in within {
        let n = points.len() as f64;
        let mean = [0, 1, 2].map(|k| points.iter().map(|p| p[k]).sum::<f64>() / n);
        let (moments, replies): &mut (Moments, usize) = clusters.entry((format, character, seed)).or_default();
        *replies += points.len();
        for p in &points {
            let [e, f, k] = [0, 1, 2].map(|i| p[i] - mean[i]);
            let products = [e * e, f * f, k * k, e * f, e * k, f * k];
            moments.iter_mut().zip(products).for_each(|(m, x)| *m += x);
        }
    }
    clusters
}

fn judge(site: &str, format: &str, moments: &[Moments], replies: usize, options: &Options) -> Partial {
    let total = |sample: &[usize]| {
        sample.iter().fold([0.0; 6], |mut sum, &c| {
            sum.iter_mut().zip(moments[c]).for_each(|(s, m)| *s += m);
            sum
        })
    };
    let all: Vec<usize> = (0..moments.len()).collect();
    let fit = solve(total(&all));
    let share = |feel: bool| {
        let (r2, slope) = fit?.of(feel);
        let draw = |what: &str, f: fn((f64, f64)) -> f64| {
            let mut rng = stream(options.seed, &format!("partial/{site}/{format}/{feel}/{what}"));
            let of = |s: &[usize]| Some(f(solve(total(s))?.of(feel)));
            cluster_bootstrap(moments.len(), options.resamples, &mut rng, of)
        };
        Some(Share { r2, slope, interval: draw("r2", |v| v.0), slope_interval: draw("slope", |v| v.1) })
    };
    let reason = match (fit, moments.len()) {
        (None, 0) => "no reply has all three values",
        (None, _) => "expression or a latent value does not vary, or the two latent values are the same",
        (_, 1) => "one cluster: no interval",
        _ => "",
    };
    Partial {
        site: site.into(),
        format: format.into(),
        feel: share(true),
        know: share(false),
        r2: fit.map(|f| f.r2),
        replies,
        clusters: moments.len(),
        reason,
    }
}

/// A regression of expression on both.
#[derive(Clone, Copy)]
struct Fit {
    r2: f64,
    /// Partial R² and standardised slope.
    feel: (f64, f64),
    know: (f64, f64),
}

impl Fit {
    fn of(self, feel: bool) -> (f64, f64) {
        if feel { self.feel } else { self.know }
    }
}

fn solve([ee, ff, kk, ef, ek, fk]: Moments) -> Option<Fit> {
    if !(ee > 0.0 && ff > 0.0 && kk > 0.0) {
        return None;
    }
    let (f, k, c) = (ef / (ee * ff).sqrt(), ek / (ee * kk).sqrt(), fk / (ff * kk).sqrt());
    let free = 1.0 - c * c;
    // Two latent values that are one leave nothing to divide among them.
    if free < 1e-9 {
        return None;
    }
    let slopes = ((f - k * c) / free, (k - f * c) / free);
    let r2 = (slopes.0 * f + slopes.1 * k).clamp(0.0, 1.0);
    let added = |slope: f64, other: f64| {
        let left = 1.0 - other * other;
        if left < 1e-12 { 0.0 } else { (slope * slope * free / left).clamp(0.0, 1.0) }
    };
    Some(Fit { r2, feel: (added(slopes.0, k), slopes.0), know: (added(slopes.1, f), slopes.1) })
}
