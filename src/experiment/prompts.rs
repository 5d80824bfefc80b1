//! Who is asked what: the prompts that several probes share, so that they share units of work too.

use crate::acts::RowKey;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::rng::stream;
use crate::text::{Encoded, Message};
use crate::unit::{Item, parallel};
use crate::world::{Exposure, Persona, Topic, World};
use rand::seq::SliceRandom;

/// A question on a plain topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub topic: String,
    pub text: String,
}

/// The first `n` plain-topic questions under a seed, on different topics. A longer list begins with the shorter one.
pub(crate) fn questions(world: &World, seed: u64, n: usize) -> Result<Vec<Question>> {
    let mut rng = stream(seed, "questions");
    let mut topics: Vec<&Topic> = world.plain_topics();
    if n == 0 || n > topics.len() {
        return Err(Error::refused(
            format!("{n} questions on different plain topics were asked for"),
            format!("this world has {} plain topics: ask for 1 to {0} questions in all", topics.len()),
        ));
    }
    topics.shuffle(&mut rng);
    let one = |t: &&Topic| Question { topic: t.name.clone(), text: world.question(&mut rng, t) };
    Ok(topics[..n].iter().map(one).collect())
}

/// The first `most` personas of a group; all when `None`.
pub(crate) fn personas(world: &World, group: Exposure, most: Option<usize>) -> Result<Vec<&Persona>> {
    let all = world.personas_in(group);
    let n = most.unwrap_or(all.len());
    if n == 0 || n > all.len() {
        return Err(Error::refused(
            format!("{n} personas of the group `{group}` were asked for"),
            format!("this world has {} of them", all.len()),
        ));
    }
    Ok(all[..n].to_vec())
}

/// "You are X.", as the planted conversations of every probe begin.
pub(crate) fn system(world: &World, persona: &Persona) -> String {
    world.named_prompts(persona)[0].clone()
}

/// One prompt, ready to be captured or continued, with the key of its row.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub key: RowKey,
    pub tokens: Vec<u32>,
}

impl Prompt {
    /// The item that keeps the last prompt token.
    pub fn last_token(&self) -> Item {
        let last = self.tokens.len() - 1;
        Item { ranges: std::iter::once(last..last + 1).collect(), ..self.start(0) }
    }

    /// The item that is continued.
    pub fn start(&self, seed: u64) -> Item {
        let (id, tokens) = (self.key.id.clone(), self.tokens.clone());
        Item { id, prompt_len: tokens.len(), tokens, seed, ..Item::default() }
    }

    /// The item that keeps the mean over a reply to it, token for token as it was drawn.
    pub fn with_reply(&self, reply: &[u32]) -> Item {
        let from = self.tokens.len();
        let range = std::iter::once(from..from + reply.len()).collect();
        Item { tokens: [&self.tokens, reply].concat(), ranges: range, ..self.start(0) }
    }
}

/// Every persona asked every question, persona after persona.
pub(crate) fn persona_prompts(
    model: &Model,
    world: &World,
    personas: &[&Persona],
    questions: &[Question],
    threads: usize,
) -> Result<Vec<Prompt>> {
    let pairs: Vec<(&Persona, usize)> =
        personas.iter().flat_map(|p| (0..questions.len()).map(move |q| (*p, q))).collect();
    parallel(&pairs, threads, |(persona, q)| {
        let messages = [Message::new("system", system(world, persona)), Message::new("user", &questions[*q].text)];
        prompt(model, format!("{}/{q}", persona.name), persona.name.clone(), &messages)
    })
}

/// The default assistant, with no system prompt, asked every question `draws` times.
pub(crate) fn default_prompts(model: &Model, name: &str, questions: &[Question], draws: usize) -> Result<Vec<Prompt>> {
    let mut all = Vec::with_capacity(questions.len() * draws);
    for draw in 0..draws {
        for (q, question) in questions.iter().enumerate() {
            let messages = [Message::new("user", &question.text)];
            all.push(prompt(model, format!("{name}/{q}/{draw}"), name.into(), &messages)?);
        }
    }
    Ok(all)
}

fn prompt(model: &Model, id: String, group: String, messages: &[Message]) -> Result<Prompt> {
    let Encoded { tokens, .. } = model.text.chat(messages, true)?;
    let pos = Some(tokens.len().saturating_sub(1));
    Ok(Prompt { key: RowKey { id, group, turn: None, pos }, tokens })
}
