//! The commands as they are typed.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit code, stdout, stderr.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn done(dir: &Path, args: &[&str]) -> String {
    let (code, out, err) = run(dir, args);
    assert!(code == 0, "{args:?}: {err}");
    out
}

fn refused(dir: &Path, args: &[&str], says: &str) {
    let (code, _, err) = run(dir, args);
    assert!(code == 2 && err.contains(says) && err.contains("hint: "), "{args:?}: {code} {err}");
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Thirty conversations with a persona, a score and a weight.
fn prompts() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |i: usize| {
        let (said, more) = (["tea", "rain", "the sea"][i % 3], if i.is_multiple_of(2) { "" } else { " and of bread" });
        format!(
            r#"{{"id":"c{i}","messages":[{{"role":"user","content":"Tell me of {said}{more}."}},{{"role":"assistant","content":"I like {said}."}}],"persona":"p{}","score":{},"w":{}}}"#,
            i % 5,
            i % 4,
            1 + i % 2
        ) + "\n"
    };
    fs::write(dir.path().join("p.jsonl"), (0..30).map(line).collect::<String>()).unwrap();
    dir
}

const CAPTURE: [&str; 5] = ["capture", "--prompts", "p.jsonl", "--pick", "each_turn"];

#[test]
fn a_dry_run_says_what_a_run_gives_and_does_nothing() {
    let dir = prompts();
    let d = dir.path();
    let out = done(d, &[&CAPTURE[..], &["--out", "o", "--dry-run"]].concat());
    assert!(!d.join("o").exists());
    // Two turns of 30 conversations, 4 sites of 96 numbers of 4 bytes: 92,160 bytes.
    for says in ["rows            60", "90.00 KiB in 1 files", "time            about", "free on disk"] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let halves = ["--out", "o", "--dry-run", "--rows-dtype", "bf16", "--keep", "both", "--by", "persona"];
    let out = done(d, &[&CAPTURE[..], &halves].concat());
    // Five groups of 3 numbers and 4 sites with mean and M2 of 96: 5 (3 + 768) 8 bytes.
    assert!(out.contains("45.00 KiB in 1 files") && out.contains("groups          5"), "{out}");
    assert!(out.contains("moments         30.12 KiB"), "{out}");
}

