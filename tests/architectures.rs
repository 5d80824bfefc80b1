//! What configurations say: in either spelling, or something that is not supported.

mod common;

use candle_core::{DType, Device, Tensor};
use common::{bits, fixtures, logits, model, names, pack, random_tokens};
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Head, Hooks, Model, Opening, Parameter, Purpose, Source, forward, kernels};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn config(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A copy of a fixture with another config.json.
fn copy(fixture: &str, config: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join(fixture)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("expected") && !name.starts_with("config") {
            fs::copy(entry.path(), dir.path().join(name)).unwrap();
        }
    }
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

#[test]
fn both_spellings_of_a_configuration_are_the_same_model() {
    let mut spellings = [0, 0];
    for (fixture, _) in common::checkpoints() {
        let other = fixtures().join(&fixture).join("config.other.json");
        if !other.exists() {
            continue;
        }
        let (mine, other) = (config(&fixtures().join(&fixture).join("config.json")), config(&other));
        for c in [&mine, &other] {
            spellings[usize::from(c.get("torch_dtype").is_some())] += 1;
        }
        assert_ne!(mine, other, "{fixture}");
        let dir = copy(&fixture, &other);
        let (a, b) = (model(&fixture), Model::load(&Source::Dir(dir.path().into())).unwrap());
        let rows = pack(&[random_tokens(&a, 70, 3), random_tokens(&a, 5, 4)], &[]);
        assert!(bits(&logits(&*a.lm, &rows, &[]).0) == bits(&logits(&*b.lm, &rows, &[]).0), "{fixture}");
        assert_eq!((a.lm.dims(), a.lm.trained_len()), (b.lm.dims(), b.lm.trained_len()), "{fixture}");
    }
    assert!(spellings[0] >= 15 && spellings[0] == spellings[1], "{spellings:?}");
}

#[test]
fn the_trained_length_is_that_before_positions_were_stretched() {
    for (fixture, trained, n_ctx) in [
        ("llama_llama3", 40, 320), // 8 times 40, more than the 160 that the file says
        ("llama_linear", 160, 640),
        ("llama_yarn", 40, 160),
        ("phi3_longrope", 40, 160),
        ("mistral", 160, 160),
        ("gpt2", 160, 160),
    ] {
        let m = model(fixture);
        assert_eq!((m.lm.trained_len(), m.lm.dims().n_ctx), (trained, n_ctx), "{fixture}");
    }
}

/// Sets a value at a path of keys, or removes it.
fn set(config: &mut Value, path: &str, value: Value) {
    let mut at = config;
    for key in path.split('.') {
        at = at.as_object_mut().unwrap().entry(key).or_insert(Value::Null);
    }
    *at = value;
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        ("llama_yarn", "model_type", json!("llama5"), "llama5"),
        ("llama_yarn", "hidden_act", json!("relu"), "hidden_act"),
        ("llama_yarn", "some_new_switch", json!(true), "some_new_switch"),
        ("llama_yarn", "quantization_config", json!({"bits": 4}), "quantization_config"),
        ("llama_yarn", "num_key_value_heads", json!(4), "num_key_value_heads"),
        ("llama_yarn", "rope_scaling.rope_type", json!("dynamic"), "dynamic"),
        ("llama_yarn", "rope_scaling.rope_type", json!(3), "rope_scaling"),
        ("llama_yarn", "rope_scaling.factor", json!("four"), "rope_scaling.factor"),
        ("llama_yarn", "rope_scaling.new_key", json!(1.5), "rope_scaling.new_key"),
        ("llama_yarn", "rope_scaling", json!([1]), "rope_scaling"),
        ("llama_yarn", "rope_theta", json!(-5), "rope_theta"),
        ("llama_linear", "rope_parameters.factor", Value::Null, "rope_parameters.factor"),
        ("llama_llama3", "rope_scaling.low_freq_factor", Value::Null, "low_freq_factor"),
        ("mistral", "sliding_window", json!("wide"), "sliding_window"),
        ("mistral", "layer_types", json!(["full_attention"]), "layer_types"),
        ("qwen2", "layer_types", json!(["full_attention"]), "layer_types"),
        ("qwen2", "layer_types", json!(["full_attention", "full_attention", "linear_attention"]), "linear_attention"),
        ("qwen2", "use_sliding_window", json!(false), "sliding_window"),
        ("qwen3_moe", "use_sliding_window", json!(true), "use_sliding_window"),
        ("qwen3_moe", "num_experts_per_tok", json!(9), "num_experts_per_tok"),
        ("qwen3_moe", "mlp_only_layers", json!("all"), "mlp_only_layers"),
        ("gemma2", "use_bidirectional_attention", json!(true), "use_bidirectional_attention"),
        ("gemma2", "attn_logit_softcapping", json!(0), "attn_logit_softcapping"),
        ("gemma2", "hidden_activation", json!("relu"), "hidden_activation"),
        ("gemma3", "rope_parameters", json!({"full_attention": {"rope_type": "default"}}), "sliding_attention"),
        ("gemma3", "rope_parameters.full_attention.rope_type", json!("proportional"), "proportional"),
        ("phi3", "rope_parameters.partial_rotary_factor", json!(1.5), "rope_parameters"),
        ("phi3_longrope", "rope_scaling.short_factor", json!([1.0, 1.1]), "factors"),
        ("phi3_longrope", "rope_scaling.long_factor", Value::Null, "long_factor"),
        ("olmo2", "clip_qkv", json!(8.0), "clip_qkv"),
        ("gpt2", "n_head", json!(7), "n_head"),
        ("gpt2", "add_cross_attention", json!(true), "add_cross_attention"),
        ("gpt2", "activation_function", json!("tanh"), "activation_function"),
        ("gpt_neox", "rotary_pct", json!(0.01), "head_dim"),
        ("gpt_neox", "hidden_act", json!("gelu_fast"), "hidden_act"),
        ("gpt_neox", "num_attention_heads", json!(5), "num_attention_heads"),
    ];
    for (fixture, key, value, named) in cases {
        let mut changed = config(&fixtures().join(fixture).join("config.json"));
        let case = format!("{fixture}: {key} = {value}");
        set(&mut changed, key, value);
        let dir = copy(fixture, &changed);
        match Model::load(&Source::Dir(dir.path().into())) {
            Ok(_) => panic!("{case}: loaded"),
            Err(e) => names(&e, &[named]),
        }
    }
}

