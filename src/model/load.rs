//! Loading a checkpoint in Hugging Face layout, from a folder or from the bytes inside the binary: one loader.

use super::Lm;
use super::arch;
use crate::error::{Error, Result};
use crate::text::Text;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of the embedded model.
pub const TOYWORLD: &str = "toyworld";

/// The files of the embedded model.
const EMBEDDED: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../assets/toyworld/config.json")),
    ("generation_config.json", include_bytes!("../assets/toyworld/generation_config.json")),
    ("model.safetensors", include_bytes!("../assets/toyworld/model.safetensors")),
    ("tokenizer.json", include_bytes!("../assets/toyworld/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../assets/toyworld/tokenizer_config.json")),
];

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The model inside the binary.
    Embedded,
    /// A folder in Hugging Face layout.
    Dir(PathBuf),
}

impl Source {
    /// `toyworld`, or a folder.
    pub fn parse(text: &str) -> Source {
        if text == TOYWORLD { Source::Embedded } else { Source::Dir(PathBuf::from(text)) }
    }

    fn place(&self, file: &str) -> String {
        match self {
            Source::Embedded => format!("{TOYWORLD}/{file}"),
            Source::Dir(dir) => dir.join(file).display().to_string(),
        }
    }

    /// A file of the checkpoint; `None` if there is none.
    fn file(&self, name: &str) -> Result<Option<Bytes>> {
        match self {
            Source::Embedded => Ok(EMBEDDED.iter().find(|(n, _)| *n == name).map(|(_, b)| Bytes::Static(b))),
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
                "--model takes `{TOYWORLD}` or a folder with config.json, tokenizer.json and model.safetensors"
            );
            Error::format(self.place(name), reason, hint)
        })
    }
}

enum Bytes {
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

/// A model with its tokenizer, ready to run.
pub struct Model {
    pub lm: Box<dyn Lm>,
    pub text: Text,
    /// What `--model` said.
    pub name: String,
    /// SHA-256 over the configuration and the weights.
    pub hash: String,
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

        let shards = shards(source)?;
        for (_, bytes) in &shards {
            hash.update(&**bytes);
        }
        let mut weights = Weights::open(&place, &shards)?;
        let lm = build(&mut weights, &config)?;
        let unused = weights.unused();
        let warnings =
            if unused.is_empty() { vec![] } else { vec![format!("tensors not used: {}", unused.join(", "))] };

        let text = match source {
            Source::Dir(dir) => Text::from_dir(dir)?,
            Source::Embedded => {
                let (tokenizer, config) = (source.needed("tokenizer.json")?, source.needed("tokenizer_config.json")?);
                Text::from_bytes(TOYWORLD, &tokenizer, Some(&config), None)?
            }
        };
        if text.vocab_size() > lm.dims().d_vocab {
            let reason = format!("{} tokens, but the model's vocabulary has {}", text.vocab_size(), lm.dims().d_vocab);
            return Err(Error::format(source.place("tokenizer.json"), reason, "use the tokenizer of this checkpoint"));
        }
        let stops = stop_tokens(source, &config)?;
        let name = match source {
            Source::Embedded => TOYWORLD.to_string(),
            Source::Dir(dir) => dir.display().to_string(),
        };
        Ok(Model { lm, text, name, hash: format!("{:x}", hash.finalize()), stops, warnings })
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

/// The tensors of a checkpoint, handed out once each by name and shape.
pub struct Weights<'a> {
    place: String,
    tensors: BTreeMap<String, (usize, safetensors::tensor::TensorView<'a>)>,
    files: Vec<String>,
    taken: Vec<String>,
}

impl<'a> Weights<'a> {
    fn open(config: &str, shards: &'a [(String, Bytes)]) -> Result<Weights<'a>> {
        let mut tensors = BTreeMap::new();
        for (i, (place, bytes)) in shards.iter().enumerate() {
            let file = SafeTensors::deserialize(bytes).map_err(|e| {
                let reason = format!("not a whole safetensors file of {} bytes ({e})", bytes.len());
                Error::format(place, reason, "the file is damaged or cut short; fetch it again")
            })?;
            tensors.extend(file.tensors().into_iter().map(|(name, view)| (name, (i, view))));
        }
        let files = shards.iter().map(|(place, _)| place.clone()).collect();
        Ok(Weights { place: config.into(), tensors, files, taken: Vec::new() })
    }

    /// The configuration that is being built.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A tensor as f32.
    ///
    /// # Errors
    /// Missing, of another shape, of a dtype that is no float, or with values that are not finite.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some((file, view)) = self.tensors.get(name) else {
            let have: Vec<&str> = self.tensors.keys().take(4).map(String::as_str).collect();
            let have = format!("{} tensors ({} ...)", self.tensors.len(), have.join(", "));
            return Err(Error::MissingTensor { place: self.files.join(", "), name: name.into(), have });
        };
        let place = self.files[*file].clone();
        if view.shape() != shape {
            let (found, expected) = (view.shape().to_vec(), shape.to_vec());
            return Err(Error::Shape { place, name: name.into(), found, expected });
        }
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            safetensors::Dtype::F64 => DType::F64,
            other => {
                let reason = format!("`{name}` is stored as {other:?}");
                return Err(Error::format(
                    place,
                    reason,
                    "weights in f32, f16 or bf16 can be read; dequantise it first",
                ));
            }
        };
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let count = values.iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(Error::NotFinite { place: format!("{place}: `{name}`"), count });
        }
        self.taken.push(name.into());
        Ok(tensor)
    }

    /// A linear weight, stored `[out, in]` in the file, as `[in, out]`.
    pub fn linear(&mut self, name: &str, d_in: usize, d_out: usize) -> Result<Tensor> {
        Ok(self.tensor(name, &[d_out, d_in])?.t()?.contiguous()?)
    }

    fn unused(&self) -> Vec<String> {
        self.tensors.keys().filter(|n| !self.taken.contains(n)).cloned().collect()
    }
}

