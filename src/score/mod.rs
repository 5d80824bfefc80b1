//! Scores of replies: markers, a trained classifier, a judge's expected score, scores made elsewhere; and how good a
//! reply is as a text.
//!
//! Whatever scores implements [`Scorer`]. A reply has a score or a reason why it has none, and never a default.

pub mod agreement;
mod classifier;
mod given;
mod judge;
mod lexicon;
mod likelihood;
pub mod quality;
mod replies;
mod words;

pub use classifier::{Classifier, Labelled, Validated};
pub use given::Given;
pub use judge::{Judge, Scale};
pub use lexicon::{Lexicon, Markers, Matching, Measure};
pub use likelihood::{Likelihood, Sequence, Under, likelihoods, likelihoods_under};
pub use replies::{Reply, read_replies};
pub use words::words;

use crate::error::Result;

/// What a scorer says of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Score(f64),
    Unscored(Why),
}

impl Outcome {
    /// The score, if there is one.
    pub fn score(&self) -> Option<f64> {
        match self {
            Outcome::Score(v) => Some(*v),
            Outcome::Unscored(_) => None,
        }
    }
}

/// Why a reply has no score.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// There is nothing in the reply.
    Empty,
    /// The judge did not answer with a number: it gave numbers this share of its probability.
    Refused(f64),
    /// What stands in the place of a number.
    Unparsable(String),
    /// Nobody scored it.
    Missing,
    /// Nothing in it was in what the scorer learnt from.
    Unknown,
}

impl Why {
    /// The reason as it stands in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Why::Empty => "empty",
            Why::Refused(_) => "refused",
            Why::Unparsable(_) => "unparsable",
            Why::Missing => "missing",
            Why::Unknown => "unknown words",
        }
    }

    /// All reasons, in the order of summaries.
    pub const NAMES: [&'static str; 5] = ["refused", "unparsable", "empty", "missing", "unknown words"];
}

/// Something that scores replies.
pub trait Scorer {
    /// One outcome per reply, in order. The score of a reply does not depend on the others.
    ///
    /// # Errors
    /// What keeps it from scoring anything; a single reply without a score is an outcome.
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>>;
}
