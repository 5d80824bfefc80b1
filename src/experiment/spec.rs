//! What was typed: a probe file as typed TOML.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::shipped::TOYWORLD;
use crate::unit::MAX_BATCH_TOKENS;
use crate::world::{Exposure, Format};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A probe file, with the defaults of everything that it leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Stem of the file's name: it names the folder of results and the figures.
    pub stem: String,
    /// The research question, in words.
    pub question: String,
    /// `toyworld`, or a folder in Hugging Face layout.
    pub model: String,
    /// Decides every random choice: questions, conversations, replies, splits, nulls, intervals.
    pub seed: u64,
    /// Token budget of a unit of work.
    pub max_batch_tokens: usize,
    pub settings: Settings,
}

/// The settings of one kind of probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Settings {
    TraitLayers(TraitLayers),
    PersonaMap(PersonaMap),
    Drift(Drift),
    Steering(Steering),
    Formats(Formats),
    Voice(Voice),
    Retention(Retention),
    Attractors(Attractors),
    Speakers(Speakers),
    AuthorialBias(AuthorialBias),
}

/// The kinds of probes, as probe files name them.
const KINDS: [&str; 10] = [
    "trait_layers",
    "persona_map",
    "drift",
    "steering",
    "formats",
    "voice",
    "retention",
    "attractors",
    "speakers",
    "authorial_bias",
];

impl Settings {
    /// Whether the kind runs on every shipped model, and not on the default one alone.
    pub(super) fn any_world(&self) -> bool {
        matches!(
            self,
            Settings::PersonaMap(_)
                | Settings::Drift(_)
                | Settings::Retention(_)
                | Settings::Attractors(_)
                | Settings::Speakers(_)
                | Settings::AuthorialBias(_)
        )
    }

    /// The kind, as probe files name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Settings::TraitLayers(_) => KINDS[0],
            Settings::PersonaMap(_) => KINDS[1],
            Settings::Drift(_) => KINDS[2],
            Settings::Steering(_) => KINDS[3],
            Settings::Formats(_) => KINDS[4],
            Settings::Voice(_) => KINDS[5],
            Settings::Retention(_) => KINDS[6],
            Settings::Attractors(_) => KINDS[7],
            Settings::Speakers(_) => KINDS[8],
            Settings::AuthorialBias(_) => KINDS[9],
        }
    }
}

/// Contrast vectors of traits over layers, at the last prompt token and over the model's own replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraitLayers {
    /// Exposure group of the personas.
    pub group: Exposure,
    /// How many of its personas, from the first; all when left out.
    pub personas: Option<usize>,
    /// Questions on plain topics, each put to every persona.
    pub questions: usize,
    /// Sites, as on the command line.
    pub sites: String,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// Share of the personas that directions are fitted on.
    pub train_fraction: f64,
    /// Folds inside the training personas, for choosing the layer.
    pub folds: usize,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for TraitLayers {
    fn default() -> TraitLayers {
        TraitLayers {
            group: Exposure::All,
            personas: None,
            questions: 10,
            sites: "resid_pre.0,resid_post.all".into(),
            max_new_tokens: 80,
            temperature: 1.0,
            train_fraction: 5.0 / 8.0,
            folds: 5,
            bootstrap: 1000,
            permutations: 200,
        }
    }
}

/// Persona space over the replies of personas and of the default assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonaMap {
    pub group: Exposure,
    pub personas: Option<usize>,
    pub questions: usize,
    /// Replies of the default assistant to each question.
    pub default_replies: usize,
    pub sites: String,
    /// The site that is drawn as a map; one of `sites`, fixed beforehand.
    pub site: Site,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// Components kept.
    pub components: usize,
    /// Draws of the null spectrum.
    pub null_draws: usize,
    pub bootstrap: usize,
    /// Neighbours of each role, and of each trait, that are told.
    pub neighbours: usize,
    pub permutations: usize,
    /// Splits behind the reliability of the assistant axis.
    pub halves: usize,
}

