//! What a direction is compared with: random directions of the same norm, and itself fitted on other halves of the data.

use super::contrast::contrast_weights;
use super::split::Groups;
use super::stats::{mean, quantile};
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::rng::stream;
use ndarray::Array1;
use rand::Rng;
use rand::seq::SliceRandom;

/// A direction drawn uniformly from the sphere, by (seed, label) alone, with `norm` as its raw norm: steered with the
/// same dose it moves the stream as far as the direction it stands beside.
///
/// # Errors
/// A width of 0, or a norm that is not positive and finite.
pub fn random_direction(
    site: Site,
    pick: Pick,
    d_model: usize,
    norm: f64,
    seed: u64,
    label: &str,
) -> Result<Direction> {
    if d_model == 0 || !(norm > 0.0 && norm.is_finite()) {
        return Err(Error::refused(
            format!("a random direction of width {d_model} and norm {norm}"),
            "give the width of the model and the norm of the direction it is compared with",
        ));
    }
    let mut rng = stream(seed, &format!("random direction/{label}"));
    let raw = Array1::from_shape_fn(d_model, |_| normal(&mut rng));
    let origin = format!("random direction, seed {seed}, label {label}");
    let mut direction = Direction::new(site, pick, &raw, &format!("random {label}"), "nothing", &origin)?;
    direction.raw_norm = norm;
    Ok(direction)
}

/// A standard normal draw (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// How well a contrast vector agrees with itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliability {
    /// Mean cosine between the vectors of two disjoint halves.
    pub cosine_mean: f64,
    /// 2.5 % and 97.5 % quantiles over splits; the halves of different splits overlap, so this is no confidence interval.
    pub cosine_lo: f64,
    pub cosine_hi: f64,
    pub splits: usize,
}

/// Split-half reliability of the contrast between groups with and without `is_positive`: each class's groups are dealt
/// into halves at random `splits` times, and the two contrast vectors compared. A class of a single group (the default
/// persona, for example) is halved by rows instead, so that the halves never share data.
///
/// A cosine with another direction can hardly exceed this one: it is the ceiling to read such cosines against.
///
/// # Errors
/// A class with neither two groups nor a group of two rows, or halves whose means coincide.
pub fn split_half(
    acts: &Activations,
    is_positive: &dyn Fn(&str) -> bool,
    splits: usize,
    seed: u64,
) -> Result<Reliability> {
    let groups = Groups::of(&acts.keys);
    let mut classes: [Vec<Vec<usize>>; 2] = Default::default();
    for (name, rows) in groups.names.iter().zip(&groups.rows) {
        classes[usize::from(!is_positive(name))].push(rows.clone());
    }
    for class in &mut classes {
        if let [only] = class.as_slice() {
            *class = only.iter().map(|&r| vec![r]).collect();
        }
    }
    if classes.iter().any(|c| c.len() < 2) || splits == 0 {
        return Err(Error::refused(
            format!("{} positive and {} negative units cannot be halved", classes[0].len(), classes[1].len()),
            "split-half reliability needs two groups (or two rows of a single group) in each class",
        ));
    }
    let means = classes.map(|c| super::contrast::means_of(acts, &c));
    let mut rng = stream(seed, "split half");
    let mut cosines = Vec::with_capacity(splits);
    for _ in 0..splits {
        let mut half = [Array1::zeros(acts.rows.ncols()), Array1::zeros(acts.rows.ncols())];
        for (m, sign) in means.iter().zip([1.0, -1.0]) {
            let mut order: Vec<usize> = (0..m.nrows()).collect();
            order.shuffle(&mut rng);
            let first: Vec<bool> = (0..m.nrows()).map(|i| order[i] < m.nrows() / 2).collect();
            // 1/n on one half, -1/n on the other: the positive part is the first half's mean.
            if let Some(weights) = contrast_weights(&first) {
                half[0].scaled_add(sign, &weights.mapv(|w| w.max(0.0)).dot(m));
                half[1].scaled_add(-sign, &weights.mapv(|w| w.min(0.0)).dot(m));
            }
        }
        let norms = half[0].dot(&half[0]).sqrt() * half[1].dot(&half[1]).sqrt();
        if norms < 1e-24 {
            return Err(Error::refused(
                format!("both classes have the same mean at {}", acts.site),
                "there is no direction there: choose another site or pick",
            ));
        }
        cosines.push(half[0].dot(&half[1]) / norms);
    }
    let at = |q| quantile(&cosines, q).unwrap_or_default();
    let cosine_mean = mean(&cosines).unwrap_or_default();
    Ok(Reliability { cosine_mean, cosine_lo: at(0.025), cosine_hi: at(0.975), splits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{planted, positive};

    #[test]
    fn random_directions_have_the_norm_asked_for_and_no_preference() {
        let draw = |label: &str| random_direction(Site::post(1), Pick::LastPrompt, 96, 2.5, 1, label).unwrap();
        let (a, b) = (draw("a"), draw("b"));
        assert_eq!(a.raw_norm, 2.5);
        assert!((a.cosine(&a) - 1.0).abs() < 1e-6);
        assert_eq!(a, draw("a"));
        // Cosines have sd 1/sqrt(96) = 0.102.
        assert!(a.cosine(&b).abs() < 0.4);
        let mean: f64 = (0..400).map(|i| draw(&i.to_string()).cosine(&a)).sum::<f64>() / 400.0;
        assert!(mean.abs() < 5.0 * 0.102 / 20.0, "{mean}");
        assert!(random_direction(Site::post(1), Pick::LastPrompt, 96, 0.0, 1, "x").is_err());
    }

    #[test]
    fn a_planted_direction_is_reliable_and_noise_is_not() {
        // Halves hold 4 positive and 8 negative groups with a variance of 1.2 in each of 16 coordinates: the noise of a
        // contrast has squared length 16 * 1.2 * (1/4 + 1/8) = 7.2, so the cosine is about 100 / (100 + 7.2) = 0.93.
        let strong = split_half(&planted(1, 24, 5, 16, 10.0), &positive, 50, 1).unwrap();
        assert!((strong.cosine_mean - 0.93).abs() < 0.05, "{strong:?}");
        let none = split_half(&planted(1, 24, 5, 16, 0.0), &positive, 50, 1).unwrap();
        assert!(none.cosine_mean.abs() < 0.4, "{none:?}");
    }

    #[test]
    fn a_single_group_is_halved_by_rows_and_a_single_row_is_refused() {
        let a = planted(1, 8, 5, 16, 4.0);
        let only = a.keys[0].group.clone();
        assert!(split_half(&a, &|g| g == only, 10, 1).is_ok());
        let one_row = planted(1, 8, 1, 16, 4.0);
        assert!(split_half(&one_row, &|g| g == only, 10, 1).is_err());
    }
}
