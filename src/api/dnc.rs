//! The do-not-call list.

use super::check::{self, Faults, NUMBERS_MAX};
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::store::{DncRow, NewDnc};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::number::E164;
use paceline_core::suppression::{DncScope, DncSource};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A number that is never dialed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncEntry {
    /// Its id.
    #[schema(example = 12)]
    id: i64,
    /// The number in E.164. All but the last two digits are masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// `all`: it holds for every campaign. Otherwise for the campaigns that name it in `suppression.lists`.
    #[schema(example = "all")]
    scope: String,
    /// The source of the entry.
    source: DncSource,
    /// The reason for the entry.
    #[schema(example = "asked by letter")]
    reason: String,
    /// Time of the entry.
    added_at: Utc,
    /// Time from which it does not hold any more. Null if it holds for good.
    expires_at: Option<Utc>,
    /// The key of the request. Null if it did not come by a request.
    #[schema(example = 2)]
    api_key_id: Option<i64>,
    /// The agent of the conversation in which the callee asked for it. Null if it was in none.
    #[schema(example = 3)]
    agent_id: Option<i64>,
    /// The attempt in which the callee asked for it. Null if it was in none.
    attempt_id: Option<Uuid>,
}

impl DncEntry {
    pub(super) fn new(row: DncRow, caller: Caller) -> Self {
        Self {
            id: row.id,
            number: caller.show(&row.number),
            scope: row.scope.as_str().to_owned(),
            source: row.source,
            reason: row.reason,
            added_at: Utc(row.added_at),
            expires_at: row.expires_at.map(Utc),
            api_key_id: row.api_key,
            agent_id: row.agent.map(|agent| agent.0),
            attempt_id: row.attempt.map(|attempt| attempt.0),
        }
    }
}

/// Numbers to add to the list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddToDnc {
    /// 1 to 10,000 numbers in any usual notation.
    #[schema(example = json!(["+12025550123"]), max_items = 10000)]
    numbers: Vec<String>,
    /// The reason, 1 to 200 characters. If a number is already on the list, its first reason is kept, unless the new entry
    /// holds longer.
    #[schema(example = "asked by letter")]
    reason: String,
    /// `all`, which is the default: no campaign calls the numbers. Or a name, as suppression lists have: the campaigns that name it in `suppression.lists` do not call them.
    #[schema(example = "all")]
    scope: Option<String>,
    /// The source of the numbers: `api`, which is the default, `import` from another system, or `registry`.
    source: Option<DncSource>,
    /// Time from which the entries do not hold any more. If left out, they hold for good.
    expires_at: Option<Utc>,
}

/// The result.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedToDnc {
    /// Number of new entries, and of entries that now hold longer.
    #[schema(example = 1)]
    added: u64,
    /// Number of numbers that were already on the list, or that came twice.
    #[schema(example = 0)]
    duplicates: u64,
}

/// Numbers to check.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckDnc {
    /// 1 to 1,000 numbers in any usual notation.
    #[schema(example = json!(["+12025550123"]), max_items = 1000)]
    numbers: Vec<String>,
}

/// The result for one number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncAnswer {
    /// True if no campaign may call the number.
    #[schema(example = true)]
    listed: bool,
    /// The entries of the number, also those that have ended and those for some campaigns.
    entries: Vec<DncEntry>,
    /// The suppression lists that hold the number.
    #[schema(example = json!(["us-dnc"]))]
    lists: Vec<String>,
}

/// The results of a check.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncAnswers {
    /// One result for each number, in the order of the request.
    items: Vec<DncAnswer>,
}

/// Maximum number of numbers in one request.
const CHECKED_MAX: usize = 1_000;

