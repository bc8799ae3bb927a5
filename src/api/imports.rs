//! Imports of contact files. An upload becomes a job that a client can watch, stop, resume, publish and cancel.
//! Paceline keeps the file only while it reads it; to resume, the client sends the file again.

use super::check::aside;
use super::extract::{Id, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::import::{self, ContactFile, Ended, ImportError, Job, Mapping, Settings, per_second};
use crate::jobs::clearing::Clearing;
use crate::jobs::filling::Filling;
use crate::numbers::NotANotation;
use crate::store::{ImportInto, ImportRow, ImportState, StagedReject, Store, StoreError};
use axum::Json as Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use futures_util::StreamExt as _;
use paceline_core::ids::{ContactListId, ImportId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

/// Maximum size of a contact file.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The name of imports among the jobs.
const JOB: &str = "imports";
/// The whole file must arrive within this time.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Maximum number of imports that run at the same time.
pub(super) const RUNNING_MAX: usize = 2;

/// The import of a contact file.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Import {
    /// The import's id.
    #[schema(example = 4)]
    id: i64,
    /// The list that receives the contacts. Null after the list was deleted together with the import's contacts.
    #[schema(example = 7)]
    contact_list_id: Option<i64>,
    /// `true`: the import creates the list. The list is not visible before the import is published.
    new_list: bool,
    /// `running`; `stopped`: it can be resumed; `staged`: all rows are read, and no contact is visible yet;
    /// `published`: the contacts are visible; `clearing`: Paceline is deleting the staged contacts; `cancelled`;
    /// `failed`: see `failure`.
    #[schema(example = "published")]
    state: String,
    /// Part of the file that is read, 0 to 1.
    #[schema(example = 1.0)]
    done_ratio: f64,
    /// Rows read, without the header. At the end it is the sum of `imported`, `duplicates`, `already_listed` and
    /// `rejected`.
    #[schema(example = 1000)]
    rows: u64,
    /// Rows per second since the import began, pauses included.
    #[schema(example = 60000)]
    rows_per_second: u64,
    /// Contacts that are new in the list. Null until all rows are staged.
    #[schema(example = 990)]
    imported: Option<u64>,
    /// Rows of a contact that an earlier row of the file has too. They fill what the earlier row left blank. Null until
    /// all rows are staged.
    #[schema(example = 4)]
    duplicates: Option<u64>,
    /// Rows of a contact that was in the list before the import. They fill what is blank there and replace nothing.
    #[schema(example = 0)]
    already_listed: u64,
    /// Contacts of the list that such rows add something to. Null until all rows are staged.
    #[schema(example = 0)]
    filled: Option<u64>,
    /// Further numbers that were left out because another contact of the list has them.
    #[schema(example = 0)]
    numbers_left_out: u64,
    /// Rows that were rejected.
    #[schema(example = 6)]
    rejected: u64,
    /// Repairs of cells and rows that were left out, with the count of each.
    #[schema(example = json!({"repaired: `tel:` taken off": 12}))]
    repairs: BTreeMap<String, u64>,
    /// Rows with a usable number, by the country of the first number (ISO 3166-1; `001` for none) and its kind:
    /// `fixed`, `mobile`, `fixed_or_mobile` if the number plan does not tell them apart, `toll_free`, `premium_rate`,
    /// `shared_cost`, `voip`, `personal`, `pager`, `uan`, `voicemail`.
    #[schema(example = json!({"US": {"fixed_or_mobile": 994}}))]
    numbers: BTreeMap<String, BTreeMap<String, u64>>,
    /// The findings about the file: format, encoding, separator, sheet, header line, and the meaning of each column.
    #[schema(value_type = Object, example = json!({"format": "csv", "encoding": "UTF-8", "separator": ",", "header_line": 1,
        "columns": {"numbers": [{"header": "Phone"}], "countries": [], "name": {"header": "Name"}, "tags": {"header": "Tags"},
            "attributes": [], "ignored": []}}))]
    file: serde_json::Value,
    /// The reason of a failure. Null if the import has not failed.
    failure: Option<String>,
    /// The time when the import began.
    created_at: Utc,
    /// The time when the contacts became visible. Null until the import is published.
    published_at: Option<Utc>,
}

