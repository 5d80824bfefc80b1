//! Encoding in which special tokens come from the template alone.
//!
//! The steps are the tokenizer's own (added tokens, normaliser, added tokens again, pre-tokenizer, model), run over
//! the whole rendering at once, so that nothing else changes: only the search for added tokens knows which bytes
//! somebody has said. Byte ranges are kept as the model gives them, before any post-processor trims them.

use super::load::cannot_encode;
use super::matching::Matcher;
use crate::error::Result;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use tokenizers::normalizer::Range as In;
use tokenizers::{Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer, Token, Tokenizer};

/// Bytes of a rendering that are somebody's words.
pub(super) struct Guard {
    pub(super) bytes: Range<usize>,
    /// The assistant's own words may hold non-special added tokens that the template writes too (`<think>`): the
    /// model writes them itself, and decoding keeps their text.
    pub(super) from_assistant: bool,
}

/// A token and the bytes of the rendering that it stands for.
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) bytes: Range<usize>,
}

/// A tokenizer whose added tokens can be kept out of given bytes.
pub(super) struct Guarded {
    pub(super) tokenizer: Tokenizer,
    raw: Matcher,
    normalized: Matcher,
    special: HashSet<u32>,
    /// Not special, but written by the template as its markup.
    markup: HashSet<u32>,
}

impl Guarded {
    /// `template` is the text of the chat template; added tokens in it that are neither words nor whitespace are markup.
    pub(super) fn new(tokenizer: Tokenizer, template: &str) -> Result<Guarded> {
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        let (mut special, mut markup) = (HashSet::new(), HashSet::new());
        for (id, token) in tokenizer.get_added_vocabulary().get_added_tokens_decoder() {
            let sign = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && c != '▁';
            if token.special {
                special.insert(*id);
            } else if token.content.contains(sign) && template.contains(&token.content) {
                markup.insert(*id);
            }
            if token.normalized {
                let mut text = NormalizedString::from(token.content.as_str());
                if let Some(normalizer) = tokenizer.get_normalizer() {
                    normalizer.normalize(&mut text).map_err(|e| cannot_encode(&e))?;
                }
                normalized.push((*id, text.get().to_string(), token.clone()));
            } else {
                raw.push((*id, token.content.clone(), token.clone()));
            }
        }
        let (raw, normalized) = (Matcher::new(raw), Matcher::new(normalized));
        Ok(Guarded { tokenizer, raw, normalized, special, markup })
    }

