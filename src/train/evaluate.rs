//! How likely a model finds texts.

use super::Sequences;
use super::gradient::rows_and_targets;
use crate::error::{Error, Result};
use crate::model::{Adapter, Head, Hooks, Lm, forward, kernels};
use crate::unit::parallel;

/// Rows that are evaluated together, about.
const ROWS: usize = 2048;

/// The likelihood of one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Sum of the negative log-likelihoods of the counted tokens, in nats.
    pub nll: f64,
    /// How many tokens count.
    pub counted: usize,
}

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
    let mut groups: Vec<Vec<usize>> = vec![Vec::new()];
    let mut load = 0;
    for i in 0..data.len() {
        if load > 0 && load + data.length(i) > ROWS {
            groups.push(Vec::new());
            load = 0;
        }
        load += data.length(i);
        groups.last_mut().into_iter().for_each(|g| g.push(i));
    }
    let one = |members: &Vec<usize>| -> Result<Vec<Likelihood>> {
        let (rows, targets, weights) = rows_and_targets(data, members, adapter.map(|_| 0));
        let mut hooks = Hooks::default().adapters(adapter.map(std::slice::from_ref).unwrap_or_default());
        let (normed, _) = forward(lm, &rows, &mut hooks, None, Head::Normed)?;
        let normed = normed.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
        let nll = kernels::nll(&normed, lm.unembedding().kernel(), &targets)?;
        let of = |r: &std::ops::Range<usize>| {
            let own = nll[r.clone()].iter().zip(&weights[r.clone()]);
            let (mut sum, mut counted) = (0.0, 0);
            for (nll, _) in own.filter(|(_, w)| **w > 0.0) {
                sum += f64::from(*nll);
                counted += 1;
            }
            Likelihood { nll: sum, counted }
        };
        Ok(rows.ranges().iter().map(of).collect())
    };
    Ok(parallel(&groups, threads, one)?.concat())
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
