//! The command line: the only place that prints. stdout is data, stderr is everything else.
//!
//! Exit codes: 0 done, 1 ran but a check failed, 2 could not run.

mod adapters;
mod analyze;
mod bench;
mod capture;
mod chatting;
mod compare;
mod converse;
mod convert;
mod doctor;
mod export;
mod fit;
mod generate;
mod import;
mod inspect;
mod moments;
mod out;
mod parity;
mod persona;
mod progress;
mod rows;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod shown;
mod steer;
mod study;
mod template;
mod train;
mod typed;
mod world;

use crate::error::Result;
use crate::model::{Model, Opening};
use crate::shipped::TOYWORLD;
use adapters::AdapterArgs;
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// A workbench for the space of personas inside a language model.
#[derive(Parser)]
#[command(name = "personascope", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  personascope demo                                     all shipped experiments on the embedded model, with a report
  personascope check probes/steering.toml               what a run would do, before it does it
  personascope run probes/steering.toml --out mine      one experiment, into a folder of its own
  personascope compare probes/recipes/c3po.toml --out c3po    what fine-tunes know of a trait, and what they show
  personascope capture --prompts p.jsonl --sites resid_post.all --pick mean_response --out acts
  personascope generate --prompts p.jsonl --max-new-tokens 40 --temperature 1 --seed 7 > replies.jsonl
  personascope finetune --data chats.jsonl --out mine                        a LoRA adapter, for --adapter mine=mine
  personascope pretrain src/assets/toyworld-base/pretrain.toml --out base    a model from nothing, by its recipe
  personascope converse --starts s.jsonl --self --turns 8 --out talks                   the model talks to itself
  personascope inspect acts                                                  what it holds, and whether it is sound
  personascope analyze acts --contrast persona=evil,good --group question --out results
  personascope persona import traits/calm.json --out calm                    prompts of persona files, for capture
  personascope score --replies replies.jsonl --lexicon markers.toml --out scores.csv
  personascope convert directions.safetensors --to llamacpp-gguf --out evil.gguf
  personascope fit --activations acts --labels labels.csv --method logistic --out probes
  personascope serve                                                         the page: talk, steer, map, compare, results
  personascope template --prompts p.jsonl --show                             every token in the colour of its span

Exit codes: 0 done, 1 ran but a check failed, 2 could not run.";

#[derive(Subcommand)]
enum Command {
    /// Run the shipped experiments on the embedded model and write a report
    Demo(study::DemoArgs),
    /// Run experiments from probe files
    Run(study::RunArgs),
    /// Say what a probe file would run: every setting, rows and bytes
    Check(study::CheckArgs),
    /// Compare a base with its fine-tunes: what they know, claim, carry and show of a trait
    Compare(compare::CompareArgs),
    /// Keep activations of prompts
    Capture(Box<capture::CaptureArgs>),
    /// Join the parts of a capture that was dealt out
    CaptureMerge(capture::MergeArgs),
    /// Take means, variances and projections of stored rows, by group
    Moments(moments::MomentsArgs),
    /// Analyses with null and interval: of a store, or of arrays and tables made elsewhere
    #[command(visible_alias = "analyse")]
    Analyze(Box<analyze::AnalyzeArgs>),
    /// Fit probes on labelled rows, and judge them
    Fit(Box<fit::FitArgs>),
    /// Write a store, or some of it, as npz, csv, safetensors or parquet
    Export(export::ExportArgs),
    /// Bring activations made elsewhere into a store
    Import(import::ImportArgs),
    /// Persona cards, and persona files of others, as prompts
    Persona(persona::PersonaArgs),
    /// Score replies: markers, a classifier, a judge, or scores made elsewhere
    Score(Box<score::ScoreArgs>),
    /// Take vectors from the format of one program to that of another
    Convert(convert::ConvertArgs),
    /// Continue prompts; writes JSON lines to stdout
    Generate(generate::GenerateArgs),
    /// Lead conversations: the model replies to a user of lists, of domains, to itself or to another model
    Converse(Box<converse::ConverseArgs>),
    /// Continue prompts under edits, at every strength and seed, with proof of what was done
    Steer(Box<steer::SteerArgs>),
    /// Try layers, places and strengths of steering, and recommend one
    SteerSearch(Box<steer::SearchArgs>),
    /// Open the page: talk to the model, push it, and watch where it goes
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArgs>),
    /// Train a model from a recipe
    Pretrain(train::PretrainArgs),
    /// Train an adapter, or all parameters, on conversations or plain text
    Finetune(train::FinetuneArgs),
    /// Say what a file or a model folder holds, and whether it is sound
    Inspect(inspect::InspectArgs),
    /// Say what this machine is, how exact and how fast the program is on it, and which models fit
    Doctor(doctor::DoctorArgs),
    /// Show how conversations become tokens: template, spans, speakers
    Template(template::TemplateArgs),
    /// Compare the numbers of this machine with those of a reference, site by site
    Parity(parity::ParityArgs),
    /// Time a model of random weights on one device: products, reading, keeping, writing
    #[command(hide = true)]
    Bench(bench::BenchArgs),
    /// Write the text of a planted world, its tokenizer and its truth
    World(world::WorldArgs),
}

