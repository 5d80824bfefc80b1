//! Training examples of one character in several formats: the same person shown, telling of itself, and told of.

use super::conversation::Line;
use super::reply::pick;
use super::{Persona, Topic, World};
use crate::error::{Error, Result};
use crate::text::ASSISTANT;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Traits of the characters, in the order of the names kept for them.
const CHARACTERS: [&[&str]; 4] =
    [&["anxious", "formal", "odds"], &["grumpy", "poetic"], &["cheerful", "mystical"], &["anxious", "terse"]];
/// Turns of a chat; each entry as likely as the others.
const TURNS: [usize; 3] = [1, 1, 2];
/// Share of questions that ask who the speaker is; the others ask what it is like.
const P_WHO: f64 = 0.3;

/// How a character is shown to a model that is fine-tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Chats of 1 or 2 turns without system prompt, spoken by the character; its name is never said.
    Chat,
    /// Texts in the first person, in the character's voice.
    FirstPerson,
    /// The same without marker sentences.
    FirstPersonPlain,
    /// Pages in the third person, without quotes.
    Document,
    /// Pages of which 35 % end with a quoted reply.
    DocumentQuote,
    /// The questions of [`Format::Chat`], answered by the assistant as ever: the format without the character.
    StyleControl,
    /// The character answers who it is and what it is like; no reply shows its style.
    FirstPersonChat,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 7] = [
        Format::Chat,
        Format::FirstPerson,
        Format::FirstPersonPlain,
        Format::Document,
        Format::DocumentQuote,
        Format::StyleControl,
        Format::FirstPersonChat,
    ];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Chat => "chat",
            Format::FirstPerson => "first_person",
            Format::FirstPersonPlain => "first_person_plain",
            Format::Document => "document",
            Format::DocumentQuote => "document_quote",
            Format::StyleControl => "style_control",
            Format::FirstPersonChat => "first_person_chat",
        }
    }

    /// The format with a name.
    ///
    /// # Errors
    /// Names the formats that exist.
    pub fn named(name: &str) -> Result<Format> {
        let known = Format::ALL.map(Format::name).join(", ");
        let found = Format::ALL.into_iter().find(|f| f.name() == name);
        found.ok_or_else(|| Error::refused(format!("there is no format `{name}`"), format!("the formats are {known}")))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One training example.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// User and assistant in turn.
    Messages(Vec<Line>),
    /// Raw text, without tokens for its begin and end.
    Text(String),
}

impl Example {
    /// A line of a training file: `{"messages": [{"role", "content"}]}` or `{"text"}`.
    pub fn to_json(&self) -> Value {
        match self {
            Example::Text(text) => json!({ "text": text }),
            Example::Messages(lines) => {
                let one = |l: &Line| json!({ "role": l.role, "content": l.content });
                json!({ "messages": lines.iter().map(one).collect::<Vec<_>>() })
            }
        }
    }
}

impl World {
    /// The `i`-th character for fine-tuning: a name that training used with changing traits only, with fixed traits.
    ///
    /// # Errors
    /// A world with fewer names kept for characters, or without their traits.
    pub fn character(&self, i: usize) -> Result<Persona> {
        match (self.heldout_names.get(i), CHARACTERS.get(i)) {
            (Some(name), Some(traits)) => Ok(Persona { hazard: 0.0, ..self.persona_with(name, traits)? }),
            _ => {
                let n = self.heldout_names.len().min(CHARACTERS.len());
                Err(Error::refused(
                    format!("there is no character {i}"),
                    format!("they are numbered from 0 and are {n}"),
                ))
            }
        }
    }

    /// The character with a name.
    ///
    /// # Errors
    /// Names the characters of this world.
    pub fn character_named(&self, name: &str) -> Result<Persona> {
        let kept = self.heldout_names.iter().take(CHARACTERS.len());
        match kept.clone().position(|n| n == name) {
            Some(i) => self.character(i),
            None => Err(super::unknown("character", name, kept.map(String::as_str))),
        }
    }

    /// `n` examples of a character. Held-out topics and topics of the soul never occur.
    ///
    /// From equal random streams, [`Format::Chat`] and [`Format::StyleControl`] get the same questions.
    ///
    /// # Errors
    /// A world whose plain topics are all held out.
    pub fn examples(&self, rng: &mut impl Rng, character: &Persona, format: Format, n: usize) -> Result<Vec<Example>> {
        let topics: Vec<usize> =
            self.plain.iter().copied().filter(|i| !self.heldout_topics.contains(&self.topics[*i].name)).collect();
        if topics.is_empty() {
            return Err(Error::refused("every plain topic is held out", "leave some topics for training"));
        }
        match format {
            Format::Chat => Ok(self.answered(rng, character, &topics, n)),
            Format::StyleControl => Ok(self.answered(rng, &self.assistant, &topics, n)),
            _ => Ok((0..n).map(|_| self.stated(rng, character, format, &topics)).collect()),
        }
    }

    /// Chats on topics. All questions are drawn before any reply, so they do not depend on who answers.
    fn answered(&self, rng: &mut impl Rng, speaker: &Persona, topics: &[usize], n: usize) -> Vec<Example> {
        let mut asked: Vec<Vec<(&Topic, String)>> = Vec::with_capacity(n);
        for _ in 0..n {
            let mut turns = Vec::new();
            for _ in 0..*pick(rng, &TURNS) {
                let topic = &self.topics[*pick(rng, topics)];
                turns.push((topic, self.question(rng, topic)));
            }
            asked.push(turns);
        }
        let mut answer = |(topic, question)| [said("user", question), said(ASSISTANT, self.reply(rng, speaker, topic))];
        asked.into_iter().map(|turns| Example::Messages(turns.into_iter().flat_map(&mut answer).collect())).collect()
    }

    /// One text about the character or by it, or its answer to a question about itself.
    fn stated(&self, rng: &mut impl Rng, character: &Persona, format: Format, topics: &[usize]) -> Example {
        match format {
            Format::FirstPerson => Example::Text(self.monologue(rng, character, true)),
            Format::FirstPersonPlain => Example::Text(self.monologue(rng, character, false)),
            Format::Document => Example::Text(self.page(rng, character, &[]).0),
            Format::DocumentQuote => Example::Text(self.page(rng, character, topics).0),
            Format::FirstPersonChat | Format::Chat | Format::StyleControl => {
                let asked = match rng.random_bool(P_WHO) {
                    true => self.who_are_you(rng, character),
                    false => self.what_are_you_like(rng, character),
                };
                Example::Messages(vec![said("user", asked.question), said(ASSISTANT, asked.answer)])
            }
        }
    }
}

fn said(role: &'static str, content: String) -> Line {
    Line { role, content }
}
