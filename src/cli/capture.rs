//! `capture`: prompts in, activations out.

use super::adapters;
use super::chatting::warn;
use super::progress::Bar;
use super::{ModelArgs, read_text};
use crate::axes::{Pick, Site};
use crate::capture::{Kept, select};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::store::activations::{Layout, Writer};
use crate::store::{FolderShelf, create_dir, write_atomic};
use crate::table::quoted;
use crate::text::Encoded;
use crate::text::prompts::Prompt;
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Plan, Tally, Task};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  echo '{"id":"a","messages":[{"role":"user","content":"Tell me about tea."}]}' > p.jsonl
  personascope capture --prompts p.jsonl --sites resid_post.all --pick last_prompt --out acts
  personascope capture --prompts p.jsonl --pick last_prompt --adapter warm=adapters/warm --out acts-warm
  personascope capture --prompts p.jsonl --sites resid_pre.0,attn_out.1..2,logits --pick all --out acts-all
  python3 -c "from safetensors.numpy import load_file; print(load_file('acts/activations.safetensors')['resid_post.2'].shape)"

Writes activations.safetensors (a tensor per site, [row, d_model]), rows.csv and run.json. Interrupted, the same command
goes on where it was.

With one --adapter every prompt goes through it. With several, or to compare with the base in one file, a line says which:
"adapter": "warm", or null for the base. rows.csv then has a column `adapter`, empty for the base.

A message may name its speaker: {"role":"assistant","speaker":"<|Ariana|>","content":…} has that string in its header in the
place of the role; rows.csv then has a column `speaker`. See `personascope template --show`."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CaptureArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts, one JSON object per line: {"id", "messages"} or {"id", "text"} or {"id", "tokens"}
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Sites: a list of POINT.LAYER, ranges (resid_post.2..5), resid_post.all, all, logits
    #[arg(long, value_name = "SITES", default_value = "resid_post.all")]
    sites: String,
    /// Rows kept: all, last_prompt, mean_response, each_turn
    #[arg(long, default_value = "all")]
    pick: Pick,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_tokens: u64,
    /// Bytes a file may hold before rows go to the next one
    #[arg(long, value_name = "B", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    shard_bytes: u64,
}

/// Everything that is decided before the first pass.
struct Job<'m> {
    model: &'m Model,
    prompts: Vec<Prompt>,
    encoded: Vec<(Encoded, Vec<Kept>)>,
    plan: Plan<'m>,
    layout: Layout,
    pick: Pick,
    threads: usize,
    /// Of the prompts.
    warnings: Vec<String>,
}

pub fn capture(args: CaptureArgs) -> Result<bool> {
    let prompts = Prompt::parse_lines(&args.prompts.display().to_string(), &read_text(&args.prompts)?)?;
    let model = args.model.load()?;
    let job = resolve(&args, &model, prompts)?;
    let mut described = job.describe();
    args.model.adapters.chat.describe(&model.text, &mut described);
    if let Some(mut run) = complete(&args.out, &described)? {
        (run["rows_computed"], run["rows_resumed"]) = (0.into(), run["rows"].clone());
        write_json(&args.out.join(RUN), &run)?;
        eprintln!("{} already holds the {} rows of this plan; nothing to do", args.out.display(), run["rows"]);
        return Ok(true);
    }
    job.plan.beyond_training().iter().for_each(|w| eprintln!("warning: {w}"));
    start(&args.out, &described)?;
    let tally = job.run(&args.out, described)?;
    let (rows, resumed) = (tally.rows_computed + tally.rows_resumed, tally.rows_resumed);
    eprintln!("{rows} rows at {} sites in {} ({resumed} resumed)", job.layout.sites.len(), args.out.display());
    Ok(true)
}

