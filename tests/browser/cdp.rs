//! A browser without a head, spoken to over a pipe: messages in JSON, each ended by a zero byte.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What a step of the page may take, with everything that the model computes for it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Everything that a browser would do of its own accord, off.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
];

/// A browser with one page open.
pub struct Browser {
    child: Child,
    to: RefCell<ChildStdin>,
    from: Receiver<Value>,
    /// The page; empty for messages to the browser as a whole.
    session: String,
    next: Cell<u64>,
    /// Errors that the page made: on its console, uncaught, against the policy, of requests.
    complaints: RefCell<Vec<String>>,
    downloads: RefCell<Vec<Value>>,
    /// Files of the browser; gone with it.
    folder: tempfile::TempDir,
}

/// Where the browser is, where there is one.
pub fn program() -> String {
    std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into())
}

impl Browser {
    pub fn open(width: u32, height: u32, scheme: &str) -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        // The pipe is expected at 3 and 4, where std cannot put it.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#, &program()]);
        let mut child = command
            .args(FLAGS)
            .args([&profile, "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, mut lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while lines.read_until(0, &mut message).is_ok_and(|n| n > 1) {
                let value = serde_json::from_slice(&message[..message.len() - 1]).unwrap();
                message.clear();
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            child,
            to: RefCell::new(to),
            from,
            session: String::new(),
            next: Cell::new(1),
            complaints: RefCell::default(),
            downloads: RefCell::default(),
            folder,
        };
        let allow = json!({ "behavior": "allowAndName", "downloadPath": browser.folder.path(), "eventsEnabled": true });
        browser.call("Browser.setDownloadBehavior", allow);
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().into();
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(width, height);
        browser.scheme(scheme);
        browser
    }

    /// Asks for something and waits for the answer.
    pub fn call(&self, method: &str, params: Value) -> Value {
        let id = self.next.replace(self.next.get() + 1);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() && !method.starts_with("Browser.") && !method.starts_with("Target.") {
            message["sessionId"] = json!(self.session);
        }
        let mut to = self.to.borrow_mut();
        to.write_all(format!("{message}\0").as_bytes()).and_then(|()| to.flush()).expect("the browser listens");
        loop {
            let said = self.from.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{method}: no answer: {e}"));
            if said["id"] == json!(id) {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].clone();
            }
            self.heard(&said);
        }
    }

    fn heard(&self, said: &Value) {
        let p = &said["params"];
        let complaint = match said["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => format!("uncaught: {}", p["exceptionDetails"]),
            "Runtime.consoleAPICalled"
                if ["error", "warning", "assert"].contains(&p["type"].as_str().unwrap_or("")) =>
            {
                format!("console: {}", p["args"])
            }
            "Log.entryAdded" if p["entry"]["level"] == "error" || p["entry"]["source"] == "security" => {
                format!("log: {}", p["entry"])
            }
            "Audits.issueAdded" if p["issue"]["code"] == "ContentSecurityPolicyIssue" => {
                format!("policy: {}", p["issue"])
            }
            "Network.requestWillBeSent" => {
                let url = p["request"]["url"].as_str().unwrap_or_default();
                let own = ["http://127.0.0.1:", "blob:", "data:", "about:"].iter().any(|s| url.starts_with(s));
                if own { return } else { format!("a request elsewhere: {url}") }
            }
            "Browser.downloadProgress" => return self.downloads.borrow_mut().push(p.clone()),
            _ => return,
        };
        self.complaints.borrow_mut().push(complaint);
    }

    /// What went wrong on the page since the last time; empties it.
    pub fn complaints(&self) -> Vec<String> {
        self.eval("null");
        self.complaints.take()
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn eval(&self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", ask);
        assert!(result["exceptionDetails"].is_null(), "{expression}\n{}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true, or whatever counts as that, and gives it.
    pub fn until(&self, expression: &str) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.eval(expression);
            let is_true = !(value.is_null() || value == json!(false) || value == json!(0) || value == json!(""));
            if is_true {
                return value;
            }
            if begun.elapsed() > PATIENCE {
                self.screenshot("gave-up");
                panic!(
                    "never true: {expression}\nerrors shown: {}",
                    self.eval("document.body.innerText.slice(0, 3000)")
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens an address and waits until the page is complete.
    pub fn go(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    pub fn size(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the system prefers: `light` or `dark`.
    pub fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Clicks in the middle of an element, as a mouse does: what lies above it gets the click.
    pub fn click(&self, selector: &str) {
        let at = self.until(&format!(
            "(() => {{ const e = document.querySelector({0}); if (!e) return null;
               e.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }});
               const r = e.getBoundingClientRect();
               return r.width > 0 && {{ x: r.x + r.width / 2, y: r.y + r.height / 2 }}; }})()",
            json!(selector)
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let (button, count) = if kind == "mouseMoved" { ("none", 0) } else { ("left", 1) };
            let event = json!({ "type": kind, "x": at["x"], "y": at["y"], "button": button, "clickCount": count });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Text as from a keyboard, into what has the focus.
    pub fn write(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// A key by its name; `modifiers`: 8 is shift.
    pub fn key(&self, key: &str, modifiers: u8) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            "ArrowLeft" => (37, ""),
            "ArrowRight" => (39, ""),
            "Home" => (36, ""),
            "End" => (35, ""),
            other => panic!("what is the code of {other}?"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": if key == " " { "Space" } else { key },
                "windowsVirtualKeyCode": code, "modifiers": modifiers });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Chooses in a `select`, as a hand would: its events come.
    pub fn choose(&self, selector: &str, value: &str) {
        self.until(&format!(
            "(() => {{ const e = document.querySelector({0}); if (!e) return false; e.value = {1};
               if (e.value !== {1}) return false;
               e.dispatchEvent(new Event('input', {{ bubbles: true }}));
               e.dispatchEvent(new Event('change', {{ bubbles: true }})); return true; }})()",
            json!(selector),
            json!(value)
        ));
    }

    /// The bytes of the next download, after `act` began it.
    pub fn download(&self, act: impl FnOnce()) -> Vec<u8> {
        self.downloads.borrow_mut().clear();
        act();
        let begun = Instant::now();
        loop {
            self.eval("null");
            let done = self.downloads.borrow().iter().find(|d| d["state"] == "completed").cloned();
            if let Some(done) = done {
                return std::fs::read(self.folder.path().join(done["guid"].as_str().unwrap())).unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no download: {:?}", self.downloads);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A picture of what is to be seen, into the folder that PERSONASCOPE_SCREENSHOTS names, if it does.
    pub fn screenshot(&self, name: &str) {
        let Ok(folder) = std::env::var("PERSONASCOPE_SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": false }));
        let bytes = from_base64(picture["data"].as_str().unwrap());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|c| *c != b'=').map(value).collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0u32, |all, six| all << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