impl Default for PersonaMap {
    fn default() -> PersonaMap {
        let shared = TraitLayers::default();
        PersonaMap {
            group: shared.group,
            personas: None,
            questions: shared.questions,
            default_replies: 10,
            sites: shared.sites,
            site: Site::post(2),
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            components: 10,
            null_draws: 50,
            bootstrap: 1000,
            neighbours: 5,
            permutations: 500,
            halves: 100,
        }
    }
}

/// Falling out of a persona: planted conversations, and the model talking freely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    pub group: Exposure,
    /// Personas of planted conversations fall back at least this often per turn.
    pub least_hazard: f64,
    /// Planted conversations, teacher-forced.
    pub conversations: usize,
    pub turns: usize,
    pub sites: String,
    /// The site that is reported first; one of `sites`, fixed beforehand.
    pub site: Site,
    /// Share of the conversations that the axis is fitted on.
    pub train_fraction: f64,
    pub bootstrap: usize,
    pub permutations: usize,
    /// Conversations that the model leads freely, for each hazard of the world.
    pub chats: usize,
    pub chat_turns: usize,
    /// What the user talks about with the default assistant; the first is what it is calibrated on.
    pub domains: Vec<Domain>,
    /// Conversations of the default assistant in each domain.
    pub domain_chats: usize,
    /// Planted conversations of each person that the decoder of states is made from.
    pub decoder_chats: usize,
    /// Resamples behind the intervals of moves between states; each is a search.
    pub chain_bootstrap: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

/// Several named speakers in one transcript, against the twin with one header for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speakers {
    /// The shipped model whose replies all stand under the assistant's header.
    pub twin: String,
    pub conversations: usize,
    /// Speakers of one conversation.
    pub together: usize,
    pub turns: usize,
    pub sites: String,
    /// The site that is drawn; one of `sites`.
    pub site: Site,
    /// Folds of conversations by which speakers are told apart.
    pub folds: usize,
    pub permutations: usize,
    pub bootstrap: usize,
    /// Tokens of a reply that are placed between speakers.
    pub tokens: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

impl Default for Speakers {
    fn default() -> Speakers {
        Speakers {
            twin: "toyworld-single".into(),
            conversations: 200,
            together: 3,
            turns: 6,
            sites: "resid_pre.0,resid_post.all".into(),
            site: Site::post(2),
            folds: 5,
            permutations: 40,
            bootstrap: 300,
            tokens: 24,
            max_new_tokens: 48,
            temperature: 1.0,
        }
    }
}

/// How long a persona lasts that was taught in the user's own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Numbers of messages that teach.
    pub lessons: Vec<usize>,
    /// Conversations for each of them.
    pub chats: usize,
    /// Replies after the lessons; training had up to 8.
    pub turns: usize,
    /// Asked beside the conversation before every reply.
    pub probe_question: String,
    /// Where replies are read.
    pub site: Site,
    /// Planted conversations that the classifier and the axis are made from: half fit, half judge.
    pub planted_chats: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            lessons: vec![1, 2, 4, 8, 12],
            chats: 80,
            turns: 8,
            probe_question: "Who are you?".into(),
            site: Site::post(2),
            planted_chats: 160,
            max_new_tokens: 48,
            temperature: 1.0,
        }
    }
}

