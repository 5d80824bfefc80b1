//! HTTP: who may ask, what is asked, and answers. Only this module knows of it.

mod ask;
mod assets;
mod connections;
mod fail;
mod guard;
mod headers;
mod results;
mod routes;
mod stop;
mod stream;
#[cfg(test)]
mod tests;

pub use guard::Access;

use crate::error::{Error, Result};
use crate::serve::app::App;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use connections::{AtWork, Limited};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// What running streams have after the signal to end by themselves.
const ENDING: Duration = Duration::from_millis(500);

/// What a request that cannot be interrupted has after that.
const LAST: Duration = Duration::from_millis(250);

/// Exit code of a program that was told twice to end: 128 and the number of the signal.
const AT_ONCE: i32 = 130;

/// Serves until a signal says to end, and then ends within a second. A second signal ends the program at once.
///
/// All work of the model ends with the first signal; what is written at that time is written to its end, or not at all.
///
/// # Errors
/// A listener or a system that cannot be used so.
pub fn run(app: Arc<App>, listener: TcpListener, access: Access) -> Result<()> {
    let failed = |doing: &'static str| move |e| Error::io(doing, "the server", e);
    let mut building = tokio::runtime::Builder::new_multi_thread();
    let building = building.worker_threads(2).max_blocking_threads(64).thread_name("http").enable_all();
    let runtime = building.build().map_err(failed("start"))?;
    let done = runtime.block_on(async {
        listener.set_nonblocking(true).map_err(failed("start"))?;
        let listener = Limited::new(tokio::net::TcpListener::from_std(listener).map_err(failed("start"))?);
        let mut stops = stop::Stops::listen()?;
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        let service = guarded(routes::all(app.clone()), access).into_make_service_with_connect_info::<AtWork>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(async {
            let _ = ended.await;
        });
        let stopped = async {
            stops.next().await;
            tokio::spawn(async move {
                stops.next().await;
                std::process::exit(AT_ONCE);
            });
            app.stop();
            let _ = ending.send(());
            tokio::time::sleep(ENDING).await;
        };
        tokio::select! {
            served = serving => served.map_err(failed("go on with")),
            () = stopped => Ok(()),
        }
    });
    runtime.shutdown_timeout(LAST);
    done
}

/// Every request has to be admitted, and every answer has the headers.
fn guarded(routes: Router, access: Access) -> Router {
    let routes = routes.fallback(fail::unknown).method_not_allowed_fallback(fail::other_method);
    routes.layer(from_fn_with_state(Arc::new(access), around))
}

async fn around(
    State(access): State<Arc<Access>>,
    ConnectInfo(at_work): ConnectInfo<AtWork>,
    request: Request,
    next: Next,
) -> Response {
    let _working = at_work.begin();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let is_page = uri.path() == "/";
    let mut response = match access.admit(&method, &uri, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) if is_page => return answered(fail::in_words(problem)),
        Err(problem) => return answered(problem.into_response()),
    };
    let cookie = access.cookie(&uri).filter(|_| is_page && method == Method::GET);
    if let Some(cookie) = cookie.and_then(|c| HeaderValue::try_from(c).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answered(response)
}

fn answered(mut response: Response) -> Response {
    headers::secure(response.headers_mut());
    response
}
