//! Steering, end to end: what edits do to replies, what receipts say, and that neither depends on what runs beside it.

mod common;

use assert_cmd::Command;
use candle_core::{Device, Tensor};
use common::{bits, logits, model, pack, random_tokens, unit_vector, worst};
use personascope::axes::Site;
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Along, Donor, Edit, Example, Intervention, Model, Patch, Positions, Rewrite, Rows};
use personascope::steer::{Arm, Op, Place, Prompted, Steered, Sweep};
use personascope::text::prompts::Prompt;
use personascope::vectors::{About, Format, Vector, WriteOptions, encode, write};
use std::path::Path;
use std::sync::{Arc, RwLock};

/// Held alone by the test that counts tensors, by all others together.
static TENSORS: RwLock<()> = RwLock::new(());

/// How many tensors this process has made. Their ids are counted from the first one on.
fn tensors() -> u64 {
    let id = format!("{:?}", Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap().id());
    id.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn an_idle_edit_makes_no_tensor_and_leaves_the_logits_bit_for_bit() {
    let _alone = TENSORS.write().unwrap_or_else(|e| e.into_inner());
    let m = model("toyworld");
    let unit = unit_vector(m.lm.dims().d_model, 1);
    let prompts = [random_tokens(&m, 9, 1), random_tokens(&m, 4, 2)];
    let idle = [Rewrite::Shift(0.0), Rewrite::Scale(1.0), Rewrite::Clamp { lo: f64::NEG_INFINITY, hi: f64::INFINITY }];
    let count = |edits: &[&dyn Edit]| {
        let lists = vec![(0..edits.len()).collect::<Vec<_>>(); 2];
        let rows = pack(&prompts, &lists);
        let before = tensors();
        let (out, receipts) = logits(&*m.lm, &rows, edits);
        (tensors() - before, out, receipts)
    };
    let (plain, want, _) = count(&[]);
    for rewrite in idle {
        let all: Vec<Along> =
            (0..4).map(|l| Along::new(Site::post(l), &unit, rewrite, Positions::All).unwrap()).collect();
        let edits: Vec<&dyn Edit> = all.iter().map(|e| e as &dyn Edit).collect();
        let (made, got, receipts) = count(&edits);
        assert_eq!(made, plain, "{rewrite:?}");
        assert!(bits(&got) == bits(&want), "{rewrite:?}");
        assert!(receipts.iter().all(|r| r.rows == 13 && r.before == r.after && r.before != 0.0), "{rewrite:?}");
    }
    // The count does see an edit that is not idle.
    let shift = Along::new(Site::post(1), &unit, Rewrite::Shift(1.0), Positions::All).unwrap();
    assert!(count(&[&shift]).0 > plain);
}

#[test]
fn a_patch_puts_in_the_rows_it_was_given_in_whole_or_in_part() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let m = model("toyworld");
    let d = m.lm.dims().d_model;
    let (donor, other) = (random_tokens(&m, 7, 1), random_tokens(&m, 7, 2));
    let site = Site::post(2);
    let (rows, _) = common::all_sites(&*m.lm, &pack(std::slice::from_ref(&donor), &[]), &[]);
    let each: Vec<(usize, Vec<f32>)> = rows[&site].iter().cloned().enumerate().collect();
    let patch = |donor: Donor, strength, positions| Patch::new(site, Arc::new(donor), strength, positions).unwrap();
    let run = |edit: &Patch| {
        let table = pack(std::slice::from_ref(&other), &[vec![0]]);
        common::all_sites(&*m.lm, &table, &[edit])
    };
    // All rows of the last block put in: what is behind them is the other run, bit for bit.
    let (seen, receipts) = run(&patch(Donor::Each(each.clone()), 1.0, Positions::All));
    assert!(bits(&seen[&site]) == bits(&rows[&site]) && receipts[0].rows == 7);
    assert!(receipts[0].touched.iter().all(|t| t.off() < 1e-5), "{:?}", receipts[0].touched);
    // Half way: the mean of both.
    let (before, _) = common::all_sites(&*m.lm, &pack(std::slice::from_ref(&other), &[]), &[]);
    let (seen, receipts) = run(&patch(Donor::One(rows[&site][3].clone()), 0.5, Positions::LastPrompt));
    let want: Vec<f32> = (0..d).map(|i| (before[&site][6][i] + rows[&site][3][i]) / 2.0).collect();
    assert!(worst(&[seen[&site][6].clone()], &[want]) < 1e-4 && receipts[0].rows == 1);
    assert!(bits(&seen[&site][..6]) == bits(&before[&site][..6]));
    // Positions without a row are left alone.
    let (_, receipts) = run(&patch(Donor::Each(each[2..4].to_vec()), 1.0, Positions::All));
    assert_eq!(receipts[0].rows, 2);
    let zero = Patch::new(site, Arc::new(Donor::One(vec![0.0; d])), 1.0, Positions::All);
    assert!(zero.unwrap_err().to_string().contains("zero"));
}

