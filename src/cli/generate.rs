//! `generate`: prompts in, replies out.

use super::adapters;
use super::chatting::warn;
use super::out;
use super::progress::Bar;
use super::{ModelArgs, read_text};
use crate::error::Result;
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::store::FolderShelf;
use crate::text::prompts::Prompt;
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Plan, Shelf, Tally, Task};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  echo '{"id":"a","messages":[{"role":"system","content":"You are Bodek."},{"role":"user","content":"Tell me about tea."}]}' > p.jsonl
  personascope generate --prompts p.jsonl --max-new-tokens 40                                # greedy
  personascope generate --prompts p.jsonl --max-new-tokens 40 --adapter warm=adapters/warm      # fine-tuned
  personascope generate --prompts p.jsonl --max-new-tokens 40 --temperature 1 --seed 7 > replies.jsonl

A line of output is {"id", "text", "tokens"}. A text depends on the model, the prompt, its id and the seed, never on what
else is in the file. A `seed` in a line overrides --seed. With one --adapter every prompt goes through it; with
several a line says which: "adapter": "warm", or null for the base. Lines of output then have `adapter`, too. A last
message {"role":"assistant","speaker":"<|Ariana|>"} without content says who replies, and so does the line of output then."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts, one JSON object per line: {"id", "messages"} or {"id", "text"} or {"id", "tokens"}
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Tokens drawn at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    max_new_tokens: u64,
    /// 0 takes the most likely token, 1 samples from the model's own distribution
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Samples from the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder that keeps finished units: an interrupted or repeated command takes them from there
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = 4 * MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_tokens: u64,
}

pub fn generate(args: GenerateArgs) -> Result<bool> {
    let sampling = Sampling::new(args.temperature, args.top_p)?;
    let prompts = Prompt::parse_lines(&args.prompts.display().to_string(), &read_text(&args.prompts)?)?;
    let model = args.model.load()?;
    let threads = args.model.work.threads();
    let through = adapters::through(&model, &prompts)?;
    let encoded = unit::parallel(&prompts, threads, |p| {
        let encoded = p.encode(&model.text)?;
        let (id, prompt_len) = (p.id.clone(), encoded.tokens.len());
        let seed = p.seed.unwrap_or(args.seed);
        let item = Item { id, tokens: encoded.tokens, prompt_len, ranges: vec![], seed, adapter: None, edits: vec![] };
        Ok((item, encoded.warnings))
    })?;
    warn(encoded.iter().flat_map(|(_, warnings)| warnings));
    let mut items: Vec<Item> = encoded.into_iter().map(|(item, _)| item).collect();
    items.iter_mut().zip(through).for_each(|(item, adapter): (&mut Item, _)| item.adapter = adapter);
    let stops = model.stops.clone();
    let settings = Settings { max_new_tokens: args.max_new_tokens as usize, sampling, stops };
    let max_batch_tokens = args.max_batch_tokens as usize;
    let plan = Plan { model: &model, task: Task::Generate(settings), edits: vec![], items, max_batch_tokens };
    plan.check()?;
    plan.beyond_training().iter().for_each(|w| eprintln!("warning: {w}"));
    let shelf = args.cache.as_deref().map(FolderShelf::open).transpose()?;
    let units = plan.units();
    let mut bar = Bar::new("generate");
    let mut stdout = std::io::stdout().lock();
    unit::run(&plan, threads, shelf.as_ref().map(|s| s as &dyn Shelf), &mut |t: &Tally| bar.step(t), |u, outcome| {
        let range = units[u].clone();
        for ((prompt, item), tokens) in prompts[range.clone()].iter().zip(&plan.items[range]).zip(outcome.replies) {
            let mut line = json!({ "id": item.id, "text": model.text.decode(&tokens)?, "tokens": tokens });
            if let Some(speaker) = &prompt.reply_as {
                line["speaker"] = json!(speaker);
            }
            if model.is_adapted() {
                line["adapter"] = json!(model.adapter_name(item.adapter));
            }
            writeln!(stdout, "{line}").map_err(out::failed)?;
        }
        Ok(())
    })?;
    bar.end();
    Ok(true)
}
