//! Files of vectors: what each row is, in words.

use crate::cli::out::say;
use crate::cli::shown::visible;
use crate::error::Result;
use crate::store::formats::sources::Sources;
use crate::vectors::{About, File, Format, Producer, ReadOptions, Vector, parse_key, place, read};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// What a file of vectors may not tell by itself.
#[derive(clap::Args, Clone)]
pub struct VectorArgs {
    /// The format of a file of vectors, where it does not tell itself
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// Who wrote a control vector for llama.cpp: repeng or cvector-generator
    #[arg(long)]
    producer: Option<Producer>,
    /// Blocks of the model of a file of vectors
    #[arg(long, value_name = "N")]
    n_layers: Option<usize>,
}

impl VectorArgs {
    /// Whether the command line says that the file is one of vectors.
    pub fn asked(&self) -> bool {
        self.from.is_some() || self.producer.is_some() || self.n_layers.is_some()
    }

    /// Prints what a file of vectors holds.
    pub fn show(&self, path: &Path) -> Result<bool> {
        let options = ReadOptions { producer: self.producer, n_layers: self.n_layers, post_norm: false };
        let file = read(path, self.from, options)?;
        show(path, &file);
        Ok(true)
    }
}

/// Whether a safetensors file holds vectors at sites, and not rows of activations or weights.
pub fn is_of_vectors(path: &Path) -> bool {
    let plain = |s: &Sources| s.arrays.iter().all(|a| parse_key(&a.name).is_some() && a.shape.len() == 1);
    Sources::safetensors(path).is_ok_and(|s| !s.arrays.is_empty() && plain(&s)) || is_ours(path).unwrap_or(false)
}

/// Whether the header alone says that it is a file of ours; the rest may be gigabytes of weights.
fn is_ours(path: &Path) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut head = Vec::new();
    file.take(u64::from_le_bytes(length).min(1 << 26)).read_to_end(&mut head)?;
    let head: Value = serde_json::from_slice(&head)?;
    Ok(head["__metadata__"]["directions"].is_string())
}

fn show(path: &Path, file: &File) {
    let facts = file.format.facts();
    let width = file.vectors.first().map_or(0, |v| v.unit.len());
    say!("{}: {} vectors", path.display(), file.vectors.len());
    say!("format    {}: {}", facts.name, facts.words);
    say!("numbering {}", file.convention);
    say!("d_model   {width}");
    match file.n_layers {
        Some(n) => say!("n_layers  {n}"),
        None => say!("n_layers  not said; give --n-layers N to name the last block"),
    }
    let wide = file.vectors.iter().map(|v| visible(&v.key()).chars().count()).max().unwrap_or(0).max(12);
    say!("\n  {:<wide$} {:>6} {:>14}  where (blocks count from 0)", "vector", "dtype", "length");
    for v in &file.vectors {
        let dtype = v.about.dtype.as_deref().unwrap_or("f32");
        let length = if (v.raw_norm - 1.0).abs() < 1e-4 { "unit".into() } else { format!("{:.6}", v.raw_norm) };
        say!("  {:<wide$} {dtype:>6} {length:>14}  {}", visible(&v.key()), place(v.site, file.n_layers));
    }
    meanings(file);
    caps(file);
    // Part of what the file is, and so of the answer.
    file.warnings.iter().for_each(|w| say!("\nwarning: {w}"));
}

/// What is said of the vectors: first what is said of all, then what of some.
fn meanings(file: &File) {
    let said = |v: &Vector| {
        let mut lines = lines(&v.about);
        // A foreign file has one numbering, which stands above.
        lines.retain(|l| file.format == Format::Personascope || !l.starts_with(PRODUCER));
        lines
    };
    let all: Vec<Vec<String>> = file.vectors.iter().map(said).collect();
    let mut common = all.first().cloned().unwrap_or_default();
    all.iter().for_each(|own| common.retain(|l| own.contains(l)));
    let mut groups: Vec<(Vec<String>, Vec<String>)> = vec![(common.clone(), vec!["all of them".into()])];
    for (v, mut own) in file.vectors.iter().zip(all) {
        own.retain(|l| !common.contains(l));
        match groups.iter_mut().skip(1).find(|(lines, _)| *lines == own) {
            Some((_, keys)) => keys.push(visible(&v.key())),
            None => groups.push((own, vec![visible(&v.key())])),
        }
    }
    for (lines, keys) in groups.iter().filter(|(lines, _)| !lines.is_empty()) {
        let more = if keys.len() > 3 { format!(", ... ({} in all)", keys.len()) } else { String::new() };
        say!("\n{}{more}", keys.iter().take(3).cloned().collect::<Vec<_>>().join(", "));
        lines.iter().for_each(|l| say!("  {l}"));
    }
}

const PRODUCER: &str = "producer";

fn lines(a: &About) -> Vec<String> {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let all = [
        ("larger means", a.positive.clone()),
        ("smaller means", a.negative.clone()),
        ("origin", a.origin.clone()),
        ("rows", a.pick.map(|p| p.to_string()).unwrap_or_default()),
        (PRODUCER, text(&a.convention)),
        ("model", text(&a.model)),
        ("model hash", text(&a.model_hash)),
        (
            "counts",
            a.counts
                .map(|[one, zero]| format!("{one} with the larger label, {zero} with the other"))
                .unwrap_or_default(),
        ),
        ("residual norm", a.residual_norm.map(|n| format!("{n:.4} on average at the site")).unwrap_or_default()),
    ];
    let lines = all.into_iter().filter(|(_, text)| !text.is_empty());
    lines.map(|(name, text)| format!("{name:<15} {}", visible(&text))).collect()
}

fn caps(file: &File) {
    const MOST: usize = 20;
    let caps = file.caps();
    let mut names: Vec<&str> = Vec::new();
    for cap in &caps {
        if !names.contains(&cap.experiment.as_str()) {
            names.push(&cap.experiment);
        }
    }
    if names.is_empty() {
        return;
    }
    say!("\n  {:<36} {:>9} {:>14} {:>14}", "caps (ceilings) of experiment", "vectors", "lowest", "highest");
    for name in names.iter().take(MOST) {
        let own: Vec<f64> = caps.iter().filter(|c| c.experiment == **name).map(|c| c.ceiling).collect();
        let (low, high) = own.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(*c), h.max(*c)));
        say!("  {:<36} {:>9} {low:>14.4} {high:>14.4}", visible(name), own.len());
    }
    if names.len() > MOST {
        say!("  ... {} experiments in all", names.len());
    }
}
