//! Marker lexicons.

use super::words::{occurrences, words};
use super::{Outcome, Reply, Scorer, Why};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Groups of markers, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Lexicon {
    pub groups: BTreeMap<String, Vec<String>>,
}

/// When a marker is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// Whole words, in whatever case.
    #[default]
    Words,
    /// Anywhere in the text, inside words too: "sir" in "desire". For comparison with numbers that were made so.
    Substring,
}

/// What a score is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Markers in 100 words.
    #[default]
    Rate,
    /// Markers.
    Count,
    /// 1 where there is any, else 0.
    Shown,
}

/// A scorer by markers: of one group, or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Markers {
    markers: Vec<String>,
    matching: Matching,
    measure: Measure,
}

const HINT: &str =
    r#"a lexicon is TOML with a list a group, anxiety = ["oh my", "doomed"], or a text file with a marker a line"#;

impl Lexicon {
    /// Reads TOML (a list of markers for each group; of a persona card its `markers`), or plain text with a marker a line.
    ///
    /// # Errors
    /// Another kind of value, a group or a lexicon without markers, a marker without a letter or that comes twice.
    pub fn parse(place: &str, text: &str) -> Result<Lexicon> {
        let bad = |reason: String| Error::format(place, reason, HINT);
        let mut groups = BTreeMap::new();
        if place.to_ascii_lowercase().ends_with(".toml") {
            let table: toml::Table = toml::from_str(text).map_err(|e| bad(e.message().to_string()))?;
            let card = table.contains_key("name");
            for (name, value) in table.iter().filter(|(name, _)| !card || *name == "markers") {
                let list = value.as_array().ok_or_else(|| bad(format!("`{name}` is no list")))?;
                let one = |v: &toml::Value| v.as_str().map(String::from);
                let markers: Option<Vec<String>> = list.iter().map(one).collect();
                groups.insert(name.clone(), markers.ok_or_else(|| bad(format!("`{name}` holds what is no text")))?);
            }
        } else {
            let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            groups.insert("markers".into(), lines.map(String::from).collect());
        }
        if groups.is_empty() {
            return Err(bad("no group of markers in it".into()));
        }
        for (name, markers) in &groups {
            if markers.is_empty() {
                return Err(bad(format!("`{name}` has no marker")));
            }
            let mut seen = std::collections::BTreeSet::new();
            for marker in markers {
                if words(marker).is_empty() {
                    return Err(bad(format!("the marker {marker:?} of `{name}` has no letter")));
                }
                if !seen.insert(words(marker)) {
                    return Err(bad(format!("the marker `{marker}` of `{name}` comes twice")));
                }
            }
        }
        Ok(Lexicon { groups })
    }

    /// A scorer for each group; for more than one, another over all, which is named `all`.
    pub fn scorers(&self, matching: Matching, measure: Measure) -> Vec<(String, Markers)> {
        let of = |markers: Vec<String>| Markers { markers, matching, measure };
        let mut each: Vec<_> = self.groups.iter().map(|(name, m)| (name.clone(), of(m.clone()))).collect();
        if each.len() > 1 {
            let mut every: Vec<String> = self.groups.values().flatten().cloned().collect();
            every.sort();
            every.dedup();
            each.push(("all".into(), of(every)));
        }
        each
    }
}

impl Markers {
    /// A scorer by these markers.
    pub fn new(markers: &[&str], matching: Matching, measure: Measure) -> Markers {
        Markers { markers: markers.iter().map(|m| m.to_string()).collect(), matching, measure }
    }

    fn one(&self, text: &str, of_markers: &[Vec<String>]) -> Outcome {
        let said = words(text);
        if said.is_empty() {
            return Outcome::Unscored(Why::Empty);
        }
        let count: usize = match self.matching {
            Matching::Words => of_markers.iter().map(|m| occurrences(&said, m)).sum(),
            Matching::Substring => {
                let text = text.to_lowercase();
                self.markers.iter().map(|m| text.matches(&m.to_lowercase()).count()).sum()
            }
        };
        Outcome::Score(match self.measure {
            Measure::Rate => 100.0 * count as f64 / said.len() as f64,
            Measure::Count => count as f64,
            Measure::Shown => f64::from(u8::from(count > 0)),
        })
    }
}

impl Scorer for Markers {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let markers: Vec<Vec<String>> = self.markers.iter().map(|m| words(m)).collect();
        Ok(replies.iter().map(|r| self.one(&r.text, &markers)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(markers: &[&str], matching: Matching, measure: Measure, text: &str) -> Outcome {
        let reply = Reply { id: "r".into(), text: text.into(), ..Reply::default() };
        Markers::new(markers, matching, measure).score(&[reply]).unwrap().remove(0)
    }

    #[test]
    fn whole_words_are_counted_and_raw_substrings_count_more() {
        // 8 words, of which "sir" is one and "oh my" two; "desire" and "customer" hold a marker inside.
        let text = "Oh my, Sir! I desire, customer, a walk.";
        let m = &["sir", "oh my", "custom"];
        assert_eq!(score(m, Matching::Words, Measure::Count, text), Outcome::Score(2.0));
        assert_eq!(score(m, Matching::Words, Measure::Rate, text), Outcome::Score(25.0));
        assert_eq!(score(m, Matching::Substring, Measure::Count, text), Outcome::Score(4.0));
        assert_eq!(score(&["custom"], Matching::Words, Measure::Shown, text), Outcome::Score(0.0));
        assert_eq!(score(&["custom"], Matching::Substring, Measure::Shown, text), Outcome::Score(1.0));
        assert_eq!(score(m, Matching::Words, Measure::Count, " ... "), Outcome::Unscored(Why::Empty));
    }

    #[test]
    fn lexicons_are_read_by_group_and_from_cards() {
        let l = Lexicon::parse("l.toml", "b = [\"x\"]\na = [\"y z\", \"x\"]").unwrap();
        let names: Vec<String> = l.scorers(Matching::Words, Measure::Count).into_iter().map(|s| s.0).collect();
        assert_eq!(names, ["a", "b", "all"]);
        // "x" is in both groups and counts once in all.
        let all = &l.scorers(Matching::Words, Measure::Count)[2].1;
        let reply = Reply { text: "x y z".into(), ..Reply::default() };
        assert_eq!(all.score(&[reply]).unwrap(), [Outcome::Score(2.0)]);
        let card = Lexicon::parse("c.toml", "name = \"A\"\ntraits = [\"t\"]\nmarkers = [\"m\"]").unwrap();
        assert_eq!(card.groups.keys().collect::<Vec<_>>(), ["markers"]);
        assert_eq!(Lexicon::parse("l.txt", "# a comment\nx\n\ny y\n").unwrap().groups["markers"], ["x", "y y"]);
        for (place, text, says) in [
            ("l.toml", "a = 1", "`a` is no list"),
            ("l.toml", "a = [1]", "no text"),
            ("l.toml", "a = []", "no marker"),
            ("l.toml", "", "no group"),
            ("l.toml", "a = [\"..\"]", "no letter"),
            ("l.txt", "x\nX!", "comes twice"),
            ("l.toml", "a = ", "l.toml"),
        ] {
            let e = Lexicon::parse(place, text).unwrap_err();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
    }
}
