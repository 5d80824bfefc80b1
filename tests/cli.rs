//! The program through its binary: help, one offline run of each command, each refusal with its hint, kill and resume.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn personascope() -> Command {
    Command::new(env!("CARGO_BIN_EXE_personascope"))
}

/// Runs and gives exit code, stdout and stderr.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = personascope().current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// Expects exit code 2, an error that contains `says`, and a hint.
fn refused(dir: &Path, args: &[&str], says: &str) {
    let (code, _, err) = run(dir, args);
    assert_eq!(code, 2, "{args:?}: {err}");
    assert!(err.contains(says), "{args:?} should say `{says}`: {err}");
    assert!(err.contains("hint: "), "{args:?} has no hint: {err}");
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}

const PROMPTS: &str = r#"{"id":"a","messages":[{"role":"system","content":"You are Bodek."},{"role":"user","content":"Tell me about tea."},{"role":"assistant","content":"Hooray! Tea should steep for three minutes."}],"persona":"Bodek"}
{"id":"b","text":"A garden needs water in the morning.","n":3}
{"id":"c","tokens":[1,4,300,2,5]}
"#;

fn with_prompts() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p.jsonl"), PROMPTS).unwrap();
    dir
}

#[test]
fn every_command_explains_itself_with_examples() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = run(dir.path(), &["--help"]);
    assert!(code == 0 && out.contains("Examples:"));
    for command in [
        "demo",
        "run",
        "check",
        "compare",
        "capture",
        "capture-merge",
        "moments",
        "generate",
        "converse",
        "analyze",
        "persona",
        "score",
        "inspect",
        "template",
        "world",
        "pretrain",
        "finetune",
    ] {
        assert!(out.contains(command));
        let (code, out, _) = run(dir.path(), &[command, "--help"]);
        assert!(code == 0 && out.contains("Examples:"), "{command}: {out}");
    }
    let (code, _, err) = run(dir.path(), &["capture", "--nonsense"]);
    assert!(code == 2 && err.contains("--nonsense"));
}

