//! Low-rank updates of weights, `dW = scale * B A`: how much of one lies along a direction of what it writes to, and how
//! two of them lie to each other. All from the factors, in f64: no `[d_out, d_in]` matrix is ever made.

mod angles;

pub use angles::{Angles, RandomAngles, Space, angles, random_angles};

use super::nulls::normal;
use super::stats::{permutation_p, quantile_sorted};
use crate::error::{Error, Result};
use crate::rng::stream;
use faer::Mat;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// An update of a linear map `y = W x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// `[rank, d_in]`
    a: Array2<f64>,
    /// `[d_out, rank]`
    b: Array2<f64>,
    scale: f64,
    /// `A A^T`, `[rank, rank]`
    gram: Array2<f64>,
}

impl Update {
    /// From its factors: `a [rank, d_in]`, `b [d_out, rank]`. The scale of LoRA is alpha / rank, of rsLoRA alpha / sqrt(rank).
    ///
    /// # Errors
    /// Factors of different ranks or without numbers; values that are not finite.
    pub fn new(a: ArrayView2<f32>, b: ArrayView2<f32>, scale: f64) -> Result<Update> {
        if a.nrows() != b.ncols() || a.is_empty() || b.is_empty() {
            return Err(Error::refused(
                format!("factors {:?} and {:?} make no low-rank update", a.shape(), b.shape()),
                "give A as [rank, in] and B as [out, rank]",
            ));
        }
        let strange = |m: ArrayView2<f32>| m.iter().filter(|v| !v.is_finite()).count();
        let count = strange(a) + strange(b) + usize::from(!scale.is_finite());
        if count > 0 {
            return Err(Error::NotFinite { place: "factors of a low-rank update".into(), count });
        }
        let (a, b) = (a.mapv(f64::from), b.mapv(f64::from));
        let gram = a.dot(&a.t());
        Ok(Update { a, b, scale, gram })
    }

    /// Outputs, inputs.
    pub fn shape(&self) -> [usize; 2] {
        [self.b.nrows(), self.a.ncols()]
    }

    /// `|dW|_F^2 = scale^2 tr(B^T B A A^T)`.
    pub fn energy(&self) -> f64 {
        self.scale * self.scale * (&self.b.t().dot(&self.b) * &self.gram).sum().max(0.0)
    }

    /// `|v^T dW|^2` of each row of `units [n, d_out]`, which are of length 1.
    ///
    /// # Errors
    /// Rows of another width than the update writes.
    pub fn along(&self, units: ArrayView2<f64>) -> Result<Vec<f64>> {
        if units.ncols() != self.b.nrows() {
            return Err(Error::refused(
                format!("a direction of {} numbers and an update that writes {}", units.ncols(), self.b.nrows()),
                "give directions of the stream that the map writes to",
            ));
        }
        let s = units.dot(&self.b);
        let squares = (&s.dot(&self.gram) * &s).sum_axis(Axis(1));
        Ok(squares.iter().map(|v| (self.scale * self.scale * v).max(0.0)).collect())
    }

    /// The cosine of two updates of one map as vectors: `<dW1, dW2>_F / (|dW1|_F |dW2|_F)`. `None` for updates of
    /// different shapes, or where one of them is zero.
    pub fn cosine(&self, other: &Update) -> Option<f64> {
        if self.shape() != other.shape() {
            return None;
        }
        let product = (&self.b.t().dot(&other.b) * &self.a.dot(&other.a.t())).sum() * self.scale * other.scale;
        let norms = (self.energy() * other.energy()).sqrt();
        (norms > 0.0).then(|| (product / norms).clamp(-1.0, 1.0))
    }

