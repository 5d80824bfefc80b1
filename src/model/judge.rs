//! How likely a reply is to the model as it is, behind a prompt that it has read before.

use super::adapter::Adapter;
use super::generate::Start;
use super::kept::Kept;
use super::pass::Hooks;
use super::rows::{Example, Rows};
use super::{Cache, Head, Lm, forward, kernels};
use crate::error::{Error, Result};

/// What a reply is judged with.
pub(super) struct Judge<'a> {
    pub lm: &'a dyn Lm,
    pub adapters: &'a [Adapter],
    pub kept: &'a mut Kept,
    pub cache: &'a mut Cache,
    /// An example that nobody else is.
    pub example: usize,
}

impl Judge<'_> {
    /// How unlikely `reply` is behind the prompt of `start`, without edits, in nats.
    ///
    /// # Errors
    /// A failed pass.
    pub fn nll(&mut self, start: &Start, reply: &[u32]) -> Result<f64> {
        if reply.is_empty() {
            return Ok(0.0);
        }
        let tokens = [&start.tokens[..], reply].concat();
        // The last row of the prompt says how likely the first token was; the last token has nothing behind it.
        let (last_prompt, last) = (start.tokens.len() - 1, tokens.len() - 1);
        let known = self.kept.find(&tokens[..last_prompt], start.adapter, |_, _| true);
        let first_pos = known.map_or(0, |(_, rows)| rows);
        if let Some((from, rows)) = known {
            self.cache.begin(self.example, from, rows);
        }
        let (index, prompt_len, adapter) = (self.example, start.tokens.len(), start.adapter);
        let example = Example { index, rows: 0..0, first_pos, prompt_len, adapter, edits: vec![] };
        let rows = Rows::pack([(example, tokens[first_pos..last].to_vec())]);
        // What is read now of a prompt that nobody has kept is kept for the next reply behind it.
        let keeps = known.is_none() && self.kept.keeps() && self.cache.is_by_example();
        let cache = (known.is_some() || keeps).then_some(&mut *self.cache);
        let done = forward(self.lm, &rows, &mut Hooks::default().adapters(self.adapters), cache, Head::Normed);
        if keeps && done.is_ok() {
            self.cache.begin(index, index, last_prompt);
            let gone = self.kept.add(index, adapter, tokens[..last_prompt].to_vec());
            gone.into_iter().for_each(|i| self.cache.drop_example(i));
        } else {
            self.cache.drop_example(index);
        }
        let normed = done?.0.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
        let of_reply = normed.narrow(0, last_prompt - first_pos, reply.len())?;
        let nll = kernels::nll(&of_reply, self.lm.unembedding().kernel(), reply)?;
        Ok(nll.into_iter().map(f64::from).sum())
    }
}
