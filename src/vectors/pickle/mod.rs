//! Python's pickles, parsed and never run.
//!
//! A pickle is a program for a stack machine, and loading one in Python may run anything. Here the machine builds a graph
//! of plain values. A few names are recognised, those with which torch, numpy and steering-vectors write tensors and
//! arrays; every other name ends the reading, with the name in the message. Nothing is sized by a number that a file
//! announces before its bytes are there, nothing recurses, and what refers to itself is refused.

mod call;
mod check;
mod container;
mod machine;
mod node;
mod ops;
mod texts;
mod values;
mod view;
mod write;

pub use container::{Pickled, is_legacy};
pub use node::Number;
pub use view::View;
pub use write::{Plain, archive, plain};

use crate::error::Error;

/// What to do about a pickle that is refused.
const HINT: &str =
    "save the tensors alone: torch.save of a tensor or of a dict of tensors, numpy.savez, or safetensors";

/// A refusal of a pickle.
fn refuse(place: &str, reason: impl Into<String>) -> Error {
    Error::format(place, reason, HINT)
}

/// A pickle that is not whole.
fn cut(place: &str, at: usize) -> Error {
    let hint = "it is damaged or cut short; make or fetch it again";
    Error::format(place, format!("no whole pickle: it ends or breaks at byte {at}"), hint)
}