fn prompted(m: &Model, lines: &str) -> Vec<Prompted> {
    let prompts = Prompt::parse_lines("test", lines).unwrap();
    let one = |p: Prompt| Prompted { encoded: p.encode(&m.text).unwrap(), id: p.id, adapter: None };
    prompts.into_iter().map(one).collect()
}

const TWO: &str = r#"{"id":"a","messages":[{"role":"user","content":"Tell me about tea."}]}
{"id":"b","messages":[{"role":"user","content":"Tell me about winter and the sea, please."}]}"#;

fn sweep<'m>(m: &'m Model, place: Place, doses: &[f64], seeds: &[u64]) -> Sweep<'m> {
    let arm = |l: usize, factor: f64| Arm {
        site: Site::post(l),
        op: Op::Shift,
        unit: unit_vector(m.lm.dims().d_model, l as u64),
        donors: None,
        place: place.clone(),
        amounts: doses.iter().map(|d| d * factor).collect(),
    };
    Sweep {
        model: m,
        prompts: prompted(m, TWO),
        arms: vec![arm(1, 1.0), arm(2, -0.5)],
        strengths: doses.iter().map(f64::to_string).collect(),
        seeds: seeds.to_vec(),
        settings: Settings {
            max_new_tokens: 12,
            sampling: Sampling { temperature: 1.0, top_p: 1.0 },
            stops: m.stops.clone(),
        },
        max_batch_tokens: 8192,
    }
}

fn run(sweep: &Sweep, threads: usize) -> Steered {
    sweep.run(threads, None, &mut |_| true).unwrap()
}

#[test]
fn a_reply_is_the_same_in_a_sweep_and_alone_wherever_it_is_steered() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let m = model("toyworld");
    let (doses, seeds) = ([-6.0, 0.0, 3.0, 9.0], [1, 2, 5]);
    for place in ["all", "prompt", "last_prompt", "last_prompt+generated", "generated", "positions:2,-1", "turns:0"] {
        let place: Place = place.parse().unwrap();
        let whole = sweep(&m, place.clone(), &doses, &seeds);
        let together = run(&whole, 2);
        assert_eq!((together.replies.len(), together.receipts.rows.len()), (24, 48), "{place}");
        assert!(together.faults.is_empty(), "{place}: {:?}", together.faults);
        let mut cut = sweep(&m, place.clone(), &doses, &seeds);
        cut.max_batch_tokens = 60;
        let cut = run(&cut, 1);
        assert_eq!((&together.replies, &together.receipts), (&cut.replies, &cut.receipts), "{place}: another cut");
        let mut apart = Vec::new();
        for (s, dose) in doses.iter().enumerate() {
            for seed in seeds {
                let alone = run(&sweep(&m, place.clone(), &[*dose], &[seed]), 1);
                for reply in alone.replies {
                    let found = together
                        .replies
                        .iter()
                        .find(|r| (r.prompt, r.strength, r.seed) == (reply.prompt, s, seed))
                        .unwrap();
                    apart.push(found.tokens == reply.tokens);
                }
            }
        }
        assert!(apart.iter().all(|same| *same), "{place}: {apart:?}");
        let texts: std::collections::BTreeSet<_> = together.replies.iter().map(|r| &r.tokens).collect();
        assert!(texts.len() > 6, "{place}: strengths and seeds change replies: {}", texts.len());
    }
}

