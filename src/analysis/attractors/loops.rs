//! Loops in text: a reply that is an earlier one again, exactly or nearly.

use crate::analysis::series::Series;
use std::collections::BTreeSet;

/// Replies below this many characters are a farewell or a silence, not a loop.
pub const SHORT: usize = 40;
/// Likeness from which a reply counts as said before.
const SAME: f64 = 0.8;
/// Longest period that is looked for.
const LONGEST: usize = 6;

/// What the texts of a run do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says the same thing, or the same few things in turn.
    Loop,
    /// Replies too short to say anything.
    Silence,
    /// Neither.
    Free,
}

impl Kind {
    /// As tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Loop => "loop",
            Kind::Silence => "silence",
            Kind::Free => "free",
        }
    }
}

/// A loop, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loop {
    pub kind: Kind,
    /// Replies after which it comes round; 1 for the same reply over and over.
    pub period: Option<usize>,
    /// Index of the first reply of the loop.
    pub onset: Option<usize>,
    /// Mean likeness to the reply one period before, over all replies that have one.
    pub likeness: f64,
}

/// The loop in which a run of texts ends: the period at which replies are most like earlier ones, from the first reply that
/// stays like them to the end. Likeness is the share of character trigrams that two texts have in common (Jaccard).
pub fn loop_in(texts: &[&str]) -> Loop {
    let grams: Vec<BTreeSet<[char; 3]>> = texts.iter().map(|t| trigrams(t)).collect();
    let found = search(texts.len(), |i, j| jaccard(&grams[i], &grams[j]));
    let last = texts.len() - texts.len() / 3;
    let tail = &texts[last.min(texts.len().saturating_sub(1))..];
    let silent = !tail.is_empty() && tail.iter().all(|t| t.chars().count() < SHORT);
    if silent { Loop { kind: Kind::Silence, period: None, onset: None, ..found } } else { found }
}

/// [`loop_in`] of texts of which only is known which are equal.
pub fn loop_of(hashes: &[&str]) -> Loop {
    search(hashes.len(), |i, j| f64::from(u8::from(hashes[i] == hashes[j])))
}

fn search(n: usize, like: impl Fn(usize, usize) -> f64) -> Loop {
    let mean = |p: usize| (p..n).map(|i| like(i, i - p)).sum::<f64>() / (n - p) as f64;
    let onset = |p: usize| {
        let back = (p..n).rev().take_while(|&i| like(i, i - p) > SAME).last()?;
        // At least once round, so that one chance repetition at the end is no loop.
        (n - back >= p.max(2)).then_some(back - p)
    };
    let periods = 1..=LONGEST.min(n.saturating_sub(1));
    let looping = periods.clone().find_map(|p| onset(p).map(|o| (p, o)));
    let likeness = periods.map(mean).fold(0.0_f64, f64::max);
    match looping {
        Some((period, onset)) => {
            Loop { kind: Kind::Loop, period: Some(period), onset: Some(onset), likeness: mean(period) }
        }
        None => Loop { kind: Kind::Free, period: None, onset: None, likeness },
    }
}

fn trigrams(text: &str) -> BTreeSet<[char; 3]> {
    let chars: Vec<char> = text.chars().collect();
    match chars.len() {
        0 => BTreeSet::new(),
        1 | 2 => [[chars[0], *chars.last().unwrap_or(&' '), ' ']].into(),
        _ => chars.windows(3).map(|w| [w[0], w[1], w[2]]).collect(),
    }
}

fn jaccard(a: &BTreeSet<[char; 3]>, b: &BTreeSet<[char; 3]>) -> f64 {
    let both = a.intersection(b).count();
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// Exact repetition over all runs of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Repetition {
    /// Share of replies that are equal to the reply `j` before them, for j = 1, 2, ...; with how many could be.
    pub shares: Vec<(usize, f64, usize)>,
    /// Runs that end in a loop, by its period, of how many.
    pub looping: Vec<(usize, usize)>,
    pub runs: usize,
}

/// `None` where not every turn has a hash.
pub fn repetition(series: &Series) -> Option<Repetition> {
    let runs: Vec<Vec<&str>> = series
        .runs
        .iter()
        .map(|r| r.turns.iter().map(|t| t.text_hash.as_deref()).collect::<Option<Vec<_>>>())
        .collect::<Option<_>>()?;
    let shares = (1..=LONGEST)
        .filter_map(|j| {
            let pairs = || runs.iter().flat_map(move |r| (j..r.len()).map(move |i| r[i] == r[i - j]));
            let n = pairs().count();
            (n > 0).then(|| (j, pairs().filter(|s| *s).count() as f64 / n as f64, n))
        })
        .collect();
    let loops: Vec<usize> = runs.iter().filter_map(|r| loop_of(r).period).collect();
    let looping = (1..=LONGEST).map(|p| (p, loops.iter().filter(|l| **l == p).count())).filter(|l| l.1 > 0).collect();
    Some(Repetition { shares, looping, runs: runs.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: usize) -> String {
        // 60 characters of which no two numbers share many.
        (0..20).map(|i| char::from(b'a' + ((n * 7 + i * i * (n + 3)) % 26) as u8)).flat_map(|c| [c, ' ', c]).collect()
    }

    #[test]
    fn a_loop_has_its_period_and_onset() {
        let texts: Vec<String> = (0..5).map(said).collect();
        // 0 1 2 then 3 4 3 4 3 4: the pattern begins at place 3.
        let order = [0, 1, 2, 3, 4, 3, 4, 3, 4];
        let run: Vec<&str> = order.iter().map(|&i| texts[i].as_str()).collect();
        let found = loop_in(&run);
        assert_eq!((found.kind, found.period, found.onset), (Kind::Loop, Some(2), Some(3)));
        let same = [0, 1, 2, 2, 2, 2].map(|i: usize| texts[i].as_str());
        assert_eq!((loop_in(&same).period, loop_in(&same).onset), (Some(1), Some(2)));
        assert_eq!(loop_of(&["a", "b", "c", "b", "c", "b"]).period, Some(2));
    }

    #[test]
    fn free_text_is_free_and_a_farewell_is_a_silence() {
        let texts: Vec<String> = (0..6).map(said).collect();
        let run: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(loop_in(&run).kind, Kind::Free);
        assert_eq!(loop_in(&[&texts[0], &texts[1], "Bye!", "Bye!", "Bye!"]).kind, Kind::Silence);
        assert_eq!(loop_in(&[]).kind, Kind::Free);
        assert_eq!(loop_of(&["a"]).kind, Kind::Free);
    }
}
