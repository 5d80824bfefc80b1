//! Pretraining from a recipe: a TOML file that says what is trained, on what, and how.

use super::batches::{Amount, Size};
use super::fit::{Progress, Settings, Task, fit};
use super::optimizer::AdamW;
use super::output::Folder;
use super::schedule::{Schedule, Shape};
use super::sequences::{Counted, Sequences};
use crate::error::{Error, Result};
use crate::model::{Filling, Model, Opening, Parameter, Purpose, Source};
use crate::store::{create_dir, write_atomic};
use crate::text::Text;
use candle_core::DType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// How weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    F16,
    #[default]
    F32,
}

impl Stored {
    /// The type of the tensors.
    pub fn dtype(self) -> DType {
        if self == Stored::F16 { DType::F16 } else { DType::F32 }
    }
}

/// A recipe. Paths are relative to its file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the model is called in figures.
    pub name: String,
    /// The world whose corpus is trained on; it is written beside the model if no corpus is given.
    pub world: Option<PathBuf>,
    /// A folder with `train.jsonl`, `heldout.jsonl` and the tokenizer.
    pub corpus: Option<PathBuf>,
    /// The model to go on from: the name of a shipped one, or a folder. Without it, random weights of `config`.
    pub init: Option<String>,
    /// The keys of `config.json`.
    #[serde(default)]
    pub config: Map<String, Value>,
    #[serde(default)]
    pub dtype: Stored,
    pub training: Training,
}

/// The numbers of a pretraining run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Tokens to see.
    pub tokens: usize,
    pub batch_tokens: usize,
    pub learning_rate: f64,
    pub warmup_steps: usize,
    pub shape: Shape,
    /// Learning rate at the end, as a share of its peak.
    pub last_rate: f64,
    pub betas: (f64, f64),
    pub weight_decay: f64,
    pub clip: f64,
    pub seed: u64,
    #[serde(default = "two")]
    pub shards: usize,
    #[serde(default)]
    pub eval_every: usize,
    #[serde(default = "hundred")]
    pub checkpoint_every: usize,
    /// Held-out sequences that are measured, at most.
    #[serde(default = "hundred")]
    pub heldout: usize,
}

fn two() -> usize {
    2
}

fn hundred() -> usize {
    100
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// Broken TOML, unknown or missing keys, and both or neither of `config` and `init`, `world` and `corpus`.
    pub fn read(path: &Path) -> Result<Recipe> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let hint = "the recipes of the shipped models in src/assets show every key";
        let mut recipe: Recipe = toml::from_str(&text).map_err(|e| Error::format(&place, e.to_string(), hint))?;
        if recipe.config.is_empty() == recipe.init.is_none() {
            let why = "exactly one of `config` (random weights) and `init` (a model to go on from) is needed";
            return Err(Error::format(place, why, hint));
        }
        if recipe.world.is_some() && recipe.corpus.is_some() {
            return Err(Error::format(place, "`world` and `corpus` exclude each other", hint));
        }
        let beside = |p: &mut PathBuf| *p = path.parent().unwrap_or(Path::new("")).join(&*p);
        recipe.world.iter_mut().for_each(beside);
        recipe.corpus.iter_mut().for_each(beside);
        if let Some(init) = &mut recipe.init {
            let beside = path.parent().unwrap_or(Path::new("")).join(&*init);
            let folder = match Source::parse(init) {
                Source::Embedded(_) => false,
                Source::Dir(_) => true,
                Source::Hub { .. } => beside.is_dir(),
            };
            if folder {
                *init = beside.display().to_string();
            }
        }
        Ok(recipe)
    }
}

impl Training {
    fn settings(&self, save_every: usize) -> Settings {
        Settings {
            batch: Size::Tokens(self.batch_tokens),
            amount: Amount::Tokens(self.tokens),
            schedule: Schedule {
                peak: self.learning_rate,
                warmup: self.warmup_steps,
                shape: self.shape,
                last: self.last_rate,
            },
            optimizer: AdamW { betas: self.betas, eps: 1e-8, weight_decay: self.weight_decay, clip: self.clip },
            seed: self.seed,
            shards: self.shards,
            eval_every: self.eval_every,
            checkpoint_every: self.checkpoint_every,
            save_every,
        }
    }
}

