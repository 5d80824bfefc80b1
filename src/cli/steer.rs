//! `steer`: replies under edits, at every strength and seed, with proof of what was done.

pub(super) mod ask;
mod search;

pub use search::{SearchArgs, steer_search};

use super::adapters;
use super::chatting::warn;
use super::progress::Bar;
use super::typed::command_line;
use super::{ModelArgs, read_text};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::sample::Sampling;
use crate::steer::{Op, Place, Prompted, Steered, Sweep};
use crate::store::{FolderShelf, create_dir, write_atomic};
use crate::text::prompts::Prompt;
use crate::unit::{self, MAX_BATCH_TOKENS, Shelf, Tally};
use ask::{Asked, Written};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope steer --prompts p.jsonl --vector evil.safetensors --site resid_post.2 --op shift --strength 0,0.5n,1n \
    --on last_prompt --max-new-tokens 40 --out steered
  personascope steer --prompts p.jsonl --vector axis.safetensors --site resid_post.2 --op cap-floor --strength p25 \
    --calibrate chats.jsonl --on all --max-new-tokens 40 --temperature 1 --seed 1,2,3 --out capped
  personascope steer --prompts p.jsonl --vector a.gguf --site resid_post.1 --op scale --strength 0 \
    --vector b.npz --site resid_post.2 --op pin --strength 3 --on all --max-new-tokens 40 --out both
  personascope steer --prompts p.jsonl --vector acts --site resid_post.1 --op patch --strength 1 --on last_prompt \
    --max-new-tokens 40 --out patched
  personascope steer --prompts p.jsonl --caps capping_config.pt --experiment layers_46:54-p0.25 --on all \
    --max-new-tokens 40 --out capped

An edit is a --vector with its --site, --op and --strength; several follow each other, and what is given once holds for all.
Strengths: 4 in activation units (for scale a factor, for patch a share), 0.5n half the mean norm of the stream at the site
(shift alone), p25 the projection below which 25 % of tokens lie (pin and caps). Norms and percentiles are measured on the
content tokens of --calibrate, else of the prompts, unsteered. Lists of strengths of several edits advance together.

Operations: shift adds to the projection, scale multiplies it (0 ablates), pin sets it, cap-floor lifts what is below the
strength to it, cap-ceiling lowers what is above to it, patch puts in rows of a capture folder, by the ids of the prompts.

A vector is FILE, or FILE#NAME where the file has several at the site. Written are replies.jsonl (id, strength, seed, text,
tokens), receipts.csv (what each edit did to each reply, measured on the activations) and run.json. A run in which an edit did
not do what it says ends with exit code 1."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SteerArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts, one JSON object per line: {"id", "messages"} or {"id", "text"} or {"id", "tokens"}
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// A vector file of any format, or for `patch` a capture folder; may come several times
    #[arg(long = "vector", value_name = "FILE")]
    vectors: Vec<PathBuf>,
    #[command(flatten)]
    written: Written,
    /// Where it is applied
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<crate::axes::Site>,
    /// shift, scale, pin, cap-floor, cap-ceiling or patch
    #[arg(long = "op", value_name = "OP")]
    ops: Vec<Op>,
    /// One or more, with commas between: 0,0.5n,1n
    #[arg(long = "strength", value_name = "LIST", allow_hyphen_values = true)]
    strengths: Vec<String>,
    /// A capping_config.pt in the place of --vector: all caps of one of its experiments
    #[arg(long, value_name = "FILE", requires = "experiment", conflicts_with_all = ["vectors", "sites", "ops", "strengths"])]
    caps: Option<PathBuf>,
    /// The experiment, such as layers_46:54-p0.25
    #[arg(long, value_name = "ID", requires = "caps")]
    experiment: Option<String>,
    /// Which tokens: all, prompt, last_prompt, last_prompt+generated, generated, positions:0,-1,3..7, turns:0,2
    #[arg(long = "on", value_name = "TOKENS", required = true)]
    places: Vec<Place>,
    /// Tokens drawn at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    max_new_tokens: u64,
    /// 0 takes the most likely token, 1 samples from the model's own distribution
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Samples from the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// One or more seeds, with commas between; every strength is drawn with the same random numbers
    #[arg(long, value_name = "S,...", value_delimiter = ',', default_value = "0")]
    seed: Vec<u64>,
    /// Prompts on which norms and percentiles are measured; with it, the share of tokens that each cap touches is told
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = 4 * MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_tokens: u64,
}

/// Where finished units are kept until all are.
const UNFINISHED: &str = ".unfinished";

