//! A text classifier trained on labelled replies: multinomial naive Bayes over word n-grams, with add-one smoothing
//! (Manning, Raghavan and Schütze 2008, 13.2).

use super::{Outcome, Reply, Scorer, Why, words};
use crate::error::{Error, Result};
use crate::rng::stream;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A text with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub text: String,
    pub label: String,
    /// Texts of one group are never on both sides of a split.
    pub group: String,
}

/// A trained classifier. Its score is the probability of one label, 0 to 1.
///
/// Naive Bayes counts every n-gram as evidence of its own, so probabilities lie nearer to 0 and 1 than they should: read
/// them as a ranking, or through the share that is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// Sorted.
    labels: Vec<String>,
    /// The label whose probability is the score.
    scored: usize,
    /// Longest n-gram.
    n: usize,
    log_prior: Vec<f64>,
    /// n-gram -> log-likelihood by label.
    log_likelihood: BTreeMap<String, Vec<f64>>,
}

/// How well a classifier does on texts that it was not trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// For every text whether its fold's classifier was right; `None` where it knew no word.
    pub right: Vec<Option<bool>>,
    /// Whether the most frequent label of the training texts would have been.
    pub majority: Vec<bool>,
    /// The group of every text, numbered.
    pub group: Vec<usize>,
    pub folds: usize,
}

impl Validated {
    /// The share that is right of all texts, those of unknown words counted as wrong.
    pub fn accuracy(&self) -> f64 {
        self.right.iter().filter(|r| **r == Some(true)).count() as f64 / self.right.len().max(1) as f64
    }

    /// The same of the most frequent label.
    pub fn baseline(&self) -> f64 {
        self.majority.iter().filter(|r| **r).count() as f64 / self.majority.len().max(1) as f64
    }
}

impl Labelled {
    /// Reads JSON lines `{"text", "label", "group"?}`. Without a group every text is its own.
    ///
    /// # Errors
    /// A line without text or label, no line.
    pub fn parse_lines(place: &str, text: &str) -> Result<Vec<Labelled>> {
        #[derive(Deserialize)]
        struct Line {
            text: String,
            label: Value,
            group: Option<Value>,
        }
        let hint = r#"a line is {"text": "…", "label": "…"}, with a "group" where texts belong together"#;
        let plain = |v: Value| if let Value::String(s) = v { s } else { v.to_string() };
        let mut all = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let here = format!("{place}:{}", number + 1);
            let line: Line = serde_json::from_str(line).map_err(|e| Error::format(&here, e.to_string(), hint))?;
            let group = line.group.map_or_else(|| format!("line {}", number + 1), plain);
            all.push(Labelled { text: line.text, label: plain(line.label), group });
        }
        if all.is_empty() { Err(Error::format(place, "no labelled text in it", hint)) } else { Ok(all) }
    }
}

impl Classifier {
    /// Trains on texts; `scored` is the label whose probability is the score, `n` the longest n-gram.
    ///
    /// # Errors
    /// Fewer than two labels, a label that no text has, no word in any text, n of 0.
    pub fn train(texts: &[Labelled], scored: &str, n: usize) -> Result<Classifier> {
        Classifier::of(&texts.iter().collect::<Vec<_>>(), scored, n)
    }

