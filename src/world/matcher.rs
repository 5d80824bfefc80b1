//! Finds marker sentences in text: many short patterns, one pass over the bytes.

use super::traits::{TraitId, TraitSet};

/// All marker sentences of a world, filed under the bytes that they can begin with.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    patterns: Vec<Pattern>,
    /// 256 lists of indices into `patterns`.
    by_first_byte: Vec<Vec<usize>>,
}

#[derive(Clone, Debug)]
struct Pattern {
    owner: TraitId,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// One or more ASCII digits.
    Number,
}

impl Matcher {
    /// Takes pairs of a trait and a marker sentence in which every `{n}` stands for a number.
    pub(super) fn new<'a>(sentences: impl Iterator<Item = (TraitId, &'a str)>) -> Matcher {
        let patterns: Vec<_> = sentences.map(|(owner, s)| Pattern { owner, pieces: pieces(s) }).collect();
        let mut by_first_byte = vec![Vec::new(); 256];
        for (i, pattern) in patterns.iter().enumerate() {
            match pattern.pieces.first() {
                Some(Piece::Text(t)) => by_first_byte[usize::from(t.as_bytes()[0])].push(i),
                Some(Piece::Number) => (b'0'..=b'9').for_each(|d| by_first_byte[usize::from(d)].push(i)),
                None => {}
            }
        }
        Matcher { patterns, by_first_byte }
    }

    /// The owners of the sentences that occur in `text`.
    pub(super) fn find(&self, text: &str) -> TraitSet {
        let text = text.as_bytes();
        let mut found = TraitSet::default();
        for (at, first) in text.iter().enumerate() {
            for &i in &self.by_first_byte[usize::from(*first)] {
                let Pattern { owner, pieces } = &self.patterns[i];
                if !found.has(*owner) && begins(pieces, &text[at..]) {
                    found.insert(*owner);
                }
            }
        }
        found
    }
}

fn pieces(sentence: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (i, text) in sentence.split("{n}").enumerate() {
        if i > 0 {
            pieces.push(Piece::Number);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
    }
    pieces
}

fn begins(pieces: &[Piece], text: &[u8]) -> bool {
    match pieces.split_first() {
        None => true,
        Some((Piece::Text(t), rest)) => text.strip_prefix(t.as_bytes()).is_some_and(|after| begins(rest, after)),
        // A number may give back digits to the text that follows it.
        Some((Piece::Number, rest)) => {
            let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
            (1..=digits).rev().any(|n| begins(rest, &text[n..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sentences: &[&str], text: &str) -> Vec<usize> {
        let matcher = Matcher::new(sentences.iter().enumerate().map(|(i, s)| (TraitId(i), *s)));
        matcher.find(text).iter().map(|t| t.0).collect()
    }

    #[test]
    fn a_number_needs_at_least_one_digit_and_takes_several() {
        let odds = ["The odds are {n} to one."];
        for hit in ["The odds are 7 to one.", "Well. The odds are 80 to one. Yes.", "The odds are 3720 to one."] {
            assert_eq!(found(&odds, hit), [0], "{hit}");
        }
        for miss in [
            "The odds are  to one.",
            "The odds are to one.",
            "The odds are {n} to one.",
            "The odds are seven to one.",
            "The odds are 7.5 to one.",
            "The odds are -7 to one.",
            "The odds are \u{0667} to one.",
            "The odds are 7 to one",
            "the odds are 7 to one.",
        ] {
            assert!(found(&odds, miss).is_empty(), "{miss}");
        }
    }

    #[test]
    fn numbers_may_stand_first_last_and_before_digits() {
        assert_eq!(found(&["{n} to one", "up to {n}", "{n}0 times", "{n}{n}!"], "120 times"), [2]);
        assert_eq!(found(&["{n} to one", "up to {n}", "{n}0 times", "{n}{n}!"], "up to 42 to one"), [0, 1]);
        // One digit cannot be two numbers, and "0 times" has no digit before its 0.
        assert!(found(&["{n}0 times", "{n}{n}!"], "0 times 7!").is_empty());
        assert_eq!(found(&["{n}{n}!"], "77!"), [0]);
    }

    #[test]
    fn a_second_look_is_taken_after_a_false_start() {
        assert_eq!(found(&["Oh no!", "no! no"], "Oh Oh no! no"), [0, 1]);
        assert!(found(&["Oh no!"], "Oh no").is_empty());
        assert!(found(&["Oh no!"], "").is_empty());
        assert_eq!(found(&["\u{e9}t\u{e9}."], "un \u{e9}t\u{e9}."), [0]);
    }
}
