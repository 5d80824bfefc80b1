//! The page's server as a process: what it refuses, that what it answers is what the other commands compute, and that
//! whoever goes away or breaks in leaves nothing behind.

#[path = "serve/ending.rs"]
mod ending;
#[path = "serve/equal.rs"]
mod equal;
mod served;

use serde_json::{Value, json};
use served::{Client, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

/// The vector that is read and steered with, as the server calls it: the file's own and the one of its groups.
pub const GROUP: &str = "in_persona/mean_response";

/// A name and a text that would do something on a page that took them for its own.
const SCRIPT: &str = "<script>pwned=1</script>";

/// A server with a folder of results.
pub struct Place {
    pub server: Server,
    pub folder: tempfile::TempDir,
}

/// The one that the tests share, for as long as any of them runs.
pub fn shared() -> (Arc<Place>, Client) {
    static PLACE: Mutex<Weak<Place>> = Mutex::new(Weak::new());
    let mut place = PLACE.lock().unwrap_or_else(|e| e.into_inner());
    let shared = place.upgrade().unwrap_or_else(|| {
        let folder = served::results(&["drift", "steering"]);
        let card = folder.path().join("card.toml");
        fs::write(&card, format!("name = \"{SCRIPT}\"\ndescription = \"Quiet.\"\n")).unwrap();
        let dir = folder.path().display().to_string();
        let server = Server::start(&["--dir", &dir, "--card", &card.display().to_string(), "--adapter", &warm()]);
        Arc::new(Place { server, folder })
    });
    *place = Arc::downgrade(&shared);
    let client = shared.server.client();
    (shared, client)
}

/// An adapter that is shipped.
fn warm() -> String {
    format!("warm={}", repository().join("src/assets/toyworld/adapters/character0-chat-s0").display())
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The id of the vector of the tests.
pub fn vector(client: &Client) -> String {
    let all = client.get("/api/vectors").json();
    let is_it = |v: &&Value| {
        let (id, source) = (v["id"].as_str().unwrap(), v["source"].as_str().unwrap());
        id.ends_with(GROUP) && source.ends_with("drift/directions.safetensors")
    };
    let found = all.as_array().unwrap().iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {GROUP} in {all:#}"))["id"].as_str().unwrap().into()
}

/// A request for one plain reply.
pub fn plain(conversation: &str, question: &str) -> Value {
    json!({ "conversation": conversation, "seed": 7, "temperature": 1.0, "max_new_tokens": 40, "read": [],
        "messages": [{ "role": "user", "content": question }], "arms": [{ "name": "plain" }] })
}

/// A text as it stands behind a `?`.
pub fn quoted(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The server answers as if nothing had happened.
fn goes_on(client: &Client) {
    let about = client.get("/api/about");
    assert_eq!(about.status, 200, "{}", about.text());
    assert_eq!(about.json()["model"]["name"], "toyworld");
}

#[test]
fn who_may_not_ask_is_refused_and_the_server_goes_on() {
    let (_place, client) = shared();
    let own = format!("127.0.0.1:{}", client.port);
    let ask = |path: &str, headers: &[(&str, &str)]| client.raw(&client.request("GET", path, headers, b"")).status;
    for path in ["/", "/assets/index.html", "/api/about", "/api/nothing"] {
        assert_eq!(ask(path, &[("authorization", "")]), 401, "{path} without a token");
        assert_eq!(ask(path, &[("authorization", "Bearer 0123456789abcdef0123456789abcdef")]), 401, "{path}");
        assert_eq!(ask(&format!("{path}?token=x"), &[("authorization", "")]), 401, "{path}");
        assert_eq!(ask(path, &[("host", "evil.example")]), 403, "{path}");
        assert_eq!(ask(path, &[("host", &format!("evil.example:{}", client.port))]), 403, "{path}");
        assert_eq!(ask(path, &[("origin", "http://evil.example")]), 403, "{path}");
        assert_eq!(ask(path, &[("origin", "null")]), 403, "{path}");
        assert_eq!(ask(path, &[("sec-fetch-site", "cross-site")]), 403, "{path}");
        goes_on(&client);
    }
    assert_eq!(ask("/api/about", &[("origin", &format!("http://{own}"))]), 200);
    assert_eq!(ask(&format!("/api/about?token={}", client.token), &[("authorization", "")]), 200);
    let cookie = format!("personascope-{}={}", client.port, client.token);
    assert_eq!(ask("/api/about", &[("authorization", ""), ("cookie", &cookie)]), 200);
    // What does something is guarded as what reads.
    let body = plain("c", "Tell me about tea.").to_string();
    let json = ("content-type", "application/json");
    for other in [("authorization", ""), ("origin", "http://evil.example"), ("host", "evil.example")] {
        let answer = client.raw(&client.request("POST", "/api/reply", &[json, other], body.as_bytes()));
        assert_eq!(answer.status, if other.0 == "authorization" { 401 } else { 403 }, "{other:?}");
    }
}

#[test]
fn the_page_and_all_that_it_loads_are_served_under_a_strict_policy() {
    let (place, client) = shared();
    let path = place.server.address.rsplit_once('/').unwrap().1;
    let page = client.raw(&client.request("GET", &format!("/{path}"), &[("authorization", "")], b""));
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let mut wanted: Vec<String> = vec![page.text()];
    let mut seen = 0;
    let mut asked = std::collections::BTreeSet::new();
    while let Some(text) = wanted.pop() {
        for quote in ['"', '\''] {
            for word in text.split(quote).filter(|w| w.starts_with("./") || w.starts_with("/assets/")) {
                let name = word.trim_start_matches("./").trim_start_matches("/assets/");
                if !name.ends_with(".js") && !name.ends_with(".css") && !name.ends_with(".svg") {
                    continue;
                }
                if !asked.insert(name.to_string()) {
                    continue;
                }
                let file = client.get(&format!("/assets/{name}"));
                assert_eq!(file.status, 200, "{name}");
                assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
                let kind = file.header("content-type").unwrap();
                assert!(!kind.starts_with("text/plain") && !kind.starts_with("text/html"), "{name}: {kind}");
                seen += 1;
                wanted.push(file.text());
            }
        }
    }
    assert!(seen >= 3, "only {seen} files of the page");
}

#[test]
fn no_name_leads_out_of_its_folder() {
    let (place, client) = shared();
    fs::write(place.folder.path().parent().unwrap().join("personascope-outside.csv"), "a\n1\n").unwrap();
    let outside = [
        "../personascope-outside",
        "../personascope-outside.csv",
        "..",
        "notebooks-data/drift/../../../personascope-outside.csv",
        "/etc/passwd",
        "..\\x",
        "drift\0.csv",
    ];
    let runs = client.get("/api/runs").json();
    let run = runs[0]["id"].as_str().unwrap().to_string();
    for name in outside {
        let q = quoted(name);
        for path in [
            format!("/assets/{q}"),
            format!("/api/table?run={}&table={q}", quoted(&run)),
            format!("/api/table?run={q}&table=turns"),
            format!("/api/download?run={}&file={q}", quoted(&run)),
            format!("/api/download?run={q}&file=run.json"),
            format!("/api/figure?run={}&name={q}", quoted(&run)),
            format!("/api/figure?run={q}&name=drift"),
        ] {
            let answer = client.get(&path);
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(!answer.text().contains("root:"));
        }
        let save = json!({ "file": name, "name": "x", "what": { "vector": vector(&client) } });
        let answer = client.post("/api/vectors/save", &save);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        goes_on(&client);
    }
    // As they stand, without a browser's tidying.
    for path in ["/assets/../mod.rs", "/../../etc/passwd", "/assets/%2e%2e%2fmod.rs"] {
        let status = client.get(path).status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    let beside = place.folder.path().parent().unwrap();
    for stray in ["personascope-outside.safetensors", "personascope-outside.csv.safetensors", "..safetensors"] {
        assert!(!beside.join(stray).exists(), "{stray} was written");
    }
    let _ = fs::remove_file(beside.join("personascope-outside.csv"));
}

#[test]
fn what_cannot_be_understood_is_400_and_what_cannot_be_done_422() {
    let (_place, client) = shared();
    let id = vector(&client);
    let good = json!({ "conversation": "c", "messages": [{ "role": "user", "content": "Hello." }], "read": [],
        "arms": [{ "name": "a", "edits": [
            { "vector": id, "site": "resid_post.2", "op": "shift", "on": "all", "strength": "1" }] }] });
    let text = good.to_string();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1)
    };
    for (status, body) in [
        (400, String::new()),
        (400, "{".into()),
        (400, text[..text.len() - 1].into()),
        (400, changed("\"1\"", "NaN")),
        (400, changed("{", "{\"temperature\":1e999,")),
        (400, "[".repeat(200_000)),
        (422, "[]".into()),
        (422, "{}".into()),
        (422, changed("\"1\"", "1")),
        (422, changed("\"1\"", "\"NaN\"")),
        (422, changed("\"1\"", "\"nan\"")),
        (422, changed("\"1\"", "\"inf\"")),
        (422, changed("\"1\"", "\"1e999\"")),
        (422, changed("\"1\"", "\"p101\"")),
        (422, changed("\"1\"", "\"much\"")),
        (422, changed(&json!(id).to_string(), "\"no such vector\"")),
        (422, changed(&json!(id).to_string(), &json!(SCRIPT).to_string())),
        (422, changed("resid_post.2", "resid_post.99")),
        (422, changed("resid_post.2", "resid_pre.3")),
        (422, changed("\"shift\"", "\"explode\"")),
        (422, changed("\"all\"", "\"positions:x\"")),
        (422, changed("\"user\"", "\"god\"")),
        (422, changed("{", "{\"adapter\":1,")),
        (422, changed("{", "{\"temperature\":-1,")),
        (422, changed("{", "{\"temperature\":\"NaN\",")),
        (422, changed("{", "{\"top_p\":0,")),
        (422, changed("{", "{\"max_new_tokens\":0,")),
        (422, changed("{", "{\"max_new_tokens\":100000000,")),
        (422, changed("{", "{\"seed\":-1,")),
        (422, changed("\"read\":[]", "\"read\":[\"no such vector\"]")),
        (422, json!({ "conversation": "c", "messages": [], "arms": [{}] }).to_string()),
        (422, json!({ "conversation": "c", "messages": good["messages"], "arms": [] }).to_string()),
        (422, json!({ "conversation": "c", "messages": good["messages"], "arms": vec![json!({}); 1000] }).to_string()),
        (422, changed("\"edits\"", "\"adapter\":\"none\",\"edits\"")),
        (422, changed("Hello.", &"tea ".repeat(20_000))),
    ] {
        let answer = client.post_text("/api/reply", &body);
        let start: String = body.chars().take(300).collect();
        assert_eq!(answer.status, status, "{start}: {}", answer.text().chars().take(600).collect::<String>());
        let said = answer.json();
        assert!(said["error"].as_str().is_some_and(|e| !e.is_empty()), "{start}: {said}");
        assert!(said["hint"].as_str().is_some_and(|h| !h.is_empty()), "{start}: {said}");
        assert!(answer.body.len() < 6000, "{start}: {} bytes", answer.body.len());
    }
    goes_on(&client);
    let unknown = |path: &str| client.get(path).status;
    assert_eq!((unknown("/api/default?vector=x"), unknown("/api/default"), unknown("/api/nothing")), (422, 400, 404));
    let measure = json!({ "messages": good["messages"], "read": ["x"] });
    assert_eq!(client.post("/api/measure", &measure).status, 422);
    assert_eq!(client.post("/api/card", &json!({ "toml": "name = " })).status, 422);
    // Said to be something else, and far too much of it.
    let as_form = client.request("POST", "/api/reply", &[("content-type", "text/plain")], text.as_bytes());
    assert_eq!(client.raw(&as_form).status, 415);
    let large = [("content-type", "application/json"), ("content-length", "104857600")];
    assert_eq!(client.raw(&client.request("POST", "/api/reply", &large, b"{")).status, 413);
    goes_on(&client);
    assert!(client.replies(&good).iter().any(|(kind, _)| kind == "done"), "and does what can be done");
}

#[test]
fn texts_that_look_like_markup_stay_texts() {
    let (_place, client) = shared();
    let about = client.get("/api/about");
    assert_eq!(about.header("content-type"), Some("application/json"));
    assert_eq!(about.header("x-content-type-options"), Some("nosniff"));
    let cards = about.json()["cards"].clone();
    let mine = cards.as_array().unwrap().iter().find(|c| c["name"] == SCRIPT).unwrap_or_else(|| panic!("{cards:#}"));
    assert!(mine["system"].as_str().unwrap().contains(SCRIPT));
    let toml = format!("name = '{SCRIPT}'\ndescription = '{SCRIPT}'\n");
    assert_eq!(client.post("/api/card", &json!({ "toml": toml })).json()["name"], SCRIPT);

    let ask = plain("scripted", SCRIPT);
    let events = client.replies(&ask);
    let start = served::of_kind(&events, "start")[0];
    let shown: String = start["prompt"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["span"] == "content")
        .map(|t| t["text"].as_str().unwrap())
        .collect();
    assert!(shown.contains(SCRIPT), "{shown}");
    let export = client.post("/api/export", &json!({ "id": "a", "messages": ask["messages"] }));
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    assert!(export.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(export.json()["messages"][0]["content"], SCRIPT);
}

#[test]
fn tables_are_sorted_filtered_and_downloaded_as_they_are() {
    let (place, client) = shared();
    let runs = client.get("/api/runs").json();
    let drift = runs.as_array().unwrap().iter().find(|r| r["stem"] == "drift").unwrap_or_else(|| panic!("{runs:#}"));
    let run = quoted(drift["id"].as_str().unwrap());
    let turns: PathBuf = place.folder.path().join("notebooks-data/drift/turns.csv");
    let bytes = fs::read(&turns).unwrap();
    let download = client.get(&format!("/api/download?run={run}&file=turns.csv"));
    assert!(download.body == bytes, "the file as it is");
    assert_eq!(download.header("content-disposition"), Some("attachment; filename=\"turns.csv\""));

    let figure = drift["figures"][0]["name"].as_str().unwrap();
    let svg = client.get(&format!("/api/figure?run={run}&name={}", quoted(figure)));
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    let file = place.folder.path().join(format!("figures/{figure}.svg"));
    assert!(svg.body == fs::read(file).unwrap(), "the figure as it is");
    assert!(svg.header("content-security-policy").is_some(), "nothing in a figure is run, opened by itself");

    let lines: Vec<String> = String::from_utf8(bytes).unwrap().lines().map(String::from).collect();
    let columns: Vec<&str> = lines[0].split(',').collect();
    let page = |more: &str| client.get(&format!("/api/table?run={run}&table=turns{more}")).json();
    let first = page("&limit=5");
    assert_eq!(first["columns"], json!(columns));
    assert_eq!((first["total"].as_u64(), first["rows"].as_array().unwrap().len()), (Some(lines.len() as u64 - 1), 5));
    // A column of numbers, downwards.
    let is_number = |i: &usize| lines[1..].iter().all(|l| l.split(',').nth(*i).unwrap().parse::<f64>().is_ok());
    let column = (0..columns.len()).find(is_number).expect("a column of numbers");
    let sorted = page(&format!("&sort={}&desc=1&limit=1000", quoted(columns[column])));
    let values: Vec<f64> =
        sorted["rows"].as_array().unwrap().iter().map(|r| r[column].as_str().unwrap().parse().unwrap()).collect();
    assert!(values.len() > 1 && values.is_sorted_by(|a, b| a >= b), "{values:?}");
    let none = page("&filter=nothing%20has%20this%20text");
    assert_eq!((none["shown"].as_u64(), none["rows"].as_array().unwrap().len()), (Some(0), 0));
    let wrong = client.get(&format!("/api/table?run={run}&table=turns&sort=nothing"));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
}

#[test]
fn a_vector_that_is_saved_is_one_that_is_there_and_steers_the_same() {
    let (place, client) = shared();
    let id = vector(&client);
    let save = json!({ "file": "mine", "name": "again", "what": { "vector": id } });
    let saved = client.post("/api/vectors/save", &save);
    assert_eq!(saved.status, 200, "{}", saved.text());
    assert!(place.folder.path().join("vectors/mine.safetensors").is_file());
    assert_eq!(client.post("/api/vectors/save", &save).status, 422, "not overwritten");
    let copy = saved.json()["id"].clone();
    let steered = |vector: &Value| {
        let mut ask = plain("copies", "Tell me about tea.");
        ask["arms"][0]["edits"] =
            json!([{ "vector": vector, "site": "resid_post.2", "op": "shift", "on": "all", "strength": "6" }]);
        served::of_kind(&client.replies(&ask), "done")[0]["tokens"].clone()
    };
    assert_eq!(steered(&copy), steered(&json!(id)));
}
