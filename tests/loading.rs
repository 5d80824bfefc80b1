//! What loading does with sound checkpoints: rounding, hashes, shards, leftovers, and what it says of them.

mod common;

use common::{bits, fixtures, logits, model, names, pack};
use personascope::axes::{Dims, Layer, Point, Site};
use personascope::error::{Error, Result};
use personascope::model::adapter::{Settings, Targets};
use personascope::model::generate;
use personascope::model::sample::Sampling;
use personascope::model::{
    Adapter, Dtype, Filling, Interrupt, Lm, Model, Opening, Pass, Projection, Purpose, Rows, Source, Stage, Unembedding,
};
use personascope::unit::{Item, Plan, Task};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, TensorView, serialize_to_file};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A tensor in the making: name, dtype, shape, bytes.
type Raw = (String, Stored, Vec<usize>, Vec<u8>);

fn copy(fixture: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join(fixture)).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("expected") {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
    }
    dir
}

fn read(path: &Path) -> Vec<Raw> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(n, v)| (n, v.dtype(), v.shape().to_vec(), v.data().to_vec())).collect()
}

fn write(path: &Path, tensors: &[Raw]) {
    let views = tensors.iter().map(|(n, t, s, b)| (n.as_str(), TensorView::new(*t, s.clone(), b).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

fn change(dir: &Path, change: impl FnOnce(&mut Vec<Raw>)) {
    let path = dir.join("model.safetensors");
    let mut tensors = read(&path);
    change(&mut tensors);
    write(&path, &tensors);
}

fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn load(dir: &Path) -> Result<Model> {
    Model::load(&Source::Dir(dir.to_path_buf()))
}

fn open(dir: &Path, opening: Opening) -> Model {
    Model::open(&Source::Dir(dir.to_path_buf()), opening).unwrap().0
}

#[test]
fn the_hash_of_a_model_in_f32_is_that_of_its_files_and_of_another_type_another() {
    let dir = fixtures().join("llama_f16");
    let files = [fs::read(dir.join("config.json")).unwrap(), fs::read(dir.join("model.safetensors")).unwrap()].concat();
    let expected = format!("{:x}", Sha256::digest(files));
    let [f32, bf16, f16] = Dtype::ALL.map(|dtype| open(&dir, Opening { dtype, ..Opening::default() }));
    assert_eq!((&f32.hash, &f32.checkpoint), (&expected, &expected));
    assert!(f32.hash != bf16.hash && bf16.hash != f16.hash && f16.hash != f32.hash);
    assert!([&bf16, &f16].iter().all(|m| m.checkpoint == expected), "what adapters are trained on is the same");
    // So is every address of work with it.
    let plan = |model: &'static Model| {
        let item = Item { id: "a".into(), tokens: vec![1, 2], prompt_len: 2, ..Item::default() };
        let task = Task::Capture { sites: vec![Site::post(0)] };
        Plan { model, task, edits: vec![], items: vec![item], max_batch_tokens: 9 }.address(&(0..1))
    };
    let [f32, bf16] = [f32, bf16].map(|m| plan(Box::leak(Box::new(m))));
    assert_ne!(f32, bf16);
}

#[test]
fn weights_rounded_on_the_way_are_those_of_a_file_that_is_rounded() {
    let dir = copy("llama_sharded");
    let rows = pack(&[vec![1, 5, 9, 2, 30], vec![7; 3]], &[]);
    for (dtype, stored) in [(Dtype::Bf16, Stored::BF16), (Dtype::F16, Stored::F16)] {
        let opening = Opening { dtype, ..Opening::default() };
        let ours = logits(&*open(dir.path(), opening).lm, &rows, &[]).0;
        let rounded = copy("llama_sharded");
        for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
            let mut tensors = read(&rounded.path().join(shard));
            for (_, t, _, bytes) in &mut tensors {
                assert_eq!(*t, Stored::F32);
                let values = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                *bytes = match dtype {
                    Dtype::Bf16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
                    _ => values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
                };
                *t = stored;
            }
            write(&rounded.path().join(shard), &tensors);
        }
        fs::remove_file(rounded.path().join("model.safetensors.index.json")).unwrap();
        let all: Vec<Raw> = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
            .iter()
            .flat_map(|s| read(&rounded.path().join(s)))
            .collect();
        write(&rounded.path().join("model.safetensors"), &all);
        let stored = load(rounded.path()).unwrap();
        assert_eq!(bits(&ours), bits(&logits(&*stored.lm, &rows, &[]).0), "{dtype}");
        assert_ne!(bits(&ours), bits(&logits(&*load(dir.path()).unwrap().lm, &rows, &[]).0), "{dtype}");
        let (random, opened) = (Filling::Random(3), |dtype, filling| {
            logits(&*open(dir.path(), Opening { dtype, filling, ..Opening::default() }).lm, &rows, &[]).0
        });
        assert_ne!(bits(&opened(dtype, random)), bits(&opened(Dtype::F32, random)), "random weights are rounded, too");
    }
}

#[test]
fn an_adapter_trained_in_f32_fits_the_rounded_model_and_another_checkpoint_not() {
    let rounded = Opening { dtype: Dtype::Bf16, ..Opening::default() };
    let base = model("llama_f16");
    let settings = Settings {
        rank: 2,
        alpha: 2.0,
        rslora: false,
        rank_pattern: vec![],
        alpha_pattern: vec![],
        targets: Targets::AllLinear,
        base: None,
    };
    let (adapter, _) = Adapter::fresh("it", &*base.lm, &base.hash, &settings, 0).unwrap();
    let mut model = open(&fixtures().join("llama_f16"), rounded);
    model.add(adapter.clone()).unwrap();
    let mut merged = open(&fixtures().join("llama_f16"), rounded);
    merged.merge(adapter.clone()).unwrap();
    assert_ne!(merged.checkpoint, base.checkpoint);
    let stranger = Adapter { base_hash: Some("ab".repeat(32)), ..adapter };
    names(&model.merge(stranger).unwrap_err(), &["it"]);
}

#[test]
fn how_far_loading_is_is_told_in_bytes_to_the_end() {
    let dir = fixtures().join("llama_sharded");
    let size: u64 =
        (1..3).map(|i| fs::metadata(dir.join(format!("model-0000{i}-of-00002.safetensors"))).unwrap().len()).sum();
    let mut told: Vec<(bool, u64)> = vec![];
    let mut watch = |at: personascope::model::Loading<'_>| {
        assert_eq!(at.total, size);
        told.push((at.stage == Stage::Hash, at.done));
    };
    Model::open_watched(&Source::Dir(dir), Opening::default(), &mut watch).map(drop).unwrap();
    let ends = |hash: bool| told.iter().filter(|(h, _)| *h == hash).map(|(_, done)| *done).collect::<Vec<_>>();
    assert!(ends(true).is_sorted() && ends(false).is_sorted());
    assert_eq!(ends(true).last(), Some(&size));
    let read = *ends(false).last().unwrap();
    assert!(read > size * 9 / 10 && read < size, "all but the headers: {read} of {size}");
}

