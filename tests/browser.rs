//! The page in a real browser, used as its readers use it: at the width of a desk and of a telephone, light and dark.
//!
//! scripts/browser-check.sh runs it; PERSONASCOPE_SCREENSHOTS names a folder for pictures of every step.

#[path = "browser/cdp.rs"]
mod cdp;
mod served;

use cdp::Browser;
use serde_json::{Value, json};
use served::{Client, Server};
use std::fs;
use std::path::Path;

/// Would run on a page that took texts for its own.
const SCRIPT: &str = "<img src=x onerror=pwned=1>";

/// An adapter of which the shipped comparison has marks.
const ADAPTER: &str = "character0-chat-s0";

const QUESTIONS: [&str; 3] = ["Tell me about tea.", "Who are you, really?", "What do you do all day?"];

const TABS: [&str; 5] = ["chat", "steer", "map", "compare", "results"];

/// A server with results, a persona with an evil name, an adapter.
struct Site {
    server: Server,
    client: Client,
    folder: tempfile::TempDir,
    /// The vector that is looked at.
    vector: String,
}

impl Site {
    fn open() -> Site {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = served::results(&["drift", "steering", "knowing"]);
        let card = folder.path().join("card.toml");
        fs::write(&card, format!("name = '{SCRIPT}'\ndescription = 'Quiet.'\n")).unwrap();
        let adapter = format!("{ADAPTER}={}", here.join("src/assets/toyworld/adapters").join(ADAPTER).display());
        let dir = folder.path().display().to_string();
        let server = Server::start(&["--dir", &dir, "--card", &card.display().to_string(), "--adapter", &adapter]);
        let client = server.client();
        let vectors = client.get("/api/vectors").json();
        let mine = |v: &&Value| v["id"].as_str().unwrap().ends_with("in_persona/mean_response");
        let vector = vectors.as_array().unwrap().iter().find(mine).unwrap()["id"].as_str().unwrap().to_string();
        Site { server, client, folder, vector }
    }
}

/// A browser on the page, ready.
fn visit(site: &Site, width: u32, height: u32, scheme: &str) -> Browser {
    let browser = Browser::open(width, height, scheme);
    browser.go(&site.server.address);
    browser.until("document.documentElement.dataset.ready === 'yes'");
    browser.eval(include_str!("browser/checks.js"));
    assert_eq!(browser.eval("location.search"), "", "the token stays in the address");
    browser
}

/// What is true of every part at every time.
fn looks_right(browser: &Browser, name: &str) {
    browser.screenshot(name);
    for check in ["sideways", "contrast", "nameless"] {
        let found = browser.eval(&format!("window.checks.{check}()"));
        assert_eq!(found, json!([]), "{name}: {check}");
    }
    assert_eq!(browser.eval("window.pwned ?? null"), Value::Null, "{name}: a text was run");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{name}: {}", complaints.join("\n"));
}

fn open_tab(browser: &Browser, tab: &str) {
    browser.click(&format!("#tab-{tab}"));
    browser.until(&format!("!document.getElementById('panel-{tab}').hidden"));
}

fn count(browser: &Browser, selector: &str) -> u64 {
    browser.eval(&format!("document.querySelectorAll({}).length", json!(selector))).as_u64().unwrap()
}

fn text(browser: &Browser, selector: &str) -> String {
    let value = browser.eval(&format!("document.querySelector({})?.textContent ?? ''", json!(selector)));
    value.as_str().unwrap().into()
}

