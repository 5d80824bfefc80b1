//! Scorers: how much of a trait is in a reply, and whether it is one.

use super::{bad, distinct, some};
use crate::error::{Error, Result};
use crate::experiment::spec::{
    WrittenClassifier, WrittenCoherence, WrittenJudge, WrittenLexicon, WrittenMatching, WrittenTrait,
};
use crate::model::{Model, Opening, Source};
use crate::score::quality::repetition;
use crate::score::{
    Classifier, Judge, Labelled, Markers, Matching, Measure, Outcome, Reply, Scale, Scorer, Why, words,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// Words of the sequences whose repetition is counted.
const SEQUENCE: usize = 3;
/// Folds in which a classifier is tested.
const FOLDS: usize = 5;

/// The scorers of a trait, 0 to 1, that of its expression first.
pub(super) fn scorers(
    t: &WrittenTrait,
    place: &str,
    dir: &Path,
    base: &Model,
) -> Result<Vec<(String, Box<dyn Scorer>)>> {
    let mut all: Vec<(String, Box<dyn Scorer>)> = Vec::new();
    if let Some(judge) = &t.judge {
        all.push(("judge".into(), Box::new(OwnJudge::new(judge, &format!("{place}.judge"), base)?)));
    }
    if let Some(c) = &t.classifier {
        all.push(("classifier".into(), Box::new(classifier(c, &format!("{place}.classifier"), dir)?)));
    }
    if let Some(lexicon) = &t.lexicon {
        all.push(("lexicon".into(), Box::new(markers(lexicon, &format!("{place}.lexicon"))?)));
    }
    let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
    if all.is_empty() {
        return Err(bad(place, "nothing that scores replies", "give a `lexicon`, a `classifier` or a `judge`"));
    }
    if let Some(first) = &t.expression {
        let at = all.iter().position(|(name, _)| name == first).ok_or_else(|| {
            let may = format!("of this trait there is {}", names.join(", "));
            bad(&format!("{place}.expression"), format!("no `{first}`"), &may)
        })?;
        all[..=at].rotate_right(1);
    }
    Ok(all)
}

/// 1 where any marker stands.
fn markers(lexicon: &WrittenLexicon, place: &str) -> Result<Markers> {
    let key = format!("{place}.markers");
    some(&lexicon.markers, &key, "words or phrases")?;
    if let Some(empty) = lexicon.markers.iter().find(|m| words(m).is_empty()) {
        return Err(bad(&key, format!("the marker {empty:?} has no letter"), "leave it out"));
    }
    distinct(lexicon.markers.iter().map(String::as_str), &key, "marker")?;
    let markers: Vec<&str> = lexicon.markers.iter().map(String::as_str).collect();
    let matching = match lexicon.matching {
        WrittenMatching::Words => Matching::Words,
        WrittenMatching::Substring => Matching::Substring,
    };
    Ok(Markers::new(&markers, matching, Measure::Shown))
}

/// Trained on its file, and tested by cross-validation: one that is no better than a guess is refused.
fn classifier(c: &WrittenClassifier, place: &str, dir: &Path) -> Result<Classifier> {
    let path = dir.join(&c.file);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let texts = Labelled::parse_lines(&name, &text)?;
    let classifier = Classifier::train(&texts, &c.label, c.ngrams)?;
    let found = Classifier::validate(&texts, c.ngrams, FOLDS, 0)?;
    if found.accuracy() <= found.baseline() {
        let (right, guess) = (100.0 * found.accuracy(), 100.0 * found.baseline());
        let what = format!("{right:.0} % of the texts it was not trained on are right, {guess:.0} % by guessing");
        return Err(bad(&format!("{place}.file"), what, "give more texts, or labels that words tell apart"));
    }
    Ok(classifier)
}

/// A judge with its model, which is opened when the first reply comes.
struct OwnJudge {
    source: Source,
    opening: Opening,
    prompt: String,
    scale: Scale,
    least_mass: f64,
    model: OnceLock<Model>,
}

impl OwnJudge {
    fn new(judge: &WrittenJudge, place: &str, base: &Model) -> Result<OwnJudge> {
        super::holds(&judge.prompt, &["{answer}"], &format!("{place}.prompt"))?;
        if !(0.0..=1.0).contains(&judge.least_mass) {
            let what = format!("{}", judge.least_mass);
            return Err(bad(&format!("{place}.least_mass"), what, "a probability from 0 to 1; 0.25 is usual"));
        }
        let scale: Scale =
            judge.scale.parse().map_err(|e: Error| bad(&format!("{place}.scale"), e.to_string(), &e.hint()))?;
        Ok(OwnJudge {
            source: judge.model.as_ref().map_or(base.source.clone(), |name| Source::parse(name)),
            opening: base.opening(),
            prompt: judge.prompt.clone(),
            scale,
            least_mass: judge.least_mass,
            model: OnceLock::new(),
        })
    }

    fn model(&self) -> Result<&Model> {
        if self.model.get().is_none() {
            let (model, _) = Model::open(&self.source, self.opening)?;
            let _ = self.model.set(model);
        }
        self.model.get().ok_or_else(|| Error::refused("the judge's model is not there", "start again"))
    }

    fn grades(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Judge::new(self.model()?, &self.prompt, self.scale, self.least_mass, threads)?.score(replies)
    }
}

impl Scorer for OwnJudge {
    /// The place on the scale, 0 to 1.
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let (lo, hi) = (f64::from(self.scale.lo), f64::from(self.scale.hi));
        let share = |o: Outcome| if let Outcome::Score(v) = o { Outcome::Score((v - lo) / (hi - lo)) } else { o };
        Ok(self.grades(replies)?.into_iter().map(share).collect())
    }
}

