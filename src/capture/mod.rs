//! Which rows of a prompt are kept, and the tap that keeps them.

mod pooling;
mod select;
mod tap;

pub use select::{Kept, select};
pub use tap::Collect;