#[test]
fn every_size_that_is_wrong_is_an_error() {
    for (fixture, _) in common::checkpoints() {
        let right = config(&fixtures().join(&fixture).join("config.json"));
        let sizes =
            ["hidden_size", "n_embd", "intermediate_size", "vocab_size", "num_hidden_layers", "n_layer", "head_dim"];
        for key in sizes.iter().filter(|k| right.get(**k).is_some()) {
            for by in [1, 1_000_000_000] {
                let mut changed = right.clone();
                changed[key] = json!(right[key].as_u64().unwrap() + by);
                let dir = copy(&fixture, &changed);
                assert!(Model::load(&Source::Dir(dir.path().into())).is_err(), "{fixture}: {key} + {by}");
            }
        }
    }
}

#[test]
fn cached_decoding_says_what_reading_everything_anew_says() {
    for (fixture, _) in common::checkpoints() {
        let m = model(&fixture);
        // Beyond every window of the fixtures, and across the length where the positions of one of them change (40).
        let prompts: Vec<Vec<u32>> = [3, 17, 36, 41].iter().map(|n| random_tokens(&m, *n, 8)).collect();
        let starts: Vec<Start> = (prompts.iter().enumerate())
            .map(|(i, tokens)| Start {
                id: i.to_string(),
                tokens: tokens.clone(),
                seed: 0,
                adapter: None,
                edits: vec![],
            })
            .collect();
        let settings = Settings { max_new_tokens: 16, sampling: Sampling::GREEDY, stops: vec![] };
        let (replies, _) = generate(&*m.lm, &[], &starts, &[], &settings).unwrap();
        for (prompt, reply) in prompts.iter().zip(&replies) {
            assert_eq!(reply.len(), 16);
            for (t, said) in reply.iter().enumerate() {
                let whole = [prompt, &reply[..t]].concat();
                let (logits, _) = logits(&*m.lm, &pack(std::slice::from_ref(&whole), &[]), &[]);
                let last = logits.last().unwrap();
                let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
                assert_eq!(best as u32, *said, "{fixture}: token {t} after {} tokens", prompt.len());
            }
        }
    }
}

