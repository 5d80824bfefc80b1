//! Figures of the comparison of fine-tunes.

pub mod perplexity;
pub mod screening;
pub mod weights;
