//! Contact files into contact lists: an upload becomes a job that can be watched, stopped, resumed, published and
//! cancelled. The file is kept while it is read and not after: whoever resumes sends it again.

use super::check::aside;
use super::extract::{Id, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::import::{self, ContactFile, Ended, ImportError, Job, Mapping, Settings, per_second};
use crate::jobs::clearing::Clearing;
use crate::jobs::filling::Filling;
use crate::numbers::NotAWay;
use crate::store::{ImportInto, ImportRow, ImportState, StagedReject, StoreError};
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

/// Bytes of a contact file at most.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A file must be there within this.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Imports that run at once.
pub(super) const RUNNING_MAX: usize = 2;

/// The import of a contact file.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Import {
    /// Its id.
    #[schema(example = 4)]
    id: i64,
    /// The list that its contacts go to; null once they are deleted with it.
    #[schema(example = 7)]
    contact_list_id: Option<i64>,
    /// Whether that list is new with it; nobody sees such a list before the import is published.
    new_list: bool,
    /// `running`; `stopped`: it can be resumed; `staged`: all is read, nothing is seen; `published`: its contacts are seen;
    /// `clearing`: they are being deleted; `cancelled`; `failed`: `failure` says why.
    #[schema(example = "published")]
    state: String,
    /// How much of the file is read, from 0 to 1.
    #[schema(example = 1.0)]
    done_ratio: f64,
    /// Rows read. In the end it is the sum of `imported`, `duplicates`, `already_listed` and `rejected`.
    #[schema(example = 1000)]
    rows: u64,
    /// Rows a second since it began, pauses included.
    #[schema(example = 60000)]
    rows_per_second: u64,
    /// Contacts that are new in the list; null before all are staged.
    #[schema(example = 990)]
    imported: Option<u64>,
    /// Rows of a contact that came before in the file, and which filled what the earlier row left blank; null before all are
    /// staged.
    #[schema(example = 4)]
    duplicates: Option<u64>,
    /// Rows of a contact that was in the list already; they fill what was left blank there, and replace nothing.
    #[schema(example = 0)]
    already_listed: u64,
    /// Contacts of the list to which such rows add something; null before all are staged.
    #[schema(example = 0)]
    filled: Option<u64>,
    /// Further numbers that were left out, as another contact of the list has them.
    #[schema(example = 0)]
    numbers_left_out: u64,
    /// Rows that could not be taken.
    #[schema(example = 6)]
    rejected: u64,
    /// What was repaired or left out, and how often.
    #[schema(example = json!({"repaired: `tel:` taken off": 12}))]
    repairs: BTreeMap<String, u64>,
    /// How many rows have a number that can be taken, by the country of the first (ISO 3166-1; `001` for none) and its kind: `fixed`, `mobile`,
    /// `fixed_or_mobile` where number plans do not tell, `toll_free`, `premium_rate`, `shared_cost`, `voip`, `personal`, `pager`,
    /// `uan`, `voicemail`.
    #[schema(example = json!({"US": {"fixed_or_mobile": 994}}))]
    numbers: BTreeMap<String, BTreeMap<String, u64>>,
    /// What was found in the file: format, encoding, separator, sheet, header line, and what each column is taken for.
    #[schema(value_type = Object, example = json!({"format": "csv", "encoding": "UTF-8", "separator": ",", "header_line": 1,
        "columns": {"numbers": [{"header": "Phone"}], "countries": [], "name": {"header": "Name"}, "tags": {"header": "Tags"},
            "attributes": [], "ignored": []}}))]
    file: serde_json::Value,
    /// Why it failed.
    failure: Option<String>,
    /// When it began.
    created_at: Utc,
    /// When its contacts were first seen.
    published_at: Option<Utc>,
}

/// An import, and why rows were rejected.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ImportDetail {
    #[serde(flatten)]
    import: Import,
    /// Rejected rows by reason.
    #[schema(example = json!({"too short for its country (read as a number in US)": 6}))]
    reasons: BTreeMap<String, u64>,
    /// What to know beside it, such as that another list has the same name.
    notes: Vec<String>,
}

/// A row that could not be taken. What stands in it is not repeated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RejectedRow {
    /// The line of the file, or row of the sheet, from 1, the header included.
    #[schema(example = 17)]
    line: u64,
    /// The header of the column at fault; null where it is the whole row.
    #[schema(example = "Phone")]
    field: Option<String>,
    /// Why, and what would do.
    #[schema(example = "too short for its country (read as a number in US)")]
    reason: String,
}