/// The persona and the model that speaks through it, between a base model and the one trained from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorialBias {
    /// The model that the probe's own was trained from; a shipped one.
    pub before: String,
    /// Exposure group of the personas.
    pub group: Exposure,
    pub personas: Option<usize>,
    /// Questions on plain topics, each put to every persona and to the default assistant under both models.
    pub questions: usize,
    pub sites: String,
    /// The site that is reported first; one of `sites`, fixed beforehand.
    pub site: Site,
    /// Contents of the gate test: questions on other topics.
    pub contents: usize,
    /// The name in the header of a speaker, in the gate test.
    pub speaker: String,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for AuthorialBias {
    fn default() -> AuthorialBias {
        let shared = TraitLayers::default();
        AuthorialBias {
            before: "toyworld-base".into(),
            group: shared.group,
            personas: None,
            questions: 16,
            sites: "resid_post.all".into(),
            site: Site::post(2),
            contents: 16,
            speaker: "Ariana".into(),
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            bootstrap: 1000,
            permutations: 1999,
        }
    }
}

/// Where conversations go by themselves, and whether they come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attractors {
    pub group: Exposure,
    /// Where states are read, and a second site at which what is found has to hold too.
    pub site: Site,
    pub second: Site,
    /// Coordinates of a state: components of the mean replies of everybody.
    pub components: usize,
    /// Planted conversations of each person that the decoder of states is made from.
    pub decoder_chats: usize,
    /// Resamples behind the intervals of moves between states; each is a search.
    pub chain_bootstrap: usize,
    /// Conversations from every start, under each kind of topics.
    pub chats: usize,
    pub turns: usize,
    /// What the user talks about; disturbed conversations are about the first.
    pub topics: Vec<Domain>,
    /// Conversations in which the model is its own user.
    pub self_talks: usize,
    /// Conversations for each dose of each disturbance.
    pub disturbed: usize,
    /// The turn at which a conversation is disturbed.
    pub disturbed_at: usize,
    /// Doses of a steering pulse, in lengths of the way from the assistant to the Oracle; 0 is the control.
    pub doses: Vec<f64>,
    /// Numbers of messages that teach somebody new; 0 is the control.
    pub facts: Vec<usize>,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
}

impl Default for Attractors {
    fn default() -> Attractors {
        Attractors {
            group: Exposure::All,
            site: Site::post(2),
            second: Site::post(3),
            components: 4,
            decoder_chats: 6,
            chain_bootstrap: 200,
            chats: 2,
            turns: 8,
            topics: vec![
                Domain::new("plain topics", 0.0, 0.0),
                Domain::new("topics of the soul", 1.0, 0.0),
                Domain::new("half of the soul", 0.5, 0.0),
            ],
            self_talks: 80,
            disturbed: 32,
            disturbed_at: 2,
            doses: vec![0.0, 1.0, 2.0, 4.0, 8.0],
            facts: vec![0, 1, 2, 4, 8],
            max_new_tokens: 48,
            temperature: 1.0,
            bootstrap: 300,
        }
    }
}

/// What a user talks about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    pub name: String,
    /// Share of questions on topics of the soul; others are on plain ones.
    #[serde(default)]
    pub soul: f64,
    /// Share of questions about the speaker.
    #[serde(default)]
    pub about_itself: f64,
}

impl Domain {
    /// A domain by its shares.
    pub fn new(name: &str, soul: f64, about_itself: f64) -> Domain {
        Domain { name: name.into(), soul, about_itself }
    }
}

impl Default for Drift {
    fn default() -> Drift {
        Drift {
            group: Exposure::All,
            least_hazard: 0.15,
            conversations: 160,
            turns: 6,
            sites: "resid_pre.0,resid_post.all".into(),
            site: Site::post(2),
            train_fraction: 0.5,
            bootstrap: 1000,
            permutations: 200,
            chats: 160,
            chat_turns: 8,
            domains: vec![
                Domain::new("plain topics", 0.0, 0.0),
                Domain::new("about itself", 0.0, 1.0),
                Domain::new("half of the soul", 0.5, 0.0),
                Domain::new("topics of the soul", 1.0, 0.0),
            ],
            domain_chats: 80,
            decoder_chats: 6,
            chain_bootstrap: 200,
            max_new_tokens: 72,
            temperature: 1.0,
        }
    }
}

