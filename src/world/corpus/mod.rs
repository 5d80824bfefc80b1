//! Text from a world: documents of many kinds, each from a random stream of its own, so that any of them can be made
//! at any time by any thread; the tokenizer they need; and the truth about them.

mod chats;
mod config;
mod draft;
mod kinds;
mod lessons;
mod lexicon;
mod planted;
mod population;
mod realised;
mod tokens;
mod voices;

pub use config::CorpusConfig;
pub use kinds::{Kind, Mix};
pub use population::settle;
pub use realised::Realised;
pub use tokens::Counter;

use crate::error::{Error, Result};
use crate::rng::stream;
use crate::world::{Exposure, World};
use draft::{Draft, Reply};
use rand::Rng;
use tokenizers::Tokenizer;

/// Documents that a tokenizer is trained on.
const SAMPLE: u64 = 30_000;

/// One document: one training sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub kind: Kind,
    /// With its special tokens: `<|bos|>...<|end|>`.
    pub text: String,
    /// Tokens under the world's tokenizer, special tokens included.
    pub tokens: usize,
}

/// Which file a document is for. Documents of different files come from different streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    Heldout,
    /// What the tokenizer is trained on.
    Sample,
}

/// A world with all that is needed to write its text.
pub struct Corpus {
    config: CorpusConfig,
    world: World,
    world_json: String,
    tokenizer: Tokenizer,
    tokenizer_json: String,
    groups: Groups,
}

/// Places of people in the world, by what may be written of them.
struct Groups {
    all: Vec<usize>,
    acting: Vec<usize>,
    described: Vec<usize>,
    speaking: Vec<usize>,
    asked: Vec<usize>,
}

impl Corpus {
    /// Settles the world of a configuration and trains its tokenizer, or takes the one given: its place for messages
    /// and the bytes of `tokenizer.json`.
    ///
    /// # Errors
    /// A configuration that contradicts itself, a vocabulary too small, a tokenizer without this world's special tokens.
    pub fn new(config: CorpusConfig, tokenizer: Option<(&str, &[u8])>) -> Result<Corpus> {
        let (world, world_json) = population::settle(&config)?;
        let groups = Groups::of(&world);
        let special = tokens::special(world.speakers.iter().map(|s| s.name.clone()));
        // Until there is a tokenizer, an empty one stands in; the sample counts words instead.
        let empty = Tokenizer::new(tokenizers::models::bpe::BPE::default());
        let mut corpus = Corpus { config, world, world_json, tokenizer: empty, tokenizer_json: String::new(), groups };
        corpus.tokenizer = match tokenizer {
            Some((place, json)) => tokens::read(place, json, &special)?,
            None => {
                let mut counter = Counter::new(None);
                let mut texts = Vec::new();
                for i in 0..SAMPLE.min(corpus.config.documents) {
                    texts.extend(corpus.sample(i, &mut counter)?);
                }
                tokens::train(&texts, corpus.config.vocabulary, &special)?
            }
        };
        corpus.tokenizer_json = match tokenizer {
            Some((_, json)) => String::from_utf8_lossy(json).into_owned(),
            None => corpus.tokenizer.to_string(true).map_err(|e| {
                Error::refused(format!("the tokenizer cannot be written: {e}"), "set a smaller `vocabulary`")
            })?,
        };
        Ok(corpus)
    }

    pub fn config(&self) -> &CorpusConfig {
        &self.config
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// `world.json`, as [`World::parse`] reads it.
    pub fn world_json(&self) -> &str {
        &self.world_json
    }

    /// `tokenizer.json` in the format of Hugging Face.
    pub fn tokenizer_json(&self) -> &str {
        &self.tokenizer_json
    }

    /// `tokenizer_config.json`, with the chat template.
    pub fn tokenizer_config(&self) -> String {
        tokens::tokenizer_config(self.config.max_tokens)
    }

    /// A counter of tokens; every thread needs its own.
    pub fn counter(&self) -> Counter<'_> {
        Counter::new(Some(&self.tokenizer))
    }

    /// Counts of no document yet.
    pub fn realised(&self) -> Realised {
        let (w, hazards) = (&self.world, self.config.population.hazards.len());
        Realised::new(w.traits.len(), w.personas.len(), w.speakers.len(), hazards)
    }