/// An import with the reasons for rejected rows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ImportDetail {
    #[serde(flatten)]
    import: Import,
    /// Rejected rows by reason.
    #[schema(example = json!({"too short for its country (read as a number in US)": 6}))]
    reasons: BTreeMap<String, u64>,
    /// Remarks, for example that another list has the same name.
    notes: Vec<String>,
}

/// A rejected row. It never repeats the row's content.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RejectedRow {
    /// The line of the file or the row of the sheet, from 1, the header included.
    #[schema(example = 17)]
    line: u64,
    /// The header of the column with the fault. Null if the fault is in the whole row.
    #[schema(example = "Phone")]
    field: Option<String>,
    /// The reason, and what to correct.
    #[schema(example = "too short for its country (read as a number in US)")]
    reason: String,
}

/// The parameters of an import. Paceline detects what is left out.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Name of the new contact list. Give either this or `contact_list_id`.
    list: Option<String>,
    /// The contact list to add to. Rows of a number that is already in it fill what is blank there. Needs a key that
    /// may see numbers: a caller that fills a contact by its number and reads it back learns that number.
    contact_list_id: Option<i64>,
    /// `true`: the contacts stay invisible until the import is published. Otherwise it is published as soon as all rows
    /// are staged.
    stage: Option<bool>,
    /// The region of numbers without a country code (ISO 3166-1). The configured default region if left out.
    region: Option<String>,
    /// The file's encoding, such as `windows-1252` or `gb18030`.
    encoding: Option<String>,
    /// The sheet of an Excel file. The first visible sheet if left out.
    sheet: Option<String>,
    /// `true`: the file has no header; its first line is a contact.
    no_header: Option<bool>,
    /// The way in which numbers without a `+` are written: `national`, as in their region, or `international`, with
    /// their country code. Required if many numbers could be both.
    numbers: Option<String>,
    /// Countries whose numbers are accepted (ISO 3166-1), separated by commas, or `any`. If left out: the region, and
    /// the country that a country column states for the row; without a region, every country.
    countries: Option<String>,
    /// `true`: premium-rate numbers are accepted too. Calls to them cost the caller extra.
    premium_rate: Option<bool>,
    /// The column of the number: its header, or `#2` for the second column. Several columns are separated by commas;
    /// of each contact the first number that no do-not-call list holds is dialed.
    number_column: Option<String>,
    /// The column of the country of the contact and its numbers: two letters, a name or a calling code.
    country_column: Option<String>,
    /// The column of the number's area code.
    area_code_column: Option<String>,
    /// The column of the name.
    name_column: Option<String>,
    /// The column of the IANA time zone.
    time_zone_column: Option<String>,
    /// The column of the contact's id in another system. Rows with the same one become one contact.
    external_id_column: Option<String>,
    /// The column of tags, separated by `;`, `,` or `|`.
    tags_column: Option<String>,
    /// The column of the tier: 1 to 9, or A to I.
    tier_column: Option<String>,
    /// The column of the language (BCP 47).
    language_column: Option<String>,
    /// The column of the state or province.
    state_column: Option<String>,
    /// The column of the postal code.
    postal_code_column: Option<String>,
    /// The column of a consent's kind: `express`, `express_written` or `contract`.
    consent_column: Option<String>,
    /// The column of what the consent is for: `marketing`, `debt` or `service`.
    consent_scope_column: Option<String>,
    /// The column of the time when the consent was given: RFC 3339, or a day such as 2026-03-31.
    consent_granted_at_column: Option<String>,
    /// The column of the time when the consent ends, in the same forms.
    consent_expires_at_column: Option<String>,
    /// The column of the place where the consent can be proved.
    consent_proof_column: Option<String>,
    /// Columns to leave out, separated by commas.
    ignore_columns: Option<String>,
}

