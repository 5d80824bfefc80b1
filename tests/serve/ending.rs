//! Clients that go away, servers that are told to end.

use super::{plain, served, shared};
use serde_json::{Value, json};
use served::{Client, Server};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Arms that would take far longer than any test waits.
fn long(conversation: &str) -> Value {
    let mut ask = plain(conversation, "Tell me about tea.");
    ask["max_new_tokens"] = json!(400);
    // Flat enough that hardly any reply ends by itself.
    ask["temperature"] = json!(3.0);
    ask["arms"] = json!(vec![json!({}); 16]);
    ask
}

fn under_way(client: &Client) -> u64 {
    let status = client.get("/api/status").json();
    status["active"].as_u64().unwrap() + status["queued"].as_u64().unwrap()
}

/// Waits until nothing is under way; how long that took.
fn settled(client: &Client, within: Duration) -> Duration {
    let begun = Instant::now();
    while under_way(client) > 0 {
        assert!(begun.elapsed() < within, "{}", client.get("/api/status").text());
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn a_client_that_vanishes_frees_its_arms_before_they_are_done() {
    let server = Server::start(&["--dir", &empty().path().display().to_string()]);
    let client = server.client();
    settled(&client, Duration::from_secs(60));
    // What all of it takes when somebody listens to the end.
    let begun = Instant::now();
    let asks: Vec<Value> = (0..6).map(|i| long(&format!("long-{i}"))).collect();
    let all: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = asks.iter().map(|ask| scope.spawn(|| client.replies(ask).len())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let whole = begun.elapsed();
    assert!(all > 6 * 16 * 50, "{all} events: too little to interrupt");

    let mut listening: Vec<_> = asks.iter().map(|ask| client.reply(ask)).collect();
    // All of them have begun.
    listening.iter_mut().for_each(|events| assert!(events.any(|(kind, _)| kind == "token")));
    assert!(under_way(&client) > 0);
    drop(listening);
    let took = settled(&client, Duration::from_secs(60));
    assert!(took < whole, "{took:?}, and {whole:?} to the end");
    // The one that comes next has the model to itself.
    assert!(client.replies(&plain("next", "Hello.")).iter().any(|(kind, _)| kind == "done"));
}

#[test]
fn what_one_client_breaks_off_does_not_change_what_another_hears() {
    let (_place, client) = shared();
    let ask = plain("stays", "How do you bake bread?");
    let alone = client.replies(&ask);
    let mut others: Vec<_> = (0..4).map(|i| client.reply(&long(&format!("goes-{i}")))).collect();
    let mut heard = Vec::new();
    for (i, event) in client.reply(&ask).enumerate() {
        if i % 3 == 0 {
            others.pop();
        }
        heard.push(event);
    }
    drop(others);
    let tokens = |events: &[(String, Value)]| served::of_kind(events, "done")[0]["tokens"].clone();
    assert_eq!(tokens(&heard), tokens(&alone));
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().flatten();
    all.flat_map(|e| if e.path().is_dir() { files(&e.path()) } else { vec![e.path()] }).collect()
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_within_a_second_and_nothing_is_half_written() {
    for signal in ["INT", "TERM"] {
        let folder = empty();
        let mut server = Server::start(&["--dir", &folder.path().display().to_string()]);
        let client = server.client();
        // Replies that are drawn, one that waits, a connection that says nothing, and one in the middle of its head.
        let mut streams: Vec<_> = (0..6).map(|i| client.reply(&long(&format!("c-{i}")))).collect();
        streams.iter_mut().take(2).for_each(|s| assert!(s.next().is_some()));
        let mut idle = client.connect();
        let mut half = client.connect();
        half.write_all(b"POST /api/vectors/save HTTP/1.1\r\nhost: 127").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        server.signal(signal);
        let begun = Instant::now();
        let status = server.ended(Duration::from_secs(5)).expect("it ends");
        // A second is what is promised; a machine that runs other tests beside this one gets four.
        println!("{signal}: ended in {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(4), "{signal}: {:?}", begun.elapsed());
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        // Streams end; they do not hang.
        streams.into_iter().for_each(|s| assert!(s.count() < 100_000));
        let mut nothing = Vec::new();
        let _ = idle.read_to_end(&mut nothing);
        assert!(nothing.is_empty());
        assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_does_not_wait() {
    let folder = empty();
    let mut server = Server::start(&["--dir", &folder.path().display().to_string()]);
    // A client that keeps its connection is given a little time, after the first signal.
    let mut kept = server.client().connect();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(kept.read(&mut [0; 16]).unwrap() > 0);
    let begun = Instant::now();
    server.signal("INT");
    std::thread::sleep(Duration::from_millis(50));
    server.signal("INT");
    let apart = begun.elapsed();
    let status = server.ended(Duration::from_secs(5)).expect("it ends");
    // On a machine that is busy beyond measure the first may have ended it before the second came.
    let code = if apart < Duration::from_millis(300) { 130 } else { status.code().unwrap_or(-1) };
    assert_eq!(status.code(), Some(code), "{apart:?}");
}

#[test]
fn it_works_without_results_and_vectors_and_says_so() {
    let folder = empty();
    let server = Server::start(&["--dir", &folder.path().display().to_string()]);
    let client = server.client();
    assert_eq!(client.get("/api/runs").json(), json!([]));
    let marks = client.get("/api/marks").json();
    assert!(marks["run"].is_null() && marks["rows"] == json!([]), "{marks}");
    assert!(client.replies(&plain("c", "Hello.")).iter().any(|(kind, _)| kind == "done"));
    let space = client.ready("/api/space");
    assert!(space["roles"].as_array().unwrap().len() > 5, "{space}");
    // What was computed is there to read with.
    let vectors = client.get("/api/vectors").json();
    assert!(vectors.as_array().unwrap().iter().any(|v| v["source"] == "persona space"), "{vectors}");
}

#[test]
fn two_servers_do_not_share_a_port_and_the_second_says_what_to_do() {
    let (place, _client) = shared();
    let port = place.server.port.to_string();
    let second = std::process::Command::new(served::binary()).args(["serve", "--port", &port]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2));
    assert!(said.contains(&port) && said.contains("--port 0"), "{said}");
    assert!(second.stdout.is_empty());
    let open = std::process::Command::new(served::binary()).args(["serve", "--host", "0.0.0.0"]).output().unwrap();
    assert!(open.status.code() == Some(2) && String::from_utf8_lossy(&open.stderr).contains("--allow-remote"));
}