/// The first `most` sequences of a file of a corpus.
fn read(corpus: &Path, name: &str, text: &Text, n_ctx: usize, threads: usize, most: usize) -> Result<Sequences> {
    let path = corpus.join(name);
    let lines = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let end = lines.match_indices('\n').nth(most.saturating_sub(1)).map_or(lines.len(), |(at, _)| at);
    Sequences::read(&path.display().to_string(), &lines[..end], text, Counted::All, n_ctx, threads)
}

/// Where a run of a recipe writes, and with what.
pub struct Run<'a> {
    pub recipe: &'a Recipe,
    /// The folder with `train.jsonl`, `heldout.jsonl` and the tokenizer.
    pub corpus: &'a Path,
    pub out: &'a Path,
    /// Steps between saved models; 0: the last alone.
    pub save_every: usize,
    pub threads: usize,
}

/// Trains a model as a recipe says: `out` becomes a checkpoint in Hugging Face layout. Gives whether it is finished.
///
/// # Errors
/// Bad data, a folder of another run, failures of files or of training.
pub fn pretrain(run: &Run<'_>, watch: &mut dyn FnMut(Progress) -> bool) -> Result<bool> {
    let Run { recipe, corpus, out, save_every, threads } = *run;
    create_dir(out)?;
    let folder = Folder { dir: out, dtype: recipe.dtype.dtype() };
    folder.copy_beside(&Source::Dir(corpus.to_path_buf()))?;
    let (model, parameters) = match &recipe.init {
        Some(init) => {
            let opened = Model::open(&Source::parse(init), Opening::to(Purpose::Train))?;
            folder.copy_beside(&opened.0.source)?;
            opened
        }
        None => {
            folder.config(&recipe.config)?;
            let opening = Opening { filling: Filling::Random(recipe.training.seed), ..Opening::to(Purpose::Train) };
            Model::open(&Source::Dir(out.to_path_buf()), opening)?
        }
    };
    let own = Text::from_dir(corpus)?;
    if own.tokenizer_hash() != model.text.tokenizer_hash() {
        return Err(Error::format(
            corpus.join("tokenizer.json").display().to_string(),
            "is not the tokenizer of the model that training starts from",
            "make the corpus with `tokenizer` set to the folder of that model",
        ));
    }
    let n_ctx = model.lm.dims().n_ctx;
    let data = read(corpus, "train.jsonl", &model.text, n_ctx, threads, usize::MAX)?;
    let heldout = read(corpus, "heldout.jsonl", &model.text, n_ctx, threads, recipe.training.heldout)?;
    let vars: Vec<_> = parameters.iter().map(|p| p.var.clone()).collect();
    let settings = recipe.training.settings(save_every);
    let decides = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "training": recipe.training,
        "start": model.hash,
        "data": [data.hash(), heldout.hash()],
    });
    let identity = format!("{:x}", Sha256::digest(decides.to_string()));
    let task = Task {
        lm: &*model.lm,
        adapter: None,
        vars: &vars,
        data: &data,
        heldout: Some(&heldout),
        settings,
        identity: identity.clone(),
        threads,
    };
    let mut save = |step: usize| save_model(&out.join(format!("step-{step:06}")), &folder, &parameters);
    let (curve, finished) = fit(&task, out, watch, &mut save)?;
    folder.curve(&recipe.name, &curve)?;
    if finished {
        folder.weights(&parameters)?;
        let about = json!({
            "name": recipe.name,
            "parameters": vars.iter().map(|v| v.as_tensor().elem_count()).sum::<usize>(),
            "steps": curve.len(),
            "tokens": curve.tokens.last(),
            "loss_nats": curve.loss.last(),
            "heldout_loss_nats": curve.heldout.last(),
            "start": recipe.init.as_deref().unwrap_or("random"),
            "training": recipe.training,
            "identity": identity,
        });
        let bytes = format!("{about:#}\n");
        write_atomic(&out.join("training.json"), bytes.as_bytes(), false)?;
    }
    Ok(finished)
}

/// A whole checkpoint in a folder of its own.
pub(super) fn save_model(dir: &Path, like: &Folder<'_>, parameters: &[Parameter]) -> Result<()> {
    create_dir(dir)?;
    let folder = Folder { dir, dtype: like.dtype };
    folder.copy_beside(&Source::Dir(like.dir.to_path_buf()))?;
    folder.weights(parameters)
}