/// Three turns, their colours, and the chart.
fn chats(browser: &Browser, site: &Site, name: &str) {
    browser.choose("#vector", &site.vector);
    // The scale is there when the default assistant has been measured.
    site.client.ready(&format!("/api/default?vector={}", quoted(&site.vector)));
    for (turn, question) in QUESTIONS.iter().enumerate() {
        browser.click("#message");
        browser.write(question);
        if turn == 1 {
            browser.click("#send")
        } else {
            browser.key("Enter", 0)
        }
        browser.until(&format!(
            "document.querySelectorAll('.turn[data-role=assistant]:not(.pending)').length === {}",
            turn + 1
        ));
        browser.until(&format!("document.querySelectorAll('#drift-chart .turn-point').length === {}", turn + 1));
    }
    let of_replies = ".turn[data-role=assistant] .token";
    assert!(count(browser, of_replies) > 20);
    browser.until(&format!(
        "document.querySelectorAll('{of_replies}').length === document.querySelectorAll('{of_replies}[data-z]').length"
    ));
    browser.until(&format!(
        "new Set([...document.querySelectorAll('{of_replies}')].map((t) => getComputedStyle(t).backgroundColor)).size >= 5"
    ));
    looks_right(browser, &format!("{name}-chat"));

    // What stands on the page is what the model says of the same words.
    let first = |attribute: &str| {
        format!(
            "[...document.querySelector('.turn[data-role=assistant]').querySelectorAll('.token')].map((t) => {attribute})"
        )
    };
    let said = browser.eval(&format!("{}.join('')", first("t.textContent")));
    let site_now = browser.eval("document.querySelector('#site').value");
    let z = |browser: &Browser| numbers(&browser.eval(&first("Number(t.dataset.z)")));
    let shown = z(browser);
    let messages = json!([{ "role": "user", "content": QUESTIONS[0] }, { "role": "assistant", "content": said }]);
    let measured = site.client.post("/api/measure", &json!({ "messages": messages, "read": [site.vector] })).json();
    let at = |name: &Value| {
        let sites = measured["sites"][&site.vector].as_array().unwrap();
        let column = sites.iter().position(|s| s == name).unwrap();
        let tokens = measured["tokens"].as_array().unwrap();
        let is_reply = |i: &usize| tokens[*i]["message"] == 1 && tokens[*i]["span"] == "content";
        let all = numbers(&measured["z"][&site.vector][column]);
        (0..tokens.len()).filter(is_reply).map(|i| all[i]).collect::<Vec<f64>>()
    };
    near(&shown, &at(&site_now));
    // Another layer, without asking anybody.
    let sites = browser.eval("[...document.querySelector('#site').options].map((o) => o.value)");
    let other = sites.as_array().unwrap().iter().find(|s| **s != site_now).unwrap().clone();
    browser.choose("#site", other.as_str().unwrap());
    let elsewhere = z(browser);
    near(&elsewhere, &at(&other));
    assert_ne!(shown, elsewhere);
    browser.choose("#site", site_now.as_str().unwrap());
    // The exact value, for whoever points at a token.
    browser.eval("document.querySelector('.turn[data-role=assistant] .token').focus()");
    let tip = text(browser, "#tip");
    assert!(tip.contains("of the default's tokens") && tip.contains(site_now.as_str().unwrap()), "{tip}");
    browser.screenshot(&format!("{name}-token"));
}

/// What was said is there after a reload, with its colours.
fn comes_back(browser: &Browser) {
    let before = browser.eval("[...document.querySelectorAll('.turn .tokens')].map((t) => t.textContent)");
    browser.call("Page.reload", json!({}));
    browser.until("document.readyState === 'complete' && document.documentElement.dataset.ready === 'yes'");
    browser.eval(include_str!("browser/checks.js"));
    browser.until("document.querySelectorAll('#drift-chart .turn-point').length === 3");
    browser.until("document.querySelectorAll('.turn[data-role=assistant] .token[data-z]').length > 20");
    assert_eq!(browser.eval("[...document.querySelectorAll('.turn .tokens')].map((t) => t.textContent)"), before);
}

