//! The OpenAPI document: its parts besides the routes, and the routes that serve it.

mod complete;

pub(super) use complete::complete;

use super::ApiState;
use super::auth::SCHEME;
use super::docs;
use super::problem::{Kind, Problem, ProblemBody};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

const DESCRIPTION: &str = "\
Paceline decides whom to call, when, over which trunk and with which agent; your PBX places the calls. Everything the \
console and the command line can do, this API can do.

Send a key with every request: `Authorization: Bearer pl_…`. `paceline key create NAME --role write` makes one; it is shown \
once. The role `read` looks, `agent` also works for one agent, `write` does everything. Telephone numbers are masked \
(`+*********23`) unless the key was made with `--sees-numbers`. A key may ask 100 times a second.

Lists come in pages: pass `next_cursor` as `cursor` until it is null. Moments are RFC 3339 in UTC. Unknown fields are \
refused by name, so that a typing error never passes for a default.

Every error is `application/problem+json` (RFC 9457) and says what to do next. A request that fails has changed nothing.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Paceline API", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(ProblemBody)),
    tags(
        (name = "tasks", description = "Batches of contacts to be dialed. Start here: one POST with a number pool, and an active `default` campaign, is all it takes."),
        (name = "campaigns", description = "The settings of a program of calls: hours, trunks, timeouts, recording."),
        (name = "live", description = "What happens at this moment, and why nothing more is being dialed."),
        (name = "contacts", description = "People to call, in lists; and for each, why it was or was not dialed."),
        (name = "imports", description = "Contact lists from CSV and Excel files: sent, watched, stopped, resumed, published at once."),
        (name = "attempts", description = "Every try to reach a number: its legs, its outcome, its recordings, the decisions before it."),
        (name = "agents", description = "Who talks with the contacts. Agents' phones are called once at log-in, and held."),
        (name = "trunks", description = "Ways out to the public network, as dial-string templates of a PBX."),
        (name = "do not call", description = "Numbers that are never dialed, effective at once in every campaign."),
        (name = "API keys", description = "Who may use this API."),
        (name = "health", description = "For supervisors and load balancers.")
    )
)]
struct Base;

/// The document without its routes.
pub(super) fn base() -> OpenApiRouter<ApiState> {
    let mut document = Base::openapi();
    document.info.description = Some(DESCRIPTION.to_owned());
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("pl_<id>_<secret>")
        .description(Some(
            "An API key, made with `paceline key create` or POST /api/v1/api-keys.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components
        .security_schemes
        .insert(SCHEME.to_owned(), SecurityScheme::Http(scheme).into());
    OpenApiRouter::with_openapi(document)
}

/// The document as it is served, made once.
pub(super) struct Served {
    json: Bytes,
    page: Bytes,
    policy: String,
}

impl Served {
    pub(super) fn new(document: OpenApi) -> Self {
        let document = complete(document);
        Self {
            json: document.to_string().into(),
            page: docs::page(&document).into(),
            policy: docs::content_security_policy(),
        }
    }
}

pub(super) async fn json(State(served): State<Arc<Served>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], served.json.clone()).into_response()
}

pub(super) async fn docs(State(served): State<Arc<Served>>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, served.policy.clone()),
    ];
    (headers, served.page.clone()).into_response()
}

/// Answers the URL in a problem's `type` with a redirect to the documentation of this problem.
pub(super) async fn problem(Path(slug): Path<String>) -> Response {
    match Kind::ALL.iter().find(|kind| kind.slug() == slug) {
        Some(kind) => Redirect::to(&format!("/api/docs#problem-{}", kind.slug())).into_response(),
        None => Problem::of_status(StatusCode::NOT_FOUND).into_response(),
    }
}
