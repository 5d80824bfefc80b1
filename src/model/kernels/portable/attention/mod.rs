//! Attention where rows of like length are padded to one batch: what the library of a GPU multiplies well.
//!
//! Keys and values of a group are read by all its query heads at once and never copied for each. Queries are answered in
//! blocks, so that the scores that exist at a time stay below [`SCORE_BYTES`] whatever the length of a sequence.

mod batch;
mod blocks;
mod slots;

pub use batch::Layout;
pub use slots::{Newcomers, Slots};

/// Bytes that the scores of one block may take in f32; with the mask, the softmax and the weights made of them about four
/// times as many are in use.
pub const SCORE_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests;
