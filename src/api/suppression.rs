//! Suppression lists: national registries, the team's own lists, and allowlists.

use super::check::aside;
use super::extract::{Id, Query};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::jobs::rechecking::Rechecking;
use crate::jobs::suppression::Suppression;
use crate::store::{ListRow, NewList, Store, StoreError};
use crate::suppression_file::{Numbers, Read};
use axum::Json as Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use paceline_core::suppression::{ListKind, ListName};
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;

/// Maximum size of an upload: 100 million numbers of 20 bytes.
const FILE_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// Lists that are replaced at the same time.
pub(super) const UPLOADS_MAX: usize = 1;
/// Every number is looked up in every list.
const LISTS_MAX: usize = 100;
/// Parts of the body that wait to be read.
const PARTS_WAITING_MAX: usize = 16;
const DAY: Duration = Duration::from_secs(86_400);
/// National registries demand a copy that is not older than this (US, Canada).
const MAX_AGE_DAYS: u32 = 31;
const VERSIONS_SHOWN: i64 = 50;

/// A suppression list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SuppressionList {
    /// Its name.
    #[schema(example = "us-dnc")]
    name: String,
    /// The list's kind: `registry`, `internal` or `allow`.
    kind: ListKind,
    /// The id of its version. A later version has a higher one.
    #[schema(example = 3)]
    version: i64,
    /// The date of its data.
    as_of: Utc,
    /// The age of its data.
    #[schema(example = 86400)]
    age_seconds: u64,
    /// The data is too old after this many days.
    #[schema(example = 31)]
    max_age_days: u64,
    /// `true`: the data is too old. Its numbers are still suppressed.
    too_old: bool,
    /// The time when it replaced the version before.
    loaded_at: Utc,
    /// Number of different numbers.
    #[schema(example = 10_000_000)]
    numbers: u64,
    /// Numbers that the version before did not have.
    #[schema(example = 12_000)]
    added: u64,
    /// Numbers that only the version before had.
    #[schema(example = 800)]
    removed: u64,
    /// Lines of the upload that were no number.
    #[schema(example = 0)]
    rejected: u64,
}

impl SuppressionList {
    fn new(row: ListRow, now: Wall) -> Self {
        Self {
            age_seconds: row.age(now).as_secs(),
            too_old: row.is_too_old(now),
            max_age_days: row.max_age.as_secs() / DAY.as_secs(),
            name: row.name.to_string(),
            kind: row.kind,
            version: row.version,
            as_of: Utc(row.as_of),
            loaded_at: Utc(row.loaded_at),
            numbers: row.numbers,
            added: row.added,
            removed: row.removed,
            rejected: row.rejected,
        }
    }
}

/// Suppression lists.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SuppressionLists {
    /// The lists by name, or the versions of one list, the newest first.
    items: Vec<SuppressionList>,
}

/// The parameters of an upload.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// The date of the data: when the registry made it.
    as_of: Utc,
    /// The list's kind: `registry`, which is the default, `internal` or `allow`. It never changes.
    kind: Option<ListKind>,
    /// The data is too old after this many days, 1 to 3,650. Default 31.
    #[param(minimum = 1, maximum = 3650, default = 31)]
    max_age_days: Option<u32>,
    /// The columns of the number, from 1, separated by commas. Their digits are joined: `1,2` for area code and number.
    /// Default 1.
    #[param(default = "1")]
    columns: Option<String>,
    /// The region of numbers without a country code (ISO 3166-1). The configured default region if left out.
    region: Option<String>,
}

/// List the suppression lists by name.
#[utoipa::path(get, path = "/suppression-lists", operation_id = "list_suppression_lists", tag = "do not call",
    responses((status = 200, body = SuppressionLists)))]
pub(super) async fn list(State(state): State<ApiState>) -> ApiResult<Body<SuppressionLists>> {
    let rows = state.store.suppression_lists().await?;
    Ok(Body(show(&state, rows)))
}

