//! What goes to disk and comes back: files that appear whole or not at all, the rows of a capture, and the shelf of unit
//! outcomes.

mod atomic;
pub mod disk;
mod journal;
mod layout;
mod lock;
pub mod manifest;
pub mod moments;
mod rows;
mod shelf;

pub use atomic::{Appending, create_dir, write_atomic};
pub use layout::{Layout, Packed, Piece, pack};
pub use lock::{LOCK, Lock};
pub use rows::{Found, RowWriter, UNFINISHED, damages};
pub use shelf::{FolderShelf, MemoryShelf};
