//! Fine-tuning any supported model on conversations or plain text: low-rank adapters, or all parameters.

use super::batches::{self, Amount, Size};
use super::fit::{Progress, Settings, Task, fit};
use super::optimizer::AdamW;
use super::output::Folder;
use super::pretrain::{Stored, save_model};
use super::schedule::{Schedule, Shape};
use super::sequences::{Counted, Sequences};
use crate::error::{Error, Result};
use crate::model::adapter::{self, Adapter, Targets};
use crate::model::{Model, Opening, Purpose, Source};
use crate::store::{create_dir, write_atomic};
use candle_core::Var;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Every linear map of the blocks, as PEFT calls it.
pub const ALL_LINEAR: &str = "all-linear";

/// What is trained of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    pub rank: usize,
    pub alpha: f64,
    /// Scale by `alpha / sqrt(rank)` (Kalajdzievski 2023) and not by `alpha / rank` (Hu et al. 2021).
    pub rslora: bool,
    /// Names of modules, `q_proj`, or [`ALL_LINEAR`].
    pub targets: Vec<String>,
}

/// All that decides a fine-tune beside base model and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finetune {
    /// `None`: all parameters.
    pub lora: Option<Lora>,
    pub epochs: usize,
    /// Examples in a batch.
    pub batch_size: usize,
    pub learning_rate: f64,
    /// Share of the steps.
    pub warmup: f64,
    pub shape: Shape,
    pub weight_decay: f64,
    pub seed: u64,
    pub dtype: Stored,
}

impl Lora {
    fn settings(&self, base: &str) -> adapter::Settings {
        let targets = match &self.targets[..] {
            [one] if one == ALL_LINEAR => Targets::AllLinear,
            names => Targets::Names(names.to_vec()),
        };
        let settings = adapter::Settings::new(self.rank, self.alpha, targets);
        adapter::Settings { rslora: self.rslora, base: Some(base.into()), ..settings }
    }
}

impl Default for Finetune {
    fn default() -> Finetune {
        let lora = Lora { rank: 16, alpha: 32.0, rslora: false, targets: vec![ALL_LINEAR.into()] };
        Finetune {
            lora: Some(lora),
            epochs: 3,
            batch_size: 8,
            learning_rate: 2e-3,
            warmup: 0.05,
            shape: Shape::Cosine,
            weight_decay: 0.0,
            seed: 0,
            dtype: Stored::F32,
        }
    }
}

impl Finetune {
    fn settings(&self, examples: usize, save_every: usize) -> Settings {
        let steps = self.epochs * examples.div_ceil(self.batch_size.max(1));
        Settings {
            batch: Size::Examples(self.batch_size),
            amount: Amount::Epochs(self.epochs),
            schedule: Schedule {
                peak: self.learning_rate,
                warmup: (self.warmup * steps as f64).ceil() as usize,
                shape: self.shape,
                last: 0.0,
            },
            optimizer: AdamW { weight_decay: self.weight_decay, ..AdamW::default() },
            seed: self.seed,
            shards: 2,
            eval_every: 0,
            checkpoint_every: 50,
            save_every,
        }
    }

    /// Tokens that have gone through the model after each step on these data.
    ///
    /// # Errors
    /// No data, batches or epochs of 0.
    pub fn tokens_by_step(&self, data: &Sequences) -> Result<Vec<usize>> {
        let settings = self.settings(data.len(), 0);
        let batches = batches::plan(data, settings.batch, settings.amount, settings.seed)?;
        let mut seen = 0;
        let step = |batch: &Vec<usize>| {
            seen += batch.iter().map(|i| data.length(*i)).sum::<usize>();
            seen
        };
        Ok(batches.iter().map(step).collect())
    }

    fn check(&self) -> Result<()> {
        let fine = self.learning_rate > 0.0 && self.learning_rate.is_finite() && (0.0..1.0).contains(&self.warmup);
        if !fine || self.weight_decay < 0.0 {
            let what = format!("learning rate {}, warm-up {}", self.learning_rate, self.warmup);
            return Err(Error::refused(what, "a rate above 0 and a warm-up in [0, 1) are needed"));
        }
        match &self.lora {
            Some(l) if l.rank == 0 || l.alpha <= 0.0 || !l.alpha.is_finite() => {
                let what = format!("rank {} and alpha {}", l.rank, l.alpha);
                Err(Error::refused(what, "both have to be above 0"))
            }
            _ => Ok(()),
        }
    }
}