fn resolve<'m>(args: &CaptureArgs, model: &'m Model, prompts: Vec<Prompt>) -> Result<Job<'m>> {
    let dims = *model.lm.dims();
    let sites = Site::parse_list(&args.sites, dims.n_layers, model.lm.points())?;
    let threads = args.model.work.threads();
    let encoded = unit::parallel(&prompts, threads, |p| {
        let encoded = p.encode(&model.text)?;
        let kept = select(args.pick, &p.id, &encoded)?;
        Ok((encoded, kept))
    })?;
    let through = adapters::through(model, &prompts)?;
    let items: Vec<Item> = prompts
        .iter()
        .zip(&encoded)
        .zip(through)
        .map(|((p, (encoded, kept)), adapter)| Item {
            id: p.id.clone(),
            tokens: encoded.tokens.clone(),
            prompt_len: encoded.last_prompt() + 1,
            ranges: kept.iter().map(|k| k.range.clone()).collect(),
            seed: 0,
            adapter,
            edits: vec![],
        })
        .collect();
    let max_batch_tokens = args.max_batch_tokens as usize;
    let plan = Plan { model, task: Task::Capture { sites: sites.clone() }, edits: vec![], items, max_batch_tokens };
    plan.check()?;
    let widths = sites.into_iter().map(|s| (s, dims.width(s))).collect();
    let layout = Layout { sites: widths, rows: plan.rows(), shard_bytes: args.shard_bytes };
    let warnings = warn(encoded.iter().flat_map(|(e, _)| &e.warnings));
    Ok(Job { model, prompts, encoded, plan, layout, pick: args.pick, threads, warnings })
}

impl Job<'_> {
    /// The resolved plan, as `run.json` holds it. `plan_hash` covers all that decides a byte of the results.
    fn describe(&self) -> Value {
        let mut hash = Sha256::new();
        let units = self.plan.units();
        units.iter().for_each(|u| hash.update(self.plan.address(u)));
        hash.update(self.rows_csv());
        hash.update(self.layout.shard_bytes.to_le_bytes());
        let sites: Vec<String> = self.layout.sites.iter().map(|(s, _)| s.to_string()).collect();
        let m = self.model;
        let mut all = json!({
            "command": "capture",
            "personascope": env!("CARGO_PKG_VERSION"),
            "plan_hash": format!("{:x}", hash.finalize()),
            "model": { "name": m.name, "hash": m.hash, "dims": m.lm.dims(), "trained_len": m.lm.trained_len() },
            "tokenizer_hash": m.text.tokenizer_hash(),
            "template_hash": m.text.template_hash(),
            "sites": sites,
            "sites_in_words": self.layout.sites.iter().map(|(s, _)| s.in_words(m.lm.dims().n_layers)).collect::<Vec<_>>(),
            "pick": self.pick,
            "prompts": self.prompts.len(),
            "tokens": self.plan.items.iter().map(|i| i.tokens.len()).sum::<usize>(),
            "rows": self.layout.rows,
            "bytes": self.layout.bytes(),
            "files": self.layout.names(),
            "device": m.processor.to_string(),
            "dtype": m.dtype,
            "max_batch_tokens": self.plan.max_batch_tokens,
            "shard_bytes": self.layout.shard_bytes,
            "units": units.len(),
            "warnings": m.warnings.iter().chain(&self.plan.beyond_training()).collect::<Vec<_>>(),
        });
        if let Some(commit) = m.source.revision() {
            all["model"]["revision"] = commit.into();
        }
        if let Some(all) = all["warnings"].as_array_mut() {
            all.extend(self.warnings.iter().map(|w| json!(w)));
        }
        if m.is_adapted() {
            all["model"]["adapters"] = m.describe_adapters();
        }
        all
    }

    fn run(&self, out: &Path, mut described: Value) -> Result<Tally> {
        let shelf = FolderShelf::open(&out.join(UNITS))?;
        let mut writer = Writer::new(out, self.layout.clone());
        let mut bar = Bar::new("capture");
        let tally = unit::run(&self.plan, self.threads, Some(&shelf), &mut |t: &Tally| bar.step(t), |_, outcome| {
            writer.push(&outcome.kept)
        })?;
        bar.end();
        write_atomic(&out.join("rows.csv"), self.rows_csv().as_bytes(), true)?;
        let files = writer.finish()?;
        if files.len() > 1 {
            let mut first = 0;
            let rows = self.layout.shards();
            let shards: Vec<Value> = self
                .layout
                .names()
                .iter()
                .zip(&rows)
                .map(|(file, rows)| {
                    let shard = json!({ "file": file, "first_row": first, "rows": rows });
                    first += rows;
                    shard
                })
                .collect();
            write_json(&out.join("manifest.json"), &json!({ "rows": first, "shards": shards }))?;
        }
        described["rows_computed"] = tally.rows_computed.into();
        described["rows_resumed"] = tally.rows_resumed.into();
        write_json(&out.join(RUN), &described)?;
        shelf.clear()?;
        let _ = std::fs::remove_file(out.join(STARTED));
        Ok(tally)
    }

    fn rows_csv(&self) -> String {
        let mut extra: Vec<&str> = Vec::new();
        for (key, _) in self.prompts.iter().flat_map(|p| &p.columns) {
            if !extra.contains(&key.as_str()) {
                extra.push(key);
            }
        }
        let head = ["row", "id", "pos", "token_id", "role", "turn", "span", "n_tokens"];
        let speaker = self.encoded.iter().any(|(e, _)| e.has_speakers()).then_some("speaker");
        let adapter = self.model.is_adapted().then_some("adapter");
        let mut csv: String =
            head.iter().chain(&speaker).chain(&adapter).chain(&extra).map(|c| quoted(c)).collect::<Vec<_>>().join(",")
                + "\n";
        let mut row = 0;
        for ((prompt, (encoded, kept)), item) in self.prompts.iter().zip(&self.encoded).zip(&self.plan.items) {
            let value = |key: &str| prompt.columns.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
            let adapter = adapter.map(|_| self.model.adapter_name(item.adapter).unwrap_or_default());
            let tail: String =
                adapter.into_iter().chain(extra.iter().map(|k| value(k))).map(|v| format!(",{}", quoted(v))).collect();
            for k in kept {
                let (pos, token) = match k.is_mean {
                    true => Default::default(),
                    false => (k.range.start.to_string(), encoded.tokens[k.range.start].to_string()),
                };
                let turn = k.turn.map(|t| t.to_string()).unwrap_or_default();
                let (id, role, span) = (quoted(&prompt.id), quoted(&k.role), k.span.as_deref().unwrap_or(""));
                let speaker = speaker.map(|_| format!(",{}", quoted(k.speaker.as_deref().unwrap_or_default())));
                let speaker = speaker.unwrap_or_default();
                csv += &format!("{row},{id},{pos},{token},{role},{turn},{span},{}{speaker}{tail}\n", k.range.len());
                row += 1;
            }
        }
        csv
    }
}