/// Steering the default assistant with trait directions, beside random directions of the same norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steering {
    /// Exposure group of the personas that directions are fitted on.
    pub group: Exposure,
    pub personas: Option<usize>,
    /// Questions that directions are fitted on; steered prompts are about other topics.
    pub questions: usize,
    pub sites: String,
    /// Where directions are fitted and added; the most frequent choice of the sweep over `sites` when left out.
    pub site: Option<Site>,
    pub traits: Vec<String>,
    /// In lengths of the trait's mean difference.
    pub doses: Vec<f64>,
    /// Questions put to the steered assistant.
    pub prompts: usize,
    /// Replies per trait, arm and dose; a multiple of `prompts`.
    pub replies: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// The marker rate whose dose is sought.
    pub level: f64,
    pub train_fraction: f64,
    pub folds: usize,
    pub bootstrap: usize,
}

impl Default for Steering {
    fn default() -> Steering {
        let shared = TraitLayers::default();
        let traits = ["anxious", "formal", "cheerful", "odds", "mystical", "grumpy", "poetic"];
        Steering {
            group: shared.group,
            personas: None,
            questions: shared.questions,
            sites: shared.sites,
            site: None,
            traits: traits.map(String::from).to_vec(),
            doses: vec![0.0, 0.5, 1.0, 2.0, 3.0, 4.0],
            prompts: 8,
            replies: 24,
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            level: 0.5,
            train_fraction: shared.train_fraction,
            folds: shared.folds,
            bootstrap: 1000,
        }
    }
}

/// One character shown to the model in several formats, one fine-tune per character, format and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Formats {
    /// Places of the characters among those that the world keeps for fine-tuning, from 0.
    pub characters: Vec<usize>,
    /// What fine-tunes are trained on; also the texts whose likelihood is measured.
    pub formats: Vec<Format>,
    /// One fine-tune each: the seed decides its examples, their order and where the adapter starts.
    pub seeds: Vec<u64>,
    /// Training examples of every fine-tune.
    pub examples: usize,
    /// Of the adapter, on every linear map.
    pub rank: usize,
    /// The adapter is scaled by alpha / rank.
    pub alpha: f64,
    pub epochs: usize,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Peak of a cosine schedule.
    pub learning_rate: f64,
    /// Share of the steps.
    pub warmup: f64,
    /// Fresh texts per character and format, for their likelihood.
    pub texts: usize,
    /// Replies per condition, on trained topics and on held-out ones each.
    pub replies: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// People of the population whom every model is asked about besides.
    pub others: usize,
    pub bootstrap: usize,
}

impl Default for Formats {
    fn default() -> Formats {
        let shared = TraitLayers::default();
        Formats {
            characters: vec![0, 1],
            formats: vec![Format::Chat, Format::FirstPerson, Format::Document, Format::StyleControl],
            seeds: vec![0, 1],
            examples: 500,
            rank: 8,
            alpha: 16.0,
            epochs: 3,
            batch_size: 8,
            learning_rate: 2e-3,
            warmup: 0.05,
            texts: 60,
            replies: 32,
            max_new_tokens: shared.max_new_tokens,
            temperature: shared.temperature,
            others: 8,
            bootstrap: 1000,
        }
    }
}

/// How long a character's voice is kept in a conversation: by its card, by a fine-tune on its lines, by both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Places of the characters among those that the world keeps for fine-tuning, from 0.
    pub characters: Vec<usize>,
    /// One fine-tune each.
    pub seeds: Vec<u64>,
    /// Training examples of every fine-tune: chats in which each reply begins with the character's name.
    pub examples: usize,
    pub rank: usize,
    pub alpha: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub warmup: f64,
    /// Conversations of each arm and character, on topics that no fine-tune met.
    pub conversations: usize,
    pub turns: usize,
    /// Conversations written by the world for each character, and as many for the assistant: half of them fit the
    /// instruments, half test them.
    pub planted: usize,
    /// Where the latent measures are read; fixed beforehand.
    pub site: Site,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
    pub permutations: usize,
}

