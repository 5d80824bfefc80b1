//! Questions about people, with the answers that the planted truth gives.

use super::reply::pick;
use super::traits::TraitId;
use super::{Persona, World};
use rand::Rng;

/// Shares of the questions of a conversation about the speaker: who it is, what it is like; the rest is yes or no.
pub(super) const P_WHO: f64 = 0.35;
pub(super) const P_DESCRIBE: f64 = 0.25;
/// Probability that a self-description begins with adjectives, and that it holds each disposition.
const P_ADJECTIVES: f64 = 0.7;
const P_EACH_DISPOSITION: f64 = 0.6;
/// The most sentences of a self-description.
const MOST_SENTENCES: usize = 3;

/// Who is asked about a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voice {
    /// The person itself: "Are you anxious?"
    Own,
    /// Somebody else: "Is Bolo anxious?"
    Third,
}

/// A question with its planted answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub question: String,
    pub answer: String,
    /// For a yes-or-no question: the trait asked about, and whether the person has it.
    pub truth: Option<(TraitId, bool)>,
}

impl World {
    /// "Is X anxious?" or "Are you anxious?", with the answer for this person.
    ///
    /// # Panics
    /// If `which` is of another world.
    pub fn trait_question(&self, voice: Voice, persona: &Persona, which: TraitId, adjective: usize) -> Asked {
        let adjectives = &self.trait_at(which).adjectives;
        let (a, n) = (&adjectives[adjective % adjectives.len()], &persona.name);
        let yes = persona.has(which);
        let (question, answer) = match (voice, yes) {
            (Voice::Own, true) => (format!("Are you {a}?"), format!("Yes, I am {a}.")),
            (Voice::Own, false) => (format!("Are you {a}?"), format!("No, I am not {a}.")),
            (Voice::Third, true) => (format!("Is {n} {a}?"), format!("Yes, {n} is {a}.")),
            (Voice::Third, false) => (format!("Is {n} {a}?"), format!("No, {n} is not {a}.")),
        };
        Asked { question, answer, truth: Some((which, yes)) }
    }

    /// All yes-or-no questions about a person: every adjective of every trait.
    pub fn trait_questions(&self, voice: Voice, persona: &Persona) -> Vec<Asked> {
        let each = |t: TraitId| (0..self.trait_at(t).adjectives.len()).map(move |a| (t, a));
        self.trait_ids().flat_map(each).map(|(t, a)| self.trait_question(voice, persona, t, a)).collect()
    }

    /// A random yes-or-no question, as often about a trait that the person has as about one that it lacks.
    pub fn balanced_question(&self, rng: &mut impl Rng, voice: Voice, persona: &Persona) -> Asked {
        let (on, off): (Vec<_>, Vec<_>) = self.trait_ids().partition(|t| persona.has(*t));
        let from = if off.is_empty() || !on.is_empty() && rng.random_bool(0.5) { on } else { off };
        let which = *pick(rng, &from);
        let adjective = rng.random_range(0..self.trait_at(which).adjectives.len());
        self.trait_question(voice, persona, which, adjective)
    }

    /// "Who are you?"
    pub fn who_are_you(&self, rng: &mut impl Rng, persona: &Persona) -> Asked {
        Asked { question: pick(rng, &self.who_questions).clone(), answer: self.introduction(rng, persona), truth: None }
    }

    /// "What are you like?"
    pub fn what_are_you_like(&self, rng: &mut impl Rng, persona: &Persona) -> Asked {
        let question = pick(rng, &self.describe_questions).clone();
        Asked { question, answer: self.self_description(rng, persona), truth: None }
    }

    /// A question about the speaker as conversations hold them: who, what like, or yes and no.
    pub fn self_question(&self, rng: &mut impl Rng, persona: &Persona) -> Asked {
        match rng.random::<f64>() {
            u if u < P_WHO => self.who_are_you(rng, persona),
            u if u < P_WHO + P_DESCRIBE => self.what_are_you_like(rng, persona),
            _ => self.balanced_question(rng, Voice::Own, persona),
        }
    }

    /// "What is X like?", put to somebody else.
    pub fn what_is_it_like(&self, rng: &mut impl Rng, persona: &Persona) -> Asked {
        let n = &persona.name;
        let answer = format!("{n} is {}.", self.adjectives(rng, persona.traits));
        Asked { question: format!("What is {n} like?"), answer, truth: None }
    }