/// What a fine-tune starts from and where it goes.
pub struct Run<'a> {
    pub base: &'a Source,
    /// What is read as training data: its name, its lines, and which tokens count.
    pub place: &'a str,
    pub lines: &'a str,
    pub counted: Counted,
    pub how: &'a Finetune,
    pub out: &'a Path,
    /// Steps between saved adapters; 0: the last alone.
    pub save_every: usize,
    pub threads: usize,
}

/// What came of a fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub finished: bool,
    pub examples: usize,
    /// Tokens of the data, and those that the loss counts, per epoch.
    pub tokens: usize,
    pub counted_tokens: usize,
    pub trained_parameters: usize,
    pub steps: usize,
    pub first_loss_nats: f64,
    pub last_loss_nats: f64,
    pub identity: String,
    /// What of the data was rendered otherwise than it is written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The hash of all that decides a fine-tune: two with the same one are the same. An adapter has it in its file.
pub fn identity(how: &Finetune, base_hash: &str, data: &Sequences) -> String {
    let decides = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "how": how,
        "base": base_hash,
        "data": data.hash(),
    });
    format!("{:x}", Sha256::digest(decides.to_string()))
}

/// The folder below that of the run in which the adapter after a step is saved.
pub fn saved(step: usize) -> String {
    format!("step-{step:06}")
}

/// Trains an adapter, or the whole model, into the folder `out`.
///
/// # Errors
/// Bad data or settings, the folder of another run, failures of files or of training.
pub fn finetune(run: &Run<'_>, watch: &mut dyn FnMut(Progress) -> bool) -> Result<Report> {
    let Run { base, place, lines, counted, how, out, save_every, threads } = *run;
    how.check()?;
    let purpose = if how.lora.is_some() { Purpose::Adapt } else { Purpose::Train };
    let (model, parameters) = Model::open(base, Opening::to(purpose))?;
    let data = Sequences::read(place, lines, &model.text, counted, model.lm.dims().n_ctx, threads)?;
    let settings = how.lora.as_ref().map(|lora| lora.settings(&model.source.name()));
    let (adapter, vars): (Option<Adapter>, Vec<Var>) = match &settings {
        Some(settings) => {
            let (adapter, vars) = Adapter::fresh("trained", &*model.lm, &model.hash, settings, how.seed)?;
            (Some(adapter), vars.into_iter().map(|(_, var)| var).collect())
        }
        None => (None, parameters.iter().map(|p| p.var.clone()).collect()),
    };
    let identity = identity(how, &model.hash, &data);
    create_dir(out)?;
    let task = Task {
        lm: &*model.lm,
        adapter: adapter.as_ref(),
        vars: &vars,
        data: &data,
        heldout: None,
        settings: how.settings(data.len(), save_every),
        identity: identity.clone(),
        threads,
    };
    let write = |dir: &Path| -> Result<()> {
        create_dir(dir)?;
        let folder = Folder { dir, dtype: how.dtype.dtype() };
        match (&adapter, &settings) {
            (Some(adapter), Some(settings)) => {
                let stored = match how.dtype {
                    Stored::F16 => adapter::Stored::F16,
                    Stored::F32 => adapter::Stored::F32,
                };
                let about = Map::from_iter([("identity".to_string(), identity.clone().into())]);
                let files = adapter.to_files(settings, stored, &about)?;
                files.iter().try_for_each(|(name, bytes)| write_atomic(&dir.join(name), bytes, true))
            }
            _ => {
                folder.copy_beside(&model.source)?;
                save_model(dir, &folder, &parameters)
            }
        }
    };
    let mut save = |step: usize| write(&out.join(saved(step)));
    let (curve, finished) = fit(&task, out, watch, &mut save)?;
    if finished {
        write(out)?;
    }
    let name = out.file_name().map_or("the fine-tune".into(), |n| n.to_string_lossy().into_owned());
    Folder { dir: out, dtype: how.dtype.dtype() }.curve(&name, &curve)?;
    let report = Report {
        finished,
        examples: data.len(),
        tokens: data.n_tokens(),
        counted_tokens: data.n_counted(),
        trained_parameters: vars.iter().map(|v| v.as_tensor().elem_count()).sum(),
        steps: curve.len(),
        first_loss_nats: curve.loss.first().copied().unwrap_or(f64::NAN),
        last_loss_nats: curve.loss.last().copied().unwrap_or(f64::NAN),
        identity,
        warnings: data.warnings.iter().cloned().collect(),
    };
    let about = json!({ "base": model.name, "base_hash": model.hash, "how": how, "report": report });
    write_atomic(&out.join("training.json"), format!("{about:#}\n").as_bytes(), false)?;
    Ok(report)
}
