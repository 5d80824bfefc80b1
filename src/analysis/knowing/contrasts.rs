//! Formats against each other: differences of indices, paired by character and seed.

use super::index::Index;
use super::pooled::{Pooled, Unit, pool};
use super::power::{power, smallest_effect};
use super::units::All;
use crate::analysis::stats::{benjamini_hochberg, mean};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A contrast that was written down before the run: index of `a` less index of `b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub a: String,
    pub b: String,
    pub index: Index,
}

/// What is planned where nobody says otherwise: documents teach knowledge, conversations teach expression, and what
/// documents leave between the two is more than training on anything leaves.
pub const USUAL: [(&str, &str, Index); 3] =
    [("document", "chat", Index::K), ("chat", "document", Index::E), ("document", "control", Index::KE)];

/// A difference of an index between two formats.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    pub planned: bool,
    pub a: String,
    pub b: String,
    pub index: Index,
    /// a - b; `None` without a character that both have.
    pub(super) found: Option<Pooled>,
    /// Among planned contrasts, or among all others.
    pub q: Option<f64>,
}

impl Contrast {
    /// The sign in words, where the interval is clear of 0.
    pub fn verdict(&self) -> String {
        match self.interval() {
            Some((lo, _)) if lo > 0.0 => format!("{} above {}", self.a, self.b),
            Some((_, hi)) if hi < 0.0 => format!("{} below {}", self.a, self.b),
            _ => "not shown".into(),
        }
    }

    /// How many independent values the test is made of, their standard deviation, and the difference.
    fn test(&self) -> Option<(usize, f64, f64)> {
        let f = self.found.as_ref()?;
        Some((f.df? as usize + 1, f.sd.filter(|sd| *sd > 0.0)?, f.value))
    }

    /// The chance to find a difference as large as this one, were it the truth.
    pub fn power(&self) -> Option<f64> {
        self.test().and_then(|(n, sd, effect)| power(n, sd, effect, 0.05))
    }

    /// The smallest difference that is found four times of five.
    pub fn smallest(&self) -> Option<f64> {
        self.test().and_then(|(n, sd, _)| smallest_effect(n, sd, 0.05, 0.8))
    }

    /// The difference.
    pub fn difference(&self) -> Option<f64> {
        self.found.as_ref().map(|f| f.value)
    }

    /// Its 95 % interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.found.as_ref().and_then(|f| f.interval)
    }

    /// Of no difference.
    pub fn p(&self) -> Option<f64> {
        self.found.as_ref().and_then(|f| f.p)
    }
}

/// Reads contrasts as they are asked for, `document-chat:K,first-person-chat:E`. Names of formats may hold hyphens.
///
/// # Errors
/// What is not `A-B:INDEX`, an index or a format that there is not.
pub fn planned(text: &str, formats: &[&str]) -> Result<Vec<Planned>> {
    let one = |part: &str| {
        let bad = |what: String, hint: String| Err(Error::refused(format!("contrast `{part}`: {what}"), hint));
        let Some((pair, name)) = part.rsplit_once(':') else {
            return bad("no index is named".into(), "write A-B:INDEX, such as document-chat:K".into());
        };
        let Some(index) = Index::of(name.trim()) else {
            let all = Index::MAIN.map(Index::name).join(", ");
            return bad(format!("no index `{}`", name.trim()), format!("indices are {all}"));
        };
        let mut halves = pair.match_indices('-').map(|(at, _)| (pair[..at].trim(), pair[at + 1..].trim()));
        match halves.find(|(a, b)| formats.contains(a) && formats.contains(b) && a != b) {
            Some((a, b)) => Ok(Planned { a: a.into(), b: b.into(), index }),
            None => bad(
                format!("`{pair}` is no pair of formats"),
                format!("write A-B:INDEX; formats of fine-tunes are {}", formats.join(", ")),
            ),
        }
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
    let all = parts.into_iter().map(one).collect::<Result<Vec<Planned>>>()?;
    for (i, p) in all.iter().enumerate() {
        if all[..i].contains(p) {
            return Err(Error::refused(
                format!("contrast `{}-{}:{}` is planned twice", p.a, p.b, p.index),
                "name each once",
            ));
        }
    }
    Ok(all)
}

/// The contrasts asked for, or the usual ones.
pub(super) fn plan(all: &All<'_>, asked: Option<&[Planned]>) -> Result<Vec<Planned>> {
    let formats = all.formats();
    let Some(asked) = asked else {
        let there = USUAL.iter().filter(|(a, b, _)| formats.contains(a) && formats.contains(b));
        return Ok(there.map(|(a, b, index)| Planned { a: (*a).into(), b: (*b).into(), index: *index }).collect());
    };
    for p in asked {
        if let Some(name) = [&p.a, &p.b].into_iter().find(|f| !formats.contains(&f.as_str())) {
            return Err(Error::refused(
                format!("no fine-tune of format `{name}`, which a planned contrast names"),
                format!("formats of fine-tunes are {}", formats.join(", ")),
            ));
        }
    }
    Ok(asked.to_vec())
}

/// The planned contrasts, then all other pairs of formats (in the order of their names) by all indices.
pub(super) fn contrasts(all: &All<'_>, planned: &[Planned]) -> Vec<Contrast> {
    let formats = all.formats();
    let mut found: Vec<Contrast> = planned.iter().map(|p| contrast(all, true, &p.a, &p.b, p.index)).collect();
    for (i, a) in formats.iter().enumerate() {
        for b in &formats[i + 1..] {
            let known = |index| {
                let same = |p: &Planned| (p.a == *a && p.b == *b) || (p.a == *b && p.b == *a);
                planned.iter().any(|p| p.index == index && same(p))
            };
            let open = Index::MAIN.into_iter().filter(|index| !known(*index));
            found.extend(open.map(|index| contrast(all, false, a, b, index)));
        }
    }
    let (first, rest) = found.split_at_mut(planned.len());
    for family in [first, rest] {
        let p: Vec<Option<f64>> = family.iter().map(Contrast::p).collect();
        family.iter_mut().zip(benjamini_hochberg(&p)).for_each(|(c, q)| c.q = q);
    }
    found
}

fn contrast(all: &All<'_>, planned: bool, a: &str, b: &str, index: Index) -> Contrast {
    Contrast { planned, a: a.into(), b: b.into(), index, q: None, found: pool(&paired(all, a, b, index)) }
}

/// Differences by character and seed; of a character whose formats have no seed in common, of their means.
fn paired(all: &All<'_>, a: &str, b: &str, index: Index) -> Vec<Unit> {
    type Seeds<'a> = BTreeMap<&'a str, Unit>;
    let by_character = |format| {
        let mut by: BTreeMap<&str, Seeds> = BTreeMap::new();
        for ((character, seed), (unit, _)) in all.units(format, index) {
            by.entry(character).or_default().insert(seed, unit);
        }
        by
    };
    let (of_a, of_b) = (by_character(a), by_character(b));
    let mut units = Vec::new();
    for (character, a) in &of_a {
        let Some(b) = of_b.get(character) else { continue };
        let unit = |value, centred, influence| Unit { character: character.to_string(), value, centred, influence };
        let common: BTreeSet<&str> = a.keys().filter(|s| b.contains_key(*s)).copied().collect();
        if common.is_empty() {
            let over = |s: &Seeds, f: fn(&Unit) -> f64| mean(&s.values().map(f).collect::<Vec<_>>()).unwrap_or(0.0);
            let less = |f: fn(&Unit) -> f64| over(a, f) - over(b, f);
            units.push(unit(less(|u| u.value), less(|u| u.centred), BTreeMap::new()));
        }
        units.extend(common.iter().map(|s| a[s].less(&b[s])));
    }
    units
}
