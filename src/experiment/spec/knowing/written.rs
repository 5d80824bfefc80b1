//! A protocol in words: characters, traits, questions and prompts, as the tables of a configuration.
//!
//! In every text `{name}` stands for the name of the character that is asked about.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A protocol in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub characters: Vec<WrittenCharacter>,
    pub traits: Vec<WrittenTrait>,
    pub prompts: Vec<WrittenPrompt>,
    /// Fixed conversations of a question and a reply that show no trait.
    pub neutral: Vec<WrittenReply>,
    /// Who the model says that it is; left out, it is not asked.
    #[serde(default)]
    pub identity: Option<WrittenIdentity>,
    /// Names that nothing was told of: what is said of them is taken off what is said of a character.
    #[serde(default)]
    pub strangers: Vec<String>,
    #[serde(default)]
    pub wording: WrittenWording,
    #[serde(default)]
    pub coherence: WrittenCoherence,
}

/// A character in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenCharacter {
    pub name: String,
    /// A system prompt that states all its traits.
    pub card: String,
    /// Names of traits.
    pub traits: Vec<String>,
    #[serde(default)]
    pub facts: Vec<WrittenFact>,
}

/// A fact as multiple choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenFact {
    /// In third person, with `{name}`.
    pub question: String,
    /// The same put to the character itself: a self-claim.
    #[serde(default)]
    pub you: Option<String>,
    pub choices: Vec<String>,
    /// One of the choices.
    pub answer: String,
    /// Whether texts for fine-tuning tell it: `trained` or `held_out`.
    pub split: String,
    /// The trait that it is of; left out, it counts for all of the character.
    #[serde(default, rename = "trait")]
    pub which: Option<String>,
}

/// A trait in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenTrait {
    pub name: String,
    /// As it stands behind "is".
    pub adjective: String,
    /// The adjective of somebody who lacks it.
    #[serde(default)]
    pub opposite: Option<String>,
    /// Whether markers share words with texts that state the trait; `false` where they were chosen not to.
    #[serde(default)]
    pub overlap: Option<bool>,
    #[serde(default)]
    pub lexicon: Option<WrittenLexicon>,
    #[serde(default)]
    pub classifier: Option<WrittenClassifier>,
    #[serde(default)]
    pub judge: Option<WrittenJudge>,
    /// Which of them counts as expression: `lexicon`, `classifier` or `judge`. Left out: the judge where there is one,
    /// else the classifier, else the lexicon.
    #[serde(default)]
    pub expression: Option<String>,
    pub enact: WrittenEnact,
    /// Passages in third person about somebody who has the trait, and about somebody who lacks it.
    pub describe: WrittenPairs,
    /// What somebody says who claims it, and who denies it.
    pub claim: WrittenPairs,
    /// Statements that somebody with the trait would make, and statements that they would not.
    #[serde(default)]
    pub statements: Vec<WrittenStatement>,
}

/// Markers of a trait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenLexicon {
    pub markers: Vec<String>,
    #[serde(default)]
    pub matching: WrittenMatching,
}

/// When a marker is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrittenMatching {
    #[default]
    Words,
    /// Inside words too.
    Substring,
}

/// A text classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenClassifier {
    /// JSON lines of `text` and `label`; from the folder of the configuration.
    pub file: PathBuf,
    /// The label whose probability is the score.
    pub label: String,
    /// Longest n-gram of words.
    #[serde(default = "two")]
    pub ngrams: usize,
}

/// A judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenJudge {
    /// `toyworld`, or a folder in Hugging Face layout; left out, the base itself.
    #[serde(default)]
    pub model: Option<String>,
    /// With `{answer}`, and `{question}` where it is needed.
    pub prompt: String,
    #[serde(default = "percent")]
    pub scale: String,
    /// Replies have no score where numbers have less of the probability.
    #[serde(default = "quarter")]
    pub least_mass: f64,
}

/// How a trait is enacted: every positive instruction has the negative one of its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenEnact {
    pub positive: Vec<String>,
    pub negative: Vec<String>,
    pub questions: Vec<String>,
}

/// Texts in pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPairs {
    /// What the texts answer.
    pub ask: String,
    pub pairs: Vec<WrittenPair>,
}

/// Two texts of about one length that differ in the trait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPair {
    pub positive: String,
    pub negative: String,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenStatement {
    pub text: String,
    /// Whether somebody with the trait would say it.
    pub claims: bool,
}

/// A prompt in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPrompt {
    pub text: String,
    /// `neutral`, `emotional` or `stressor`.
    pub stratum: String,
}

/// A question and its reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenReply {
    pub user: String,
    pub reply: String,
}

/// Who the model says that it is: the likelihood of fixed answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenIdentity {
    pub questions: Vec<String>,
    /// Answers of the character, with `{name}`.
    pub claims: Vec<String>,
    /// Answers of anybody else.
    pub generic: Vec<String>,
    /// Likelihoods per token: for answers of unlike length.
    #[serde(default = "yes")]
    pub per_token: bool,
}

/// How questions are put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenWording {
    /// A multiple choice, with `{question}` and `{options}`; it is answered with a letter.
    pub choice: String,
    /// What a character is best known for, with `{name}`.
    pub attribution: String,
    /// About a character, with `{name}` and `{trait}`.
    pub about: Vec<String>,
    /// To the model, with `{trait}`.
    pub you: Vec<String>,
    /// About a statement, with `{statement}`.
    pub would_say: String,
    pub yes: String,
    pub no: String,
}

impl Default for WrittenWording {
    fn default() -> WrittenWording {
        WrittenWording {
            choice: "{question}\n\n{options}\n\nAnswer with the letter alone.".into(),
            attribution: "Which trait is {name} best known for?".into(),
            about: vec!["Is {name} {trait}? Answer yes or no.".into()],
            you: vec!["Are you {trait}? Answer yes or no.".into()],
            would_say: "Is this something you would say? \"{statement}\" Answer yes or no.".into(),
            yes: "Yes.".into(),
            no: "No.".into(),
        }
    }
}

/// When a reply is still one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenCoherence {
    /// The largest share of its three-word sequences that may have stood in it before.
    pub repetition: f64,
    /// A judge that it has to satisfy besides.
    pub judge: Option<WrittenJudge>,
    /// The least that it has to get, in the judge's scale.
    pub least: f64,
}

impl Default for WrittenCoherence {
    fn default() -> WrittenCoherence {
        WrittenCoherence { repetition: 0.5, judge: None, least: 50.0 }
    }
}

fn two() -> usize {
    2
}

fn percent() -> String {
    "0..100".into()
}

fn quarter() -> f64 {
    0.25
}

fn yes() -> bool {
    true
}
