//! `personascope serve` as a process, and a client for it that is written by hand: what is sent is exactly what stands here.
#![allow(dead_code)]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes longer, or something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_personascope")
}

/// A folder with shipped runs and their figures, as they lie in the repository.
pub fn results(runs: &[&str]) -> tempfile::TempDir {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: PathBuf, wanted: &dyn Fn(&str) -> bool| {
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap().flatten().filter(|f| wanted(&f.file_name().to_string_lossy())) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    for run in runs {
        let data = Path::new("notebooks-data").join(run);
        copy(here.join(&data), folder.path().join(&data), &|_| true);
    }
    copy(here.join("figures"), folder.path().join("figures"), &|name| runs.iter().any(|run| name.starts_with(run)));
    folder
}

/// A server of its own, ended when this goes.
pub struct Server {
    pub child: Child,
    /// As it was printed, with the token.
    pub address: String,
    pub token: String,
    pub port: u16,
}

impl Server {
    /// Starts one on a free port and waits until it says where it is.
    pub fn start(args: &[&str]) -> Server {
        let mut command = Command::new(binary());
        command.arg("serve").args(["--port", "0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut errors = child.stderr.take().unwrap();
        if line.is_empty() {
            let mut said = String::new();
            let _ = errors.read_to_string(&mut said);
            panic!("no address: {said}");
        }
        // A pipe that nobody empties would stop the server in the end.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let address = line.trim().to_string();
        let (authority, token) = address.strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
        let port = authority.rsplit_once(':').unwrap().1.parse().unwrap();
        Server { child, token: token.into(), port, address: address.clone() }
    }

    pub fn client(&self) -> Client {
        Client { port: self.port, token: self.token.clone() }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// How it ended, within a time.
    pub fn ended(&mut self, within: Duration) -> Option<std::process::ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who has the token.
#[derive(Clone)]
pub struct Client {
    pub port: u16,
    pub token: String,
}

/// An answer as a whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Client {
    pub fn connect(&self) -> TcpStream {
        let to = SocketAddr::from(([127, 0, 0, 1], self.port));
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes, and nothing else, and reads the answer.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_answer(&mut BufReader::new(stream))
    }

    /// A request in full, with the token.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("host: 127.0.0.1:{}\r\n", self.port);
        }
        if !has("authorization") {
            head += &format!("authorization: Bearer {}\r\n", self.token);
        }
        if method == "POST" && !has("content-length") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
        [format!("{head}\r\n").as_bytes(), body].concat()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.raw(&self.request("GET", path, &[], b""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        self.raw(&self.request("POST", path, &[("content-type", "application/json")], body.as_bytes()))
    }

    /// Asks until it is ready: computed things are, in the end.
    pub fn ready(&self, path: &str) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            match answer.status {
                200 => return answer.json(),
                202 => assert!(begun.elapsed() < PATIENCE, "{path} is not ready: {}", answer.text()),
                other => panic!("{path}: {other} {}", answer.text()),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for replies, and listens.
    pub fn reply(&self, ask: &Value) -> Events {
        let body = ask.to_string();
        let mut stream = self.connect();
        let request = self.request("POST", "/api/reply", &[("content-type", "application/json")], body.as_bytes());
        stream.write_all(&request).unwrap();
        let mut lines = BufReader::new(stream);
        let (status, headers) = read_head(&mut lines);
        if status != 200 {
            let answer = Answer { status, body: read_body(&mut lines, &headers), headers };
            panic!("{status}: {}", answer.text());
        }
        let kind = headers.iter().find(|(n, _)| n == "content-type").map(|(_, v)| v.as_str());
        assert_eq!(kind, Some("text/event-stream"));
        Events { lines: BufReader::new(Chunks { from: lines, left: 0, ended: false }) }
    }

    /// Asks for replies and hears all of it.
    pub fn replies(&self, ask: &Value) -> Vec<(String, Value)> {
        self.reply(ask).collect()
    }
}

/// The data of the events of a kind.
pub fn of_kind<'a>(events: &'a [(String, Value)], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|(k, _)| k == kind).map(|(_, v)| v).collect()
}

/// Events as they come.
pub struct Events {
    lines: BufReader<Chunks>,
}

impl Iterator for Events {
    type Item = (String, Value);

    fn next(&mut self) -> Option<(String, Value)> {
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            if let Some(name) = line.strip_prefix("event: ") {
                kind = name.into();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((kind, serde_json::from_str(data).unwrap()));
            } else {
                assert!(line.is_empty() || line.starts_with(':'), "{line}");
            }
        }
    }
}

pub fn read_answer(from: &mut BufReader<TcpStream>) -> Answer {
    let (status, headers) = read_head(from);
    Answer { status, body: read_body(from, &headers), headers }
}

fn read_head(from: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in `{line}`"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_string())),
            None => return (status, headers),
        }
    }
}

fn read_body(from: &mut BufReader<TcpStream>, headers: &[(String, String)]) -> Vec<u8> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    match header("content-length") {
        Some(length) => from.take(length.parse().unwrap()).read_to_end(&mut body).map(drop).unwrap(),
        None if header("transfer-encoding") == Some("chunked") => loop {
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            from.take(length as u64).read_to_end(&mut body).unwrap();
            from.read_line(&mut line).unwrap();
            if length == 0 {
                break;
            }
        },
        None => from.read_to_end(&mut body).map(drop).unwrap(),
    }
    body
}

/// The bytes of a chunked body.
struct Chunks {
    from: BufReader<TcpStream>,
    left: usize,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut line = String::new();
            self.from.read_line(&mut line)?;
            if line.trim().is_empty() {
                line.clear();
                self.from.read_line(&mut line)?;
            }
            // A connection that broke off ends like a body: what is missing is noticed by who counts.
            self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            self.ended = self.left == 0;
        }
        let most = self.left.min(buf.len());
        let n = self.from.read(&mut buf[..most])?;
        self.left -= n;
        Ok(n)
    }
}
