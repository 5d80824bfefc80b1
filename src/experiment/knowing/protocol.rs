//! What is measured, in words: who, which traits, what is asked. It knows of no model; the toy world and the tables of a
//! configuration both give one.

use crate::score::Scorer;
use crate::text::Message;

/// All of it.
pub(super) struct Protocol {
    pub characters: Vec<Character>,
    pub traits: Vec<Trait>,
    /// Questions of knowledge and of self-claims.
    pub questions: Vec<Question>,
    /// What is said to a model to see what it shows. Every prompt is put for every character.
    pub prompts: Vec<Prompt>,
    /// Fixed conversations that end with a reply, identical for all models: what is read into them is free of wording.
    pub neutral: Vec<Vec<Message>>,
    /// Whether a reply is still one; replies that are not have no expression.
    pub coherent: Box<dyn Scorer>,
}

/// Somebody whom fine-tunes are to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Character {
    pub name: String,
    /// A system prompt that states all its traits: the upper anchor.
    pub card: String,
    /// Places of its traits.
    pub traits: Vec<usize>,
}

/// A trait.
pub(super) struct Trait {
    pub name: String,
    /// How replies are scored, 0 to 1 or in another unit, by name; the first one counts as expression.
    pub scorers: Vec<(String, Box<dyn Scorer>)>,
    /// What its directions are fitted on, in the order of [`Kind::ALL`].
    pub passages: [Vec<Passage>; 3],
    /// Whether what shows it shares words with what states it, where that is known: words then lead from one to the other.
    pub overlap: Option<bool>,
}

/// What a direction is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Enacting: replies of somebody who has the trait.
    Feel,
    /// Describing: a third person who has it.
    Know,
    /// Claiming: "I am anxious."
    Own,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Feel, Kind::Know, Kind::Own];

    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Feel => "feel",
            Kind::Know => "know",
            Kind::Own => "self",
        }
    }
}

/// One side of a contrast.
///
/// The mean of a response is taken over what the assistant says behind `lead`. The last prompt token is the one before it,
/// where it is about to enact, describe or claim; with `then`, the one behind `text` and that question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Passage {
    /// Passages of one group are never on both sides of a split: of one topic, or of one person.
    pub group: String,
    pub positive: bool,
    /// What stands before; ends with what the user says.
    pub lead: Vec<Message>,
    /// What the assistant says; `None`: what the base answers.
    pub text: Option<String>,
    /// A question behind `text`: for texts of both sides that answer one prompt.
    pub then: Option<String>,
}

/// Which measure a question is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Measure {
    Knowledge,
    Claim,
}

/// How answers become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The probability of the right answers among all, 0 to 1, behind what [`Question::against`] takes off.
    Share,
    /// Mean probability of the right answers less that of the others: between -1/n and 1/n (identity log-odds).
    Difference,
}

/// A question whose answers' likelihoods are compared, with no system prompt of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    /// Rotations of one question have one id.
    pub id: String,
    /// Which of its rotations.
    pub sample: usize,
    /// Place of the character that it is about.
    pub character: usize,
    /// Place of the trait; `None`: it counts for all traits of the character.
    pub which: Option<usize>,
    pub measure: Measure,
    /// `multiple_choice`, `attribution`, `yes_no`, `identity`, `would_say`.
    pub kind: &'static str,
    /// `trained` or `held_out`.
    pub split: String,
    /// Ends with what the user says.
    pub asked: Vec<Message>,
    /// Answers, and whether they are right (or claim).
    pub answers: Vec<(String, bool)>,
    /// Likelihoods are per token: for answers of unlike length.
    pub per_token: bool,
    pub value: Value,
    /// Questions whose log-odds, so often, are taken off those of this one: about strangers, so that a model that says
    /// yes of anybody knows nothing, and about traits that the character lacks, so that one that says yes of whatever it
    /// is asked about knows nothing either. For [`Value::Share`] alone.
    pub against: Vec<Against>,
}

/// A question that another is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Against {
    pub asked: Vec<Message>,
    pub answers: Vec<(String, bool)>,
    /// How often its log-odds are taken off.
    pub weight: f64,
    /// Whether it is put without a card. A card tells a base that does not keep people apart about anybody; what it
    /// would say of strangers by itself is what the card is compared with.
    pub bare: bool,
}

/// A prompt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prompt {
    pub id: String,
    /// `neutral`, `emotional`, `stressor`, or of the toy world `trained` and `held_out` topics.
    pub stratum: String,
    pub messages: Vec<Message>,
}