/// Import a contact file.
///
/// The body is a CSV or Excel (.xlsx) file. Paceline checks it before it answers: it refuses a file that is not a
/// contact list, with the reason, and `file` in the answer shows the meaning of each column. Then it reads the rows in
/// the background. Get the import until its `state` is `published`, or `staged` if `stage` was `true`.
#[utoipa::path(post, path = "/imports", operation_id = "create_import", tag = "imports", params(ImportQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file, up to 1 GiB."),
    responses((status = 202, body = ImportDetail), (status = 404, description = "No such contact list"),
        (status = 409, description = "Two imports run already"), (status = 413, description = "Larger than 1 GiB"),
        (status = 422, description = "The file cannot be imported; `detail` says why")))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> ApiResult<(StatusCode, Body<ImportDetail>)> {
    let into = into(&query)?;
    if matches!(into, ImportInto::List(_)) {
        caller.must_see_numbers()?;
    }
    let publish = !query.stage.unwrap_or(false);
    let settings = settings(&state, query)?;
    let permit = permit(&state)?;
    let file = receive(&state, request, settings).await?;
    let clock = state.clock;
    let begin = async move |store: Store| Job::begin(&store, file, &into, clock).await;
    let job = state.jobs.spawn(begin).await.map_err(Problem::internal)?;
    let job = job.map_err(refused)?;
    start(state, job, publish, permit).await
}

/// Resume a stopped import.
///
/// The body is the same file again. Paceline reads on from the row where the import was stopped.
#[utoipa::path(post, path = "/imports/{id}/resume", operation_id = "resume_import", tag = "imports",
    params(("id" = i64, Path, description = "The import"), ResumeQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The same file."),
    responses((status = 202, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is not stopped, or two imports run already"),
        (status = 422, description = "It is another file")))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Query(query): Query<ResumeQuery>,
    request: Request,
) -> ApiResult<(StatusCode, Body<ImportDetail>)> {
    let row = find(&state, id).await?;
    if !row.makes_list {
        caller.must_see_numbers()?;
    }
    let permit = permit(&state)?;
    let settings = serde_json::from_str(&row.settings).map_err(Problem::internal)?;
    let file = receive(&state, request, settings).await?;
    let clock = state.clock;
    let resume = async move |store: Store| Job::resume(&store, file, row.id, clock).await;
    let job = state.jobs.spawn(resume).await.map_err(Problem::internal)?;
    let job = job.map_err(refused)?;
    start(state, job, !query.stage.unwrap_or(false), permit).await
}

/// The parameters of a resumed import.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResumeQuery {
    /// `true`: the contacts stay invisible until the import is published.
    stage: Option<bool>,
}

/// List imports, the newest first.
#[utoipa::path(get, path = "/imports", operation_id = "list_imports", tag = "imports", params(PageQuery),
    responses((status = 200, body = Page<Import>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<Import>>> {
    let window = Window::new("imports", query.limit, query.cursor.as_deref())?;
    let rows = state
        .store
        .imports(window.after.map(ImportId), window.fetch())
        .await?;
    Ok(Body(window.page(rows, |row| row.id.0, |row| show(&state, row))))
}

/// Get an import.
#[utoipa::path(get, path = "/imports/{id}", operation_id = "get_import", tag = "imports",
    params(("id" = i64, Path, description = "The import")),
    responses((status = 200, body = ImportDetail), (status = 404, description = "No such import")))]
pub(super) async fn get(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<ImportDetail>> {
    detail(&state, id).await.map(Body)
}

/// List the rejected rows of an import.
#[utoipa::path(get, path = "/imports/{id}/rejected-rows", operation_id = "list_rejected_rows", tag = "imports",
    params(("id" = i64, Path, description = "The import"), PageQuery),
    responses((status = 200, body = Page<RejectedRow>), (status = 404, description = "No such import")))]