impl Default for Voice {
    fn default() -> Voice {
        let f = Formats::default();
        Voice {
            characters: f.characters,
            seeds: f.seeds,
            examples: f.examples,
            rank: f.rank,
            alpha: f.alpha,
            epochs: f.epochs,
            batch_size: f.batch_size,
            learning_rate: f.learning_rate,
            warmup: f.warmup,
            conversations: 24,
            turns: 6,
            planted: 48,
            site: Site::post(2),
            max_new_tokens: f.max_new_tokens,
            temperature: f.temperature,
            bootstrap: 1000,
            permutations: 1000,
        }
    }
}

/// The keys of every probe file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<S: Default> {
    #[serde(rename = "kind")]
    _kind: String,
    question: String,
    #[serde(default = "toyworld")]
    model: String,
    #[serde(default)]
    seed: u64,
    #[serde(default = "budget")]
    max_batch_tokens: usize,
    #[serde(default)]
    settings: S,
}

#[derive(Deserialize)]
struct Kind {
    kind: toml::Spanned<String>,
}

fn toyworld() -> String {
    TOYWORLD.into()
}

fn budget() -> usize {
    MAX_BATCH_TOKENS
}

impl Spec {
    /// Reads the text of a probe file; `place` is its name, for messages and for the stem.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown key or kind, a value of the wrong type: with the line, and the keys that exist.
    pub fn parse(place: &str, text: &str) -> Result<Spec> {
        let head: Kind = toml::from_str(text).map_err(|e| explain(place, text, &e))?;
        match head.kind.get_ref().as_str() {
            "trait_layers" => read(place, text, Settings::TraitLayers),
            "persona_map" => read(place, text, Settings::PersonaMap),
            "drift" => read(place, text, Settings::Drift),
            "steering" => read(place, text, Settings::Steering),
            "formats" => read(place, text, Settings::Formats),
            "voice" => read(place, text, Settings::Voice),
            "retention" => read(place, text, Settings::Retention),
            "attractors" => read(place, text, Settings::Attractors),
            "speakers" => read(place, text, Settings::Speakers),
            "authorial_bias" => read(place, text, Settings::AuthorialBias),
            other => Err(Error::format(
                at_line(place, text, Some(head.kind.span())),
                format!("unknown kind `{other}`"),
                format!("kinds are {}", KINDS.join(", ")),
            )),
        }
    }
}

fn read<S: DeserializeOwned + Default>(place: &str, text: &str, wrap: fn(S) -> Settings) -> Result<Spec> {
    let file: File<S> = toml::from_str(text).map_err(|e| explain(place, text, &e))?;
    let stem = Path::new(place).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if stem.is_empty() || !stem.chars().all(plain) {
        return Err(Error::format(
            place,
            format!("the stem `{stem}` cannot name results"),
            "name the probe file with letters, digits, `_` and `-` alone, such as my_probe.toml",
        ));
    }
    Ok(Spec {
        stem,
        question: file.question,
        model: file.model,
        seed: file.seed,
        max_batch_tokens: file.max_batch_tokens,
        settings: wrap(file.settings),
    })
}

/// The place with the line that a span begins on.
fn at_line(place: &str, text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    span.map_or(place.to_string(), |s| format!("{place}, line {}", line(s.start)))
}

fn explain(place: &str, text: &str, e: &toml::de::Error) -> Error {
    let message = e.message().trim().replace("unknown field", "unknown key").replace("missing field", "missing key");
    let (reason, hint) = match message.split_once(", expected one of ") {
        Some((reason, keys)) if reason.starts_with("unknown key") => {
            (reason.to_string(), format!("keys that exist here are {keys}"))
        }
        _ => (message, "see the comments in probes/*.toml for keys and values".into()),
    };
    Error::format(at_line(place, text, e.span()), reason, hint)
}