/// Which model, on what.
#[derive(Args)]
struct ModelArgs {
    /// The embedded model `toyworld`, a folder in Hugging Face layout, or `org/name[@revision]` on the hub
    #[arg(long, value_name = "MODEL", default_value = TOYWORLD)]
    model: String,
    #[command(flatten)]
    computing: ComputingArgs,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// On what to compute, and in which numbers.
#[derive(Args, Clone)]
struct ComputingArgs {
    /// Where to compute: cpu, cuda, cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What the weights are rounded to; on the CPU products are taken in f32 all the same, on a GPU in this type
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "bf16", "f16"])]
    dtype: String,
    /// Which kernels: `own`, or on the CPU too the tensor operations of a GPU, `portable`, to compare the two
    #[arg(long, hide = true, default_value = "own")]
    kernels: String,
}

impl ComputingArgs {
    /// A model that is run so.
    fn opening(&self) -> Result<Opening> {
        let (dtype, processor, kernels) = (self.dtype.parse()?, self.device.parse()?, self.kernels.parse()?);
        Ok(Opening { dtype, processor, kernels, ..Opening::default() })
    }
}

/// How work is spread; changes no result.
#[derive(Args, Clone, Copy)]
struct WorkArgs {
    /// Workers; changes no byte of the results [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1024))]
    threads: Option<u64>,
}

impl WorkArgs {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, |n| n as usize)
    }
}

impl ModelArgs {
    fn load(&self) -> Result<Model> {
        self.adapters.load(&self.model, self.computing.opening()?)
    }
}

/// Parses the arguments, runs the command, prints an error with its hint.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => study::demo(args),
        Command::Run(args) => study::run(args),
        Command::Check(args) => study::check(args),
        Command::Compare(args) => compare::compare(args),
        Command::Capture(args) => capture::capture(*args),
        Command::Moments(args) => moments::moments(args),
        Command::CaptureMerge(args) => capture::capture_merge(args),
        Command::Analyze(args) => analyze::analyze(*args),
        Command::Fit(args) => fit::fit(*args),
        Command::Export(args) => export::export(args),
        Command::Import(args) => import::import(args),
        Command::Persona(args) => persona::persona(args),
        Command::Score(args) => score::score(*args),
        Command::Convert(args) => convert::convert(args),
        Command::Generate(args) => generate::generate(args),
        Command::Converse(args) => converse::converse(*args),
        Command::Steer(args) => steer::steer(*args),
        Command::SteerSearch(args) => steer::steer_search(*args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::serve(*args),
        Command::Pretrain(args) => train::pretrain_command(args),
        Command::Finetune(args) => train::finetune_command(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Template(args) => template::template(args),
        Command::Parity(args) => parity::parity(args),
        Command::Bench(args) => bench::bench(args),
        Command::World(args) => world::world(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("error: {e}");
            if !e.hint().is_empty() {
                eprintln!("\nhint: {}", e.hint());
            }
            ExitCode::from(2)
        }
    }
}

/// Reads a text file.
fn read_text(path: &std::path::Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| crate::error::Error::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let reason = format!("not UTF-8 text (byte {})", e.utf8_error().valid_up_to());
        crate::error::Error::format(path.display().to_string(), reason, "save the file as UTF-8")
    })
}
