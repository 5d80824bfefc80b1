//! What the page shows is what the other commands compute.

use super::{GROUP, plain, repository, served, shared, vector};
use personascope::axes::Site;
use personascope::model::{Model, Source};
use personascope::store::Store;
use personascope::text::prompts::Prompt;
use personascope::vectors::{self, ReadOptions};
use serde_json::{Value, json};
use served::{Client, of_kind};
use std::fs;
use std::path::Path;
use std::process::Command;

const QUESTIONS: [&str; 4] =
    ["Tell me about tea.", "What is the weather doing?", "How do you bake bread?", "Who are you?"];

/// The 20 conversations that are held beside the one that is looked at, and that one.
fn many() -> Vec<Value> {
    let one = |i: usize| {
        let mut ask = plain(&format!("c-{i}"), QUESTIONS[i % QUESTIONS.len()]);
        ask["seed"] = json!(i / 2);
        if i % 3 == 1 {
            let more =
                [json!({ "role": "assistant", "content": "Gladly." }), json!({ "role": "user", "content": "Go on." })];
            ask["messages"].as_array_mut().unwrap().extend(more);
        }
        ask
    };
    (0..21).map(one).collect()
}

/// Tokens of the first arm.
fn tokens(client: &Client, ask: &Value) -> Value {
    let events = client.replies(ask);
    assert!(of_kind(&events, "error").is_empty(), "{events:?}");
    let done = of_kind(&events, "done")[0];
    let streamed: Vec<Value> = of_kind(&events, "token").iter().map(|t| t["id"].clone()).collect();
    assert_eq!(done["tokens"], json!(streamed), "what was streamed is the reply");
    let text: String = of_kind(&events, "token").iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(done["text"], json!(text));
    assert_eq!(events.last().unwrap().0, "end");
    done["tokens"].clone()
}

