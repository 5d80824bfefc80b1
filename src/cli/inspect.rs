//! `inspect`: what a file or a model folder holds, and whether it is sound.

mod store;
mod vectors;

use super::adapters::AdapterArgs;
use super::out::say;
use super::read_text;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::adapter::{CONFIG, Settings, Targets, WEIGHTS};
use crate::model::{self, Adapter, Model, Source};
use crate::store::manifest::MANIFEST;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, tensor::Metadata};
use serde_json::Value;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  personascope inspect acts                            a folder that `capture` or `import` wrote: every checksum
  personascope inspect acts/activations.safetensors    tensors, shapes, norms, values that are no numbers
  personascope inspect evil.gguf                       vectors of any format: what each row is, in words
  personascope inspect evil.pt --from persona-vectors  a tensor of torch that does not say whose it is
  personascope inspect adapters/warm                   a LoRA adapter: ranks, scales, modules
  personascope inspect toyworld                        a model: the embedded one, a folder, or org/name on the hub

Exit code 1 if something in it is not sound.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// A .safetensors file, vectors of any format, a run.json, a folder of `capture`, of a model or of an adapter,
    /// `toyworld`, or `org/name`
    #[arg(value_name = "FILE")]
    path: PathBuf,
    #[command(flatten)]
    vectors: vectors::VectorArgs,
}

pub fn inspect(args: InspectArgs) -> Result<bool> {
    let path = args.path;
    if args.vectors.asked() {
        return args.vectors.show(&path);
    }
    let name = path.display().to_string();
    let known = !path.exists() && !matches!(Source::parse(&name), Source::Dir(_));
    if known || path.join("config.json").is_file() {
        return model(&name);
    }
    if path.join(CONFIG).is_file() {
        return adapter(&path);
    }
    if path.join(MANIFEST).is_file() {
        return store::store(&path);
    }
    if path.is_dir() {
        let run = path.join("run.json");
        if !run.is_file() {
            let hint = "give a folder of `capture`, of a model or of an adapter";
            return Err(Error::format(name, "neither run.json nor config.json nor adapter_config.json in it", hint));
        }
        return folder(&path);
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") if vectors::is_of_vectors(&path) => args.vectors.show(&path),
        Some("safetensors") => tensors(&path),
        Some("json") => {
            say!("{}", read_text(&path)?.trim_end_matches('\n'));
            Ok(true)
        }
        _ if !path.exists() => Err(Error::io("read", &path, std::io::ErrorKind::NotFound.into())),
        _ => args.vectors.show(&path),
    }
}

fn model(name: &str) -> Result<bool> {
    let model = AdapterArgs::default().load(name, model::Opening::default())?;
    let Model { lm, text, hash, stops, .. } = &model;
    let d = lm.dims();
    say!("model            {}", model.name);
    say!("d_model          {}", d.d_model);
    say!("n_layers         {}", d.n_layers);
    say!("heads            {} of {} (key/value heads: {})", d.n_heads, d.d_head, d.n_kv_heads);
    say!("d_mlp            {}", d.d_mlp);
    say!("d_vocab          {} (tokenizer: {})", d.d_vocab, text.vocab_size());
    say!("n_ctx            {} (trained on: {})", d.n_ctx, lm.trained_len());
    say!("chat template    {}", text.template_hash().unwrap_or("none"));
    say!("stop tokens      {stops:?}");
    say!("hash             {hash}");
    say!("sites            {}", Site::describe_all(d.n_layers, lm.points()));
    Ok(true)
}

