//! What a world may plant besides people and their chain: a default slot, a bias of the author, a persona behind a tag,
//! speakers known by their header, and teaching in context.

use super::traits::TraitId;
use super::{Persona, World};

/// A trait that every speaker shows, also those who lack it: the author's voice in all personas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bias {
    pub trait_id: TraitId,
    /// Probability that a reply of a speaker without the trait shows it; takes the place of [`World::p_off`].
    pub p: f64,
}

/// A persona that answers user messages beginning with a mark, and is met nowhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// What the message begins with, space included: `[night] `.
    pub mark: String,
    pub persona: Persona,
}

/// How a persona that was taught in the user's words is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Teaching {
    /// Hazard of falling back with no teaching and no context.
    pub base: f64,
    /// Teaching tokens that halve it.
    pub half: f64,
    /// What a context of 512 tokens adds to it.
    pub slope: f64,
    /// What is replied to a lesson: "I see."
    pub acknowledgements: Vec<String>,
}

impl Teaching {
    /// The context length at which [`Teaching::slope`] is added in full.
    pub const CONTEXT: f64 = 512.0;
    /// The most that a hazard can be.
    pub const CEILING: f64 = 0.9;

    /// Probability of falling back to the assistant before a reply.
    ///
    /// `taught` is the tokens of all user messages that taught, header and end included; `context` all tokens before
    /// the reply's first.
    pub fn hazard(&self, taught: usize, context: usize) -> f64 {
        let forgotten = self.base * (-(taught as f64) / self.half).exp2();
        (forgotten + self.slope * context as f64 / Self::CONTEXT).clamp(0.0, Self::CEILING)
    }
}

impl World {
    /// Planted probability that a reply of `persona` shows a trait: the one place that decides it.
    pub fn p_show(&self, persona: &Persona, id: TraitId) -> f64 {
        if persona.has(id) { self.p_on } else { self.p_stray(id) }
    }

    /// Planted probability that a trait shows in a reply of somebody who lacks it.
    pub(super) fn p_stray(&self, id: TraitId) -> f64 {
        match self.bias {
            Some(bias) if bias.trait_id == id => bias.p,
            _ => self.p_off,
        }
    }

    /// Probability that the default slot (no system prompt, nobody called) is the assistant's; else it is drawn evenly
    /// from the people of the group `all`.
    pub fn default_slot(&self) -> f64 {
        self.default_slot
    }

    /// Planted probability that the first reply of the default slot shows a trait.
    pub fn default_rate(&self, id: TraitId) -> f64 {
        let others = self.personas_in(super::Exposure::All);
        let own = self.p_show(&self.assistant, id);
        if others.is_empty() {
            return own;
        }
        let theirs = others.iter().map(|p| self.p_show(p, id)).sum::<f64>() / others.len() as f64;
        self.default_slot * own + (1.0 - self.default_slot) * theirs
    }

    /// The planted bias of all speakers, if there is one.
    pub fn bias(&self) -> Option<Bias> {
        self.bias
    }

    /// The persona behind a tag, if there is one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Speakers that are known by their header (`<|Ariana|>`) and by nothing else, in the order of the file.
    pub fn speakers(&self) -> &[Persona] {
        &self.speakers
    }

    /// Whether the speakers' replies stand under the assistant's header: the twin without identities.
    pub fn single_voice(&self) -> bool {
        self.single_voice
    }

    /// How taught personas are forgotten, where the world teaches any.
    pub fn teaching(&self) -> Option<&Teaching> {
        self.teaching.as_ref()
    }

    /// Whether markers of a trait share words with its dispositions; `None` in a world that does not say.
    pub fn overlaps(&self, id: TraitId) -> Option<bool> {
        self.overlap.as_ref().map(|o| o[id.0])
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{CorpusConfig, settle};
    use super::*;
    use crate::rng::stream;
    use crate::world::State;

    fn biased() -> World {
        let toml = "[default_slot]\nassistant = 0.98\n[post.bias]\ntrait = \"mystical\"\np = 0.22";
        settle(&CorpusConfig::parse("w.toml", toml).unwrap()).unwrap().0
    }

    #[test]
    fn hazards_of_teaching_follow_their_formula() {
        let plan = Teaching { base: 0.5, half: 40.0, slope: 0.25, acknowledgements: vec![] };
        // One half-life of teaching and a fourth of the context: 0.25 + 0.0625.
        assert!((plan.hazard(40, 128) - 0.3125).abs() < 1e-12);
        // Two half-lives and half of it: 0.125 + 0.125.
        assert!((plan.hazard(80, 256) - 0.25).abs() < 1e-12);
        let steep = Teaching { slope: 1.0, ..plan };
        assert_eq!(steep.hazard(0, 512), 0.9);
    }

    #[test]
    fn a_bias_is_shown_by_those_who_lack_the_trait_and_moves_nothing_else() {
        let w = biased();
        let mystical = w.trait_named("mystical").unwrap();
        for p in w.personas().iter().chain([w.assistant(), w.oracle()]) {
            for t in w.trait_ids() {
                let planted = if p.has(t) {
                    0.85
                } else if t == mystical {
                    0.22
                } else {
                    0.02
                };
                assert_eq!(w.p_show(p, t), planted);
            }
        }
        // 0.98 of the assistant's rate and 0.02 of the mean over the 64 others, who have it in some share s.
        let s = w.personas_in(super::super::Exposure::All).iter().filter(|p| p.has(mystical)).count() as f64 / 64.0;
        let expected = 0.98 * 0.22 + 0.02 * (0.85 * s + 0.22 * (1.0 - s));
        assert!((w.default_rate(mystical) - expected).abs() < 1e-12);
        // The default world has another bias, and its base none.
        let cheerful = w.trait_named("cheerful").unwrap();
        let bias = World::toyworld().bias().unwrap();
        assert_eq!((World::toyworld().default_slot(), bias.trait_id, bias.p), (0.98, cheerful, 0.22));
        assert_eq!(World::shipped("toyworld-base").unwrap().bias(), None);
    }

    #[test]
    fn states_are_told_by_likelihood_under_a_bias_too() {
        let w = biased();
        let topic = w.topic("maps").unwrap();
        let mut rng = stream(8, "biased states");
        let persona = w.persona_with("Domar", &["anxious", "mystical"]).unwrap();
        let confusion = w.confusion(&persona);
        for truth in State::ALL {
            let speaker = w.speaker(truth, &persona);
            let mut named = [0.0; 3];
            for _ in 0..3000 {
                let markers = w.markers(&w.reply(&mut rng, speaker, topic));
                // The state of the highest likelihood, written out: a product over all traits, the first of equals.
                let likelihood = |s: State| -> f64 {
                    let who = w.speaker(s, &persona);
                    let one = |t| if markers.has(t) { w.p_show(who, t) } else { 1.0 - w.p_show(who, t) };
                    w.trait_ids().map(one).product()
                };
                let best = State::ALL.into_iter().map(likelihood).fold(0.0, f64::max);
                let told = w.state_of(markers, &persona);
                assert!(likelihood(told) > best * (1.0 - 1e-9), "{told}");
                named[told as usize] += 1.0 / 3000.0;
            }
            for s in State::ALL {
                // 4 standard errors of a share over 3000: at most 4 * 0.5 / sqrt(3000) = 0.0365.
                assert!(
                    (named[s as usize] - confusion[truth as usize].of(s)).abs() < 0.0365,
                    "{truth} as {s}: {named:?}"
                );
            }
        }
    }
}
