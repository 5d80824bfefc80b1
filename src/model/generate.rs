//! Batched generation, under edits and through adapters.

use super::Lm;
use super::adapter::Adapter;
use super::batch::Batch;
use super::pass::Edit;
use super::receipt::Receipt;
use super::sample::Sampling;
use crate::error::{Error, Result};

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
///
/// # Errors
/// A prompt that the model cannot take, a failed pass.
pub fn generate(
    lm: &dyn Lm,
    adapters: &[Adapter],
    starts: &[Start],
    edits: &[&dyn Edit],
    settings: &Settings,
) -> Result<(Vec<Vec<u32>>, Vec<Receipt>)> {
    let mut batch = Batch::new(lm, adapters);
    let edits = edits.iter().map(|e| Box::new(*e) as Box<dyn Edit>).collect();
    batch.join(starts.to_vec(), edits, settings.clone(), None)?;
    while !batch.is_idle() {
        batch.step(None)?;
    }
    Ok(batch.dismiss(0))
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
