use super::*;

const Q: &str = "model.layers.1.self_attn.q_proj";

fn parse(config: Value) -> Result<Settings> {
    Settings::parse("dir/adapter_config.json", config.as_object().unwrap())
}

#[test]
fn the_scale_is_alpha_over_the_rank_or_over_its_root() {
    let plain = parse(json!({"peft_type": "LORA", "r": 16, "lora_alpha": 32})).unwrap().rules().unwrap();
    assert_eq!((plain.rank(Q), plain.scale(Q)), (16, 2.0));
    let root = parse(json!({"peft_type": "LORA", "r": 16, "lora_alpha": 32, "use_rslora": true})).unwrap();
    // 32 / sqrt(16)
    assert_eq!(root.rules().unwrap().scale(Q), 8.0);
    // PEFT's defaults are 8 and 8.
    let bare = parse(json!({"peft_type": "LORA"})).unwrap().rules().unwrap();
    assert_eq!((bare.rank(Q), bare.scale(Q)), (8, 1.0));
}

#[test]
fn patterns_are_regular_expressions_from_a_dot_to_the_end_and_the_first_counts() {
    for (pattern, fits) in [
        ("q_proj", true),
        ("self_attn.q_proj", true),
        (Q, true),
        ("^model.layers.1.self_attn.q_proj", true),
        (r"layers\.[01]\..*", true),
        ("k_proj|q_proj", true),
        ("proj", false),
        ("attn.q_proj", false),
        ("self_attn", false),
        ("layers.0.*q_proj", false),
        ("^layers.1.self_attn.q_proj", false),
    ] {
        let config = json!({"peft_type": "LORA", "r": 4, "rank_pattern": {pattern: 2}});
        let rank = parse(config).unwrap().rules().unwrap().rank(Q);
        assert_eq!(rank, if fits { 2 } else { 4 }, "{pattern}");
    }
    let both = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 4,
        "rank_pattern": {"v_proj": 1, "z.*|q_proj": 2, "layers.1.*": 8}, "alpha_pattern": {"layers.1.*": 3, "q_proj": 5}});
    let rules = parse(both).unwrap().rules().unwrap();
    // Rank from the second pattern, alpha from the first: 3 / 2.
    assert_eq!((rules.rank(Q), rules.scale(Q)), (2, 1.5));
    assert_eq!(rules.rank("model.layers.1.mlp.up_proj"), 8);
    // 4 / 4: no pattern.
    assert_eq!(rules.scale("model.layers.0.mlp.up_proj"), 1.0);
}

#[test]
fn targets_are_names_a_pattern_or_all() {
    let rules = |t: Value| parse(json!({"peft_type": "LORA", "target_modules": t})).unwrap().rules().unwrap();
    let names = rules(json!(["q_proj", "model.layers.0.mlp.up_proj"]));
    assert!(names.targets(Q) && names.targets("model.layers.0.mlp.up_proj"));
    assert!(!names.targets("model.layers.1.mlp.up_proj") && !names.targets("model.layers.1.self_attn.kq_proj"));
    assert_eq!(names.unmatched(&[Q]).unwrap(), "model.layers.0.mlp.up_proj");
    let pattern = rules(json!(r".*\.(q|v)_proj"));
    assert!(pattern.targets(Q) && !pattern.targets("model.layers.1.self_attn.k_proj"));
    assert!(pattern.unmatched(&[Q]).is_none() && pattern.unmatched(&["x.k_proj"]).is_some());
    assert!(rules(json!("all-linear")).targets("anything") && rules(json!(null)).targets("anything"));
}

#[test]
fn what_is_written_reads_back() {
    let mut settings = Settings::new(6, 12.5, Targets::Names(vec!["q_proj".into()]));
    settings.rslora = true;
    settings.rank_pattern = vec![("v_proj".into(), 2), ("a".into(), 3)];
    settings.alpha_pattern = vec![("v_proj".into(), 2.0)];
    settings.base = Some("toyworld".into());
    assert_eq!(parse(settings.to_json()).unwrap(), settings);
    settings.targets = Targets::AllLinear;
    assert_eq!(parse(settings.to_json()).unwrap(), settings);
    assert_eq!(settings.to_json()["alpha_pattern"]["v_proj"], json!(2));
}

#[test]
fn whatever_would_make_another_adapter_is_refused_by_name() {
    for (key, value) in [
        ("peft_type", json!("LOHA")),
        ("bias", json!("all")),
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1])),
        ("layer_replication", json!([[0, 2]])),
        ("lora_bias", json!(true)),
        ("target_parameters", json!(["x"])),
        ("alora_invocation_tokens", json!([3])),
        ("use_qalora", json!(true)),
        ("use_bdlora", json!({"a": 1})),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("loftq")),
        ("a_key_of_tomorrow", json!(1)),
        ("r", json!(0)),
        ("r", json!("8")),
        ("lora_alpha", json!("8")),
        ("rank_pattern", json!(3)),
        ("rank_pattern", json!({"q_proj": 0})),
        ("alpha_pattern", json!({"q_proj": "x"})),
        ("target_modules", json!([1])),
    ] {
        let mut config = json!({"peft_type": "LORA", "r": 8});
        config[key] = value.clone();
        let e = parse(config).unwrap_err();
        let message = e.to_string();
        assert!(message.starts_with("dir/adapter_config.json: `") && message.contains(key), "{key}: {message}");
        assert!(!e.hint().is_empty() && !e.hint().contains("checkpoint"), "{key}: {}", e.hint());
    }
    assert!(parse(json!({"r": 8})).unwrap_err().to_string().contains("peft_type"));
    let bad = parse(json!({"peft_type": "LORA", "rank_pattern": {"(": 2}})).unwrap();
    assert!(bad.rules().err().unwrap().to_string().contains("`(`"));
    // As PEFT writes them where nothing is set.
    let plain = json!({"peft_type": "LORA", "use_dora": false, "modules_to_save": null, "loftq_config": {},
        "lora_dropout": 0.1, "layers_to_transform": [0, 1], "task_type": "CAUSAL_LM", "megatron_core": "megatron.core",
        "init_lora_weights": "gaussian", "bias": "none", "a_key_of_tomorrow": false, "another": []});
    parse(plain).unwrap();
}