fn adapter(dir: &Path) -> Result<bool> {
    let weights = dir.join(WEIGHTS);
    let adapter = match Adapter::load("it", dir) {
        Ok(adapter) => adapter,
        Err(e) => {
            if weights.is_file() {
                tensors(&weights)?;
            }
            say!("\nnot sound: {e}\n  {}", e.hint());
            return Ok(false);
        }
    };
    say!("adapter          {}", dir.display());
    say!("base             {}", adapter.base.as_deref().unwrap_or("not said"));
    say!("base hash        {}", adapter.base_hash.as_deref().unwrap_or("not said"));
    say!("hash             {}", adapter.hash);
    say!("modules          {} ({} numbers)", adapter.modules.len(), adapter.size());
    let config = dir.join(CONFIG);
    let object = serde_json::from_str(&read_text(&config)?).unwrap_or_default();
    let s = Settings::parse(&config.display().to_string(), &object)?;
    say!("rank             {} (other ranks: {})", s.rank, patterns(&s.rank_pattern));
    say!("alpha            {} (other alphas: {})", s.alpha, patterns(&s.alpha_pattern));
    say!("scale            alpha / {}", if s.rslora { "sqrt(rank)" } else { "rank" });
    match &s.targets {
        Targets::AllLinear => say!("targets          all linear maps"),
        Targets::Pattern(p) => say!("targets          {p}"),
        Targets::Names(names) => say!("targets          {}", names.join(", ")),
    }
    say!("\n  {:<48} {:>5} {:>10} {:>14}", "module", "rank", "scale", "weight");
    for (path, m) in &adapter.modules {
        let shape = format!("{:?}", m.shape());
        say!("  {path:<48} {:>5} {:>10.4} {shape:>14}", m.rank(), m.scale);
    }
    say!();
    tensors(&weights)
}

fn patterns<T: std::fmt::Display>(list: &[(String, T)]) -> String {
    let all: Vec<String> = list.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

/// A folder that an older version wrote.
fn folder(dir: &Path) -> Result<bool> {
    eprintln!(
        "note: no {MANIFEST} in {}: an older version wrote it, and there are no checksums to verify",
        dir.display()
    );
    let run = dir.join("run.json");
    let text = read_text(&run)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| Error::format(run.display().to_string(), e.to_string(), "run the command that made it again"))?;
    let get = |key: &str| value[key].to_string();
    say!(
        "command   {}\nmodel     {}\nrows      {}\npick      {}",
        get("command"),
        value["model"]["name"],
        get("rows"),
        get("pick")
    );
    let mut sound = true;
    for file in value["files"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say!();
        sound &= tensors(&dir.join(file))?;
    }
    Ok(sound)
}

fn tensors(path: &Path) -> Result<bool> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let damaged = |e: &dyn std::fmt::Display| {
        let reason = format!("not a whole safetensors file of {} bytes ({e})", bytes.len());
        Error::format(path.display().to_string(), reason, "the file is damaged or cut short; make or fetch it again")
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
    let (_, head): (usize, Metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
    say!("{}: {} tensors, {} bytes", path.display(), file.len(), bytes.len());
    let mut notes: Vec<_> = head.metadata().iter().flatten().collect();
    notes.sort();
    notes.iter().for_each(|(k, v)| say!("  {k} = {v}"));
    let mut list: Vec<(String, TensorView)> = file.tensors();
    list.sort_by(|a, b| (a.0.parse::<Site>().ok(), &a.0).cmp(&(b.0.parse::<Site>().ok(), &b.0)));
    let mut sound = true;
    say!("  {:<40} {:>6} {:>16} {:>14} {:>10}", "tensor", "dtype", "shape", "mean row norm", "non-finite");
    for (name, view) in list {
        let dtype = format!("{:?}", view.dtype());
        let shape = format!("{:?}", view.shape());
        match floats(&view) {
            None => say!("  {name:<40} {dtype:>6} {shape:>16} {:>14} {:>10}", "", ""),
            Some(values) => {
                let broken = values.iter().filter(|v| !v.is_finite()).count();
                sound &= broken == 0;
                let width = view.shape().last().copied().unwrap_or(1).max(1);
                let rows = values.chunks(width).map(|r| r.iter().map(|v| v * v).sum::<f64>().sqrt());
                let norm = rows.sum::<f64>() / (values.len() / width).max(1) as f64;
                say!("  {name:<40} {dtype:>6} {shape:>16} {norm:>14.4} {broken:>10}");
            }
        }
    }
    Ok(sound)
}

fn floats(view: &TensorView) -> Option<Vec<f64>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        _ => return None,
    })
}
