//! The class of each fine-tune and trait, and how often resamples agree with it.

use super::Options;
use super::classes::Class;
use super::index::Index;
use super::ratio::Ratio;
use super::sheet::Subject;
use crate::analysis::stats::mean;
use crate::rng::stream;
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// The class of a fine-tune for a trait, or of a format (`*` as model, character and trait).
#[derive(Clone, Debug, PartialEq)]
pub struct Quadrant {
    pub model: String,
    pub format: String,
    pub character: String,
    pub quality: String,
    /// `None` where K or E is missing.
    pub class: Option<Class>,
    /// The part of resamples that fall into the class.
    pub share: Option<f64>,
    /// K, S, E, L.
    pub indices: [Option<f64>; 4],
    /// What has to be known of it; empty for an ordinary row.
    pub reason: String,
}

const FOUR: [Index; 4] = [Index::K, Index::S, Index::E, Index::L];

/// Indices of one resample: K, S, E, L.
type Draw = [Option<f64>; 4];

/// Classes of fine-tunes, then of formats. A resample draws items of each measure; for a format, characters, seeds within
/// them, and items.
pub(super) fn quadrants(subjects: &[Subject], options: &Options) -> Vec<Quadrant> {
    let mut own = Vec::new();
    let mut over = Vec::new();
    let formats: BTreeSet<&str> = subjects.iter().map(|s| s.format.as_str()).collect();
    for format in formats {
        let members: Vec<&Subject> = subjects.iter().filter(|s| s.format == format).collect();
        let draws: Vec<Vec<Draw>> = members.iter().map(|s| draws(s, options)).collect();
        for (s, draws) in members.iter().zip(&draws) {
            let found = FOUR.map(|i| s.value(i));
            own.push(quadrant([&s.model, format, &s.character, &s.quality], found, draws, options));
        }
        let units = units(&members, &draws);
        let found = over_units(&units, |u| Some(u.value));
        let resampled = resample(format, &units, options);
        over.push(quadrant(["*", format, "*", "*"], found, &resampled, options));
    }
    own.extend(over);
    own
}

fn quadrant(names: [&str; 4], indices: Draw, draws: &[Draw], options: &Options) -> Quadrant {
    let class = options.thresholds.class(indices);
    let [model, format, character, quality] = names.map(String::from);
    let agree = draws.iter().filter(|d| class.is_some() && options.thresholds.class(**d) == class).count();
    let share = class.filter(|_| !draws.is_empty()).map(|_| agree as f64 / draws.len() as f64);
    let reason = match class {
        None => {
            let of = |i: usize, name: &'static str| indices[i].is_none().then_some(name);
            let names: Vec<&str> = [of(0, "K"), of(2, "E")].into_iter().flatten().collect();
            format!("no index {}", names.join(" and "))
        }
        Some(Class::Undecided) if indices[3].is_none() && indices[2] >= Some(options.thresholds.high) => {
            "no index L: acts and embodies differ in it".into()
        }
        Some(_) if draws.is_empty() => "one item of each measure: no resamples".into(),
        Some(_) => String::new(),
    };
    Quadrant { model, format, character, quality, class, share, indices, reason }
}

/// Resamples of the items of each measure; none where no measure has two items.
fn draws(s: &Subject, options: &Options) -> Vec<Draw> {
    let ratio = |i: Index| s.scored.get(&i.parts().0).and_then(|m| m.ratio.as_ref().ok());
    let ratios = FOUR.map(ratio);
    if ratios.iter().flatten().all(|r| r.items.len() < 2) {
        return Vec::new();
    }
    let mut draws = vec![[None; 4]; options.resamples];
    for (at, r) in ratios.iter().enumerate().filter_map(|(at, r)| r.map(|r| (at, r))) {
        for (draw, value) in draws.iter_mut().zip(values(s, r, options)) {
            draw[at] = value;
        }
    }
    draws
}

/// Measures of the same items are resampled together, and so are models of one character: they share its anchors.
fn values(s: &Subject, r: &Ratio, options: &Options) -> Vec<Option<f64>> {
    let n = r.items.len();
    let label = format!("knowing/{}/{}/{}", s.character, s.quality, r.items.join("\u{1f}"));
    let mut rng = stream(options.seed, &label);
    let mut sample = vec![0; n];
    let mut draw = || {
        sample.iter_mut().for_each(|i| *i = rng.random_range(0..n));
        r.resampled(&sample)
    };
    (0..options.resamples).map(|_| draw()).collect()
}

/// A character with a seed: means over its traits and models.
struct Of<'a> {
    character: &'a str,
    value: Draw,
    draws: Vec<Draw>,
}

fn units<'a>(members: &[&'a Subject], draws: &[Vec<Draw>]) -> Vec<Of<'a>> {
    let mut by: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (i, s) in members.iter().enumerate() {
        by.entry((&s.character, &s.seed)).or_default().push(i);
    }
    let unit = |((character, _), of): ((&'a str, &str), Vec<usize>)| {
        let longest = of.iter().map(|&i| draws[i].len()).max().unwrap_or(0);
        // What has no resamples stays where it is.
        let at = |i: usize, b: usize| draws[i].get(b).copied().unwrap_or_else(|| FOUR.map(|x| members[i].value(x)));
        Of {
            character,
            value: means(of.iter().map(|&i| FOUR.map(|x| members[i].value(x)))),
            draws: (0..longest).map(|b| means(of.iter().map(|&i| at(i, b)))).collect(),
        }
    };
    by.into_iter().map(unit).collect()
}

fn means(all: impl Iterator<Item = Draw> + Clone) -> Draw {
    [0, 1, 2, 3].map(|k| mean(&all.clone().filter_map(|d| d[k]).collect::<Vec<_>>()))
}

/// Means over characters of means over their seeds.
fn over_units(units: &[Of<'_>], of: impl Fn(&Of<'_>) -> Option<Draw>) -> Draw {
    let mut by: BTreeMap<&str, Vec<Draw>> = BTreeMap::new();
    for u in units {
        by.entry(u.character).or_default().extend(of(u));
    }
    means(by.values().map(|seeds| means(seeds.iter().copied())))
}

fn resample(format: &str, units: &[Of<'_>], options: &Options) -> Vec<Draw> {
    if units.len() < 2 {
        return units.iter().flat_map(|u| u.draws.clone()).collect();
    }
    let mut by: BTreeMap<&str, Vec<&Of>> = BTreeMap::new();
    units.iter().for_each(|u| by.entry(u.character).or_default().push(u));
    let characters: Vec<&Vec<&Of>> = by.values().collect();
    let mut rng = stream(options.seed, &format!("knowing/{format}"));
    let mut draw = |b: usize| {
        let mut drawn = Vec::with_capacity(characters.len());
        for _ in 0..characters.len() {
            let seeds = characters[rng.random_range(0..characters.len())];
            let of = |u: &Of| u.draws.get(b).copied().unwrap_or(u.value);
            let picked: Vec<Draw> = (0..seeds.len()).map(|_| of(seeds[rng.random_range(0..seeds.len())])).collect();
            drawn.push(means(picked.into_iter()));
        }
        means(drawn.into_iter())
    };
    (0..options.resamples).map(&mut draw).collect()
}
