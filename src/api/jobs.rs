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
    /// End of the last successful run.
    succeeded_at: Option<Utc>,
    /// Number of items done since the start of Paceline, such as started tasks.
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
/// `tasks` starts scheduled tasks and counts them; `preparing` takes the contacts of large tasks from their lists, and counts contacts; `filling` adds to contacts that a list had what a published import brings for
/// them, and counts imports; `rechecking` looks again at contacts that the gate
/// refused or deferred, after rules, settings or suppression lists have changed, and counts those that are due now; `clearing` deletes contacts of cancelled imports, and counts imports; `retention` deletes rows that are
/// older than paceline.toml says, and counts rows; `outside_checks`
/// asks the service of the outside check about numbers before they are called, and counts answers.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "live", responses((status = 200, body = Jobs)))]
pub(super) async fn list(State(state): State<ApiState>) -> ApiResult<Body<Jobs>> {
    let reports = state.jobs.reports().into_iter();
    let jobs = reports.map(|(name, report)| Job {
        name: name.to_owned(),
        state: report.state,
        succeeded_at: report.succeeded_at.map(Utc),
        done: report.done,
        failures: report.failures,
        error: report.error,
    });
    Ok(Body(Jobs { jobs: jobs.collect() }))
}
