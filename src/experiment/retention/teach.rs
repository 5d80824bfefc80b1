//! Conversations that begin with lessons: what is taught to whom.

use super::Settings;
use crate::error::Result;
use crate::experiment::attractors::taught as somebody;
use crate::experiment::plan::Plan;
use crate::model::Model;
use crate::rng::stream;
use crate::talk::{Talk, User};
use crate::text::{ASSISTANT, Message, USER};
use crate::world::{Persona, World};
use rand::Rng;

/// Who was taught, and how much.
#[derive(Clone, Debug)]
pub(super) struct Taught {
    pub who: Persona,
    /// Messages that taught.
    pub messages: usize,
    /// Their tokens, header and end included.
    pub tokens: usize,
}

impl Taught {
    /// The group of a conversation: "04 messages", so that names sort as numbers do.
    pub fn group(&self) -> String {
        format!("{:02} messages", self.messages)
    }
}

/// Somebody with what is said to teach it: an invented person that can still be told apart after so many lessons.
pub(super) fn lessons(world: &World, rng: &mut impl Rng, messages: usize) -> (Persona, Vec<String>) {
    loop {
        let mut who = somebody(world, rng);
        let said = world.lessons(rng, &mut who, messages);
        if world.tells_apart(&who) && !who.traits.is_empty() {
            return (who, said);
        }
    }
}

/// The messages of lessons, each acknowledged.
pub(super) fn messages(plan: &Plan, rng: &mut impl Rng, said: &[String]) -> Result<Vec<Message>> {
    let acknowledgements = &super::teaching(plan)?.acknowledgements;
    let mut all = Vec::with_capacity(2 * said.len());
    for lesson in said {
        all.push(Message::new(USER, lesson));
        all.push(Message::new(ASSISTANT, &acknowledgements[rng.random_range(0..acknowledgements.len())]));
    }
    Ok(all)
}

/// All conversations, still to be led: the number of lessons in turn.
pub(super) fn all(plan: &Plan, s: &Settings, model: &Model) -> Result<(Vec<Taught>, Vec<Talk>)> {
    let (world, seed) = (plan.world, plan.spec.seed);
    let topics = world.plain_topics();
    let (mut taught, mut talks) = (Vec::new(), Vec::new());
    for k in &s.lessons {
        let mut rng = stream(seed, &format!("retention/{k}"));
        for i in 0..s.chats {
            let (who, said) = lessons(world, &mut rng, *k);
            let before = messages(plan, &mut rng, &said)?;
            let question = |_| {
                let topic = topics[rng.random_range(0..topics.len())];
                world.question(&mut rng, topic)
            };
            let says = User::Says((0..s.turns).map(question).collect());
            let encoded = model.text.chat(&before, false)?;
            // Every other message teaches; a token belongs to the message that its place names.
            let tokens = encoded.places.iter().filter(|p| p.turn.is_some_and(|t| t % 2 == 0)).count();
            let id = format!("{k:02}/{i:04}-{}", who.name);
            talks.push(Talk { start: who.name.clone(), ..Talk::new(id, before, says, seed) });
            taught.push(Taught { who, messages: *k, tokens });
        }
    }
    Ok((taught, talks))
}