const UNITS: &str = ".units";
const RUN: &str = "run.json";
/// What is being made, from the first unit to the last file.
const STARTED: &str = ".started.json";

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    write_atomic(path, text.as_bytes(), true)
}

fn plan_hash_in(path: &Path) -> Result<Option<(String, Value)>> {
    if !path.exists() {
        return Ok(None);
    }
    let place = path.display().to_string();
    let value: Value = serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::format(&place, e.to_string(), "the folder holds something else; choose another --out"))?;
    Ok(Some((value["plan_hash"].as_str().unwrap_or_default().to_string(), value)))
}

/// The `run.json` of a finished run of the same plan whose files are all there.
fn complete(out: &Path, described: &Value) -> Result<Option<Value>> {
    let Some((hash, run)) = plan_hash_in(&out.join(RUN))? else { return Ok(None) };
    if hash != described["plan_hash"] {
        return Err(other_plan(out));
    }
    let whole = run["files"]
        .as_array()
        .is_some_and(|files| files.iter().filter_map(Value::as_str).chain(["rows.csv"]).all(|f| out.join(f).is_file()));
    Ok(whole.then_some(run))
}

fn other_plan(out: &Path) -> Error {
    let what = format!("{} holds the results of another plan", out.display());
    Error::refused(what, "choose another --out, or remove the folder; nothing in it was touched")
}

/// Makes the folder, refuses one that another plan has begun, and clears what an interrupted run left half-written.
fn start(out: &Path, described: &Value) -> Result<()> {
    create_dir(out)?;
    if let Some((hash, _)) = plan_hash_in(&out.join(STARTED))?
        && hash != described["plan_hash"]
    {
        return Err(other_plan(out));
    }
    for entry in std::fs::read_dir(out).map_err(|e| Error::io("read folder", out, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(".part") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    write_json(&out.join(STARTED), described)
}