/// Runs the program; what it printed.
fn run(args: &[&str], dir: &Path) -> String {
    let done = Command::new(served::binary()).args(args).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// What `generate` draws for the same prompts.
fn generated(asks: &[Value]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let turn = |ask: &Value| ask["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "assistant").count();
    let line = |ask: &Value| {
        let id = format!("{}/{}", ask["conversation"].as_str().unwrap(), turn(ask));
        json!({ "id": id, "seed": ask["seed"], "messages": ask["messages"] }).to_string() + "\n"
    };
    fs::write(dir.path().join("p.jsonl"), asks.iter().map(line).collect::<String>()).unwrap();
    let out = run(&["generate", "--prompts", "p.jsonl", "--max-new-tokens", "40", "--temperature", "1"], dir.path());
    out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["tokens"].clone()).collect()
}

#[test]
fn replies_are_those_of_generate_alone_and_while_twenty_others_are_drawn() {
    let (_place, client) = shared();
    let asks = many();
    let want = generated(&asks);
    assert!(want.iter().all(|t| t.as_array().unwrap().len() > 3), "{want:?}");
    assert_eq!(tokens(&client, &asks[0]), want[0]);
    assert_eq!(tokens(&client, &asks[1]), want[1]);
    let all: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = asks.iter().map(|ask| scope.spawn(|| tokens(&client, ask))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for ((ask, got), want) in asks.iter().zip(all).zip(want) {
        assert_eq!(got, want, "{ask}");
    }
}

#[test]
fn arms_of_one_request_are_the_replies_that_each_would_have_alone() {
    let (_place, client) = shared();
    let id = vector(&client);
    let edit = |strength: &str| json!({ "vector": id, "site": "resid_post.2", "op": "shift", "on": "last_prompt+generated", "strength": strength });
    let mut arms = vec![json!({ "name": "plain" }), json!({ "name": "warm", "adapter": "warm" })];
    arms.extend(["-8", "-4", "4", "8"].map(|s| json!({ "name": s, "edits": [edit(s)] })));
    let mut ask = plain("arms", "Tell me about tea.");
    ask["arms"] = json!(arms);
    let events = client.replies(&ask);
    let mut together = vec![Value::Null; arms.len()];
    of_kind(&events, "done").iter().for_each(|d| together[d["arm"].as_u64().unwrap() as usize] = d["tokens"].clone());
    for (arm, got) in arms.iter().zip(&together) {
        let mut alone = ask.clone();
        alone["arms"] = json!([arm]);
        assert_eq!(*got, tokens(&client, &alone), "{arm}");
    }
    let different: std::collections::BTreeSet<String> = together.iter().map(Value::to_string).collect();
    assert!(different.len() >= 4, "{together:?}");
    // A share of one prefill, and what edits are to do, they did.
    for done in of_kind(&events, "done").iter().filter(|d| d["arm"].as_u64() > Some(1)) {
        let receipt = &done["receipts"][0];
        assert!(receipt["fault"].is_null() && receipt["changed"].as_u64() > Some(0), "{receipt}");
        assert!(done["quality"]["nll"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn the_command_line_that_is_shown_draws_the_same_reply() {
    let (_place, client) = shared();
    let id = vector(&client);
    let bin = Path::new(served::binary()).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let edits = json!([
        { "vector": id, "site": "resid_post.2", "op": "shift", "on": "last_prompt+generated", "strength": "0.4n" },
        { "vector": id, "site": "resid_post.1", "op": "cap-ceiling", "on": "generated", "strength": "p60" },
    ]);
    client.ready(&format!("/api/default?vector={}", super::quoted(&id)));
    for (arm, steers) in [(json!({}), false), (json!({ "adapter": "warm" }), false), (json!({ "edits": edits }), true)]
    {
        let mut ask = plain("it's $HOME", "What's \"tea\"? `ls` \\n");
        ask["arms"] = json!([arm]);
        let events = client.replies(&ask);
        let command = of_kind(&events, "start")[0]["arms"][0]["command"].as_str().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let done =
            Command::new("sh").args(["-c", command]).current_dir(dir.path()).env("PATH", &path).output().unwrap();
        assert!(done.status.success(), "{command}\n{}", String::from_utf8_lossy(&done.stderr));
        let out = match steers {
            true => fs::read_to_string(dir.path().join("steered/replies.jsonl")).unwrap(),
            false => String::from_utf8(done.stdout).unwrap(),
        };
        let line: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(line["tokens"], of_kind(&events, "done")[0]["tokens"], "{command}");
    }
}

/// The unit vectors of the group by site.
fn units() -> Vec<(Site, Vec<f32>)> {
    let path = repository().join("notebooks-data/drift/directions.safetensors");
    let file = vectors::read(&path, None, ReadOptions::default()).unwrap();
    file.vectors.into_iter().filter(|v| v.name == GROUP).map(|v| (v.site, v.unit)).collect()
}

/// Projections of every token of a prompt on the group, from what `capture` writes: by site.
fn captured(line: &Value) -> Vec<(Site, Vec<f64>)> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p.jsonl"), format!("{line}\n")).unwrap();
    let units = units();
    let sites: Vec<String> = units.iter().map(|(s, _)| s.to_string()).collect();
    let sites = sites.join(",");
    run(
        &["capture", "--prompts", "p.jsonl", "--sites", &sites, "--pick", "all", "--template-tokens", "--out", "acts"],
        dir.path(),
    );
    let store = Store::open(&dir.path().join("acts")).unwrap();
    let project = |(site, unit): (Site, Vec<f32>)| {
        let values = store.read(site, 0..store.manifest.rows).unwrap();
        let dot = |row: &[f32]| row.iter().zip(&unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum::<f64>();
        (site, values.chunks(unit.len()).map(dot).collect())
    };
    units.into_iter().map(project).collect()
}

/// The largest difference between what a page shows and what was captured, by site.
fn worst(shown: &[Value], sites: &Value, want: &[(Site, Vec<f64>)], what: &str) -> f64 {
    let sites: Vec<Site> = serde_json::from_value(sites.clone()).unwrap();
    assert_eq!(sites.len(), shown.len(), "{what}");
    let mut worst = 0.0f64;
    for (site, z) in sites.iter().zip(shown) {
        let want = &want.iter().find(|(s, _)| s == site).unwrap_or_else(|| panic!("{site}")).1;
        let z: Vec<f64> = z.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(z.len(), want.len(), "{what} at {site}");
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(size > 0.1, "{what} at {site}: nothing to compare");
        worst = z.iter().zip(want).fold(worst, |m, (a, b)| m.max((a - b).abs()));
    }
    worst
}

#[test]
fn projections_are_those_of_captured_rows() {
    let (_place, client) = shared();
    let id = vector(&client);
    let mut ask = plain("seen", "Tell me about tea.");
    ask["messages"].as_array_mut().unwrap().insert(0, json!({ "role": "system", "content": "You are Bodek." }));
    ask["read"] = json!([id]);
    let events = client.replies(&ask);
    let (start, done) = (of_kind(&events, "start")[0], of_kind(&events, "done")[0]);
    let sites = &start["sites"][&id];

    // Prompt and reply as they were drawn, in tokens.
    let model = Model::load(&Source::toyworld()).unwrap();
    let prompt = json!({ "id": "a", "messages": ask["messages"] }).to_string();
    let prompt = Prompt::parse_lines("p", &prompt).unwrap().remove(0).encode(&model.text).unwrap().tokens;
    assert_eq!(start["prompt"].as_array().unwrap().len(), prompt.len());
    let reply: Vec<u32> = serde_json::from_value(done["tokens"].clone()).unwrap();
    let all = [prompt.clone(), reply.clone()].concat();
    let want = captured(&json!({ "id": "a", "tokens": all }));
    let columns = of_kind(&events, "prompt")[0]["z"][&id].as_array().unwrap().clone();
    let values = of_kind(&events, "z");
    assert_eq!(values.len(), reply.len(), "every token is projected");
    let seen: Vec<Value> = columns
        .iter()
        .enumerate()
        .map(|(s, column)| {
            let prompt = column.as_array().unwrap().iter().cloned();
            prompt.chain(values.iter().map(|v| v["z"][&id][s].clone())).collect()
        })
        .collect();
    let off = worst(&seen, sites, &want, "as drawn");
    assert!(off < 1e-5, "{off:.1e}");
    // The mean of the reply.
    for (s, mean) in done["mean"][&id].as_array().unwrap().iter().enumerate() {
        let own: Vec<f64> = values.iter().map(|v| v["z"][&id][s].as_f64().unwrap()).collect();
        let expected = own.iter().sum::<f64>() / own.len() as f64;
        assert!((mean.as_f64().unwrap() - expected).abs() < 1e-6, "{mean} {expected}");
    }

    // The same conversation read after the fact.
    let mut messages = ask["messages"].clone();
    messages.as_array_mut().unwrap().push(json!({ "role": "assistant", "content": done["text"] }));
    let measured = client.post("/api/measure", &json!({ "messages": messages, "read": [id] })).json();
    let want = captured(&json!({ "id": "a", "messages": messages }));
    let off = worst(measured["z"][&id].as_array().unwrap(), &measured["sites"][&id], &want, "measured");
    assert!(off < 1e-5, "{off:.1e}");
    assert_eq!(measured["turns"].as_array().unwrap().len(), 1);
}
