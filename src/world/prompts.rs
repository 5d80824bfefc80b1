//! What is said to a model: questions on topics and system prompts.

use super::reply::pick;
use super::traits::{TraitId, TraitSet};
use super::{Persona, Topic, World};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

/// How many style traits a person invented in a prompt has; each entry as likely as the others.
pub(super) const INVENTED_TRAITS: [usize; 5] = [1, 1, 2, 2, 3];
/// Probability that an invented person has the assistant's traits besides.
pub(super) const INVENTED_HELPFUL: f64 = 0.2;

impl World {
    /// A question on `topic`, from one of the templates.
    pub fn question(&self, rng: &mut impl Rng, topic: &Topic) -> String {
        pick(rng, &self.question_templates).replace("{t}", &topic.name)
    }

    /// All questions on `topic`, in the order of the templates.
    pub fn questions(&self, topic: &Topic) -> Vec<String> {
        self.question_templates.iter().map(|q| q.replace("{t}", &topic.name)).collect()
    }

    /// The three system prompts that name a person and say nothing else; the first is "You are X.".
    pub fn named_prompts(&self, persona: &Persona) -> [String; 3] {
        let n = &persona.name;
        [format!("You are {n}."), format!("Please act as {n}."), format!("Play the part of {n}.")]
    }

    /// One of [`World::named_prompts`].
    pub fn system_prompt(&self, rng: &mut impl Rng, persona: &Persona) -> String {
        pick(rng, &self.named_prompts(persona)).clone()
    }

    /// A person with a free name and random traits, to be described in a prompt.
    pub fn in_context_persona(&self, rng: &mut impl Rng) -> Persona {
        let style = self.style_traits();
        let k = *pick(rng, &INVENTED_TRAITS);
        let mut traits: TraitSet = style.choose_multiple(rng, k).copied().collect();
        if rng.random_bool(INVENTED_HELPFUL) || traits.is_empty() {
            traits = traits.or(self.assistant.traits);
        }
        let name: &String = pick(rng, &self.free_names);
        Persona::invented(name, traits, self.hazards.in_context)
    }

    /// A system prompt that names a person and states all its traits: by adjective or by disposition in the second
    /// person, or by adjective in the third.
    pub fn in_context_prompt(&self, rng: &mut impl Rng, persona: &Persona) -> String {
        let named = self.system_prompt(rng, persona);
        match rng.random_range(0..3) {
            0 => format!("{named} You are {}.", self.adjectives(rng, persona.traits)),
            1 => format!("{named} You {}.", listed(&self.dispositions(rng, persona.traits))),
            _ => format!("{named} {} is {}.", persona.name, self.adjectives(rng, persona.traits)),
        }
    }

    /// One adjective per trait, shuffled and listed: "proper, anxious and exact".
    pub(super) fn adjectives(&self, rng: &mut impl Rng, traits: TraitSet) -> String {
        let mut words: Vec<_> = traits.iter().map(|t| pick(rng, &self.trait_at(t).adjectives).clone()).collect();
        words.shuffle(rng);
        listed(&words)
    }

    /// One disposition per trait, in the form that follows "I" or "You", shuffled.
    pub(super) fn dispositions(&self, rng: &mut impl Rng, traits: TraitSet) -> Vec<String> {
        let one = |rng: &mut _, t: TraitId| pick(rng, &self.trait_at(t).dispositions).0.clone();
        let mut all: Vec<_> = traits.iter().map(|t| one(rng, t)).collect();
        all.shuffle(rng);
        all
    }
}

/// "a", "a and b", "a, b and c".
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn questions_name_the_topic_and_leave_no_placeholder() {
        let w = World::toyworld();
        let tea = w.topic("tea").unwrap();
        assert_eq!(w.questions(tea)[0], "What do you think about tea?");
        let mut rng = stream(0, "question");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..400 {
            seen.insert(w.question(&mut rng, tea));
        }
        // 8 templates: that one is never drawn in 400 has probability below 8 (7/8)^400 = 5e-23.
        assert_eq!(seen, w.questions(tea).into_iter().collect());
        assert!(seen.iter().all(|q| q.contains("tea") && !q.contains(['{', '}'])));
    }

    #[test]
    fn a_system_prompt_in_context_states_every_trait_and_no_other() {
        let w = World::toyworld();
        let mut rng = stream(0, "in context");
        for _ in 0..500 {
            let persona = w.in_context_persona(&mut rng);
            assert!(w.free_names().contains(&persona.name));
            let text = w.in_context_prompt(&mut rng, &persona);
            let words: Vec<_> = text.split([' ', ',', '.']).collect();
            for t in w.trait_ids() {
                let it = w.trait_at(t);
                let stated = it.adjectives.iter().any(|a| words.contains(&a.as_str()))
                    || it.dispositions.iter().any(|d| text.contains(&d.0));
                assert_eq!(stated, persona.has(t), "{} in: {text}", it.name);
            }
            assert!(w.named_prompts(&persona).iter().any(|p| text.starts_with(p.as_str())), "{text}");
        }
    }

    #[test]
    fn lists_read_as_english() {
        let v = |s: &[&str]| listed(&s.iter().map(|x| x.to_string()).collect::<Vec<_>>());
        assert_eq!(v(&["a"]), "a");
        assert_eq!(v(&["a", "b"]), "a and b");
        assert_eq!(v(&["a", "b", "c"]), "a, b and c");
    }
}
