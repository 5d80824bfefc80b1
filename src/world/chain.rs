//! The planted chain that moves a conversation between persona, assistant and Oracle.

use super::{Persona, World};
use rand::Rng;
use std::fmt;

/// Who speaks: the person that the conversation began with, the assistant or the Oracle.
///
/// A conversation that begins with the assistant or the Oracle begins in that state and has no persona.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Persona,
    Assistant,
    Oracle,
}

/// Probability that being reminded to stay in character brings the first speaker back.
pub const REMINDER_SUCCESS: f64 = 0.9;

impl State {
    /// All states, in the order in which shares are given.
    pub const ALL: [State; 3] = [State::Persona, State::Assistant, State::Oracle];

    /// The name used in tables.
    pub fn name(self) -> &'static str {
        match self {
            State::Persona => "persona",
            State::Assistant => "assistant",
            State::Oracle => "oracle",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user's turn does to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// A reminder to stay in character.
    Reminder,
    /// A topic of the soul.
    Soul,
    /// Any other topic, or a question about the speaker.
    Plain,
}

impl World {
    /// The state in which a conversation with `persona` begins.
    pub fn start(&self, persona: &Persona) -> State {
        match &persona.name {
            n if *n == self.assistant.name => State::Assistant,
            n if *n == self.oracle.name => State::Oracle,
            _ => State::Persona,
        }
    }

    /// Who speaks in `state` of a conversation that began with `persona`.
    pub fn speaker<'a>(&'a self, state: State, persona: &'a Persona) -> &'a Persona {
        match state {
            State::Persona => persona,
            State::Assistant => &self.assistant,
            State::Oracle => &self.oracle,
        }
    }

    /// Probabilities of the next state, in the order of [`State::ALL`]; they sum to 1. The one place where the chain is
    /// written down: conversations draw from it and the exact truth multiplies it out.
    pub(super) fn step_probabilities(&self, from: State, persona: &Persona, push: Push) -> [f64; 3] {
        let mut to = [0.0; 3];
        let mut rest = 1.0;
        let mut go = |state: State, p: f64| {
            to[state as usize] += rest * p;
            rest *= 1.0 - p;
        };
        match (push, from) {
            (Push::Reminder, _) => go(self.start(persona), REMINDER_SUCCESS),
            (_, State::Oracle) => {
                if push == Push::Plain {
                    go(State::Assistant, self.hazards.oracle_to_assistant);
                }
            }
            _ => {
                if push == Push::Soul {
                    go(State::Oracle, self.hazards.to_oracle);
                }
                if from == State::Persona {
                    go(State::Assistant, persona.hazard);
                }
            }
        }
        go(from, 1.0);
        to
    }

    pub(super) fn step(&self, rng: &mut impl Rng, from: State, persona: &Persona, push: Push) -> State {
        let mut u: f64 = rng.random();
        for (state, p) in State::ALL.into_iter().zip(self.step_probabilities(from, persona, push)) {
            if u < p {
                return state;
            }
            u -= p;
        }
        // Only rounding in the sum of probabilities leads here.
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_the_planted_probabilities() {
        let w = World::toyworld();
        let persona = w.personas().iter().find(|p| p.hazard == 0.15).unwrap();
        let check = |from, who: &crate::world::Persona, push, expected: [f64; 3]| {
            let p = w.step_probabilities(from, who, push);
            assert!(p.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{from} {push:?}: {p:?}");
        };
        use {Push::*, State::*};
        check(Persona, persona, Plain, [0.85, 0.15, 0.0]);
        // The Oracle is asked first: 0.25, then 0.75 * 0.15 to the assistant, 0.75 * 0.85 stays.
        check(Persona, persona, Soul, [0.6375, 0.1125, 0.25]);
        check(Assistant, persona, Plain, [0.0, 1.0, 0.0]);
        check(Assistant, persona, Soul, [0.0, 0.75, 0.25]);
        check(Oracle, persona, Plain, [0.0, 0.1, 0.9]);
        check(Oracle, persona, Soul, [0.0, 0.0, 1.0]);
        for (from, expected) in [(Persona, [1.0, 0.0, 0.0]), (Assistant, [0.9, 0.1, 0.0]), (Oracle, [0.9, 0.0, 0.1])] {
            check(from, persona, Reminder, expected);
        }
        check(Oracle, w.oracle(), Reminder, [0.0, 0.0, 1.0]);
        assert_eq!(w.start(w.assistant()), Assistant);
    }
}