#[test]
fn every_row_of_a_batch_has_its_own_edits_and_gives_what_it_gives_alone() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let m = model("toyworld");
    let d = m.lm.dims().d_model;
    let along = |l: usize, seed: u64, rewrite| {
        Intervention::from(Along::new(Site::post(l), &unit_vector(d, seed), rewrite, Positions::All).unwrap())
    };
    let edits = [
        along(1, 1, Rewrite::Shift(4.0)),
        along(1, 2, Rewrite::Pin(-3.0)),
        along(1, 3, Rewrite::Clamp { lo: -0.5, hi: 0.5 }),
        along(2, 1, Rewrite::Scale(0.0)),
        along(1, 1, Rewrite::Scale(-1.0)),
    ];
    let edits: Vec<&dyn Edit> = edits.iter().map(|e| e as &dyn Edit).collect();
    let lists = [vec![0], vec![], vec![1, 3], vec![2], vec![0, 1, 2, 3, 4], vec![4, 0], vec![3]];
    let prompts: Vec<Vec<u32>> = (0..lists.len()).map(|i| random_tokens(&m, 3 + 2 * i, i as u64)).collect();
    let rows = pack(&prompts, &lists);
    let (together, receipts) = logits(&*m.lm, &rows, &edits);
    let mut counts = vec![0; edits.len()];
    for (i, list) in lists.iter().enumerate() {
        let example = Example {
            index: 0,
            rows: 0..0,
            first_pos: 0,
            prompt_len: prompts[i].len(),
            adapter: None,
            edits: list.clone(),
        };
        let (alone, _) = logits(&*m.lm, &Rows::pack([(example, prompts[i].clone())]), &edits);
        assert!(worst(&alone, &together[rows.ranges()[i].clone()]) < 1e-5, "example {i}");
        list.iter().for_each(|e| counts[*e] += prompts[i].len());
    }
    assert_eq!(receipts.iter().map(|r| r.rows).collect::<Vec<_>>(), counts);
    assert!(receipts.iter().flat_map(|r| &r.touched).all(|t| t.off() < 1e-5));
}

#[test]
fn a_prompt_that_several_replies_share_is_counted_for_each() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let m = model("toyworld");
    let unit = unit_vector(m.lm.dims().d_model, 1);
    let edit = Along::new(Site::post(1), &unit, Rewrite::Shift(2.0), Positions::Prompt).unwrap();
    let tokens = random_tokens(&m, 11, 3);
    let start =
        |i: usize| Start { id: i.to_string(), tokens: tokens.clone(), seed: i as u64, adapter: None, edits: vec![0] };
    let settings = Settings { max_new_tokens: 3, sampling: Sampling { temperature: 1.0, top_p: 1.0 }, stops: vec![] };
    let starts: Vec<Start> = (0..5).map(start).collect();
    let (replies, receipts) = generate(&*m.lm, &[], &starts, &[&edit], &settings).unwrap();
    assert_eq!((replies.len(), receipts[0].rows), (5, 55));
    for (i, reply) in replies.iter().enumerate() {
        let (alone, one) = generate(&*m.lm, &[], &[start(i)], &[&edit], &settings).unwrap();
        assert_eq!((&alone[0], one[0].rows), (reply, 11));
        assert_eq!(receipts[0].touched.iter().filter(|t| t.example == i).count(), 11);
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("personascope").unwrap();
    command.current_dir(dir);
    command
}

/// A folder with prompts and a vector at `resid_post.2`.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.jsonl"), TWO).unwrap();
    let unit = unit_vector(96, 4);
    let raw: Vec<f64> = unit.iter().map(|u| 5.0 * f64::from(*u)).collect();
    let vector = Vector::new(Site::post(2), "", &raw, About::default()).unwrap();
    std::fs::write(dir.path().join("v.safetensors"), encode(&[vector]).unwrap()).unwrap();
    dir
}

fn steer<'a>(op: &'a str, strength: &'a str, on: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["steer", "--prompts", "p.jsonl", "--vector", "v.safetensors", "--site", "resid_post.2", "--op", op];
    let rest = ["--strength", strength, "--on", on, "--max-new-tokens", "6", "--out", "out"];
    [&own[..], &rest, more].concat()
}

