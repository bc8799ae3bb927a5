//! Jobs beside the calls, and how each stands.

use super::ApiState;
use super::problem::ApiResult;
use super::words::Utc;
use axum::Json as Body;
use axum::extract::State;
use paceline_core::live::JobState;
use serde::Serialize;

/// All jobs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Jobs {
    /// All jobs, by name.
    jobs: Vec<Job>,
}

/// A background job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Job {
    /// The job's name.
    #[schema(example = "tasks")]
    name: String,
    /// The present state.
    state: JobState,
    /// Start of the present run. Null while the job waits.
    working_since: Option<Utc>,
    /// End of the last successful run.
    succeeded_at: Option<Utc>,
    /// Number of items done since the start of Paceline, such as started tasks. It grows during a long run.
    #[schema(example = 3)]
    done: u64,
    /// Number of failed runs in a row.
    #[schema(example = 0)]
    failures: u32,
    /// Error of the last run, if it failed.
    #[schema(example = json!(null))]
    error: Option<String>,
}

/// See the background jobs.
///
/// `tasks` starts scheduled tasks, and counts them; `preparing` takes the contacts of large tasks from their lists, and counts
/// contacts; `imports` reads contact files, and counts files (GET /api/v1/imports shows each); `filling` adds the new data of a
/// published import to contacts that its list already had, and counts imports; `rechecking` looks again at contacts that the gate refused or
/// deferred, after rules, settings or suppression lists have changed, and counts those that are due now; `clearing` deletes contacts of cancelled imports, and
/// counts imports; `retention` deletes rows that are older than paceline.toml allows, and counts rows; `suppression` watches the age
/// of suppression lists, and counts lists; `ledger` gives entries their places and signs checkpoints, and counts entries;
/// `outside_checks` asks the service of the outside check about numbers before they are called, and counts answers.
///
/// A failed run is repeated after 1 to 60 s. A run that makes no progress in time goes on, and is shown as `failing` with its
/// `working_since`. The alarm `job_failed` tells both.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "live", responses((status = 200, body = Jobs)))]
pub(super) async fn list(State(state): State<ApiState>) -> ApiResult<Body<Jobs>> {
    let reports = state.jobs.reports().into_iter();
    let jobs = reports.map(|(name, report)| Job {
        name: name.to_owned(),
        state: report.state,
        working_since: report.working_since.map(Utc),
        succeeded_at: report.succeeded_at.map(Utc),
        done: report.done,
        failures: report.failures,
        error: report.error,
    });
    Ok(Body(Jobs { jobs: jobs.collect() }))
}
