//! Captures into folders: whatever happens on the way, dealt out or not, the same bytes.

mod commands;
mod disk;
mod faults;
mod memory;
mod setup;
mod shares;
mod sums;
