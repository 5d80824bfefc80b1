//! Knowing a trait and feeling it, across fine-tunes.

// What is here is asked for by the comparison of models.
#![cfg_attr(not(test), allow(dead_code))]

mod labels;
mod perplexity;
mod screening;
mod weights;

#[cfg(test)]
mod tests_b;

pub(in crate::experiment) use perplexity::likelihoods_by;
