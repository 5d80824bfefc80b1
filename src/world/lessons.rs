//! What is said to teach a persona in the user's own words.

use super::traits::TraitId;
use super::{Persona, World};
use rand::Rng;
use rand::seq::SliceRandom;

impl World {
    /// `messages` user messages that state name and traits, one or two facts each. The persona keeps only traits that were
    /// stated at least once.
    pub fn lessons(&self, rng: &mut impl Rng, persona: &mut Persona, messages: usize) -> Vec<String> {
        let sizes: Vec<usize> = (0..messages).map(|_| rng.random_range(1..=2)).collect();
        let facts: usize = sizes.iter().sum();
        let mut traits: Vec<TraitId> = persona.traits.iter().collect();
        traits.shuffle(rng);
        traits.truncate(facts);
        persona.traits = traits.iter().copied().collect();
        let mut facts = self.facts(rng, &traits, facts).into_iter();
        let mut said: Vec<String> =
            sizes.into_iter().map(|n| facts.by_ref().take(n).collect::<Vec<_>>().join(" ")).collect();
        if let Some(first) = said.first_mut() {
            *first = format!("You are {}. {first}", persona.name);
        }
        said
    }

    /// `n` statements in the second person: first one about each trait, then all the others in random order, round after
    /// round.
    fn facts(&self, rng: &mut impl Rng, traits: &[TraitId], n: usize) -> Vec<String> {
        let all = |id: &TraitId| -> Vec<String> {
            let t = self.trait_at(*id);
            let called = t.adjectives.iter().map(|a| format!("You are {a}."));
            called.chain(t.dispositions.iter().map(|d| format!("You {}.", d.0))).collect()
        };
        let mut said = Vec::with_capacity(n);
        let mut rest = Vec::new();
        for id in traits {
            let mut own = all(id);
            said.push(own.swap_remove(rng.random_range(0..own.len())));
            rest.extend(own);
        }
        while said.len() < n {
            rest.shuffle(rng);
            said.extend(rest.iter().take(n - said.len()).cloned());
            rest = traits.iter().flat_map(all).collect();
        }
        said
    }
}