/// List the versions of a suppression list, the newest first, at most 50.
#[utoipa::path(get, path = "/suppression-lists/{name}", operation_id = "get_suppression_list", tag = "do not call",
    params(("name" = String, Path, description = "The list")),
    responses((status = 200, body = SuppressionLists), (status = 404, description = "No such list")))]
pub(super) async fn get(
    State(state): State<ApiState>,
    Id(name): Id<String>,
) -> ApiResult<Body<SuppressionLists>> {
    let name = list_name(&name)?;
    let rows = state.store.suppression_versions(&name, VERSIONS_SHOWN).await?;
    if rows.is_empty() {
        return Err(Problem::no("suppression list", name));
    }
    Ok(Body(show(&state, rows)))
}

/// Replace a suppression list, or make it.
///
/// The body has one number a line, or is CSV. The whole body is read before anything changes; then the new version replaces the
/// one before at once, in every campaign, and unanswered calls to numbers that it adds are cancelled. Only keyed hashes of the
/// numbers are stored. Nothing is changed if more than one line in a hundred is no number. A first line without a number is
/// a header. It needs a key that may see numbers, because GET /api/v1/contacts/{id}/why would tell which list holds a
/// contact's number.
#[utoipa::path(post, path = "/suppression-lists/{name}", operation_id = "upload_suppression_list", tag = "do not call",
    params(("name" = String, Path, description = "The list"), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The numbers, up to 2 GiB."),
    responses((status = 200, body = SuppressionList), (status = 409, description = "Another list is being uploaded"),
        (status = 413, description = "Larger than 2 GiB, or more numbers than the memory of the lists allows"), (status = 422, description = "The file cannot be used")))]
pub(super) async fn upload(
    State(state): State<ApiState>,
    caller: Caller,
    Id(name): Id<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> ApiResult<Body<SuppressionList>> {
    caller.must_see_numbers()?;
    let name = list_name(&name)?;
    let now = state.clock.now().wall;
    let days = query.max_age_days.unwrap_or(MAX_AGE_DAYS);
    if !(1..=3_650).contains(&days) {
        return Err(parameter("max_age_days", "1 to 3650 days"));
    }
    if query.as_of.0 > now.plus(DAY) {
        return Err(parameter("as_of", "a date that is not in the future"));
    }
    let region = query.region.as_deref().or(state.default_region.as_deref());
    let numbers = Numbers::new(region, query.columns.as_deref().unwrap_or("1"));
    let numbers = numbers.map_err(|(field, detail)| parameter(field, detail))?;
    let busy = "Another suppression list is being uploaded. Wait until it is done.";
    let turn = state.uploads.clone().try_acquire_owned();
    let _turn = turn.map_err(|_| Problem::conflict(busy))?;
    let room = room(&state, &name).await?.min(numbers_in(request.headers()));
    let key = state.store.suppression_key().ok_or(StoreError::SuppressionKey)?;
    let (parts, read) = mpsc::channel(PARTS_WAITING_MAX);
    let reading = aside(move || numbers.read(read, &key, room));
    let sending = send_parts(request, parts);
    let (sent, read) = tokio::join!(sending, reading);
    sent?;
    let Read {
        hashes,
        rejected,
        lines,
        is_too_long,
    } = read?;
    if is_too_long {
        return Err(too_many(&state, room));
    }
    if lines == 0 || rejected > lines / 100 {
        let detail = format!(
            "{rejected} of {lines} lines are no number; nothing was changed. Check the file, `columns` and `region`."
        );
        return Err(Problem::invalid(detail, Vec::new()));
    }
    let new = NewList {
        name,
        kind: query.kind.unwrap_or(ListKind::Registry),
        as_of: query.as_of.0,
        max_age: DAY.saturating_mul(days),
        rejected,
        api_key: Some(caller.key),
    };
    let replace = async move |store: Store| store.replace_list(new, hashes, now).await;
    let replaced = state.jobs.spawn(replace).await.map_err(Problem::internal)?;
    let row = replaced.map_err(|error| match error {
        StoreError::OtherKind => Problem::conflict(format!("Nothing was changed: {error}.")),
        error => error.into(),
    })?;
    changed(&state).await;
    Ok(Body(SuppressionList::new(row, now)))
}

/// Delete a suppression list.
///
/// Its numbers may be called again at once, unless another list holds them. A campaign whose allowlist it is calls nobody.
#[utoipa::path(delete, path = "/suppression-lists/{name}", operation_id = "delete_suppression_list", tag = "do not call",
    params(("name" = String, Path, description = "The list")),
    responses((status = 204, description = "It is deleted"), (status = 404, description = "No such list")))]
