//! Models by name: a hub of our own on loopback, and caches made by hand.
#![cfg(feature = "hub")]

use assert_cmd::Command;
use personascope::model::{Model, Source};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a checkpoint by name.
fn files_of(name: &str) -> BTreeMap<String, Vec<u8>> {
    let file =
        |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap());
    let all = fs::read_dir(fixture(name)).unwrap().map(|e| file(e.unwrap()));
    // What the tests compare with is no part of the checkpoint.
    all.filter(|(name, _)| !name.starts_with("expected") && name != "bf16.json").collect()
}

/// What the hub does wrong with a file.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Closes the connection in the middle of the body.
    Cut,
    /// Sends other bytes.
    Other,
    /// Begins at the first byte, wherever it was asked to begin.
    FromTheStart,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Every answer is this status.
    status: Option<u16>,
    /// Answers 401 without this.
    token: Option<String>,
    /// The next answers for a file go wrong in these ways.
    faults: Vec<(String, Fault)>,
    /// Path and first byte asked for.
    asked: Vec<(String, u64)>,
}

struct FakeHub {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl FakeHub {
    fn new(files: BTreeMap<String, Vec<u8>>) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever hangs up in the middle is no failure of the hub.
                let _ = answer(stream.unwrap(), &shared);
            }
        });
        FakeHub { endpoint, state }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

/// Answers one request as the hub does.
fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().unwrap()?.split(' ').nth(1).unwrap().to_string();
    let (mut range, mut token) = (None, None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "range" => range = value.strip_prefix("bytes=").map(String::from),
            "authorization" => token = value.strip_prefix("Bearer ").map(String::from),
            _ => {}
        }
    }
    let (from, to) = range.as_deref().and_then(|r| r.split_once('-')).unwrap_or(("0", ""));
    let from: u64 = from.parse().unwrap();
    let mut state = state.lock().unwrap();
    let probe = to == "0";
    if !probe {
        state.asked.push((path.clone(), from));
    }
    let fails = state.status.or_else(|| state.token.as_ref().filter(|t| token.as_ref() != Some(t)).map(|_| 401));
    let mut out = stream;
    let mut plain = |status: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes()))
    };
    if let Some(status) = fails {
        return plain(&format!("{status} No"), "");
    }
    if path.starts_with("/api/models/org/name/revision/") {
        let siblings: Vec<_> = state.files.keys().map(|f| serde_json::json!({ "rfilename": f })).collect();
        return plain("200 OK", &serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string());
    }
    let name = path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/")).unwrap_or_default().to_string();
    let Some(body) = state.files.get(&name).cloned() else { return plain("404 Not Found", "") };
    if from >= body.len() as u64 {
        return plain("416 Range Not Satisfiable", "");
    }
    // Large files are named by their SHA-256, small ones by git's hash.
    let etag = match name.ends_with(".safetensors") {
        true => format!("{:x}", Sha256::digest(&body)),
        false => format!("{:x}", Sha256::digest(&body))[..40].to_string(),
    };
    let fault = match state.faults.iter().position(|(file, _)| *file == name) {
        Some(i) if !probe => Some(state.faults.remove(i).1),
        _ => None,
    };
    let mut part = match (probe, fault) {
        (true, _) => body[..1].to_vec(),
        (_, Some(Fault::FromTheStart)) => body.clone(),
        _ => body[from as usize..].to_vec(),
    };
    if fault == Some(Fault::Other) {
        part.iter_mut().for_each(|b| *b ^= 1);
    }
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\nETag: \"{etag}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        part.len(),
        body.len() - 1,
        body.len(),
    );
    let sent = if fault == Some(Fault::Cut) { part.len() / 2 } else { part.len() };
    out.write_all(head.as_bytes())?;
    out.write_all(&part[..sent])
}

