//! What a common shift points along, and whether two models share a space at all.

use crate::analysis::nulls::normal;
use crate::analysis::stats::{permutation_p, quantile};
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom;

/// A shift beside the direction of a quality that some roles have.
#[derive(Clone, Debug, PartialEq)]
pub struct Along {
    pub name: String,
    /// Cosine of the shift with the mean of the roles that have it minus the mean of the others.
    pub cosine: f64,
    /// The 95 % quantile of the cosine's size when the quality is dealt to roles at random, and its two-sided p-value.
    pub shuffled_95: f64,
    pub p: f64,
    /// The 95 % quantile of the cosine's size for directions without preference.
    pub random_95: f64,
}

/// The shift `[d_model]` along every quality, given the roles' means `[role, d_model]` and who has what, one flag per role.
/// Qualities that nobody or everybody has are left out, and so are all where the shift or a difference has no length.
pub fn along(
    shift: &Array1<f64>,
    means: ArrayView2<f64>,
    qualities: &[(String, Vec<bool>)],
    draws: usize,
    seed: u64,
) -> Vec<Along> {
    // A cosine needs the products with the shift and among roles alone.
    let with_shift = means.dot(shift);
    let among = means.dot(&means.t());
    let length = shift.dot(shift).sqrt();
    let cosine = |has: &[bool]| -> Option<f64> {
        let weights = weights(has)?;
        let norm = weights.dot(&among.dot(&weights)).max(0.0).sqrt() * length;
        (norm > 0.0).then(|| weights.dot(&with_shift) / norm)
    };
    let random_95 = random(shift, draws, seed).unwrap_or(f64::NAN);
    let one = |(name, has): &(String, Vec<bool>)| {
        let own = cosine(has)?;
        let mut rng = stream(seed, &format!("quality/{name}"));
        let mut dealt = has.clone();
        dealt.sort_unstable();
        let mut draw = || {
            dealt.shuffle(&mut rng);
            cosine(&dealt).map(f64::abs)
        };
        let null: Vec<f64> = (0..draws).filter_map(|_| draw()).collect();
        let shuffled_95 = quantile(&null, 0.95)?;
        Some(Along { name: name.clone(), cosine: own, shuffled_95, p: permutation_p(own.abs(), &null)?, random_95 })
    };
    qualities.iter().filter_map(one).collect()
}

fn weights(has: &[bool]) -> Option<Array1<f64>> {
    let n = has.iter().filter(|h| **h).count();
    let weight = |h: &bool| if *h { 1.0 / n as f64 } else { -1.0 / (has.len() - n) as f64 };
    (n > 0 && n < has.len()).then(|| has.iter().map(weight).collect())
}

fn random(shift: &Array1<f64>, draws: usize, seed: u64) -> Option<f64> {
    let length = shift.dot(shift).sqrt();
    let mut rng = stream(seed, "directions without preference");
    let mut draw = || {
        let v = Array1::from_shape_fn(shift.len(), |_| normal(&mut rng));
        v.dot(shift).abs() / (v.dot(&v).sqrt() * length)
    };
    let all: Vec<f64> = (0..draws).map(|_| draw()).filter(|v| v.is_finite()).collect();
    quantile(&all, 0.95)
}

/// Whether roles stand in the same places under two models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shared {
    /// Mean over roles of the cosine between a role's deviations from the mean role, under one model and the other.
    pub cosine: f64,
    /// The 95 % quantile when roles are matched with others, and the p-value of that.
    pub shuffled_95: f64,
    pub p: f64,
}