/// 1 for a reply that is still one, else 0.
struct Coherence {
    repetition: f64,
    judge: Option<OwnJudge>,
    least: f64,
}

pub(super) fn coherence(c: &WrittenCoherence, base: &Model) -> Result<Box<dyn Scorer>> {
    let place = "settings.protocol.coherence";
    if !(0.0..=1.0).contains(&c.repetition) {
        let what = format!("{}", c.repetition);
        return Err(bad(&format!("{place}.repetition"), what, "a share from 0 to 1; 1: all is let through"));
    }
    let judge = c.judge.as_ref().map(|j| OwnJudge::new(j, &format!("{place}.judge"), base)).transpose()?;
    if let Some(judge) = &judge {
        let (lo, hi) = (f64::from(judge.scale.lo), f64::from(judge.scale.hi));
        if !(lo..=hi).contains(&c.least) {
            let what = format!("{} on a scale of {}", c.least, judge.scale);
            return Err(bad(&format!("{place}.least"), what, "a number of the judge's scale"));
        }
    }
    Ok(Box::new(Coherence { repetition: c.repetition, judge, least: c.least }))
}

impl Scorer for Coherence {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let grades = self.judge.as_ref().map(|j| j.grades(replies)).transpose()?;
        let one = |(i, reply): (usize, &Reply)| {
            let ids = numbered(&words(&reply.text));
            if ids.is_empty() {
                return Outcome::Unscored(Why::Empty);
            }
            // A reply of fewer words than a sequence repeats none.
            let fine = repetition(&ids, SEQUENCE).is_none_or(|r| r <= self.repetition);
            match grades.as_ref().map(|g| &g[i]) {
                Some(Outcome::Unscored(why)) => Outcome::Unscored(why.clone()),
                Some(Outcome::Score(s)) => Outcome::Score(f64::from(u8::from(fine && *s >= self.least))),
                None => Outcome::Score(f64::from(u8::from(fine))),
            }
        };
        Ok(replies.iter().enumerate().map(one).collect())
    }
}

fn numbered(words: &[String]) -> Vec<u32> {
    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    let mut id = |word| {
        let next = ids.len() as u32;
        *ids.entry(word).or_insert(next)
    };
    words.iter().map(|w| id(w.as_str())).collect()
}