/// The slider moves, two answers that differ, a receipt; nine of them.
fn steers(browser: &Browser, name: &str) {
    open_tab(browser, "steer");
    browser.click("#steer-question");
    browser.eval("document.querySelector('#steer-question').select()");
    browser.write("Tell me about tea.");
    let before = browser.eval("Number(document.querySelector('#steer-strength').value)");
    browser.eval("document.querySelector('#steer-strength').focus()");
    browser.key("ArrowRight", 0);
    let after = browser.eval("Number(document.querySelector('#steer-strength').value)");
    assert!(after.as_f64() > before.as_f64(), "{before} {after}");
    browser.key("End", 0);
    browser.click("#steer-run");
    browser.until("document.querySelector('#receipt table') && document.querySelector('#answer-steered .facts b')");
    let (plain, steered) = (text(browser, "#answer-plain .tokens"), text(browser, "#answer-steered .tokens"));
    assert!(!plain.is_empty() && !steered.is_empty() && plain != steered, "{plain} / {steered}");
    assert!(count(browser, "#answer-steered .token.differs") > 0);
    let cells = browser.eval("[...document.querySelectorAll('#receipt tbody td')].map((c) => c.textContent)");
    let changed: u64 = cells[3].as_str().unwrap().parse().unwrap();
    assert!(changed > 0 && cells[7] == "none", "{cells}");
    looks_right(browser, &format!("{name}-steer"));

    browser.click("#dose-run");
    browser.until("document.querySelectorAll('.dose .facts b').length >= 9 && document.querySelectorAll('.dose-point').length === 9");
    assert_eq!(count(browser, ".dose"), 9);
    let different =
        browser.eval("new Set([...document.querySelectorAll('.dose .tokens')].map((t) => t.textContent)).size");
    assert!(different.as_u64() > Some(2), "{different}");
    looks_right(browser, &format!("{name}-doses"));
}

/// A role's prompts and words, and the conversation among the roles.
fn maps(browser: &Browser, name: &str) {
    open_tab(browser, "map");
    browser.until("document.querySelectorAll('.role-point').length > 5");
    browser.until("document.querySelectorAll('.way-point').length === 3");
    // One that the conversation's way does not cover: whose place is another in every run.
    let role = browser.until(
        "[...document.querySelectorAll('.role-point')].find((p) => {
           p.scrollIntoView({ block: 'center' });
           const b = p.getBoundingClientRect();
           return document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2)?.closest('.role-point');
         })?.dataset.name",
    );
    browser.click(&format!(".role-point[data-name={role}]"));
    browser.until("document.querySelector('#role-card dd')?.textContent.trim()");
    // Points may lie on each other: whichever it was, its card is that of a role.
    let shown = text(browser, "#role-card h2");
    let names = browser.eval("[...document.querySelectorAll('.role-point')].map((p) => p.dataset.name)");
    assert!(names.as_array().unwrap().contains(&json!(shown)), "{shown}");
    assert!(count(browser, "#role-card li") > 0, "prompts");
    looks_right(browser, &format!("{name}-map"));
    // Fine-tunes beside the base.
    browser.choose("#map-model", ADAPTER);
    browser.until("document.querySelectorAll('.moved-point').length > 5");
    browser.screenshot(&format!("{name}-map-shift"));
}

/// Base and adapter side by side.
fn compares(browser: &Browser, name: &str) {
    open_tab(browser, "compare");
    browser.click("#compare-run");
    browser.until("document.querySelectorAll('.compare-arm .facts b').length >= 2");
    let said = browser.eval("[...document.querySelectorAll('.compare-arm .tokens')].map((t) => t.textContent)");
    assert_eq!(said.as_array().unwrap().len(), 2);
    assert!(said[0] != said[1] && said[1] != "", "{said}");
    browser.until("document.querySelector('#marks table')");
    let marks =
        browser.until("document.querySelector('.compare-arm[data-adapter=character0-chat-s0] .marks')?.textContent");
    assert!(["K", "S", "E", "L"].iter().all(|index| marks.as_str().unwrap().contains(index)), "{marks}");
    looks_right(browser, &format!("{name}-compare"));
}

