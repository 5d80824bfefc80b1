//! Adapters: in a pass and merged, many in one batch, trained, written and read, and each way one can be wrong.

mod common;

use candle_core::{DType, Device, Tensor};
use common::{Matrix, bits, model, names, random_tokens, worst};
use personascope::error::Error;
use personascope::model::Weight;
use personascope::model::adapter::{Settings, Stored, Targets};
use personascope::model::generate::{Settings as Drawing, Start, generate};
use personascope::model::kernels::tape;
use personascope::model::sample::Sampling;
use personascope::model::{Adapter, Example, Head, Hooks, LowRank, Model, Opening, Purpose, Rows, Source, forward};
use personascope::rng::stream;
use personascope::unit::{Item, Plan, Task};
use rand::Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Unmerged against merged, and ours against PEFT's.
const BAR: f64 = 1e-4;

fn values(seed: u64, label: &str, n: usize) -> Vec<f32> {
    let mut rng = stream(seed, label);
    (0..n).map(|_| rng.random_range(-0.3..0.3)).collect()
}

/// An adapter with both factors random, on the modules that `targets` says.
fn random(m: &Model, name: &str, settings: &Settings, seed: u64) -> Adapter {
    let (mut adapter, _) = Adapter::fresh(name, &*m.lm, &m.hash, settings, seed).unwrap();
    for (path, module) in &mut adapter.modules {
        let b = values(seed, path, module.b.elem_count());
        module.b = Tensor::from_vec(b, module.b.shape(), &Device::Cpu).unwrap();
        module.a = module.a.detach();
    }
    Adapter::new(name, adapter.modules, adapter.base, adapter.base_hash).unwrap()
}

/// Settings in which ranks and scales differ between modules.
fn varied() -> Settings {
    let names = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"].map(String::from).to_vec();
    let mut settings = Settings::new(3, 4.0, Targets::Names(names));
    settings.rslora = true;
    settings.rank_pattern = vec![("v_proj".into(), 1), (r"layers\.1\.mlp\..*".into(), 5)];
    settings.alpha_pattern = vec![("o_proj".into(), 7.0)];
    settings
}

fn pack(prompts: &[Vec<u32>], adapters: &[Option<usize>]) -> Rows {
    Rows::pack(prompts.iter().zip(adapters).enumerate().map(|(index, (tokens, adapter))| {
        let (prompt_len, adapter) = (tokens.len(), *adapter);
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits: vec![] }, tokens.clone())
    }))
}

fn logits(m: &Model, rows: &Rows) -> Matrix {
    let mut hooks = Hooks::default().adapters(&m.adapters);
    forward(&*m.lm, rows, &mut hooks, None, Head::AllRows).unwrap().0.unwrap().to_vec2().unwrap()
}

fn prompts(m: &Model) -> Vec<Vec<u32>> {
    let lengths = [5, 1, 40, 2, 63, 7, 1, 30];
    lengths.iter().enumerate().map(|(i, n)| random_tokens(m, *n, 20 + i as u64)).collect()
}

#[test]
fn logits_are_those_of_peft() {
    let dir = common::fixtures().join("lora");
    let (mut beside, mut merged) = (model("llama_f16"), model("llama_f16"));
    let adapter = Adapter::load("lora", &dir).unwrap();
    let rank = |path: &str| adapter.modules[path].rank();
    assert_eq!(
        ["0.mlp.down_proj", "1.mlp.down_proj", "2.mlp.up_proj", "2.self_attn.v_proj"]
            .map(|p| rank(&format!("model.layers.{p}"))),
        [4, 2, 3, 1]
    );
    // alpha 5 by `layers.1.*`, rank 2, rsLoRA.
    assert_eq!(adapter.modules["model.layers.1.self_attn.q_proj"].scale, 5.0 / 2f64.sqrt());
    beside.add(adapter.clone()).unwrap();
    merged.merge(adapter).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(dir.join("expected.json")).unwrap()).unwrap();
    let bytes = fs::read(dir.join("expected.safetensors")).unwrap();
    let want = SafeTensors::deserialize(&bytes).unwrap();
    let want = want.tensor("logits").unwrap();
    let want: Vec<f32> = want.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let want: Matrix = want.chunks(61).map(<[f32]>::to_vec).collect();
    let ids = |v: &Value| v.as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as usize).collect::<Vec<_>>();
    for (m, through) in [(&beside, Some(0)), (&merged, None)] {
        let (mut found, mut base) = (Matrix::new(), 0.0f64);
        for p in expected["prompts"].as_array().unwrap() {
            let tokens: Vec<u32> = ids(&p["tokens"]).into_iter().map(|t| t as u32).collect();
            let all = logits(m, &pack(std::slice::from_ref(&tokens), &[through]));
            let bare = logits(&beside, &pack(&[tokens], &[None]));
            base = base.max(worst(&all, &bare));
            found.extend(ids(&p["logit_rows"]).into_iter().map(|r| all[r].clone()));
        }
        assert!(worst(&found, &want) < BAR, "{through:?}: {:e}", worst(&found, &want));
        assert!(base > 0.1);
    }
}

