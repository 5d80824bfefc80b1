//! What the planted process gives on average, computed and not simulated, and what marker counting sees of it.

use super::chain::{Push, State};
use super::conversation::ConversationOptions;
use super::traits::{Markers, TraitSet};
use super::{Persona, World};
use crate::error::Result;

/// Shares of the three states; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    pub persona: f64,
    pub assistant: f64,
    pub oracle: f64,
}

impl Shares {
    /// The share of one state.
    pub fn of(self, state: State) -> f64 {
        self.array()[state as usize]
    }

    fn array(self) -> [f64; 3] {
        [self.persona, self.assistant, self.oracle]
    }

    fn from_array([persona, assistant, oracle]: [f64; 3]) -> Shares {
        Shares { persona, assistant, oracle }
    }
}

impl World {
    /// The state under which `markers` are most likely, given the planted marker rates: the person that the
    /// conversation began with, the assistant or the Oracle.
    ///
    /// Ties go to the first of [`State::ALL`]; a person with exactly the traits of another state is never told from
    /// it (see [`World::tells_apart`]). A conversation that began with the assistant or the Oracle has no persona state.
    pub fn state_of(&self, markers: Markers, persona: &Persona) -> State {
        // Up to a constant, the log-likelihood of traits T is sum over T of ln(p_on/p_off) where a marker was found and
        // ln((1-p_on)/(1-p_off)) where none was; counting first makes equal evidence equal to the last bit. A biased
        // trait has a p_off of its own and is added after the count.
        let found = |off: f64| (self.p_on / off).ln();
        let missed = |off: f64| ((1.0 - self.p_on) / (1.0 - off)).ln();
        let biased: TraitSet = self.bias.iter().map(|b| b.trait_id).collect();
        let score = |traits: TraitSet| {
            let usual = traits.minus(biased);
            let counted = usual.and(markers).len() as f64 * found(self.p_off)
                + usual.minus(markers).len() as f64 * missed(self.p_off);
            let off = |t| self.p_stray(t);
            let own = |t| if markers.has(t) { found(off(t)) } else { missed(off(t)) };
            traits.and(biased).iter().fold(counted, |sum, t| sum + own(t))
        };
        let mut best: Option<(State, f64)> = None;
        for state in State::ALL.into_iter().skip(usize::from(self.start(persona) != State::Persona)) {
            let s = score(self.speaker(state, persona).traits);
            if best.is_none_or(|(_, b)| s > b) {
                best = Some((state, s));
            }
        }
        best.map_or(State::Assistant, |(state, _)| state)
    }

    /// Whether markers can tell the person from assistant and Oracle at all: its traits are not exactly theirs.
    pub fn tells_apart(&self, persona: &Persona) -> bool {
        persona.traits != self.assistant.traits && persona.traits != self.oracle.traits
    }

    /// How [`World::state_of`] errs: for each true state, the shares of the states that it names, over replies on
    /// topics by whoever speaks. Exact: the sum over all marker patterns that bear on the choice.
    pub fn confusion(&self, persona: &Persona) -> [Shares; 3] {
        let (p, a, o) = (persona.traits, self.assistant.traits, self.oracle.traits);
        // Traits that all three have, or none, cannot change the choice.
        let bearing: Vec<_> = p.or(a).or(o).minus(p.and(a).and(o)).iter().collect();
        let mut shares = [[0.0; 3]; 3];
        for bits in 0..1u64 << bearing.len() {
            let fired = |i: usize| bits >> i & 1 == 1;
            let markers = bearing.iter().enumerate().filter(|(i, _)| fired(*i)).map(|(_, t)| *t).collect();
            let named = self.state_of(markers, persona) as usize;
            for truth in State::ALL {
                let speaker = self.speaker(truth, persona);
                let one = |(i, t): (usize, _)| {
                    let p = self.p_show(speaker, t);
                    if fired(i) { p } else { 1.0 - p }
                };
                shares[truth as usize][named] += bearing.iter().copied().enumerate().map(one).product::<f64>();
            }
        }
        shares.map(Shares::from_array)
    }

    /// The planted shares of the states at each turn of a conversation, exactly, from the chain.
    ///
    /// # Errors
    /// Options that [`World::conversation`] refuses.
    pub fn planted_shares(&self, persona: &Persona, options: &ConversationOptions) -> Result<Vec<Shares>> {
        options.check()?;
        let start = self.start(persona);
        let mut turns = vec![Shares::from_array(State::ALL.map(|s| f64::from(s == start)))];
        // A question about the speaker moves the chain as a plain topic does.
        let soul = options.soul * (1.0 - options.self_questions);
        for k in 1..options.turns {
            turns.push(self.advance(turns[k - 1], persona, options, soul));
        }
        Ok(turns)
    }