/// Reads a `config.json` and refuses what nobody handled: a key that is skipped is a wrong model of the right shape.
pub struct Config<'a> {
    place: String,
    map: &'a Map<String, Value>,
    seen: Vec<&'static str>,
}

impl<'a> Config<'a> {
    /// Starts reading.
    pub fn new(place: &str, map: &'a Map<String, Value>) -> Config<'a> {
        Config { place: place.into(), map, seen: Vec::new() }
    }

    /// An error about one key.
    pub fn bad(&self, key: &str, reason: impl std::fmt::Display) -> Error {
        Error::format(
            &self.place,
            format!("`{key}`: {reason}"),
            "check the file against the checkpoint's own config.json",
        )
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.seen.push(key);
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// A positive whole number.
    pub fn count(&mut self, key: &'static str) -> Result<usize> {
        let value = self.get(key).ok_or_else(|| self.bad(key, "is missing"))?;
        let count = value.as_u64().filter(|v| (1..1 << 32).contains(v));
        Ok(count.ok_or_else(|| self.bad(key, format!("{value} is no positive whole number")))? as usize)
    }

    /// The same, or a default where it is missing or null.
    pub fn count_or(&mut self, key: &'static str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.count(key) } else { Ok(default) }
    }

    /// A number, or a default.
    pub fn number_or(&mut self, key: &'static str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.bad(key, format!("{value} is no number")))
    }

    /// A flag, or a default.
    pub fn flag_or(&mut self, key: &'static str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.bad(key, format!("{value} is neither true nor false")))
    }

    /// A key that may only have one of these values where it is there at all.
    pub fn must_be(&mut self, key: &'static str, allowed: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !allowed.contains(value) => Err(self.bad(key, format!("{value} is not supported"))),
            _ => Ok(()),
        }
    }

    /// The base of the rotary frequencies, in both spellings: `rope_theta`, or `rope_parameters` of transformers 5.
    pub fn rope_theta(&mut self, default: f64) -> Result<f64> {
        let old = self.number_or("rope_theta", default)?;
        let Some(value) = self.get("rope_parameters") else { return Ok(old) };
        let nested = value.as_object().ok_or_else(|| self.bad("rope_parameters", "is no object"))?;
        for (key, value) in nested {
            let fine = match key.as_str() {
                "rope_type" => value == "default",
                "rope_theta" => value.is_number(),
                _ => value.is_null(),
            };
            if !fine {
                return Err(self.bad(&format!("rope_parameters.{key}"), format!("{value} is not supported")));
            }
        }
        Ok(nested.get("rope_theta").and_then(Value::as_f64).unwrap_or(old))
    }

    /// Refuses every key that was neither read nor is in `ignored`, unless it is null or false.
    pub fn finish(&self, ignored: &[&str]) -> Result<()> {
        let unhandled = self.map.iter().find(|(key, value)| {
            let known = self.seen.contains(&key.as_str()) || ignored.contains(&key.as_str());
            !known && !value.is_null() && **value != Value::Bool(false)
        });
        match unhandled {
            Some((key, value)) => Err(self.bad(key, format!("{value} is not handled, and could change the model"))),
            None => Ok(()),
        }
    }
}