/// The program with nothing of the hub in its environment but what is given.
fn run(home: &Path, variables: &[(&str, &str)], args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_personascope"));
    for (name, _) in std::env::vars() {
        let lower = name.to_lowercase();
        if lower.starts_with("hf_")
            || lower.starts_with("hugging")
            || lower.contains("proxy")
            || lower.contains("offline")
        {
            command.env_remove(name);
        }
    }
    let out =
        command.current_dir(home).env("HF_HOME", home).envs(variables.iter().copied()).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn inspect(home: &Path, variables: &[(&str, &str)]) -> (i32, String, String) {
    run(home, variables, &["inspect", "org/name"])
}

fn refused(found: (i32, String, String), words: &[&str]) {
    let (code, _, err) = found;
    assert!(code == 2 && !err.contains("panicked"), "{err}");
    for word in words.iter().chain(&["hint: "]) {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
}

fn hash(out: &str) -> String {
    out.lines().find_map(|l| l.strip_prefix("hash ")).unwrap_or_else(|| panic!("no hash: {out}")).trim().into()
}

fn folder_hash(name: &str) -> String {
    Model::load(&Source::Dir(fixture(name))).unwrap().hash
}

/// Files of the snapshot, sorted.
fn snapshot(home: &Path) -> Vec<String> {
    let dir = home.join("hub/models--org--name/snapshots").join(COMMIT);
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A port where nobody listens.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn a_model_is_fetched_once_and_then_read_from_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let mut files = files_of("llama_f16");
    let wanted: Vec<String> = files.keys().cloned().collect();
    for other in ["pytorch_model.bin", "README.md", "model.gguf", "onnx/model.onnx"] {
        files.insert(other.into(), b"not wanted".to_vec());
    }
    let hub = FakeHub::new(files);
    let env = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let (code, out, err) = inspect(home.path(), &env);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("org/name@{COMMIT}")), "{out}");
    assert!(err.contains("fetching model.safetensors"), "{err}");
    assert_eq!(hash(&out), folder_hash("llama_f16"));
    assert_eq!(snapshot(home.path()), wanted, "these files and no others");
    let repo = home.path().join("hub/models--org--name");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read_dir(repo.join("refs")).unwrap().count(), 1);
    assert!(
        fs::read_dir(repo.join("blobs")).unwrap().all(|b| b.unwrap().path().extension().is_none_or(|e| e == "lock"))
    );

    // The second time it asks what `main` is now, and nothing else.
    hub.asked();
    let (code, again, err) = inspect(home.path(), &env);
    assert!(code == 0 && !err.contains("fetching"), "{err}");
    assert_eq!(again, out);
    assert_eq!(hub.asked(), [("/api/models/org/name/revision/main".to_string(), 0)]);

    // A commit is what it is: nobody is asked. Nor where that is forbidden.
    let by_commit = run(home.path(), &env, &["inspect", &format!("org/name@{COMMIT}")]);
    assert_eq!((by_commit.0, hash(&by_commit.1)), (0, hash(&out)));
    let (code, offline, err) = inspect(home.path(), &[env[0], ("HF_HUB_OFFLINE", "1")]);
    assert!(code == 0 && err.is_empty(), "{err}");
    assert_eq!(offline, out);
    assert!(hub.asked().is_empty());

    // Where nobody answers the cache is used, and that is said. A hub in trouble is no better.
    let (code, cut_off, err) = inspect(home.path(), &[("HF_ENDPOINT", &nobody())]);
    assert!(code == 0 && err.contains("warning: the hub cannot be reached") && err.contains(COMMIT), "{err}");
    assert_eq!(cut_off, out);
    hub.set(|s| s.status = Some(503));
    let (code, _, err) = inspect(home.path(), &env);
    assert!(code == 0 && err.contains("503"), "{err}");
}

#[test]
fn a_run_records_the_commit() {
    let home = tempfile::tempdir().unwrap();
    let hub = FakeHub::new(files_of("llama_sharded"));
    fs::write(home.path().join("p.jsonl"), "{\"id\":\"a\",\"tokens\":[1,5,6]}\n").unwrap();
    let args = ["capture", "--model", "org/name@v1", "--dtype", "bf16", "--prompts", "p.jsonl", "--out", "o"];
    let (code, _, err) = run(home.path(), &[("HF_ENDPOINT", &hub.endpoint)], &args);
    assert_eq!(code, 0, "{err}");
    let run: serde_json::Value = serde_json::from_slice(&fs::read(home.path().join("o/run.json")).unwrap()).unwrap();
    assert_eq!(run["model"]["revision"], COMMIT);
    assert_eq!(run["model"]["name"], format!("org/name@{COMMIT}"));
    assert_eq!(run["dtype"], "bf16");
    assert_ne!(run["model"]["hash"], folder_hash("llama_sharded"), "rounded weights are another model");
    assert_eq!(fs::read_to_string(home.path().join("hub/models--org--name/refs/v1")).unwrap(), COMMIT);
    assert!(snapshot(home.path()).contains(&"model-00002-of-00002.safetensors".to_string()));
}

