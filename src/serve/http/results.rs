//! Results of runs: lists, pages of tables, and files as they are.

use super::ask::{Said, Words};
use super::routes::{Shared, aside};
use crate::error::Error;
use crate::serve::Problem;
use crate::serve::app::App;
use crate::serve::runs::TableAsk;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// A file that is larger is not sent in one piece.
const LARGEST: u64 = 256 << 20;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/runs", get(runs))
        .route("/api/table", get(table))
        .route("/api/download", get(download))
        .route("/api/figure", get(figure))
        .route("/api/rescan", post(rescan))
}

/// Bytes that a browser saves under a name.
pub fn attachment(name: &str, kind: &str, bytes: Vec<u8>) -> Response {
    // In quotes, where some letters would end them or the line.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut response = sent(kind, bytes);
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

fn sent(kind: &str, bytes: Vec<u8>) -> Response {
    let kind = HeaderValue::try_from(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    ([(header::CONTENT_TYPE, kind)], Body::from(bytes)).into_response()
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |e| Problem::from(Error::io("read", path, e));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST {
        let hint = "take it from the folder itself: the list of runs says where";
        return Err(Problem::refused(format!("a file of {size} bytes is too large for a page"), hint));
    }
    std::fs::read(path).map_err(failed)
}

async fn runs(State(app): Shared) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.runs()).into_response())).await
}

#[derive(Deserialize)]
struct OfTable {
    run: String,
    table: String,
    sort: Option<String>,
    desc: Option<String>,
    filter: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

impl OfTable {
    fn ask(&self) -> Result<TableAsk, Problem> {
        let all = TableAsk::default();
        let desc = match self.desc.as_deref().unwrap_or_default() {
            "" | "0" | "false" => false,
            "1" | "true" => true,
            other => {
                let what = format!("`desc` is `{}`", super::fail::shortened(other));
                return Err(Problem::bad(what, "1 sorts downwards, 0 upwards"));
            }
        };
        Ok(TableAsk {
            sort: self.sort.clone().filter(|s| !s.is_empty()),
            desc,
            filter: self.filter.clone().unwrap_or(all.filter),
            offset: self.offset.unwrap_or(all.offset),
            limit: self.limit.unwrap_or(all.limit),
        })
    }
}

async fn table(State(app): Shared, Words(of): Words<OfTable>) -> Result<Response, Problem> {
    aside(app, move |app| Ok(Json(app.table(&of.run, &of.table, &of.ask()?)?).into_response())).await
}

#[derive(Deserialize)]
struct OfFile {
    run: String,
    file: String,
}

async fn download(State(app): Shared, Words(of): Words<OfFile>) -> Result<Response, Problem> {
    aside(app, move |app| {
        let (path, kind) = app.file(&of.run, &of.file)?;
        Ok(attachment(&of.file, kind, read(&path)?))
    })
    .await
}

#[derive(Deserialize)]
struct OfFigure {
    run: String,
    name: String,
}

async fn figure(State(app): Shared, Words(of): Words<OfFigure>) -> Result<Response, Problem> {
    aside(app, move |app| Ok(sent("image/svg+xml", read(&app.figure(&of.run, &of.name)?)?))).await
}

async fn rescan(State(app): Shared, Said(_): Said<serde_json::Value>) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.rescan()).into_response())).await
}
