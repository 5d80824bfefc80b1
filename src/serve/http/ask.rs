//! What a request says: a JSON body, or the words behind the `?`.

use super::fail::shortened;
use crate::serve::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

/// Bytes that a body may have.
pub const MOST: usize = 4 << 20;

/// In which time a body has to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A body of JSON.
pub struct Said<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Said<T>, Problem> {
        announced(request.headers())?;
        let read = tokio::time::timeout(PATIENCE, whole(request.into_body())).await;
        let late = || Problem { status: 408, what: "the request did not arrive in time".into(), hint: AGAIN.into() };
        parsed(&read.map_err(|_| late())??).map(Said)
    }
}

/// The words behind the `?`.
pub struct Words<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Words<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Words<T>, Problem> {
        let wrong = |e: &dyn std::fmt::Display| {
            Problem::bad(format!("the address does not say what is asked: {}", shortened(&e.to_string())), RELOAD)
        };
        Query::try_from_uri(&parts.uri).map(|Query(words)| Words(words)).map_err(|e| wrong(&e.body_text()))
    }
}

const AGAIN: &str = "send it again";
const RELOAD: &str = "docs/PAGE.md says what is sent where; a page that is older than the server needs a reload";

/// What the headers promise, before anything of the body is read.
fn announced(headers: &HeaderMap) -> Result<(), Problem> {
    let said = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    let kind = said(header::CONTENT_TYPE).and_then(|t| t.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let what = "the body is not said to be JSON";
        let hint = "send `content-type: application/json`".into();
        return Err(Problem { status: 415, what: what.into(), hint });
    }
    match said(header::CONTENT_LENGTH).map(str::parse::<u64>) {
        Some(Ok(length)) if length > MOST as u64 => Err(too_large()),
        _ => Ok(()),
    }
}

fn too_large() -> Problem {
    let what = format!("the request is larger than {} MiB", MOST >> 20);
    Problem { status: 413, what, hint: "a conversation of that length fits in no model: send less of it".into() }
}

/// All of a body, unless it is too large.
async fn whole(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut all = Vec::new();
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut chunks).poll_next(cx)).await {
        let chunk = chunk.map_err(|_| Problem::bad("the request broke off", AGAIN))?;
        if all.len() + chunk.len() > MOST {
            return Err(too_large());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// 400 for what is no JSON, 422 for JSON that says something else.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| {
        // What says something else may be no JSON behind the place where that was seen.
        let e = match e.classify() {
            Category::Data => serde_json::from_slice::<serde::de::IgnoredAny>(body).err().unwrap_or(e),
            _ => e,
        };
        let place = format!("line {}, column {}", e.line(), e.column());
        match e.classify() {
            Category::Data => {
                let said = e.to_string();
                let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
                Problem::refused(
                    format!("the request is not what is asked for here: {} ({place})", shortened(said)),
                    RELOAD,
                )
            }
            Category::Eof => Problem::bad(format!("the JSON of the request ends too early ({place})"), AGAIN),
            _ => Problem::bad(
                format!("the request is no JSON ({place})"),
                "write it as JSON has it: names in quotes, numbers that are finite and not beyond 1.8e308",
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    struct Asked {
        strength: f64,
    }

    fn status(body: &str) -> u16 {
        parsed::<Asked>(body.as_bytes())
            .map_or_else(|p| p.status, |asked| if asked.strength.is_finite() { 200 } else { 0 })
    }

    #[test]
    fn what_is_no_json_is_bad_and_what_says_something_else_is_refused() {
        assert_eq!(status(r#"{"strength": 1.5}"#), 200);
        for bad in [
            "",
            "{",
            "{'strength': 1}",
            r#"{"strength": NaN}"#,
            r#"{"strength": 1e999}"#,
            "\u{feff}{}",
            r#"{"strength": 1} {}"#,
        ] {
            assert_eq!(status(bad), 400, "{bad}");
        }
        assert_eq!(parsed::<Asked>(b"{\"strength\": \"\xff\"}").unwrap_err().status, 400);
        for other in ["{}", "[]", "null", r#"{"strength": "NaN"}"#, r#"{"strength": null}"#] {
            assert_eq!(status(other), 422, "{other}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parsed::<serde_json::Value>(deep.as_bytes()).unwrap_err().status, 400);
    }

    #[test]
    fn a_refusal_says_what_and_where_and_does_not_repeat_the_request() {
        let p = parsed::<Asked>(b"{\n \"other\": 1}").unwrap_err();
        assert!(p.what.contains("`strength`") && p.what.contains("line 2"), "{}", p.what);
        let long = format!("{{\"strength\": \"{}\"}}", "x".repeat(10_000));
        assert!(parsed::<Asked>(long.as_bytes()).unwrap_err().what.len() < 400);
    }

    #[test]
    fn a_body_is_judged_by_what_the_headers_say_of_it() {
        let with = |kind: &str, length: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            headers.insert(header::CONTENT_LENGTH, length.parse().unwrap());
            announced(&headers).map_or_else(|p| p.status, |()| 200)
        };
        assert_eq!(with("application/json", "4194304"), 200);
        assert_eq!(with("Application/JSON; charset=utf-8", "2"), 200);
        assert_eq!(with("application/json", "4194305"), 413);
        assert_eq!(with("text/plain", "2"), 415);
        assert_eq!(announced(&HeaderMap::new()).unwrap_err().status, 415);
    }
}