    fn of(texts: &[&Labelled], scored: &str, n: usize) -> Result<Classifier> {
        let labels: Vec<String> = texts.iter().map(|t| t.label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let known = || format!("labels are {}", labels.join(", "));
        if n == 0 || labels.len() < 2 {
            let what = format!("a classifier over n-grams of at most {n} words, with {} labels", labels.len());
            return Err(Error::refused(what, "give texts of at least two labels, and n-grams of at least one word"));
        }
        let Some(scored) = labels.iter().position(|l| l == scored) else {
            return Err(Error::refused(format!("no text has the label `{scored}`"), known()));
        };
        let k = labels.len();
        let mut counts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let (mut texts_of, mut total) = (vec![0.0; k], vec![0.0; k]);
        for text in texts {
            let c = labels.iter().position(|l| *l == text.label).unwrap_or_default();
            texts_of[c] += 1.0;
            for gram in grams(&text.text, n) {
                counts.entry(gram).or_insert_with(|| vec![0.0; k])[c] += 1.0;
                total[c] += 1.0;
            }
        }
        if counts.is_empty() {
            return Err(Error::refused("no labelled text has a word in it", known()));
        }
        let size = counts.len() as f64;
        let log = |counts: Vec<f64>| counts.iter().zip(&total).map(|(c, t)| ((c + 1.0) / (t + size)).ln()).collect();
        Ok(Classifier {
            scored,
            n,
            log_prior: texts_of.iter().map(|c| (c / texts.len() as f64).ln()).collect(),
            log_likelihood: counts.into_iter().map(|(gram, c)| (gram, log(c))).collect(),
            labels,
        })
    }

    /// The labels, sorted.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The probability of every label; `None` for a text of which no n-gram was in training.
    pub fn probabilities(&self, text: &str) -> Option<Vec<f64>> {
        let mut logs = self.log_prior.clone();
        let mut known = false;
        for gram in grams(text, self.n) {
            if let Some(of) = self.log_likelihood.get(&gram) {
                logs.iter_mut().zip(of).for_each(|(sum, l)| *sum += l);
                known = true;
            }
        }
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|l| (l - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        known.then(|| weights.iter().map(|w| w / sum).collect())
    }

    /// Trains on all folds but one and tests on that one, for each. Groups are dealt to folds under the seed.
    ///
    /// # Errors
    /// Fewer than two folds, fewer groups than folds, a fold without which a label is missing.
    pub fn validate(texts: &[Labelled], n: usize, folds: usize, seed: u64) -> Result<Validated> {
        let mut names: Vec<&str> =
            texts.iter().map(|t| t.group.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        if folds < 2 || names.len() < folds {
            let what = format!("{folds} folds of {} groups of texts", names.len());
            return Err(Error::refused(what, "take at least 2 folds, and as many groups"));
        }
        names.shuffle(&mut stream(seed, "folds of a classifier"));
        let number: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
        let group: Vec<usize> = texts.iter().map(|t| number[t.group.as_str()]).collect();
        let labels: BTreeSet<&str> = texts.iter().map(|t| t.label.as_str()).collect();
        let (mut right, mut majority) = (vec![None; texts.len()], vec![false; texts.len()]);
        for fold in 0..folds {
            let inside = |i: &usize| group[*i] % folds == fold;
            let rest: Vec<&Labelled> = (0..texts.len()).filter(|i| !inside(i)).map(|i| &texts[i]).collect();
            let there: BTreeSet<&str> = rest.iter().map(|t| t.label.as_str()).collect();
            if let Some(lost) = labels.difference(&there).next() {
                let what = format!("without fold {fold}, no text has the label `{lost}`");
                return Err(Error::refused(what, "take fewer folds, or give texts of this label in more groups"));
            }
            let first = rest[0].label.clone();
            let classifier = Classifier::of(&rest, &first, n)?;
            let most = largest(&classifier.log_prior);
            for i in (0..texts.len()).filter(inside) {
                let found = classifier.probabilities(&texts[i].text).map(|p| largest(&p));
                right[i] = found.map(|l| classifier.labels[l] == texts[i].label);
                majority[i] = classifier.labels[most] == texts[i].label;
            }
        }
        Ok(Validated { right, majority, group, folds })
    }
}

/// The place of the first largest value.
fn largest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// All n-grams of 1 to `n` words.
fn grams(text: &str, n: usize) -> Vec<String> {
    let words = words(text);
    (1..=n).flat_map(|k| words.windows(k).map(|w| w.join(" ")).collect::<Vec<_>>()).collect()
}

impl Scorer for Classifier {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let one = |r: &Reply| match self.probabilities(&r.text) {
            _ if words(&r.text).is_empty() => Outcome::Unscored(Why::Empty),
            Some(p) => Outcome::Score(p[self.scored]),
            None => Outcome::Unscored(Why::Unknown),
        };
        Ok(replies.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(all: &[(&str, &str)]) -> Vec<Labelled> {
        let one = |(i, (text, label)): (usize, &(&str, &str))| Labelled {
            text: text.to_string(),
            label: label.to_string(),
            group: (i / 2).to_string(),
        };
        all.iter().enumerate().map(one).collect()
    }

    #[test]
    fn probabilities_are_those_of_the_textbook_example() {
        // Manning et al. 2008, example 13.1: P(c|d5) is proportional to 3/4 (3/7)^3 1/14 1/14, P(j|d5) to 1/4 (2/9)^5.
        let texts = labelled(&[
            ("Chinese Beijing Chinese", "c"),
            ("Chinese Chinese Shanghai", "c"),
            ("Chinese Macao", "c"),
            ("Tokyo Japan Chinese", "j"),
        ]);
        let classifier = Classifier::train(&texts, "c", 1).unwrap();
        let c = 0.75 * (3.0_f64 / 7.0).powi(3) / 196.0;
        let j = 0.25 * (2.0_f64 / 9.0).powi(5);
        let reply = |text: &str| Reply { text: text.into(), ..Reply::default() };
        let found = classifier.score(&[
            reply("Chinese Chinese Chinese Tokyo Japan"),
            reply("Kyoto"),
            reply("!"),
            // Words that were never seen say nothing.
            reply("Kyoto Chinese Chinese Chinese Tokyo Japan"),
        ]);
        let found = found.unwrap();
        assert!((found[0].score().unwrap() - c / (c + j)).abs() < 1e-12);
        assert_eq!(found[1..3], [Outcome::Unscored(Why::Unknown), Outcome::Unscored(Why::Empty)]);
        assert!((found[3].score().unwrap() - c / (c + j)).abs() < 1e-12);
    }

    #[test]
    fn what_is_learnable_is_learnt_and_noise_is_not() {
        let mut told = Vec::new();
        for i in 0..20 {
            told.push((["oh dear me", "well met"][i % 2], ["anxious", "calm"][i % 2]));
        }
        let v = Classifier::validate(&labelled(&told), 2, 5, 0).unwrap();
        assert_eq!((v.accuracy(), v.baseline(), v.folds), (1.0, 0.5, 5));
        // Every text has words of its own: nothing held out is known, and unknown is not right.
        let names: Vec<String> = (0..20).map(|i| format!("w{i}")).collect();
        let odd: Vec<(&str, &str)> = names.iter().enumerate().map(|(i, w)| (w.as_str(), ["a", "b"][i % 2])).collect();
        let v = Classifier::validate(&labelled(&odd), 1, 5, 0).unwrap();
        assert!(v.accuracy() == 0.0 && v.right.iter().all(Option::is_none));
        // Both texts of a group are in one fold.
        assert!((0..10).all(|g| v.group[2 * g] == v.group[2 * g + 1]));
    }

    #[test]
    fn what_cannot_be_trained_is_refused() {
        let two = labelled(&[("a b", "x"), ("c", "y")]);
        let refused = |r: Result<Classifier>| r.unwrap_err().to_string();
        assert!(refused(Classifier::train(&two[..1], "x", 1)).contains("1 labels"));
        assert!(refused(Classifier::train(&two, "z", 1)).contains("label `z`"));
        assert!(refused(Classifier::train(&two, "x", 0)).contains("at most 0"));
        assert!(refused(Classifier::train(&labelled(&[("!", "x"), ("?", "y")]), "x", 1)).contains("no labelled text"));
        assert!(Classifier::validate(&two, 1, 5, 0).unwrap_err().to_string().contains("5 folds of 1"));
        let apart = labelled(&[("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")]);
        assert!(Classifier::validate(&apart, 1, 2, 0).unwrap_err().to_string().contains("without fold"));
        for (line, says) in [("{\"text\":\"a\"}", "l:1: missing field `label`"), ("", "no labelled")] {
            assert!(Labelled::parse_lines("l", line).unwrap_err().to_string().contains(says));
        }
        let read = Labelled::parse_lines(
            "l",
            "{\"text\":\"a\",\"label\":1,\"group\":\"g\"}\n{\"text\":\"b\",\"label\":\"z\"}",
        );
        assert_eq!(read.unwrap().iter().map(|l| l.group.as_str()).collect::<Vec<_>>(), ["g", "line 2"]);
    }
}
