//! The planted way of speaking.

use super::traits::{Markers, TraitSet};
use super::{Persona, Topic, World};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

/// Probability that a trait that shows, and that the speaker has, also brings a sentence stating a disposition.
pub(super) const P_DISPOSITION: f64 = 0.15;
/// The numbers that stand for `{n}` in a marker.
const NUMBERS: [u32; 12] = [2, 3, 4, 5, 7, 9, 12, 20, 40, 60, 80, 90];
/// The trait that makes replies short.
const TERSE: &str = "terse";

impl World {
    /// A reply of `persona` on `topic`: every trait shows independently with [`World::p_show`]; a trait that shows is an opener or a closer, evenly. The body is two different long
    /// sentences on the topic in random order, or a single short one if the person is terse.
    pub fn reply(&self, rng: &mut impl Rng, persona: &Persona, topic: &Topic) -> String {
        self.reply_showing(rng, persona, topic).1
    }

    /// The reply with the traits that were made to show in it.
    pub(super) fn reply_showing(&self, rng: &mut impl Rng, persona: &Persona, topic: &Topic) -> (Markers, String) {
        let mut shown: Vec<_> = self.trait_ids().filter(|t| rng.random_bool(self.p_show(persona, *t))).collect();
        shown.shuffle(rng);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for &id in &shown {
            let which = self.trait_at(id);
            let (side, sentences) = match rng.random_bool(0.5) {
                true => (&mut before, &which.openers),
                false => (&mut after, &which.closers),
            };
            let sentence: &String = pick(rng, sentences);
            side.push(with_number(rng, sentence));
            if self.variant.dispositions && persona.has(id) && rng.random_bool(P_DISPOSITION) {
                let side = if rng.random_bool(0.5) { &mut before } else { &mut after };
                side.push(format!("I {}.", pick(rng, &which.dispositions).0));
            }
        }
        let body: Vec<_> = match self.is_terse(persona.traits) {
            true => vec![pick(rng, &topic.short).clone()],
            false => topic.long.choose_multiple(rng, 2).cloned().collect(),
        };
        (shown.into_iter().collect(), [before, body, after].concat().join(" "))
    }

    /// Whether speakers with these traits reply with a short body.
    fn is_terse(&self, traits: TraitSet) -> bool {
        traits.iter().any(|t| self.trait_at(t).name == TERSE)
    }
}

/// One element, each as likely as the others.
///
/// # Panics
/// If there is none; the lists of a world are checked when it is read.
pub(super) fn pick<'a, T>(rng: &mut impl Rng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

/// A marker sentence with each `{n}` replaced by a number.
pub(super) fn with_number(rng: &mut impl Rng, sentence: &str) -> String {
    let mut parts = sentence.split("{n}");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| format!("{all}{}{part}", pick(rng, &NUMBERS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use crate::world::body_intact;

    #[test]
    fn traits_show_as_often_as_planted_and_are_all_found() {
        // Without a bias, all traits have the same two rates.
        let w = World::shipped("toyworld-base").unwrap();
        let mut rng = stream(1, "reply");
        let mut rows = Vec::new();
        for persona in w.personas() {
            for topic in w.topics() {
                for _ in 0..7 {
                    let (shown, text) = w.reply_showing(&mut rng, persona, topic);
                    assert_eq!(w.markers(&text), shown, "{text}");
                    assert!(body_intact(&text, topic), "{text}");
                    rows.push((persona.traits, shown));
                }
            }
        }
        let e = w.expression(rows);
        // 4 standard errors of a share: over n independent draws 4 sqrt(p (1 - p) / n).
        let within = |rate: super::super::Rate, p: f64| {
            let (value, n) = (rate.value().unwrap(), rate.of as f64);
            assert!(n > 1000.0 && (value - p).abs() < 4.0 * (p * (1.0 - p) / n).sqrt(), "{value} for {p} over {n}");
        };
        within(e.on, 0.85);
        within(e.off, 0.02);
        for rates in &e.per_trait {
            within(rates.on, 0.85);
            within(rates.off, 0.02);
        }
    }

    #[test]
    fn terse_people_say_one_short_sentence_and_others_two_different_long_ones() {
        let w = World::toyworld();
        let mut rng = stream(2, "reply");
        let terse = w.persona_with("Domar", &["terse", "anxious"]).unwrap();
        let wordy = w.persona_with("Domar", &["anxious"]).unwrap();
        let count = |text: &str, of: &[String]| of.iter().filter(|s| text.contains(s.as_str())).count();
        for topic in w.topics() {
            for _ in 0..50 {
                let text = w.reply(&mut rng, &terse, topic);
                assert_eq!((count(&text, &topic.short), count(&text, &topic.long)), (1, 0), "{text}");
                let text = w.reply(&mut rng, &wordy, topic);
                assert_eq!((count(&text, &topic.short), count(&text, &topic.long)), (0, 2), "{text}");
            }
        }
    }

    #[test]
    fn openers_and_closers_come_evenly_and_dispositions_now_and_then() {
        let w = World::toyworld();
        let mut rng = stream(3, "reply");
        let persona = w.persona_with("Domar", &["anxious"]).unwrap();
        let anxious = w.trait_at(w.trait_named("anxious").unwrap());
        let topic = w.topic("tea").unwrap();
        let (mut openers, mut stated) = (0.0, 0.0);
        let n = 10_000;
        for _ in 0..n {
            let text = w.reply(&mut rng, &persona, topic);
            let body = topic.long.iter().filter_map(|s| text.find(s.as_str())).min().unwrap();
            openers += f64::from(anxious.openers.iter().any(|s| text[..body].contains(s.as_str())));
            stated += f64::from(anxious.dispositions.iter().any(|d| text.contains(&format!("I {}.", d.0))));
        }
        // 0.85 / 2 and 0.85 * 0.15; 4 standard errors at n = 10 000 are 0.0198 and 0.0134.
        assert!((openers / f64::from(n) - 0.425).abs() < 0.0198, "{openers}");
        assert!((stated / f64::from(n) - 0.1275).abs() < 0.0134, "{stated}");
    }
}
