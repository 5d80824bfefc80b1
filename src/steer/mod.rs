//! Steering: a sweep of strengths and seeds over prompts as one batch of work, measured before and proved after.
//!
//! Every reply has its own edits, so all strengths of all edits run side by side, and what they share of a prompt is
//! computed once. A strength may be in activation units, in mean norms of the stream, or a percentile of what the model
//! does by itself: the last two are measured first.

mod donors;
mod measure;
mod op;
mod place;
mod strength;
mod sweep;

pub use donors::Donors;
pub use measure::{Measured, Share, measure};
pub use op::Op;
pub use place::Place;
pub use strength::{Amount, Strength};
pub use sweep::{Arm, Prompted, Reply, Steered, Sweep, TOLERANCE, TOLERANCE_HALF};
