//! Chats: one persona and the chain, and questions about people.

use super::Corpus;
use super::draft::{Draft, Hazard, Reply, Seen, Step, Turn};
use super::kinds::Kind;
use crate::error::Result;
use crate::world::chain::{Push, State};
use crate::world::conversation::PlantedTurn;
use crate::world::reply::pick;
use crate::world::{ConversationOptions, Persona, SystemPrompt, Voice};
use rand::Rng;

/// Shares of the questions about somebody: yes or no, what is it like; the rest is who is it.
pub(super) const P_TRAIT: f64 = 0.75;
pub(super) const P_LIKE: f64 = 0.15;
/// The most questions about people in one document, and the most turns behind a first-person text.
const QUESTIONS: usize = 4;
const AFTER_TEXT: usize = 3;

impl Corpus {
    /// A chat in the default slot.
    pub(super) fn assistant(&self, rng: &mut impl Rng) -> Result<Draft> {
        let person = self.default_speaker(rng);
        let mut draft = self.chat(rng, Kind::Assistant, person, SystemPrompt::None, None)?;
        draft.default_slot = Some(person.is_none());
        Ok(draft)
    }

    /// Who takes the default slot: `None` is the assistant.
    pub(super) fn default_speaker(&self, rng: &mut impl Rng) -> Option<usize> {
        (!rng.random_bool(self.world.default_slot)).then(|| *pick(rng, &self.groups.all))
    }

    pub(super) fn named(&self, rng: &mut impl Rng) -> Result<Draft> {
        let person = *pick(rng, &self.groups.acting);
        self.chat(rng, Kind::Named, Some(person), SystemPrompt::Named, None)
    }

    pub(super) fn addressed(&self, rng: &mut impl Rng) -> Result<Draft> {
        let person = *pick(rng, &self.groups.acting);
        self.chat(rng, Kind::Addressed, Some(person), SystemPrompt::None, None)
    }

    pub(super) fn in_context(&self, rng: &mut impl Rng) -> Result<Draft> {
        let persona = self.world.in_context_persona(rng);
        let mut draft = Draft::new(Kind::InContext);
        self.talk(rng, &mut draft, &persona, SystemPrompt::InContext, None)?;
        Ok(draft)
    }

    /// A first-person text, then a short chat with its speaker, who is of the population or invented.
    pub(super) fn first_person_chat(&self, rng: &mut impl Rng) -> Result<Draft> {
        let turns = Some(rng.random_range(1..=AFTER_TEXT));
        let mut draft = Draft::new(Kind::FirstPersonChat);
        let persona = match rng.random_bool(0.5) {
            true => self.world.in_context_persona(rng),
            false => {
                let i = *pick(rng, &self.groups.all);
                draft.person = Some(i);
                self.world.personas[i].clone()
            }
        };
        draft.lead = Some(self.world.monologue(rng, &persona, true));
        self.talk(rng, &mut draft, &persona, SystemPrompt::None, turns)?;
        Ok(draft)
    }

    /// The assistant answers 1 to 4 questions about people.
    pub(super) fn questions(&self, rng: &mut impl Rng) -> Draft {
        let mut draft = Draft::new(Kind::Questions);
        for _ in 0..rng.random_range(1..=QUESTIONS) {
            let i = *pick(rng, &self.groups.asked);
            let persona = &self.world.personas[i];
            let asked = match rng.random::<f64>() {
                u if u < P_TRAIT => self.world.balanced_question(rng, Voice::Third, persona),
                u if u < P_TRAIT + P_LIKE => self.world.what_is_it_like(rng, persona),
                _ => match self.world.who_is(persona) {
                    Some(asked) => asked,
                    None => self.world.what_is_it_like(rng, persona),
                },
            };
            let seen = Seen { asked: Some(i), ..Seen::default() };
            draft.turns.push(Turn { user: asked.question, reply: asked.answer, header: None, seen });
        }
        draft
    }

    /// A chat with somebody of the population; `None` is the assistant.
    fn chat(
        &self,
        rng: &mut impl Rng,
        kind: Kind,
        person: Option<usize>,
        system: SystemPrompt,
        turns: Option<usize>,
    ) -> Result<Draft> {
        let mut draft = Draft::new(kind);
        draft.person = person;
        let persona = person.map_or(&self.world.assistant, |i| &self.world.personas[i]);
        self.talk(rng, &mut draft, persona, system, turns)?;
        Ok(draft)
    }

    /// Adds a conversation to a draft.
    fn talk(
        &self,
        rng: &mut impl Rng,
        draft: &mut Draft,
        persona: &Persona,
        system: SystemPrompt,
        turns: Option<usize>,
    ) -> Result<()> {
        let c = &self.config.chats;
        let turns = turns.unwrap_or_else(|| self.turn_count(rng));
        let soul = if rng.random_bool(c.soul_chats) { c.soul_inside } else { c.soul_outside };
        let address = draft.kind == Kind::Addressed;
        let options = ConversationOptions {
            turns,
            soul,
            self_questions: c.self_questions,
            reminders: c.reminders,
            system,
            address,
        };
        let chat = self.world.conversation(rng, persona, &options)?;
        let hazard = self.hazard_of(persona, draft.person);
        let mut before = None;
        for turn in chat.turns {
            let state = turn.state;
            draft.turns.push(self.planted(turn, persona, before, hazard));
            before = Some(state);
        }
        draft.system = chat.system;
        Ok(())
    }

    /// A turn of a conversation with its truth.
    fn planted(&self, turn: PlantedTurn, persona: &Persona, before: Option<State>, hazard: Hazard) -> Turn {
        let planted = self.world.speaker(turn.state, persona).traits;
        let soul = |name: &String| self.world.topics.iter().any(|t| t.soul && t.name == *name);
        let push = match &turn.topic {
            _ if turn.reminded => Push::Reminder,
            Some(name) if soul(name) => Push::Soul,
            _ => Push::Plain,
        };
        let shown = turn.topic.is_some().then_some(Reply { planted, shown: turn.shown });
        let step = before.map(|from| Step { push, from, to: turn.state, start: self.world.start(persona), hazard });
        Turn { user: turn.user, reply: turn.reply, header: None, seen: Seen { shown, step, ..Seen::default() } }
    }

    /// The planted hazard of a persona that begins a conversation.
    pub(super) fn hazard_of(&self, persona: &Persona, person: Option<usize>) -> Hazard {
        match person {
            Some(_) => {
                let place = self.config.population.hazards.iter().position(|h| *h == persona.hazard);
                place.map_or(Hazard::None, Hazard::Population)
            }
            None if self.world.start(persona) == State::Persona => Hazard::InContext,
            None => Hazard::None,
        }
    }
}
