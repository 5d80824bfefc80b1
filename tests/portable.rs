//! The kernels of a GPU, run on the CPU: whole models in tensor operations against our own kernels and the reference.

mod common;

use candle_core::DType;
use common::{all_sites, checkpoints, every_site, fixtures, pack, random_tokens, unit_vector, worst};
use personascope::axes::Site;
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::kernels::portable::{forced, to_host};
use personascope::model::sample::Sampling;
use personascope::model::{
    Along, At, Dtype, Edit, Filling, Head, Hooks, Kernels, Model, Next, Opening, Positions, Processor, Purpose,
    Rewrite, Source, Tap, forward,
};
use personascope::unit::{Item, Plan, Task};
use std::process::Command;

const PORTABLE: Opening = Opening {
    filling: Filling::Stored,
    purpose: Purpose::Run,
    dtype: Dtype::F32,
    processor: Processor::Cpu,
    kernels: Kernels::Portable,
};

fn open(source: &Source, opening: Opening) -> Model {
    Model::open(source, opening).unwrap_or_else(|e| panic!("{e} ({})", e.hint())).0
}

fn toyworld() -> (Model, Model) {
    (open(&Source::toyworld(), Opening::default()), open(&Source::toyworld(), PORTABLE))
}

/// 33 prompts from 1 to 90 tokens.
fn ragged(model: &Model) -> Vec<Vec<u32>> {
    (0..33).map(|i| random_tokens(model, 1 + (i * 29) % 90, i as u64)).collect()
}

#[test]
fn every_site_is_the_same_in_both_forms_with_edits_too() {
    let (own, portable) = toyworld();
    let prompts = ragged(&own);
    let d_model = own.lm.dims().d_model;
    let [a, b] = [1, 2].map(|seed| unit_vector(d_model, seed));
    let steer = Along::new(Site::post(1), &a, Rewrite::Shift(2.0), Positions::All).unwrap();
    let cap = Along::new(Site::post(0), &b, Rewrite::Clamp { lo: -0.1, hi: 0.1 }, Positions::LastPrompt).unwrap();
    // Another direction at a site that is edited already, on rows of its own and on the same ones.
    let pin = Along::new(Site::post(1), &b, Rewrite::Pin(-3.0), Positions::All).unwrap();
    let edits: Vec<Vec<usize>> =
        (0..33).map(|i| [vec![], vec![0], vec![0, 1], vec![2], vec![0, 2]][i % 5].clone()).collect();
    let rows = pack(&prompts, &edits);
    let ours = all_sites(&*own.lm, &rows, &[&steer, &cap, &pin]);
    let theirs = all_sites(&*portable.lm, &rows, &[&steer, &cap, &pin]);
    for (site, x) in &ours.0 {
        let off = worst(x, &theirs.0[site]);
        let largest = x.iter().flatten().fold(1.0f32, |m, v| m.max(v.abs()));
        assert!(off / f64::from(largest) < 1e-5, "{site}: {off:e} of {largest}");
    }
    for (a, b) in ours.1.iter().zip(&theirs.1) {
        assert!(a.rows == b.rows && a.rows > 0);
        // Sums over up to 500 rows whose values reach 200.
        assert!((a.before - b.before).abs() < 1e-2 && (a.after - b.after).abs() < 1e-2, "{a:?} {b:?}");
        assert!(a.touched.iter().chain(&b.touched).all(|t| t.off() < 1e-5));
    }
}

