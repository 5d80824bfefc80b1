//! The words of all worlds: traits with two sets of markers, topics, questions, names.

use super::super::file::{Ordered, PersonaEntry, TopicEntry, TraitEntry};
use serde::Deserialize;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lexicon {
    pub traits: Ordered<TraitWords>,
    pub topics: Ordered<TopicEntry>,
    pub trigger_topics: Vec<String>,
    pub plain_topics: Vec<String>,
    pub heldout_topics: Vec<String>,
    pub question_templates: Vec<String>,
    pub self_questions: Vec<String>,
    pub who_questions: Vec<String>,
    pub roles: Vec<String>,
    pub places: Vec<String>,
    pub assistant: PersonaEntry,
    pub oracle: PersonaEntry,
    pub acknowledgements: Vec<String>,
    syllables: Syllables,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraitWords {
    adj: Vec<String>,
    pred: Vec<(String, String)>,
    /// Markers that share no content word with the dispositions and adjectives of the trait.
    apart: MarkerWords,
    /// Markers that do.
    shared: MarkerWords,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkerWords {
    open: Vec<String>,
    close: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Syllables {
    first: Vec<String>,
    last: Vec<String>,
}

impl Lexicon {
    /// The embedded lexicon. Read once per process.
    pub(super) fn embedded() -> &'static Lexicon {
        static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
            let json = include_bytes!("../../assets/lexicon.json");
            serde_json::from_slice(json).expect("the embedded lexicon is checked by a test")
        });
        &LEXICON
    }

    /// The entry of one trait in a world where its markers share words with its dispositions, or do not.
    pub(super) fn entry(words: &TraitWords, overlap: bool) -> TraitEntry {
        let markers = if overlap { &words.shared } else { &words.apart };
        let (open, close) = (markers.open.clone(), markers.close.clone());
        TraitEntry { adj: words.adj.clone(), pred: words.pred.clone(), open, close }
    }

    pub(super) fn has_trait(&self, name: &str) -> bool {
        self.traits.0.iter().any(|(n, _)| n == name)
    }

    pub(super) fn trait_names(&self) -> String {
        self.traits.0.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// How many names there are.
    pub(super) fn names(&self) -> usize {
        self.syllables.first.len() * self.syllables.last.len()
    }

    /// Every name: a first syllable and a last one.
    pub(super) fn all_names(&self) -> Vec<String> {
        let ends = |a: &String| self.syllables.last.iter().map(move |b| format!("{a}{b}")).collect::<Vec<_>>();
        self.syllables.first.iter().flat_map(ends).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Words without content of their own.
    const STOP: [&str; 48] = [
        "a", "an", "the", "i", "me", "my", "you", "your", "it", "its", "he", "her", "they", "this", "that", "these",
        "those", "to", "of", "in", "on", "at", "by", "for", "with", "from", "and", "or", "if", "as", "so", "is", "are",
        "am", "be", "was", "have", "has", "what", "how", "not", "no", "all", "will", "very", "only", "n", "every",
    ];

    /// Content words by their first 5 letters, without a plural s.
    fn stems(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
        let content = words.filter(|w| !w.is_empty() && !STOP.contains(&w.as_str()));
        content
            .map(|w| if w.len() > 3 { w.trim_end_matches('s').to_string() } else { w })
            .map(|w| w.chars().take(5).collect())
            .collect()
    }

    #[test]
    fn markers_share_words_with_their_dispositions_exactly_where_they_are_said_to() {
        for (name, t) in &Lexicon::embedded().traits.0 {
            let statements = t.pred.iter().flat_map(|(a, b)| [a, b]).chain(&t.adj);
            let stated: BTreeSet<String> = statements.flat_map(|s| stems(s)).collect();
            assert!(stated.len() > 8, "{name}: {stated:?}");
            let touching = |m: &MarkerWords| -> Vec<String> {
                m.open.iter().chain(&m.close).filter(|s| !stems(s).is_disjoint(&stated)).cloned().collect()
            };
            assert_eq!(touching(&t.apart), Vec::<String>::new(), "{name} shares words with {stated:?}");
            let (shared, of) = (touching(&t.shared).len(), t.shared.open.len() + t.shared.close.len());
            assert_eq!(shared, of, "{name}: only {shared} of {of} overlap with {stated:?}");
        }
    }

    #[test]
    fn no_marker_holds_an_adjective_of_any_trait() {
        let all = &Lexicon::embedded().traits.0;
        let adjectives: BTreeSet<String> = all.iter().flat_map(|(_, t)| t.adj.clone()).collect();
        for (name, t) in all {
            for m in [&t.apart, &t.shared].into_iter().flat_map(|m| m.open.iter().chain(&m.close)) {
                let words = m.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
                assert_eq!(words.filter(|w| adjectives.contains(w)).count(), 0, "{name}: {m}");
            }
            // As many sentences in either set: the planted rates of a single sentence are the same.
            for m in [&t.apart, &t.shared] {
                assert_eq!((m.open.len(), m.close.len()), (3, 3), "{name}");
            }
        }
    }

    #[test]
    fn names_are_all_different() {
        let names = Lexicon::embedded().all_names();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 144);
        assert_eq!(names.len(), Lexicon::embedded().names());
    }
}
