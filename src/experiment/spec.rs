//! What was typed: a probe file as typed TOML.

mod attractors;
mod authorial_bias;
mod domain;
mod drift;
mod formats;
mod knowing;
mod persona_map;
mod retention;
mod set;
mod speakers;
mod steering;
mod trait_layers;
mod voice;

pub use attractors::Attractors;
pub use authorial_bias::AuthorialBias;
pub use domain::Domain;
pub use drift::Drift;
pub use formats::Formats;
pub use knowing::{At, Causal, Data, Knowing, OfWorld, Training, Written};
pub use knowing::{
    WrittenCharacter, WrittenClassifier, WrittenCoherence, WrittenFact, WrittenJudge, WrittenLexicon, WrittenMatching,
    WrittenPairs, WrittenTrait,
};
pub use persona_map::PersonaMap;
pub use retention::Retention;
pub use set::Set;
pub use speakers::Speakers;
pub use steering::Steering;
pub use trait_layers::TraitLayers;
pub use voice::Voice;

use super::kinds::{KINDS, Settings};
use crate::error::{Error, Result};
use crate::shipped::TOYWORLD;
use crate::unit::MAX_BATCH_TOKENS;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A probe file, with the defaults of everything that it leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Stem of the file's name: it names the folder of results and the figures.
    pub stem: String,
    /// Folder of the file: paths in it go from there.
    pub dir: PathBuf,
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
        let kind = head.kind.get_ref();
        Settings::read(kind, place, text).unwrap_or_else(|| {
            Err(Error::format(
                at_line(place, text, Some(head.kind.span())),
                format!("unknown kind `{kind}`"),
                format!("kinds are {}", KINDS.join(", ")),
            ))
        })
    }
}

/// The file as that of a kind.
pub(super) fn read<S: DeserializeOwned + Default>(place: &str, text: &str, wrap: fn(S) -> Settings) -> Result<Spec> {
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
        dir: Path::new(place).parent().unwrap_or(Path::new("")).to_path_buf(),
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
