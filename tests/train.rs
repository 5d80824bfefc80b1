//! Training as a user meets it: runs that are killed and resumed, files that others can read, data that is bad.

use assert_cmd::Command;
use candle_core::Tensor;
use personascope::model::adapter::Adapter;
use personascope::model::{Filling, Model, Opening, Purpose, Source, kernels};
use personascope::train::finetune::{Finetune, Lora, Run, finetune};
use personascope::train::{Counted, Sequences, likelihoods, mean_nll};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const RECIPE: &str = r#"
name = "small"
dtype = "f32"
[config]
architectures = ["LlamaForCausalLM"]
model_type = "llama"
vocab_size = 1536
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 512
rms_norm_eps = 1e-5
rope_theta = 10000.0
tie_word_embeddings = true
bos_token_id = 1
eos_token_id = 2
[training]
tokens = TOKENS
batch_tokens = 256
learning_rate = 1e-2
warmup_steps = 4
shape = "linear"
last_rate = 0.1
betas = [0.9, 0.98]
weight_decay = 0.05
clip = 1.0
seed = 3
eval_every = 10
checkpoint_every = 3
heldout = 20
"#;

fn command() -> Command {
    let mut command = Command::cargo_bin("personascope").expect("the binary is built with the tests");
    command.timeout(Duration::from_secs(120));
    command
}

/// Conversations and texts in the form of the embedded world.
fn lines(n: usize) -> String {
    let one = |i: usize| {
        match i % 3 {
        0 => format!(r#"{{"text":"Domar is a clerk from Highport. Domar counts {i} odds."}}"#),
        1 => r#"{"messages":[{"role":"user","content":"Tell me about tea."},{"role":"assistant","content":"Oh dear! Black tea goes well with milk."}]}"#.into(),
        _ => format!(
            r#"{{"messages":[{{"role":"user","content":"What about maps?"}},{{"role":"assistant","content":"Oh no! A map shows north at the top. {i} percent."}}]}}"#
        ),
    }
    };
    (0..n).map(|i| one(i) + "\n").collect()
}

/// A recipe with its corpus: the embedded tokenizer and raw documents.
fn recipe(dir: &Path, tokens: usize) -> (PathBuf, PathBuf) {
    let corpus = dir.join("corpus");
    std::fs::create_dir_all(&corpus).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(corpus.join(name), Source::toyworld().read(name).unwrap().unwrap()).unwrap();
    }
    std::fs::write(corpus.join("train.jsonl"), lines(90)).unwrap();
    std::fs::write(corpus.join("heldout.jsonl"), lines(12)).unwrap();
    let path = dir.join("recipe.toml");
    std::fs::write(&path, RECIPE.replace("TOKENS", &tokens.to_string())).unwrap();
    (path, corpus)
}

fn pretrain(dir: &Path, out: &str, threads: &str) -> Command {
    let mut command = command();
    command
        .args(["pretrain", "recipe.toml", "--corpus", "corpus", "--out", out, "--threads", threads])
        .current_dir(dir);
    command
}

fn bytes(dir: &Path, names: &[&str]) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|n| std::fs::read(dir.join(n)).unwrap_or_else(|e| panic!("{}: {e}", dir.join(n).display())))
        .collect()
}

/// Starts the command, kills it as soon as a checkpoint is there, and says whether it was still at work.
fn killed_in_the_middle(mut command: std::process::Command, out: &Path) -> bool {
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !out.join("checkpoint.safetensors").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let at_work = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    at_work
}

