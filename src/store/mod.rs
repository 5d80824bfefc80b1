//! What goes to disk and comes back: files that appear whole or not at all, and the shelf of unit outcomes.

pub mod activations;
mod atomic;
pub mod manifest;
pub mod moments;
mod shelf;

pub use atomic::{Appending, create_dir, write_atomic};
pub use shelf::{FolderShelf, MemoryShelf};
