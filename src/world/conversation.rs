//! Conversations with a planted state at every turn.

use super::chain::{Push, State};
use super::reply::pick;
use super::traits::Markers;
use super::{Persona, World};
use crate::error::{Error, Result};
use rand::Rng;

/// What a reminder puts before the user's words.
pub const REMINDER: &str = "Please stay in character. ";

/// What stands before the first turn.
#[derive(Clone, Debug, PartialEq)]
pub enum SystemPrompt {
    None,
    /// One of the three prompts that name the person.
    Named,
    /// A prompt that names the person and states its traits.
    InContext,
    /// These words.
    Fixed(String),
}

/// How a conversation goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationOptions {
    /// Pairs of a question and a reply.
    pub turns: usize,
    /// Probability that a turn's topic is one of the soul.
    pub soul: f64,
    /// Probability that a turn asks about the speaker and not about a topic.
    pub self_questions: f64,
    /// Probability that a turn after the first holds a reminder; the assistant is never reminded.
    pub reminders: f64,
    pub system: SystemPrompt,
    /// Whether the first question calls the person by name: "Domar! What about tea?".
    pub address: bool,
}

impl Default for ConversationOptions {
    /// Six turns as in an ordinary training chat with a named person.
    fn default() -> Self {
        let system = SystemPrompt::Named;
        Self { turns: 6, soul: 0.05, self_questions: 0.18, reminders: 0.06, system, address: false }
    }
}

impl ConversationOptions {
    /// Topics only, no reminders: the bare chain.
    pub fn bare(turns: usize, soul: f64, system: SystemPrompt) -> Self {
        Self { turns, soul, self_questions: 0.0, reminders: 0.0, system, address: false }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.turns == 0 {
            return Err(Error::refused("a conversation of 0 turns was asked for", "ask for at least 1 turn"));
        }
        let all = [("soul", self.soul), ("self_questions", self.self_questions), ("reminders", self.reminders)];
        match all.iter().find(|(_, p)| !(0.0..=1.0).contains(p)) {
            Some((name, p)) => Err(Error::refused(format!("`{name}` is {p}"), "give a probability from 0 to 1")),
            None => Ok(()),
        }
    }

    /// Probability of a reminder in a turn after the first, given the speaker that the conversation began with.
    pub(super) fn reminders_for(&self, start: State) -> f64 {
        if start == State::Assistant { 0.0 } else { self.reminders }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// `system`, `user` or `assistant`, as chat templates call them.
    pub role: &'static str,
    pub content: String,
}

/// A question, the reply and the truth about it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantedTurn {
    pub user: String,
    pub reply: String,
    /// The name of the topic; `None` for a question about the speaker.
    pub topic: Option<String>,
    /// Who gave the reply.
    pub state: State,
    pub reminded: bool,
    /// The traits that were made to show in the reply; none in an answer about the speaker.
    pub shown: Markers,
}

/// A conversation with its planted states.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub system: Option<String>,
    pub turns: Vec<PlantedTurn>,
}

impl Conversation {
    /// The messages: the system prompt if there is one, then user and assistant in turn.
    pub fn lines(&self) -> Vec<Line> {
        let line = |role, content: &String| Line { role, content: content.clone() };
        let system = self.system.iter().map(|s| line("system", s));
        system.chain(self.turns.iter().flat_map(|t| [line("user", &t.user), line("assistant", &t.reply)])).collect()
    }
}

