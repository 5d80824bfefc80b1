//! Probes: a direction per site that tells two classes of rows apart, or follows a score.

mod design;
mod loss;
mod method;
mod precondition;
mod products;
mod shrink;
mod solver;

pub use design::Design;
pub use loss::Loss;
pub use method::{Fitter, Method, Part, Probe, Regular, Settings};
pub use shrink::Shrinkage;
pub use solver::{Closeness, Fitted, Problem, solve};