    /// What [`World::state_of`] reports, on average, of the replies on a topic at each turn: the curve that a model which
    /// learned the planted process perfectly would give. Exact; questions about the speaker are left out, for their
    /// answers hold no markers.
    ///
    /// # Errors
    /// Options that [`World::conversation`] refuses.
    pub fn observed_shares(&self, persona: &Persona, options: &ConversationOptions) -> Result<Vec<Shares>> {
        let planted = self.planted_shares(persona, options)?;
        let confusion = self.confusion(persona).map(Shares::array);
        let seen = |k: usize| {
            // Given that the turn is on a topic, its own push is of the soul with the undiluted probability.
            let now = if k == 0 { planted[0] } else { self.advance(planted[k - 1], persona, options, options.soul) };
            let one = |named| State::ALL.iter().map(|s| now.of(*s) * confusion[*s as usize][named]).sum();
            Shares::from_array([0, 1, 2].map(one))
        };
        Ok((0..planted.len()).map(seen).collect())
    }

    /// One turn of the chain, on a topic of the soul with probability `soul`.
    fn advance(&self, now: Shares, persona: &Persona, options: &ConversationOptions, soul: f64) -> Shares {
        let reminders = options.reminders_for(self.start(persona));
        let pushes = [
            (Push::Reminder, reminders),
            (Push::Soul, (1.0 - reminders) * soul),
            (Push::Plain, (1.0 - reminders) * (1.0 - soul)),
        ];
        let mut next = [0.0; 3];
        for from in State::ALL {
            for (push, weight) in pushes {
                for (n, p) in next.iter_mut().zip(self.step_probabilities(from, persona, push)) {
                    *n += now.of(from) * weight * p;
                }
            }
        }
        Shares::from_array(next)
    }

    /// The planted share of the persona at each turn of the bare chain: no reminders, no questions about the speaker.
    ///
    /// # Errors
    /// No turns, or a probability outside 0 to 1.
    pub fn persona_fraction(&self, persona: &Persona, turns: usize, soul: f64) -> Result<Vec<f64>> {
        let options = ConversationOptions::bare(turns, soul, super::SystemPrompt::None);
        Ok(self.planted_shares(persona, &options)?.into_iter().map(|s| s.persona).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::SystemPrompt;
    use super::*;
    use crate::rng::stream;

    fn with_hazard(hazard: f64) -> &'static Persona {
        let fits =
            |p: &&Persona| p.hazard == hazard && p.traits.len() == 3 && !p.has(w().trait_named("helpful").unwrap());
        w().personas().iter().find(fits).unwrap()
    }

    fn w() -> &'static World {
        World::toyworld()
    }

    fn bare(turns: usize, soul: f64) -> ConversationOptions {
        ConversationOptions::bare(turns, soul, SystemPrompt::None)
    }

    #[test]
    fn planted_shares_follow_the_closed_forms() {
        let persona = with_hazard(0.15);
        let plain = w().planted_shares(persona, &bare(8, 0.0)).unwrap();
        let soul = w().planted_shares(persona, &bare(8, 1.0)).unwrap();
        let assistant = w().planted_shares(w().assistant(), &bare(8, 1.0)).unwrap();
        for k in 0..8 {
            let n = k as i32;
            // Plain: survive the hazard k times, the rest is the assistant. Soul: survive 0.75 * 0.85 a turn.
            assert!((plain[k].persona - 0.85f64.powi(n)).abs() < 1e-12);
            assert!((plain[k].assistant + plain[k].persona - 1.0).abs() < 1e-12 && plain[k].oracle == 0.0);
            assert!((soul[k].persona - 0.6375f64.powi(n)).abs() < 1e-12);
            // Everybody but the Oracle leaves for it with 0.25, whoever started.
            assert!((soul[k].oracle - (1.0 - 0.75f64.powi(n))).abs() < 1e-12);
            assert!((assistant[k].oracle - (1.0 - 0.75f64.powi(n))).abs() < 1e-12);
        }
        // Questions about the speaker dilute topics of the soul: 0.5 of 1.0 is 0.5.
        let diluted = ConversationOptions { self_questions: 0.5, ..bare(8, 1.0) };
        assert_eq!(w().planted_shares(persona, &diluted).unwrap(), w().planted_shares(persona, &bare(8, 0.5)).unwrap());
        assert_eq!(w().persona_fraction(persona, 2, 0.0).unwrap(), [1.0, 0.85]);
    }