pub(super) async fn rejected(
    State(state): State<ApiState>,
    _: Caller,
    Id(id): Id<i64>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<RejectedRow>>> {
    let window = Window::new("rejected-rows", query.limit, query.cursor.as_deref())?;
    let import = find(&state, id).await?.id;
    let rows = state
        .store
        .import_rejects(import, window.after, window.fetch())
        .await?;
    let key = |row: &StagedReject| i64::try_from(row.line).unwrap_or(i64::MAX);
    let item = |StagedReject { line, field, reason }| RejectedRow { line, field, reason };
    Ok(Body(window.page(rows, key, item)))
}

/// Stop a running import.
///
/// The staged contacts stay, invisible, and the import can be resumed. A second stop changes nothing.
#[utoipa::path(post, path = "/imports/{id}/stop", operation_id = "stop_import", tag = "imports",
    params(("id" = i64, Path, description = "The import")),
    responses((status = 200, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is over")))]
pub(super) async fn stop(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<ImportDetail>> {
    let id = find(&state, id).await?.id;
    let moved = state.store.stop_import(id).await?;
    moved_to(&state, id, moved, ImportState::Stopped).await
}

/// Publish a staged import.
///
/// All of its contacts become visible at once. What its other rows add to contacts that were in the list before follows
/// in the background. A second publish changes nothing.
#[utoipa::path(post, path = "/imports/{id}/publish", operation_id = "publish_import", tag = "imports",
    params(("id" = i64, Path, description = "The import")),
    responses((status = 200, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is not staged")))]
pub(super) async fn publish(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<ImportDetail>> {
    let id = find(&state, id).await?.id;
    let moved = state.store.publish_import(id, state.clock.now().wall).await?;
    if moved {
        state.jobs.wake(Filling::NAME);
    }
    moved_to(&state, id, moved, ImportState::Published).await
}

/// Cancel an import that is not published.
///
/// Paceline deletes all staged contacts in the background. A second cancel changes nothing.
#[utoipa::path(post, path = "/imports/{id}/cancel", operation_id = "cancel_import", tag = "imports",
    params(("id" = i64, Path, description = "The import")),
    responses((status = 200, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is published, or has failed")))]
pub(super) async fn cancel(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<ImportDetail>> {
    let id = find(&state, id).await?.id;
    let moved = state.store.begin_clearing(id, None).await?;
    if moved {
        state.jobs.wake(Clearing::NAME);
    }
    let row = find(&state, id.0).await?;
    let cancelled =
        row.failure.is_none() && matches!(row.state, ImportState::Clearing | ImportState::Cancelled);
    moved_to(&state, id, moved || cancelled, ImportState::Cancelled).await
}

/// True for a request that uploads a file. It gets a longer timeout.
pub(super) fn is_upload(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map(MatchedPath::as_str).unwrap_or_default();
    let takes_a_file = matches!(
        path,
        "/api/v1/imports" | "/api/v1/imports/{id}/resume" | "/api/v1/suppression-lists/{name}"
    );
    request.method() == Method::POST && takes_a_file
}

async fn moved_to(
    state: &ApiState,
    id: ImportId,
    moved: bool,
    to: ImportState,
) -> ApiResult<Body<ImportDetail>> {
    let detail = detail(state, id.0).await?;
    if moved || detail.import.state == to.as_str() {
        return Ok(Body(detail));
    }
    let is = &detail.import.state;
    Err(Problem::conflict(format!(
        "Import {id} is {is}, which does not allow that. Nothing was changed."
    )))
}

async fn find(state: &ApiState, id: i64) -> ApiResult<ImportRow> {
    let row = state.store.import(ImportId(id)).await?;
    row.ok_or_else(|| Problem::no("import", id))
}

async fn detail(state: &ApiState, id: i64) -> ApiResult<ImportDetail> {
    let row = find(state, id).await?;
    Ok(ImportDetail {
        reasons: state.store.import_reasons(row.id).await?,
        notes: import::same_name(&state.store, &row).await?.into_iter().collect(),
        import: show(state, row),
    })
}

fn show(state: &ApiState, row: ImportRow) -> Import {
    let others = |imported: u64| imported + row.listed + row.rejected;
    let took_ms = u64::try_from(row.alive_at.0.saturating_sub(row.created_at.0)).unwrap_or(0);
    Import {
        id: row.id.0,
        contact_list_id: row.list.map(|list| list.0),
        new_list: row.makes_list,
        state: row.state_at(state.clock.now().wall).as_str().to_owned(),
        done_ratio: f64::from(row.done_permille) / 1000.0,
        rows: row.rows_read,
        rows_per_second: per_second(row.rows_read, Duration::from_millis(took_ms)),
        imported: row.imported,
        duplicates: row.imported.map(|n| row.rows_read.saturating_sub(others(n))),
        already_listed: row.listed,
        filled: row.filled,
        numbers_left_out: row.numbers_left,
        rejected: row.rejected,
        repairs: serde_json::from_str(&row.repairs).unwrap_or_default(),
        numbers: serde_json::from_str(&row.numbers).unwrap_or_default(),
        file: serde_json::from_str(&row.shape).unwrap_or_default(),
        failure: row.failure,
        created_at: Utc(row.created_at),
        published_at: row.published_at.map(Utc),
    }
}

fn into(query: &ImportQuery) -> ApiResult<ImportInto> {
    match (&query.list, query.contact_list_id) {
        (None, Some(id)) => Ok(ImportInto::List(ContactListId(id))),
        (Some(name), None) => {
            let mut faults = super::check::Faults::default();
            faults.name("", name);
            let named = faults.none().map(|()| ImportInto::NewList(name.clone()));
            named.map_err(|_| parameter("list", "1 to 200 characters, no line breaks, and not only spaces"))
        }
        _ => Err(parameter(
            "list",
            "give either `list`, a new list's name, or `contact_list_id`",
        )),
    }
}

fn settings(state: &ApiState, query: ImportQuery) -> ApiResult<Settings> {
    let mut mapping = Mapping {
        no_header: query.no_header.unwrap_or(false),
        ..Mapping::default()
    };
    let ignored = query.ignore_columns.as_deref().unwrap_or_default();
    let ignored = ignored.split(',').filter(|column| !column.trim().is_empty());
    let said = [
        ("number", query.number_column.as_deref()),
        ("country", query.country_column.as_deref()),
        ("area_code", query.area_code_column.as_deref()),
        ("name", query.name_column.as_deref()),
        ("time_zone", query.time_zone_column.as_deref()),
        ("external_id", query.external_id_column.as_deref()),
        ("tags", query.tags_column.as_deref()),
        ("tier", query.tier_column.as_deref()),
        ("language", query.language_column.as_deref()),
        ("state", query.state_column.as_deref()),
        ("postal_code", query.postal_code_column.as_deref()),
        ("consent", query.consent_column.as_deref()),
        ("consent_scope", query.consent_scope_column.as_deref()),
        ("consent_granted_at", query.consent_granted_at_column.as_deref()),
        ("consent_expires_at", query.consent_expires_at_column.as_deref()),
        ("consent_proof", query.consent_proof_column.as_deref()),
    ];
    let said = said
        .into_iter()
        .filter_map(|(field, column)| Some((field, column?)));
    for (field, column) in said.chain(ignored.map(|column| ("ignore", column))) {
        let added = mapping.add(&format!("{field}={column}"));
        added.map_err(|_| {
            parameter(
                &format!("{field}_column"),
                "write a header, or #2 for the second column",
            )
        })?;
    }
    let numbers = query.numbers.as_deref().map(str::parse).transpose();
    let numbers = numbers.map_err(|error: NotANotation| parameter("numbers", &error.to_string()))?;
    let countries = query.countries.as_deref().map(|all| all.split(','));
    Ok(Settings {
        numbers: numbers.unwrap_or_default(),
        countries: countries.map(|all| all.map(|country| country.trim().to_owned()).collect()),
        premium_rate: query.premium_rate.unwrap_or(false),
        region: query
            .region
            .or_else(|| state.default_region.as_deref().map(str::to_owned)),
        encoding: query.encoding,
        sheet: query.sheet,
        mapping,
    })
}

fn parameter(name: &str, detail: &str) -> Problem {
    Problem::new(
        Kind::BadParameter,
        "Correct the parameter that `errors` names, or leave it out.",
    )
    .with_errors(vec![Fault::parameter(name, detail)])
}

fn permit(state: &ApiState) -> ApiResult<OwnedSemaphorePermit> {
    let permit = Arc::clone(&state.imports).try_acquire_owned();
    permit.map_err(|_| {
        Problem::conflict(format!(
            "{RUNNING_MAX} imports run already. Wait for one to end, or stop one."
        ))
    })
}

/// Writes the body to a file without a name, and checks it.
async fn receive(state: &ApiState, request: Request, settings: Settings) -> ApiResult<Arc<ContactFile>> {
    let file = match &state.files_folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    };
    let file = file.map_err(Problem::internal)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut body = request.into_body().into_data_stream();
    let mut bytes = 0_usize;
    while let Some(part) = body.next().await {
        let part =
            part.map_err(|_| Problem::new(Kind::MalformedBody, "The file broke off. Send it again."))?;
        bytes = bytes.saturating_add(part.len());
        if bytes > FILE_BYTES_MAX {
            return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        file.write_all(&part).await.map_err(Problem::internal)?;
    }
    file.flush().await.map_err(Problem::internal)?;
    let file = file.into_std().await;
    let opened = aside(move || ContactFile::open(file, settings)).await?;
    opened.map(Arc::new).map_err(refused)
}

fn refused(error: ImportError) -> Problem {
    match error {
        ImportError::Store(error @ StoreError::ListBusy { .. }) => {
            Problem::conflict(format!("Nothing was imported: {error}."))
        }
        ImportError::Store(StoreError::NoList) => parameter(
            "contact_list_id",
            "there is no such contact list; GET /api/v1/contact-lists lists them",
        ),
        ImportError::Store(error) => error.into(),
        ImportError::NotStopped => Problem::conflict("The import is not stopped, so it cannot be resumed."),
        error if error.is_of_file() => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let detail = format!("Nothing was imported: {error}{}.", cause.unwrap_or_default());
            Problem::invalid(detail, Vec::new())
        }
        error => Problem::internal(error),
    }
}

/// Runs a job in the background.
async fn start(
    state: ApiState,
    job: Job,
    publish: bool,
    permit: OwnedSemaphorePermit,
) -> ApiResult<(StatusCode, Body<ImportDetail>)> {
    let id = job.row().id;
    let detail = detail(&state, id.0).await?;
    let ApiState { clock, jobs, .. } = state;
    let published = jobs.clone();
    jobs.spawn_shown(JOB, async move |store: Store| {
        let ended = job.run(clock, |_| (), std::future::pending()).await;
        let ended = match ended {
            Ok(Ended::Staged(_)) if publish => {
                let done = store.publish_import(id, clock.now().wall).await;
                published.wake(Filling::NAME);
                done.map(drop).map_err(ImportError::Store)
            }
            ended => ended.map(drop),
        };
        drop(permit);
        match ended {
            Ok(()) => Ok(1),
            Err(ImportError::Store(error)) => {
                tracing::warn!("import {id} was interrupted; resume it with the same file");
                Err(error)
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "import {id} failed");
                Ok(0)
            }
        }
    });
    Ok((StatusCode::ACCEPTED, Body(detail)))
}
