//! Scores of replies: markers, a trained classifier, a judge's expected score, scores made elsewhere; and how good a
//! reply is as a text.
//!
//! Whatever scores implements [`Scorer`]. A reply has a score or a reason why it has none, and never a default.

mod likelihood;
pub mod quality;

pub use likelihood::{Likelihood, Sequence, likelihoods};
