//! Steering: a sweep of strengths and seeds over prompts as one batch of work, measured before and proved after.
//!
//! Every reply has its own edits, so all strengths of all edits run side by side, and what they share of a prompt is
//! computed once. A strength may be in activation units, in mean norms of the stream, or a percentile of what the model
//! does by itself: the last two are measured first.

mod choice;
mod donors;
mod grid;
mod knowledge;
mod measure;
mod op;
mod place;
mod search;
mod strength;
mod sweep;

pub use donors::Donors;
pub use knowledge::{Costs, Paid, Question, Read};
pub use measure::{Measured, Share, measure};
pub use op::Op;
pub use place::Place;
pub use search::{Along, Candidate, Cell, Limits, Search, Searched, Value};
pub use strength::{Amount, Strength};
pub use sweep::{Arm, Prompted, Reply, Steered, Sweep, TOLERANCE, TOLERANCE_HALF};
