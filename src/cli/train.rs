//! `pretrain` and `finetune`.

use super::WorkArgs;
use crate::error::{Error, Result};
use crate::model::Source;
use crate::shipped::TOYWORLD;
use crate::train::Counted;
use crate::train::Shape;
use crate::train::finetune::{self, ALL_LINEAR, Finetune, Lora, finetune};
use crate::train::pretrain::{self, Recipe, Stored, pretrain};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  personascope pretrain src/assets/toyworld-base/pretrain.toml --out mine
  personascope pretrain recipe.toml --corpus corpus --out mine --save-every 500

A recipe names `world` or `corpus`, `config` (random weights) or `init` (a model to go on from), and [training]; those in
src/assets show every key. DIR becomes a checkpoint in Hugging Face layout with loss.csv and loss.svg.")]
pub struct PretrainArgs {
    /// The recipe
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Folder of the model; the same command goes on where an interrupted one stopped
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Corpus to train on, instead of the recipe's
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Save a whole model every N steps as well
    #[arg(long, value_name = "N", default_value_t = 0)]
    save_every: usize,
    #[command(flatten)]
    work: WorkArgs,
}

/// Trains a model.
pub fn pretrain_command(args: PretrainArgs) -> Result<bool> {
    let recipe = Recipe::read(&args.config)?;
    let corpus = match (&args.corpus, &recipe.corpus, &recipe.world) {
        (Some(dir), ..) => dir.clone(),
        (None, Some(dir), _) => dir.clone(),
        (None, None, Some(world)) => {
            let dir = args.out.join("corpus");
            super::world::write(world, &dir, args.work)?;
            dir
        }
        (None, None, None) => {
            let what = format!("{} names neither `world` nor `corpus`", args.config.display());
            return Err(Error::refused(what, "add one of them, or give --corpus"));
        }
    };
    let run = pretrain::Run {
        recipe: &recipe,
        corpus: &corpus,
        out: &args.out,
        save_every: args.save_every,
        threads: args.work.threads(),
    };
    let bar = super::progress::Steps::new(&recipe.name);
    let finished = pretrain(&run, &mut |p| bar.step(p))?;
    bar.end();
    eprintln!("{} in {}", recipe.name, args.out.display());
    Ok(finished)
}

#[derive(Args)]
#[command(after_help = "Examples:
  personascope finetune --data chats.jsonl --out mine
  personascope finetune --model base --data texts.jsonl --out mine --rank 8 --target-modules q_proj,v_proj --seed 1
  personascope finetune --data chats.jsonl --out whole --full --learning-rate 1e-3

A line of data is {\"messages\":[{\"role\":…,\"content\":…}]} or {\"text\":…}. DIR becomes a PEFT adapter (with --full a
checkpoint), with loss.csv, loss.svg and training.json.")]
pub struct FinetuneArgs {
    /// The base: a shipped model, or a folder in Hugging Face layout
    #[arg(long, value_name = "MODEL", default_value = TOYWORLD)]
    model: String,
    /// Training data: JSON lines with `messages` or `text`
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Folder of the adapter; the same command goes on where an interrupted one stopped
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rank of the update
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// The update is scaled by alpha / rank
    #[arg(long, default_value_t = 32.0)]
    alpha: f64,
    /// Scale by alpha / sqrt(rank) instead
    #[arg(long)]
    rslora: bool,
    /// Modules to train, by name: q_proj,v_proj or all-linear
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = ALL_LINEAR)]
    target_modules: Vec<String>,
    /// Train all parameters instead of an adapter
    #[arg(long, conflicts_with_all = ["rank", "alpha", "rslora", "target_modules"])]
    full: bool,
    /// Tokens of a conversation that the loss counts; plain text counts whole
    #[arg(long, default_value = "assistant", value_parser = ["assistant", "all"])]
    loss: String,
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Examples in a batch
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Peak of the learning rate [large models: about 2e-4]
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Warm-up, as a share of the steps
    #[arg(long, default_value_t = 0.05)]
    warmup: f64,
    /// How the rate falls after the warm-up
    #[arg(long, default_value = "cosine", value_parser = ["cosine", "linear", "constant"])]
    schedule: String,
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How trained weights are stored
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"])]
    save_dtype: String,
    /// Save every N steps as well
    #[arg(long, value_name = "N", default_value_t = 0)]
    save_every: usize,
    #[command(flatten)]
    work: WorkArgs,
}

/// Trains an adapter, or a whole model.
pub fn finetune_command(args: FinetuneArgs) -> Result<bool> {
    let lora = (!args.full).then(|| Lora {
        rank: args.rank,
        alpha: args.alpha,
        rslora: args.rslora,
        targets: args.target_modules.clone(),
    });
    let how = Finetune {
        lora,
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        warmup: args.warmup,
        shape: match args.schedule.as_str() {
            "linear" => Shape::Linear,
            "constant" => Shape::Constant,
            _ => Shape::Cosine,
        },
        weight_decay: args.weight_decay,
        seed: args.seed,
        dtype: if args.save_dtype == "f16" { Stored::F16 } else { Stored::F32 },
    };
    let lines = super::read_text(&args.data)?;
    let run = finetune::Run {
        base: &Source::parse(&args.model),
        place: &args.data.display().to_string(),
        lines: &lines,
        counted: if args.loss == "all" { Counted::All } else { Counted::Assistant },
        how: &how,
        out: &args.out,
        save_every: args.save_every,
        threads: args.work.threads(),
    };
    let bar = super::progress::Steps::new("fine-tuning");
    let report = finetune(&run, &mut |p| bar.step(p))?;
    bar.end();
    report.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    eprintln!(
        "{} examples, {} tokens ({} counted) per epoch; {} trained parameters, {} steps, loss {:.4} -> {:.4}; in {}",
        report.examples,
        report.tokens,
        report.counted_tokens,
        report.trained_parameters,
        report.steps,
        report.first_loss_nats,
        report.last_loss_nats,
        args.out.display()
    );
    Ok(report.finished)
}
