//! Synthetic activations with planted truth, for the tests of this module.

use super::nulls::normal;
use crate::acts::{Activations, RowKey};
use crate::axes::{Pick, Site};
use crate::rng::stream;
use ndarray::Array2;

/// Groups `p0..`; every third is positive.
pub fn positive(group: &str) -> bool {
    group[1..].parse::<usize>().unwrap() % 3 == 0
}

/// `groups` x `prompts` rows: unit normal noise per row, unit normal noise per group in every coordinate, and `signal`
/// along the first coordinate for positive groups. So the planted direction is e0.
pub fn planted(seed: u64, groups: usize, prompts: usize, d_model: usize, signal: f64) -> Activations {
    let mut rng = stream(seed, "planted");
    let mut rows = Array2::zeros((groups * prompts, d_model));
    let mut keys = Vec::new();
    for g in 0..groups {
        let centre: Vec<f64> = (0..d_model).map(|_| normal(&mut rng)).collect();
        for p in 0..prompts {
            let group = format!("p{g}");
            for (c, centre) in centre.iter().enumerate() {
                let planted = if c == 0 && positive(&group) { signal } else { 0.0 };
                rows[[g * prompts + p, c]] = (centre + planted + normal(&mut rng)) as f32;
            }
            keys.push(RowKey { id: format!("{group}/{p}"), group, ..RowKey::default() });
        }
    }
    Activations::new(Site::post(1), Pick::LastPrompt, rows, keys).unwrap()
}

/// Fewest repetitions of a simulation; more where PERSONASCOPE_REPETITIONS asks for it when tests are compiled.
pub fn repetitions(least: usize) -> usize {
    option_env!("PERSONASCOPE_REPETITIONS").and_then(|n| n.parse().ok()).unwrap_or(least)
}
