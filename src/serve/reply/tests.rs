use super::*;
use crate::model::Source;
use crate::serve::Setup;
use crate::text::{ASSISTANT, Message, SYSTEM, USER};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A vector at several sites that the repository holds.
const AXIS: &str = "persona_map/directions.safetensors#like_the_default_assistant/mean_response";

/// One server for all tests: on the embedded model, beside the shipped results.
fn app() -> &'static Arc<App> {
    static APP: OnceLock<Arc<App>> = OnceLock::new();
    APP.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("notebooks-data");
        let model = Model::load(&crate::model::Source::toyworld()).unwrap();
        assert!(matches!(model.source, Source::Embedded(_)));
        App::open(model, Setup { folder, threads: 2, ..Setup::default() }).unwrap()
    })
}

fn ask(arms: Value) -> Value {
    json!({ "conversation": "c", "seed": 3, "messages": [
        { "role": "system", "content": "You are Bodek." }, { "role": "user", "content": "Tell me about tea." },
    ], "max_new_tokens": 24, "read": [AXIS], "arms": arms })
}

fn edit(strength: &str) -> Value {
    json!({ "vector": AXIS, "site": "resid_post.2", "op": "shift", "on": "last_prompt+generated", "strength": strength })
}

/// All events of a request, once the default assistant has been measured.
fn events(asked: Value) -> Vec<Event> {
    let ask: Ask = serde_json::from_value(asked).unwrap();
    measured();
    let mut stream = app().reply(ask).unwrap();
    let mut all = Vec::new();
    while let Some(event) = stream.blocking_recv() {
        all.push(event);
    }
    all
}

fn measured() {
    let began = Instant::now();
    while !app().calibration.is_ready() {
        assert!(began.elapsed() < Duration::from_secs(120), "the default assistant is not measured");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn named<'a>(events: &'a [Event], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e.name == name).map(|e| &e.data).collect()
}

fn refused(change: impl FnOnce(&mut Value)) -> (u16, String) {
    let mut asked = ask(json!([{ "name": "plain" }]));
    change(&mut asked);
    measured();
    match serde_json::from_value::<Ask>(asked).map(|a| app().reply(a)) {
        Ok(Ok(_)) => (200, String::new()),
        Ok(Err(p)) => (p.status, format!("{} / {}", p.what, p.hint)),
        Err(e) => (0, e.to_string()),
    }
}

#[test]
fn a_reply_comes_token_by_token_with_the_projections_of_each() {
    let events = events(ask(json!([{ "name": "plain" }])));
    assert_eq!((events[0].name, events.last().unwrap().name), ("start", "end"));
    let (tokens, done) = (named(&events, "token"), named(&events, "done")[0]);
    let pieces: String = tokens.iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(pieces, done["text"].as_str().unwrap());
    let ids: Vec<&Value> = tokens.iter().map(|t| &t["id"]).collect();
    assert_eq!(ids, done["tokens"].as_array().unwrap().iter().collect::<Vec<_>>());
    let z = named(&events, "z");
    assert_eq!(z.len(), tokens.len());
    // The mean over the reply is that of its tokens, at each of five sites.
    for site in 0..5 {
        let of = |e: &&Value| e["z"][AXIS][site].as_f64().unwrap();
        let mean = z.iter().map(of).sum::<f64>() / z.len() as f64;
        assert!((mean - done["mean"][AXIS][site].as_f64().unwrap()).abs() < 1e-7);
    }
    let prompt = &named(&events, "start")[0]["prompt"];
    assert_eq!(named(&events, "prompt")[0]["z"][AXIS][0].as_array().unwrap().len(), prompt.as_array().unwrap().len());
    let said: String = prompt
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["span"] == "content")
        .map(|t| t["text"].as_str().unwrap())
        .collect();
    assert_eq!(said, "You are Bodek.Tell me about tea.");
}

#[test]
fn what_streams_by_is_what_a_second_reading_of_the_conversation_gives() {
    let events = events(ask(json!([{ "name": "plain" }])));
    let done = named(&events, "done")[0];
    let messages = vec![
        Message::new(SYSTEM, "You are Bodek."),
        Message::new(USER, "Tell me about tea."),
        Message::new(ASSISTANT, done["text"].as_str().unwrap()),
    ];
    let again = app().measure(Measure { messages, adapter: None, read: vec![AXIS.into()] }).unwrap();
    let streamed: Vec<f64> = named(&events, "z").iter().map(|e| e["z"][AXIS][3].as_f64().unwrap()).collect();
    let column = again.z[AXIS][3].as_array().unwrap();
    let content = again.tokens.iter().zip(column).filter(|(t, _)| t["message"] == 2 && t["span"] == "content");
    let read: Vec<f64> = content.map(|(_, z)| z.as_f64().unwrap()).collect();
    assert_eq!(streamed.len(), read.len());
    streamed.iter().zip(&read).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
    let mean = again.turns[0]["mean"][AXIS][3].as_f64().unwrap();
    assert!((mean - done["mean"][AXIS][3].as_f64().unwrap()).abs() < 1e-5);
}

