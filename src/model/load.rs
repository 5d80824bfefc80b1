//! Loading a checkpoint in Hugging Face layout, from a folder or from the bytes inside the binary: one loader.

use super::adapter::Adapter;
use super::projection::Parameter;
use super::weights::Weights;
use super::{Lm, arch};
use crate::error::{Error, Result};
use crate::shipped::{SHIPPED, Shipped};
use crate::text::Text;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A model inside the binary.
    Embedded(&'static Shipped),
    /// A folder in Hugging Face layout.
    Dir(PathBuf),
}

impl Source {
    /// The name of a shipped model, or a folder.
    pub fn parse(text: &str) -> Source {
        Shipped::named(text).map_or_else(|| Source::Dir(PathBuf::from(text)), Source::Embedded)
    }

    /// The default model.
    pub fn toyworld() -> Source {
        Source::Embedded(&SHIPPED[0])
    }

    /// The bytes of a file of the checkpoint; `None` if there is none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.file(name)?.map(|bytes| bytes.to_vec()))
    }

    fn place(&self, file: &str) -> String {
        match self {
            Source::Embedded(shipped) => format!("{}/{file}", shipped.name),
            Source::Dir(dir) => dir.join(file).display().to_string(),
        }
    }

    /// A file of the checkpoint; `None` if there is none.
    fn file(&self, name: &str) -> Result<Option<Bytes>> {
        match self {
            Source::Embedded(shipped) => Ok(shipped.file(name).map(Bytes::Static)),
            Source::Dir(dir) => {
                let path = dir.join(name);
                let file = match std::fs::File::open(&path) {
                    Ok(file) => file,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(Error::io("open", path, e)),
                };
                let length = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
                if length == 0 {
                    return Ok(Some(Bytes::Static(&[])));
                }
                // SAFETY: the map is read-only. Another process that truncates the file under us would stop this one
                // with a bus error, as it would any program that maps its weights.
                let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io("map", &path, e))?;
                Ok(Some(Bytes::Mapped(map)))
            }
        }
    }

    fn needed(&self, name: &str) -> Result<Bytes> {
        self.file(name)?.ok_or_else(|| {
            let reason = "there is no such file";
            let hint = format!(
                "--model takes a folder with config.json, tokenizer.json and model.safetensors, or one of {}",
                Shipped::names()
            );
            Error::format(self.place(name), reason, hint)
        })
    }
}

/// What a model's tensors are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// What the files hold.
    Stored,
    /// Random values of this seed: an untrained model of the same shape.
    Random(u64),
}

/// What a model is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run.
    Run,
    /// To be run while adapters on it are trained: a head that is the embedding again is not copied for speed.
    Adapt,
    /// To be trained: every weight is a variable.
    Train,
}

/// The bytes of a file.
pub(super) enum Bytes {
    Static(&'static [u8]),
    Mapped(memmap2::Mmap),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Static(b) => b,
            Bytes::Mapped(m) => m,
        }
    }
}

impl Bytes {
    /// Gives back the memory of a part of the file that was read; it comes again from the file if it is asked for.
    pub(super) fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            let from = part.as_ptr() as usize - map.as_ptr() as usize;
            // SAFETY: the map is read-only and of a file, so what is dropped is what the file still holds. That the
            // system may decline changes nothing.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, part.len()) };
        }
    }
}

/// Bytes that are hashed before their memory is given back.
const HASHED_AT_ONCE: usize = 16 << 20;

/// A model with its tokenizer, ready to run.
pub struct Model {
    pub lm: Box<dyn Lm>,
    pub text: Text,
    /// What `--model` said.
    pub name: String,
    /// SHA-256 over the configuration and the weights.
    pub hash: String,
    /// Where it comes from.
    pub source: Source,
    /// Adapters that examples may go through, by index.
    pub adapters: Vec<Adapter>,
    /// Index of the adapter that everything goes through of which nothing else is said.
    pub default_adapter: Option<usize>,
    /// The adapter that is part of the weights.
    pub merged: Option<Adapter>,
    /// Tokens that end a reply.
    pub stops: Vec<u32>,
    /// Things worth saying that are no errors: tensors nobody asked for.
    pub warnings: Vec<String>,
}

impl Model {
    /// Loads a checkpoint; weights are converted to f32.
    ///
    /// # Errors
    /// Files that are missing, truncated or do not belong together; a configuration that is not handled.
    pub fn load(source: &Source) -> Result<Model> {
        Ok(Model::open(source, Filling::Stored, Purpose::Run)?.0)
    }

