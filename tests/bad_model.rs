//! Checkpoints and prompts that cannot work: each is refused with what, where and what next.

mod common;

use common::{fixtures, model, names};
use personascope::error::Error;
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Model, Source};
use personascope::unit::{Item, Plan, Task, run};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A copy of a good checkpoint, to be broken.
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

/// Loading `dir` fails with an error that names `words`.
fn refused(dir: &Path, words: &[&str]) -> Error {
    match Model::load(&Source::Dir(dir.to_path_buf())) {
        Ok(_) => panic!("loaded, but should name {words:?}"),
        Err(e) => {
            names(&e, words);
            e
        }
    }
}

fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// A tensor in the making: name, dtype, shape, bytes.
type Raw = (String, Dtype, Vec<usize>, Vec<u8>);

fn change_tensors(path: &Path, change: impl FnOnce(&mut Vec<Raw>)) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<Raw> =
        file.tensors().into_iter().map(|(n, v)| (n, v.dtype(), v.shape().to_vec(), v.data().to_vec())).collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(n, t, s, b)| (n.as_str(), TensorView::new(*t, s.clone(), b).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

fn find<'t>(tensors: &'t mut [Raw], name: &str) -> &'t mut Raw {
    tensors.iter_mut().find(|t| t.0 == name).unwrap()
}

#[test]
fn the_copies_are_good_before_they_are_broken() {
    for (fixture, _) in common::checkpoints() {
        let dir = copy(&fixture);
        let whole = Model::load(&Source::Dir(dir.path().to_path_buf())).unwrap();
        assert!(whole.warnings.is_empty(), "{:?}", whole.warnings);
        assert_eq!(whole.hash, model(&fixture).hash);
    }
    // What the other cases do to a file changes nothing by itself.
    let dir = copy("llama_f16");
    change_tensors(&dir.path().join("model.safetensors"), |_| ());
    change_json(&dir.path().join("config.json"), |_| ());
    Model::load(&Source::Dir(dir.path().to_path_buf())).unwrap();
}

#[test]
fn a_folder_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let e = refused(&dir.path().join("nowhere"), &["nowhere", "cannot open model folder"]);
    assert!(e.hint().contains("path"), "{}", e.hint());
}

#[test]
fn files_that_are_not_there() {
    refused(tempfile::tempdir().unwrap().path(), &["config.json", "no such file"]);
    for (fixture, file) in [
        ("llama_f16", "config.json"),
        ("llama_f16", "model.safetensors"),
        ("llama_f16", "tokenizer.json"),
        ("llama_sharded", "model-00002-of-00002.safetensors"),
    ] {
        let dir = copy(fixture);
        fs::remove_file(dir.path().join(file)).unwrap();
        refused(dir.path(), &[dir.path().join(file).to_str().unwrap()]);
    }
}

#[test]
fn json_that_is_none() {
    for (file, content) in [
        ("config.json", "{\"model_type\": \"llama\","),
        ("config.json", ""),
        ("config.json", "[1, 2]"),
        ("config.json", "not json"),
        ("tokenizer.json", "{\"version\""),
        ("tokenizer_config.json", "{"),
    ] {
        let dir = copy("llama_f16");
        fs::write(dir.path().join(file), content).unwrap();
        refused(dir.path(), &[dir.path().join(file).to_str().unwrap()]);
    }
    let dir = copy("llama_sharded");
    fs::write(dir.path().join("model.safetensors.index.json"), "{}").unwrap();
    refused(dir.path(), &["model.safetensors.index.json", "weight_map"]);
}

#[test]
fn a_model_type_that_nobody_knows() {
    let dir = copy("llama_f16");
    change_json(&dir.path().join("config.json"), |c| c["model_type"] = json!("gpt17"));
    let e = refused(dir.path(), &["config.json", "model_type", "gpt17"]);
    assert!(e.hint().contains("llama"), "the known ones: {}", e.hint());
    change_json(&dir.path().join("config.json"), |c| drop(c.as_object_mut().unwrap().remove("model_type")));
    refused(dir.path(), &["config.json", "model_type"]);
}