/// A table: sorted, filtered, and on the disk as the run wrote it.
fn tables(browser: &Browser, site: &Site, name: &str) {
    open_tab(browser, "results");
    let run = "[...document.querySelectorAll('.run')].find((r) => r.querySelector('strong').textContent === 'drift')";
    browser.until(run.trim());
    browser.eval(&format!("({run}).dataset.test = 'run'"));
    browser.click("[data-test=run] > summary");
    // Pictures come when they are looked at.
    browser.until("document.querySelector('[data-test=run] figure') !== null");
    browser.eval("document.querySelector('[data-test=run] figure').scrollIntoView()");
    browser.until(
        "[...document.querySelectorAll('[data-test=run] figure img')].some((i) => i.complete && i.naturalWidth > 0)",
    );
    browser.click("[data-test=run] .run-table-open[data-table=turns]");
    browser.until("document.querySelectorAll('.run-table tbody tr').length > 3");
    let column = browser.until("document.querySelector('.run-table th.num')?.dataset.column");
    let heading = format!(".run-table th[data-column={column}]");
    for direction in ["ascending", "descending"] {
        browser.click(&format!("{heading} button"));
        browser.until(&format!("document.querySelector({})?.ariaSort === '{direction}'", json!(heading)));
    }
    let values = numbers(&browser.eval(&format!(
        "(() => {{ const i = [...document.querySelectorAll('.run-table th')].findIndex((t) => t.dataset.column === {column});
           return [...document.querySelectorAll('.run-table tbody tr')].map((r) => Number(r.children[i].textContent)); }})()"
    )));
    assert!(values.len() > 3 && values.is_sorted_by(|a, b| a >= b), "{values:?}");
    looks_right(browser, &format!("{name}-results"));
    let downloaded = browser.download(|| browser.click(".run-table .download"));
    assert!(
        downloaded == fs::read(site.folder.path().join("notebooks-data/drift/turns.csv")).unwrap(),
        "another file than the run's"
    );
}

/// The persona with the evil name is a name, and what is said to it is a text.
fn runs_no_text(browser: &Browser, name: &str) {
    open_tab(browser, "chat");
    let option = format!(
        "[...document.querySelector('#persona').options].find((o) => o.textContent.includes({}))",
        json!(SCRIPT)
    );
    let value = browser.until(&format!("({option})?.value"));
    browser.choose("#persona", value.as_str().unwrap());
    let turns = count(browser, ".turn[data-role=assistant]");
    browser.click("#message");
    browser.write(SCRIPT);
    browser.key("Enter", 0);
    browser.until(&format!(
        "document.querySelectorAll('.turn[data-role=assistant]:not(.pending)').length === {}",
        turns + 1
    ));
    let said = browser.eval("[...document.querySelectorAll('.turn[data-role=user] .tokens')].at(-1).textContent");
    assert_eq!(said, SCRIPT);
    assert_eq!(count(browser, "#turns script, #turns img"), 0);
    looks_right(browser, &format!("{name}-script"));
}

/// A reply that is markup is a text too. No shipped model writes any, so the stream of one reply is written here.
fn shows_markup_of_a_reply(browser: &Browser) {
    let turns = count(browser, ".turn[data-role=assistant]");
    let said = json!(SCRIPT);
    browser.eval(&format!(
        "(() => {{ const own = window.fetch; window.fetch = (address, init) => {{
           if (!String(address).endsWith('/api/reply')) return own(address, init);
           window.fetch = own;
           const line = (name, data) => `event: ${{name}}\ndata: ${{JSON.stringify(data)}}\n\n`;
           const body = line('start', {{ item: 'c/9', turn: 9, prompt: [], sites: {{}}, warnings: [], queued: 0,
               arms: [{{ name: 'plain', command: {said}, edits: [] }}] }})
             + line('token', {{ arm: 0, i: 0, id: 1, text: {said} }})
             + line('done', {{ arm: 0, text: {said}, tokens: [1], ended: 'stop', mean: {{}}, receipts: [],
               quality: {{ nll: null, distinct_2: null, repetition_4: null }}, first_ms: 1, ms: 1 }}) + line('end', {{}});
           return Promise.resolve(new Response(body, {{ headers: {{ 'content-type': 'text/event-stream' }} }}));
         }}; }})()"
    ));
    browser.click("#message");
    browser.write("Go on.");
    browser.key("Enter", 0);
    browser.until(&format!(
        "document.querySelectorAll('.turn[data-role=assistant]:not(.pending)').length === {}",
        turns + 1
    ));
    let shown = browser.eval("[...document.querySelectorAll('.turn[data-role=assistant] .tokens')].at(-1).textContent");
    assert_eq!(shown, SCRIPT);
    assert_eq!(count(browser, "#turns script, #turns img"), 0);
    assert_eq!(browser.eval("typeof window.pwned"), "undefined");
}

