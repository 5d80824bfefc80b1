//! Replies in pieces of text, a piece a token.

use crate::error::Result;
use crate::model::Model;

/// A text that grows with its tokens. The pieces joined are the text, but for an end that is no whole character.
#[derive(Default)]
pub struct Pieces {
    tokens: Vec<u32>,
    /// Tokens before these are no part of the window that is decoded.
    from: usize,
    /// Tokens whose text has been given.
    given: usize,
}

impl Pieces {
    /// The text that a token adds. Empty where it ends within a character, whose bytes come with the next.
    ///
    /// # Errors
    /// A decoder that fails.
    pub fn add(&mut self, model: &Model, token: u32) -> Result<String> {
        self.tokens.push(token);
        // A decoder may write a token differently at the beginning of a text: one that was given already stands before.
        let before = model.text.decode(&self.tokens[self.from..self.given])?;
        let now = model.text.decode(&self.tokens[self.from..])?;
        if now.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        let piece = now.strip_prefix(&before).unwrap_or(&now).to_string();
        (self.from, self.given) = (self.given, self.tokens.len());
        Ok(piece)
    }
}
