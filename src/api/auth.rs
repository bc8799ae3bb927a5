//! Authentication and roles: the guard before every route that needs a key. It gives each handler its [`Caller`].

use super::problem::{Kind, Problem};
use super::{ApiState, keys};
use crate::store::Role;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use paceline_core::ids::AgentId;
use paceline_core::number::E164;
use std::sync::Arc;
use std::time::Instant;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::UtoipaMethodRouter;

/// The name of the one security scheme in the OpenAPI document.
pub(super) const SCHEME: &str = "api_key";

/// The rights of the key that came with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The id of the key's row.
    pub key: i64,
    /// The role of the key.
    pub role: Role,
    /// The one agent that a key with the role `agent` acts for.
    pub agent: Option<AgentId>,
    /// True if the key may see numbers in full.
    pub sees_numbers: bool,
}

impl Caller {
    /// The number as this caller may see it. Numbers in free text are the business of [`super::masking`].
    pub fn show(self, number: &E164) -> String {
        if self.sees_numbers {
            number.expose().to_owned()
        } else {
            number.masked()
        }
    }

    /// Checks that the key may act for this agent.
    pub(super) fn must_act_for(self, agent: AgentId) -> Result<(), Problem> {
        match self.agent {
            Some(own) if own != agent => Err(Problem::new(
                Kind::Forbidden,
                format!("This key acts for agent {own} only."),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that the key may see numbers. For requests whose answer would reveal a number.
    pub(super) fn must_see_numbers(self) -> Result<(), Problem> {
        if self.sees_numbers {
            return Ok(());
        }
        let detail = "This needs a key that may see numbers: `sees_numbers`.";
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().copied().ok_or_else(|| {
            Problem::internal(anyhow::anyhow!(
                "a handler asks for its caller on a route without guard"
            ))
        })
    }
}

/// Puts the guard before these routes, and says so in the OpenAPI document.
pub(super) fn needs(
    role: Role,
    state: &ApiState,
    (schemas, mut paths, router): UtoipaMethodRouter<ApiState>,
) -> UtoipaMethodRouter<ApiState> {
    for item in paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in all.into_iter().flatten() {
            operation.security = Some(vec![SecurityRequirement::new(SCHEME, [role.as_str()])]);
        }
    }
    (
        schemas,
        paths,
        router.route_layer(from_fn_with_state((state.clone(), role), guard)),
    )
}

async fn guard(State((state, role)): State<(ApiState, Role)>, mut request: Request, next: Next) -> Response {
    let caller = match admit(&state, role, request.headers()).await {
        Ok(caller) => caller,
        Err((caller, problem)) => {
            let mut response = problem.into_response();
            if let Some(caller) = caller {
                response.extensions_mut().insert(caller);
            }
            return response;
        }
    };
    let Some(turn) = state.limiter.turn(caller.key, Instant::now()).await else {
        return known(caller, too_many_at_once().into_response());
    };
    let charge = state.bodies.charge();
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(charge.clone());
    let mut response = next.run(request).await;
    charge.release();
    response.extensions_mut().insert(Arc::new(turn));
    known(caller, response)
}

/// Attaches the caller to the response, for the outer layers.
fn known(caller: Caller, mut response: Response) -> Response {
    response.extensions_mut().insert(caller);
    response
}

fn too_many_at_once() -> Problem {
    Problem::new(
        Kind::RateLimited,
        "Too many requests of this key wait for earlier ones. Send the next when some have been answered.",
    )
    .retry_after_s(1)
}

/// Finds the caller of the request and checks its role.
///
/// # Errors
/// The problem, with the caller if its key is valid: no valid key, a failure of the store, too many requests, or a role that
/// is too low.
async fn admit(
    state: &ApiState,
    role: Role,
    headers: &HeaderMap,
) -> Result<Caller, (Option<Caller>, Problem)> {
    let caller = authenticate(state, headers)
        .await
        .map_err(|problem| (None, problem))?;
    allow(state, role, caller).map_err(|problem| (Some(caller), problem))?;
    Ok(caller)
}

async fn authenticate(state: &ApiState, headers: &HeaderMap) -> Result<Caller, Problem> {
    let unauthenticated = |detail: &str| Problem::new(Kind::Unauthenticated, detail);
    let header = headers.get(AUTHORIZATION).ok_or_else(|| {
        unauthenticated("Send the header `Authorization: Bearer <key>`. `paceline key create` makes a key.")
    })?;
    let token = header.to_str().ok().and_then(bearer).ok_or_else(|| {
        unauthenticated(
            "The Authorization header must read `Bearer`, a space, and a key that starts with `pl_`.",
        )
    })?;
    let caller = {
        // Never closed.
        let _look_up = state.look_ups.acquire().await;
        keys::verify(&state.store, token).await?
    };
    caller.ok_or_else(|| {
        unauthenticated("The key is unknown or revoked. `paceline key create` makes a new one.")
    })
}

fn allow(state: &ApiState, role: Role, caller: Caller) -> Result<(), Problem> {
    state.limiter.take(caller.key, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs().saturating_add(1);
        Problem::new(
            Kind::RateLimited,
            format!(
                "This key may ask {} times a second. Wait {seconds} s, then go on more slowly.",
                state.requests_per_second
            ),
        )
        .retry_after_s(seconds)
    })?;
    if caller.role < role {
        let detail = format!(
            "This needs a key with the role `{role}`; yours has `{}`.",
            caller.role
        );
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(())
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