#[test]
fn every_missing_tensor_is_named_at_once_with_what_may_be_the_matter() {
    let refused = |change_them: &dyn Fn(&mut Vec<Raw>), words: &[&str], hint: &str| {
        let dir = copy("llama_f16");
        change(dir.path(), change_them);
        let e = load(dir.path()).err().expect("something is missing");
        names(&e, words);
        assert!(e.hint().contains(hint), "`{hint}` is not in: {}", e.hint());
    };
    let all = read(&fixtures().join("llama_f16/model.safetensors")).len();
    let layer = |t: &mut Vec<Raw>| t.retain(|t| !t.0.contains("layers.2."));
    // Query, key, value, output, gate, up, down and two norms.
    refused(
        &layer,
        &[&format!("9 of the {all} tensors"), "model.layers.2.", "and 5 more"],
        "are they of this config.json",
    );
    let prefixed = |t: &mut Vec<Raw>| t.iter_mut().for_each(|t| t.0 = format!("language_model.{}", t.0));
    refused(
        &prefixed,
        &[&format!("{all} of the {all}")],
        &format!("{all} of {all} are there with `language_model.` in front"),
    );
    let stripped = |t: &mut Vec<Raw>| t.iter_mut().for_each(|t| t.0 = t.0.trim_start_matches("model.").into());
    refused(&stripped, &["model.embed_tokens.weight"], "without `model.` in front");
    let typo = |t: &mut Vec<Raw>| {
        let one = t.iter_mut().find(|t| t.0 == "model.layers.1.mlp.up_proj.weight").unwrap();
        one.0 = "model.layers.1.mlp.upproj.weight".into();
    };
    refused(&typo, &["tensor `model.layers.1.mlp.up_proj.weight` is missing"], "`model.layers.1.mlp.upproj.weight`");
    let quantised = |t: &mut Vec<Raw>| t.iter_mut().for_each(|t| t.0 = t.0.replace("proj.weight", "proj.qweight"));
    refused(&quantised, &["missing"], "quantised");
}

#[test]
fn leftovers_are_said_once_and_harmless_ones_not_at_all() {
    let dir = copy("llama_f16");
    let extra = |name: &str, shape: &[usize]| -> Raw {
        (name.into(), Stored::F32, shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()])
    };
    change(dir.path(), |t| {
        t.push(extra("model.layers.0.self_attn.rotary_emb.inv_freq", &[4]));
        t.push(extra("transformer.h.0.attn.masked_bias", &[1]));
    });
    assert!(load(dir.path()).unwrap().warnings.is_empty());
    // A head that is tied and stored all the same.
    change_json(&dir.path().join("config.json"), |c| c["tie_word_embeddings"] = json!(true));
    assert!(load(dir.path()).unwrap().warnings.is_empty());
    change(dir.path(), |t| (0..6).for_each(|i| t.push(extra(&format!("value_head.{i}"), &[1]))));
    let warnings = load(dir.path()).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("6 tensors") && warnings[0].contains("`value_head.0`") && warnings[0].contains("2 more")
    );
}

