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
    /// In E.164; all but the last two digits masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// Why it is on the list.
    #[schema(example = "asked by letter")]
    reason: String,
    /// Since when.
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

/// Numbers to put on the list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddToDnc {
    /// 1 to 10,000 numbers, as people write them.
    #[schema(example = json!(["+12025550123"]), max_items = 10000)]
    numbers: Vec<String>,
    /// Why, for the record. 1 to 200 characters. Kept from the first time where a number is on the list already.
    #[schema(example = "asked by letter")]
    reason: String,
}

/// What became of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedToDnc {
    /// Numbers that are new on the list.
    #[schema(example = 1)]
    added: u64,
    /// Numbers that were on it already, or came twice.
    #[schema(example = 0)]
    duplicates: u64,
}

/// Numbers to look up.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckDnc {
    /// 1 to 1,000 numbers, as people write them.
    #[schema(example = json!(["+12025550123"]), max_items = 1000)]
    numbers: Vec<String>,
}

/// Whether one number is on the list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncAnswer {
    /// Whether it must not be called.
    #[schema(example = true)]
    listed: bool,
    /// Its entry, where it is on the list.
    entry: Option<DncEntry>,
}

/// Whether numbers are on the list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DncAnswers {
    /// One answer for each number, in the order of the request.
    items: Vec<DncAnswer>,
}

/// Numbers looked up in one request at most.
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
/// Effective at once in every campaign: the list is asked again just before each call. If one number cannot be read,
/// every such number is named in `errors` by its place, and none is added. `duplicates` tells any key that may write
/// whether a number was on the list. More than one number in a request only with a key that may see numbers: whoever lists
/// many and looks which contacts are held back finds out their numbers.
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
    Ok(Body(AddedToDnc {
        added,
        duplicates: (numbers.len() as u64).saturating_sub(added),
    }))
}

/// Take a number off the do-not-call list.
///
/// By its entry's id, so that no number gets into a log on its way. POST /api/v1/dnc/check finds the entry of a number.
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
/// A POST, so that no number gets into a log on its way. Only with a key that may see numbers: whoever tries enough of
/// them finds out which number an entry has.
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
