//! The gate test: the same contents under other headers, and where the last token then stands along a direction.

use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::stats::{mean, permutation_p};
use crate::rng::stream;
use rand::Rng;

/// Where contents stand under one header, and how far that is from where they stand under the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub header: String,
    pub contents: usize,
    pub position: f64,
    pub interval: Option<Interval>,
    /// Of the same contents under this header minus under the first; 0 for the first itself.
    pub effect: f64,
    pub effect_interval: Option<Interval>,
    /// Sign flips of the contents' differences; `None` for the first header.
    pub p: Option<f64>,
}

/// Compares headers by the positions of the same contents: every header has one per content, in the same order. Contents are
/// the units of intervals and of the test. `None` without contents or where a header has others than the first.
pub fn gate(headers: &[(String, Vec<f64>)], resamples: usize, seed: u64) -> Option<Vec<Gate>> {
    let first = &headers.first()?.1;
    let fits = |h: &(String, Vec<f64>)| h.1.len() == first.len() && h.1.iter().all(|v| v.is_finite());
    if first.is_empty() || !headers.iter().all(fits) {
        return None;
    }
    let of = |i: usize, (header, positions): &(String, Vec<f64>)| -> Option<Gate> {
        let differences: Vec<f64> = positions.iter().zip(first).map(|(a, b)| a - b).collect();
        let interval = |values: &[f64], what: &str| {
            let mut rng = stream(seed, &format!("gate/{what}/{header}"));
            cluster_bootstrap(values.len(), resamples, &mut rng, |s| {
                mean(&s.iter().map(|k| values[*k]).collect::<Vec<_>>())
            })
        };
        let effect = mean(&differences)?;
        let mut rng = stream(seed, &format!("gate/flips/{header}"));
        let mut flip = || differences.iter().map(|d| if rng.random() { *d } else { -d }).sum::<f64>().abs();
        let null: Vec<f64> = (0..resamples).map(|_| flip()).collect();
        let total = effect.abs() * differences.len() as f64;
        Some(Gate {
            header: header.clone(),
            contents: positions.len(),
            position: mean(positions)?,
            interval: interval(positions, "position"),
            effect,
            effect_interval: if i == 0 { None } else { interval(&differences, "effect") },
            p: if i == 0 { None } else { permutation_p(total, &null) },
        })
    };
    headers.iter().enumerate().map(|(i, h)| of(i, h)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_moves_all_contents_alike_has_an_effect_and_noise_has_none() {
        let contents: Vec<f64> = (0..20).map(|i| f64::from((i * 7) % 11)).collect();
        // Contents differ by up to 10, and the header by 0.5: only the pairing shows it.
        let moved = contents.iter().map(|v| v + 0.5).collect();
        let noise = contents.iter().enumerate().map(|(i, v)| v + if i % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let headers = [("chat".to_string(), contents), ("tag".into(), moved), ("other".into(), noise)];
        let found = gate(&headers, 500, 0).unwrap();
        assert!(found[0].effect == 0.0 && found[0].p.is_none());
        assert!((found[1].effect - 0.5).abs() < 1e-12 && found[1].p.unwrap() < 0.01, "{:?}", found[1]);
        assert!(found[2].effect.abs() < 1e-12 && found[2].p.unwrap() > 0.5, "{:?}", found[2]);
        let short = [("a".to_string(), vec![1.0]), ("b".into(), vec![])];
        assert!(gate(&short, 10, 0).is_none() && gate(&[], 10, 0).is_none());
    }
}
