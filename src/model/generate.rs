//! Batched generation, under edits and through adapters.

use super::adapter::Adapter;
use super::kernels::portable::{self, Largest};
use super::pass::{Edit, Hooks};
use super::prefill::{example, prefill};
use super::receipt::Receipt;
use super::rows::Rows;
use super::sample::Sampling;
use super::{Cache, Head, Lm, forward};
use crate::error::{Error, Result};
use crate::rng::stream;
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

/// A prompt to continue.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Names the prompt's random stream together with the seed, so that batching never changes a text.
    pub id: String,
    pub tokens: Vec<u32>,
    pub seed: u64,
    /// Index of the adapter that it goes through; `None` is the base model.
    pub adapter: Option<usize>,
    /// Indices into the edits that apply to it.
    pub edits: Vec<usize>,
}

/// When to stop, and how to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub max_new_tokens: usize,
    pub sampling: Sampling,
    /// Tokens that end a reply; they are not part of it.
    pub stops: Vec<u32>,
}

/// The tokens that were drawn for each start, in order, and what the edits did.
pub fn generate(
    lm: &dyn Lm,
    adapters: &[Adapter],
    starts: &[Start],
    edits: &[&dyn Edit],
    settings: &Settings,
) -> Result<(Vec<Vec<u32>>, Vec<Receipt>)> {
    let dims = lm.dims();
    for s in starts {
        fits(&s.id, &s.tokens, settings.max_new_tokens, dims.d_vocab, dims.n_ctx)?;
    }
    if starts.is_empty() || settings.max_new_tokens == 0 {
        return Ok((vec![Vec::new(); starts.len()], vec![Receipt::default(); edits.len()]));
    }
    let mut cache = Cache::new(dims.n_layers);
    let mut rngs: Vec<_> = starts.iter().map(|s| stream(s.seed, &format!("sample {}", s.id))).collect();
    let mut largest = None;
    let mut replies: Vec<Vec<u32>> = vec![Vec::new(); starts.len()];
    let mut active: Vec<usize> = (0..starts.len()).collect();
    let (mut logits, mut totals) = prefill(lm, adapters, starts, edits, &mut cache)?;
    for step in 0..settings.max_new_tokens {
        let drawn = draw(&logits, &settings.sampling, &active, &mut rngs, &mut largest)?;
        let mut going = Vec::with_capacity(active.len());
        for (&i, token) in active.iter().zip(drawn) {
            if settings.stops.contains(&token) {
                cache.drop_example(i);
            } else {
                replies[i].push(token);
                going.push(i);
            }
        }
        active = going;
        if active.is_empty() || step + 1 == settings.max_new_tokens {
            break;
        }
        let rows = Rows::pack(active.iter().map(|&i| {
            let pos = starts[i].tokens.len() + replies[i].len() - 1;
            // Where all positions change, what is cached is of no use: the sequence is read again as a whole.
            if lm.positions_change_at() == Some(pos + 1) {
                cache.drop_example(i);
                return (example(starts, i, 0), [&starts[i].tokens[..], &replies[i]].concat());
            }
            (example(starts, i, pos), replies[i].last().copied().into_iter().collect())
        }));
        let mut hooks = edits.iter().fold(Hooks::default().adapters(adapters), |h, e| h.edit(*e));
        let (next, receipts) = forward(lm, &rows, &mut hooks, Some(&mut cache), Head::LastRows)?;
        logits = next.expect("the head was asked for");
        totals.iter_mut().zip(receipts).for_each(|(total, r)| total.add(r));
    }
    Ok((replies, totals))
}

/// A token for each row of `logits [active example, d_vocab]`.
fn draw(
    logits: &Tensor,
    sampling: &Sampling,
    active: &[usize],
    rngs: &mut [ChaCha8Rng],
    largest: &mut Option<Largest>,
) -> Result<Vec<u32>> {
    let d_vocab = logits.dim(1)?;
    if sampling.temperature == 0.0 && portable::applies(logits) {
        // The same choice without moving a vocabulary for every example.
        let largest = match largest {
            Some(largest) => largest,
            none => none.insert(Largest::of(d_vocab, logits.device())?),
        };
        return Ok(largest.first(logits)?);
    }
    let logits = portable::to_host(logits)?;
    Ok(active.iter().zip(logits.chunks_exact(d_vocab)).map(|(i, row)| sampling.draw(row, &mut rngs[*i])).collect())
}

/// Refuses a prompt that the model cannot take.
///
/// # Errors
/// No tokens, a token outside the vocabulary, or more tokens than positions.
pub fn fits(id: &str, tokens: &[u32], new_tokens: usize, d_vocab: usize, n_ctx: usize) -> Result<()> {
    if tokens.is_empty() {
        return Err(Error::refused(
            format!("prompt `{id}` is empty"),
            "give it at least one token, or leave the line out",
        ));
    }
    if let Some(pos) = tokens.iter().position(|t| *t as usize >= d_vocab) {
        return Err(Error::Vocabulary { prompt: id.into(), token: tokens[pos], pos, d_vocab });
    }
    if tokens.len() + new_tokens > n_ctx {
        let more = if new_tokens > 0 { format!(" and {new_tokens} new ones") } else { String::new() };
        return Err(Error::TooLong { prompt: id.into(), tokens: tokens.len(), more, n_ctx });
    }
    Ok(())
}