#[test]
fn config_keys_that_would_make_another_model() {
    let cases = [
        ("rope_scaling", json!({"rope_type": "dynamic", "factor": 2.0}), "rope_scaling"),
        ("rope_parameters", json!(7), "rope_parameters"),
        ("hidden_act", json!("relu"), "hidden_act"),
        ("sliding_window", json!(16), "sliding_window"),
        ("no_such_key", json!("on"), "no_such_key"),
        ("hidden_size", Value::Null, "hidden_size"),
        ("hidden_size", json!(-40), "hidden_size"),
        ("vocab_size", json!("61"), "vocab_size"),
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("num_key_value_heads", json!(3), "num_key_value_heads"),
        ("head_dim", json!(7), "head_dim"),
        ("rms_norm_eps", json!("small"), "rms_norm_eps"),
    ];
    for (key, value, named) in cases {
        let dir = copy("llama_f16");
        change_json(&dir.path().join("config.json"), |c| c[key] = value);
        refused(dir.path(), &[dir.path().join("config.json").to_str().unwrap(), named]);
    }
    // An unknown key that is off changes nothing.
    let dir = copy("llama_f16");
    change_json(&dir.path().join("config.json"), |c| c["no_such_key"] = json!(false));
    Model::load(&Source::Dir(dir.path().to_path_buf())).unwrap();
}

#[test]
fn truncated_weights() {
    let path = |dir: &tempfile::TempDir| dir.path().join("model.safetensors");
    let length = fs::metadata(fixtures().join("llama_f16/model.safetensors")).unwrap().len() as usize;
    for keep in [0, 1, 7, 8, 100, 3000, length / 2, length - 1] {
        let dir = copy("llama_f16");
        let bytes = fs::read(path(&dir)).unwrap();
        fs::write(path(&dir), &bytes[..keep]).unwrap();
        let e = refused(dir.path(), &[path(&dir).to_str().unwrap(), "safetensors", &format!("{keep} bytes")]);
        assert!(e.hint().contains("cut short"), "{}", e.hint());
    }
}

#[test]
fn a_tensor_that_is_missing() {
    for name in ["model.layers.1.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"] {
        let dir = copy("llama_f16");
        change_tensors(&dir.path().join("model.safetensors"), |t| t.retain(|t| t.0 != name));
        refused(dir.path(), &["model.safetensors", name, "missing"]);
    }
}

#[test]
fn a_tensor_of_the_wrong_shape_or_kind() {
    let name = "model.layers.2.self_attn.k_proj.weight";
    let dir = copy("llama_f16");
    let path = dir.path().join("model.safetensors");
    // [8, 40] turned to [40, 8]: the same count of numbers.
    change_tensors(&path, |t| find(t, name).2.reverse());
    refused(dir.path(), &["model.safetensors", name, "[40, 8]", "[8, 40]"]);

    let dir = copy("llama_f16");
    let path = dir.path().join("model.safetensors");
    change_tensors(&path, |t| find(t, name).1 = Dtype::I16);
    refused(dir.path(), &["model.safetensors", name, "I16"]);

    // Another checkpoint's config.json beside the weights.
    let dir = copy("llama_f16");
    change_json(&dir.path().join("config.json"), |c| c["vocab_size"] = json!(64));
    refused(dir.path(), &["model.safetensors", "model.embed_tokens.weight", "[61, 40]", "[64, 40]"]);
}

#[test]
fn weights_that_are_no_numbers() {
    // NaN, infinity and minus infinity in f16.
    for (n, bits) in [0x7e00u16, 0x7c00, 0xfc00].into_iter().enumerate() {
        let name = "model.layers.0.mlp.up_proj.weight";
        let dir = copy("llama_f16");
        change_tensors(&dir.path().join("model.safetensors"), |t| {
            find(t, name).3[2 * n..2 * n + 2].copy_from_slice(&bits.to_le_bytes());
        });
        refused(dir.path(), &["model.safetensors", name, "1 values are not finite"]);
    }
}