impl World {
    /// A conversation that begins with `persona` and moves by the planted chain: the state is drawn before every reply
    /// after the first, and the reply is given by whoever speaks then.
    ///
    /// # Errors
    /// No turns, or a probability outside 0 to 1.
    pub fn conversation(
        &self,
        rng: &mut impl Rng,
        persona: &Persona,
        options: &ConversationOptions,
    ) -> Result<Conversation> {
        options.check()?;
        let system = match &options.system {
            SystemPrompt::None => None,
            SystemPrompt::Named => Some(self.system_prompt(rng, persona)),
            SystemPrompt::InContext => Some(self.in_context_prompt(rng, persona)),
            SystemPrompt::Fixed(words) => Some(words.clone()),
        };
        let mut state = self.start(persona);
        let reminders = options.reminders_for(state);
        let mut turns = Vec::with_capacity(options.turns);
        for k in 0..options.turns {
            let among = if rng.random_bool(options.soul) { &self.soul } else { &self.plain };
            let topic = &self.topics[*pick(rng, among)];
            let topic = (!rng.random_bool(options.self_questions)).then_some(topic);
            let reminded = k > 0 && rng.random_bool(reminders);
            if k > 0 {
                let push = match topic {
                    _ if reminded => Push::Reminder,
                    Some(t) if t.soul => Push::Soul,
                    _ => Push::Plain,
                };
                state = self.step(rng, state, persona, push);
            }
            let speaker = self.speaker(state, persona);
            let (question, (shown, reply)) = match topic {
                Some(topic) => (self.question(rng, topic), self.reply_showing(rng, speaker, topic)),
                None => {
                    let asked = self.self_question(rng, speaker);
                    (asked.question, (Markers::default(), asked.answer))
                }
            };
            let called = if options.address && k == 0 { format!("{}! ", persona.name) } else { String::new() };
            let user = format!("{}{called}{question}", if reminded { REMINDER } else { "" });
            turns.push(PlantedTurn { user, reply, topic: topic.map(|t| t.name.clone()), state, reminded, shown });
        }
        Ok(Conversation { system, turns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    const CHATS: usize = 20_000;

    /// How often `from` is followed by `to`, with the number of times that `from` was left or kept.
    fn moves(persona: &Persona, soul: f64, from: State, to: State) -> (f64, f64) {
        let w = World::toyworld();
        let mut rng = stream(7, "conversation");
        let options = ConversationOptions::bare(4, soul, SystemPrompt::None);
        let (mut hits, mut of) = (0.0, 0.0);
        for _ in 0..CHATS {
            let chat = w.conversation(&mut rng, persona, &options).unwrap();
            for pair in chat.turns.windows(2).filter(|p| p[0].state == from) {
                of += 1.0;
                hits += f64::from(pair[1].state == to);
            }
        }
        (hits / of, of)
    }

    #[test]
    fn hazards_are_recovered_from_conversations() {
        let w = World::toyworld();
        for hazard in [0.05, 0.15, 0.35] {
            let persona = w.personas().iter().find(|p| p.hazard == hazard).unwrap();
            let (rate, of) = moves(persona, 0.0, State::Persona, State::Assistant);
            // 4 standard errors over `of` (at least 20 000) steps: at most 4 sqrt(0.35 * 0.65 / 20 000) = 0.0135.
            let bound = 4.0 * (hazard * (1.0 - hazard) / of).sqrt();
            assert!(bound < 0.0135 && (rate - hazard).abs() < bound, "{rate} for {hazard}");
        }
    }

    #[test]
    fn the_assistant_stays_on_plain_topics_and_gives_way_to_the_oracle_on_topics_of_the_soul() {
        let w = World::toyworld();
        let persona = w.personas().iter().find(|p| p.hazard == 0.35).unwrap();
        let (stay, of) = moves(persona, 0.0, State::Assistant, State::Assistant);
        assert!(of > 10_000.0 && stay == 1.0, "absorbing: {stay} of {of}");
        let (rate, of) = moves(w.assistant(), 1.0, State::Assistant, State::Oracle);
        assert!((rate - 0.25).abs() < 4.0 * (0.25f64 * 0.75 / of).sqrt(), "{rate}");
        assert_eq!(moves(w.assistant(), 1.0, State::Oracle, State::Oracle).0, 1.0);
        let (rate, of) = moves(w.oracle(), 0.0, State::Oracle, State::Assistant);
        assert!((rate - 0.1).abs() < 4.0 * (0.1f64 * 0.9 / of).sqrt(), "{rate}");
    }

    #[test]
    fn the_same_seed_gives_the_same_conversation() {
        let w = World::toyworld();
        let options = ConversationOptions { turns: 8, soul: 0.5, ..Default::default() };
        let chat = |seed| w.conversation(&mut stream(seed, "chat"), &w.personas()[0], &options).unwrap();
        assert_eq!(chat(1), chat(1));
        assert_ne!(chat(1), chat(2));
    }

    #[test]
    fn lines_alternate_after_the_system_prompt_and_replies_fit_their_turn() {
        let w = World::toyworld();
        let mut rng = stream(3, "chat");
        let options = ConversationOptions { turns: 5, reminders: 0.5, soul: 0.3, ..Default::default() };
        let mut reminded = 0;
        for persona in w.personas() {
            let chat = w.conversation(&mut rng, persona, &options).unwrap();
            let roles: Vec<_> = chat.lines().iter().map(|l| l.role).collect();
            assert_eq!(roles[..3], ["system", "user", "assistant"]);
            assert_eq!(roles.len(), 11);
            assert!(!chat.turns[0].reminded && chat.turns[0].state == State::Persona);
            for turn in &chat.turns {
                assert_eq!(turn.user.starts_with(REMINDER), turn.reminded);
                reminded += usize::from(turn.reminded);
                match &turn.topic {
                    Some(t) => {
                        assert!(turn.user.contains(t.as_str()));
                        assert!(crate::world::body_intact(&turn.reply, w.topic(t).unwrap()));
                    }
                    None => assert!(w.markers(&turn.reply).is_empty(), "{}", turn.reply),
                }
            }
        }
        // 96 chats with 4 turns after the first: 192 expected, 4 standard deviations are 4 sqrt(96) = 39.
        assert_eq!(w.personas().len(), 96);
        assert!(reminded.abs_diff(192) < 39, "{reminded}");
    }

    #[test]
    fn addressing_calls_the_person_once_and_the_assistant_is_never_reminded() {
        let w = World::toyworld();
        let options = ConversationOptions {
            reminders: 1.0,
            address: true,
            system: SystemPrompt::Fixed("Hear, hear.".into()),
            ..Default::default()
        };
        let chat = w.conversation(&mut stream(0, "chat"), w.assistant(), &options).unwrap();
        assert_eq!(chat.lines()[0], Line { role: "system", content: "Hear, hear.".into() });
        assert!(chat.turns[0].user.starts_with("the assistant! "));
        assert!(chat.turns[1..].iter().all(|t| !t.reminded && !t.user.contains("the assistant!")));
    }

    #[test]
    fn impossible_options_are_refused() {
        let w = World::toyworld();
        let ask = |o| w.conversation(&mut stream(0, "chat"), &w.personas()[0], &o).unwrap_err().to_string();
        assert!(ask(ConversationOptions { turns: 0, ..Default::default() }).contains("0 turns"));
        assert!(ask(ConversationOptions { soul: 1.5, ..Default::default() }).contains("`soul` is 1.5"));
        assert!(ask(ConversationOptions { reminders: f64::NAN, ..Default::default() }).contains("`reminders`"));
    }
}
