//! Which address leads to what.

use super::ask::{Said, Words};
use super::results;
use super::{assets, fail, stream};
use crate::serve::Problem;
use crate::serve::app::App;
use crate::serve::library::Save;
use crate::serve::reply::{Ask, Measure};
use crate::serve::space::PathAsk;
use crate::text::Message;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

pub type Shared = State<Arc<App>>;

/// All of them.
pub fn all(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(|| async { assets::file("index.html") }))
        .route("/assets/{*name}", get(asset))
        .route("/api/about", get(about))
        .route("/api/status", get(status))
        .route("/api/vectors", get(vectors))
        .route("/api/vectors/save", post(save))
        .route("/api/default", get(default_band))
        .route("/api/reply", post(reply))
        .route("/api/measure", post(measure))
        .route("/api/card", post(card))
        .route("/api/export", post(export))
        .route("/api/space", get(space))
        .route("/api/space/role", get(role))
        .route("/api/space/path", post(path))
        .route("/api/marks", get(marks))
        .merge(results::routes())
        .with_state(app)
}

/// Work that may wait for the model or for a disk, away from the threads that serve.
pub async fn aside<T: Send + 'static>(
    app: Arc<App>,
    work: impl FnOnce(&Arc<App>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(move || work(&app)).await.unwrap_or_else(|_| Err(fail::broken()))
}

/// What is there, or 202 with how far it is.
fn once_ready(value: Result<impl Serialize, impl Serialize>) -> Response {
    match value {
        Ok(value) => Json(value).into_response(),
        Err(so_far) => (StatusCode::ACCEPTED, Json(so_far)).into_response(),
    }
}

async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    assets::file(&name)
}

async fn about(State(app): Shared) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.about()).into_response())).await
}

async fn status(State(app): Shared) -> Response {
    Json(app.status()).into_response()
}

async fn vectors(State(app): Shared) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.vectors()).into_response())).await
}

async fn save(State(app): Shared, Said(ask): Said<Save>) -> Result<Response, Problem> {
    aside(app, move |app| Ok(Json(app.save(&ask)?).into_response())).await
}

#[derive(Deserialize)]
struct OfVector {
    vector: String,
}

async fn default_band(State(app): Shared, Words(of): Words<OfVector>) -> Result<Response, Problem> {
    aside(app, move |app| {
        let band = app.default_band(&of.vector)?;
        Ok(once_ready(band.as_deref().ok_or(json!({ "ready": false }))))
    })
    .await
}

async fn reply(State(app): Shared, Said(ask): Said<Ask>) -> Result<Response, Problem> {
    aside(app, |app| app.reply(ask)).await.map(stream::events)
}

async fn measure(State(app): Shared, Said(ask): Said<Measure>) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.measure(ask)?).into_response())).await
}

#[derive(Deserialize)]
struct CardText {
    toml: String,
}

async fn card(State(app): Shared, Said(text): Said<CardText>) -> Result<Response, Problem> {
    aside(app, move |app| Ok(Json(app.card(&text.toml)?).into_response())).await
}

#[derive(Deserialize)]
struct Conversation {
    id: String,
    messages: Vec<Message>,
}

async fn export(State(app): Shared, Said(what): Said<Conversation>) -> Result<Response, Problem> {
    let lines = app.export(&what.id, &what.messages)?;
    Ok(results::attachment("conversation.jsonl", "application/x-ndjson", lines.into()))
}

#[derive(Deserialize)]
struct AtSite {
    site: Option<String>,
}

async fn space(State(app): Shared, Words(at): Words<AtSite>) -> Result<Response, Problem> {
    let site = at.site.filter(|s| !s.is_empty());
    aside(app, move |app| Ok(once_ready(app.space(site.as_deref())?))).await
}

#[derive(Deserialize)]
struct OfRole {
    name: String,
    adapter: Option<String>,
}

async fn role(State(app): Shared, Words(of): Words<OfRole>) -> Result<Response, Problem> {
    let adapter = of.adapter.filter(|a| !a.is_empty());
    aside(app, move |app| Ok(Json(app.role(&of.name, adapter.as_deref())?).into_response())).await
}

async fn path(State(app): Shared, Said(ask): Said<PathAsk>) -> Result<Response, Problem> {
    aside(app, move |app| Ok(Json(app.path(&ask)?).into_response())).await
}

async fn marks(State(app): Shared) -> Result<Response, Problem> {
    aside(app, |app| Ok(Json(app.marks()?).into_response())).await
}
