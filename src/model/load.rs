//! Loading a checkpoint in Hugging Face layout: one loader for every source.

pub use super::opening::{Dtype, Filling, Loading, Opening, Purpose, Stage, Watch};
pub use super::source::Source;
pub(super) use super::source::{Bytes, Files};

use super::adapter::Adapter;
use super::portable::Portable;
use super::processor::{Kernels, Processor};
use super::projection::Parameter;
use super::shards::Shards;
use super::weights::Weights;
use super::{Lm, arch, digest, json};
use crate::error::{Error, Result};
use crate::text::Text;
use candle_core::{Device, Tensor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A model with its tokenizer, ready to run.
pub struct Model {
    pub lm: Box<dyn Lm>,
    pub text: Text,
    /// What `--model` said; of a model from the hub with its commit.
    pub name: String,
    /// SHA-256 over the configuration, the weights and what they are rounded to: what decides its numbers.
    pub hash: String,
    /// The same without the rounding: what adapters are trained on.
    pub checkpoint: String,
    /// What its weights are rounded to.
    pub dtype: Dtype,
    /// Where it computes.
    pub processor: Processor,
    /// With which form of the kernels.
    pub kernels: Kernels,
    device: Device,
    /// Where it comes from; from the hub, with the commit.
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
    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How it was opened, but for what its weights were filled with.
    pub fn opening(&self) -> Opening {
        let Model { dtype, processor, kernels, .. } = *self;
        Opening { dtype, processor, kernels, ..Opening::default() }
    }

    /// Numbers as a tensor `[row, width]` that it can go on with: where it computes, and in its dtype.
    pub fn rows(&self, numbers: Vec<f32>, width: usize) -> Result<Tensor> {
        let n = numbers.len() / width.max(1);
        let rows = Tensor::from_vec(numbers, (n, width), &self.device)?;
        Ok(if self.opening().is_portable() { rows.to_dtype(self.dtype.of_tensors())? } else { rows })
    }

    /// What decides the last bits of its numbers besides its weights: a kind of processor and a form of the kernels.
    pub fn computing(&self) -> &'static str {
        match (self.processor, self.kernels) {
            (Processor::Cpu, Kernels::Own) => "cpu",
            (Processor::Cpu, Kernels::Portable) => "cpu, tensor operations",
            (Processor::Cuda(_), _) => "cuda",
        }
    }

    /// Workers that run its units: of a GPU one, which gives it more than it can do as it is.
    pub fn workers(&self, threads: usize) -> usize {
        if self.processor.is_shared_by_workers() { threads } else { 1 }
    }

    /// Loads a checkpoint to be run in f32.
    ///
    /// # Errors
    /// Files that are missing, truncated or do not belong together; a configuration that is not handled.
    pub fn load(source: &Source) -> Result<Model> {
        Ok(Model::open(source, Opening::default())?.0)
    }

    /// Loads a checkpoint, and gives what is to be trained of it.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn open(source: &Source, opening: Opening) -> Result<(Model, Vec<Parameter>)> {
        Model::open_watched(source, opening, &mut |_| ())
    }

    /// The same; `watch` is told how far it is.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn open_watched(source: &Source, opening: Opening, watch: &mut Watch<'_>) -> Result<(Model, Vec<Parameter>)> {
        let device = opening.device()?;
        let files = source.open(watch)?;
        let place = files.place("config.json");
        let config = files.needed("config.json")?;
        let mut hash = Sha256::new();
        hash.update(&*config);
        let config = json::object(&place, &config)?;
        let model_type = config.get("model_type").and_then(Value::as_str);
        let model_type =
            model_type.ok_or_else(|| Error::format(&place, "no `model_type`", "is this a model's config.json?"))?;
        let build = arch::builder(&place, model_type)?;
        refuse_endless(&place, &config)?;

        let (lm, parameters, mut warnings) = match opening.filling {
            Filling::Random(_) | Filling::Noise => {
                hash.update(match opening.filling {
                    Filling::Random(seed) => format!("random weights of seed {seed}"),
                    _ => "noise".into(),
                });
                let mut weights = Weights::random(&place, opening.filling).opened(opening, &device);
                (build(&mut weights, &config)?, weights.into_parameters(), vec![])
            }
            Filling::Stored => {
                let shards = Shards::open(&files)?;
                let (tensors, warnings) = shards.tensors()?;
                digest::add(&mut hash, &shards.files, watch);
                let (total, mut done) = (shards.bytes(), 0);
                let tell = |bytes: u64| {
                    done += bytes;
                    watch(Loading { stage: Stage::Read, done, total });
                };
                let mut weights = Weights::open(&place, &shards.files, tensors, tell).opened(opening, &device);
                let lm = match build(&mut weights, &config) {
                    Ok(lm) => lm,
                    Err(e) => return Err(weights.all_missing(e, |survey| build(survey, &config))),
                };
                let unexpected = weights.unexpected();
                (lm, weights.into_parameters(), warnings.into_iter().chain(unexpected).collect())
            }
        };
        let lm = with_kernels(lm, opening.kernels);
        warnings.splice(0..0, files.warnings.iter().cloned());
        let text = read_text(&files, lm.dims().d_vocab)?;
        let stops = stop_tokens(&files, &place, &config)?;
        let checkpoint = format!("{:x}", hash.clone().finalize());
        let rounded = match opening.dtype {
            Dtype::F32 => checkpoint.clone(),
            other => format!("{:x}", hash.chain_update(format!(" rounded to {other}")).finalize()),
        };
        let source = files.source;
        let mut name = source.name();
        if let Some(commit) = source.revision() {
            name += &format!("@{commit}");
        }
        if let Filling::Random(seed) = opening.filling {
            name += &format!(" (random weights, seed {seed})");
        }
        let model = Model {
            lm,
            text,
            name,
            hash: rounded,
            checkpoint,
            dtype: opening.dtype,
            processor: opening.processor,
            kernels: opening.kernels,
            device,
            source,
            adapters: vec![],
            default_adapter: None,
            merged: None,
            stops,
            warnings,
        };
        Ok((model, parameters))
    }
}

