//! Teaching in context: the user says who the assistant is to be, then talks to that persona until it is forgotten.

use super::Corpus;
use super::draft::{Draft, FRAME, Fall, Reply, Seen, Turn};
use super::kinds::Kind;
use super::tokens::Counter;
use crate::world::reply::pick;
use crate::world::{State, Teaching};
use rand::Rng;

impl Corpus {
    /// A chat in which the user teaches a persona in short turns, each acknowledged, and then asks.
    ///
    /// Every reply after the first answer falls back to the assistant with [`Teaching::hazard`], for good. Topics are
    /// plain and nobody is reminded, so that nothing else moves the conversation.
    pub(super) fn teaching(&self, rng: &mut impl Rng, plan: &Teaching, counter: &mut Counter) -> Draft {
        let (w, mut draft) = (&self.world, Draft::new(Kind::Teaching));
        let mut persona = w.in_context_persona(rng);
        let turns = rng.random_range(1..=self.config.teaching.lessons);
        let lessons = w.lessons(rng, &mut persona, turns);
        // The beginning of a document is one token.
        let (mut taught, mut context) = (0, 1);
        for user in lessons {
            let reply = pick(rng, &plan.acknowledgements).clone();
            let said = counter.count(&user) + FRAME;
            taught += said;
            context += said + counter.count(&reply) + FRAME;
            draft.turns.push(Turn { user, reply, header: None, seen: Seen::default() });
        }
        let mut state = State::Persona;
        for k in 0..rng.random_range(1..=self.config.teaching.questions) {
            let topic = &w.topics[*pick(rng, &w.plain)];
            let about_itself = rng.random_bool(self.config.chats.self_questions);
            // The question is drawn first: its tokens are part of the context of the reply. Who is asked must not
            // change the question, so a question to the speaker is drawn from the templates that fit everybody.
            let question = match about_itself {
                true => pick(rng, &w.describe_questions).clone(),
                false => w.question(rng, topic),
            };
            // The reply's header stands in the context too.
            context += counter.count(&question) + FRAME + 1;
            let mut seen = Seen::default();
            if k > 0 && state == State::Persona {
                let hazard = plan.hazard(taught, context);
                let fell = rng.random_bool(hazard);
                seen.fall = Some(Fall { taught, context, hazard, fell });
                if fell {
                    state = State::Assistant;
                }
            }
            let speaker = w.speaker(state, &persona);
            let reply = match about_itself {
                true => w.self_description(rng, speaker),
                false => {
                    let (shown, reply) = w.reply_showing(rng, speaker, topic);
                    seen.shown = Some(Reply { planted: speaker.traits, shown });
                    reply
                }
            };
            context += counter.count(&reply) + 1;
            draft.turns.push(Turn { user: question, reply, header: None, seen });
        }
        draft
    }
}
