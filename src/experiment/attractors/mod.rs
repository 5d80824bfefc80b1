//! Where conversations go by themselves and whether they come back: from everybody under topics, with the model for its own
//! user, and after a disturbance.

mod arms;
mod led;

pub(super) use arms::taught;