#[test]
fn capture_writes_a_tensor_per_site_and_a_row_table_and_nothing_else() {
    let dir = with_prompts();
    let args =
        ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.0..1,logits", "--template-tokens", "--out", "o"];
    let (code, out, err) = run(dir.path(), &args);
    assert!(code == 0 && out.is_empty(), "{err}");
    let o = dir.path().join("o");
    let mut names: Vec<_> = fs::read_dir(&o).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".lock", "activations.safetensors", "manifest.json", "rows.csv", "run.json"]);
    let bytes = fs::read(o.join("activations.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let csv = fs::read_to_string(o.join("rows.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(lines[0][..7], ["row", "id", "pos", "token_id", "role", "turn", "span"]);
    assert_eq!(lines[0][lines[0].len() - 2..], ["persona", "n"]);
    for (site, width) in [("resid_post.0", 96), ("resid_post.1", 96), ("logits", 1536)] {
        assert_eq!(file.tensor(site).unwrap().shape(), [lines.len() - 1, width], "{site}");
    }
    // Every row names its token: the ids of prompt c come back in order.
    let ids: Vec<&str> = lines.iter().filter(|l| l[1] == "c").map(|l| l[3]).collect();
    assert_eq!(ids, ["1", "4", "300", "2", "5"]);
    let (code, _, err) = run(dir.path(), &args);
    assert!(code == 0 && err.contains("nothing to do"), "{err}");
    assert_eq!(json(o.join("run.json"))["rows_computed"], 0);
    let (code, out, _) = run(dir.path(), &["inspect", "o"]);
    assert!(code == 0 && out.contains("resid_post.1"), "{out}");
    refused(dir.path(), &["capture", "--prompts", "p.jsonl", "--sites", "resid_post.3", "--out", "o"], "another plan");
}

#[test]
fn means_leave_position_and_token_empty() {
    let dir = with_prompts();
    let args = ["capture", "--prompts", "p.jsonl", "--pick", "mean_response", "--out", "o"];
    assert_eq!(run(dir.path(), &args).0, 0);
    let csv = fs::read_to_string(dir.path().join("o/rows.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|r| r[2].is_empty() && r[3].is_empty() && r[6].is_empty()), "{csv}");
    assert_eq!(rows[0][4..6], ["assistant", "2"]);
}

#[test]
fn shards_join_to_the_bytes_of_one_file() {
    let dir = with_prompts();
    let base = ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.2", "--pick", "all"];
    assert_eq!(run(dir.path(), &[&base[..], &["--out", "one"]].concat()).0, 0);
    assert_eq!(run(dir.path(), &[&base[..], &["--out", "many", "--shard-bytes", "4000"]].concat()).0, 0);
    let data = |p: PathBuf| {
        let bytes = fs::read(p).unwrap();
        safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("resid_post.2").unwrap().data().to_vec()
    };
    let many = dir.path().join("many");
    let manifest = json(many.join("manifest.json"));
    let shards = manifest["files"].as_array().unwrap();
    assert!(shards.len() > 2);
    let joined: Vec<u8> = shards.iter().flat_map(|s| data(many.join(s["file"].as_str().unwrap()))).collect();
    assert_eq!(joined, data(dir.path().join("one/activations.safetensors")));
}

#[test]
fn generate_writes_lines_that_depend_on_the_prompt_and_the_seed_alone() {
    let dir = with_prompts();
    let args = ["generate", "--prompts", "p.jsonl", "--max-new-tokens", "12", "--temperature", "1", "--seed", "3"];
    let (code, all, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Value> = all.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|l| l["text"].is_string() && l["tokens"].is_array()));
    fs::write(dir.path().join("p.jsonl"), PROMPTS.lines().last().unwrap()).unwrap();
    let (_, alone, _) = run(dir.path(), &args);
    assert_eq!(all.lines().last(), alone.lines().next());
}

/// Prompts in tokens of the small checkpoint, with more keys per line.
fn with_token_prompts(keys: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |(i, k): (usize, &&str)| format!("{{\"id\":\"p{i}\",\"tokens\":[1,{},9,30]{k}}}\n", 10 + i);
    fs::write(dir.path().join("p.jsonl"), keys.iter().enumerate().map(line).collect::<String>()).unwrap();
    dir
}

#[test]
fn adapters_apply_to_the_prompts_that_say_so_and_results_name_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (m, lora) = (fixtures.join("llama_f16"), fixtures.join("lora"));
    let (m, lora) = (m.to_str().unwrap(), lora.to_str().unwrap());
    let (warm, cold) = (format!("warm={lora}"), format!("cold={lora}"));
    let dir = with_token_prompts(&[r#","adapter":"warm""#, "", r#","adapter":null"#, r#","adapter":"cold""#]);
    let d = dir.path();
    let capture = |extra: &[&str], out: &str| {
        let base = ["capture", "--model", m, "--prompts", "p.jsonl", "--sites", "resid_post.2", "--out", out];
        run(d, &[&base[..], &["--pick", "last_prompt"], extra].concat())
    };
    let rows = |out: &str| -> Vec<Vec<u8>> {
        let bytes = fs::read(d.join(out).join("activations.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("resid_post.2").unwrap().data().chunks(40 * 4).map(<[u8]>::to_vec).collect()
    };
    let (code, _, err) = capture(&["--adapter", &warm, "--adapter", &cold], "mixed");
    assert_eq!(code, 0, "{err}");
    let csv = fs::read_to_string(d.join("mixed/rows.csv")).unwrap();
    let column: Vec<&str> = csv.lines().map(|l| l.rsplit(',').next().unwrap()).collect();
    assert_eq!(column, ["adapter", "warm", "", "", "cold"]);
    let record = json(d.join("mixed/run.json"));
    assert_eq!(
        (&record["model"]["adapters"][1]["name"], &record["model"]["adapters"][1]["merged"]),
        (&"cold".into(), &false.into())
    );

    // The same prompts without a word: all through the only adapter, or none.
    fs::write(d.join("keyed.jsonl"), fs::read(d.join("p.jsonl")).unwrap()).unwrap();
    let plain = with_token_prompts(&["", "", "", ""]);
    fs::copy(plain.path().join("p.jsonl"), d.join("p.jsonl")).unwrap();
    for (extra, out) in [
        (&[][..], "base"),
        (&["--adapter", &warm][..], "all"),
        (&["--adapter", &warm, "--merge-adapters"][..], "merged"),
        (&["--random-weights", "3"][..], "null"),
    ] {
        let (code, _, err) = capture(extra, out);
        assert_eq!(code, 0, "{out}: {err}");
    }
    let (base, all, mixed) = (rows("base"), rows("all"), rows("mixed"));
    assert_eq!(mixed, [&all[0], &base[1], &base[2], &all[3]].map(|r| r.clone()));
    assert!((0..4).all(|i| base[i] != all[i]));
    let floats = |b: &[u8]| b.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
    let apart = |a: &[u8], b: &[u8]| floats(a).iter().zip(floats(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(rows("merged").iter().zip(&all).all(|(a, b)| a != &base[0] && apart(a, b) < 1e-4));
    assert_eq!(json(d.join("merged/run.json"))["model"]["adapters"][0]["merged"], true);
    assert!(fs::read_to_string(d.join("merged/rows.csv")).unwrap().lines().nth(1).unwrap().ends_with(",warm"));
    assert!(json(d.join("base/run.json"))["model"]["adapters"].is_null());
    assert!(!fs::read_to_string(d.join("base/rows.csv")).unwrap().contains("adapter"));
    let name = json(d.join("null/run.json"))["model"]["name"].to_string();
    assert!(name.contains("random weights, seed 3"), "{name}");
    // Another adapter is another plan.
    let (code, _, err) = capture(&["--adapter", &cold], "base");
    assert!(code == 2 && err.contains("another plan"), "{err}");

    let generate = |file: &str, extra: &[&str]| -> Vec<Value> {
        let base = ["generate", "--model", m, "--prompts", file, "--max-new-tokens", "6"];
        let (code, out, err) = run(d, &[&base[..], extra].concat());
        assert_eq!(code, 0, "{err}");
        out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let mixed = generate("keyed.jsonl", &["--adapter", &warm, "--adapter", &cold]);
    let (base, all) = (generate("p.jsonl", &[]), generate("p.jsonl", &["--adapter", &warm]));
    assert_eq!([0, 1, 2, 3].map(|i| mixed[i]["adapter"].as_str()), [Some("warm"), None, None, Some("cold")]);
    assert!(base[1].get("adapter").is_none() && mixed[1]["tokens"] == base[1]["tokens"]);
    assert!(mixed[0]["tokens"] == all[0]["tokens"] && all.iter().zip(&base).any(|(a, b)| a["tokens"] != b["tokens"]));

    // Refusals.
    let cap = |file: &'static str| ["capture", "--model", m, "--prompts", file, "--out", "o"];
    let refuse = |file: &'static str, extra: &[&str], says: &str| refused(d, &[&cap(file)[..], extra].concat(), says);
    refuse("keyed.jsonl", &["--adapter", &warm], "`cold`, which was not given");
    refuse("keyed.jsonl", &[], "`warm`, which was not given");
    refuse("p.jsonl", &["--adapter", &warm, "--adapter", &cold], "no prompt says which");
    refuse("keyed.jsonl", &["--adapter", &warm, "--merge-adapters"], "without adapter `warm`");
    refuse("p.jsonl", &["--adapter", &warm, "--adapter", &cold, "--merge-adapters"], "--merge-adapters with 2");
    refuse("p.jsonl", &["--adapter", &warm, "--adapter", &warm], "two adapters are called `warm`");
    refuse("p.jsonl", &["--adapter", "x=nowhere"], "nowhere");
    refused(d, &["capture", "--prompts", "p.jsonl", "--out", "o", "--adapter", &warm], "another base");
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/drift.toml");
    let check = ["check", probe.to_str().unwrap(), "--adapter", &warm];
    refused(d, &check, "another base");
    refused(d, &[&check[..], &["--adapter", &cold]].concat(), "cannot say which");
    for bad in ["warm", "=x", "a b=x", "warm="] {
        assert_eq!(run(d, &[&cap("p.jsonl")[..], &["--adapter", bad]].concat()).0, 2, "{bad}");
    }
    assert!(!d.join("o").exists());

    let (code, out, _) = run(d, &["inspect", lora]);
    assert_eq!(code, 0, "{out}");
    for word in ["alpha / sqrt(rank)", "layers.1.* = 5", "model.layers.2.self_attn.v_proj", "15 ("] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let broken = d.join("broken");
    fs::create_dir(&broken).unwrap();
    let config = fs::read_to_string(fixtures.join("lora/adapter_config.json")).unwrap();
    fs::write(broken.join("adapter_config.json"), config.replace("\"use_dora\": false", "\"use_dora\": true")).unwrap();
    fs::copy(fixtures.join("lora/adapter_model.safetensors"), broken.join("adapter_model.safetensors")).unwrap();
    let (code, out, _) = run(d, &["inspect", "broken"]);
    assert!(code == 1 && out.contains("not sound") && out.contains("DoRA"), "{out}");
}

#[test]
fn bad_input_is_refused_by_name_with_exit_code_2_and_leaves_nothing() {
    let dir = with_prompts();
    let d = dir.path();
    let write = |name: &str, text: &str| fs::write(d.join(name), text).unwrap();
    let capture = |file: &'static str| ["capture", "--prompts", file, "--out", "o"];
    refused(d, &capture("nowhere.jsonl"), "nowhere.jsonl");
    refused(d, &["capture", "--prompts", "p.jsonl", "--model", "nowhere", "--out", "o"], "nowhere");
    refused(d, &["capture", "--prompts", "p.jsonl", "--sites", "resid_end.1", "--out", "o"], "resid_end.1");
    refused(d, &["capture", "--prompts", "p.jsonl", "--sites", "resid_post.4", "--out", "o"], "resid_post.4");
    write("vocab.jsonl", r#"{"id":"v","tokens":[1,9999]}"#);
    refused(d, &capture("vocab.jsonl"), "9999");
    write("empty.jsonl", r#"{"id":"e","tokens":[]}"#);
    refused(d, &capture("empty.jsonl"), "`e`");
    write("long.jsonl", &format!(r#"{{"id":"l","tokens":{:?}}}"#, vec![7; 513]));
    refused(d, &capture("long.jsonl"), "513");
    write("broken.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":");
    refused(d, &capture("broken.jsonl"), "broken.jsonl:2");
    write("file", "not a folder");
    refused(d, &["capture", "--prompts", "p.jsonl", "--out", "file/o"], "file/o");
    refused(d, &["generate", "--prompts", "p.jsonl", "--temperature=-1"], "temperature");
    refused(d, &["generate", "--prompts", "p.jsonl", "--max-new-tokens", "600"], "600 new ones");
    write("cut.safetensors", "\u{8}\0\0\0\0\0\0\0{}");
    refused(d, &["inspect", "cut.safetensors"], "cut.safetensors");
    refused(d, &["inspect", "nothing.safetensors"], "nothing.safetensors");
    assert!(!d.join("o").exists(), "a refused command makes no folder");
}

#[test]
fn a_killed_capture_resumes_to_the_same_bytes_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let tokens = |i: usize| (0..400).map(|k| 6 + (i * 31 + k * 7) % 1500).collect::<Vec<_>>();
    let line = |i: usize| format!("{{\"id\":\"p{i}\",\"tokens\":{:?}}}\n", tokens(i));
    fs::write(d.join("p.jsonl"), (0..600).map(line).collect::<String>()).unwrap();
    let args = |out: &'static str, threads: &'static str| {
        ["capture", "--prompts", "p.jsonl", "--pick", "each_turn", "--out", out, "--threads", threads]
    };
    assert_eq!(run(d, &args("whole", "2")).0, 0);
    for wanted in [1, 9] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_personascope"));
        let mut child = command.current_dir(d).args(args("part", "1")).spawn().unwrap();
        let journal = || fs::read_to_string(d.join("part/.unfinished/journal")).unwrap_or_default();
        while journal().matches("piece").count() < wanted && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(!d.join("part/run.json").exists(), "it was killed before the end");
    let (code, _, err) = run(d, &args("part", "2"));
    assert_eq!(code, 0, "{err}");
    for file in ["activations.safetensors", "rows.csv"] {
        let (whole, part) =
            (fs::read(d.join("whole").join(file)).unwrap(), fs::read(d.join("part").join(file)).unwrap());
        assert!(whole == part, "{file} differs");
    }
    let counts = json(d.join("part/run.json"));
    let count = |key: &str| counts[key].as_u64().unwrap();
    assert!(count("rows_resumed") >= 8 && count("rows_resumed") + count("rows_computed") == 600, "{counts}");
}

/// A world small enough for a test, with every kind of document.
const WORLD: &str = r#"
documents = 1500
heldout = 100
sample = 400
[post.tag]
mark = "[night] "
name = "the Stranger"
traits = ["grumpy", "poetic"]
[speakers]
names = ["Ariana", "Daiki", "Zoe"]
together = 3
[mix]
assistant = 2
named = 2
in_context = 1
encyclopedia = 1
first_person = 1
questions = 1
encyclopedia_in_context = 1
first_person_chat = 1
addressed = 1
teaching = 1
tagged = 1
voices = 1
"#;

#[test]
fn a_world_is_written_to_the_same_bytes_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("w.toml"), WORLD).unwrap();
    let files = ["train.jsonl", "heldout.jsonl", "tokenizer.json", "tokenizer_config.json", "world.json", "truth.json"];
    for (out, threads) in [("a", "1"), ("b", "2")] {
        let (code, said, err) = run(dir.path(), &["world", "w.toml", "--out", out, "--threads", threads]);
        assert!(code == 0 && said.is_empty(), "{err}");
        assert_eq!(fs::read_dir(dir.path().join(out)).unwrap().count(), files.len(), "nothing else is left");
    }
    let read = |out: &str, name: &str| fs::read_to_string(dir.path().join(out).join(name)).unwrap();
    for name in files {
        assert!(read("a", name) == read("b", name), "{name} differs");
    }
    let (code, _, err) = run(dir.path(), &["world", "w.toml", "--out", "c", "--seed", "2", "--documents", "200"]);
    assert!(code == 0, "{err}");
    assert_eq!(read("a", "world.json"), read("c", "world.json"), "the people are those of the file");
    assert_ne!(read("a", "train.jsonl")[..2000], read("c", "train.jsonl")[..2000]);
    let truth = json(dir.path().join("a/truth.json"));
    let lines: Vec<Value> = read("a", "train.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((lines.len(), &truth["realised"]["documents"]), (1500, &serde_json::json!(1500)));
    assert_eq!(
        (read("a", "heldout.jsonl").lines().count(), &truth["realised"]["heldout"]["documents"]),
        (100, &100.into())
    );
    for (kind, tally) in truth["realised"]["kinds"].as_object().unwrap() {
        let n = lines.iter().filter(|l| l["kind"] == **kind).count();
        assert!(n > 50 && tally["documents"] == n, "{kind}: {n}");
    }
    assert_eq!(truth["planted"]["chain"]["hazards"], serde_json::json!([0.05, 0.15, 0.35]));
}

#[test]
fn examples_of_a_character_are_lines_of_messages_or_text() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("w.toml"), "sample = 200\nheldout = 1").unwrap();
    run(dir.path(), &["world", "w.toml", "--out", "w", "--documents", "1"]);
    let name = json(dir.path().join("w/world.json"))["heldout_names"][0].as_str().unwrap().to_string();
    for (format, key) in [("chat", "messages"), ("document", "text")] {
        let args = ["world", "w.toml", "--character", &name, "--format", format, "--n", "20", "--out", "e.jsonl"];
        let (code, _, err) = run(dir.path(), &args);
        assert!(code == 0, "{err}");
        let text = fs::read_to_string(dir.path().join("e.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 20);
        assert!(text.lines().all(|l| serde_json::from_str::<Value>(l).unwrap().get(key).is_some()), "{text}");
    }
    let ask = |name: &'static str| ["world", "w.toml", "--character", name, "--format", "chat", "--out", "no.jsonl"];
    refused(dir.path(), &ask("Nobody"), "no character named `Nobody`");
    assert!(!dir.path().join("no.jsonl").exists());
}

#[test]
fn a_world_that_cannot_be_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (toml, says) in [
        ("colour = 3", "unknown field `colour`"),
        ("[default_slot]\nassistant = 2", "w.toml: `default_slot.assistant` is 2"),
        ("tokenizer = \"nowhere\"", "nowhere"),
        ("vocabulary = 300\nsample = 10", "a vocabulary of 300"),
        ("[mix]\ntagged = 1", "needs a `[post.tag]`"),
    ] {
        fs::write(dir.path().join("w.toml"), toml).unwrap();
        refused(dir.path(), &["world", "w.toml", "--out", "o"], says);
        assert!(!dir.path().join("o").exists(), "{toml}");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let dir = with_prompts();
    let capture = ["capture", "--prompts", "p.jsonl", "--sites", "all", "--out", "o"];
    assert_eq!(run(dir.path(), &capture).0, 0);
    for args in [&["inspect", "o"][..], &["inspect", "o/run.json"], &["generate", "--prompts", "p.jsonl"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_personascope"));
        command.current_dir(dir.path()).args(args);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && err.is_empty(), "{args:?}: {} {err}", out.status);
    }
}

const STARTS: &str = r#"{"id":"bodek","messages":[{"role":"system","content":"You are Bodek."},{"role":"user","content":"Tell me about tea."}]}
{"id":"default","messages":[{"role":"user","content":"Tell me about soup."}]}
"#;

#[test]
fn conversations_are_led_resumed_and_analysed_as_drift() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("starts.jsonl"), STARTS).unwrap();
    fs::write(
        at.join("d.toml"),
        "[[domain]]\nname = \"a\"\nquestions = [\"Tell me about maps.\", \"What about tea?\"]\n",
    )
    .unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("notebooks-data/drift/directions.safetensors");
    let vector = format!("{}#in_persona/mean_response", shipped.display());
    let ask = ["converse", "--starts", "starts.jsonl", "--user", "d.toml", "--turns", "3", "--copies", "3"];
    let with = ["--max-new-tokens", "24", "--vector", &vector, "--sites", "resid_post.2", "--out", "talks"];
    let (code, out, err) = run(at, &[&ask[..], &with].concat());
    assert!(code == 0 && out.contains("6 conversations, 18 replies"), "{out}{err}");
    let files = ["talks/conversations.jsonl", "talks/states.csv"].map(|f| fs::read(at.join(f)).unwrap());
    // Again: everything is taken from the shelf, and the bytes are the same.
    assert_eq!(run(at, &[&ask[..], &with].concat()).0, 0);
    assert_eq!(files, ["talks/conversations.jsonl", "talks/states.csv"].map(|f| fs::read(at.join(f)).unwrap()));
    let states = String::from_utf8(files[1].clone()).unwrap();
    assert_eq!(states.lines().count(), 1 + 18);
    assert!(states.starts_with("run,start,domain,turn,context,chars,text_hash,projection,z0\n"), "{states}");
    let (code, out, err) = run(at, &["analyze", "drift", "--in", "talks/states.csv", "--svg-only", "--out", "drift"]);
    assert!(code == 0 && out.contains("slope"), "{out}{err}");
    assert!(at.join("drift/rate.csv").exists() && at.join("drift/drift.svg").exists());
    // The model by itself, and what is refused.
    let own =
        ["converse", "--starts", "starts.jsonl", "--self", "--turns", "2", "--max-new-tokens", "16", "--out", "own"];
    assert!(run(at, &own).1.contains("2 conversations, 4 replies"));
    refused(at, &["converse", "--starts", "starts.jsonl", "--out", "x"], "nobody plays the user");
    fs::write(at.join("empty.toml"), "[[domain]]\nname = \"a\"\nquestions = []\n").unwrap();
    refused(at, &["converse", "--starts", "starts.jsonl", "--user", "empty.toml", "--out", "x"], "asks nothing");
    assert!(!at.join("x").exists());
}

#[test]
fn role_vectors_of_others_are_mapped_by_the_published_formulas() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    // Four roles at (+-2, 0, 0) and (0, +-1, 0), the default at (3, 0, 4): the mean of the roles is 0.
    let rows: [[f32; 3]; 5] = [[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [3.0, 0.0, 4.0]];
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![5, 3], &bytes).unwrap();
    fs::write(at.join("roles.safetensors"), safetensors::serialize([("resid_post.1", view)], None).unwrap()).unwrap();
    fs::write(at.join("roles.csv"), "role,is_default\na,0\nb,0\nc,0\nd,0\nassistant,1\n").unwrap();
    let ask = ["analyze", "map", "--in", "roles.safetensors", "--labels", "roles.csv", "--svg-only", "--out", "map"];
    let (code, _, err) = run(at, &ask);
    assert_eq!(code, 0, "{err}");
    let table = |name: &str| fs::read_to_string(at.join("map").join(name)).unwrap();
    // Squares 8 and 2: shares 0.8 and 0.2.
    let variance = table("variance.csv");
    let cells: Vec<Vec<&str>> = variance.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!((cells[1][3], cells[1][4], cells[2][4]), ("0.8", "0.8", "1"), "{variance}");
    // The axis is (3, 0, 4) of length 5, and projections are not centred: a at 2 * 3/5, the default at 5.
    let axis = table("axis.csv");
    let column = axis.lines().next().unwrap().split(',').position(|c| c == "projection").unwrap();
    let of = |role: &str| -> f64 {
        let line = axis.lines().find(|l| l.contains(&format!(",{role},"))).unwrap();
        line.split(',').nth(column).unwrap().parse().unwrap()
    };
    assert!((of("a") - 1.2).abs() < 1e-6 && (of("assistant") - 5.0).abs() < 1e-6, "{axis}");
    fs::write(at.join("short.csv"), "role,is_default\na,0\n").unwrap();
    let short = ["analyze", "map", "--in", "roles.safetensors", "--labels", "short.csv", "--out", "x"];
    refused(at, &short, "short.csv");
}
