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
    /// The name of the key.
    #[schema(example = "crm")]
    name: String,
    /// The rights of the key.
    role: Role,
    /// The agent of a key with the role `agent`. Null with other roles.
    #[schema(example = json!(null))]
    agent_id: Option<i64>,
    /// True if the key sees telephone numbers in full.
    #[schema(example = false)]
    sees_numbers: bool,
    /// Time of creation.
    created_at: Utc,
    /// Time when the key was revoked. Null if it is valid.
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

/// The data of a new key.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApiKey {
    /// The name of the key, unique; 1 to 200 characters.
    #[schema(example = "crm")]
    name: String,
    /// The rights of the key.
    role: Role,
    /// The agent of the key. Required with the role `agent`, not allowed with others.
    #[serde(default)]
    #[schema(example = json!(null))]
    agent_id: Option<i64>,
    /// True: the key sees telephone numbers in full.
    #[serde(default)]
    #[schema(example = false, default = false)]
    sees_numbers: bool,
}

/// A new key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CreatedApiKey {
    #[serde(flatten)]
    row: ApiKey,
    /// The key itself. It is shown only in this response and cannot be read again.
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
/// Only this response contains the key. Paceline stores only a salted hash of it. A key that sees numbers can be created
/// only with a key that sees numbers, or by `paceline key create`.
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
/// The key is revoked at once and for ever, also if it is the key of this request. A second request changes nothing.
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
