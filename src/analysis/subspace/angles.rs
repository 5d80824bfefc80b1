//! Principal angles between two subspaces, and those that chance gives.

use super::normal;
use crate::analysis::stats::{mean, quantile};
use crate::error::{Error, Result};
use crate::rng::stream;
use faer::{Mat, MatRef};

/// A subspace by an orthonormal basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// `[d, k]`
    basis: Mat<f64>,
}

/// Principal angles in degrees.
#[derive(Clone, Debug, PartialEq)]
pub struct Angles {
    /// From the smallest on; as many as the smaller space has dimensions.
    pub all: Vec<f64>,
}

impl Angles {
    /// The smallest: 0 where the spaces share a line.
    pub fn first(&self) -> f64 {
        self.all.first().copied().unwrap_or(f64::NAN)
    }

    /// The mean: 0 where one space holds the other, 90 where they are orthogonal.
    pub fn mean(&self) -> f64 {
        mean(&self.all).unwrap_or(f64::NAN)
    }
}

impl Space {
    /// `basis [d, k]` has orthonormal columns.
    pub(super) fn new(basis: Mat<f64>) -> Space {
        Space { basis }
    }

    /// Dimensions of the space, and of what it lies in.
    pub fn shape(&self) -> (usize, usize) {
        (self.basis.ncols(), self.basis.nrows())
    }
}

/// The principal angles between two spaces, by the cosines where those are exact and by the sines where they are not
/// (Björck and Golub 1973).
///
/// # Errors
/// Spaces within spaces of different widths; a decomposition that does not converge.
pub fn angles(a: &Space, b: &Space) -> Result<Angles> {
    if a.basis.nrows() != b.basis.nrows() {
        let what = format!("subspaces of {} and of {} dimensions have no angle", a.basis.nrows(), b.basis.nrows());
        return Err(Error::refused(what, "compare updates of one map of one model"));
    }
    let (large, small) = if a.basis.ncols() >= b.basis.ncols() { (a, b) } else { (b, a) };
    let product = large.basis.transpose() * &small.basis;
    let cosines = singular(product.as_ref())?;
    let rest = &small.basis - &large.basis * &product;
    // Largest sine first: the order turns round.
    let sines: Vec<f64> = singular(rest.as_ref())?.into_iter().rev().collect();
    let of = |(c, s): (&f64, &f64)| {
        let angle = if c * c > 0.5 { s.min(1.0).asin() } else { c.min(1.0).acos() };
        angle.to_degrees()
    };
    Ok(Angles { all: cosines.iter().zip(&sines).map(of).collect() })
}

/// Singular values from the largest on, as many as columns.
fn singular(m: MatRef<f64>) -> Result<Vec<f64>> {
    let mut values = m.singular_values().map_err(|_| {
        Error::refused("the angles of two subspaces did not converge", "check the adapters for huge values")
    })?;
    values.resize(m.ncols(), 0.0);
    Ok(values)
}

/// Angles between random subspaces.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomAngles {
    pub first: Vec<f64>,
    pub mean: Vec<f64>,
}

impl RandomAngles {
    /// The 2.5 % and 97.5 % quantiles of the first angle and of the mean one.
    pub fn ends(&self) -> Option<[(f64, f64); 2]> {
        let of = |v: &[f64]| quantile(v, 0.025).zip(quantile(v, 0.975));
        Some([of(&self.first)?, of(&self.mean)?])
    }
}

/// Angles between `draws` pairs of uniformly drawn subspaces of `k` dimensions in `d`.
///
/// Where one of the two lies is of no account, so it is the first coordinates.
///
/// # Errors
/// A subspace larger than the space.
pub fn random_angles(d: usize, k: (usize, usize), draws: usize, seed: u64) -> Result<RandomAngles> {
    let (small, large) = (k.0.min(k.1), k.0.max(k.1));
    if small == 0 || large > d {
        let what = format!("random subspaces of {small} and {large} of {d} dimensions");
        return Err(Error::refused(what, "a subspace has at least one dimension and no more than its space"));
    }
    let mut rng = stream(seed, &format!("random subspaces/{d}/{small}/{large}"));
    let mut found = RandomAngles { first: Vec::with_capacity(draws), mean: Vec::with_capacity(draws) };
    for _ in 0..draws {
        let drawn = Mat::from_fn(d, small, |_, _| normal(&mut rng));
        let basis = drawn.qr().compute_thin_Q();
        let cosines = singular(basis.as_ref().subrows(0, large))?;
        let all: Vec<f64> = cosines.iter().map(|c| c.clamp(0.0, 1.0).acos().to_degrees()).collect();
        let all = Angles { all };
        found.first.push(all.first());
        found.mean.push(all.mean());
    }
    Ok(found)
}
