//! `capture`: prompts in, activations or their moments out; `capture-merge`: parts of one joined.

mod args;
mod ask;
mod forecast;
mod merge;

pub use args::{CaptureArgs, MomentArgs};
pub use ask::moments_over;
pub use merge::{MergeArgs, capture_merge};

use super::progress::Bar;
use super::read_text;
use super::typed::command_line;
use crate::error::Result;
use crate::model::Model;
use crate::record::{Found, Recording};
use crate::store::disk::Real;
use crate::text::prompts::Prompt;
use crate::unit::{Share, Tally};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn capture(args: CaptureArgs) -> Result<bool> {
    let prompts = Prompt::parse_lines(&args.prompts.display().to_string(), &read_text(&args.prompts)?)?;
    let model = args.model.load()?;
    let (recording, warnings) = ask::recording(&args, &model, prompts)?;
    recording.plan.check()?;
    let mut described = describe(&args, &model, &recording)?;
    args.model.adapters.chat.describe(&model.text, &mut described);
    if let Some(all) = described["warnings"].as_array_mut() {
        all.extend(warnings.iter().map(|w| json!(w)));
    }
    recording.plan.beyond_training().iter().for_each(|w| eprintln!("warning: {w}"));
    if args.dry_run {
        forecast::say_all(&recording, &args.out)?;
        return Ok(true);
    }

    forecast::say_checking(&args.out);
    let mut bar = Bar::new("capture");
    let mut resumed = false;
    let out = &args.out;
    let mut begun = |found: &Found| {
        found.damaged.iter().for_each(|d| eprintln!("warning: {d}; it is made again"));
        resumed = found.complete;
        if found.complete {
            eprintln!("{} already holds the {} rows of this plan; nothing to do", out.display(), found.rows);
            return Ok(());
        }
        forecast::say(&recording, out, found)
    };
    let report = recording.run(Arc::new(Real), out, described, &mut begun, &mut |t: &Tally| bar.step(t))?;
    bar.end();
    if !resumed {
        let (n, sites, split) = (report.tally.rows_resumed, recording.sites().len(), report.tally.splits);
        eprintln!("{} rows at {sites} sites in {} ({n} resumed)", report.rows, out.display());
        if split > 0 {
            eprintln!("warning: memory ran out {split} times; the units were cut in two and run so");
        }
    }
    Ok(true)
}

/// The resolved plan, as `run.json` holds it. `plan_hash` covers all that decides a byte of the results.
fn describe(args: &CaptureArgs, m: &Model, recording: &Recording) -> Result<Value> {
    let (plan, dims) = (&recording.plan, m.lm.dims());
    let sites = recording.sites();
    let mut all = json!({
        "command": "capture",
        "command_line": command_line(),
        "personascope": env!("CARGO_PKG_VERSION"),
        "plan_hash": recording.plan_hash()?,
        "model": { "name": m.name, "hash": m.hash, "dims": dims, "trained_len": m.lm.trained_len() },
        "tokenizer_hash": m.text.tokenizer_hash(),
        "template_hash": m.text.template_hash(),
        "sites": sites.iter().map(|s| s.site.to_string()).collect::<Vec<_>>(),
        "sites_in_words": sites.iter().map(|s| s.site.in_words(dims.n_layers)).collect::<Vec<_>>(),
        "pick": args.pick,
        "keep": args.keep,
        "prompts": plan.items.len(),
        "tokens": plan.items.iter().map(|i| i.tokens.len()).sum::<usize>(),
        "rows": recording.keys.rows(),
        "files": Value::Null,
        "device": m.processor.to_string(),
        "dtype": m.dtype,
        "rows_dtype": recording.rows,
        "max_batch_tokens": plan.max_batch_tokens,
        "shard_bytes": recording.shard_bytes,
        "units": plan.units().len(),
        "warnings": m.warnings.iter().chain(&plan.beyond_training()).collect::<Vec<_>>(),
    });
    if let Some(m) = &recording.moments {
        all["moments"] = args.moments.describe(m);
    }
    let selection = args.selection();
    for (key, value) in [("role", &selection.role), ("speaker", &selection.speaker)] {
        if let Some(value) = value {
            all[key] = value.as_str().into();
        }
    }
    if !selection.positions.0.is_empty() {
        all["positions"] = json!(selection.positions);
    }
    if selection.template_tokens {
        all["template_tokens"] = true.into();
    }
    if recording.share != Share::ALL {
        all["share"] = json!([recording.share.index, recording.share.of]);
    }
    if let Some(commit) = m.source.revision() {
        all["model"]["revision"] = commit.into();
    }
    if m.is_adapted() {
        all["model"]["adapters"] = m.describe_adapters();
    }
    Ok(all)
}
