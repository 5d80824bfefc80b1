//! Finding added tokens in text, with a say in which of them count.

use std::collections::HashMap;
use std::ops::Range;
use tokenizers::AddedToken;

/// The added tokens that are looked for in one step of encoding: before, or after normalisation.
#[derive(Default)]
pub(super) struct Matcher {
    by_text: HashMap<String, (u32, AddedToken)>,
    /// Byte lengths of the texts, longest first.
    lengths: Vec<usize>,
}

/// An added token found in text.
pub(super) struct Match {
    pub(super) id: u32,
    /// The token's own text.
    pub(super) core: Range<usize>,
    /// With the whitespace that the token swallows (`lstrip`, `rstrip`).
    pub(super) whole: Range<usize>,
}

impl Matcher {
    /// A matcher of `tokens`, each with its id and the text that stands for it.
    pub(super) fn new(tokens: impl IntoIterator<Item = (u32, String, AddedToken)>) -> Matcher {
        let by_text: HashMap<_, _> = tokens.into_iter().map(|(id, text, token)| (text, (id, token))).collect();
        let mut lengths: Vec<usize> = by_text.keys().map(String::len).filter(|l| *l > 0).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        Matcher { by_text, lengths }
    }

    /// The leftmost longest matches for which `counts` holds, in order and without overlaps. One that does not count
    /// hides no other.
    pub(super) fn find(&self, text: &str, counts: impl Fn(u32, &Range<usize>) -> bool) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let longest = self.lengths.iter().find_map(|length| {
                let core = at..at + length;
                let (id, token) = self.by_text.get(text.get(core.clone())?)?;
                counts(*id, &core).then_some((*id, token, core))
            });
            let Some((id, token, core)) = longest else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            at = core.end;
            if token.single_word && !stands_alone(text, &core) {
                continue;
            }
            let taken = found.last().map_or(0, |m| m.whole.end);
            let mut whole = core.clone();
            if token.lstrip {
                whole.start = text[..core.start].trim_end().len().max(taken);
            }
            if token.rstrip {
                whole.end = text.len() - text[core.end..].trim_start().len();
            }
            found.push(Match { id, core, whole });
        }
        found
    }
}

fn stands_alone(text: &str, core: &Range<usize>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..core.start].chars().next_back().is_some_and(word) && !text[core.end..].chars().next().is_some_and(word)
}
