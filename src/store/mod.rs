//! What goes to disk and comes back: files that appear whole or not at all, the rows of a capture, and the shelf of unit
//! outcomes.

mod atomic;
pub mod disk;
pub mod formats;
pub mod import;
mod journal;
mod keys;
mod layout;
mod lock;
pub mod manifest;
pub mod moments;
mod numbers;
mod opened;
mod rows;
mod shelf;
mod tensors;
#[cfg(test)]
mod testing;
mod verify;

pub use atomic::{Appending, create_dir, write_atomic};
pub use keys::{Column, Keys};
pub use layout::{Layout, Packed, Piece, pack};
pub use lock::{LOCK, Lock};
pub use opened::Store;
pub use rows::{Found, RowWriter, UNFINISHED, damages};
pub use shelf::{FolderShelf, MemoryShelf};
pub use verify::{Damaged, SiteCheck, Verified};
