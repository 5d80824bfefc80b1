//! Replies as they are drawn, as server-sent events.

use crate::serve::reply;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Comments in a stream that is silent, so that a client which is gone is noticed.
const PAUSE: Duration = Duration::from_secs(15);

/// A stream as an answer. It is dropped, which ends its work, when the client has gone.
pub fn events(stream: reply::Stream) -> Response {
    Sse::new(Events(stream)).keep_alive(KeepAlive::new().interval(PAUSE)).into_response()
}

struct Events(reply::Stream);

impl Stream for Events {
    type Item = Result<Event, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_recv(cx);
        next.map(|event| event.map(|e| Event::default().event(e.name).json_data(&e.data)))
    }
}