/// Everything can be reached with Tab alone, and where one is can be seen.
fn keyboard(browser: &Browser) {
    open_tab(browser, "chat");
    browser.eval("document.activeElement.blur(); window.scrollTo(0, 0)");
    let mut seen = Vec::new();
    for _ in 0..80 {
        browser.key("Tab", 0);
        let focus = browser.eval("window.checks.focus()");
        if focus["tag"] != "body" {
            assert_eq!(focus["seen"], true, "the focus cannot be seen on {focus}");
        }
        seen.push(focus["id"].as_str().unwrap_or_default().to_string());
        // What is folded away at this width opens with a key, and Tab goes into it.
        if focus["folded"] == true {
            browser.key("Enter", 0);
        }
    }
    for id in ["tab-chat", "vector", "site", "persona", "message", "send"] {
        assert!(seen.iter().any(|s| s == id), "#{id} is not among {seen:?}");
    }
    browser.eval("document.getElementById('tab-chat').focus()");
    browser.key("ArrowRight", 0);
    assert_eq!(browser.eval("document.activeElement.id"), "tab-steer", "arrows go from tab to tab");
}

fn everything(width: u32, height: u32, scheme: &str) {
    let site = Site::open();
    let browser = visit(&site, width, height, scheme);
    let name = format!("{width}-{scheme}");
    chats(&browser, &site, &name);
    comes_back(&browser);
    steers(&browser, &name);
    maps(&browser, &name);
    compares(&browser, &name);
    tables(&browser, &site, &name);
    runs_no_text(&browser, &name);
    shows_markup_of_a_reply(&browser);
    keyboard(&browser);
    // The same in the other colours.
    let other = if scheme == "light" { "dark" } else { "light" };
    browser.scheme(other);
    for tab in TABS {
        open_tab(&browser, tab);
        looks_right(&browser, &format!("{width}-{other}-{tab}"));
    }
}

#[test]
#[ignore = "needs Chromium: scripts/browser-check.sh"]
fn the_page_works_at_the_width_of_a_desk() {
    everything(1280, 900, "light");
}

#[test]
#[ignore = "needs Chromium: scripts/browser-check.sh"]
fn the_page_works_at_the_width_of_a_telephone() {
    everything(390, 844, "dark");
}

#[test]
#[ignore = "needs Chromium: scripts/browser-check.sh"]
fn modules_of_the_page_compute_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--dir", &folder.path().display().to_string()]);
    let browser = Browser::open(800, 600, "light");
    browser.go(&server.address);
    let wrong = browser.eval(include_str!("browser/modules.js"));
    assert_eq!(wrong, json!([]));
    // Without vectors and results the page says what to do, and makes no error of it.
    browser.until("document.documentElement.dataset.ready === 'yes'");
    browser.eval(include_str!("browser/checks.js"));
    for tab in TABS {
        open_tab(&browser, tab);
        looks_right(&browser, &format!("empty-{tab}"));
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn near(a: &[f64], b: &[f64]) {
    assert!(a.len() == b.len() && !a.is_empty(), "{} and {} tokens", a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-5, "off by {worst:.1e}: {a:?} {b:?}");
}

fn quoted(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
