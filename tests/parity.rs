//! Our numbers against those of two independent implementations: Hugging Face transformers at every site (fixtures made
//! by `tests/fixtures/make.py`), and candle-transformers for logits.

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as reference;
use common::{Matrix, all_sites, fixtures, logits, model, pack, random_tokens};
use personascope::axes::Site;
use personascope::model::Model;
use personascope::text::Message;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Largest absolute difference at any site.
const MAX_ABS: f64 = 5e-5;
/// The same at sites where no value reaches [`SMALL`].
const MAX_ABS_SMALL: f64 = 5e-6;
const SMALL: f64 = 2.0;
/// Largest difference in a row, relative to the largest value that the reference has in that row.
const MAX_RELATIVE: f64 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    id: String,
    tokens: Vec<u32>,
    rows: Vec<usize>,
    logit_rows: Vec<usize>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    generation: bool,
}

/// How far two tensors are apart.
#[derive(Clone, Debug, Default)]
struct Distance {
    abs: f64,
    relative: f64,
    /// Relative to each value itself, where that is above 1e-2. Reported, not asserted: cancellation has no bar.
    elementwise: f64,
    largest: f64,
    place: String,
}

impl Distance {
    fn add(&mut self, got: &[f32], want: &[f32], place: impl Fn(usize) -> String) {
        assert_eq!(got.len(), want.len());
        let largest = want.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        self.largest = self.largest.max(largest);
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let (g, w) = (f64::from(*g), f64::from(*w));
            let d = (g - w).abs();
            assert!(d.is_finite(), "{}: {g} for {w}", place(i));
            if d > self.abs {
                (self.abs, self.place) = (d, format!("{}: {g} for {w}", place(i)));
            }
            self.relative = self.relative.max(d / largest);
            if w.abs() > 1e-2 {
                self.elementwise = self.elementwise.max(d / w.abs());
            }
        }
    }

    fn fine(&self) -> bool {
        let most = if self.largest < SMALL { MAX_ABS_SMALL } else { MAX_ABS };
        self.abs < most && self.relative < MAX_RELATIVE
    }
}

fn expected(fixture: &str) -> (Expected, BTreeMap<Site, Matrix>) {
    let dir = fixtures().join(fixture);
    let meta = serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap();
    let tensors = candle_core::safetensors::load(dir.join("expected.safetensors"), &Device::Cpu).unwrap();
    let tensors = tensors.into_iter().map(|(name, t)| (name.parse().unwrap(), t.to_vec2().unwrap())).collect();
    (meta, tensors)
}

/// Distances by site, in forward order, so that the first bad line is the first bad operation.
fn distances(model: &Model, expected: &Expected, want: &BTreeMap<Site, Matrix>) -> BTreeMap<Site, Distance> {
    let prompts: Vec<Vec<u32>> = expected.prompts.iter().map(|p| p.tokens.clone()).collect();
    let rows = pack(&prompts, &[]);
    let (got, _) = all_sites(&*model.lm, &rows, &[]);
    assert!(got.keys().eq(want.keys()), "the fixture has every site and no other");
    let mut table = BTreeMap::new();
    for (site, want) in want {
        let mut distance = Distance::default();
        let mut want = want.iter();
        for (p, example) in expected.prompts.iter().zip(rows.examples()) {
            for row in if *site == Site::Logits { &p.logit_rows } else { &p.rows } {
                let got = &got[site][example.rows.start + row];
                distance.add(got, want.next().unwrap(), |i| format!("prompt `{}` row {row} column {i}", p.id));
            }
        }
        assert!(want.next().is_none(), "rows of the fixture are left over at {site}");
        table.insert(*site, distance);
    }
    table
}

fn show(name: &str, table: &BTreeMap<Site, Distance>) -> String {
    let line = |(s, d): (&Site, &Distance)| {
        let bad = if d.fine() { "" } else { "  <-- over the bar" };
        format!(
            "{s:<13} {:>9.2e} {:>9.2e} {:>9.2e} {:>8.2}  {}{bad}\n",
            d.abs, d.relative, d.elementwise, d.largest, d.place
        )
    };
    let head =
        format!("{name}\n{:<13} {:>9} {:>9} {:>9} {:>8}  worst at\n", "site", "abs", "relative", "elementw.", "max");
    head + &table.iter().map(line).collect::<String>()
}

