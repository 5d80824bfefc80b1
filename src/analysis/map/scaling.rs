//! What is done to role vectors before components are taken: always centring, and by choice a z-score and unit lengths.

use super::vectors::RoleVectors;
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// The choices, in the order in which they are applied behind the centring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaling {
    /// Each dimension in units of its deviation over roles (n below the line), so that a few massive dimensions do not
    /// decide the map. A dimension in which roles do not differ has no part.
    pub zscore: bool,
    /// Each centred vector to length 1: directions alone count.
    pub l2: bool,
}

impl Scaling {
    /// In words, for the record of a run.
    pub fn name(self) -> &'static str {
        match (self.zscore, self.l2) {
            (false, false) => "centred",
            (true, false) => "centred, z-score per dimension",
            (false, true) => "centred, unit length",
            (true, true) => "centred, z-score per dimension, unit length",
        }
    }
}

/// A scaling as fitted on roles.
pub(super) struct Fitted {
    mean: Array1<f64>,
    /// What centred values are multiplied with.
    factor: Option<Array1<f64>>,
    l2: bool,
}

impl Fitted {
    pub(super) fn on(vectors: &RoleVectors, scaling: Scaling) -> Fitted {
        let x = &vectors.vectors;
        let mean = x.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(x.ncols()));
        let factor = scaling.zscore.then(|| {
            let deviation = x.std_axis(Axis(0), 0.0);
            // A constant dimension has a deviation of rounding alone.
            let flat = |s: f64, m: f64| s <= 1e-12 * m.abs();
            deviation.iter().zip(&mean).map(|(s, m)| if flat(*s, *m) { 0.0 } else { 1.0 / s }).collect()
        });
        Fitted { mean, factor, l2: scaling.l2 }
    }

    /// A point relative to the mean of the roles, in the stated units of dimensions.
    pub(super) fn centred(&self, point: ArrayView1<f64>) -> Array1<f64> {
        self.units(&point - &self.mean)
    }

    /// A difference of points in the stated units of dimensions.
    pub(super) fn units(&self, difference: Array1<f64>) -> Array1<f64> {
        match &self.factor {
            Some(f) => difference * f,
            None => difference,
        }
    }

    /// A point as it takes part in the components.
    pub(super) fn point(&self, point: ArrayView1<f64>) -> Array1<f64> {
        let centred = self.centred(point);
        let norm = centred.dot(&centred).sqrt();
        if self.l2 && norm > 0.0 { centred / norm } else { centred }
    }

    /// A point as it is projected on the assistant axis: as it is, or its z-score.
    pub(super) fn projected(&self, point: ArrayView1<f64>) -> Array1<f64> {
        if self.factor.is_some() { self.centred(point) } else { point.to_owned() }
    }

    pub(super) fn points(&self, rows: &Array2<f64>) -> Array2<f64> {
        let mut out = Array2::zeros(rows.raw_dim());
        for (mut to, from) in out.rows_mut().into_iter().zip(rows.rows()) {
            to.assign(&self.point(from));
        }
        out
    }
}
