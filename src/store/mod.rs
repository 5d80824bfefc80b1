//! What goes to disk and comes back: files that appear whole or not at all, and the shelf of unit outcomes.

pub mod activations;
mod atomic;
mod csv;
pub mod formats;
pub mod import;
mod keys;
pub mod manifest;
mod numbers;
mod opened;
mod shelf;
mod tensors;
#[cfg(test)]
mod testing;
mod verify;

pub use atomic::{Appending, create_dir, write_atomic};
pub use keys::{Column, Keys};
pub use opened::Store;
pub use shelf::{FolderShelf, MemoryShelf};
pub use verify::{Damaged, SiteCheck, Verified};