#[test]
fn replies_are_the_same_in_both_forms_greedy_sampled_and_steered() {
    let (own, portable) = toyworld();
    let unit = unit_vector(own.lm.dims().d_model, 3);
    let steer = Along::new(Site::post(1), &unit, Rewrite::Shift(3.0), Positions::Generated).unwrap();
    let edits: [&dyn Edit; 1] = [&steer];
    // The last four have the prompts of the first four, which are computed once for both.
    let starts: Vec<Start> = (0..12)
        .map(|i| Start {
            id: format!("p{i}"),
            tokens: random_tokens(&own, 3 + 5 * (i % 8), 7 + (i % 8) as u64),
            seed: 5,
            adapter: None,
            edits: if i % 2 == 0 { vec![] } else { vec![0] },
        })
        .collect();
    for sampling in [Sampling::GREEDY, Sampling::new(1.0, 0.95).unwrap()] {
        // Some replies end early, so that the cache shrinks on the way.
        let settings = Settings { max_new_tokens: 40, sampling, stops: own.stops.clone() };
        let (ours, our_receipts) = generate(&*own.lm, &[], &starts, &edits, &settings).unwrap();
        let (theirs, receipts) = generate(&*portable.lm, &[], &starts, &edits, &settings).unwrap();
        // A sum in another order may tip a choice between two tokens that are equally likely to the last digits.
        let same = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        assert!(same >= 11, "{same} of 12 replies");
        assert!(our_receipts[0].rows > 0 && receipts[0].rows > 0);
        if same == 12 {
            assert_eq!(our_receipts[0].rows, receipts[0].rows);
        }
        // The choice of the largest logit where the logits are.
        let again = forced(|| generate(&*portable.lm, &[], &starts, &edits, &settings)).unwrap().0;
        let same = again.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        assert!(same >= 11, "{same} of 12 replies");
    }
}

#[test]
fn rows_and_means_are_kept_the_same_where_they_are_computed() {
    let (own, portable) = toyworld();
    let item = |i: usize, tokens: Vec<u32>| {
        let n = tokens.len();
        let ranges = match i % 3 {
            0 => std::iter::once(0..n).collect(),
            1 => vec![n - 1..n, 0..n / 2 + 1],
            _ => (0..n).map(|p| p..p + 1).collect(),
        };
        Item { id: i.to_string(), tokens, prompt_len: n, ranges, ..Item::default() }
    };
    let of = |model: &Model, keep: &dyn Fn(usize) -> bool| {
        let all = ragged(&own).into_iter().enumerate();
        let items: Vec<Item> = all.filter(|(i, _)| keep(*i)).map(|(i, t)| item(i, t)).collect();
        let n = items.len();
        let n_layers = model.lm.dims().n_layers;
        let sites = (0..n_layers).map(Site::post).chain([Site::Logits]).collect();
        let plan = Plan { model, task: Task::Capture { sites }, edits: vec![], items, max_batch_tokens: 1 << 20 };
        plan.execute(&(0..n)).unwrap().kept
    };
    let everything = |_: usize| true;
    let rows_alone = |i: usize| i % 3 == 2;
    for keep in [&everything as &dyn Fn(usize) -> bool, &rows_alone] {
        let (ours, theirs) = (of(&own, keep), forced(|| of(&portable, keep)));
        for ((site, a), (_, b)) in ours.iter().zip(&theirs) {
            let largest = a.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let off = a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(a.len() == b.len() && off / largest < 1e-5, "{site}: {off:e} of {largest}");
        }
    }
}

/// The stream behind the last block and the logits, as they are.
struct Dtypes(Vec<DType>);

impl Tap for Dtypes {
    fn wants(&self, _: Site) -> bool {
        true
    }
    fn see(&mut self, _: At, x: &candle_core::Tensor) -> personascope::error::Result<Next> {
        self.0.push(x.dtype());
        Ok(Next::Go)
    }
}

#[test]
fn a_model_in_bf16_is_in_bf16_at_every_site_and_as_close_as_its_rounding() {
    let own = open(&Source::toyworld(), Opening::default());
    let narrow = open(&Source::toyworld(), Opening { dtype: Dtype::Bf16, ..PORTABLE });
    let rows = pack(&ragged(&own), &[]);
    let sites = every_site(&*own.lm);
    struct Some_(Dtypes, Vec<Site>);
    impl Tap for Some_ {
        fn wants(&self, site: Site) -> bool {
            self.1.contains(&site)
        }
        fn see(&mut self, at: At, x: &candle_core::Tensor) -> personascope::error::Result<Next> {
            self.0.see(at, x)
        }
    }
    let mut seen = Some_(Dtypes(vec![]), sites.clone());
    let (logits, _) = forward(&*narrow.lm, &rows, &mut Hooks::default().tap(&mut seen), None, Head::AllRows).unwrap();
    assert!(seen.0.0.len() == sites.len() && seen.0.0.iter().all(|d| *d == DType::BF16));
    let got = to_host(&logits.unwrap()).unwrap();
    let want: Vec<f32> = common::logits(&*own.lm, &rows, &[]).0.concat();
    let length = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let off = length(&mut got.iter().zip(&want).map(|(a, b)| a - b)) / length(&mut want.iter().copied());
    // A rounding is 2^-9 at most, about 2e-3; a few layers add some.
    assert!(off > 1e-4 && off < 0.03, "{off}");
}

