//! Persona space at one site: role vectors, their principal components, the assistant axis, where the default sits, and
//! how two such spaces agree.

pub mod alignment;
pub mod covariate;
pub mod density;
pub mod dimension;
pub mod neighbours;
pub mod place;
mod scaling;
mod shape;
mod tables;
pub mod twonn;
pub mod vectors;

pub use covariate::{Correlation, Covariate, correlate, correlation_table};
pub use place::{Place, place};
pub use scaling::Scaling;
pub use shape::{DefaultPersona, Line, Shape, shape};
pub use tables::{axis_table, dimension_table, loading_table, map_tables, place_table, variance_table};
pub use vectors::{Kind, Member, RoleVectors};

/// How a map is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapOptions {
    pub scaling: Scaling,
    /// Components that get scores and a place for the default.
    pub components: usize,
    /// Draws of the null spectrum.
    pub null_draws: usize,
    /// Resamples of roles behind intervals.
    pub bootstrap: usize,
    pub permutations: usize,
    /// Random halves behind the agreement of the axis with itself.
    pub halves: usize,
    pub seed: u64,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions {
            scaling: Scaling::default(),
            components: 10,
            null_draws: 50,
            bootstrap: 1000,
            permutations: 500,
            halves: 100,
            seed: 0,
        }
    }
}

/// The cosine of two vectors; `None` where one has no length.
pub(crate) fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let norms = aa.sqrt() * bb.sqrt();
    (norms > 0.0).then(|| (ab / norms).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests;