    /// What it writes (its column space) and what it reads (its row space). `None` for an update that is zero.
    ///
    /// # Errors
    /// A decomposition that does not converge.
    pub fn spaces(&self) -> Result<Option<[Space; 2]>> {
        let to_faer = |m: ArrayView2<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[[i, j]]);
        let (left, right) = (to_faer(self.b.view()).qr(), to_faer(self.a.t()).qr());
        // dW = Qb (Rb Ra^T) Qa^T, and the middle is no larger than the rank.
        let middle = left.thin_R() * right.thin_R().transpose();
        let svd = middle.thin_svd().map_err(|_| {
            let hint = "check the adapter for huge values";
            Error::refused("the singular value decomposition of an update did not converge", hint)
        })?;
        let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = values.first().copied().unwrap_or(0.0);
        let rank = values.iter().filter(|s| **s > NOTHING * largest).count();
        if rank == 0 || self.scale == 0.0 {
            return Ok(None);
        }
        let of = |q: Mat<f64>, side: faer::MatRef<f64>| Space::new(q * side.subcols(0, rank));
        Ok(Some([of(left.compute_thin_Q(), svd.U()), of(right.compute_thin_Q(), svd.V())]))
    }
}

/// Singular values below this share of the largest span nothing.
const NOTHING: f64 = 1e-6;

/// Unit vectors drawn uniformly from the sphere, `[n, d]`, by the seed alone: the same for every update of one width, so
/// that energies along one of them may be added over updates.
pub fn random_units(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let mut rng = stream(seed, &format!("random unit directions/{d}"));
    let mut units = Array2::from_shape_simple_fn((n, d), || normal(&mut rng));
    for mut row in units.axis_iter_mut(Axis(0)) {
        let norm = row.dot(&row).sqrt();
        row.mapv_inplace(|v| v / norm);
    }
    units
}

/// A direction as [`Update::along`] takes it, `[1, d]`.
///
/// # Errors
/// A vector that is zero or not finite.
pub fn unit(direction: ArrayView1<f32>) -> Result<Array2<f64>> {
    let v: Array1<f64> = direction.mapv(f64::from);
    let norm = v.dot(&v).sqrt();
    if !(norm > 0.0 && norm.is_finite()) {
        let what = format!("a direction of length {norm} has no energy along it");
        return Err(Error::refused(what, "give a vector that is not zero and holds numbers"));
    }
    Ok((v / norm).insert_axis(Axis(0)))
}

/// Energies of one update, or of several added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Energy {
    /// `|dW|_F^2`
    pub total: f64,
    /// Along the direction.
    pub along: f64,
    /// Along each random direction.
    pub null: Vec<f64>,
}

impl Energy {
    /// Adds those of another update. Nulls are added draw by draw.
    pub fn add(&mut self, other: &Energy) {
        self.total += other.total;
        self.along += other.along;
        self.null.resize(self.null.len().max(other.null.len()), 0.0);
        self.null.iter_mut().zip(&other.null).for_each(|(a, b)| *a += b);
    }

    /// The share along the direction, held against the random ones. `None` for an update that is zero.
    pub fn judged(&self) -> Option<Judged> {
        if !(self.total > 0.0) {
            return None;
        }
        let mut null: Vec<f64> = self.null.iter().map(|e| e / self.total).collect();
        null.sort_by(f64::total_cmp);
        let share = self.along / self.total;
        let below = null.iter().filter(|v| **v < share).count() as f64;
        let equal = null.iter().filter(|v| **v == share).count() as f64;
        Some(Judged {
            share,
            null_low: quantile_sorted(&null, 0.025)?,
            null_high: quantile_sorted(&null, 0.975)?,
            percentile: 100.0 * (below + equal / 2.0) / null.len() as f64,
            p_value: permutation_p(share, &null)?,
        })
    }
}

/// The share of an update's energy along a direction, `|v^T dW|^2 / |dW|_F^2`, beside that along random directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub share: f64,
    /// 2.5 % and 97.5 % quantiles over random directions. Their mean is 1 / d_out.
    pub null_low: f64,
    pub null_high: f64,
    /// Random directions with a smaller share, in percent; ties count half.
    pub percentile: f64,
    /// Chance of a share at least so large along a random direction, the data counted in.
    pub p_value: f64,
}

#[cfg(test)]
mod tests;