#[test]
fn a_tensor_that_nobody_asked_for_is_said_and_no_error() {
    let dir = copy("llama_f16");
    change_tensors(&dir.path().join("model.safetensors"), |t| {
        t.push(("adapter.extra".into(), Dtype::F32, vec![1], vec![0; 4]));
    });
    let loaded = Model::load(&Source::Dir(dir.path().to_path_buf())).unwrap();
    assert!(loaded.warnings.concat().contains("adapter.extra"), "{:?}", loaded.warnings);
}

#[test]
fn a_tokenizer_larger_than_the_vocabulary() {
    let dir = copy("llama_f16");
    change_json(&dir.path().join("tokenizer.json"), |t| {
        t["model"]["vocab"].as_object_mut().unwrap().insert("one more".into(), json!(61));
    });
    refused(dir.path(), &[dir.path().join("tokenizer.json").to_str().unwrap(), "62", "61"]);
}

/// The first `n` positions as one row.
fn one_row(n: usize) -> Vec<std::ops::Range<usize>> {
    std::iter::once(0..n).collect()
}

/// Prompts that cannot run, with what their error must name. The model has 61 tokens and 64 positions.
fn bad_prompts() -> Vec<(&'static str, Vec<u32>, Vec<&'static str>)> {
    vec![
        ("nothing", vec![], vec!["`nothing`", "empty"]),
        ("outside", vec![5, 60, 61], vec!["`outside`", "61", "position 2", "vocabulary"]),
        ("far outside", vec![u32::MAX], vec!["`far outside`", "4294967295", "position 0"]),
        ("long", vec![4; 65], vec!["`long`", "65 tokens", "64 positions"]),
    ]
}

#[test]
fn prompts_that_the_model_cannot_take_are_refused_before_anything_runs() {
    let m = model("llama_f16");
    let good = Item { id: "good".into(), tokens: vec![1, 2], prompt_len: 2, ranges: one_row(1), ..Item::default() };
    let whole =
        Item { id: "whole".into(), tokens: vec![60; 64], prompt_len: 64, ranges: one_row(64), ..Item::default() };
    let settings = Settings { max_new_tokens: 10, sampling: Sampling::GREEDY, stops: vec![] };
    let sites = vec![personascope::axes::Site::post(0)];
    let plan = |items: Vec<Item>, task: Task| Plan { model: &m, task, edits: vec![], items, max_batch_tokens: 2048 };
    let attempt = |plan: &Plan| {
        let mut taken = 0;
        let result = run(plan, 1, None, &mut |_: &personascope::unit::Tally| true, |_, _| {
            taken += 1;
            Ok(())
        });
        assert!(result.is_ok() || taken == 0, "something ran before the refusal");
        result
    };
    attempt(&plan(vec![good.clone(), whole], Task::Capture { sites: sites.clone() })).unwrap();
    for (id, tokens, words) in bad_prompts() {
        let bad = Item { id: id.into(), prompt_len: tokens.len(), tokens, ranges: one_row(1), ..Item::default() };
        for task in [Task::Capture { sites: sites.clone() }, Task::Generate(settings.clone())] {
            names(&attempt(&plan(vec![good.clone(), bad.clone()], task)).unwrap_err(), &words);
        }
        let start = Start { id: id.into(), tokens: bad.tokens, seed: 0, adapter: None, edits: vec![] };
        names(&generate(&*m.lm, &[], &[start], &[], &settings).unwrap_err(), &words);
    }
    // 60 tokens fit; 10 more do not.
    let start = Start { id: "grows".into(), tokens: vec![7; 60], seed: 0, adapter: None, edits: vec![] };
    names(
        &generate(&*m.lm, &[], &[start], &[], &settings).unwrap_err(),
        &["`grows`", "60 tokens", "10 new", "64 positions"],
    );
    // A site that the model does not have.
    let beyond = Task::Capture { sites: vec![personascope::axes::Site::post(3)] };
    let e = attempt(&plan(vec![good], beyond)).unwrap_err();
    names(&e, &["resid_post.3"]);
    assert!(e.hint().contains("0..2"), "{}", e.hint());
}
