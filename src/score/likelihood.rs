//! How likely a model finds the tokens of sequences.

use crate::error::{Error, Result};
use crate::model::{Adapter, Example, Head, Hooks, Lm, Rows, forward, kernels};
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

/// Tokens of which some count.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    pub tokens: &'a [u32],
    /// As long as the tokens. The first token is never predicted and does not count, whatever stands here.
    pub counted: &'a [bool],
}

/// The likelihood of every sequence, in order. No bit of it depends on the threads or on what stands beside it.
///
/// # Errors
/// Failures of the model; marks that are not as many as the tokens; a token outside the vocabulary; a sequence that is
/// empty or longer than the model's positions.
pub fn likelihoods(
    lm: &dyn Lm,
    adapter: Option<&Adapter>,
    sequences: &[Sequence<'_>],
    threads: usize,
) -> Result<Vec<Likelihood>> {
    sequences.iter().enumerate().try_for_each(|(i, s)| check(lm, i, s))?;
    let mut groups: Vec<&[Sequence]> = Vec::new();
    let (mut from, mut load) = (0, 0);
    for (i, s) in sequences.iter().enumerate() {
        if load > 0 && load + s.tokens.len() > ROWS {
            groups.push(&sequences[from..i]);
            (from, load) = (i, 0);
        }
        load += s.tokens.len();
    }
    groups.push(&sequences[from..]);
    Ok(parallel(&groups, threads, |group| one(lm, adapter, group))?.concat())
}

fn check(lm: &dyn Lm, i: usize, s: &Sequence<'_>) -> Result<()> {
    let (place, n) = (format!("sequence {i}"), s.tokens.len());
    if n != s.counted.len() || n == 0 {
        let (found, expected) = (vec![s.counted.len()], vec![n.max(1)]);
        return Err(Error::Shape { place, name: "counted tokens".into(), found, expected });
    }
    let dims = lm.dims();
    if let Some(pos) = s.tokens.iter().position(|t| *t as usize >= dims.d_vocab) {
        return Err(Error::Vocabulary { prompt: place, token: s.tokens[pos], pos, d_vocab: dims.d_vocab });
    }
    match n > dims.n_ctx {
        true => Err(Error::TooLong { prompt: place, tokens: n, more: String::new(), n_ctx: dims.n_ctx }),
        false => Ok(()),
    }
}

fn one(lm: &dyn Lm, adapter: Option<&Adapter>, group: &[Sequence<'_>]) -> Result<Vec<Likelihood>> {
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let mut targets = Vec::new();
    let rows = Rows::pack(group.iter().enumerate().map(|(index, s)| {
        targets.extend_from_slice(&s.tokens[1..]);
        targets.push(0);
        let (prompt_len, adapter) = (s.tokens.len(), adapter.map(|_| 0));
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits: Vec::new() }, s.tokens.to_vec())
    }));
    let mut hooks = Hooks::default().adapters(adapter.map(std::slice::from_ref).unwrap_or_default());
    let (normed, _) = forward(lm, &rows, &mut hooks, None, Head::Normed)?;
    let normed = normed.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
    let nll = kernels::nll(&normed, lm.unembedding().kernel(), &targets)?;
    let of = |(r, s): (&std::ops::Range<usize>, &Sequence)| {
        // Row t predicts token t + 1.
        let own = nll[r.clone()].iter().zip(&s.counted[1..]).filter(|(_, counts)| **counts);
        own.fold(Likelihood::default(), |l, (nll, _)| Likelihood {
            nll: l.nll + f64::from(*nll),
            counted: l.counted + 1,
        })
    };
    Ok(rows.ranges().iter().zip(group).map(of).collect())
}