#[test]
fn unmerged_is_merged_and_neither_is_the_base() {
    for fixture in ["llama_f16", "llama_sharded"] {
        let (mut unmerged, mut merged) = (model(fixture), model(fixture));
        let adapter = random(&unmerged, "one", &varied(), 5);
        let prompts = prompts(&unmerged);
        let base = logits(&unmerged, &pack(&prompts, &[None; 8]));
        merged.merge(adapter.clone()).unwrap();
        assert_ne!(merged.hash, unmerged.hash);
        unmerged.add(adapter).unwrap();
        let a = logits(&unmerged, &pack(&prompts, &[Some(0); 8]));
        let b = logits(&merged, &pack(&prompts, &[None; 8]));
        assert!(worst(&a, &b) < BAR, "{fixture}: {:e}", worst(&a, &b));
        assert!(worst(&a, &base) > 0.1, "{fixture}: the adapter does something");
    }
}

#[test]
fn rows_of_a_batch_have_their_own_adapters_and_the_bits_of_a_pass_alone() {
    let mut m = model("llama_f16");
    let prompts = prompts(&m);
    let base = logits(&m, &pack(&prompts, &[None; 8]));
    let attention = Settings::new(1, 2.0, Targets::Names(vec!["k_proj".into(), "v_proj".into()]));
    for (i, settings) in [varied(), attention, Settings::new(8, 8.0, Targets::AllLinear)].iter().enumerate() {
        let adapter = random(&m, &format!("a{i}"), settings, i as u64);
        m.add(adapter).unwrap();
    }
    let which = [Some(0), None, Some(1), Some(1), Some(2), Some(0), None, Some(2)];
    let mixed = logits(&m, &pack(&prompts, &which));
    let mut at = 0;
    for (prompt, adapter) in prompts.iter().zip(which) {
        let alone = logits(&m, &pack(std::slice::from_ref(prompt), &[adapter]));
        let here = &mixed[at..at + prompt.len()];
        assert!(bits(here) == bits(&alone), "{} tokens through {adapter:?}", prompt.len());
        let as_base = bits(here) == bits(&base[at..at + prompt.len()]);
        assert_eq!(as_base, adapter.is_none(), "{} tokens through {adapter:?}", prompt.len());
        at += prompt.len();
    }
}

#[test]
fn generation_goes_through_the_adapter_of_each_start() {
    let mut m = model("llama_sharded");
    m.add(random(&m, "one", &varied(), 1)).unwrap();
    m.add(random(&m, "two", &varied(), 2)).unwrap();
    let settings = Drawing { max_new_tokens: 8, sampling: Sampling::new(1.0, 1.0).unwrap(), stops: vec![] };
    let start = |i: usize, adapter| {
        let (id, tokens) = (i.to_string(), random_tokens(&m, 3 + i, i as u64));
        Start { id, tokens, seed: 3, adapter, edits: vec![] }
    };
    let starts: Vec<Start> = [Some(0), None, Some(1), Some(0)].iter().enumerate().map(|(i, a)| start(i, *a)).collect();
    let (replies, _) = generate(&*m.lm, &m.adapters, &starts, &[], &settings).unwrap();
    for (one, reply) in starts.iter().zip(&replies) {
        let (alone, _) = generate(&*m.lm, &m.adapters, std::slice::from_ref(one), &[], &settings).unwrap();
        assert_eq!(alone[0], *reply);
    }
    let bare: Vec<Start> = starts.iter().map(|s| Start { adapter: None, ..s.clone() }).collect();
    let (base, _) = generate(&*m.lm, &[], &bare, &[], &settings).unwrap();
    assert!(base[1] == replies[1] && base[0] != replies[0] && base[2] != replies[2]);
    let e = generate(&*m.lm, &[], &starts, &[], &settings).unwrap_err();
    names(&e, &["example 0", "adapter 0", "0 are loaded"]);
}

