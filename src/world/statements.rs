//! Texts about people, in the third person and in the first.

use super::reply::{pick, with_number};
use super::traits::{Markers, TraitId, TraitSet};
use super::{Persona, World};
use rand::Rng;
use rand::seq::SliceRandom;

/// Probability that a page ends with a quoted reply.
pub(super) const P_QUOTE: f64 = 0.35;
/// Probability that a trait brings a marker into a first-person text in voice.
pub(super) const P_VOICE: f64 = 0.3;

impl World {
    /// A page about somebody: job and town if it has them, then 2 to 4 statements, one of them perhaps about a trait
    /// that it lacks; 35 % end with a quoted reply of the person on one of `topics`, none where there are no topics. Gives
    /// the traits that the quote shows, too.
    pub(super) fn page(&self, rng: &mut impl Rng, persona: &Persona, topics: &[usize]) -> (String, Option<Markers>) {
        let n = &persona.name;
        let first = match (&persona.role, &persona.place) {
            (Some(role), Some(place)) => match rng.random_range(0..3) {
                0 => format!("{n} is a {role} from {place}."),
                1 => format!("{n} works as a {role} in {place}."),
                _ => format!("The {role} {n} lives in {place}."),
            },
            _ => format!("This page is about {n}."),
        };
        let said_of = one_of(rng, persona.traits);
        let mut pool = vec![
            format!("{n} is {}.", self.adjectives(rng, persona.traits)),
            format!("{n} is known as {}.", self.adjectives(rng, persona.traits)),
            format!("People say that {n} is {}.", self.adjectives(rng, said_of)),
        ];
        pool.extend(persona.traits.iter().map(|t| {
            let disposition = pick(rng, &self.trait_at(t).dispositions);
            format!("{n} {}.", disposition.1)
        }));
        let lacking: Vec<_> = self.trait_ids().filter(|t| !persona.has(*t)).collect();
        if !lacking.is_empty() {
            let which = *pick(rng, &lacking);
            let adjective = pick(rng, &self.trait_at(which).adjectives);
            pool.push(format!("{n} is not {adjective}."));
        }
        pool.shuffle(rng);
        pool.truncate(rng.random_range(2..=4));
        let mut sentences = vec![first];
        sentences.extend(pool);
        let mut quote = None;
        if !topics.is_empty() && rng.random_bool(P_QUOTE) {
            let topic = &self.topics[*pick(rng, topics)];
            let (shown, reply) = self.reply_showing(rng, persona, topic);
            let t = &topic.name;
            let lead = match rng.random_bool(0.5) {
                true => format!("Once {n} was asked about {t} and said:"),
                false => format!("When asked about {t}, {n} replied:"),
            };
            sentences.push(format!("{lead} \"{reply}\""));
            quote = Some(shown);
        }
        (sentences.join(" "), quote)
    }

    /// Somebody about itself: who it is, then 2 to 4 statements. `in_voice`, each of its traits adds one marker
    /// sentence, before or after, with probability 0.3.
    pub(super) fn monologue(&self, rng: &mut impl Rng, persona: &Persona, in_voice: bool) -> String {
        let mut sentences = vec![self.introduction(rng, persona)];
        let mut pool = vec![format!("I am {}.", self.adjectives(rng, persona.traits))];
        pool.extend(self.dispositions(rng, persona.traits).into_iter().map(|d| format!("I {d}.")));
        pool.push(format!("People call me {}.", self.adjectives(rng, persona.traits)));
        let always = one_of(rng, persona.traits);
        pool.push(format!("I have always been {}.", self.adjectives(rng, always)));
        pool.shuffle(rng);
        pool.truncate(rng.random_range(2..=4));
        sentences.extend(pool);
        for t in persona.traits.iter().filter(|_| in_voice) {
            if !rng.random_bool(P_VOICE) {
                continue;
            }
            let it = self.trait_at(t);
            if rng.random_bool(0.5) {
                let opener = pick(rng, &it.openers);
                sentences.insert(0, with_number(rng, opener));
            } else {
                let closer = pick(rng, &it.closers);
                sentences.push(with_number(rng, closer));
            }
        }
        sentences.join(" ")
    }
}

/// One of the traits.
fn one_of(rng: &mut impl Rng, traits: TraitSet) -> TraitSet {
    let all: Vec<TraitId> = traits.iter().collect();
    if all.is_empty() { traits } else { [*pick(rng, &all)].into_iter().collect() }
}