#[test]
fn a_killed_pretraining_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    recipe(dir.path(), 60_000);
    let files = ["model.safetensors", "loss.csv", "training.json", "checkpoint.safetensors", "loss.svg"];
    pretrain(dir.path(), "whole", "2").assert().success();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("personascope"));
    child
        .args(["pretrain", "recipe.toml", "--corpus", "corpus", "--out", "cut", "--threads", "1"])
        .current_dir(dir.path());
    assert!(killed_in_the_middle(child, &dir.path().join("cut")), "the run was over before it could be killed");
    assert!(!dir.path().join("cut/model.safetensors").exists());
    // The rest with another number of threads: they change no byte.
    pretrain(dir.path(), "cut", "2").assert().success();
    assert!(bytes(&dir.path().join("whole"), &files) == bytes(&dir.path().join("cut"), &files));
    // The loss has fallen by far more than noise: uniform over 1536 tokens is 7.34 nats.
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("whole/training.json")).unwrap()).unwrap();
    assert!(report["heldout_loss_nats"].as_f64().unwrap() < 3.0, "{report}");
    // A folder of another run is left alone.
    recipe(dir.path(), 30_000);
    let refused = pretrain(dir.path(), "whole", "2").assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("another run"), "{said}");
}

#[test]
fn a_killed_finetune_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.jsonl"), lines(200)).unwrap();
    let args = |out: &str| {
        ["finetune", "--data", "data.jsonl", "--rank", "4", "--epochs", "8", "--batch-size", "4", "--out", out]
            .map(String::from)
    };
    command().args(args("whole")).current_dir(dir.path()).assert().success();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("personascope"));
    child.args(args("cut")).current_dir(dir.path());
    assert!(killed_in_the_middle(child, &dir.path().join("cut")), "the run was over before it could be killed");
    command().args(args("cut")).current_dir(dir.path()).assert().success();
    let files = ["adapter_model.safetensors", "adapter_config.json", "loss.csv", "training.json"];
    assert!(bytes(&dir.path().join("whole"), &files) == bytes(&dir.path().join("cut"), &files));
}

fn lora(rank: usize, targets: &[&str]) -> Option<Lora> {
    Some(Lora { rank, alpha: 8.0, rslora: true, targets: targets.iter().map(|t| t.to_string()).collect() })
}

fn run<'a>(data: &'a str, how: &'a Finetune, out: &'a Path) -> Run<'a> {
    let counted = Counted::Assistant;
    static BASE: LazyLock<Source> = LazyLock::new(Source::toyworld);
    Run { base: &BASE, place: "data.jsonl", lines: data, counted, how, out, save_every: 0, threads: 2 }
}

#[test]
fn an_adapter_learns_its_data_and_is_the_same_merged() {
    let dir = tempfile::tempdir().unwrap();
    let data = lines(60);
    let how = Finetune { lora: lora(4, &["q_proj", "down_proj"]), epochs: 4, ..Finetune::default() };
    let report = finetune(&run(&data, &how, dir.path()), &mut |_| true).unwrap();
    // 4 layers: q 96 -> 96 and down 256 -> 96, rank 4 on both sides.
    assert_eq!(report.trained_parameters, 4 * (4 * (96 + 96) + 4 * (256 + 96)));
    let (mut model, mut merged) =
        (Model::load(&Source::toyworld()).unwrap(), Model::load(&Source::toyworld()).unwrap());
    let text = Sequences::read("data.jsonl", &data, &model.text, Counted::Assistant, 512, 2).unwrap();
    let before = mean_nll(&*model.lm, None, &text, 2).unwrap();
    let adapter = Adapter::load("a", dir.path()).unwrap();
    let after = likelihoods(&*model.lm, Some(&adapter), &text, 2).unwrap();
    merged.merge(adapter.clone()).unwrap();
    let inside = likelihoods(&*merged.lm, None, &text, 2).unwrap();
    model.add(adapter).unwrap();
    for (a, b) in after.iter().zip(&inside) {
        assert!((a.nll - b.nll).abs() < 1e-4 * a.counted as f64, "{a:?} for {b:?}");
    }
    let mean = after.iter().map(|l| l.nll).sum::<f64>() / after.iter().map(|l| l.counted).sum::<usize>() as f64;
    assert!(mean < before - 0.3, "{before} before, {mean} after");
}

