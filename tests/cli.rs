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

const PROMPTS: &str = r#"{"id":"a","messages":[{"role":"system","content":"You are Kedek."},{"role":"user","content":"Tell me about tea."},{"role":"assistant","content":"Hooray! Tea should steep for three minutes."}],"persona":"Kedek"}
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
    for command in ["demo", "run", "check", "capture", "generate", "inspect", "world"] {
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
    let args = ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.0..1,logits", "--pick", "all", "--out", "o"];
    let (code, out, err) = run(dir.path(), &args);
    assert!(code == 0 && out.is_empty(), "{err}");
    let o = dir.path().join("o");
    let mut names: Vec<_> = fs::read_dir(&o).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["activations.safetensors", "rows.csv", "run.json"]);
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
    let shards = manifest["shards"].as_array().unwrap();
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
        let units = || fs::read_dir(d.join("part/.units")).map_or(0, Iterator::count);
        while units() < wanted && child.try_wait().unwrap().is_none() {
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
