//! The rows of measures as cells: per fine-tune, character, trait and measure the means of the items, beside the anchors'.

use super::index::{Found, Index, difference, single};
use super::input::{BASE, CARD, Measure, Measured};
use super::ratio::Ratio;
use crate::analysis::stats::{mean, variance};
use std::collections::{BTreeMap, BTreeSet};

/// Means of the samples of each item, in the order of the items' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Items {
    pub means: BTreeMap<String, f64>,
    pub samples: usize,
    /// Values that could not be scored.
    pub missing: usize,
}

impl Items {
    /// The mean over items and its standard error.
    pub fn mean(&self) -> (Option<f64>, Option<f64>) {
        let all: Vec<f64> = self.means.values().copied().collect();
        (mean(&all), variance(&all).map(|v| (v / all.len() as f64).sqrt()))
    }
}

/// One measure of one fine-tune for a trait.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub own: Items,
    pub base: Items,
    pub card: Items,
    /// Card less base over the items that all three have, with its standard error where there are several.
    pub distance: Option<(f64, Option<f64>)>,
    /// The index, or why there is none.
    pub ratio: Result<Ratio, String>,
}

/// One fine-tune and trait of a character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    pub model: String,
    pub format: String,
    pub character: String,
    pub quality: String,
    pub seed: String,
    /// What was measured of it.
    pub scored: BTreeMap<Measure, Scored>,
}

impl Subject {
    /// The parts of an index, or why one is missing.
    fn parts(&self, index: Index) -> Result<(&Ratio, Option<&Ratio>), String> {
        let (a, b) = index.parts();
        let ratio = |m: Measure| match self.scored.get(&m) {
            None => Err(format!("{m} was not measured")),
            Some(Scored { ratio, .. }) => ratio.as_ref().map_err(|reason| match b {
                None => reason.clone(),
                Some(_) => format!("{m}: {reason}"),
            }),
        };
        Ok((ratio(a)?, b.map(ratio).transpose()?))
    }

    /// An index with its interval over items, or why there is none.
    pub fn index(&self, index: Index) -> Result<Found, String> {
        self.parts(index).map(|(a, b)| b.map_or_else(|| single(a), |b| difference(a, b)))
    }

    /// An index, and the same without the bias of a ratio of means; or why there is none.
    pub fn point(&self, index: Index) -> Result<(f64, f64), String> {
        let (a, b) = self.parts(index)?;
        let less = |f: fn(&Ratio) -> f64| f(a) - b.map_or(0.0, f);
        Ok((less(Ratio::value), less(Ratio::centred)))
    }

    /// How much each item moves an index, by trait and item; nothing where there is no index.
    pub fn influence(&self, index: Index) -> Vec<(String, f64)> {
        let Ok((a, b)) = self.parts(index) else { return Vec::new() };
        let of = |r: &Ratio, sign: f64| -> Vec<(String, f64)> {
            let key = |item: &String| format!("{}\u{1f}{item}", self.quality);
            r.items.iter().map(key).zip(r.influence()).map(|(key, v)| (key, sign * v)).collect()
        };
        let mut all = of(a, 1.0);
        all.extend(b.into_iter().flat_map(|b| of(b, -1.0)));
        all
    }

    /// The index alone.
    pub fn value(&self, index: Index) -> Option<f64> {
        self.point(index).ok().map(|p| p.0)
    }
}

type Cells<'a> = BTreeMap<(Who<'a>, Measure), Items>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    /// Format, character, trait.
    Anchor(&'a str, &'a str, &'a str),
    /// Format, character, trait, seed, model.
    Tuned(&'a str, &'a str, &'a str, &'a str, &'a str),
}

/// The fine-tunes of the rows that `takes` keeps, by format, character, trait, seed and model; anchors are taken as they
/// are there. The order of the rows has no part in it.
pub(super) fn subjects(rows: &[Measured], takes: impl Fn(&Measured) -> bool) -> Vec<Subject> {
    let cells = cells(rows, takes);
    let tuned: BTreeSet<Who> = cells.keys().map(|k| k.0).filter(|w| matches!(w, Who::Tuned(..))).collect();
    let subject = |who: Who| {
        let Who::Tuned(format, character, quality, seed, model) = who else { return None };
        let anchor = |format, m| cells.get(&(Who::Anchor(format, character, quality), m)).cloned().unwrap_or_default();
        let scored = |m: Measure| cells.get(&(who, m)).map(|own| (m, score(own, anchor(BASE, m), anchor(CARD, m))));
        Some(Subject {
            model: model.into(),
            format: format.into(),
            character: character.into(),
            quality: quality.into(),
            seed: seed.into(),
            scored: Measure::ALL.into_iter().filter_map(scored).collect(),
        })
    };
    tuned.into_iter().filter_map(subject).collect()
}

fn cells(rows: &[Measured], takes: impl Fn(&Measured) -> bool) -> Cells<'_> {
    let mut order: Vec<&Measured> = rows.iter().filter(|r| takes(r)).collect();
    // Sums are taken in this order, whatever that of the rows.
    order.sort_unstable_by(|a, b| full(a).cmp(&full(b)));
    type Sums<'a> = BTreeMap<&'a str, (f64, usize)>;
    let mut sums: BTreeMap<(Who, Measure), Sums> = BTreeMap::new();
    let mut cells: Cells = BTreeMap::new();
    for r in order {
        let at = (named(r), r.measure);
        let items = cells.entry(at).or_default();
        let Some(v) = r.value else {
            items.missing += 1;
            continue;
        };
        items.samples += 1;
        let sum = sums.entry(at).or_default().entry(r.item.as_str()).or_default();
        *sum = (sum.0 + v, sum.1 + 1);
    }
    for (at, sums) in sums {
        let means = sums.into_iter().map(|(item, (sum, n))| (item.to_string(), sum / n as f64)).collect();
        cells.entry(at).or_default().means = means;
    }
    cells
}

fn named(r: &Measured) -> Who<'_> {
    match r.is_anchor() {
        true => Who::Anchor(&r.format, &r.character, &r.quality),
        false => Who::Tuned(&r.format, &r.character, &r.quality, &r.seed, &r.model),
    }
}

type Full<'a> = ((Who<'a>, Measure), [&'a str; 6]);

fn full(r: &Measured) -> Full<'_> {
    ((named(r), r.measure), [&r.item, &r.model, &r.seed, &r.sample, &r.site, &r.split])
}

fn score(own: &Items, base: Items, card: Items) -> Scored {
    let found = ratio(own, &base, &card);
    let distance = found.as_ref().ok().map(|r| (r.d, (r.items.len() > 1).then(|| r.dd.sqrt())));
    let ratio = found.and_then(|r| if r.overlaps() { Err("anchors overlap".into()) } else { Ok(r) });
    Scored { own: own.clone(), base, card, distance, ratio }
}

fn ratio(own: &Items, base: &Items, card: &Items) -> Result<Ratio, String> {
    for (items, of) in [(own, "the fine-tune"), (base, "the base model"), (card, "the card")] {
        if items.means.is_empty() {
            let why = if items.missing > 0 { "all values are missing" } else { "no rows" };
            return Err(format!("{why} of {of}"));
        }
    }
    let (mut names, mut values) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for (item, own) in &own.means {
        if let Some((base, card)) = base.means.get(item).zip(card.means.get(item)) {
            names.push(item.clone());
            values.iter_mut().zip([own, base, card]).for_each(|(all, v)| all.push(*v));
        }
    }
    let [own, base, card] = values;
    Ratio::of(names, &own, &base, &card).ok_or_else(|| "no items in common with the anchors".into())
}
