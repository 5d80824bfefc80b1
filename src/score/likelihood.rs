//! How likely a model finds the tokens of sequences.

use crate::error::{Error, Result};
use crate::model::{Adapter, Edit, Example, Head, Hooks, Lm, Rows, forward, kernels};
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

/// Tokens of which some count, read through an adapter and under edits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Under {
    pub tokens: Vec<u32>,
    /// As long as the tokens; the first never counts.
    pub counted: Vec<bool>,
    /// Positions below this are the prompt.
    pub prompt_len: usize,
    /// Index of the adapter.
    pub adapter: Option<usize>,
    /// Indices of the edits.
    pub edits: Vec<usize>,
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
    let whole = |s: &Sequence| Under {
        tokens: s.tokens.to_vec(),
        counted: s.counted.to_vec(),
        prompt_len: s.tokens.len(),
        adapter: adapter.map(|_| 0),
        edits: Vec::new(),
    };
    let sequences: Vec<Under> = sequences.iter().map(whole).collect();
    likelihoods_under(lm, adapter.map(std::slice::from_ref).unwrap_or_default(), &[], &sequences, threads)
}

/// [`likelihoods`] of sequences that each say what they are read through.
///
/// # Errors
/// As [`likelihoods`]; an edit at a site that the model does not have.
pub fn likelihoods_under(
    lm: &dyn Lm,
    adapters: &[Adapter],
    edits: &[&dyn Edit],
    sequences: &[Under],
    threads: usize,
) -> Result<Vec<Likelihood>> {
    sequences.iter().enumerate().try_for_each(|(i, s)| check(lm, i, s))?;
    let mut groups: Vec<&[Under]> = Vec::new();
    let (mut from, mut load) = (0, 0);
    for (i, s) in sequences.iter().enumerate() {
        if load > 0 && load + s.tokens.len() > ROWS {
            groups.push(&sequences[from..i]);
            (from, load) = (i, 0);
        }
        load += s.tokens.len();
    }
    groups.push(&sequences[from..]);
    Ok(parallel(&groups, threads, |group| one(lm, adapters, edits, group))?.concat())
}

fn check(lm: &dyn Lm, i: usize, s: &Under) -> Result<()> {
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

fn one(lm: &dyn Lm, adapters: &[Adapter], edits: &[&dyn Edit], group: &[Under]) -> Result<Vec<Likelihood>> {
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let mut targets = Vec::new();
    let rows = Rows::pack(group.iter().enumerate().map(|(index, s)| {
        targets.extend_from_slice(&s.tokens[1..]);
        targets.push(0);
        let (prompt_len, adapter, edits) = (s.prompt_len, s.adapter, s.edits.clone());
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits }, s.tokens.to_vec())
    }));
    let mut hooks = edits.iter().fold(Hooks::default().adapters(adapters), |h, e| h.edit(*e));
    let (normed, _) = forward(lm, &rows, &mut hooks, None, Head::Normed)?;
    let normed = normed.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
    let nll = kernels::nll(&normed, lm.unembedding().kernel(), &targets)?;
    let of = |(r, s): (&std::ops::Range<usize>, &Under)| {
        // Row t predicts token t + 1.
        let own = nll[r.clone()].iter().zip(&s.counted[1..]).filter(|(_, counts)| **counts);
        own.fold(Likelihood::default(), |l, (nll, _)| Likelihood {
            nll: l.nll + f64::from(*nll),
            counted: l.counted + 1,
        })
    };
    Ok(rows.ranges().iter().zip(group).map(of).collect())
}
