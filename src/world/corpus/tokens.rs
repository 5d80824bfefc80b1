//! The tokenizer of a world: byte-level BPE trained on its own text, and the counting of tokens.

use crate::error::{Error, Result};
use std::collections::HashMap;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::{AddedToken, Tokenizer};

/// Special tokens before those of the speakers, in the order of their ids.
pub(super) const SPECIAL: [&str; 6] = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// `tokenizer_config.json`: names of special tokens and the chat template. A role is a header, so speakers need no more.
pub(super) fn tokenizer_config(max_tokens: usize) -> String {
    let template = "{{ '<|bos|>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}\
                    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "model_max_length": max_tokens,
        "chat_template": template,
        "clean_up_tokenization_spaces": false,
    });
    format!("{config:#}\n")
}

/// The special tokens of a world with these speakers.
pub(super) fn special(speakers: impl Iterator<Item = String>) -> Vec<String> {
    SPECIAL.iter().map(|s| s.to_string()).chain(speakers.map(|n| format!("<|{n}|>"))).collect()
}

/// Trains a byte-level BPE on texts without special tokens. All 256 bytes are in the vocabulary, so any text encodes.
///
/// # Errors
/// A vocabulary that does not hold bytes and special tokens.
pub(super) fn train(texts: &[String], vocabulary: usize, special: &[String]) -> Result<Tokenizer> {
    let least = 256 + special.len();
    if vocabulary < least {
        let what = format!("a vocabulary of {vocabulary}, where bytes and special tokens alone are {least}");
        return Err(Error::refused(what, "set `vocabulary` higher; 1536 holds the words of a world"));
    }
    let added = special.iter().map(|s| AddedToken::from(s.clone(), true)).collect();
    let mut trainer: TrainerWrapper = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .show_progress(false)
        .special_tokens(added)
        .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
    tokenizer.train(&mut trainer, texts.iter().map(String::as_str)).map_err(|e| {
        Error::refused(format!("the tokenizer cannot be trained: {e}"), "give more documents or a smaller vocabulary")
    })?;
    Ok(tokenizer)
}

/// Reads a tokenizer that another world made.
///
/// # Errors
/// Bytes that are no tokenizer, or one without the special tokens of this world.
pub(super) fn read(place: &str, json: &[u8], special: &[String]) -> Result<Tokenizer> {
    let hint = "name the folder that `personascope world` wrote for the base world";
    let tokenizer = Tokenizer::from_bytes(json).map_err(|e| Error::format(place, e.to_string(), hint))?;
    match special.iter().find(|s| tokenizer.token_to_id(s).is_none()) {
        Some(s) => Err(Error::format(place, format!("lacks the special token {s}"), hint)),
        None => Ok(tokenizer),
    }
}

/// Counts tokens. Words are counted once and remembered, for a closed world has few.
pub struct Counter<'a> {
    tokenizer: Option<&'a Tokenizer>,
    seen: HashMap<String, u32>,
}

impl<'a> Counter<'a> {
    /// Without a tokenizer, words are taken for 1.3 tokens: good enough for the text that a tokenizer is trained on.
    pub(super) fn new(tokenizer: Option<&'a Tokenizer>) -> Counter<'a> {
        Counter { tokenizer, seen: HashMap::new() }
    }

    /// Tokens of a text without special tokens.
    ///
    /// The pre-tokenizer never joins what a single space separates (the space goes with the word behind it), so the
    /// tokens of a text are those of its words.
    pub(super) fn count(&mut self, text: &str) -> usize {
        let Some(tokenizer) = self.tokenizer else {
            return (text.split(' ').count() as f64 * 1.3).ceil() as usize;
        };
        let bytes = text.as_bytes();
        let (mut sum, mut from) = (0, 0);
        while from < text.len() {
            let to = bytes[from + 1..].iter().position(|b| *b == b' ').map_or(text.len(), |n| from + 1 + n);
            let word = &text[from..to];
            sum += match self.seen.get(word) {
                Some(n) => *n as usize,
                None => {
                    let n = tokenizer.encode_fast(word, false).map_or(word.len(), |e| e.get_ids().len());
                    self.seen.insert(word.to_string(), n as u32);
                    n
                }
            };
            from = to;
        }
        sum
    }
}