#[test]
fn shards_are_held_against_their_index() {
    let index = "model.safetensors.index.json";
    let dir = copy("llama_sharded");
    let said: Value = serde_json::from_slice(&fs::read(dir.path().join(index)).unwrap()).unwrap();
    assert!(said["metadata"]["total_size"].is_u64() && load(dir.path()).unwrap().warnings.is_empty());
    change_json(&dir.path().join(index), |i| i["metadata"]["total_size"] = json!(12));
    let warnings = load(dir.path()).unwrap().warnings.concat();
    assert!(warnings.contains("12 bytes"), "{warnings}");

    let dir = copy("llama_sharded");
    let [one, two] = [1, 2].map(|i| dir.path().join(format!("model-0000{i}-of-00002.safetensors")));
    let mut tensors = read(&two);
    let doubled = read(&one)[0].clone();
    tensors.push(doubled.clone());
    write(&two, &tensors);
    names(&load(dir.path()).err().unwrap(), &["model-00002", &doubled.0, "model-00001", "too"]);

    // One file comes before an index.
    let dir = copy("llama_f16");
    fs::write(dir.path().join(index), "{").unwrap();
    load(dir.path()).unwrap();
}

#[test]
fn weights_in_other_layouts_are_refused_with_what_to_do() {
    for (other, word) in
        [("pytorch_model.bin", "pickle"), ("model-q4.gguf", "layout"), ("consolidated.safetensors", "layout")]
    {
        let dir = copy("llama_f16");
        fs::rename(dir.path().join("model.safetensors"), dir.path().join(other)).unwrap();
        let e = load(dir.path()).err().unwrap();
        names(&e, &[other, word]);
    }
}

/// A model that was trained on less than it has positions for.
struct Shorter(Box<dyn Lm>);

impl Lm for Shorter {
    fn dims(&self) -> &Dims {
        self.0.dims()
    }
    fn trained_len(&self) -> usize {
        8
    }
    fn points(&self) -> &[Point] {
        self.0.points()
    }
    fn embed(&self, rows: &Rows) -> Result<candle_core::Tensor> {
        self.0.embed(rows)
    }
    fn block(&self, l: Layer, x: candle_core::Tensor, p: &mut Pass<'_, '_>) -> Result<candle_core::Tensor, Interrupt> {
        self.0.block(l, x, p)
    }
    fn final_norm(&self, x: &candle_core::Tensor) -> Result<candle_core::Tensor> {
        self.0.final_norm(x)
    }
    fn unembedding(&self) -> &Unembedding {
        self.0.unembedding()
    }
    fn projections(&self) -> Vec<&Projection> {
        self.0.projections()
    }
    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.0.projections_mut()
    }
}

#[test]
fn sequences_beyond_what_the_model_was_trained_on_run_and_are_said_once() {
    let mut m = model("llama_f16");
    assert_eq!(m.lm.trained_len(), m.lm.dims().n_ctx);
    m.lm = Box::new(Shorter(m.lm));
    let items = |lengths: &[usize]| -> Vec<Item> {
        let item = |n: &usize| Item { id: n.to_string(), tokens: vec![3; *n], prompt_len: *n, ..Item::default() };
        lengths.iter().map(item).collect()
    };
    let said = |lengths: &[usize], task: Task| {
        let plan = Plan { model: &m, task, edits: vec![], items: items(lengths), max_batch_tokens: 99 };
        plan.check().unwrap();
        plan.execute(&(0..lengths.len())).unwrap();
        plan.beyond_training()
    };
    let capture = || Task::Capture { sites: vec![Site::post(0)] };
    assert_eq!(said(&[8, 3], capture()), None);
    let warning = said(&[8, 9, 30, 2], capture()).unwrap();
    assert!(warning.contains("2 of 4 prompts") && warning.contains("8 tokens") && warning.contains("30"), "{warning}");
    let generate = Task::Generate(generate::Settings { max_new_tokens: 4, sampling: Sampling::GREEDY, stops: vec![] });
    let warning = said(&[5, 2], generate).unwrap();
    assert!(warning.contains("1 of 2 prompts") && warning.contains("the longest has 9 with 4 new ones"), "{warning}");
    let long = Plan { model: &m, task: capture(), edits: vec![], items: items(&[65]), max_batch_tokens: 99 };
    assert!(matches!(long.check().unwrap_err(), Error::TooLong { .. }), "beyond its positions it is an error");
}

#[test]
fn what_is_trained_is_opened_as_before() {
    let source = Source::Dir(fixtures().join("llama_f16"));
    let (_, parameters) = Model::open(&source, Opening::to(Purpose::Train)).unwrap();
    assert!(!parameters.is_empty());
    assert!(Model::open(&source, Opening::to(Purpose::Adapt)).unwrap().1.is_empty());
}
