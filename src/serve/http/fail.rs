//! A problem as an answer: always JSON, always with what to do next.

use crate::serve::Problem;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(json!({ "error": self.what, "hint": self.hint }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A problem as text, for somebody who opened the page itself.
pub fn in_words(problem: Problem) -> Response {
    let words = format!("{}\n\n{}\n", problem.what, problem.hint);
    let mut response = problem.into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    *response.body_mut() = words.into();
    response
}

/// No such address.
pub async fn unknown(uri: axum::http::Uri) -> Problem {
    Problem::missing(format!("no {} here", shortened(uri.path())), "the page is at `/`; docs/PAGE.md lists the rest")
}

/// An address that is asked in another way.
pub async fn other_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let what = format!("{method} is not how {} is asked", shortened(uri.path()));
    Problem { status: 405, what, hint: "what reads is a GET, what does something a POST with JSON".into() }
}

/// Work that ended without an answer.
pub fn broken() -> Problem {
    let hint = "this is a defect of personascope; the terminal says more, please report it";
    Problem { status: 500, what: "the server failed at this request".into(), hint: hint.into() }
}

/// Foreign text, not without end.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}
