//! The do-not-call list.

use super::check::{self, Faults, NUMBERS_MAX};
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::store::DncRow;
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::number::E164;
use serde::{Deserialize, Serialize};

/// A number that is never dialed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncEntry {
    /// Its id.
    #[schema(example = 12)]
    id: i64,
    /// The number in E.164. All but the last two digits are masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// The reason for the entry.
    #[schema(example = "asked by letter")]
    reason: String,
    /// Time of the entry.
    added_at: Utc,
}

impl DncEntry {
    fn new(row: DncRow, caller: Caller) -> Self {
        Self {
            id: row.id,
            number: caller.show(&row.number),
            reason: row.reason,
            added_at: Utc(row.added_at),
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
    /// The reason, 1 to 200 characters. If a number is already on the list, its first reason is kept.
    #[schema(example = "asked by letter")]
    reason: String,
}

/// The result.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedToDnc {
    /// Number of new entries.
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
    /// True if the number must not be called.
    #[schema(example = true)]
    listed: bool,
    /// The entry of the number, if it is on the list.
    entry: Option<DncEntry>,
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
/// just before each call. Conversations go on. If a number cannot be read, `errors` lists all such numbers by their place, and none is added. `duplicates` shows to any key with write
/// access whether a number was on the list. More than one number in a request needs a key that may see numbers: otherwise
/// one could list many numbers and see from the contacts that wait which numbers exist.
#[utoipa::path(post, path = "/dnc", operation_id = "add_to_dnc", tag = "do not call", request_body = AddToDnc,
    responses((status = 200, body = AddedToDnc)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<AddToDnc>,
) -> ApiResult<Body<AddedToDnc>> {
    if input.numbers.len() > 1 {
        caller.must_see_numbers()?;
    }
    let mut faults = Faults::default();
    faults.name("/reason", &input.reason);
    let numbers = check_numbers(&state, input.numbers, NUMBERS_MAX, &mut faults).await?;
    faults.none()?;
    let added = state
        .store
        .add_dnc(&numbers, &input.reason, state.clock.now().wall)
        .await?;
    state.dialer.suppression_changed().await;
    Ok(Body(AddedToDnc {
        added,
        duplicates: (numbers.len() as u64).saturating_sub(added),
    }))
}

/// Take a number off the do-not-call list.
///
/// The entry is named by its id, so that no number gets into a log on its way. POST /api/v1/dnc/check finds the entry of a
/// number.
#[utoipa::path(delete, path = "/dnc/{id}", operation_id = "remove_from_dnc", tag = "do not call",
    params(("id" = i64, Path, description = "The entry")),
    responses((status = 204, description = "It is off the list"), (status = 404, description = "No such entry")))]
pub(super) async fn remove(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<StatusCode> {
    if state.store.remove_dnc(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::no("do-not-call entry", id))
    }
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
    let mut items = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let entry = state
            .store
            .dnc_entry(number)
            .await?
            .map(|row| DncEntry::new(row, caller));
        items.push(DncAnswer {
            listed: entry.is_some(),
            entry,
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
