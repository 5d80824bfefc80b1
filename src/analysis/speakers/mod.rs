//! Several speakers in one transcript: how far their replies lie apart, whether activations tell who speaks, where each
//! is along its own direction, and how fast that changes when the header does.

pub mod apart;
pub mod naming;
pub mod voices;

pub use apart::{Apart, apart};
pub use naming::{Naming, naming};
pub use voices::{By, Coordinate, Directions, by, coordinates};

use crate::error::{Error, Result};
use ndarray::ArrayView2;
use rand::Rng;
use rand::seq::SliceRandom;

/// Who spoke a row, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The conversation, counted from 0: conversations are independent.
    pub run: usize,
    pub turn: usize,
    /// A place among the speakers.
    pub speaker: usize,
}

/// How numbers about speakers are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub folds: usize,
    pub permutations: usize,
    pub seed: u64,
}

/// Checks that every row has its speaker, and that runs can be dealt into folds.
fn check(rows: ArrayView2<f32>, said: &[Said], speakers: usize, o: Options) -> Result<()> {
    if rows.nrows() != said.len() {
        let (found, expected) = (vec![rows.nrows()], vec![said.len()]);
        return Err(Error::Shape { place: "replies of speakers".into(), name: "rows".into(), found, expected });
    }
    let mut here: Vec<usize> = said.iter().map(|s| s.speaker).collect();
    here.sort_unstable();
    here.dedup();
    if here.len() < 2 || here.iter().any(|s| *s >= speakers) || runs(said) < o.folds.max(2) {
        return Err(Error::refused(
            format!("{} speakers in {} conversations", here.len(), runs(said)),
            format!("at least two speakers and {} conversations are needed", o.folds.max(2)),
        ));
    }
    Ok(())
}

/// Conversations; those without a row count.
fn runs(said: &[Said]) -> usize {
    said.iter().map(|s| s.run + 1).max().unwrap_or(0)
}

/// Deals the speakers of each conversation anew among its rows: what a conversation is like stays.
fn shuffled(said: &[Said], rng: &mut impl Rng) -> Vec<Said> {
    let mut lists: Vec<Vec<usize>> = vec![Vec::new(); runs(said)];
    said.iter().enumerate().for_each(|(r, s)| lists[s.run].push(r));
    let mut out = said.to_vec();
    for list in &lists {
        let mut dealt = list.clone();
        dealt.shuffle(rng);
        list.iter().zip(&dealt).for_each(|(to, from)| out[*to].speaker = said[*from].speaker);
    }
    out
}

#[cfg(test)]
mod tests;