/// Refuses more positions than any model has: tables of them are sized by the configuration alone.
fn refuse_endless(place: &str, config: &Map<String, Value>) -> Result<()> {
    const MOST: f64 = (1 << 24) as f64;
    for key in ["max_position_embeddings", "n_positions", "n_ctx", "original_max_position_embeddings"] {
        if let Some(n) = config.get(key).filter(|n| n.as_f64().is_some_and(|n| n > MOST)) {
            let reason = format!("`{key}`: {n} positions are more than any model has");
            return Err(Error::format(place, reason, "check the file against the checkpoint's own config.json"));
        }
    }
    Ok(())
}

/// A model of a `config.json` alone, without weights or a tokenizer, and where it is: to be timed.
///
/// # Errors
/// A configuration that is not handled; a device that cannot be used.
pub fn untrained(place: &str, config: &[u8], opening: Opening) -> Result<(Box<dyn Lm>, Device)> {
    let device = opening.device()?;
    let config = json::object(place, config)?;
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let lm = arch::builder(place, model_type)?(
        &mut Weights::random(place, opening.filling).opened(opening, &device),
        &config,
    )?;
    Ok((with_kernels(lm, opening.kernels), device))
}

fn with_kernels(lm: Box<dyn Lm>, kernels: Kernels) -> Box<dyn Lm> {
    match kernels {
        Kernels::Own => lm,
        Kernels::Portable => Box::new(Portable(lm)),
    }
}

fn read_text(files: &Files, d_vocab: usize) -> Result<Text> {
    let text = match files.dir() {
        Some(dir) => Text::from_dir(dir)?,
        None => {
            let (tokenizer, config) = (files.needed("tokenizer.json")?, files.needed("tokenizer_config.json")?);
            Text::from_bytes(&files.source.name(), &tokenizer, Some(&config), None)?
        }
    };
    if text.vocab_size() > d_vocab {
        let reason = format!("{} tokens, but the model's vocabulary has {d_vocab}", text.vocab_size());
        return Err(Error::format(files.place("tokenizer.json"), reason, "use the tokenizer of this checkpoint"));
    }
    Ok(text)
}

/// The tokens that end a reply: of the generation settings, else of the configuration.
fn stop_tokens(files: &Files, config_place: &str, config: &Map<String, Value>) -> Result<Vec<u32>> {
    const FILE: &str = "generation_config.json";
    const KEY: &str = "eos_token_id";
    let generation = match files.file(FILE)? {
        Some(bytes) => json::object(&files.place(FILE), &bytes)?,
        None => Map::new(),
    };
    let said = |map: &Map<String, Value>| map.get(KEY).filter(|v| !v.is_null()).cloned();
    let (place, ids) = match said(&generation) {
        Some(ids) => (files.place(FILE), Some(ids)),
        None => (config_place.to_string(), said(config)),
    };
    let list = match ids {
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
        None => vec![],
    };
    let id = |v: &Value| {
        let id = v.as_u64().and_then(|v| u32::try_from(v).ok());
        let reason = || Error::format(&place, format!("`{KEY}`: {v} is no token"), "take the file of this checkpoint");
        id.ok_or_else(reason)
    };
    list.iter().map(id).collect()
}