#[test]
fn a_download_that_is_cut_goes_on_and_one_that_is_damaged_begins_again() {
    let whole = files_of("llama_f16");
    let size = whole["model.safetensors"].len() as u64;
    let file = "model.safetensors";
    let asked_for = |faults: &[Fault], part: Option<&[u8]>| {
        let home = tempfile::tempdir().unwrap();
        let hub = FakeHub::new(whole.clone());
        hub.set(|s| s.faults = faults.iter().map(|f| (file.to_string(), *f)).collect());
        if let Some(part) = part {
            let blobs = home.path().join("hub/models--org--name/blobs");
            fs::create_dir_all(&blobs).unwrap();
            fs::write(blobs.join(format!("{:x}.part", Sha256::digest(&whole[file]))), part).unwrap();
        }
        let found = inspect(home.path(), &[("HF_ENDPOINT", &hub.endpoint)]);
        let starts: Vec<u64> =
            hub.asked().into_iter().filter(|(p, _)| p.ends_with(file)).map(|(_, from)| from).collect();
        if found.0 == 0 {
            assert_eq!(hash(&found.1), folder_hash("llama_f16"));
        } else {
            assert!(!snapshot(home.path()).contains(&file.to_string()), "what is damaged is not kept");
        }
        (found, starts)
    };
    let half = size / 2;
    let fine = |(found, starts): ((i32, String, String), Vec<u64>), expected: &[u64]| {
        assert_eq!(found.0, 0, "{}", found.2);
        assert_eq!(starts, expected);
    };
    fine(asked_for(&[], None), &[0]);
    // Half of it, then half of the rest, then what is left.
    fine(asked_for(&[Fault::Cut, Fault::Cut], None), &[0, half, half + (size - half) / 2]);
    // What an earlier command left behind: a beginning, other bytes, the whole, more than the whole.
    fine(asked_for(&[], Some(&whole[file][..1000])), &[1000]);
    fine(asked_for(&[], Some(&[7; 1000])), &[1000, 0]);
    fine(asked_for(&[], Some(&whole[file])), &[size, 0]);
    fine(asked_for(&[], Some(&vec![7; size as usize + 1])), &[0]);
    // A hub that does not go on where it was asked to.
    fine(asked_for(&[Fault::Cut, Fault::FromTheStart], None), &[0, half, 0]);
    fine(asked_for(&[Fault::Other], None), &[0, 0]);
    let (found, starts) = asked_for(&[Fault::Other; 9], None);
    refused(found, &["`model.safetensors` of `org/name`", "damaged"]);
    assert_eq!(starts, [0; 4]);
}

#[test]
fn a_model_that_needs_an_account_says_what_to_do_and_takes_the_token() {
    let home = tempfile::tempdir().unwrap();
    let hub = FakeHub::new(files_of("llama_f16"));
    hub.set(|s| s.token = Some("hf_mine".into()));
    let env = ("HF_ENDPOINT", hub.endpoint.as_str());
    let page = format!("{}/org/name", hub.endpoint);
    refused(inspect(home.path(), &[env]), &["`org/name` (401)", "no token was sent", "HF_TOKEN", "licence", &page]);
    refused(inspect(home.path(), &[env, ("HF_TOKEN", "hf_other")]), &["401", "the token that was sent may not"]);
    assert_eq!(inspect(home.path(), &[env, ("HF_TOKEN", "hf_mine")]).0, 0);
    hub.set(|s| s.status = Some(403));
    refused(inspect(home.path(), &[env, ("HF_TOKEN", "hf_mine")]), &["403", "licence"]);

    let home = tempfile::tempdir().unwrap();
    hub.set(|s| s.status = None);
    fs::write(home.path().join("token"), "hf_mine\n").unwrap();
    assert_eq!(inspect(home.path(), &[env]).0, 0, "the token of the file");
}

