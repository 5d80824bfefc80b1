//! Numbers about activations and replies: directions, scores, maps, drift and dose, each with its null and interval.
//!
//! Sees tables and arrays only. Every function is pure: what is random comes from a seed that the caller gives.

// `!(x > 0.0)` holds of a NaN, which has to fall on the side that refuses.
#![allow(clippy::neg_cmp_op_on_partial_ord)]

pub mod attractors;
pub mod clustered;
pub mod contrast;
pub mod decoder;
pub mod dissociation;
pub mod dose;
pub mod drift;
pub mod hidden;
pub mod interval;
pub mod knowing;
pub mod map;
pub mod nulls;
pub mod pca;
pub mod placed;
pub mod probe;
pub mod resampled;
pub mod score;
pub mod screening;
pub mod series;
pub mod shares;
pub mod split;
pub mod stats;
pub mod student;
pub mod subspace;
pub mod survival;
pub mod sweep;
pub mod trajectory;
pub mod turns;
pub mod wording;

#[cfg(test)]
mod testing;