    /// Loads a checkpoint with stored or random weights, and gives what is to be trained of it.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn open(source: &Source, filling: Filling, purpose: Purpose) -> Result<(Model, Vec<Parameter>)> {
        if let Source::Dir(dir) = source {
            std::fs::read_dir(dir).map_err(|e| Error::io("open model folder", dir, e))?;
        }
        let place = source.place("config.json");
        let config = source.needed("config.json")?;
        let mut hash = Sha256::new();
        hash.update(&*config);
        let config = json_object(&place, &config)?;
        let model_type = config.get("model_type").and_then(Value::as_str);
        let model_type =
            model_type.ok_or_else(|| Error::format(&place, "no `model_type`", "is this a model's config.json?"))?;
        let build = arch::builder(&place, model_type)?;

        let shards = match filling {
            Filling::Stored => shards(source)?,
            Filling::Random(_) => Vec::new(),
        };
        let weights = match filling {
            Filling::Stored => {
                for (_, bytes) in &shards {
                    for part in bytes.chunks(HASHED_AT_ONCE) {
                        hash.update(part);
                        bytes.release(part);
                    }
                }
                Weights::open(&place, &shards)?
            }
            Filling::Random(seed) => {
                hash.update(format!("random weights of seed {seed}"));
                Weights::random(&place, seed)
            }
        };
        let mut weights = weights.for_purpose(purpose);
        let lm = build(&mut weights, &config)?;
        let unused = weights.unused();
        let warnings =
            if unused.is_empty() { vec![] } else { vec![format!("tensors not used: {}", unused.join(", "))] };

        let text = match source {
            Source::Dir(dir) => Text::from_dir(dir)?,
            Source::Embedded(shipped) => {
                let (tokenizer, config) = (source.needed("tokenizer.json")?, source.needed("tokenizer_config.json")?);
                Text::from_bytes(shipped.name, &tokenizer, Some(&config), None)?
            }
        };
        if text.vocab_size() > lm.dims().d_vocab {
            let reason = format!("{} tokens, but the model's vocabulary has {}", text.vocab_size(), lm.dims().d_vocab);
            return Err(Error::format(source.place("tokenizer.json"), reason, "use the tokenizer of this checkpoint"));
        }
        let stops = stop_tokens(source, &config)?;
        let mut name = match source {
            Source::Embedded(shipped) => shipped.name.to_string(),
            Source::Dir(dir) => dir.display().to_string(),
        };
        if let Filling::Random(seed) = filling {
            name += &format!(" (random weights, seed {seed})");
        }
        let model = Model {
            lm,
            text,
            name,
            hash: format!("{:x}", hash.finalize()),
            source: source.clone(),
            adapters: vec![],
            default_adapter: None,
            merged: None,
            stops,
            warnings,
        };
        Ok((model, weights.into_parameters()))
    }
}

fn json_object(place: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::format(place, "not a JSON object", "is this the file of a Hugging Face checkpoint?")),
        Err(e) => Err(Error::format(place, e.to_string(), "the file is damaged or cut short; fetch it again")),
    }
}

/// `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
fn shards(source: &Source) -> Result<Vec<(String, Bytes)>> {
    let index = "model.safetensors.index.json";
    let names: Vec<String> = match source.file(index)? {
        None => vec!["model.safetensors".into()],
        Some(bytes) => {
            let place = source.place(index);
            let object = json_object(&place, &bytes)?;
            let map = object.get("weight_map").and_then(Value::as_object);
            let map = map.ok_or_else(|| Error::format(&place, "no `weight_map`", "fetch the index file again"))?;
            let mut names: Vec<String> = map.values().filter_map(Value::as_str).map(String::from).collect();
            names.sort();
            names.dedup();
            names
        }
    };
    names.into_iter().map(|n| Ok((source.place(&n), source.needed(&n)?))).collect()
}

fn stop_tokens(source: &Source, config: &Map<String, Value>) -> Result<Vec<u32>> {
    let generation = match source.file("generation_config.json")? {
        Some(bytes) => json_object(&source.place("generation_config.json"), &bytes)?,
        None => Map::new(),
    };
    let ids = generation.get("eos_token_id").or(config.get("eos_token_id"));
    let number = |v: &Value| v.as_u64().map(|v| v as u32);
    Ok(match ids {
        Some(Value::Array(list)) => list.iter().filter_map(number).collect(),
        Some(v) => number(v).into_iter().collect(),
        None => vec![],
    })
}