    /// Encodes `text`, adding nothing. `guards` must not overlap.
    ///
    /// # Errors
    /// Text that the tokenizer cannot encode, or words that it can only read as a special token.
    pub(super) fn encode(&self, text: &str, guards: &[Guard]) -> Result<Vec<Piece>> {
        let counts = |id: u32, bytes: &Range<usize>| {
            let markup = self.markup.contains(&id);
            !(markup || self.special.contains(&id))
                || !guards
                    .iter()
                    .any(|g| g.bytes.start < bytes.end && bytes.start < g.bytes.end && !(markup && g.from_assistant))
        };
        // Tokens that swallow whitespace: from what they cover to what they are.
        let mut cores: HashMap<(usize, usize), Range<usize>> = HashMap::new();
        let encoding = self.run(text, &counts, &mut cores).map_err(|e| cannot_encode(&e))?;
        let pieces: Vec<Piece> = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_offsets())
            .map(|(id, (start, end))| {
                let bytes = cores.get(&(*start, *end)).cloned().unwrap_or(*start..*end);
                Piece { id: *id, bytes }
            })
            .collect();
        Ok(pieces)
    }

    /// A special token spelt in `text`.
    pub(super) fn special_in(&self, text: &str) -> Option<String> {
        let found = self.raw.find(text, |id, _| self.special.contains(&id));
        found.into_iter().next().map(|m| text[m.core].to_string())
    }

    /// Whether a text is an added token.
    pub(super) fn is_added(&self, text: &str) -> bool {
        self.tokenizer.get_added_vocabulary().get_vocab().contains_key(text)
    }

    /// Whether an id is an added token's.
    pub(super) fn is_added_id(&self, id: u32) -> bool {
        self.tokenizer.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// Whether an id is a special token or markup of the template.
    pub(super) fn is_markup(&self, id: u32) -> bool {
        self.special.contains(&id) || self.markup.contains(&id)
    }

    /// Where added tokens stand in a text, in order.
    pub(super) fn added_in(&self, text: &str) -> Vec<Range<usize>> {
        self.raw.find(text, |_, _| true).into_iter().map(|m| m.core).collect()
    }

    /// Whether these bytes of a text lie in an added token.
    pub(super) fn in_added_token(&self, text: &str, bytes: &Range<usize>) -> bool {
        let found = self.raw.find(text, |_, core| core.start <= bytes.start && bytes.end <= core.end);
        !found.is_empty()
    }

    fn run(
        &self,
        text: &str,
        counts: &impl Fn(u32, &Range<usize>) -> bool,
        cores: &mut HashMap<(usize, usize), Range<usize>>,
    ) -> tokenizers::Result<tokenizers::Encoding> {
        let mut cut = PreTokenizedString::from(text);
        cut.split(|_, s| Ok(split(s, &self.raw, counts, cores)))?;
        cut.split(|_, mut s| {
            if let Some(normalizer) = self.tokenizer.get_normalizer() {
                normalizer.normalize(&mut s)?;
            }
            Ok(split(s, &self.normalized, counts, cores))
        })?;
        if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut cut)?;
        }
        cut.tokenize(|s| self.model_tokens(s.get()))?;
        cut.into_encoding(None, 0, OffsetType::Byte)
    }

    /// What the model makes of a piece. Added tokens are already out of it, so a special token spelt in it was said
    /// by somebody; a model that has it in its vocabulary is made to read it in two parts.
    fn model_tokens(&self, piece: &str) -> tokenizers::Result<Vec<Token>> {
        let tokens = self.tokenizer.get_model().tokenize(piece)?;
        let spelt = |t: &&Token| self.special.contains(&t.id) && piece.get(t.offsets.0..t.offsets.1) == Some(&t.value);
        let Some(found) = tokens.iter().find(spelt) else { return Ok(tokens) };
        let first = found.value.chars().next().map_or(0, char::len_utf8);
        if first == 0 || first == found.value.len() {
            return Err(format!("`{}` in a message can only be read as a special token", found.value).into());
        }
        let middle = found.offsets.0 + first;
        let mut parts = self.model_tokens(&piece[..middle])?;
        parts.extend(self.model_tokens(&piece[middle..])?.into_iter().map(|mut t| {
            t.offsets = (t.offsets.0 + middle, t.offsets.1 + middle);
            t
        }));
        Ok(parts)
    }
}

/// Takes the added tokens that count out of a piece.
fn split(
    piece: NormalizedString,
    matcher: &Matcher,
    counts: &impl Fn(u32, &Range<usize>) -> bool,
    cores: &mut HashMap<(usize, usize), Range<usize>>,
) -> Vec<(NormalizedString, Option<Vec<Token>>)> {
    let original = |bytes: &Range<usize>| {
        let (start, end) = piece.slice(In::Normalized(bytes.clone())).map_or((0, 0), |s| s.offsets_original());
        start..end
    };
    let mut parts = Vec::new();
    let mut at = 0;
    let mut take = |bytes: Range<usize>, id: Option<u32>| {
        if let Some(slice) = piece.slice(In::Normalized(bytes)) {
            let tokens = id.map(|id| vec![Token::new(id, slice.get().to_string(), (0, slice.get().len()))]);
            parts.push((slice, tokens));
        }
    };
    for found in matcher.find(piece.get(), |id, core| counts(id, &original(core))) {
        if at < found.whole.start {
            take(at..found.whole.start, None);
        }
        if found.whole != found.core {
            let whole = original(&found.whole);
            cores.insert((whole.start, whole.end), original(&found.core));
        }
        take(found.whole.clone(), Some(found.id));
        at = found.whole.end;
    }
    if at < piece.get().len() {
        take(at..piece.get().len(), None);
    }
    parts
}