    /// Document `i` of a file: the same whenever and wherever it is made. It is counted in `realised`.
    ///
    /// # Errors
    /// None in a world that [`Corpus::new`] accepted.
    pub fn document(&self, split: Split, i: u64, counter: &mut Counter, realised: &mut Realised) -> Result<Document> {
        let mut draft = self.draft(split, i, counter)?;
        let (tokens, cut) = draft.fit(self.config.max_tokens, counter);
        realised.count(&draft, tokens, cut);
        Ok(Document { kind: draft.kind, text: draft.text(), tokens })
    }

    /// `truth.json`: what was planted, and what the documents of the two files made of it.
    pub fn truth(&self, train: &Realised, heldout: &Realised) -> String {
        planted::truth(self, train, heldout)
    }

    fn draft(&self, split: Split, i: u64, counter: &mut Counter) -> Result<Draft> {
        let label = match split {
            Split::Train => "document",
            Split::Heldout => "held-out document",
            Split::Sample => "sample document",
        };
        let rng = &mut stream(self.config.seed, &format!("{label} {i}"));
        let kind = Kind::ALL[weighted(rng, &self.config.mix.weights())];
        Ok(match kind {
            Kind::Assistant => self.assistant(rng)?,
            Kind::Named => self.named(rng)?,
            Kind::InContext => self.in_context(rng)?,
            Kind::Addressed => self.addressed(rng)?,
            Kind::Questions => self.questions(rng),
            Kind::FirstPersonChat => self.first_person_chat(rng)?,
            Kind::Encyclopedia | Kind::EncyclopediaInContext => self.encyclopedia(rng, kind),
            Kind::FirstPerson => {
                let person = self.groups.speaking[rng.random_range(0..self.groups.speaking.len())];
                let text = self.world.monologue(rng, &self.world.personas[person], true);
                Draft { lead: Some(text), person: Some(person), ..Draft::new(kind) }
            }
            Kind::Teaching => match &self.world.teaching {
                Some(plan) => self.teaching(rng, plan, counter),
                None => return Err(lacking("[teaching]")),
            },
            Kind::Tagged => match (&self.world.tag, &self.config.post.tag) {
                (Some(tag), Some(t)) => self.tagged(rng, tag, t.share)?,
                _ => return Err(lacking("[post.tag]")),
            },
            Kind::Voices => match &self.config.speakers {
                Some(s) => self.voices(rng, s.together),
                None => return Err(lacking("[speakers]")),
            },
        })
    }

    /// The texts of a document that the tokenizer is trained on.
    fn sample(&self, i: u64, counter: &mut Counter) -> Result<impl Iterator<Item = String> + use<>> {
        let mut draft = self.draft(Split::Sample, i, counter)?;
        draft.fit(self.config.max_tokens, counter);
        Ok(draft.bodies())
    }

    fn encyclopedia(&self, rng: &mut impl Rng, kind: Kind) -> Draft {
        let invented = (kind == Kind::EncyclopediaInContext).then(|| self.world.in_context_persona(rng));
        let person = match invented {
            Some(_) => None,
            None => Some(self.groups.described[rng.random_range(0..self.groups.described.len())]),
        };
        let persona = invented.as_ref().or(person.map(|i| &self.world.personas[i]));
        let persona = persona.unwrap_or(&self.world.assistant);
        let (text, quote) = self.world.page(rng, persona, &self.world.plain);
        let quote = quote.map(|shown| Reply { planted: persona.traits, shown });
        Draft { lead: Some(text), person, quote, ..Draft::new(kind) }
    }

    /// How many turns a chat has.
    fn turn_count(&self, rng: &mut impl Rng) -> usize {
        1 + weighted(rng, &self.config.turns)
    }
}

impl Groups {
    fn of(world: &World) -> Groups {
        use Exposure::{All, ChatOnly, DocOnly, FpOnly};
        let of = |groups: &[Exposure]| {
            let people = world.personas.iter().enumerate();
            people.filter(|(_, p)| groups.contains(&p.group)).map(|(i, _)| i).collect()
        };
        Groups {
            all: of(&[All]),
            acting: of(&[All, ChatOnly]),
            described: of(&[All, DocOnly]),
            speaking: of(&[All, FpOnly]),
            asked: of(&[All, DocOnly, FpOnly]),
        }
    }
}

fn lacking(section: &str) -> Error {
    Error::refused(format!("the mix has documents for which `{section}` is needed"), "add the section or drop the kind")
}

/// A place in a list of weights, drawn in proportion.
fn weighted(rng: &mut impl Rng, weights: &[f64]) -> usize {
    let mut u = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (i, w) in weights.iter().enumerate() {
        if u < *w {
            return i;
        }
        u -= w;
    }
    // Only rounding leads here: the last place that has a weight.
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}