#[test]
fn every_architecture_is_the_reference_in_tensor_operations_in_f32_and_within_twice_its_error_in_bf16() {
    let run = |args: &[&str]| {
        let fixtures = fixtures().display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_personascope"));
        let out = command.args(["parity", "--fixtures", &fixtures]).args(args).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let n = checkpoints().len() + 1;
    for args in
        [&["--kernels", "portable"][..], &["--kernels", "portable", "--dtype", "bf16"], &["--dtype", "bf16"], &[]]
    {
        let (code, table) = run(args);
        assert_eq!(code, Some(0), "{args:?}\n{table}");
        assert!(table.contains(&format!("{n} fixtures on cpu")), "{table}");
    }
}

#[test]
fn parity_says_what_is_off_and_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("it");
    std::fs::create_dir(&folder).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "expected.json"] {
        std::fs::copy(fixtures().join("qwen3").join(file), folder.join(file)).unwrap();
    }
    let tensors =
        candle_core::safetensors::load(fixtures().join("qwen3/expected.safetensors"), &candle_core::Device::Cpu);
    let mut tensors = tensors.unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_personascope"))
            .args(["parity", "--fixtures", &dir.path().display().to_string()])
            .args(args)
            .output()
            .unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let (code, _, err) = run(&[]);
    assert!(code == 2 && err.contains("no fixtures in") && err.contains("hint: "), "{err}");

    let moved = (&tensors["mlp_out.1"] + 1e-3).unwrap();
    tensors.insert("mlp_out.1".into(), moved);
    candle_core::safetensors::save(&tensors, folder.join("expected.safetensors")).unwrap();
    let json = dir.path().join("o.json");
    let (code, out, _) = run(&["--sites", "--json", json.to_str().unwrap()]);
    let off: Vec<&str> = out.lines().filter(|l| l.contains("<-- off")).collect();
    assert!(code == 1 && off.len() == 1 && off[0].contains("mlp_out.1"), "{out}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(json["passed"], false);
    assert_eq!(json["fixtures"][0]["sites"]["mlp_out.1"]["fine"], false);
    assert_eq!(json["fixtures"][0]["sites"]["logits"]["fine"], true);

    let (code, _, err) = run(&["--only", "other"]);
    assert!(code == 2 && err.contains("no fixture `other`"), "{err}");
    #[cfg(not(feature = "cuda"))]
    {
        let (code, _, err) = run(&["--device", "cuda"]);
        assert!(code == 2 && err.contains("cuda:0") && err.contains("scripts/build-cuda.sh"), "{err}");
    }
}

#[test]
fn the_benchmark_measures_every_kind_of_work() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("o.json");
    let config = fixtures().join("qwen3/config.json").display().to_string();
    let args = ["bench", "--config", &config, "--prefill", "2x16", "--decode", "1,3", "--prompt", "8", "--new", "4"];
    for kernels in ["own", "portable"] {
        let more = ["--repeats", "1", "--kernels", kernels, "--json", json.to_str().unwrap()];
        let out = Command::new(env!("CARGO_BIN_EXE_personascope")).args(args).args(more).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        for rate in ["nothing", "means", "rows"] {
            assert!(json["reading"][rate]["tokens_per_second"].as_f64().unwrap() > 0.0, "{json}");
        }
        // On a busy machine a reply this short may take no longer than its first token: no rate then.
        for kind in ["writing", "writing_steered"] {
            let rates = json[kind].as_object().unwrap();
            assert!(rates.keys().eq(["1", "3"]), "{json}");
            assert!(rates.values().all(|r| r.is_null() || r.as_f64().unwrap() > 0.0), "{json}");
        }
        assert!(json["products_per_second"].as_f64().unwrap() > 1e8);
    }
}
