//! How likely a model finds training sequences.

use super::Sequences;
use crate::error::Result;
use crate::model::{Adapter, Lm};
use crate::score::{Likelihood, Sequence};

/// The likelihood of every sequence, in order.
///
/// # Errors
/// Failures of the model.
pub fn likelihoods(
    lm: &dyn Lm,
    adapter: Option<&Adapter>,
    data: &Sequences,
    threads: usize,
) -> Result<Vec<Likelihood>> {
    let sequence = |i| {
        let (tokens, counted) = data.get(i);
        Sequence { tokens, counted }
    };
    let sequences: Vec<Sequence> = (0..data.len()).map(sequence).collect();
    crate::score::likelihoods(lm, adapter, &sequences, threads)
}

/// Mean negative log-likelihood over all counted tokens, in nats.
///
/// # Errors
/// Failures of the model.
pub fn mean_nll(lm: &dyn Lm, adapter: Option<&Adapter>, data: &Sequences, threads: usize) -> Result<f64> {
    let all = likelihoods(lm, adapter, data, threads)?;
    let counted: usize = all.iter().map(|l| l.counted).sum();
    Ok(all.iter().map(|l| l.nll).sum::<f64>() / counted.max(1) as f64)
}