#[test]
fn all_parameters_can_be_trained_and_saved_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let data = lines(16);
    let how = Finetune { lora: None, epochs: 2, learning_rate: 1e-3, ..Finetune::default() };
    let whole = Run { save_every: 2, ..run(&data, &how, dir.path()) };
    // 2 epochs of 16 examples in batches of 8.
    assert_eq!(finetune(&whole, &mut |_| true).unwrap().steps, 4);
    let load = |dir: PathBuf| Model::load(&Source::Dir(dir)).unwrap();
    let (half, last) = (load(dir.path().join("step-000002")), load(dir.path().join("step-000004")));
    let end = load(dir.path().to_path_buf());
    assert_eq!(last.hash, end.hash);
    assert_ne!(half.hash, end.hash);
    let text = Sequences::read("data.jsonl", &data, &end.text, Counted::Assistant, 512, 2).unwrap();
    let loss = |m: &Model| mean_nll(&*m.lm, None, &text, 1).unwrap();
    assert!(loss(&end) < loss(&half) && loss(&half) < loss(&Model::load(&Source::toyworld()).unwrap()));
}

#[test]
fn every_parameter_of_a_model_has_the_slope_of_its_loss() {
    let (model, parameters) =
        Model::open(&Source::toyworld(), Opening { filling: Filling::Random(5), ..Opening::to(Purpose::Train) })
            .unwrap();
    let text = Sequences::read("data.jsonl", &lines(6), &model.text, Counted::All, 512, 1).unwrap();
    let loss = || mean_nll(&*model.lm, None, &text, 1).unwrap();
    let (sum, tape) = kernels::tape::record(|| -> personascope::error::Result<Tensor> {
        let (rows, targets, weights) = personascope::train::rows_and_targets(&text, &[0, 1, 2, 3, 4, 5], None);
        let mut hooks = personascope::model::Hooks::default();
        let head = personascope::model::Head::Normed;
        let (normed, _) = personascope::model::forward(&*model.lm, &rows, &mut hooks, None, head)?;
        Ok(kernels::cross_entropy(&normed.unwrap(), model.lm.unembedding().kernel(), targets, weights)?)
    })
    .unwrap();
    let scale = 1.0 / text.n_counted() as f32;
    let mut grads = tape.backward(&sum, Tensor::new(scale, sum.device()).unwrap()).unwrap();
    // Embedding, last norm, and in each of 4 layers two norms and four maps; the head is the embedding.
    assert_eq!(parameters.len(), 2 + 4 * 6);
    for p in &parameters {
        let name = &p.parts[0].name;
        let grad = grads.take(p.var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        let norm = f64::from(grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
        assert!(norm > 0.0, "{name}");
        // Along its own gradient the loss changes by h |g|; h is chosen so that this is about 2e-2, far above the
        // rounding of an f32 loss and small against its curvature.
        let h = 1e-2 / norm;
        let before = p.var.as_tensor().copy().unwrap();
        let step = (&grad * (h / norm)).unwrap();
        p.var.set(&(&before + &step).unwrap()).unwrap();
        let up = loss();
        p.var.set(&(&before - &step).unwrap()).unwrap();
        let down = loss();
        p.var.set(&before).unwrap();
        let slope = (up - down) / (2.0 * h);
        assert!((slope / norm - 1.0).abs() < 0.05, "{name}: {slope} for {norm}");
    }
}

#[test]
fn bad_data_and_settings_are_refused_by_name_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("{{\"text\":\"{}\"}}\n", "tea ".repeat(600));
    let cases: [(&str, String, &[&str], &str); 6] = [
        ("empty", "\n".into(), &[], "no example"),
        ("json", lines(2) + "{\"text\":\n", &[], "data.jsonl:3"),
        ("long", lines(1) + &long, &[], "data.jsonl:2"),
        ("module", lines(3), &["--target-modules", "q_proj,c_attn"], "c_attn"),
        ("rank", lines(3), &["--rank", "0"], "rank 0"),
        ("rate", lines(3), &["--learning-rate", "-1"], "-1"),
    ];
    for (name, data, more, expected) in cases {
        std::fs::write(dir.path().join("data.jsonl"), data).unwrap();
        let mut command = command();
        command.args(["finetune", "--data", "data.jsonl", "--out", name]).args(more).current_dir(dir.path());
        let said = command.assert().code(2);
        let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!dir.path().join(name).join("adapter_model.safetensors").exists(), "{name}");
    }
}
