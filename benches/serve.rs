//! The page's server under load: 50 conversations at once, some of whose clients vanish in the middle of a reply.
//!
//! `cargo bench --bench serve -- [--seconds S]`. First every conversation is held alone, one after another: its replies,
//! how long the first token takes, and the speed of a stream against the engine by itself. Then all of them at once, again
//! and again, until the time is over: every reply has to be the one it was alone (of one that was broken off, its
//! beginning), and the server's memory is looked at all the while. Exit code 1 if anything was otherwise.

#[path = "../tests/served/mod.rs"]
mod served;

use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Model, Source};
use personascope::text::prompts::Prompt;
use serde_json::{Value, json};
use served::{Client, Server};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONVERSATIONS: usize = 50;
const TURNS: usize = 4;
const NEW: usize = 40;
/// Of so many replies one is broken off.
const VANISHING: usize = 7;
const SAYS: [&str; 5] =
    ["Tell me about tea.", "What is the weather doing?", "How do you bake bread?", "Who are you?", "Go on."];

fn main() {
    let mut args = std::env::args().skip_while(|a| a != "--seconds");
    let seconds: u64 = args.nth(1).map_or(20, |s| s.parse().expect("--seconds takes a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&["--dir", &folder.path().display().to_string()]);
    let client = server.client();
    // What is computed in the background when a server starts is not what is measured.
    while client.get("/api/status").json()["stage"] != Value::Null {
        std::thread::sleep(Duration::from_millis(100));
    }
    let alone: Vec<Vec<Reply>> = (0..CONVERSATIONS).map(|c| talk(&client, c)).collect();
    let first: Vec<f64> = alone.iter().flatten().map(|r| r.first_ms).collect();
    println!("first token, alone: {}", spread(&first, "ms"));
    going_on(&client);
    speed(&client);
    let memory = memory(server.child.id());
    let wrong = load(&server, &alone, Duration::from_secs(seconds));
    println!("memory before the load: {memory:.1} MiB");
    if wrong > 0 {
        println!("{wrong} WRONG");
        std::process::exit(1);
    }
}

/// A reply as it was heard.
#[derive(Clone)]
struct Reply {
    tokens: Vec<u64>,
    text: String,
    /// From sending to the first token.
    first_ms: f64,
    /// From the first token to the last.
    rest_ms: f64,
    complete: bool,
}

fn ask(conversation: usize, messages: &[Value]) -> Value {
    json!({ "conversation": format!("c-{conversation}"), "seed": conversation / 2, "temperature": 1.0,
        "max_new_tokens": NEW, "read": [], "messages": messages, "arms": [{ "name": "plain" }] })
}

/// Listens to a reply, or to its first `most` tokens.
fn hear(client: &Client, ask: &Value, most: usize) -> Result<Reply, String> {
    let begun = Instant::now();
    let ms = || begun.elapsed().as_secs_f64() * 1e3;
    let mut reply = Reply { tokens: vec![], text: String::new(), first_ms: 0.0, rest_ms: 0.0, complete: false };
    for (kind, data) in client.reply(ask) {
        match kind.as_str() {
            "start" if data["item"].as_str().and_then(|i| i.split('/').next()) != ask["conversation"].as_str() => {
                return Err(format!("asked for {}, told of {}", ask["conversation"], data["item"]));
            }
            "token" => {
                if reply.tokens.is_empty() {
                    reply.first_ms = ms();
                }
                reply.rest_ms = ms() - reply.first_ms;
                reply.tokens.extend(data["id"].as_u64());
                if reply.tokens.len() == most {
                    return Ok(reply);
                }
            }
            "done" => {
                let told: Vec<u64> =
                    data["tokens"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
                if told != reply.tokens {
                    return Err("what was streamed is not the reply".into());
                }
                reply.text = data["text"].as_str().unwrap_or_default().into();
            }
            "error" => return Err(data.to_string()),
            "end" => reply.complete = true,
            _ => {}
        }
    }
    if reply.complete { Ok(reply) } else { Err("the stream broke off".into()) }
}

fn said(conversation: usize, turn: usize) -> Value {
    json!({ "role": "user", "content": SAYS[(conversation + turn) % SAYS.len()] })
}

/// A conversation from its beginning to its end, alone.
fn talk(client: &Client, conversation: usize) -> Vec<Reply> {
    let (mut messages, mut replies) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        messages.push(said(conversation, turn));
        let reply = hear(client, &ask(conversation, &messages), usize::MAX).unwrap_or_else(|e| panic!("{e}"));
        messages.push(json!({ "role": "assistant", "content": reply.text }));
        replies.push(reply);
    }
    replies
}

/// The first token behind a long conversation that has just been read, and behind one that has not, in turns.
fn going_on(client: &Client) {
    let conversation = |name: usize| {
        let pair = |turn: usize| {
            let says = if turn == 0 { format!("{} {name}", SAYS[0]) } else { SAYS[turn % SAYS.len()].into() };
            let reply =
                "Green tea likes cooler water. Tea should steep for three minutes. Let me know if you need more.";
            [json!({ "role": "user", "content": says }), json!({ "role": "assistant", "content": reply })]
        };
        let mut messages: Vec<Value> = (0..14).flat_map(pair).collect();
        messages.push(said(0, 0));
        json!({ "conversation": format!("long-{name}"), "seed": 0, "temperature": 1.0, "max_new_tokens": 1, "read": [],
            "messages": messages, "arms": [{ "name": "plain" }] })
    };
    let first = |name: usize| hear(client, &conversation(name), usize::MAX).unwrap_or_else(|e| panic!("{e}")).first_ms;
    first(0);
    let (read, anew): (Vec<f64>, Vec<f64>) = (1..=40).map(|name| (first(0), first(name))).unzip();
    println!("first token, conversation that goes on: {}", spread(&read, "ms"));
    println!("first token, the same for the first time: {}", spread(&anew, "ms"));
}

/// All conversations at once, again and again. How many replies were wrong.
fn load(server: &Server, alone: &[Vec<Reply>], time: Duration) -> usize {
    let over = AtomicBool::new(false);
    let (heard, broken, tokens) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (wrong, first) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (conversation, alone) in alone.iter().enumerate() {
            let client = server.client();
            let (over, heard, broken, tokens, wrong, first) = (&over, &heard, &broken, &tokens, &wrong, &first);
            scope.spawn(move || {
                let mut round = conversation;
                while !over.load(Ordering::Relaxed) {
                    let mut messages = Vec::new();
                    for (turn, alone) in alone.iter().enumerate() {
                        round += 1;
                        messages.push(said(conversation, turn));
                        let vanishes = round % VANISHING == 0;
                        let most = if vanishes { 1 + round % 5 } else { usize::MAX };
                        match hear(&client, &ask(conversation, &messages), most) {
                            Ok(reply) => {
                                let fits = match vanishes {
                                    true => alone.tokens.starts_with(&reply.tokens),
                                    false => alone.tokens == reply.tokens && alone.text == reply.text,
                                };
                                if !fits {
                                    let what = format!("c-{conversation}/{turn}: another reply than alone");
                                    wrong.lock().unwrap().push(what);
                                }
                                let count = if vanishes { broken } else { heard };
                                count.fetch_add(1, Ordering::Relaxed);
                                tokens.fetch_add(reply.tokens.len(), Ordering::Relaxed);
                                first.lock().unwrap().push(reply.first_ms);
                            }
                            Err(e) => wrong.lock().unwrap().push(format!("c-{conversation}/{turn}: {e}")),
                        }
                        messages.push(json!({ "role": "assistant", "content": alone.text }));
                    }
                }
            });
        }
        let steps = 10;
        for step in 0..=steps {
            let at = time * step / steps;
            std::thread::sleep(at.saturating_sub(begun.elapsed()));
            let status = server.client().get("/api/status").json();
            let (s, n) = (begun.elapsed().as_secs_f64(), heard.load(Ordering::Relaxed));
            println!("{s:6.1} s: {:.1} MiB, {n} replies, {} arms", memory(server.child.id()), status["active"]);
        }
        over.store(true, Ordering::Relaxed);
    });
    let seconds = begun.elapsed().as_secs_f64();
    // Nothing is left of anybody.
    std::thread::sleep(Duration::from_millis(1000));
    let status = server.client().get("/api/status").json();
    let mut wrong = wrong.into_inner().unwrap();
    if status["active"] != json!(0) || status["queued"] != json!(0) {
        wrong.push(format!("work is left: {status}"));
    }
    wrong.iter().take(10).for_each(|w| println!("WRONG {w}"));
    let (heard, broken) = (heard.into_inner(), broken.into_inner());
    let rate = tokens.into_inner() as f64 / seconds;
    println!("{heard} replies heard, {broken} broken off, {} wrong; {rate:.0} tokens/s in all", wrong.len());
    println!("first token, {CONVERSATIONS} at once: {}", spread(&first.into_inner().unwrap(), "ms"));
    wrong.len()
}

