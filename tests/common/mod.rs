//! What the tests of the model share: fixtures, prompts, a tap that keeps everything.
#![allow(dead_code)]

use candle_core::Tensor;
use personascope::axes::Site;
use personascope::error::{Error, Result};
use personascope::model::{At, Edit, Example, Head, Hooks, Lm, Model, Next, Receipt, Rows, Source, Tap, forward};
use personascope::rng::stream;
use rand::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A model by the name of its fixture; `toyworld` is the embedded one.
pub fn model(fixture: &str) -> Model {
    let source = if fixture == "toyworld" { Source::toyworld() } else { Source::Dir(fixtures().join(fixture)) };
    Model::load(&source).unwrap_or_else(|e| panic!("{fixture}: {e} ({})", e.hint()))
}

/// Fixtures with a checkpoint, each with the `model_type` of its config.json, sorted.
pub fn checkpoints() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let entry = entry.unwrap();
        if let Ok(config) = std::fs::read(entry.path().join("config.json")) {
            let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
            let model_type = config["model_type"].as_str().unwrap().to_string();
            found.push((entry.file_name().to_string_lossy().into_owned(), model_type));
        }
    }
    found.sort();
    found
}

/// Random token ids, the same everywhere.
pub fn random_tokens(model: &Model, n: usize, seed: u64) -> Vec<u32> {
    let mut rng = stream(seed, &format!("{n} tokens"));
    (0..n).map(|_| rng.random_range(0..model.lm.dims().d_vocab as u32)).collect()
}

/// A random vector of length 1.
pub fn unit_vector(d_model: usize, seed: u64) -> Vec<f32> {
    let mut rng = stream(seed, "unit vector");
    let v: Vec<f64> = (0..d_model).map(|_| rng.random_range(-1.0..1.0)).collect();
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.iter().map(|x| (x / norm) as f32).collect()
}

/// Prompts packed in order; example `i` gets `edits[i]` (none where the list is shorter). `prompt_len` is the length.
pub fn pack(prompts: &[Vec<u32>], edits: &[Vec<usize>]) -> Rows {
    Rows::pack(prompts.iter().enumerate().map(|(index, tokens)| {
        let edits = edits.get(index).cloned().unwrap_or_default();
        (Example { index, rows: 0..0, first_pos: 0, prompt_len: tokens.len(), adapter: None, edits }, tokens.clone())
    }))
}

/// All rows of an activation.
pub type Matrix = Vec<Vec<f32>>;

/// Keeps every row of the sites it wants, and counts how often each fired.
#[derive(Default)]
pub struct Keep {
    pub wanted: Vec<Site>,
    pub seen: BTreeMap<Site, Matrix>,
    /// Sites in the order in which they fired.
    pub fired: Vec<Site>,
}

impl Keep {
    pub fn new(sites: &[Site]) -> Keep {
        Keep { wanted: sites.to_vec(), ..Keep::default() }
    }
}

impl Tap for Keep {
    fn wants(&self, site: Site) -> bool {
        self.wanted.contains(&site)
    }

    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        self.fired.push(at.site);
        self.seen.insert(at.site, x.to_vec2()?);
        Ok(Next::Go)
    }
}

/// Every site of a model, in forward order, `logits` last.
pub fn every_site(lm: &dyn Lm) -> Vec<Site> {
    let blocks = (0..lm.dims().n_layers).flat_map(|l| lm.points().iter().map(move |p| Site::new(*p, l)));
    blocks.chain([Site::Logits]).collect()
}

/// One pass that keeps all rows of every site, under edits.
pub fn all_sites(lm: &dyn Lm, rows: &Rows, edits: &[&dyn Edit]) -> (BTreeMap<Site, Matrix>, Vec<Receipt>) {
    let mut keep = Keep::new(&every_site(lm));
    let mut hooks = edits.iter().fold(Hooks::default(), |h, e| h.edit(*e)).tap(&mut keep);
    let (_, receipts) = forward(lm, rows, &mut hooks, None, Head::AllRows).unwrap();
    (keep.seen, receipts)
}

/// The logits of every row under edits, and the receipts.
pub fn logits(lm: &dyn Lm, rows: &Rows, edits: &[&dyn Edit]) -> (Matrix, Vec<Receipt>) {
    let mut hooks = edits.iter().fold(Hooks::default(), |h, e| h.edit(*e));
    let (logits, receipts) = forward(lm, rows, &mut hooks, None, Head::AllRows).unwrap();
    (logits.unwrap().to_vec2().unwrap(), receipts)
}

/// The bits of a matrix: what "the same" means where it is exact.
pub fn bits(x: &[Vec<f32>]) -> Vec<Vec<u32>> {
    x.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
}

/// The largest difference between two matrices of one shape.
pub fn worst(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows");
    let mut worst = 0.0f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.len(), b.len(), "columns");
        for (x, y) in a.iter().zip(b) {
            let d = f64::from(x - y).abs();
            // A NaN must not slip through a maximum.
            worst = if d <= worst { worst } else { d };
        }
    }
    worst
}

/// The error names all of `words`, says what to do, and is no defect of ours.
pub fn names(e: &Error, words: &[&str]) {
    let message = e.to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert!(!e.hint().is_empty(), "no hint: {message}");
    assert!(!matches!(e, Error::Tensor(_)), "a defect, not a refusal: {message}");
}