fn check(fixture: &str) {
    let (expected, want) = expected(fixture);
    let table = distances(&model(fixture), &expected, &want);
    let shown = show(fixture, &table);
    println!("{shown}");
    assert!(table.values().all(Distance::fine), "\n{shown}");
}

#[test]
fn the_embedded_model_gives_the_numbers_of_transformers_at_every_site() {
    check("toyworld");
}

/// Llama, Mistral, Qwen, Gemma, Phi, OLMo, GPT-2, Pythia and a mixture of experts, each with what sets it apart, on
/// prompts longer than its window and than the trained length of its scaled positions, 38 ragged ones in one batch.
#[test]
fn random_checkpoints_of_every_architecture_give_the_numbers_of_transformers_at_every_site() {
    let (mut over, mut summary) = (Vec::new(), String::new());
    for (fixture, _) in common::checkpoints() {
        let (expected, want) = expected(&fixture);
        let table = distances(&model(&fixture), &expected, &want);
        let most = |f: fn(&Distance) -> f64| table.values().map(f).fold(0.0, f64::max);
        let (abs, relative, largest) = (most(|d| d.abs), most(|d| d.relative), most(|d| d.largest));
        summary += &format!("{fixture:<22}{abs:>10.1e}{relative:>10.1e}{largest:>8.1}\n");
        if !table.values().all(Distance::fine) {
            over.push(show(&fixture, &table));
        }
    }
    println!("{:<22}{:>10}{:>10}{:>8}\n{summary}", "checkpoint", "abs", "relative", "max");
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}

#[test]
fn a_chat_becomes_the_tokens_of_transformers() {
    let (expected, _) = expected("toyworld");
    let model = model("toyworld");
    let chats: Vec<&Prompt> = expected.prompts.iter().filter(|p| !p.messages.is_empty()).collect();
    assert!(chats.len() >= 4);
    for p in chats {
        assert_eq!(model.text.chat(&p.messages, p.generation).unwrap().tokens, p.tokens, "{}", p.id);
    }
}

/// Logits of the last token of each prompt, by candle-transformers.
fn by_candle(checkpoint: &Path, prompts: &[Vec<u32>]) -> Matrix {
    let device = Device::Cpu;
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(checkpoint.join("config.json")).unwrap()).unwrap();
    let mut config: reference::LlamaConfig = serde_json::from_value(json.clone()).unwrap();
    // It knows one spelling alone.
    if let Some(theta) = json["rope_parameters"]["rope_theta"].as_f64() {
        config.rope_theta = theta as f32;
    }
    let config = config.into_config(false);
    let tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(checkpoint.join("model.safetensors"), &device)
            .unwrap()
            .into_iter()
            .map(|(name, t)| (name, t.to_dtype(DType::F32).unwrap()))
            .collect();
    let vars = VarBuilder::from_tensors(tensors, DType::F32, &device);
    let llama = reference::Llama::load(vars, &config).unwrap();
    let last = |tokens: &Vec<u32>| {
        let mut cache = reference::Cache::new(false, DType::F32, &config, &device).unwrap();
        let ids = Tensor::from_slice(tokens, (1, tokens.len()), &device).unwrap();
        llama.forward(&ids, 0, &mut cache).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    prompts.iter().map(last).collect()
}

fn check_against_candle(fixture: &str, checkpoint: PathBuf, lengths: &[usize]) {
    let model = model(fixture);
    let prompts: Vec<Vec<u32>> = lengths.iter().map(|n| random_tokens(&model, *n, 5)).collect();
    let rows = pack(&prompts, &[]);
    let (got, _) = logits(&*model.lm, &rows, &[]);
    let mut distance = Distance::default();
    for ((want, example), n) in by_candle(&checkpoint, &prompts).iter().zip(rows.examples()).zip(lengths) {
        distance.add(&got[example.rows.end - 1], want, |i| format!("{n} tokens, logit {i}"));
    }
    let shown = show(&format!("{fixture} against candle"), &BTreeMap::from([(Site::Logits, distance.clone())]));
    println!("{shown}");
    assert!(distance.fine(), "\n{shown}");
}

#[test]
fn the_embedded_model_gives_the_logits_of_candle_transformers() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets/toyworld");
    check_against_candle("toyworld", assets, &[1, 2, 3, 16, 33, 100, 257, 512]);
}

#[test]
fn a_random_checkpoint_gives_the_logits_of_candle_transformers() {
    check_against_candle("llama_f16", fixtures().join("llama_f16"), &[1, 2, 5, 31, 64]);
}