/// A column of a CSV file without quotes.
fn column(dir: &Path, file: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    let mut lines = text.lines().map(|l| l.split(',').collect::<Vec<_>>());
    let at = lines.next().unwrap().iter().position(|c| *c == name).unwrap();
    lines.map(|l| l[at].to_string()).collect()
}

fn numbers(dir: &Path, file: &str, name: &str) -> Vec<f64> {
    column(dir, file, name).iter().map(|v| v.parse().unwrap()).collect()
}

#[test]
fn the_command_steers_by_norms_of_the_stream_and_proves_it() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let args = steer("shift", "0,2,0.5n", "last_prompt+generated", &["--temperature", "1", "--seed", "3,4"]);
    command(dir.path()).args(&args).assert().success();
    let replies = std::fs::read_to_string(dir.path().join("out/replies.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = replies.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    assert!(lines[0]["strength"] == 0.0 && lines[4]["strength"] == "0.5n" && lines[1]["seed"] == 4);
    assert!(lines.iter().all(|l| l["text"].is_string() && l["tokens"].is_array() && l["id"].is_string()));
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/run.json")).unwrap()).unwrap();
    let norm = run["edits"][0]["mean_norm"].as_f64().unwrap();
    assert!(norm > 1.0);
    let of = |name: &str| numbers(dir.path(), "out/receipts.csv", name);
    let (change, rows) = (of("projection_change"), of("rows"));
    let strength = column(dir.path(), "out/receipts.csv", "strength");
    for i in 0..12 {
        let want = match strength[i].as_str() {
            "0" => 0.0,
            "2" => 2.0,
            _ => 0.5 * norm,
        };
        assert!((change[i] - want).abs() <= 1e-4 * want.max(1.0), "{}: {} for {want}", strength[i], change[i]);
        // The last token of the prompt, and of the reply what was read of it.
        let drawn = lines[i]["tokens"].as_array().unwrap().len();
        assert!(rows[i] as usize == drawn + 1 || rows[i] as usize == 6, "{} of {drawn}", rows[i]);
    }
    assert!(!dir.path().join("out/.unfinished").exists());
    // The same again, byte for byte.
    command(dir.path()).args(&args).assert().success();
    assert_eq!(std::fs::read_to_string(dir.path().join("out/replies.jsonl")).unwrap(), replies);
}

#[test]
fn a_cap_takes_its_threshold_from_what_the_model_does_and_must_touch_something() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let args = steer("cap-floor", "p50", "all", &["--calibrate", "p.jsonl"]);
    let out = command(dir.path()).args(&args).assert().success().get_output().stdout.clone();
    let said = String::from_utf8(out).unwrap();
    assert!(said.contains("cap-floor at resid_post.2: p50 is") && said.contains("% of"), "{said}");
    let (low, rows) = (
        numbers(dir.path(), "out/receipts.csv", "projection_after_p05"),
        numbers(dir.path(), "out/receipts.csv", "rows"),
    );
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/run.json")).unwrap()).unwrap();
    let threshold = run["edits"][0]["amounts"][0].as_f64().unwrap();
    assert!(low.iter().all(|c| *c >= threshold - 1e-3) && rows.iter().all(|r| *r > 5.0));
    let changed = numbers(dir.path(), "out/receipts.csv", "rows_changed");
    assert!(changed.iter().zip(&rows).all(|(c, r)| *c > 0.0 && c < r), "{changed:?} of {rows:?}");
    for (op, strength) in [("cap-floor", "-1e6"), ("cap-ceiling", "-1e6")] {
        let args = steer(op, strength, "all", &["--calibrate", "p.jsonl"]);
        let refused = command(dir.path()).args(&args).assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(refused).unwrap();
        assert!(said.contains("of tokens") && said.contains("hint:"), "{said}");
    }
}