pub fn steer(args: SteerArgs) -> Result<bool> {
    let sampling = Sampling::new(args.temperature, args.top_p)?;
    let asked = Asked::of(&args)?;
    let mut seeds = args.seed.clone();
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.len() < args.seed.len() {
        return Err(Error::refused("--seed names a seed twice", "give every seed once"));
    }
    if seeds.len() > 1 && args.temperature == 0.0 {
        eprintln!("warning: at temperature 0 every seed gives the same reply; give --temperature");
    }
    let model = args.model.load()?;
    let threads = args.model.work.threads();
    let prompts = prompted(read_prompts(&args.prompts)?, &model, threads)?;
    let arms = asked.arms(&args.written, &model)?;
    let calibration = match &args.calibrate {
        Some(path) => Some(prompted(read_prompts(path)?, &model, threads)?),
        None => None,
    };
    let measured_on = (calibration.as_deref().unwrap_or(&prompts), calibration.is_some());
    let measured = asked.measure(&model, &arms, measured_on, threads)?;
    let (arms, mut about) = asked.resolve(arms, &measured, args.calibrate.is_some())?;
    let settings = crate::model::generate::Settings {
        max_new_tokens: args.max_new_tokens as usize,
        sampling,
        stops: model.stops.clone(),
    };
    let max_batch_tokens = args.max_batch_tokens as usize;
    let strengths = asked.strengths();
    let sweep = Sweep { model: &model, prompts, arms, strengths, seeds: args.seed.clone(), settings, max_batch_tokens };
    let plan = sweep.plan()?;
    plan.check()?;
    plan.beyond_training().iter().for_each(|w| eprintln!("warning: {w}"));
    create_dir(&args.out)?;
    let shelf = FolderShelf::open(&args.out.join(UNFINISHED))?;
    let mut bar = Bar::new("steer");
    let done = sweep.run(threads, Some(&shelf as &dyn Shelf), &mut |t: &Tally| bar.step(t))?;
    bar.end();
    write(&args.out, &sweep, &done)?;
    about["command"] = json!("steer");
    about["command_line"] = json!(command_line());
    about["model"] = json!({ "name": model.name, "hash": model.hash });
    about["prompts"] = json!(args.prompts.display().to_string());
    about["seeds"] = json!(args.seed);
    about["max_new_tokens"] = json!(args.max_new_tokens);
    about["sampling"] = json!(sampling);
    about["faults"] = json!(done.faults);
    let text = serde_json::to_string_pretty(&about).unwrap_or_default();
    write_atomic(&args.out.join("run.json"), format!("{text}\n").as_bytes(), false)?;
    let _ = std::fs::remove_dir_all(args.out.join(UNFINISHED));
    eprintln!("{} replies in {}", done.replies.len(), args.out.display());
    done.faults.iter().for_each(|f| eprintln!("error: {f}"));
    if !done.faults.is_empty() {
        eprintln!("\nhint: the replies are written, but do not take them for steered; receipts.csv says what was done");
    }
    Ok(done.faults.is_empty())
}

fn read_prompts(path: &Path) -> Result<Vec<Prompt>> {
    Prompt::parse_lines(&path.display().to_string(), &read_text(path)?)
}

/// Prompts in tokens.
fn prompted(prompts: Vec<Prompt>, model: &Model, threads: usize) -> Result<Vec<Prompted>> {
    let through = adapters::through(model, &prompts)?;
    let encoded = unit::parallel(&prompts, threads, |p| p.encode(&model.text))?;
    warn(encoded.iter().flat_map(|e| &e.warnings));
    let one = |((prompt, encoded), adapter): ((Prompt, _), _)| Prompted { id: prompt.id, encoded, adapter };
    Ok(prompts.into_iter().zip(encoded).zip(through).map(one).collect())
}

fn write(out: &Path, sweep: &Sweep, done: &Steered) -> Result<()> {
    let mut lines = String::new();
    for reply in &done.replies {
        let written = &sweep.strengths[reply.strength];
        // A plain number stays one; what has a unit is text.
        let strength = written.parse::<f64>().ok().filter(|v| v.is_finite()).map_or(json!(written), |v| json!(v));
        let line: Value = json!({
            "id": sweep.prompts[reply.prompt].id,
            "strength": strength,
            "seed": reply.seed,
            "text": sweep.model.text.decode(&reply.tokens)?,
            "tokens": reply.tokens,
        });
        let _ = writeln!(lines, "{line}");
    }
    write_atomic(&out.join("replies.jsonl"), lines.as_bytes(), false)?;
    write_atomic(&out.join("receipts.csv"), done.receipts.to_csv().as_bytes(), false)
}