/// Compares the means `[role, d_model]` of the same roles. `None` below three roles or where a role is the mean role.
pub fn shared_space(a: ArrayView2<f64>, b: ArrayView2<f64>, draws: usize, seed: u64) -> Option<Shared> {
    if a.nrows() < 3 || a.dim() != b.dim() {
        return None;
    }
    let (a, b) = (unit(a)?, unit(b)?);
    let cosines = a.dot(&b.t());
    let mean =
        |order: &[usize]| order.iter().enumerate().map(|(i, j)| cosines[[i, *j]]).sum::<f64>() / a.nrows() as f64;
    let mut order: Vec<usize> = (0..a.nrows()).collect();
    let cosine = mean(&order);
    let mut rng = stream(seed, "roles matched with others");
    let mut draw = || {
        order.shuffle(&mut rng);
        mean(&order)
    };
    let null: Vec<f64> = (0..draws).map(|_| draw()).collect();
    Some(Shared { cosine, shuffled_95: quantile(&null, 0.95)?, p: permutation_p(cosine, &null)? })
}

fn unit(means: ArrayView2<f64>) -> Option<Array2<f64>> {
    let mut centred = &means - &means.mean_axis(Axis(0))?;
    let norm = |r: ArrayView1<f64>| r.dot(&r).sqrt();
    let lengths: Vec<f64> = centred.rows().into_iter().map(norm).collect();
    if lengths.iter().any(|l| *l <= 0.0) {
        return None;
    }
    centred.axis_iter_mut(Axis(0)).zip(&lengths).for_each(|(mut r, l)| r.mapv_inplace(|v| v / l));
    Some(centred)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 24 roles in 20 dimensions: noise, and the first coordinate for every third, the second for every second.
    fn roles(seed: u64) -> (Array2<f64>, Vec<(String, Vec<bool>)>) {
        let mut rng = stream(seed, "roles");
        let has = |k: usize| (0..24).map(|i| i % k == 0).collect::<Vec<bool>>();
        let (third, second) = (has(3), has(2));
        let mut means = Array2::from_shape_fn((24, 20), |_| 0.3 * normal(&mut rng));
        for i in 0..24 {
            means[[i, 0]] += f64::from(u8::from(third[i]));
            means[[i, 1]] += f64::from(u8::from(second[i]));
        }
        (means, vec![("third".into(), third), ("second".into(), second)])
    }

    #[test]
    fn a_shift_along_one_quality_is_told_from_one_along_another() {
        let (means, qualities) = roles(1);
        let mut shift = Array1::zeros(20);
        shift[0] = 2.0;
        let found = along(&shift, means.view(), &qualities, 999, 0);
        // The difference of means has length about 1 beside noise of 0.3 sqrt(20 (1/8 + 1/16)) = 0.58.
        assert!(found[0].cosine > 0.75 && found[0].p <= 0.005 && found[0].cosine > found[0].shuffled_95, "{found:?}");
        assert!(found[1].cosine.abs() < 0.45 && found[1].p > 0.05, "{found:?}");
        // Without preference: cosines have sd 1/sqrt(20), so 95 % are within 0.44.
        assert!((found[0].random_95 - 0.43).abs() < 0.04, "{found:?}");
        assert!(along(&shift, means.view(), &[("all".into(), vec![true; 24])], 99, 0).is_empty());
        assert!(along(&Array1::zeros(20), means.view(), &qualities, 99, 0).is_empty());
    }

    #[test]
    fn a_space_is_shared_by_the_same_roles_and_not_by_others() {
        let ((a, _), (b, _)) = (roles(1), roles(2));
        // Both have the two planted coordinates: 0.22 and 0.25 of variance against 20 * 0.09 of noise.
        let same = shared_space(a.view(), b.view(), 999, 0).unwrap();
        assert!(same.p <= 0.005 && same.cosine > 0.1 && same.cosine < 0.4, "{same:?}");
        let mut rng = stream(3, "x");
        let other = Array2::from_shape_fn((24, 20), |_| normal(&mut rng));
        let none = shared_space(a.view(), other.view(), 999, 0).unwrap();
        assert!(none.p > 0.05, "{none:?}");
        assert!(shared_space(a.view(), Array2::zeros((24, 20)).view(), 9, 0).is_none());
        assert!(shared_space(a.view(), other.select(Axis(0), &[0, 1]).view(), 9, 0).is_none());
    }
}