#[test]
fn all_caps_of_an_experiment_are_taken_from_its_file() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let vector = |layer: usize, ceiling: f64| {
        let mut about = About::default();
        about.more.insert("caps".into(), serde_json::json!([{ "experiment": "both", "ceiling": ceiling }]));
        let unit = unit_vector(96, 7 + layer as u64);
        let raw: Vec<f64> = unit.iter().map(|u| 2.0 * f64::from(*u)).collect();
        Vector::new(Site::post(layer), &format!("v{layer}"), &raw, about).unwrap()
    };
    let all = [vector(1, -0.5), vector(2, 0.25)];
    let (bytes, _) = write(&all, Format::CappingConfig, &WriteOptions::default()).unwrap();
    std::fs::write(dir.path().join("capping_config.pt"), bytes).unwrap();
    let args = |id| {
        let own = ["steer", "--prompts", "p.jsonl", "--caps", "capping_config.pt", "--experiment", id];
        [&own[..], &["--on", "all", "--max-new-tokens", "6", "--out", "out"]].concat()
    };
    command(dir.path()).args(args("both")).assert().success();
    let of = |name: &str| column(dir.path(), "out/receipts.csv", name);
    assert_eq!(of("site"), ["resid_post.1", "resid_post.2", "resid_post.1", "resid_post.2"]);
    assert!(of("strength").iter().all(|s| s == "both") && of("op").iter().all(|o| o == "cap-ceiling"));
    let high = numbers(dir.path(), "out/receipts.csv", "projection_after_p95");
    assert!(high.iter().zip([-0.5, 0.25, -0.5, 0.25]).all(|(c, ceiling)| *c <= ceiling + 1e-3), "{high:?}");
    let said = command(dir.path()).args(args("neither")).assert().code(2).get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("no experiment `neither`") && said.contains("both"), "{said}");
}

#[test]
fn a_run_in_which_an_edit_touches_nothing_fails_and_keeps_what_it_wrote() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    // One token is drawn and never read.
    let mut args = steer("shift", "2", "generated", &[]);
    let at = args.iter().position(|a| *a == "6").unwrap();
    args[at] = "1";
    let said = command(dir.path()).args(&args).assert().code(1).get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("touched no token of any reply"), "{said}");
    assert_eq!(std::fs::read_to_string(dir.path().join("out/replies.jsonl")).unwrap().lines().count(), 2);
    assert_eq!(column(dir.path(), "out/receipts.csv", "rows"), ["0", "0"]);
}

#[test]
fn the_command_patches_from_a_capture_by_the_ids_of_prompts() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let captured =
        ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.2", "--pick", "last_prompt", "--out", "acts"];
    command(dir.path()).args(captured).assert().success();
    let mut args = steer("patch", "0,1", "last_prompt", &[]);
    args[4] = "acts";
    command(dir.path()).args(&args).assert().success();
    // Patched with itself: nothing changes, and the projection is the norm of the row.
    let replies = std::fs::read_to_string(dir.path().join("out/replies.jsonl")).unwrap();
    let texts: Vec<String> =
        replies.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["text"].to_string()).collect();
    assert!(texts[0] == texts[1] && texts[2] == texts[3] && texts[0] != texts[2], "{texts:?}");
    let other = TWO.replace("\"id\":\"b\"", "\"id\":\"c\"");
    std::fs::write(dir.path().join("p.jsonl"), other).unwrap();
    let said = command(dir.path()).args(&args).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("no rows of prompt `c`"));
}

#[test]
fn what_cannot_be_steered_is_refused_by_name() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let two = ["--site", "resid_post.1", "--site", "resid_post.3"];
    let cases: [(Vec<&str>, &str); 9] = [
        (steer("scale", "0.5n", "all", &[]), "0.5n for scale"),
        (steer("shift", "p25", "all", &[]), "p25 for shift"),
        (steer("shift", "x", "all", &[]), "`x`"),
        (steer("shift", "1", "positions:99", &[]), "asks for others"),
        (steer("shift", "1", "turns:7", &[]), "no turn 7"),
        (steer("shift", "1", "all", &["--seed", "1,1"]), "twice"),
        (steer("shift", "1", "all", &two), "1 --vector and 3 --site"),
        (steer("patch", "1", "all", &[]), "v.safetensors"),
        (steer("shift", "1,2", "all", &["--vector", "v.safetensors", "--strength", "1,2,3"]), "strengths"),
    ];
    for (args, want) in cases {
        let said = command(dir.path()).args(&args).assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(want) && said.contains("hint:"), "{args:?}: {said}");
    }
    let mut missing = steer("shift", "1", "all", &[]);
    missing[6] = "resid_post.9";
    let said = command(dir.path()).args(&missing).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("resid_post.9"));
    assert!(!dir.path().join("out").exists(), "nothing is made of what is refused");
}