/// What is said of a file; everything left out is found out.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// What to call the new contact list. This or `contact_list_id`.
    list: Option<String>,
    /// The contact list to add to; rows whose number is in it already fill what is blank there. Only with a key that may see
    /// numbers: whoever fills a number's contact and reads it back knows that number.
    contact_list_id: Option<i64>,
    /// `true`: the contacts stay unseen until the import is published; else that is done once all are staged.
    stage: Option<bool>,
    /// How numbers without a country code are read (ISO 3166-1); the configured default region if left out.
    region: Option<String>,
    /// The file's encoding, such as `windows-1252` or `gb18030`.
    encoding: Option<String>,
    /// Which sheet of an Excel file; the first if left out.
    sheet: Option<String>,
    /// `true`: the first line is a contact already.
    no_header: Option<bool>,
    /// How numbers without a `+` are written: `national`, as in their region, or `international`, with their country code. Must
    /// be said where many could be both.
    numbers: Option<String>,
    /// Which countries' numbers are taken (ISO 3166-1), separated by commas, or `any`; the region's, and that which a column of
    /// countries states, if left out.
    countries: Option<String>,
    /// `true`: premium-rate numbers are taken too, which cost whoever calls them.
    premium_rate: Option<bool>,
    /// The column of the number: its header, or `#2` for the second column. Several are separated by commas, and dialed in that
    /// order.
    number_column: Option<String>,
    /// The column of the contact's and its numbers' country: two letters, a name or a calling code.
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
    /// The column of when it was given: RFC 3339, or a day such as 2026-03-31.
    consent_granted_at_column: Option<String>,
    /// The column of when it ends, likewise.
    consent_expires_at_column: Option<String>,
    /// The column of where it can be proved.
    consent_proof_column: Option<String>,
    /// Columns to leave out, separated by commas.
    ignore_columns: Option<String>,
}

/// Import a contact file.
///
/// The body is a CSV or Excel (.xlsx) file. It is looked over while you wait: a file that is no contact list is refused with
/// the reason, and `file` shows what its columns are taken for. Then it is read in the background: ask for the import until
/// its `state` is `published`, or `staged` where that was wished.
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
    let file = receive(request, settings).await?;
    let job = Job::begin(&state.store, file, &into, state.clock).await;
    let job = job.map_err(refused)?;
    start(state, job, publish, permit).await
}

/// Resume an import that was stopped.
///
/// The body is the same file once more; it is read on from where the import was stopped.
#[utoipa::path(post, path = "/imports/{id}/resume", operation_id = "resume_import", tag = "imports",
    params(("id" = i64, Path, description = "The import"), ResumeQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The same file."),
    responses((status = 202, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is not stopped, or two imports run already"),
        (status = 422, description = "It is another file")))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Query(query): Query<ResumeQuery>,
    request: Request,
) -> ApiResult<(StatusCode, Body<ImportDetail>)> {
    let row = find(&state, id).await?;
    let permit = permit(&state)?;
    let settings = serde_json::from_str(&row.settings).map_err(Problem::internal)?;
    let file = receive(request, settings).await?;
    let job = Job::resume(&state.store, file, row.id, state.clock).await;
    let job = job.map_err(refused)?;
    start(state, job, !query.stage.unwrap_or(false), permit).await
}

/// How an import goes on.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResumeQuery {
    /// `true`: the contacts stay unseen until the import is published.
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

/// List the rows of an import that could not be taken.
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
/// What is staged stays, unseen, and the import can be resumed. Doing it again changes nothing.
#[utoipa::path(post, path = "/imports/{id}/stop", operation_id = "stop_import", tag = "imports",
    params(("id" = i64, Path, description = "The import")),
    responses((status = 200, body = ImportDetail), (status = 404, description = "No such import"),
        (status = 409, description = "It is over")))]
pub(super) async fn stop(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<ImportDetail>> {
    let id = find(&state, id).await?.id;
    let moved = state.store.stop_import(id).await?;
    moved_to(&state, id, moved, ImportState::Stopped).await
}

/// Publish an import that is staged.
///
/// Its contacts are seen from then on, all at once; what its other rows add to contacts that the list had before follows in the
/// background. Doing it again changes nothing.
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
/// Everything that it has staged is deleted, in the background. Doing it again changes nothing.
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

/// Whether a request sends a file, which takes its time.
pub(super) fn is_upload(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map(MatchedPath::as_str).unwrap_or_default();
    request.method() == Method::POST && (path == "/api/v1/imports" || path == "/api/v1/imports/{id}/resume")
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
    let numbers = numbers.map_err(|error: NotAWay| parameter("numbers", &error.to_string()))?;
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

/// Takes the body into a file that has no name, and looks it over.
async fn receive(request: Request, settings: Settings) -> ApiResult<Arc<ContactFile>> {
    let file = tempfile::tempfile().map_err(Problem::internal)?;
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

/// Lets a job run in the background.
async fn start(
    state: ApiState,
    job: Job,
    publish: bool,
    permit: OwnedSemaphorePermit,
) -> ApiResult<(StatusCode, Body<ImportDetail>)> {
    let id = job.row().id;
    let detail = detail(&state, id.0).await?;
    let ApiState {
        store, clock, jobs, ..
    } = state;
    tokio::spawn(async move {
        let ended = job.run(clock, |_| (), std::future::pending()).await;
        let ended = match ended {
            Ok(Ended::Staged(_)) if publish => {
                let published = store.publish_import(id, clock.now().wall).await;
                jobs.wake(Filling::NAME);
                published.map(drop).map_err(ImportError::Store)
            }
            ended => ended.map(drop),
        };
        if let Err(error) = ended {
            let error = anyhow::Error::from(error);
            tracing::warn!(
                error = format!("{error:#}"),
                "import {id} ended early; resume it with the same file"
            );
        }
        drop(permit);
    });
    Ok((StatusCode::ACCEPTED, Body(detail)))
}
