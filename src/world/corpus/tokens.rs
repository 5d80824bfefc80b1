//! The tokenizer of a world: byte-level BPE trained on its own text, and the counting of tokens.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

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

/// Merges that a vocabulary keeps for text of any kind, besides whole words.
const MERGES: usize = 256;

/// Merges are learned from every piece of text that differs, so many occurrences of it counted as one: only the
/// proportions matter, and time goes with the sum.
const COUNTED_AS_ONE: usize = 32;
/// Rounds in which the vocabulary is filled; each leaves a fraction of what the one before left.
const ROUNDS: usize = 8;

/// Makes a byte-level BPE for texts without special tokens.
///
/// The most frequent words of the texts are entries as they stand (`ignore_merges`: a word that is in the vocabulary is
/// not put together from merges), so that a small vocabulary holds the whole language of a world: merges alone
/// would spend half of it on pieces of words. All 256 bytes and some merges are there too, so any text encodes.
///
/// # Errors
/// A vocabulary that does not hold bytes, special tokens and merges.
pub(super) fn train(texts: &[String], vocabulary: usize, special: &[String]) -> Result<Tokenizer> {
    let least = 256 + special.len() + MERGES;
    if vocabulary < least {
        let what = format!("a vocabulary of {vocabulary}, where bytes, special tokens and merges alone are {least}");
        return Err(Error::refused(what, "set `vocabulary` higher; 1536 holds all words of a world"));
    }
    let failed = |e: &dyn std::fmt::Display| {
        Error::refused(format!("the tokenizer cannot be trained: {e}"), "give more documents or another vocabulary")
    };
    let pieces = counted(texts);
    let texts: Vec<&str> =
        pieces.iter().flat_map(|(piece, n)| std::iter::repeat_n(*piece, n.div_ceil(COUNTED_AS_ONE))).collect();
    let mut bare = merged(&texts, least, special).map_err(|e| failed(&e))?;
    let words = words(&bare, &pieces).map_err(|e| failed(&e))?;
    let lacking = |t: &Tokenizer| words.iter().filter(|w| t.token_to_id(w).is_none()).cloned().collect::<Vec<_>>();
    // What the words leave over goes to merges. More merges make more words by themselves, hence the rounds.
    for _ in 0..ROUNDS {
        let (size, added) = (bare.get_vocab_size(true), lacking(&bare).len());
        if size + added >= vocabulary {
            break;
        }
        bare = merged(&texts, vocabulary - added, special).map_err(|e| failed(&e))?;
    }
    let mut added = lacking(&bare);
    added.truncate(vocabulary.saturating_sub(bare.get_vocab_size(true)));
    let mut json = serde_json::to_value(&bare).map_err(|e| failed(&e))?;
    json["model"]["ignore_merges"] = true.into();
    for word in added {
        let id = json["model"]["vocab"].as_object().map_or(0, |v| v.len());
        json["model"]["vocab"][word] = id.into();
    }
    Tokenizer::from_bytes(json.to_string()).map_err(|e| failed(&e))
}

/// A byte-level BPE of this size from merges alone.
fn merged(texts: &[&str], size: usize, special: &[String]) -> tokenizers::Result<Tokenizer> {
    let added = special.iter().map(|s| AddedToken::from(s.clone(), true)).collect();
    let mut trainer: TrainerWrapper = BpeTrainerBuilder::new()
        .vocab_size(size)
        .show_progress(false)
        .special_tokens(added)
        .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
    tokenizer.train(&mut trainer, texts.iter())?;
    Ok(tokenizer)
}

/// What spaces separate in the texts, and how often it comes: there is little of it that differs.
fn counted(texts: &[String]) -> BTreeMap<&str, usize> {
    let mut pieces = BTreeMap::new();
    for piece in texts.iter().flat_map(|t| pieces_of(t)) {
        *pieces.entry(piece).or_default() += 1;
    }
    pieces
}

/// The words of the pieces as the pre-tokenizer cuts and writes them, the most frequent first.
fn words(tokenizer: &Tokenizer, pieces: &BTreeMap<&str, usize>) -> tokenizers::Result<Vec<String>> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (piece, n) in pieces {
        let mut cut = PreTokenizedString::from(*piece);
        if let Some(p) = tokenizer.get_pre_tokenizer() {
            p.pre_tokenize(&mut cut)?;
        }
        for (word, ..) in cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            *counts.entry(word.to_string()).or_default() += n;
        }
    }
    let mut words: Vec<(String, usize)> = counts.into_iter().collect();
    // Stable, so that words equally frequent stay in the order of the alphabet.
    words.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    Ok(words.into_iter().map(|(word, _)| word).collect())
}

/// A text in pieces that begin at single spaces. The pre-tokenizer never joins what a space separates (the space goes
/// with the word behind it), so the tokens of a text are those of its pieces.
fn pieces_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut after = rest.char_indices().skip(1);
        let to = after.find(|(_, c)| *c == ' ').map_or(rest.len(), |(i, _)| i);
        let (piece, more) = rest.split_at(to);
        rest = more;
        (!piece.is_empty()).then_some(piece)
    })
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
    pub(super) fn count(&mut self, text: &str) -> usize {
        let Some(tokenizer) = self.tokenizer else {
            return (text.split(' ').count() as f64 * 1.3).ceil() as usize;
        };
        let mut one = |piece: &str| match self.seen.get(piece) {
            Some(n) => *n as usize,
            None => {
                let n = tokenizer.encode_fast(piece, false).map_or(piece.len(), |e| e.get_ids().len());
                self.seen.insert(piece.to_string(), n as u32);
                n
            }
        };
        pieces_of(text).map(&mut one).sum()
    }
}