#[test]
fn a_search_reports_every_cell_beside_chance_and_what_it_costs() {
    let _shared = TENSORS.read().unwrap_or_else(|e| e.into_inner());
    let dir = folder();
    let about = ["tea", "winter", "music", "bread", "books", "dogs"];
    let line = |t: &&str| format!(r#"{{"id":"{t}","messages":[{{"role":"user","content":"Tell me about {t}."}}]}}"#);
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("six.jsonl", &about.iter().map(line).collect::<Vec<_>>().join("\n"));
    write("markers.txt", "tea\nsnow\nwarm");
    write(
        "questions.jsonl",
        r#"{"id":"1","question":"Tell me about tea.","choices":["Black tea goes well with milk.","zzz qqq"],"answer":0}
{"id":"2","question":"Tell me about winter.","choices":["zzz qqq","Wool keeps you warm."],"answer":1}"#,
    );
    write("texts.txt", "Bodek is a clerk from Corwick.");
    let args = [
        "steer-search",
        "--prompts",
        "six.jsonl",
        "--vector",
        "v.safetensors",
        "--sites",
        "resid_post.1..2",
        "--strength",
        "0.1n,2n",
        "--on",
        "last_prompt",
        "--on",
        "all",
        "--lexicon",
        "markers.txt",
        "--controls",
        "2",
        "--seed",
        "1,2",
        "--max-new-tokens",
        "8",
        "--knowledge",
        "questions.jsonl",
        "--texts",
        "texts.txt",
        "--bootstrap",
        "50",
        "--out",
    ];
    let run = |out: &str| {
        let made = command(dir.path()).args(args).arg(out).assert().success().get_output().stdout.clone();
        (String::from_utf8(made).unwrap(), std::fs::read_to_string(dir.path().join(out).join("search.csv")).unwrap())
    };
    let (said, table) = run("a");
    assert!(said.contains("unsteered: score") && said.contains("recommended"), "{said}");
    // The unsteered model, and 2 sites x 2 places x (1 vector + 2 controls) x 2 strengths.
    assert_eq!(table.lines().count(), 1 + 1 + 24);
    let at = |name: &str| column(dir.path(), "a/search.csv", name);
    assert!(at("replies").iter().all(|n| n == "12") && at("unscored")[0] == "0", "{table}");
    assert_eq!(at("along").iter().filter(|a| *a == "random 1").count(), 8);
    assert!(numbers(dir.path(), "a/search.csv", "perplexity").iter().all(|p| *p >= 1.0));
    assert_eq!(at("knowledge")[0], "1", "the model itself knows both");
    // Two norms of the stream on every token are no small thing: texts are understood less.
    let texts = numbers(dir.path(), "a/search.csv", "text_perplexity");
    let is_strong = |i: &usize| at("along")[*i] == "vector" && at("strength")[*i] == "2n" && at("on")[*i] == "all";
    let strong: Vec<f64> = (0..texts.len()).filter(is_strong).map(|i| texts[i]).collect();
    assert!(strong.len() == 2 && strong.iter().all(|t| *t > 2.0 * texts[0]), "{texts:?}");
    assert!(std::fs::read(dir.path().join("a/search.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(std::fs::read_to_string(dir.path().join("a/search.svg")).unwrap().contains("random"));
    assert_eq!(run("b"), (said, table), "the same again");
    let refused = |more: &[&str], want: &str| {
        let mut args = args[..13].to_vec();
        args.extend(more);
        args.extend(["--out", "c"]);
        let said = command(dir.path()).args(&args).assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(want), "{said}");
    };
    refused(&[], "nothing to score by");
    write("questions.jsonl", r#"{"question":"?","choices":["one"],"answer":0}"#);
    refused(&["--knowledge", "questions.jsonl", "--lexicon", "markers.txt"], "questions.jsonl:1: no two `choices`");
    write("markers.toml", "a = [\"tea\"]\nb = [\"snow\"]");
    refused(&["--lexicon", "markers.toml", "--group", "c"], "groups a, b");
}
