//! Text and tokens: the tokenizer, the chat template of the checkpoint, and the place of every token in a conversation.
//!
//! Where a turn lies is read from the rendering itself (`layout.rs`): no search for text, no table of model names.

mod chat;
mod encoded;
mod guard;
mod layout;
mod load;
mod matching;
pub mod prompts;
mod python;
mod speakers;
mod template;

#[cfg(test)]
mod tests;

pub use chat::ChatOptions;
pub use encoded::{Encoded, Message, Span, TokenPlace, Turn};
pub use template::Variables;

use crate::error::{Error, Result};
use guard::Guarded;
use std::collections::{BTreeMap, BTreeSet};
use template::ChatTemplate;

/// The role of the turns that the model writes.
pub const ASSISTANT: &str = "assistant";
/// The role of those who ask.
pub const USER: &str = "user";
/// The role of what stands above the conversation.
pub const SYSTEM: &str = "system";

/// A tokenizer with its chat template. Shared between threads by reference.
pub struct Text {
    guarded: Guarded,
    template: Option<ChatTemplate>,
    /// Variables of every conversation.
    variables: Variables,
    /// The special tokens that the configuration names: `bos_token` and its like.
    named: BTreeMap<String, String>,
    /// Added tokens that the template or the configuration uses.
    control: BTreeSet<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    special: Vec<u32>,
    place: String,
    tokenizer_hash: String,
    template_hash: Option<String>,
}

impl Text {
    /// Encodes raw text as the tokenizer does by itself, with the special tokens of its post-processor.
    ///
    /// Special tokens written in the text are read as such here: raw text is for people who write the markup
    /// themselves. If the text already begins with what the post-processor puts in front, that is not added again.
    ///
    /// # Errors
    /// Text that the tokenizer cannot encode.
    pub fn raw(&self, text: &str) -> Result<Encoded> {
        let encoding = self.guarded.tokenizer.encode(text, true).map_err(|e| load::cannot_encode(&e))?;
        let mask = encoding.get_special_tokens_mask();
        let lead = mask.iter().take_while(|m| **m == 1).count();
        let tail = mask[lead..].iter().rev().take_while(|m| **m == 1).count();
        let mut tokens = encoding.get_ids().to_vec();
        if lead > 0 && tokens[lead..].starts_with(&tokens[..lead]) {
            tokens.drain(..lead);
        }
        let content = lead..tokens.len() - tail;
        let places = (0..tokens.len())
            .map(|t| match t {
                t if t < content.start => TokenPlace { turn: None, span: Span::Header },
                t if t < content.end => TokenPlace { turn: Some(0), span: Span::Content },
                _ => TokenPlace { turn: None, span: Span::End },
            })
            .collect();
        let turns = vec![Turn { role: "text".into(), speaker: None, content }];
        Ok(Encoded { tokens, places, turns, generation_header: false, reply_as: None, warnings: vec![] })
    }

    /// Takes exact ids; nothing is added.
    pub fn exact(&self, tokens: &[u32]) -> Encoded {
        Encoded {
            tokens: tokens.to_vec(),
            places: vec![TokenPlace { turn: Some(0), span: Span::Content }; tokens.len()],
            turns: vec![Turn { role: "tokens".into(), speaker: None, content: 0..tokens.len() }],
            generation_header: false,
            reply_as: None,
            warnings: vec![],
        }
    }

    /// The text of the tokens, special tokens left out. Ids outside the vocabulary have no text.
    ///
    /// # Errors
    /// A decoder that fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.guarded.tokenizer.decode(tokens, true).map_err(|e| {
            Error::format(format!("{}/tokenizer.json", self.place), format!("cannot decode: {e}"), load::MEND)
        })
    }

    /// The vocabulary entry of an id, as the tokenizer writes it (`Ġthe`, `▁the`, `<|end|>`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.guarded.tokenizer.id_to_token(id)
    }

    /// The id of a vocabulary entry.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.guarded.tokenizer.token_to_id(token)
    }

    /// Entries of the vocabulary, added tokens included. The model's `d_vocab` may be larger (padding).
    pub fn vocab_size(&self) -> usize {
        self.guarded.tokenizer.get_vocab_size(true)
    }

    /// The beginning-of-sequence token that the configuration names.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence token that the configuration names.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The ids of all special tokens, ascending.
    pub fn special_ids(&self) -> &[u32] {
        &self.special
    }

    /// Whether there is a chat template; without one [`Text::chat`] works only where every message names a speaker.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The chat template's text.
    pub fn template_source(&self) -> Option<&str> {
        self.template.as_ref().map(ChatTemplate::source)
    }

    /// Where the chat template stands: a file, or an entry of one.
    pub fn template_place(&self) -> Option<&str> {
        self.template.as_ref().map(ChatTemplate::name)
    }

    /// Variables that every conversation is rendered with.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Renders every conversation with these variables. Gives warnings about those that the template does not mention.
    ///
    /// # Errors
    /// A name that is the conversation's own, or none.
    pub fn set_variables(&mut self, variables: Variables) -> Result<Vec<String>> {
        variables.keys().try_for_each(|name| template::check_name(name))?;
        let warnings = self.template.as_ref().map_or(vec![], |t| chat::unknown(t, &variables));
        self.variables = variables;
        Ok(warnings)
    }

    /// A token as it reads: special tokens by name, a leading space kept, bytes that are no text alone as `<0xE2>`-like
    /// vocabulary entries.
    pub fn shown(&self, id: u32) -> String {
        let entry = self.token(id).unwrap_or_else(|| format!("<{id}>"));
        if self.guarded.is_added_id(id) {
            return entry;
        }
        match self.guarded.tokenizer.decode(&[id], false) {
            Ok(text) if !text.contains('\u{fffd}') && !text.is_empty() => {
                let space = entry.starts_with('▁') && !text.starts_with(' ');
                if space { format!(" {text}") } else { text }
            }
            _ if entry.chars().all(|c| c == '▁') => entry.replace('▁', " "),
            _ => entry,
        }
    }

    /// SHA-256 of the chat template, in hex.
    pub fn template_hash(&self) -> Option<&str> {
        self.template_hash.as_deref()
    }

    /// SHA-256 of `tokenizer.json`, in hex.
    pub fn tokenizer_hash(&self) -> &str {
        &self.tokenizer_hash
    }
}
