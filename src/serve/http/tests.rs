//! Connections as clients see them, with routes of the tests' own.

use super::ask::{MOST, Said};
use super::connections::{AtWork, Limited};
use super::{Access, guarded};
use axum::Router;
use axum::routing::{get, post};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const TOKEN: &str = "0123456789abcdef";
const HEAD: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(600);

/// A server with short limits, for as long as `check` runs.
fn with_server(check: impl FnOnce(u16)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let bound = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/", get(|| async { "page" }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(2 * HEAD).await;
                "done"
            }),
        )
        .route("/say", post(|Said(text): Said<String>| async { text }));
    let service = guarded(routes, Access::new(TOKEN, "127.0.0.1", bound).unwrap());
    let service = service.into_make_service_with_connect_info::<AtWork>();
    let serving = runtime.spawn(async { axum::serve(Limited::with(listener, HEAD, IDLE), service).await });
    check(bound.port());
    serving.abort();
    runtime.shutdown_background();
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn head(port: u16, line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {TOKEN}\r\n{more}\r\n")
}

/// Everything until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}"),
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn a_head_that_does_not_come_closes_the_connection() {
    with_server(|port| {
        for begun_with in ["", "GET / HTTP/1.1\r\nhost: 127"] {
            let begun = Instant::now();
            let mut stream = connect(port);
            stream.write_all(begun_with.as_bytes()).unwrap();
            assert_eq!(rest(stream), "");
            assert!(begun.elapsed() >= HEAD - Duration::from_millis(20) && begun.elapsed() < 50 * HEAD, "{begun_with}");
        }
        // One that comes drop by drop is no better.
        let mut stream = connect(port);
        let begun = Instant::now();
        for byte in head(port, "GET /", "").bytes() {
            std::thread::sleep(Duration::from_millis(20));
            if stream.write_all(&[byte]).is_err() {
                break;
            }
        }
        assert!(begun.elapsed() < 50 * HEAD, "{:?}", begun.elapsed());
    });
}

#[test]
fn work_may_take_longer_than_a_head_and_a_connection_is_used_again() {
    with_server(|port| {
        let mut stream = connect(port);
        for _ in 0..2 {
            stream.write_all(head(port, "GET /slow", "").as_bytes()).unwrap();
            let mut answer = String::new();
            while !answer.ends_with("done") {
                let mut bytes = [0; 4096];
                let n = stream.read(&mut bytes).unwrap();
                assert!(n > 0, "closed after `{answer}`");
                answer += std::str::from_utf8(&bytes[..n]).unwrap();
            }
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let begun = Instant::now();
        assert_eq!(rest(stream), "");
        assert!(begun.elapsed() >= IDLE - Duration::from_millis(100), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent_and_while_it_is() {
    with_server(|port| {
        let json = "content-type: application/json\r\n";
        let announced = head(port, "POST /say", &format!("{json}content-length: 104857600\r\n"));
        let mut patient = connect(port);
        patient.write_all(announced.as_bytes()).unwrap();
        assert!(rest(patient).starts_with("HTTP/1.1 413 "));

        // One that sends without listening, and one that does not say how much comes.
        let mut hasty = connect(port);
        hasty.write_all(announced.as_bytes()).unwrap();
        let sent = (0..100).take_while(|_| hasty.write_all(&vec![b' '; 1 << 20]).is_ok()).count();
        assert!(rest(hasty).starts_with("HTTP/1.1 413 ") || sent < 100);

        let mut chunked = connect(port);
        let more = format!("{json}transfer-encoding: chunked\r\n");
        chunked.write_all(head(port, "POST /say", &more).as_bytes()).unwrap();
        let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        let before = MOST >> 20;
        for _ in 0..before {
            chunked.write_all(&chunk).unwrap();
        }
        let _ = chunked.write_all(&chunk);
        assert!(rest(chunked).starts_with("HTTP/1.1 413 "));
    });
}

#[test]
fn every_answer_has_the_headers_and_a_refusal_is_one_that_can_be_read() {
    with_server(|port| {
        let ask = |request: String| {
            let mut stream = connect(port);
            stream.write_all(request.as_bytes()).unwrap();
            rest(stream)
        };
        let close = "connection: close\r\n";
        let say = format!("{close}content-type: application/json\r\ncontent-length: 4\r\n");
        let strange = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{close}\r\n");
        for (status, request) in [
            (200, head(port, "GET /", close)),
            (401, strange.clone()),
            (401, strange.replace("GET /", "GET /slow")),
            (403, head(port, "GET /", &format!("{close}origin: http://evil.example\r\n"))),
            (404, head(port, "GET /nothing", close)),
            (405, head(port, "DELETE /", close)),
            (415, head(port, "POST /say", &format!("{close}content-length: 0\r\n"))),
            (422, head(port, "POST /say", &say) + "1234"),
            (400, head(port, "POST /say", &say) + "{[}]"),
        ] {
            let answer = ask(request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
            for must in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "no-store"] {
                assert!(answer.contains(must), "{must}: {answer}");
            }
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            // Whoever opened the page itself reads words, a program JSON.
            let in_words = answer.contains("content-type: text/plain") && body.trim().split("\n\n").count() == 2;
            let json = serde_json::from_str::<serde_json::Value>(body);
            let said =
                |v: &serde_json::Value| v["error"].is_string() && v["hint"].as_str().is_some_and(|h| !h.is_empty());
            assert!(status == 200 || in_words || json.as_ref().is_ok_and(said), "{answer}");
        }
        let page = ask(head(port, &format!("GET /?token={TOKEN}"), close));
        assert!(
            page.contains(&format!("set-cookie: personascope-{port}={TOKEN}; HttpOnly; SameSite=Strict")),
            "{page}"
        );
        assert!(!ask(head(port, "GET /", close)).contains("set-cookie"));
    });
}