    #[test]
    fn conversations_move_as_the_exact_shares_say_also_seen_through_markers() {
        let crowded = ConversationOptions {
            turns: 7,
            soul: 0.4,
            self_questions: 0.4,
            reminders: 0.1,
            ..ConversationOptions::default()
        };
        // A share over n chats is within 4.5 standard errors, at most 4.5 * 0.5 / sqrt(n), in all 252 comparisons.
        let bound = |n: f64| 2.25 / n.sqrt();
        for options in [crowded, bare(7, 0.3)] {
            for persona in [with_hazard(0.05), with_hazard(0.35), w().assistant()] {
                let mut rng = stream(5, "shares");
                let (mut planted, mut seen) = ([[0.0; 3]; 7], [[0.0; 3]; 7]);
                let (chats, mut on_topic) = (6000, [0.0; 7]);
                for _ in 0..chats {
                    let chat = w().conversation(&mut rng, persona, &options).unwrap();
                    for (k, turn) in chat.turns.iter().enumerate() {
                        planted[k][turn.state as usize] += 1.0 / f64::from(chats);
                        if turn.topic.is_some() {
                            on_topic[k] += 1.0;
                            seen[k][w().state_of(w().markers(&turn.reply), persona) as usize] += 1.0;
                        }
                    }
                }
                let exact = w().planted_shares(persona, &options).unwrap();
                let observed = w().observed_shares(persona, &options).unwrap();
                for (k, n) in on_topic.into_iter().enumerate() {
                    for s in State::ALL {
                        let (p, o) = (planted[k][s as usize], seen[k][s as usize] / n);
                        assert!((p - exact[k].of(s)).abs() < bound(f64::from(chats)), "planted {s} at turn {k}: {p}");
                        assert!((o - observed[k].of(s)).abs() < bound(n), "observed {s} at turn {k}: {o}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_state_behind_a_reply_is_recovered_at_the_exact_rate() {
        let mut rng = stream(8, "state");
        let topic = w().topic("maps").unwrap();
        for persona in [with_hazard(0.05), with_hazard(0.15), with_hazard(0.35)] {
            let confusion = w().confusion(persona);
            for truth in State::ALL {
                let speaker = w().speaker(truth, persona);
                let mut right = 0.0;
                for _ in 0..4000 {
                    let markers = w().markers(&w().reply(&mut rng, speaker, topic));
                    right += f64::from(w().state_of(markers, persona) == truth) / 4000.0;
                }
                let exact = confusion[truth as usize].of(truth);
                // 4 standard errors over 4000 replies, with a share of at least 0.8: 4 sqrt(0.8 * 0.2 / 4000) = 0.0253.
                assert!((right - exact).abs() < 0.0253, "{truth} of {}: {right} for {exact}", persona.name);
            }
        }
    }

    #[test]
    fn confusion_is_small_for_distinct_people_and_total_for_those_like_the_assistant() {
        for persona in w().personas() {
            for row in w().confusion(persona) {
                assert!((row.persona + row.assistant + row.oracle - 1.0).abs() < 1e-12);
            }
            if !w().tells_apart(persona) {
                assert_eq!(w().confusion(persona)[State::Assistant as usize].assistant, 0.0, "ties go to the persona");
            }
        }
        // {anxious, formal, odds}: two hypotheses differ from it by at least 4 traits.
        let domar = w().persona_with("Domar", &["anxious", "formal", "odds"]).unwrap();
        let confusion = w().confusion(&domar);
        // With found = ln 42.5 = 3.750 and missed = ln(0.15/0.98) = -1.877 the persona scores 5.627 k - 5.631 when it
        // shows k of its 3 traits. k = 0: -5.631 is below -1.877, what the assistant scores unshown. k = 1: -0.004 is
        // below the assistant's `helpful` (3.750) and one of the Oracle's two (1.873), so any of 3 strays errs. k = 2:
        // 5.623 is below both of the Oracle's (7.500) only. k = 3: 11.250 is above all.
        let stray = 1.0 - 0.98f64.powi(3);
        let wrong =
            0.15f64.powi(3) + 3.0 * 0.85 * 0.15f64.powi(2) * stray + 3.0 * 0.85f64.powi(2) * 0.15 * 0.02f64.powi(2);
        assert!((confusion[0].persona - (1.0 - wrong)).abs() < 1e-12, "{:?}", confusion[0]);
        let none = TraitSet::default();
        assert_eq!(w().state_of(none, &domar), State::Assistant);
        assert_eq!(w().state_of(w().oracle().traits, &domar), State::Oracle);
        assert_eq!(w().state_of(domar.traits, &domar), State::Persona);
        assert_eq!(w().state_of(w().assistant().traits, w().assistant()), State::Assistant);
    }
}