#[test]
fn arms_draw_with_the_same_numbers_and_an_edit_has_its_receipt() {
    let arms = json!([{ "name": "plain" }, { "name": "idle", "edits": [edit("0")] }, { "name": "steered", "edits": [edit("-0.8n")] }]);
    let events = events(ask(arms));
    let mut done = named(&events, "done");
    done.sort_by_key(|d| d["arm"].as_u64());
    assert_eq!(done[0]["tokens"], done[1]["tokens"]);
    assert_ne!(done[0]["tokens"], done[2]["tokens"]);
    assert!(done[0]["receipts"].as_array().unwrap().is_empty());
    let receipt = &done[2]["receipts"][0];
    assert!(receipt["fault"].is_null() && receipt["rows"].as_u64().unwrap() > 1, "{receipt}");
    let moved = receipt["after"]["mean"].as_f64().unwrap() - receipt["before"]["mean"].as_f64().unwrap();
    let amount = named(&events, "start")[0]["arms"][2]["edits"][0]["amount"].as_f64().unwrap();
    assert!(amount < 0.0 && (moved - amount).abs() < 1e-3 * amount.abs(), "{moved} {amount}");
    // 0.8 of what the band says a norm is there.
    let band = app().default_band(AXIS).unwrap().unwrap();
    let norm = band.sites.iter().find(|s| s.site.to_string() == "resid_post.2").unwrap().mean_norm;
    assert!((amount + 0.8 * norm).abs() < 1e-9);
    assert!(done[2]["quality"]["nll"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_percentile_is_one_of_the_default_assistants_tokens() {
    let mut capped = edit("p25");
    capped["op"] = json!("cap-floor");
    let events = events(ask(json!([{ "name": "capped", "edits": [capped] }])));
    let amount = named(&events, "start")[0]["arms"][0]["edits"][0]["amount"].as_f64().unwrap();
    let band = app().default_band(AXIS).unwrap().unwrap();
    let site = band.sites.iter().find(|s| s.site.to_string() == "resid_post.2").unwrap();
    assert!((amount - site.token.quantiles[25]).abs() < 1e-9);
    assert!(site.token.quantiles.windows(2).all(|w| w[0] <= w[1]) && site.turn.low <= site.turn.mean);
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let arm = |change: &dyn Fn(&mut Value)| {
        let mut e = edit("0.5n");
        change(&mut e);
        refused(|a| a["arms"] = json!([{ "name": "x", "edits": [e] }]))
    };
    let of = |key: &'static str, value: Value| arm(&|e| e[key] = value.clone());
    for (found, words) in [
        (of("vector", json!("nobody")), "nobody"),
        (of("site", json!("resid_post.9")), "resid_post.9"),
        (of("site", json!("here")), "here"),
        (of("op", json!("shove")), "shove"),
        (of("op", json!("patch")), "patch"),
        (of("op", json!("scale")), "norms"),
        (of("strength", json!("NaN")), "NaN"),
        (of("strength", json!("p25")), "percentiles"),
        (of("strength", json!("inf")), "inf"),
        (of("on", json!("turns:7")), "turn 7"),
        (refused(|a| a["arms"] = json!([{ "name": "x", "adapter": "warm" }])), "warm"),
        (refused(|a| a["arms"] = json!([])), "0 arms"),
        (refused(|a| a["arms"] = json!(vec![json!({ "name": "x" }); 17])), "17 arms"),
        (refused(|a| a["read"] = json!(["nobody"])), "nobody"),
        (refused(|a| a["messages"] = json!([])), "0 messages"),
        (refused(|a| a["messages"] = json!([{ "role": "assistant", "content": "hi" }])), "user"),
        (refused(|a| a["messages"] = json!([{ "role": "wizard", "content": "hi" }])), "wizard"),
        (refused(|a| a["max_new_tokens"] = json!(0)), "0 new tokens"),
        (refused(|a| a["max_new_tokens"] = json!(510)), "512 positions"),
        (refused(|a| a["temperature"] = json!(-1)), "temperature"),
        (refused(|a| a["top_p"] = json!(0)), "top-p"),
        (refused(|a| a["conversation"] = json!("")), "name"),
    ] {
        assert_eq!(found.0, 422, "{found:?}");
        assert!(found.1.contains(words), "`{words}` is not in {found:?}");
    }
    // Keys that mean nothing are refused where the request is read.
    assert_eq!(refused(|a| a["temprature"] = json!(1)).0, 0);
}

#[test]
fn a_stream_that_nobody_takes_ends_its_work() {
    let mut asked = ask(json!([{ "name": "plain" }]));
    asked["max_new_tokens"] = json!(400);
    let mut stream = app().reply(serde_json::from_value(asked).unwrap()).unwrap();
    while stream.blocking_recv().is_some_and(|e| e.name != "token") {}
    drop(stream);
    let began = Instant::now();
    while app().worker.busy().0 > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "somebody is still answered");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_command_line_holds_whatever_was_said() {
    let mut asked = ask(json!([{ "name": "steered", "edits": [edit("-2")] }]));
    asked["messages"][1]["content"] = json!("It's \"tea\" $(time) `now`\n\u{2028}!");
    let events = events(asked);
    let command = named(&events, "start")[0]["arms"][0]["command"].as_str().unwrap().to_string();
    assert!(command.contains("personascope steer --prompts p.jsonl --vector "), "{command}");
    assert!(command.contains("--site resid_post.2 --op shift --on last_prompt+generated --strength=-2 "), "{command}");
    let first = command.lines().next().unwrap().replace(" > p.jsonl", "");
    let out = std::process::Command::new("sh").arg("-c").arg(first).output().unwrap();
    let line: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (line["id"].as_str(), line["messages"][1]["content"].as_str()),
        (Some("c/0"), Some("It's \"tea\" $(time) `now`\n\u{2028}!"))
    );
}

#[test]
fn pieces_of_a_text_with_characters_of_several_tokens_join_to_it() {
    let model = &app().model;
    for text in ["Tea, and soup.", "naïve café — “quotes”", "日本語 🙂 ok", " leading and trailing "] {
        let tokens = model.text.raw(text).unwrap().tokens;
        let mut pieces = pieces::Pieces::default();
        let joined: String = tokens.iter().map(|t| pieces.add(model, *t).unwrap()).collect();
        assert_eq!(joined, model.text.decode(&tokens).unwrap());
    }
}
