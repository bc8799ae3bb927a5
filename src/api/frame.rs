//! The outermost layer of every request: it gives an id, limits the time, writes one log line, and makes each error a problem.
//!
//! A handler runs in its own task. So neither a client that disconnects nor our time limit can stop it between a commit and
//! the notice to the dialer, and a panic ends one request only.

use super::held::Held;
use super::limit::Turn;
use super::problem::{Kind, Problem};
use super::{ApiState, Caller, REQUEST_TIMEOUT, audit, events, imports, masking};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, debug, error, info, warn};
use uuid::Uuid;

/// The outermost layer.
pub(super) async fn frame(State(state): State<ApiState>, request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let request_id = Uuid::now_v7();
    let id = request_id.to_string();
    let asked = audit::Asked::new(request_id, &request);
    let method = request.method().clone();
    // The template, never the path itself: what people put into paths may be personal.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request.id = %id);
    // A client that disconnects ends this future. Without the task, its changes would be missing in the audit.
    let answered = async move {
        let mut response = run(request, next).await;
        let turn = response.extensions_mut().remove::<Arc<Turn>>();
        let caller = response.extensions().get::<Caller>().copied();
        let response = finish(&state, response, &id, &method, route.as_deref(), started);
        let response = asked.answered(&state, caller, response).await;
        (response, caller, turn)
    };
    let Ok((response, caller, turn)) = tokio::spawn(answered.instrument(span)).await else {
        return Problem::internal(anyhow::anyhow!("the audit panicked")).into_response();
    };
    let response = if caller.is_some_and(|caller| !caller.sees_numbers) {
        masking::masked(response).await
    } else {
        response
    };
    match turn {
        // A stream has no end. The number of streams has its own limit.
        Some(_) if events::is_stream(response.headers()) => response,
        Some(turn) => response.map(|body| Body::new(Held::new(body, turn))),
        None => response,
    }
}

async fn run(request: Request, next: Next) -> Response<Body> {
    let limit = if imports::is_upload(&request) {
        imports::UPLOAD_TIMEOUT
    } else {
        REQUEST_TIMEOUT
    };
    let work = tokio::spawn(async move { next.run(request).await }.in_current_span());
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(response)) => response,
        // The message of a panic may contain personal data, so it is not logged. The panic hook has logged the place.
        Ok(Err(_)) => Problem::internal(anyhow::anyhow!("the handler panicked")).into_response(),
        Err(_) => Problem::unavailable(
            "The request takes too long. It may still be carried out: look before you send it again.",
            5,
        )
        .into_response(),
    }
}

fn finish(
    state: &ApiState,
    mut response: Response<Body>,
    id: &str,
    method: &Method,
    route: Option<&str>,
    started: Instant,
) -> Response<Body> {
    let status = response.status();
    let caller = response.extensions_mut().remove::<Caller>();
    if status.is_client_error() || status.is_server_error() {
        let problem = response
            .extensions_mut()
            .remove::<Arc<Problem>>()
            .unwrap_or_else(|| Arc::new(Problem::of_status(status)));
        let (old, _) = response.into_parts();
        response = problem.respond(Some(id));
        // The layer below sets headers that only it knows, such as `Allow` of a 405.
        for (name, value) in &old.headers {
            if !response.headers().contains_key(name) && name != "content-length" {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        report(&problem, id);
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-request-id", value);
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let took = started.elapsed();
    let status = response.status().as_u16();
    // A client can invent methods, and each would be a new series of metrics.
    let method = match method.as_str() {
        "GET" | "HEAD" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let route = route.unwrap_or("(no route)");
    state.metrics.request_answered(method, route, status, took);
    let key = caller.map(|caller| caller.key);
    let took_us = took.as_micros();
    // Changes and errors are logged at the level info. Successful reads are not, as a client may read every second. Requests
    // without a valid key are, up to a limit per second.
    let flood = || state.strangers_logged.take(0, Instant::now()).is_err();
    if method == "GET" && status < 400 || key.is_none() && flood() {
        debug!(
            http.method = method,
            http.route = route,
            http.status = status,
            api_key.id = key,
            took_us,
            "{method} {route} answered {status}"
        );
    } else {
        info!(
            http.method = method,
            http.route = route,
            http.status = status,
            api_key.id = key,
            took_us,
            "{method} {route} answered {status}"
        );
    }
    response
}

/// Logs the cause of a problem. Nothing else does.
fn report(problem: &Problem, id: &str) {
    let cause = problem
        .cause()
        .map(|cause| format!("{cause:#}"))
        .unwrap_or_default();
    match problem.kind() {
        Kind::Internal => error!(error = cause, "request {id} failed"),
        Kind::Unavailable => warn!(
            error = cause,
            "request {id} could not be served now; the client may repeat it"
        ),
        _ => {}
    }
}