#[test]
fn moments_of_a_run_are_those_of_its_rows() {
    let dir = prompts();
    let d = dir.path();
    let by = ["--by", "persona,role", "--filter", "score>=2", "--min-count", "3", "--weight", "w"];
    done(d, &[&CAPTURE[..], &["--out", "o", "--keep", "moments"], &by].concat());
    done(d, &[&CAPTURE[..], &["--out", "rows"]].concat());
    done(d, &[&["moments", "rows", "--out", "later"][..], &by].concat());
    for file in ["groups.csv", "manifest.json"] {
        let read = |folder: &str| fs::read_to_string(d.join(folder).join(file)).unwrap();
        if file == "groups.csv" {
            assert_eq!(read("o"), read("later"));
            // Personas of two roles, all and filtered.
            assert_eq!(read("o").lines().count(), 1 + 5 * 2 * 2);
        }
    }
    let numbers = |folder: &str| {
        let bytes = fs::read(d.join(folder).join("moments.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let of = |name: &str| -> Vec<f64> {
            let t = file.tensor(name).unwrap();
            t.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        };
        [of("mean/resid_post.3"), of("m2/resid_post.3"), of("weight")].concat()
    };
    let (run, later) = (numbers("o"), numbers("later"));
    assert!(run.len() == later.len() && run.len() > 96 * 2 * 10);
    for (a, b) in run.iter().zip(&later) {
        assert!((a - b).abs() <= 1e-11 * a.abs().max(1.0), "{a} {b}");
    }
    let (code, out, _) = super::commands::run(d, &["inspect", "o"]);
    assert!(code == 0, "{out}");
    refused(d, &["moments", "rows", "--out", "rows"], "the folder of the rows");
    refused(d, &["moments", "rows", "--out", "later"], "something else");
    refused(d, &["moments", "rows", "--by", "nothing", "--out", "x"], "`nothing`");
}

#[test]
fn directions_are_projected_on_with_quantiles() {
    let dir = prompts();
    let d = dir.path();
    let axis: Vec<u8> = (0..96).flat_map(|i| if i == 5 { 2.0f32 } else { 0.0 }.to_le_bytes()).collect();
    let view = |shape: &[usize]| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &axis);
    let save = |name: &str, key: &str, shape: &[usize]| {
        let bytes = safetensors::serialize([(key, view(shape).unwrap())], None).unwrap();
        fs::write(d.join(name), bytes).unwrap();
    };
    save("axis.safetensors", "warm/resid_post.2", &[96]);
    let moments = ["--keep", "both", "--project", "axis.safetensors"];
    done(d, &[&CAPTURE[..], &moments, &["--out", "o"]].concat());
    let csv = fs::read_to_string(d.join("o/projections.csv")).unwrap();
    let cells: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
    let cell = |name: &str| cells[1][cells[0].iter().position(|c| *c == name).unwrap()];
    assert_eq!((cell("site"), cell("direction"), cell("count")), ("resid_post.2", "warm", "60"));
    let bytes = fs::read(d.join("o/activations.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor("resid_post.2").unwrap().data();
    // The direction is made a unit vector: coordinate 5 as it is.
    let mut values: Vec<f64> =
        data.chunks_exact(4 * 96).map(|r| f64::from(f32::from_le_bytes(r[20..24].try_into().unwrap()))).collect();
    values.sort_by(f64::total_cmp);
    let number = |name: &str| cell(name).parse::<f64>().unwrap();
    assert!((number("min") - values[0]).abs() < 1e-6 && (number("max") - values[59]).abs() < 1e-6);
    let median = number("p50");
    let near = |v: f64| (median - v).abs() <= 0.0011 * v.abs();
    assert!(near(values[29]) || near(values[30]), "{median} {values:?}");

    save("other.safetensors", "warm/resid_post.2", &[2, 48]);
    save("noname.safetensors", "warm", &[96]);
    for (file, says) in [("other", "[2, 48]"), ("noname", "names no site"), ("nowhere", "nowhere.safetensors")] {
        let file = format!("{file}.safetensors");
        refused(d, &[&CAPTURE[..], &["--keep", "both", "--project", &file, "--out", "x"]].concat(), says);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let dir = prompts();
    let d = dir.path();
    for (more, says) in [
        (&["--by", "persona"][..], "rows alone are kept"),
        (&["--keep", "moments", "--by", "nothing"], "`nothing`"),
        (&["--keep", "moments", "--filter", "persona>2"], "no number"),
        (&["--keep", "moments", "--by", "persona", "--weight", "persona"], "no weight"),
        (&["--positions", "3"], "--positions with another pick"),
        (&["--keep", "both", "--covariance", "auto", "--sites", "logits"], "covariance of logits"),
        (&["--role", "narrator"], "`narrator`"),
    ] {
        refused(d, &[&CAPTURE[..], more, &["--out", "x"]].concat(), says);
    }
    refused(d, &["capture", "--prompts", "p.jsonl", "--pick", "positions", "--out", "x"], "without positions");
    for wrong in [["--shard", "2/2"], ["--shard", "x"], ["--covariance", "half"], ["--filter", "score"]] {
        let (code, _, err) = run(d, &[&CAPTURE[..], &wrong, &["--out", "x"]].concat());
        assert!(code == 2 && err.contains(wrong[1]), "{err}");
    }
    assert!(!d.join("x").exists());
}

#[test]
fn positions_and_template_tokens_are_kept_where_they_are_asked_for() {
    let dir = prompts();
    let d = dir.path();
    let base = ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.0"];
    let ids = |out: &str, more: &[&str]| -> Vec<String> {
        done(d, &[&base[..], more, &["--out", out]].concat());
        let csv = fs::read_to_string(d.join(out).join("rows.csv")).unwrap();
        let of_c0 = csv.lines().map(|l| l.split(',').collect::<Vec<_>>()).filter(|l| l[1] == "c0");
        of_c0.map(|l| l[3].to_string()).collect()
    };
    let (all, said) = (ids("all", &["--template-tokens"]), ids("said", &[]));
    // All of them are the prompt again, token by token.
    let shown = done(d, &["template", "--prompts", "p.jsonl", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let first = shown["prompts"][0]["tokens"].as_array().unwrap();
    let tokens: Vec<String> = first.iter().map(|t| t["id"].to_string()).collect();
    assert_eq!(all, tokens);
    assert!(said.len() < all.len() && said.iter().all(|t| all.contains(t)));
    let ends = ids("ends", &["--pick", "positions", "--positions", "0,-1"]);
    assert_eq!(ends, [all[0].clone(), all[all.len() - 1].clone()]);
    let users = ids("users", &["--role", "user"]);
    assert!(!users.is_empty() && users.len() < said.len() && said.starts_with(&users));
}

#[test]
fn parts_are_joined_and_an_empty_one_is_a_part_too() {
    let dir = prompts();
    let d = dir.path();
    let small = ["--max-batch-tokens", "400"];
    done(d, &[&CAPTURE[..], &small, &["--out", "whole"]].concat());
    let units = json(d.join("whole/run.json"))["units"].as_u64().unwrap();
    let n = units + 1;
    let parts: Vec<String> = (0..n).map(|i| format!("part-{i}")).collect();
    for (i, part) in parts.iter().enumerate() {
        done(d, &[&CAPTURE[..], &small, &["--shard", &format!("{i}/{n}"), "--out", part]].concat());
    }
    assert_eq!(json(d.join(&parts[units as usize]).join("manifest.json"))["rows"], 0);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    refused(d, &[&["capture-merge", "--out", "x"][..], &parts[1..]].concat(), "missing: 0");
    done(d, &[&["capture-merge", "--out", "joined"][..], &parts].concat());
    for file in ["activations.safetensors", "rows.csv", "manifest.json"] {
        assert!(
            fs::read(d.join("whole").join(file)).unwrap() == fs::read(d.join("joined").join(file)).unwrap(),
            "{file}"
        );
    }
    let (a, b) = (json(d.join("whole/run.json")), json(d.join("joined/run.json")));
    for key in ["plan_hash", "rows", "sites", "files", "rows_computed"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    assert!(b["share"].is_null() && b["merged_from"] == n);
    let (code, out, _) = run(d, &["inspect", "joined"]);
    assert!(code == 0, "{out}");
}
