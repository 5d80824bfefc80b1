//! The indices of every fine-tune and trait, and of every format over its units.

use super::Raw;
use super::index::{Found, Index};
use super::pooled::{Pooled, Unit, pool};
use super::sheet::{Scored, Subject};
use crate::analysis::stats::{benjamini_hochberg, mean};
use std::collections::{BTreeMap, BTreeSet};

/// One index of a fine-tune for a trait, or of a format (`*` as model, character and trait).
#[derive(Clone, Debug, PartialEq)]
pub struct IndexRow {
    pub model: String,
    pub format: String,
    pub character: String,
    pub quality: String,
    pub seed: String,
    pub index: Index,
    pub value: Option<f64>,
    /// 95 %.
    pub interval: Option<(f64, f64)>,
    /// Of a value of 0.
    pub p: Option<f64>,
    /// By Benjamini and Hochberg, among the rows of models and among the pooled ones apart.
    pub q: Option<f64>,
    /// Items of a fine-tune; values behind a pooled row.
    pub n: usize,
    /// Characters with a seed.
    pub clusters: usize,
    pub characters: usize,
    pub df: Option<f64>,
    /// What was taken off the value before the interval was put around it.
    pub bias: f64,
    /// `few clusters`.
    pub note: &'static str,
    /// Why there is no value or no interval.
    pub reason: String,
}

/// What every fine-tune has of every index, with the names of both.
pub(super) struct All<'a> {
    pub subjects: &'a [Subject],
    /// In the order of the subjects: the index, and the same without bias.
    points: Vec<BTreeMap<Index, (f64, f64)>>,
}

/// A fine-tune with its index, and the same without bias.
type Point<'a> = (&'a Subject, (f64, f64));

/// All indices of all fine-tunes.
pub(super) fn all(subjects: &[Subject]) -> All<'_> {
    let every = [&Index::MAIN[..], &[Index::LKnow, Index::LSelf, Index::Leak]].concat();
    let of = |s: &Subject| every.iter().filter_map(|i| Some((*i, s.point(*i).ok()?))).collect();
    All { subjects, points: subjects.iter().map(of).collect() }
}

impl All<'_> {
    /// The formats, ascending.
    pub fn formats(&self) -> Vec<&str> {
        self.subjects.iter().map(|s| s.format.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Per character and seed the index of a format: the mean over its traits and models, with how many values.
    pub fn units(&self, format: &str, index: Index) -> BTreeMap<(&str, &str), (Unit, usize)> {
        let mut by: BTreeMap<(&str, &str), Vec<Point<'_>>> = BTreeMap::new();
        for (s, points) in self.subjects.iter().zip(&self.points).filter(|(s, _)| s.format == format) {
            by.entry((&s.character, &s.seed)).or_default().extend(points.get(&index).map(|p| (s, *p)));
        }
        let alone = by.keys().all(|k| by.keys().next().is_some_and(|first| first.0 == k.0));
        let unit = |((character, seed), points): ((_, _), Vec<Point<'_>>)| {
            let over = |f: fn(&(f64, f64)) -> f64| mean(&points.iter().map(|p| f(&p.1)).collect::<Vec<_>>());
            let (value, centred) = (over(|p| p.0)?, over(|p| p.1)?);
            let mut influence = BTreeMap::new();
            for (s, _) in points.iter().filter(|_| alone) {
                for (key, v) in s.influence(index) {
                    *influence.entry(key).or_default() += v / points.len() as f64;
                }
            }
            let unit = Unit { character: String::from(character), value, centred, influence };
            Some(((character, seed), (unit, points.len())))
        };
        by.into_iter().filter_map(unit).collect()
    }
}

/// The rows of some indices: those of fine-tunes, then the pooled ones.
pub(super) fn rows(all: &All<'_>, indices: &[Index]) -> Vec<IndexRow> {
    let mut own: Vec<IndexRow> = Vec::new();
    for s in all.subjects {
        own.extend(indices.iter().map(|i| of_model(s, *i, &s.index(*i))));
    }
    let mut over = pooled(all, indices);
    for rows in [&mut own, &mut over] {
        let q = benjamini_hochberg(&rows.iter().map(|r| r.p).collect::<Vec<_>>());
        rows.iter_mut().zip(q).for_each(|(r, q)| r.q = q);
    }
    own.extend(over);
    own
}

/// The pooled rows, without q.
pub(super) fn pooled(all: &All<'_>, indices: &[Index]) -> Vec<IndexRow> {
    let row = |format: &str, index: Index| {
        let units = all.units(format, index);
        let n = units.values().map(|u| u.1).sum();
        let found = pool(&units.into_values().map(|u| u.0).collect::<Vec<_>>());
        of_format(format, index, n, found)
    };
    all.formats().into_iter().flat_map(|f| indices.iter().map(move |i| row(f, *i))).collect()
}

fn of_model(s: &Subject, index: Index, found: &Result<Found, String>) -> IndexRow {
    let f = found.as_ref().ok();
    IndexRow {
        model: s.model.clone(),
        format: s.format.clone(),
        character: s.character.clone(),
        quality: s.quality.clone(),
        seed: s.seed.clone(),
        index,
        value: f.map(|f| f.value),
        interval: f.and_then(|f| f.interval),
        p: f.and_then(|f| f.p),
        q: None,
        n: f.map_or(0, |f| f.n),
        clusters: 1,
        characters: 1,
        df: f.and_then(|f| f.df),
        bias: 0.0,
        note: "",
        reason: found.as_ref().map_or_else(String::clone, |f| f.reason.into()),
    }
}

pub(super) fn of_format(format: &str, index: Index, n: usize, found: Option<Pooled>) -> IndexRow {
    let f = found.as_ref();
    let any = || "*".to_string();
    IndexRow {
        model: any(),
        format: format.into(),
        character: any(),
        quality: any(),
        seed: any(),
        index,
        value: f.map(|f| f.value),
        interval: f.and_then(|f| f.interval),
        p: f.and_then(|f| f.p),
        q: None,
        n,
        clusters: f.map_or(0, |f| f.clusters),
        characters: f.map_or(0, |f| f.characters),
        df: f.and_then(|f| f.df),
        bias: f.map_or(0.0, |f| f.bias),
        note: f.map_or("", Pooled::note),
        reason: f.map_or("no fine-tune of the format has the index", |f| f.reason).into(),
    }
}

/// The means behind the indices.
pub(super) fn raw(subjects: &[Subject]) -> Vec<Raw> {
    let one = |s: &Subject, measure, scored: &Scored| Raw {
        model: s.model.clone(),
        format: s.format.clone(),
        character: s.character.clone(),
        quality: s.quality.clone(),
        measure,
        items: scored.own.means.len(),
        samples: scored.own.samples,
        missing: scored.own.missing,
        means: [scored.own.mean(), scored.base.mean(), scored.card.mean()],
        distance: scored.distance,
        reason: scored.ratio.as_ref().err().cloned().unwrap_or_default(),
    };
    subjects.iter().flat_map(|s| s.scored.iter().map(move |(m, scored)| one(s, *m, scored))).collect()
}
