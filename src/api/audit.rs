//! The audit: which key changed what, and which requests were refused. Each request is noted after it is answered.
//!
//! In: a request's method, route, ids and peer, its key and its status. Out: a row of the store. Nothing of a body or a
//! query is stored. A change is noted before its answer leaves; if the store fails, the entry is stored later. Refusals
//! are stored up to a rate and counted beyond it, so that refused requests cannot overload the store.

use super::extract::Query;
use super::limit::Limiter;
use super::page::{Page, Window};
use super::problem::ApiResult;
use super::words::Utc;
use super::{ApiState, Caller};
use crate::metrics::QueueMetrics;
use crate::store::{AuditEntry, AuditRow, Store};
use axum::Json;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, Response, StatusCode};
use paceline_core::ids::PbxName;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, warn};
use uuid::Uuid;

/// Refused requests stored per second, and the size of a burst.
const REFUSALS_PER_SECOND: u32 = 10;
/// Maximum number of entries that wait for the store.
const LATE_MAX: usize = 10_000;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The answer to a creation is small. Paceline does not search a larger one for its id.
const CREATED_BYTES_MAX: usize = 1024 * 1024;

/// The address that a request came from. [`super::listen`] sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// Writes entries to the store.
#[derive(Debug)]
pub(super) struct Trail {
    limiter: Limiter,
    /// Refusals that were not stored since the last stored one.
    suppressed: AtomicU64,
    late: Mutex<Late>,
    metrics: QueueMetrics,
}

/// Entries that the store could not write yet.
#[derive(Debug, Default)]
struct Late {
    entries: VecDeque<AuditEntry>,
    /// True while a task is running that stores them.
    retried: bool,
}

impl Trail {
    pub(super) fn new(metrics: QueueMetrics) -> Self {
        Self {
            limiter: Limiter::new(REFUSALS_PER_SECOND),
            suppressed: AtomicU64::new(0),
            late: Mutex::default(),
            metrics,
        }
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an entry now, or queues it until the store can write it.
    async fn keep(self: &Arc<Self>, store: &Store, entry: AuditEntry) {
        // An entry must not overtake the ones that wait.
        if self.late().entries.is_empty() {
            match store.add_audit(&entry).await {
                Ok(()) => return,
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    warn!(
                        error,
                        "the store cannot write the audit; it is repeated until it succeeds"
                    );
                }
            }
        }
        let mut late = self.late();
        if late.entries.len() >= LATE_MAX {
            self.metrics.dropped.inc();
            let (method, route) = (&entry.method, &entry.route);
            error!(
                request.id = %entry.request,
                api_key.id = entry.key,
                http.status = entry.status,
                "{method} {route} is missing in the audit, because the store could not write it for too long"
            );
            return;
        }
        late.entries.push_back(entry);
        self.metrics.depth.inc();
        if !std::mem::replace(&mut late.retried, true) {
            tokio::spawn(Arc::clone(self).store_late(store.clone()));
        }
    }

