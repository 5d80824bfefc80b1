//! Directions: signed unit displacements in a model's space. One projects a point on a direction and steers along it.

use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use ndarray::{Array1, ArrayView1};

/// A signed unit vector at one site, with what its two ends mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    pub site: Site,
    /// The rows it was fitted on.
    pub pick: Pick,
    /// What larger projections mean, in words.
    pub positive: String,
    /// What smaller projections mean, in words.
    pub negative: String,
    /// Unit length, f32.
    pub unit: Array1<f32>,
    /// Length before normalising, in activation units: the distance between the two means for a contrast vector.
    pub raw_norm: f64,
    /// How it came to be: method and data.
    pub origin: String,
}

impl Direction {
    /// Normalises `raw` in f64.
    ///
    /// # Errors
    /// A vector that is zero or not finite.
    pub fn new(
        site: Site,
        pick: Pick,
        raw: &Array1<f64>,
        positive: &str,
        negative: &str,
        origin: &str,
    ) -> Result<Direction> {
        let norm = raw.dot(raw).sqrt();
        if !norm.is_finite() || norm < 1e-12 {
            return Err(Error::refused(
                format!("the direction `{positive}` at {site} has length {norm}"),
                "both groups have the same mean there: choose another site or pick",
            ));
        }
        Ok(Direction {
            site,
            pick,
            positive: positive.into(),
            negative: negative.into(),
            unit: raw.mapv(|v| (v / norm) as f32),
            raw_norm: norm,
            origin: origin.into(),
        })
    }

    /// The projection of a point, in activation units, summed in f64.
    pub fn project(&self, point: ArrayView1<f32>) -> f64 {
        point.iter().zip(&self.unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum()
    }

    /// Cosine with another direction.
    pub fn cosine(&self, other: &Direction) -> f64 {
        self.unit.iter().zip(&other.unit).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }
}
