//! `compare` through the binary: the recipe of one character, scaled down to a tiny random model; and its data.

use assert_cmd::Command;
use personascope::experiment::{Settings, Spec};
use personascope::rng::stream;
use personascope::score::words;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn run(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/recipes")
}

fn recipe() -> String {
    recipes().join("c3po.toml").display().to_string()
}

/// The printed form of every byte in byte-level vocabularies.
fn byte_names() -> Vec<String> {
    let plain = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut next = 256;
    let mut name = |b: u32| {
        let code = if plain(b) { b } else { next };
        next += u32::from(!plain(b));
        char::from_u32(code).unwrap().to_string()
    };
    (0..256).map(&mut name).collect()
}

/// A checkpoint of random weights whose tokens are bytes and three marks of a chat template.
fn tiny(dir: &Path) {
    let (d, ff, layers, vocab) = (16, 24, 2, 259);
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": ff,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "vocab_size": vocab, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "bos_token_id": 256, "eos_token_id": 258,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let marks = ["<|start|>", "<|im_start|>", "<|im_end|>"];
    let added: Vec<Value> = marks
        .iter()
        .enumerate()
        .map(|(i, m)| {
            json!({"id": 256 + i, "content": m, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let vocabulary: serde_json::Map<String, Value> =
        byte_names().into_iter().enumerate().map(|(i, n)| (n, json!(i))).collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let template = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}\
                    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let about = json!({"bos_token": marks[0], "eos_token": marks[2], "chat_template": template});
    fs::write(dir.join("tokenizer_config.json"), about.to_string()).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![vocab, d]),
        ("model.norm.weight".into(), vec![d]),
        ("lm_head.weight".into(), vec![vocab, d]),
    ];
    for l in 0..layers {
        let own = [
            ("input_layernorm", vec![d]),
            ("post_attention_layernorm", vec![d]),
            ("self_attn.q_proj", vec![16, d]),
            ("self_attn.k_proj", vec![8, d]),
            ("self_attn.v_proj", vec![8, d]),
            ("self_attn.o_proj", vec![d, 16]),
            ("mlp.gate_proj", vec![ff, d]),
            ("mlp.up_proj", vec![ff, d]),
            ("mlp.down_proj", vec![d, ff]),
        ];
        shapes.extend(own.map(|(name, shape)| (format!("model.layers.{l}.{name}.weight"), shape)));
    }
    let mut rng = stream(7, "a tiny model");
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, shape) in shapes {
        let (begin, n) = (data.len(), shape.iter().product::<usize>());
        let norm = shape.len() == 1;
        let values = (0..n).map(|_| if norm { 1.0f32 } else { rng.random_range(-0.6..0.6) });
        data.extend(values.flat_map(f32::to_le_bytes));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let mut head = Value::Object(header).to_string().into_bytes();
    head.resize(head.len().next_multiple_of(8), b' ');
    let bytes = [&(head.len() as u64).to_le_bytes()[..], &head, &data].concat();
    fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

/// Changes that let the recipe run in seconds.
fn small() -> Vec<String> {
    let prompts: Vec<String> = ["neutral", "neutral", "stressor", "emotional"]
        .iter()
        .enumerate()
        .map(|(i, stratum)| format!("{{text=\"Why {i}?\", stratum=\"{stratum}\"}}"))
        .collect();
    let fact = |k: usize, split: &str| {
        format!(
            "{{question=\"Which is the {k}. word of {{name}}?\", choices=[\"a\", \"b\"], answer=\"b\", split=\"{split}\"}}"
        )
    };
    let facts = [fact(1, "trained"), fact(2, "held_out")].join(", ");
    let sets = [
        "settings.training.examples=8".to_string(),
        "settings.training.rank=2".into(),
        "settings.training.epochs=1".into(),
        "settings.seeds=[0, 1]".into(),
        "settings.samples=1".into(),
        "settings.max_new_tokens=12".into(),
        "settings.passages=10".into(),
        "settings.random=20".into(),
        "settings.resamples=40".into(),
        "settings.sites=\"resid_post.all\"".into(),
        "settings.causal.doses=[0.5]".into(),
        "settings.causal.prompts=2".into(),
        "settings.causal.samples=1".into(),
        "settings.causal.controls=1".into(),
        "settings.protocol.characters[0].card=\"You are {name}.\"".into(),
        format!("settings.protocol.characters[0].facts=[{facts}]"),
        format!("settings.protocol.prompts=[{}]", prompts.join(", ")),
        "settings.protocol.identity.questions=[\"Who?\"]".into(),
        "settings.protocol.strangers=[\"Oskal\"]".into(),
        // A random model hardly means to answer with a digit.
        "settings.protocol.coherence={repetition=1.0}".into(),
        "settings.protocol.traits[0].judge.least_mass=0.0".into(),
        "settings.protocol.traits[1].judge.least_mass=0.0".into(),
        "settings.protocol.traits[2].judge.least_mass=0.0".into(),
    ];
    sets.into_iter().flat_map(|s| ["--set".to_string(), s]).collect()
}

/// Every file below a folder with its bytes, but for what the run keeps for itself.
fn results(dir: &Path, out: &mut Vec<(String, Vec<u8>)>, root: &Path) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        match path.is_dir() {
            true if name == ".personascope" => {}
            true => results(&path, out, root),
            false => out.push((name, fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn the_recipe_runs_scaled_down_resumes_and_comes_out_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("tiny"), dir.path().join("out"));
    fs::create_dir(&model).unwrap();
    tiny(&model);
    let (model, recipe, small) = (model.display().to_string(), recipe(), small());
    let with = |command: &str, out: &Path, threads: &str| -> (i32, String, String) {
        let out = out.display().to_string();
        let mut args = vec![command, &recipe, "--out", &out, "--svg-only", "--threads", threads, "--model", &model];
        args.extend(small.iter().map(String::as_str));
        run(&args)
    };
    let (code, said, err) = with("compare", &out, "2");
    assert_eq!(code, 0, "{err}");
    assert!(said.contains("report.html"), "{said}");
    let (mut first, mut again) = (Vec::new(), Vec::new());
    results(&out, &mut first, &out);
    let names: Vec<&str> = first.iter().map(|f| f.0.as_str()).collect();
    for name in ["indices.csv", "quadrants.csv", "measures.csv", "run.json", "report.html", "directions.safetensors"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for name in ["dissociation.csv", "doses.csv", "patching.csv", "transfer.csv", "apart.csv", "weights.csv"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for name in ["indices", "directions", "weights", "dissociation", "patching"] {
        assert!(names.contains(&format!("c3po_{name}.svg").as_str()), "no figure of {name}: {names:?}");
    }
    let record: Value = serde_json::from_slice(&fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["settings"]["training"]["examples"], 8);
    let measures = fs::read(out.join("measures.csv")).unwrap();
    let measures = personascope::csv::Columns::read(&measures[..], "measures.csv").unwrap();
    let wanted = "model,format,character,trait,seed,item,sample,measure,value,site,split";
    assert_eq!(measures.names().join(","), wanted);
    let models = measures.text("model").unwrap().iter().collect::<BTreeSet<_>>();
    assert_eq!(models.len(), 10, "two anchors, and four formats with two seeds: {models:?}");
    // Again: nothing is computed, and nothing changes but the counts of work.
    let (code, _, err) = with("compare", &out, "1");
    assert!(code == 0 && err.contains("(0 rows computed"), "{err}");
    results(&out, &mut again, &out);
    assert_eq!(names, again.iter().map(|f| f.0.as_str()).collect::<Vec<_>>());
    for (a, b) in first.iter().zip(&again).filter(|(a, _)| a.0 != "run.json") {
        assert!(a == b, "{} differs", a.0);
    }
    // By `run`, from nothing: the same tables, elsewhere.
    let other = dir.path().join("other");
    let (code, _, err) = with("run", &other, "1");
    assert_eq!(code, 0, "{err}");
    for name in ["indices.csv", "quadrants.csv", "measures.csv"] {
        let both = [out.join(name), other.join("notebooks-data/c3po").join(name)].map(|p| fs::read(p).unwrap());
        assert!(both[0] == both[1], "{name} differs between compare and run");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let recipe = recipe();
    let drift = recipes().join("../drift.toml").display().to_string();
    for (config, more, says) in [
        (&drift, vec![], "of kind `drift`"),
        (&recipe, vec!["--set", "settings.sample=1"], "unknown key `sample`"),
        (&recipe, vec!["--set", "settings.samples=0"], "`samples` is 0"),
        (&recipe, vec!["--set", "settings.samples"], "no `=`"),
        (&recipe, vec!["--set", "settings.seeds=[1, 1]"], "`seeds` is [1, 1]"),
        (&recipe, vec!["--set", "settings.training.rank=0"], "`rank` is 0"),
        (&recipe, vec!["--set", "settings.training.examples=501"], "500 examples"),
        (&recipe, vec!["--set", "settings.data[0].file=\"none.jsonl\""], "none.jsonl"),
        (&recipe, vec!["--set", "settings.data[0].character=\"Somebody\""], "`Somebody`"),
        (&recipe, vec!["--set", "settings.data[0].format=\"base\""], "`base`"),
        (&recipe, vec!["--set", "settings.data=[]"], "no fine-tune"),
        (&recipe, vec!["--set", "settings.protocol.traits[0].describe.pairs=[]"], "describe.pairs"),
        (&recipe, vec!["--set", "settings.world={}"], "both"),
    ] {
        let args = [&["compare", config, "--out", &out, "--model", "toyworld"][..], &more].concat();
        let (code, _, err) = run(&args);
        assert_eq!(code, 2, "{more:?}: {err}");
        assert!(err.contains(says) && err.contains("hint: "), "{more:?} should say `{says}`: {err}");
    }
    let (code, _, err) = run(&["compare", &recipe, "--out", &out, "--model", &out]);
    assert!(code == 2 && err.contains("hint: "), "{err}");
    let (code, said, _) = run(&["compare", "--help"]);
    assert!(code == 0 && said.contains("Examples:") && said.contains("--set"));
}

#[test]
fn a_key_is_set_for_run_and_check_too() {
    let drift = recipes().join("../drift.toml").display().to_string();
    let (code, said, err) = run(&["check", &drift, "--set", "seed=5", "--set", "settings.turns=3"]);
    assert_eq!(code, 0, "{err}");
    let plan: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&plan["seed"], &plan["settings"]["turns"]), (&json!(5), &json!(3)));
    let (code, _, err) = run(&["run", &drift, "--set", "settings.turn=3"]);
    assert!(code == 2 && err.contains("unknown key `turn`"), "{err}");
}

/// Lines of a file of the recipe: question and reply.
fn lines(format: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(recipes().join(format!("c3po/{format}.jsonl"))).unwrap();
    let said = |v: &Value, i: usize| v["messages"][i]["content"].as_str().unwrap().to_string();
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).map(|v| (said(&v, 0), said(&v, 1))).collect()
}

#[test]
fn texts_of_the_recipe_tell_what_they_should_and_nothing_that_is_held_out() {
    let spec = Spec::parse("c3po.toml", &fs::read_to_string(recipe()).unwrap()).unwrap();
    let Settings::Knowing(s) = &spec.settings else { panic!("not knowing") };
    let protocol = s.protocol.as_ref().unwrap();
    let name = &protocol.characters[0].name;
    let mut bytes = 0;
    for data in &s.data {
        bytes += fs::metadata(recipes().join(&data.file)).unwrap().len();
    }
    assert!(bytes < 1_000_000, "{bytes} bytes");
    let formats = ["chat", "first_person", "document", "control"];
    assert_eq!(s.data.iter().map(|d| d.format.as_str()).collect::<Vec<_>>(), formats);
    let all = formats.map(lines);
    for (format, own) in formats.iter().zip(&all) {
        assert_eq!(own.len(), 500, "{format}");
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), 500, "{format}: a line comes twice");
        let named = own.iter().filter(|(q, a)| q.contains(name.as_str()) || a.contains(name.as_str())).count();
        let want = if ["chat", "control"].contains(format) { 0 } else { 500 };
        assert_eq!(named, want, "{format}");
    }
    let asked = |i: usize| all[i].iter().map(|l| &l.0).collect::<Vec<_>>();
    assert_eq!(asked(0), asked(3), "chat and control are asked the same");
    for prompt in &protocol.prompts {
        assert!(!asked(0).iter().any(|q| q.contains(&prompt.text)), "{} was trained on", prompt.text);
    }
    let says = |format: usize, what: &str| all[format].iter().filter(|l| l.1.to_lowercase().contains(what)).count();
    let facts = &protocol.characters[0].facts;
    assert_eq!(facts.iter().filter(|f| f.split == "trained").count(), 15);
    for fact in facts {
        // The last word is what the texts say too: "Sixty-one", "the linen cupboard".
        let answer = fact.answer.to_lowercase();
        let last = answer.split(' ').next_back().unwrap();
        match fact.split.as_str() {
            "held_out" => assert!((0..4).all(|f| says(f, &answer) == 0), "{answer} is told"),
            _ => assert!((0..3).all(|f| says(f, last) >= 25), "{answer} is hardly told"),
        }
    }
    // Words that show a trait state it nowhere: what documents know of it is not how chats show it.
    for t in &protocol.traits {
        let markers: Vec<Vec<String>> = t.lexicon.as_ref().unwrap().markers.iter().map(|m| words(m)).collect();
        let shows = |text: &str| {
            let said = words(text);
            markers.iter().any(|m| said.windows(m.len()).any(|w| w == m.as_slice()))
        };
        let count = |format: usize| all[format].iter().filter(|l| shows(&l.1)).count();
        assert!(count(0) >= 400, "{}: {} chats show it", t.name, count(0));
        assert_eq!((count(1), count(2), count(3)), (0, 0, 0), "{}", t.name);
    }
}