    async fn store_late(self: Arc<Self>, store: Store) {
        loop {
            let first = {
                let mut late = self.late();
                late.retried = !late.entries.is_empty();
                late.entries.front().cloned()
            };
            let Some(first) = first else { return };
            if store.add_audit(&first).await.is_ok() {
                self.late().entries.pop_front();
                self.metrics.depth.dec();
            } else {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    /// The number of refusals that were left out before this one. `None` if this one is left out too.
    fn admit(&self) -> Option<u64> {
        if self.limiter.take(0, Instant::now()).is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        self.metrics.dropped.inc();
        None
    }
}

/// The parts of a request that the audit stores.
#[derive(Debug)]
pub(super) struct Asked {
    id: Uuid,
    method: Method,
    route: String,
    path: String,
    object: Option<String>,
    peer: Option<IpAddr>,
}

impl Asked {
    pub(super) fn new(id: Uuid, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map(|path| path.as_str().to_owned()).unwrap_or_default();
        Self {
            id,
            method: request.method().clone(),
            object: object(&route, request.uri().path()),
            path: request.uri().path().to_owned(),
            route,
            peer: request.extensions().get::<Peer>().map(|peer| peer.0),
        }
    }

    /// Stores the request if it was refused or may have changed something.
    pub(super) async fn answered(
        self,
        state: &ApiState,
        caller: Option<Caller>,
        mut response: Response<Body>,
    ) -> Response<Body> {
        let status = response.status();
        let refused = matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        let reads = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let may_have_changed =
            !reads && caller.is_some() && (status.is_success() || status.is_server_error());
        if !refused && !may_have_changed {
            return response;
        }
        let Some(suppressed) = (if refused { state.trail.admit() } else { Some(0) }) else {
            return response;
        };
        let mut object = self.object;
        if object.is_none() && may_have_changed {
            object = pbx(state, &self.route, &self.path);
        }
        if object.is_none() && status == StatusCode::CREATED {
            (response, object) = created(response).await;
        }
        let entry = AuditEntry {
            at: state.clock.now().wall,
            request: self.id,
            key: caller.map(|caller| caller.key),
            peer: self.peer.map(|peer| peer.to_string()),
            method: method_name(&self.method).to_owned(),
            route: self.route,
            object,
            status: status.as_u16(),
            refused,
            suppressed,
        };
        state.trail.keep(&state.store, entry).await;
        response
    }
}

/// A client can send any word as a method, so unknown ones are not stored.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The id in a path. `None` for any other text there, because it may be personal data.
fn object(route: &str, path: &str) -> Option<String> {
    // No other part of a path is an id; one is a telephone number.
    let place = route.split('/').position(|part| part == "{id}")?;
    let text = path.split('/').nth(place)?;
    // Our ids are shorter than any telephone number.
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let is_id = is_number || text.parse::<Uuid>().is_ok();
    is_id.then(|| text.to_owned())
}

/// The PBX that a path names. `None` if no configured PBX has this name.
fn pbx(state: &ApiState, route: &str, path: &str) -> Option<String> {
    let place = route.split('/').position(|part| part == "{name}")?;
    let name = PbxName::new(path.split('/').nth(place)?);
    let known = state.dialer.pbxes().into_iter().any(|pbx| pbx.name == name);
    known.then(|| name.as_str().to_owned())
}

/// The id of a created object, read from the answer.
async fn created(response: Response<Body>) -> (Response<Body>, Option<String>) {
    #[derive(Deserialize)]
    struct Made {
        id: serde_json::Value,
    }
    let (parts, body) = response.into_parts();
    if body
        .size_hint()
        .upper()
        .is_none_or(|bytes| bytes > CREATED_BYTES_MAX as u64)
    {
        return (Response::from_parts(parts, body), None);
    }
    let bytes = to_bytes(body, CREATED_BYTES_MAX).await.unwrap_or_default();
    let made: Option<Made> = serde_json::from_slice(&bytes).ok();
    let id = made.and_then(|made| match made.id {
        serde_json::Value::Number(id) => Some(id.to_string()),
        serde_json::Value::String(id) => id.parse::<Uuid>().is_ok().then_some(id),
        _ => None,
    });
    (Response::from_parts(parts, Body::from(bytes)), id)
}

/// A request that changed something, may have changed something, or was refused.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Audited {
    /// The entry's id. Later entries have larger ids.
    #[schema(example = 812)]
    id: i64,
    /// The time of the answer.
    at: Utc,
    /// The request's id. The log has more under it.
    request_id: Uuid,
    /// The id of the API key. Null if the request had no valid key.
    #[schema(example = 2)]
    api_key_id: Option<i64>,
    /// The client's IP address. Behind a proxy it is the proxy's address.
    #[schema(example = "127.0.0.1")]
    peer: Option<String>,
    /// The HTTP method.
    #[schema(example = "PUT")]
    method: String,
    /// The template of the path.
    #[schema(example = "/api/v1/campaigns/{id}/settings")]
    route: String,
    /// The id in the path, the id of the created object, or the name of a PBX. Null if there is none.
    #[schema(example = "1")]
    object: Option<String>,
    /// The HTTP status of the answer. A request with a status of 500 or more may have changed something.
    #[schema(example = 200)]
    status: u16,
    /// `true`: the request was refused, because it had no valid key (401), the key does not allow it (403), or there
    /// were too many requests (429).
    #[schema(example = false)]
    refused: bool,
    /// Number of refusals between the refusal listed before and this one that were too many to store.
    #[schema(example = 0)]
    suppressed: u64,
}

impl From<AuditRow> for Audited {
    fn from(AuditRow { id, entry }: AuditRow) -> Self {
        Self {
            id,
            at: Utc(entry.at),
            request_id: entry.request,
            api_key_id: entry.key,
            peer: entry.peer,
            method: entry.method,
            route: entry.route,
            object: entry.object,
            status: entry.status,
            refused: entry.refused,
            suppressed: entry.suppressed,
        }
    }
}

/// Filters of the audit.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAudit {
    /// Only entries of this API key.
    api_key_id: Option<i64>,
    /// `true`: only refused requests. `false`: only the others.
    refused: Option<bool>,
    /// Items on a page, 1 to 200. Default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before. The first page if left out.
    cursor: Option<String>,
}

/// List changes and refused requests, the newest first.
///
/// Every request that changed something or may have is here, with its key and the id of its object, and without its
/// content. Refused requests are here up to 10 a second; more of them are counted in `suppressed`. A refused request is
/// deleted after 100,000 later entries, and every entry after `audit_days` of `[retention]` in paceline.toml.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit", tag = "API keys", params(ListAudit),
    responses((status = 200, body = Page<Audited>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<ListAudit>,
) -> ApiResult<Json<Page<Audited>>> {
    let window = Window::new("audit", query.limit, query.cursor.as_deref())?;
    let rows = state
        .store
        .audit(query.api_key_id, query.refused, window.after, window.fetch())
        .await?;
    Ok(Json(window.page(rows, |row| row.id, Audited::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_are_replaced_in_a_path() {
        let route = "/api/v1/campaigns/{id}/settings";
        for (path, expected) in [
            ("/api/v1/campaigns/7/settings", Some("7")),
            (
                "/api/v1/campaigns/019a9ec0-6400-7e5f-8a6b-000000000001/settings",
                Some("019a9ec0-6400-7e5f-8a6b-000000000001"),
            ),
            ("/api/v1/campaigns/Jane%20Roe/settings", None),
            ("/api/v1/campaigns/+12025550123/settings", None),
            ("/api/v1/campaigns/12025550123/settings", None),
        ] {
            assert_eq!(object(route, path).as_deref(), expected, "{path}");
        }
        let number = object("/api/v1/explain/number/{e164}", "/api/v1/explain/number/5550123");
        assert_eq!(
            number, None,
            "a number without its area code is shorter than some ids"
        );
        assert_eq!(object("/api/v1/campaigns", "/api/v1/campaigns"), None);
        assert_eq!(object("", "/7"), None);
    }
}
