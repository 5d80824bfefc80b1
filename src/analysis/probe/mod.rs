//! Probes: a direction per site that tells two classes of rows apart, or follows a score, and what it has to be read
//! against.
//!
//! All methods are fits of one kind (a loss of margins with a penalty, or means), and all that a probe is judged by
//! refits it: folds, shuffled labels, halves, control tasks. So one solver takes a whole batch through the rows together;
//! see [`solve`].

mod choose;
mod design;
mod judge;
mod loss;
mod method;
mod plan;
mod precondition;
mod products;
mod shrink;
mod solver;
#[cfg(test)]
mod tests;
mod transfer;

pub use choose::{Chosen, Inner, choose, inner};
pub use design::Design;
pub use judge::{Judged, Metric, calibration, cosine, judge, null_cells};
pub use loss::Loss;
pub use method::{Fitter, Method, Part, Probe, Regular, Settings};
pub use plan::{Judging, Level, Plan};
pub use shrink::Shrinkage;
pub use solver::{Closeness, Fitted, Problem, solve};
pub use transfer::{Fitted as FittedOn, Tried, transfer};