/// The same replies as a stream and by the engine alone, in turns. Each is drawn several times and the fastest counts, for
/// whatever else the machine does only makes them slower.
fn speed(client: &Client) {
    const LONG: usize = 300;
    const TIMES: usize = 7;
    const FLAT: f64 = 5.0;
    let model = Model::load(&Source::toyworld()).expect("the embedded model");
    let sampling = Sampling::new(FLAT, 1.0).expect("a temperature");
    let (mut streamed, mut by_engine, mut tokens) = (0.0, 0.0, 0);
    for round in 0..8 {
        let messages = [said(round, 0)];
        let mut ask = ask(round, &messages);
        // Flat, so that replies are long.
        (ask["temperature"], ask["max_new_tokens"]) = (json!(FLAT), json!(LONG));
        let line = json!({ "id": format!("c-{round}/0"), "messages": messages }).to_string();
        let prompt = Prompt::parse_lines("p", &line).expect("a prompt").remove(0);
        let encoded = prompt.encode(&model.text).expect("tokens").tokens;
        let start = Start { id: prompt.id, tokens: encoded, seed: round as u64 / 2, adapter: None, edits: vec![] };
        let drawn = |most: usize| {
            let settings = Settings { max_new_tokens: most, sampling, stops: model.stops.clone() };
            let begun = Instant::now();
            let (mut replies, _) =
                generate(&*model.lm, &[], std::slice::from_ref(&start), &[], &settings).expect("a reply");
            (replies.remove(0), begun.elapsed().as_secs_f64() * 1e3)
        };
        let (mut stream, mut first, mut all) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        let mut length = 0;
        for _ in 0..TIMES {
            let reply = hear(client, &ask, usize::MAX).unwrap_or_else(|e| panic!("{e}"));
            let (whole, ms) = drawn(LONG);
            assert_eq!(whole.iter().map(|t| u64::from(*t)).collect::<Vec<_>>(), reply.tokens, "another reply");
            length = whole.len();
            (stream, all, first) = (stream.min(reply.rest_ms), all.min(ms), first.min(drawn(1).1));
        }
        if length > LONG / 2 {
            // What comes behind the first token; that one is measured by itself.
            (streamed, by_engine, tokens) = (streamed + stream, by_engine + all - first, tokens + length - 1);
        }
    }
    let rate = |ms: f64| 1e3 * tokens as f64 / ms;
    println!("a stream: {:.0} tokens/s ({tokens} tokens)", rate(streamed));
    println!("the engine by itself: {:.0} tokens/s", rate(by_engine));
    println!("stream / engine: {:.3}", by_engine / streamed);
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn spread(values: &[f64], unit: &str) -> String {
    let all = sorted(values);
    let at = |q: f64| all.get(((all.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(f64::NAN);
    format!("median {:.2} {unit}, 95 % {:.2}, largest {:.2} ({} values)", at(0.5), at(0.95), at(1.0), all.len())
}

/// Resident memory of a process in MiB; nothing where the system does not tell.
fn memory(process: u32) -> f64 {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|p| p.parse::<f64>().ok());
    resident.map_or(f64::NAN, |p| p * 4096.0 / (1 << 20) as f64)
}
