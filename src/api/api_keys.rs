//! API keys: which there are, new ones, revoking one.

use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use super::{ApiState, Caller, keys};
use crate::store::{ApiKeyRow, Role};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::ids::AgentId;
use serde::{Deserialize, Serialize};

/// A key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ApiKey {
    /// Its id, which is also a part of the key.
    #[schema(example = 2)]
    id: i64,
    /// Who or what it is for.
    #[schema(example = "crm")]
    name: String,
    /// What it may do.
    role: Role,
    /// The one agent that a key with the role `agent` acts for; null with other roles.
    #[schema(example = json!(null))]
    agent_id: Option<i64>,
    /// Whether it is shown telephone numbers in full.
    #[schema(example = false)]
    sees_numbers: bool,
    /// When it was made.
    created_at: Utc,
    /// Since when it is of no use; null where it can be used.
    #[schema(example = json!(null))]
    revoked_at: Option<Utc>,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            agent_id: row.agent.map(|id| id.0),
            sees_numbers: row.sees_numbers,
            created_at: Utc(row.created_at),
            revoked_at: row.revoked_at.map(Utc),
        }
    }
}

/// A key to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApiKey {
    /// Who or what it is for; once only. 1 to 200 characters.
    #[schema(example = "crm")]
    name: String,
    /// What it may do.
    role: Role,
    /// The one agent that it acts for. With the role `agent`, and only then.
    #[serde(default)]
    #[schema(example = json!(null))]
    agent_id: Option<i64>,
    /// Whether it is shown telephone numbers in full.
    #[serde(default)]
    #[schema(example = false, default = false)]
    sees_numbers: bool,
}

/// A key that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CreatedApiKey {
    #[serde(flatten)]
    row: ApiKey,
    /// The key itself. It is shown this once and cannot be read again.
    #[schema(example = "pl_2_KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio")]
    key: String,
}

/// List API keys.
#[utoipa::path(get, path = "/api-keys", operation_id = "list_api_keys", tag = "API keys", params(PageQuery),
    responses((status = 200, body = Page<ApiKey>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<ApiKey>>> {
    let window = Window::new("api-keys", query.limit, query.cursor.as_deref())?;
    let rows = state.store.api_keys(window.after, window.fetch()).await?;
    Ok(Body(window.page(rows, |row| row.id, ApiKey::from)))
}

/// Create an API key.
///
/// The answer has the key, this once. Nothing is kept of it but a salted hash. A key that sees numbers is made by one
/// that does, or by `paceline key create`.
#[utoipa::path(post, path = "/api-keys", operation_id = "create_api_key", tag = "API keys", request_body = CreateApiKey,
    responses((status = 201, body = CreatedApiKey)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<CreateApiKey>,
) -> ApiResult<(StatusCode, Body<CreatedApiKey>)> {
    if input.sees_numbers {
        caller.must_see_numbers()?;
    }
    let now = state.clock.now().wall;
    let wanted = keys::NewKey {
        name: &input.name,
        role: input.role,
        agent: input.agent_id.map(AgentId),
        sees_numbers: input.sees_numbers,
    };
    let made = keys::make(&state.store, &wanted, now).await;
    let (row, key) = made.map_err(|error| match error {
        keys::KeyError::NameTaken => {
            Problem::field("/name", "another key has this name; revoked keys keep theirs")
        }
        error @ (keys::KeyError::Agent | keys::KeyError::NoAgent(_)) => {
            Problem::field("/agent_id", error.to_string())
        }
        error @ keys::KeyError::Name => Problem::field("/name", error.to_string()),
        keys::KeyError::Store(error) => error.into(),
        keys::KeyError::Randomness => Problem::internal(error),
    })?;
    Ok((StatusCode::CREATED, Body(CreatedApiKey { row: row.into(), key })))
}

/// Revoke an API key.
///
/// For good and at once, the key of this very request too. Doing it again changes nothing.
#[utoipa::path(delete, path = "/api-keys/{id}", operation_id = "revoke_api_key", tag = "API keys",
    params(("id" = i64, Path, description = "The key")),
    responses((status = 204, description = "It is of no use any more"), (status = 404, description = "No such key")))]
pub(super) async fn revoke(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<StatusCode> {
    if state.store.revoke_api_key(id, state.clock.now().wall).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::no("API key", id))
    }
}