pub(super) async fn remove(State(state): State<ApiState>, Id(name): Id<String>) -> ApiResult<StatusCode> {
    let name = list_name(&name)?;
    if !state.store.remove_list(&name, state.clock.now().wall).await? {
        return Err(Problem::no("suppression list", name));
    }
    changed(&state).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The number of lines that a body of this length can have.
fn numbers_in(headers: &HeaderMap) -> usize {
    const LINE_BYTES_MIN: usize = 4;
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    length.map_or(usize::MAX, |length| length / LINE_BYTES_MIN + 1)
}

/// The number of hashes that fit into the memory of the lists. A list that is replaced counts until the new version is used.
async fn room(state: &ApiState, name: &ListName) -> ApiResult<usize> {
    let lists = state.store.suppression_lists().await?;
    if lists.len() >= LISTS_MAX && lists.iter().all(|list| list.name != *name) {
        return Err(Problem::conflict(format!(
            "Nothing was read: there are {LISTS_MAX} suppression lists already. Delete one that is not used any more."
        )));
    }
    let numbers = lists
        .iter()
        .map(|list| usize::try_from(list.numbers).unwrap_or(usize::MAX));
    let taken = numbers.fold(0, usize::saturating_add);
    match state.suppression_numbers_max.saturating_sub(taken) {
        0 => Err(too_many(state, 0)),
        room => Ok(room),
    }
}

fn too_many(state: &ApiState, room: usize) -> Problem {
    Problem::new(
        Kind::BodyTooLarge,
        format!(
            "Nothing was changed: there is room for {room} more numbers. All suppression lists together may have {max}, and a list \
             that is replaced counts until the new one is used. Raise `numbers_max` under [suppression] in paceline.toml (8 bytes of \
             memory each) and restart, or delete a list.",
            max = state.suppression_numbers_max
        ),
    )
}

async fn changed(state: &ApiState) {
    state.jobs.wake(Suppression::NAME);
    state.jobs.wake(Rechecking::NAME);
    state.dialer.suppression_changed().await;
}

fn show(state: &ApiState, rows: Vec<ListRow>) -> SuppressionLists {
    let now = state.clock.now().wall;
    let items = rows.into_iter().map(|row| SuppressionList::new(row, now));
    SuppressionLists {
        items: items.collect(),
    }
}

fn list_name(text: &str) -> ApiResult<ListName> {
    ListName::new(text).map_err(|error| parameter("name", error.to_string()))
}

fn parameter(field: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(
        Kind::BadParameter,
        format!("Correct `{field}`, and send the request again."),
    )
    .with_errors(vec![Fault::parameter(field, detail)])
}

/// Hands the body to the reader. If the reader has ended, the rest is not read.
async fn send_parts(request: Request, parts: mpsc::Sender<axum::body::Bytes>) -> ApiResult<()> {
    let mut body = request.into_body().into_data_stream();
    let mut bytes = 0_usize;
    while let Some(part) = body.next().await {
        let broken = || Problem::new(Kind::MalformedBody, "The file broke off. Send it again.");
        let part = part.map_err(|_| broken())?;
        bytes = bytes.saturating_add(part.len());
        if bytes > FILE_BYTES_MAX {
            return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        if parts.send(part).await.is_err() {
            break;
        }
    }
    Ok(())
}