#[test]
fn what_is_no_model_is_refused_before_anything_is_fetched() {
    let home = tempfile::tempdir().unwrap();
    let hub = FakeHub::new(BTreeMap::new());
    let env = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let whole = files_of("llama_f16");
    let without = |file: &str, more: &str| {
        let mut files = whole.clone();
        files.remove(file);
        files.insert(more.into(), vec![1]);
        hub.set(|s| s.files = files);
        let found = inspect(home.path(), &env);
        assert_eq!(hub.asked().len(), 1, "only what there is was asked");
        found
    };
    refused(
        without("model.safetensors", "pytorch_model.bin"),
        &["no safetensors", "pytorch_model.bin", "save_pretrained"],
    );
    refused(without("config.json", "adapter_config.json"), &["no config.json"]);
    refused(without("tokenizer.json", "tokenizer.model"), &["no tokenizer.json"]);
    hub.set(|s| s.status = Some(404));
    refused(inspect(home.path(), &env), &["no `org/name` at `main` (404)", "spelling"]);
    refused(run(home.path(), &env, &["inspect", "org/name@v9"]), &["at `v9`"]);
    refused(inspect(home.path(), &[("HF_ENDPOINT", &nobody())]), &["cannot be reached", "not in the cache"]);
    refused(inspect(home.path(), &[("HF_HUB_OFFLINE", "1")]), &["HF_HUB_OFFLINE", "not in the cache", "HF_HOME"]);
}

/// A cache as the hub's own tools make it: blobs, and snapshots that point to them.
#[cfg(unix)]
fn cache_by_hand(home: &Path, name: &str) -> PathBuf {
    let repo = home.join("hub/models--org--name");
    let snapshot = repo.join("snapshots").join(COMMIT);
    for dir in [&snapshot, &repo.join("blobs"), &repo.join("refs")] {
        fs::create_dir_all(dir).unwrap();
    }
    for (i, (file, bytes)) in files_of(name).into_iter().enumerate() {
        fs::write(repo.join(format!("blobs/b{i}")), bytes).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/b{i}"), snapshot.join(file)).unwrap();
    }
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    snapshot
}

#[cfg(unix)]
#[test]
fn a_cache_made_by_other_tools_is_read_and_what_it_lacks_is_listed() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache_by_hand(home.path(), "llama_sharded");
    let offline = [("HF_HUB_OFFLINE", "1")];
    let (code, out, err) = inspect(home.path(), &offline);
    assert_eq!(code, 0, "{err}");
    assert_eq!(hash(&out), folder_hash("llama_sharded"));
    let elsewhere = home.path().join("hub").display().to_string();
    let (code, ..) = run(
        home.path(),
        &[("HF_HOME", "/nowhere"), ("HF_HUB_CACHE", &elsewhere), offline[0]],
        &["inspect", "org/name"],
    );
    assert_eq!(code, 0, "HF_HUB_CACHE comes first");
    refused(run(home.path(), &offline, &["inspect", "org/name@other"]), &["at `other` is not in the cache"]);

    // A folder of that name comes before the hub.
    fs::create_dir_all(home.path().join("org/name")).unwrap();
    refused(run(home.path(), &offline, &["capture", "--model", "org/name", "--prompts", "p", "--out", "o"]), &["p"]);
    fs::remove_dir_all(home.path().join("org")).unwrap();

    // Interrupted: one shard is missing, another points to a blob that is not there any more.
    fs::remove_file(snapshot.join("model-00002-of-00002.safetensors")).unwrap();
    let blob = fs::canonicalize(snapshot.join("model-00001-of-00002.safetensors")).unwrap();
    fs::remove_file(blob).unwrap();
    let missing = ["in part", "model-00001-of-00002.safetensors, model-00002-of-00002.safetensors"];
    refused(inspect(home.path(), &offline), &missing);
    // With a network it is completed.
    let hub = FakeHub::new(files_of("llama_sharded"));
    let (code, out, err) = inspect(home.path(), &[("HF_ENDPOINT", &hub.endpoint)]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(hash(&out), folder_hash("llama_sharded"));
    assert_eq!(hub.asked().len(), 3, "the question and two files");
}