/// Opened to be trained. A mixture of experts cannot be.
fn trained(fixture: &str) -> Option<(Model, Vec<Parameter>)> {
    let source = Source::Dir(fixtures().join(fixture));
    match Model::open(&source, Opening::to(Purpose::Train)) {
        Ok(opened) => Some(opened),
        Err(e) => {
            assert_eq!(fixture, "qwen3_moe", "{e}");
            names(&e, &["mixture of experts"]);
            None
        }
    }
}

#[test]
fn what_is_trained_is_written_as_the_file_had_it() {
    for (fixture, _) in common::checkpoints() {
        let Some((_, parameters)) = trained(&fixture) else { continue };
        let folder = fixtures().join(&fixture);
        let mut stored = std::collections::BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("model") && name.ends_with(".safetensors") {
                stored.extend(candle_core::safetensors::load(&path, &Device::Cpu).unwrap());
            }
        }
        for (name, tensor) in parameters.iter().flat_map(|p| p.export().unwrap()) {
            let was = stored.remove(&name).unwrap_or_else(|| panic!("{fixture}: {name} is not in the file"));
            let was = was.to_dtype(DType::F32).unwrap();
            assert_eq!(tensor.dims(), was.dims(), "{fixture}: {name}");
            let apart = (tensor - was).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            // Norms that count from 1 are rounded once at 1.
            assert!(apart < 1.2e-7, "{fixture}: {name}: {apart:e}");
        }
        assert!(stored.is_empty(), "{fixture}: {:?} is lost", stored.keys());
    }
}

#[test]
fn every_parameter_of_every_architecture_has_the_slope_of_its_loss() {
    for (fixture, _) in common::checkpoints() {
        let Some((m, parameters)) = trained(&fixture) else { continue };
        let prompts: Vec<Vec<u32>> = [23, 7, 14].iter().map(|n| random_tokens(&m, *n, 9)).collect();
        let rows = pack(&prompts, &[]);
        let n = rows.len();
        let targets = Arc::new(random_tokens(&m, n, 10));
        let weights = Arc::new(vec![1.0 / n as f32; n]);
        let loss = || -> personascope::error::Result<Tensor> {
            let (normed, _) = forward(&*m.lm, &rows, &mut Hooks::default(), None, Head::Normed)?;
            let head = m.lm.unembedding().kernel();
            Ok(kernels::cross_entropy(&normed.unwrap(), head, targets.clone(), weights.clone())?)
        };
        let value = || f64::from(loss().unwrap().to_scalar::<f32>().unwrap());
        let (sum, tape) = kernels::tape::record(loss).unwrap();
        let mut grads = tape.backward(&sum, Tensor::new(1f32, &Device::Cpu).unwrap()).unwrap();
        for p in &parameters {
            let name = format!("{fixture}: {}", p.parts[0].name);
            let grad = grads.take(p.var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
            let norm = f64::from(grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
            assert!(norm > 0.0, "{name}");
            let before = p.var.as_tensor().copy().unwrap();
            // The loss is about 4 and rounded at 5e-7; a change of 4e-3 shows its slope to about 1e-3, and its curvature
            // is left out by taking both sides.
            let h = 2e-3 / norm;
            let at = |h: f64| {
                p.var.set(&(&before + (&grad * (h / norm)).unwrap()).unwrap()).unwrap();
                value()
            };
            let slope = (at(h) - at(-h)) / (2.0 * h);
            p.var.set(&before).unwrap();
            assert!((slope / norm - 1.0).abs() < 0.02, "{name}: {slope} for {norm}");
        }
    }
}