#[test]
fn training_reaches_both_factors_of_every_module_and_no_frozen_weight() {
    let source = Source::Dir(common::fixtures().join("llama_f16"));
    let (m, _) = Model::open(&source, Opening::to(Purpose::Adapt)).unwrap();
    let (mut adapter, vars) = Adapter::fresh("new", &*m.lm, &m.hash, &varied(), 0).unwrap();
    // 5 targets in 3 layers, two factors each.
    assert_eq!(vars.len(), 30);
    let rows = pack(&prompts(&m), &[Some(0); 8]);
    let run = |adapter: &Adapter| {
        let adapters = [adapter.clone()];
        let mut hooks = Hooks::default().adapters(&adapters);
        forward(&*m.lm, &rows, &mut hooks, None, Head::AllRows).unwrap().0.unwrap()
    };
    let base = forward(&*m.lm, &pack(&prompts(&m), &[None; 8]), &mut Hooks::default(), None, Head::AllRows);
    let base: Matrix = base.unwrap().0.unwrap().to_vec2().unwrap();
    assert!(worst(&run(&adapter).to_vec2().unwrap(), &base) == 0.0, "a fresh adapter changes nothing");
    for (name, var) in vars.iter().filter(|(name, _)| name.ends_with("lora_B.weight")) {
        let b = values(9, name, var.elem_count());
        var.set(&Tensor::from_vec(b, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    let loss = |adapter: &Adapter| run(adapter).sqr().unwrap().mean_all().unwrap();
    let (y, recorded) = tape::record(|| candle_core::Result::Ok(run(&adapter))).unwrap();
    let seed = (y.detach() * (2.0 / y.elem_count() as f64)).unwrap();
    let mut found = recorded.backward(&y, seed).unwrap();
    let frozen = m.lm.projections();
    let plain = |w: &Weight| match w {
        Weight::Plain(w) => w.clone(),
        Weight::Packed(_) => panic!("a model that is adapted has plain weights"),
    };
    assert!(frozen.len() == 12 && frozen.iter().all(|p| found.take(&plain(&p.weight)).is_none()));
    let mut grads = std::collections::BTreeMap::new();
    for (name, var) in &vars {
        let grad = found.take(var).unwrap_or_else(|| panic!("{name} has no gradient"));
        grads.insert(name.clone(), grad.clone());
        assert!(grad.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0, "{name}");
    }
    // Along the gradient the loss grows by h |g|^2 to first order.
    let mut slope = 0.0;
    let h = 1e-3;
    for (path, module) in &mut adapter.modules {
        for (factor, tensor) in [("A", &mut module.a), ("B", &mut module.b)] {
            let name = format!("{path}.lora_{factor}.weight");
            let grad = &grads[&name];
            slope += f64::from(grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
            *tensor = (tensor.detach() + (grad * h).unwrap()).unwrap();
        }
    }
    let up = f64::from(loss(&adapter).to_scalar::<f32>().unwrap());
    for (path, module) in &mut adapter.modules {
        for (factor, tensor) in [("A", &mut module.a), ("B", &mut module.b)] {
            let name = format!("{path}.lora_{factor}.weight");
            let grad = &grads[&name];
            *tensor = (tensor.detach() - (grad * (2.0 * h)).unwrap()).unwrap();
        }
    }
    let down = f64::from(loss(&adapter).to_scalar::<f32>().unwrap());
    let found = (up - down) / (2.0 * h);
    assert!((found / slope - 1.0).abs() < 0.02, "slope {found} for {slope}");
}

#[test]
fn a_fresh_adapter_is_decided_by_its_seed_and_unknown_targets_are_refused() {
    let m = model("llama_f16");
    let fresh = |seed, settings: &Settings| Adapter::fresh("new", &*m.lm, &m.hash, settings, seed);
    let hash = |seed| fresh(seed, &varied()).unwrap().0.hash;
    assert!(hash(1) == hash(1) && hash(1) != hash(2));
    let settings = Settings::new(4, 8.0, Targets::Names(vec!["q_proj".into(), "qq_proj".into()]));
    names(&fresh(0, &settings).err().unwrap(), &["no module", "`qq_proj`"]);
    let settings = Settings::new(4, 8.0, Targets::Pattern(r".*\.(q|k)_proj".into()));
    assert_eq!(fresh(0, &settings).unwrap().0.modules.len(), 6);
}

#[test]
fn what_is_written_reads_back_with_the_same_hash_and_the_same_bytes() {
    let mut m = model("llama_f16");
    let (settings, dir) = (varied(), tempfile::tempdir().unwrap());
    let adapter = random(&m, "mine", &settings, 3);
    let about: Map<String, Value> = json!({"seed": 3, "data": "none"}).as_object().unwrap().clone();
    let files = adapter.to_files(&settings, Stored::F32, &about).unwrap();
    assert_eq!(files, adapter.to_files(&settings, Stored::F32, &about).unwrap());
    files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    let again = Adapter::load("mine", dir.path()).unwrap();
    assert_eq!(again.hash, adapter.hash);
    assert_eq!(again.base_hash.as_deref(), Some(m.hash.as_str()));
    assert!(again.modules.iter().zip(&adapter.modules).all(|((a, x), (b, y))| a == b && x.scale == y.scale));
    m.add(again).unwrap();

    // In half precision the values are those of f16: 11 bits.
    let halves = adapter.to_files(&settings, Stored::F16, &about).unwrap();
    let half = Adapter::from_bytes("half", "here", &halves[1].1, &halves[0].1).unwrap();
    for (path, module) in &half.modules {
        let gap = (&module.b - &adapter.modules[path].b).unwrap().abs().unwrap().max_all().unwrap();
        // Values are below 0.3: half a unit in the last place is 2^-13.
        assert!((0.0..1.3e-4).contains(&gap.to_scalar::<f32>().unwrap()), "{path}");
    }
    assert!(halves[0].1.len() < files[0].1.len());

    let wrong = Settings { rank: 4, ..settings.clone() };
    names(&adapter.to_files(&wrong, Stored::F32, &about).unwrap_err(), &["do not describe", "rank 3"]);
    let mut large = adapter.modules.clone();
    let module = large.values_mut().next().unwrap();
    module.b = (&module.b * 1e6).unwrap();
    let large = Adapter::new("large", large, None, None).unwrap();
    large.to_files(&settings, Stored::F32, &about).unwrap();
    names(&large.to_files(&settings, Stored::F16, &about).unwrap_err(), &["lora_B.weight", "F16", "not finite"]);
}

#[test]
fn two_adapters_never_share_an_address() {
    let mut m = model("llama_f16");
    m.add(random(&m, "one", &varied(), 1)).unwrap();
    m.add(random(&m, "two", &varied(), 2)).unwrap();
    let address = |m: &Model, adapter: Option<usize>| {
        let item = Item { id: "a".into(), tokens: vec![3, 4], prompt_len: 2, adapter, ..Item::default() };
        let task = Task::Capture { sites: vec![personascope::axes::Site::post(1)] };
        Plan { model: m, task, edits: vec![], items: vec![item], max_batch_tokens: 9 }.address(&(0..1))
    };
    let (base, one, two) = (address(&m, None), address(&m, Some(0)), address(&m, Some(1)));
    assert!(base != one && one != two && base != two);
    let mut merged = model("llama_f16");
    merged.merge(m.adapters[0].clone()).unwrap();
    assert!(![base.clone(), one.clone()].contains(&address(&merged, None)));
    // The name is not part of it, nor is the index.
    let mut other = model("llama_f16");
    other.add(Adapter { name: "else".into(), ..m.adapters[1].clone() }).unwrap();
    assert_eq!(address(&other, Some(0)), two);
}

#[test]
fn an_adapter_for_another_base_is_refused_by_its_module() {
    let (m, mut other) = (model("llama_f16"), model("llama_sharded"));
    let adapter = random(&m, "mine", &Settings::new(2, 2.0, Targets::Names(vec!["up_proj".into()])), 1);
    // 52 x 40 in the one, 37 x 28 in the other.
    let e = other.add(adapter.clone()).unwrap_err();
    names(&e, &["`mine`", "another base", "model.layers.0.mlp.up_proj", "[52, 40]", "[37, 28]"]);
    names(&other.merge(adapter.clone()).unwrap_err(), &["another base"]);
    let mut modules = adapter.modules.clone();
    let module = modules["model.layers.0.mlp.up_proj"].clone();
    modules.insert("lm_head".into(), module);
    let head = Adapter::new("head", modules, None, None).unwrap();
    names(&model("llama_f16").add(head).unwrap_err(), &["another base", "no module `lm_head`"]);

    let stranger = Adapter { base: Some("there".into()), base_hash: Some("ab".repeat(32)), ..adapter.clone() };
    let e = model("llama_f16").add(stranger.clone()).unwrap_err();
    names(&e, &["trained on another model", "abababababab,"]);
    assert!(e.hint().contains("`there`"), "{}", e.hint());
    model("llama_f16").add(Adapter { base_hash: None, ..stranger }).unwrap();

    let mut twice = model("llama_f16");
    twice.add(adapter.clone()).unwrap();
    names(&twice.add(adapter.clone()).unwrap_err(), &["two adapters", "`mine`"]);
    names(&twice.merge(adapter).unwrap_err(), &["cannot be merged"]);
}

/// A good adapter in a folder, to be broken: (name, dtype, shape, bytes) of every tensor.
type Raw = (String, Dtype, Vec<usize>, Vec<u8>);

fn broken(config: impl FnOnce(&mut Value), tensors: impl FnOnce(&mut Vec<Raw>)) -> Result<Adapter, Error> {
    let m = model("llama_f16");
    let dir = written(&random(&m, "x", &varied(), 1), &varied());
    let path = dir.path().join("adapter_config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    let path = dir.path().join("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut raw: Vec<Raw> =
        file.tensors().into_iter().map(|(n, v)| (n, v.dtype(), v.shape().to_vec(), v.data().to_vec())).collect();
    tensors(&mut raw);
    let views = raw.iter().map(|(n, t, s, b)| (n.as_str(), TensorView::new(*t, s.clone(), b).unwrap()));
    serialize_to_file(views, None, &path).unwrap();
    Adapter::load("x", dir.path())
}

fn written(adapter: &Adapter, settings: &Settings) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = adapter.to_files(settings, Stored::F32, &Map::new()).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

const A: &str = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight";

fn find<'t>(tensors: &'t mut [Raw], name: &str) -> &'t mut Raw {
    tensors.iter_mut().find(|t| t.0 == name).unwrap()
}

#[test]
fn each_way_an_adapter_can_be_wrong_is_refused_by_name() {
    broken(|_| (), |_| ()).unwrap();
    let add = |name: &str| {
        let name = name.to_string();
        move |t: &mut Vec<Raw>| t.push((name, Dtype::F32, vec![1], vec![0; 4]))
    };
    for (name, says) in [
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "DoRA"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "embedding"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "bias"),
        ("base_model.model.lm_head.modules_to_save.weight", "whole"),
        ("base_model.model.lm_head.weight", "no factor"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "no factor"),
    ] {
        names(&broken(|_| (), add(name)).unwrap_err(), &["adapter_model.safetensors", name, says]);
    }
    let config = |key: &'static str, value: Value| broken(move |c| c[key] = value, |_| ()).unwrap_err();
    names(&config("use_dora", json!(true)), &["adapter_config.json", "use_dora", "DoRA"]);
    names(&config("r", json!(4)), &["adapter_model.safetensors", "lora_A.weight", "rank 4"]);
    names(&config("rank_pattern", json!({})), &["v_proj.lora_", "rank 3"]);

    let e = broken(|_| (), |t| t.retain(|t| t.0 != A)).unwrap_err();
    names(&e, &["adapter_model.safetensors", A, "missing"]);
    let b = A.replace("lora_A", "lora_B");
    names(&broken(|_| (), |t| t.retain(|t| t.0 != b)).unwrap_err(), &[&b, "missing"]);
    names(&broken(|_| (), Vec::clear).unwrap_err(), &["no tensor"]);
    // Rank 5 by the pattern, 40 inputs.
    names(&broken(|_| (), |t| find(t, A).2 = vec![40, 5]).unwrap_err(), &[A, "[40, 5]", "rank 5"]);
    names(&broken(|_| (), |t| find(t, A).2 = vec![5, 4, 10]).unwrap_err(), &[A, "[5, 4, 10]"]);
    let nan = |t: &mut Vec<Raw>| find(t, A).3[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    names(&broken(|_| (), nan).unwrap_err(), &[A, "1 values are not finite"]);
    names(&broken(|_| (), |t| find(t, A).1 = Dtype::I32).unwrap_err(), &[A, "I32"]);
}

#[test]
fn folders_and_files_that_are_no_adapter_are_refused() {
    let load = |dir: &Path| Adapter::load("x", dir).unwrap_err();
    let dir = written(&random(&model("llama_f16"), "x", &varied(), 1), &varied());
    let (config, weights) = (dir.path().join("adapter_config.json"), dir.path().join("adapter_model.safetensors"));
    names(&load(&dir.path().join("nowhere")), &["nowhere"]);
    let bytes = fs::read(&weights).unwrap();
    for keep in [0, 7, 100, bytes.len() - 1] {
        fs::write(&weights, &bytes[..keep]).unwrap();
        names(&load(dir.path()), &["adapter_model.safetensors", &format!("{keep} bytes")]);
    }
    fs::remove_file(&weights).unwrap();
    names(&load(dir.path()), &["adapter_model.safetensors"]);
    fs::write(dir.path().join("adapter_model.bin"), b"x").unwrap();
    names(&load(dir.path()), &["only an adapter_model.bin"]);
    for text in ["", "[1]", "{"] {
        fs::write(&config, text).unwrap();
        fs::write(&weights, &bytes).unwrap();
        names(&load(dir.path()), &["adapter_config.json"]);
    }
    fs::remove_file(&config).unwrap();
    names(&load(dir.path()), &["adapter_config.json", "no such file"]);
}

#[test]
fn a_module_is_the_sum_of_its_products() {
    // One module by hand: y = x W + scale (x A) B, in f64.
    let mut m = model("llama_f16");
    let path = "model.layers.0.self_attn.q_proj";
    let n_in = m.lm.dims().d_model;
    let (a, b) = (values(1, "a", n_in * 2), values(2, "b", 2 * n_in));
    let t = |v: &[f32], shape: (usize, usize)| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
    let low_rank = LowRank { a: t(&a, (n_in, 2)), b: t(&b, (2, n_in)), scale: 0.5 };
    let whole = |m: &Model| match &m.lm.projections()[0].weight {
        Weight::Plain(w) => w.clone(),
        Weight::Packed(w) => w.to_tensor().unwrap(),
    };
    let before = whole(&m).to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
    m.merge(Adapter::new("one", BTreeMap::from([(path.to_string(), low_rank)]), None, None).unwrap()).unwrap();
    let after = whole(&m).to_vec2::<f32>().unwrap();
    for i in 0..n_in {
        for j in 0..after[0].len() {
            let delta = |r: usize| f64::from(a[i * 2 + r]) * f64::from(b[r * n_in + j]);
            let want = before[i][j] + if j < n_in { 0.5 * (delta(0) + delta(1)) } else { 0.0 };
            assert!((f64::from(after[i][j]) - want).abs() < 1e-6, "[{i}, {j}]");
        }
    }
}
