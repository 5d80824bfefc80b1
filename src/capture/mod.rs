//! Which rows of a prompt are kept, what they are summed by, and the tap that keeps them.

mod grouping;
mod pooling;
mod select;
mod tap;

pub use grouping::{Filter, Group, Grouping, Variant};
pub use select::{Kept, Names, Positions, Selection};
pub use tap::Collect;
