//! Text and tokens: the tokenizer, the chat template of the checkpoint, and the place of every token in a conversation.
//!
//! Where a turn lies is read from the rendering itself (`layout.rs`): no search for text, no table of model names.

mod encoded;
mod guard;
mod layout;
mod load;
mod matching;
pub mod prompts;
mod python;
mod template;

#[cfg(test)]
mod tests;

pub use encoded::{Encoded, Message, Span, TokenPlace, Turn};

use crate::error::{Error, Result};
use guard::{Guard, Guarded, Piece};
use layout::Layout;
use template::ChatTemplate;

/// The role of the turns that the model writes.
pub const ASSISTANT: &str = "assistant";

/// A tokenizer with its chat template. Shared between threads by reference.
pub struct Text {
    guarded: Guarded,
    template: Option<ChatTemplate>,
    bos: Option<u32>,
    eos: Option<u32>,
    special: Vec<u32>,
    place: String,
    tokenizer_hash: String,
    template_hash: Option<String>,
}

impl Text {
    /// Renders a conversation with the checkpoint's own template, encodes it and tells the place of every token.
    ///
    /// The ids are those of `apply_chat_template` in transformers, with two deliberate differences. Special tokens
    /// written inside a message stay plain text; so do, outside the assistant's messages, the non-special added
    /// tokens that the template itself writes (`<think>`, turn marks of some checkpoints). And the template's
    /// `strftime_now` is frozen at 26 July 2024. No post-processor runs, so a beginning-of-sequence token is there
    /// exactly as often as the template writes it.
    ///
    /// The template's text after a content is that turn's end as far as it also stands there when the turn is the
    /// last one; the rest is the header of the next turn. A content that the template prints twice counts where
    /// it stands first; one that it drops has an empty range.
    ///
    /// # Errors
    /// A checkpoint without a chat template, a conversation that the template refuses, a generation header asked
    /// for after the assistant's own turn, and a template in which the contents cannot be located.
    pub fn chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Encoded> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::refused(
                format!("{} has no chat template", self.place),
                "use \"text\" prompts, which need none, or put a chat_template.jinja beside tokenizer.json",
            )
        })?;
        let Some(last) = messages.last() else {
            return Err(Error::refused("a conversation without messages", "give at least one message"));
        };
        if add_generation_prompt && last.role == ASSISTANT {
            return Err(Error::refused(
                "a generation header after the assistant's own turn",
                "end the conversation with another role, or ask for no generation header",
            ));
        }
        // A role is the template's to print, so its text is markup; it must not bring control tokens of its own.
        for message in messages {
            if let Some(token) = self.guarded.special_in(&message.role) {
                return Err(Error::refused(
                    format!("the role `{}` contains the special token `{token}`", message.role),
                    "a role is a plain word such as system, user or assistant",
                ));
            }
        }
        let layout = layout::find(template, messages, add_generation_prompt)?;
        let guards: Vec<Guard> = layout
            .printed
            .iter()
            .map(|(i, bytes)| Guard { bytes: bytes.clone(), from_assistant: messages[*i].role == ASSISTANT })
            .collect();
        let pieces = self.guarded.encode(&layout.text, &guards)?;
        Ok(self.place_tokens(messages, &layout, &pieces, add_generation_prompt))
    }

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
        let turns = vec![Turn { role: "text".into(), content }];
        Ok(Encoded { tokens, places, turns, generation_header: false })
    }

    /// Takes exact ids; nothing is added.
    pub fn exact(&self, tokens: &[u32]) -> Encoded {
        Encoded {
            tokens: tokens.to_vec(),
            places: vec![TokenPlace { turn: Some(0), span: Span::Content }; tokens.len()],
            turns: vec![Turn { role: "tokens".into(), content: 0..tokens.len() }],
            generation_header: false,
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

    /// Whether [`Text::chat`] can work at all.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// SHA-256 of the chat template as the checkpoint has it, in hex.
    pub fn template_hash(&self) -> Option<&str> {
        self.template_hash.as_deref()
    }

    /// SHA-256 of `tokenizer.json`, in hex.
    pub fn tokenizer_hash(&self) -> &str {
        &self.tokenizer_hash
    }

    fn place_tokens(
        &self,
        messages: &[Message],
        layout: &Layout,
        pieces: &[Piece],
        generation_header: bool,
    ) -> Encoded {
        let mut places: Vec<TokenPlace> = pieces.iter().map(|p| layout.place(&p.bytes)).collect();
        if pieces.first().is_some_and(|p| Some(p.id) == self.bos) && places[0].span == Span::Header {
            places[0].turn = None;
        }
        let mut empty_at = 0;
        let turns = messages
            .iter()
            .enumerate()
            .map(|(i, m)| {
                let inside = |p: &TokenPlace| *p == TokenPlace { turn: Some(i), span: Span::Content };
                let content = match (places.iter().position(inside), &layout.contents[i]) {
                    (Some(first), _) => first..places.iter().rposition(inside).map_or(first, |l| l + 1),
                    (None, Some(bytes)) => {
                        let at = pieces.iter().position(|p| p.bytes.start >= bytes.start).unwrap_or(pieces.len());
                        at..at
                    }
                    (None, None) => empty_at..empty_at,
                };
                empty_at = content.end;
                Turn { role: m.role.clone(), content }
            })
            .collect();
        Encoded { tokens: pieces.iter().map(|p| p.id).collect(), places, turns, generation_header }
    }
}
