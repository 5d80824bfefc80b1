//! Directions to add: those of the traits, and controls of the same length.

use super::Trial;
use crate::analysis::nulls::normal;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::experiment::knowing::protocol::Kind;
use crate::experiment::spec::At;
use crate::experiment::work::Work;
use crate::rng::stream;
use crate::unit::Item;
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// A direction that is added or ablated.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    /// `feel`, `know`, `self`, `random 0`, `in_span 0`.
    pub name: String,
    /// The trait that it is of; `None`: a control, of all traits of a character.
    pub which: Option<usize>,
    /// The character that it is a control of.
    pub character: Option<usize>,
    /// `[d_model]`, of unit length.
    pub unit: Vec<f32>,
}

/// Rows of the base at the site, on the prompts that are tried: `[row, d_model]`, and their mean norm.
pub(super) struct Stream {
    pub rows: Array2<f32>,
    pub norm: f64,
}

/// Reads the stream of the base at the site where edits are made.
///
/// # Errors
/// Failures of the model; a stream of zeros.
pub(super) fn stream_of(trial: &Trial<'_>, work: &mut Work<'_, '_>) -> Result<Stream> {
    let mut items = Vec::new();
    for p in &trial.prompts {
        let tokens = work.model.text.chat(&trial.protocol.prompts[*p].messages, true)?.tokens;
        let n = tokens.len();
        let first = if trial.causal.at == At::LastPrompt { n - 1 } else { 0 };
        let ranges = (first..n).map(|t| t..t + 1).collect();
        items.push(Item { tokens, prompt_len: n, ranges, ..Item::default() });
    }
    let site = trial.directions.site;
    let rows = work.capture("the stream of the base", items, &[site])?.remove(0).1;
    let length = |r: ArrayView1<'_, f32>| r.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let norm = rows.rows().into_iter().map(length).sum::<f64>() / rows.nrows().max(1) as f64;
    if !(norm > 0.0 && norm.is_finite()) {
        return Err(Error::refused(format!("the stream at {site} has a mean norm of {norm}"), "choose another site"));
    }
    Ok(Stream { rows, norm })
}

/// The directions of all traits, then the controls of every character.
pub(super) fn tried(trial: &Trial<'_>, stream: &Stream, seed: u64) -> Vec<Tried> {
    let site = trial.directions.site;
    let mut all = Vec::new();
    for which in 0..trial.protocol.traits.len() {
        for kind in Kind::ALL {
            let Some(d) = trial.directions.of(which, kind, trial.pick, site) else { continue };
            let (name, unit) = (kind.name().to_string(), d.unit.to_vec());
            all.push(Tried { name, which: Some(which), character: None, unit });
        }
    }
    for (c, character) in trial.protocol.characters.iter().enumerate() {
        let own: Vec<Vec<f32>> = all
            .iter()
            .filter(|t| t.which.is_some_and(|w| character.traits.contains(&w)))
            .map(|t| t.unit.clone())
            .collect();
        for k in 0..trial.causal.controls {
            let label = |what: &str| format!("{what} {k} of {}", character.name);
            let found = [
                ("random", random(site, stream.rows.ncols(), seed, &label("random direction"))),
                ("in_span", in_span(&stream.rows, &own, seed, &label("direction in the span"))),
            ];
            for (what, unit) in found {
                let Some(unit) = unit else { continue };
                all.push(Tried { name: format!("{what} {k}"), which: None, character: Some(c), unit });
            }
        }
    }
    all
}

/// Uniform over the sphere.
fn random(_: Site, width: usize, seed: u64, label: &str) -> Option<Vec<f32>> {
    let mut rng = stream(seed, label);
    unit((0..width).map(|_| normal(&mut rng)).collect())
}

/// A random combination of the centred rows, which varies as the activations do; what lies along the traits' own
/// directions is taken out. `None` where nothing is left.
fn in_span(rows: &Array2<f32>, own: &[Vec<f32>], seed: u64, label: &str) -> Option<Vec<f32>> {
    let mut rng = stream(seed, label);
    let mean = rows.mean_axis(Axis(0))?;
    let mut sum = Array1::<f64>::zeros(rows.ncols());
    for row in rows.rows() {
        let weight = normal(&mut rng);
        sum.iter_mut().zip(row.iter().zip(&mean)).for_each(|(s, (x, m))| *s += weight * f64::from(x - m));
    }
    let before = sum.dot(&sum).sqrt();
    // Gram and Schmidt, with the directions made orthogonal among themselves first.
    let mut basis: Vec<Array1<f64>> = Vec::new();
    for d in own {
        let mut d: Array1<f64> = d.iter().map(|v| f64::from(*v)).collect();
        for b in &basis {
            d = &d - &(b * b.dot(&d));
        }
        let norm = d.dot(&d).sqrt();
        if norm > 1e-4 {
            basis.push(d / norm);
        }
    }
    for b in &basis {
        sum = &sum - &(b * b.dot(&sum));
    }
    (sum.dot(&sum).sqrt() > 1e-6 * before).then(|| unit(sum.to_vec())).flatten()
}

fn unit(values: Vec<f64>) -> Option<Vec<f32>> {
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    (norm > 0.0 && norm.is_finite()).then(|| values.iter().map(|v| (v / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_in_the_span_stays_in_it_and_off_the_traits_directions() {
        // Rows vary along the first three of four axes.
        let rows = Array2::from_shape_fn((12, 4), |(r, c)| if c < 3 { ((r * 7 + c * 5) % 11) as f32 } else { 2.0 });
        let own = vec![vec![1.0, 0.0, 0.0, 0.0], vec![0.6, 0.8, 0.0, 0.0]];
        let found = in_span(&rows, &own, 1, "x").unwrap();
        // Off the first two axes, and nothing along the last: the third is left.
        assert!((found[2].abs() - 1.0).abs() < 1e-5, "{found:?}");
        let all = vec![vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0, 0.0]];
        assert_eq!(in_span(&rows, &all, 1, "x"), None, "nothing is left");
        assert_ne!(in_span(&rows, &[], 1, "x"), in_span(&rows, &[], 1, "y"));
        let random = random(Site::post(0), 64, 1, "x").unwrap();
        assert!((random.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
