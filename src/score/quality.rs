//! How good a reply is as a text: repetition, variety, and how likely the model itself finds it.

use super::{Sequence, likelihoods};
use crate::error::Result;
use crate::model::{Adapter, Model};
use std::collections::BTreeSet;

/// Distinct n-grams over all n-grams of a reply, in (0, 1]; 1 where none comes twice (Li et al. 2016, distinct-n).
///
/// It falls with length by itself: compare replies of about one length. `None` where there is no n-gram.
pub fn distinct_n(tokens: &[u32], n: usize) -> Option<f64> {
    if n == 0 || tokens.len() < n {
        return None;
    }
    let distinct: BTreeSet<&[u32]> = tokens.windows(n).collect();
    Some(distinct.len() as f64 / (tokens.len() - n + 1) as f64)
}

/// The share of a reply's n-grams that stood in it before, in [0, 1): 1 - [`distinct_n`]. `None` where there is none.
pub fn repetition(tokens: &[u32], n: usize) -> Option<f64> {
    distinct_n(tokens, n).map(|d| 1.0 - d)
}

/// Mean negative log-likelihood per token of each reply after its prompt, in nats; its exponential is the perplexity.
/// `None` for an empty reply. Goes through the model's default adapter where it has one, and through no edit: that is what
/// makes it a measure of coherence for steered replies.
///
/// # Errors
/// A prompt without tokens, prompt and reply beyond the model's positions, failures of the model.
pub fn reply_nll(model: &Model, items: &[(Vec<u32>, Vec<u32>)], threads: usize) -> Result<Vec<Option<f64>>> {
    reply_nll_through(model, model.default_adapter.and_then(|a| model.adapters.get(a)), items, threads)
}

/// [`reply_nll`] through an adapter, or through none.
///
/// # Errors
/// As [`reply_nll`].
pub fn reply_nll_through(
    model: &Model,
    adapter: Option<&Adapter>,
    items: &[(Vec<u32>, Vec<u32>)],
    threads: usize,
) -> Result<Vec<Option<f64>>> {
    let whole: Vec<(Vec<u32>, Vec<bool>)> = items
        .iter()
        .map(|(prompt, reply)| {
            let counted = [vec![false; prompt.len()], vec![true; reply.len()]].concat();
            ([prompt.as_slice(), reply].concat(), counted)
        })
        .collect();
    if let Some(i) = items.iter().position(|(prompt, _)| prompt.is_empty()) {
        return Err(crate::error::Error::refused(
            format!("reply {i} has no prompt: its first token is predicted from nothing"),
            "give at least the token that begins a text",
        ));
    }
    let sequences: Vec<Sequence> = whole.iter().map(|(tokens, counted)| Sequence { tokens, counted }).collect();
    let found = likelihoods(&*model.lm, adapter, &sequences, model.workers(threads))?;
    Ok(found.into_iter().map(|l| (l.counted > 0).then(|| l.nll / l.counted as f64)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;

    #[test]
    fn repeated_n_grams_are_counted() {
        // Pairs of 1 2 1 2 1: 12 21 12 21, of which 2 differ.
        assert_eq!((distinct_n(&[1, 2, 1, 2, 1], 2), repetition(&[1, 2, 1, 2, 1], 2)), (Some(0.5), Some(0.5)));
        assert_eq!((distinct_n(&[1, 2, 3], 1), repetition(&[1, 2, 3], 3)), (Some(1.0), Some(0.0)));
        assert_eq!((distinct_n(&[1, 1], 3), repetition(&[], 1), distinct_n(&[1], 0)), (None, None, None));
    }

    #[test]
    fn a_reply_s_likelihood_is_that_of_its_tokens_alone_whatever_stands_beside_it() {
        let model = Model::load(&Source::toyworld()).unwrap();
        let items = vec![(vec![1, 5, 9], vec![20, 21]), (vec![1, 5, 9, 20], vec![21]), (vec![1], vec![])];
        let all = reply_nll(&model, &items, 2).unwrap();
        assert_eq!(all[2], None);
        let alone = reply_nll(&model, &items[..1], 1).unwrap();
        assert_eq!(all[0], alone[0]);
        // The second token by itself, given the first: twice the mean of both less it is the first token's.
        let first = reply_nll(&model, &[(vec![1, 5, 9], vec![20])], 1).unwrap()[0].unwrap();
        assert!((2.0 * all[0].unwrap() - all[1].unwrap() - first).abs() < 1e-4);
        assert!(reply_nll(&model, &[(vec![], vec![3])], 1).is_err());
        assert!(reply_nll(&model, &[(vec![1], vec![1_000_000])], 1).unwrap_err().to_string().contains("1000000"));
    }
}