/// List the do-not-call list, the newest first.
#[utoipa::path(get, path = "/dnc", operation_id = "list_dnc", tag = "do not call", params(PageQuery),
    responses((status = 200, body = Page<DncEntry>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<DncEntry>>> {
    let window = Window::new("dnc", query.limit, query.cursor.as_deref())?;
    let rows = state.store.dnc_entries(window.after, window.fetch()).await?;
    Ok(Body(window.page(
        rows,
        |row| row.id,
        |row| DncEntry::new(row, caller),
    )))
}

/// Put numbers on the do-not-call list.
///
/// It has an effect at once in every campaign: unanswered calls to these numbers are cancelled, and the list is checked again
/// just before each call. Conversations go on. If a number cannot be read, `errors` lists all such numbers by their place, and
/// none is added. It needs a key that may see numbers, because the contacts that are refused afterwards tell whose number it
/// is. An agent's key uses the disposition `dnc` of the attempt instead: PUT /api/v1/attempts/{id}/disposition.
#[utoipa::path(post, path = "/dnc", operation_id = "add_to_dnc", tag = "do not call", request_body = AddToDnc,
    responses((status = 200, body = AddedToDnc)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<AddToDnc>,
) -> ApiResult<Body<AddedToDnc>> {
    caller.must_see_numbers()?;
    let mut faults = Faults::default();
    faults.name("/reason", &input.reason);
    let now = state.clock.now().wall;
    let scope = input.scope.as_deref().map_or(Ok(DncScope::All), str::parse);
    let scope = faults.take("/scope", scope).unwrap_or_default();
    let source = input.source.unwrap_or(DncSource::Api);
    match source {
        DncSource::Api | DncSource::Import | DncSource::Registry => {}
        DncSource::Agent | DncSource::Keypress => {
            faults.add("/source", "`api`, `import` or `registry`");
        }
    }
    if input.expires_at.is_some_and(|at| at.0 <= now) {
        faults.add("/expires_at", "a time in the future, or leave it out");
    }
    let numbers = check_numbers(&state, input.numbers, NUMBERS_MAX, &mut faults).await?;
    faults.none()?;
    let entry = NewDnc {
        scope,
        expires_at: input.expires_at.map(|at| at.0),
        api_key: Some(caller.key),
        ..NewDnc::new(source, &input.reason, now)
    };
    let added = state.store.add_dnc(&numbers, &entry).await?;
    state.dialer.suppression_changed().await;
    Ok(Body(AddedToDnc {
        added,
        duplicates: (numbers.len() as u64).saturating_sub(added),
    }))
}

/// Take a number off the do-not-call list.
///
/// The entry is named by its id, so that no number gets into a log on its way. POST /api/v1/dnc/check finds the entry of a
/// number. Running tasks ask the gate again about contacts that were refused because of the entry.
#[utoipa::path(delete, path = "/dnc/{id}", operation_id = "remove_from_dnc", tag = "do not call",
    params(("id" = i64, Path, description = "The entry")),
    responses((status = 204, description = "It is off the list"), (status = 404, description = "No such entry")))]
pub(super) async fn remove(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<StatusCode> {
    let Some(tasks) = state.store.remove_dnc(id, state.clock.now().wall).await? else {
        return Err(Problem::no("do-not-call entry", id));
    };
    for (campaign, task) in tasks {
        state.dialer.task_changed(campaign, task).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Check whether numbers are on the do-not-call list.
///
/// It is a POST, so that no number gets into a log on its way. It needs a key that may see numbers, because trying many
/// numbers would reveal the number of an entry.
#[utoipa::path(post, path = "/dnc/check", operation_id = "check_dnc", tag = "do not call", request_body = CheckDnc,
    responses((status = 200, body = DncAnswers)))]
pub(super) async fn check(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<CheckDnc>,
) -> ApiResult<Body<DncAnswers>> {
    caller.must_see_numbers()?;
    let mut faults = Faults::default();
    let numbers = check_numbers(&state, input.numbers, CHECKED_MAX, &mut faults).await?;
    faults.none()?;
    let now = state.clock.now().wall;
    let every_campaign = SuppressionSettings::default();
    let mut items = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let listed = state.store.listed(number, now).await?;
        let entries = state.store.dnc_entries_of(number).await?;
        items.push(DncAnswer {
            listed: every_campaign.refuses(&listed).is_some(),
            entries: entries
                .into_iter()
                .map(|row| DncEntry::new(row, caller))
                .collect(),
            lists: listed.lists.iter().map(|(name, _)| name.to_string()).collect(),
        });
    }
    Ok(Body(DncAnswers { items }))
}

async fn check_numbers(
    state: &ApiState,
    texts: Vec<String>,
    max: usize,
    faults: &mut Faults,
) -> ApiResult<Vec<E164>> {
    if !(1..=max).contains(&texts.len()) {
        faults.add("/numbers", format!("1 to {max} numbers in one request"));
        return Ok(Vec::new());
    }
    let read = check::numbers(state, texts).await?.into_iter().enumerate();
    Ok(read
        .filter_map(|(n, read)| faults.take(format!("/numbers/{n}"), read))
        .map(|read| read.number)
        .collect())
}