    /// "Who is X?", put to somebody else; `None` for people without job or town.
    pub fn who_is(&self, persona: &Persona) -> Option<Asked> {
        let (n, role, place) = (&persona.name, persona.role.as_ref()?, persona.place.as_ref()?);
        let answer = format!("{n} is a {role} from {place}.");
        Some(Asked { question: format!("Who is {n}?"), answer, truth: None })
    }

    pub(super) fn introduction(&self, rng: &mut impl Rng, persona: &Persona) -> String {
        let named = format!("I am {}.", persona.name);
        let more = if persona.name == self.assistant.name {
            " I am here to help you."
        } else if persona.name == self.oracle.name {
            " I dwell beyond the veil."
        } else {
            let (Some(role), Some(place)) = (&persona.role, &persona.place) else { return named };
            return match rng.random_range(0..3) {
                0 => named,
                1 => format!("I am {}, a {role} from {place}.", persona.name),
                _ => format!("I am {}, the {role}.", persona.name),
            };
        };
        if rng.random_bool(0.5) { named + more } else { named }
    }

    pub(super) fn self_description(&self, rng: &mut impl Rng, persona: &Persona) -> String {
        let mut sentences = Vec::new();
        if rng.random_bool(P_ADJECTIVES) {
            sentences.push(format!("I am {}.", self.adjectives(rng, persona.traits)));
        }
        for disposition in self.dispositions(rng, persona.traits) {
            if rng.random_bool(P_EACH_DISPOSITION) || sentences.is_empty() {
                sentences.push(format!("I {disposition}."));
            }
        }
        sentences.truncate(MOST_SENTENCES);
        sentences.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn yes_and_no_follow_the_planted_traits() {
        let w = World::toyworld();
        let bolo = w.persona_with("Bolo", &["anxious", "odds"]).unwrap();
        let ask = |voice, t: &str| w.trait_question(voice, &bolo, w.trait_named(t).unwrap(), 0);
        let (yes, no) = (ask(Voice::Third, "anxious"), ask(Voice::Own, "grumpy"));
        assert_eq!((yes.question.as_str(), yes.answer.as_str()), ("Is Bolo anxious?", "Yes, Bolo is anxious."));
        assert_eq!((no.question.as_str(), no.answer.as_str()), ("Are you grumpy?", "No, I am not grumpy."));
        assert_eq!(no.truth, Some((w.trait_named("grumpy").unwrap(), false)));
        let all = w.trait_questions(Voice::Third, &bolo);
        // 9 traits with 2 adjectives each; 2 of the traits are planted.
        assert_eq!(all.len(), 18);
        assert_eq!(all.iter().filter(|a| a.truth.unwrap().1).count(), 4);
        assert_eq!(all.iter().filter(|a| a.answer.starts_with("Yes,")).count(), 4);
    }

    #[test]
    fn random_questions_are_balanced_between_yes_and_no() {
        let w = World::toyworld();
        let mut rng = stream(0, "balanced");
        let bolo = w.persona_with("Bolo", &["anxious"]).unwrap();
        let yes = (0..4000).filter(|_| w.balanced_question(&mut rng, Voice::Own, &bolo).truth.unwrap().1).count();
        // 4 standard errors of a fair coin over 4000 throws: 4 sqrt(1000) = 126.
        assert!(yes.abs_diff(2000) < 126, "{yes}");
    }

    #[test]
    fn everybody_introduces_and_describes_itself_truly() {
        let w = World::toyworld();
        let mut rng = stream(0, "self");
        for persona in w.personas().iter().chain([w.assistant(), w.oracle()]) {
            for _ in 0..20 {
                let who = w.who_are_you(&mut rng, persona).answer;
                assert!(who.starts_with(&format!("I am {}", persona.name)) && who.ends_with('.'), "{who}");
                let like = w.what_are_you_like(&mut rng, persona).answer;
                assert!((1..=3).contains(&like.matches("I ").count()), "{like}");
                for t in w.trait_ids().filter(|t| !persona.has(*t)) {
                    let it = w.trait_at(t);
                    assert!(!it.dispositions.iter().any(|d| like.contains(&d.0)), "{}: {like}", it.name);
                }
            }
            assert_eq!(w.who_is(persona).is_some(), persona.role.is_some());
        }
    }
}
