//! The REST API under `/api/v1`, its documentation, and the health checks.
//!
//! In: HTTP requests with a key. Out: rows of the store as JSON, changes to them, and word of each change to the dialer.
//! Decides nothing about calls. Start at [`router`], which shows every route and the role that it needs.

mod agents;
mod api_keys;
mod attempts;
mod audit;
mod auth;
mod budget;
mod campaigns;
mod check;
mod contacts;
pub mod control;
mod dnc;
mod docs;
mod drain;
mod events;
pub mod explain;
mod extract;
mod frame;
mod health;
mod held;
mod imports;
mod jobs;
pub mod keys;
mod limit;
pub mod listen;
mod live;
mod masking;
mod openapi;
mod pacing;
mod page;
mod pbxes;
pub mod problem;
mod recordings;
mod sounds;
mod suppression;
mod tasks;
mod trunks;
mod words;

pub use crate::store::Role;
pub use auth::Caller;
pub use limit::REQUESTS_PER_SECOND;

use crate::clock::Clock;
use crate::config::{PbxConfig, SUPPRESSION_NUMBERS_MAX};
use crate::jobs::Jobs;
use crate::metrics::Metrics;
use crate::store::Store;
use auth::needs;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use budget::Budget;
use control::Dialer;
use limit::Limiter;
use paceline_core::gate::Rulebook;
use problem::Problem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Maximum size of a body in bytes: enough for 10,000 contacts with attributes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A body must arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum duration of a request. Work that it has begun in the store still goes on to its end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of keys that are looked up in the store at the same time. Further requests wait.
const LOOK_UPS_MAX: usize = 8;
/// Maximum number of requests without a valid key that are logged at the level info per second.
const STRANGERS_LOGGED_PER_SECOND: u32 = 10;

/// The state that all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    store: Store,
    dialer: Arc<dyn Dialer>,
    clock: Clock,
    default_region: Option<Arc<str>>,
    requests_per_second: u32,
    limiter: Arc<Limiter>,
    bodies: Budget,
    look_ups: Arc<Semaphore>,
    strangers_logged: Arc<Limiter>,
    /// The running imports, each with its file.
    imports: Arc<Semaphore>,
    /// Suppression lists that are being replaced.
    uploads: Arc<Semaphore>,
    /// Dry runs of tasks.
    dry_runs: Arc<Semaphore>,
    /// The rules of regulators and of the team.
    rules: Arc<Rulebook>,
    /// Numbers of all suppression lists together.
    suppression_numbers_max: usize,
    /// The folder of contact files that are being imported. `None`: the system's folder of temporary files.
    files_folder: Option<Arc<Path>>,
    metrics: Metrics,
    trail: Arc<audit::Trail>,
    followers: Arc<events::Followers>,
    jobs: Jobs,
    /// Those that are asked for sounds.
    pbxes: Arc<[PbxConfig]>,
}

impl ApiState {
    /// `default_region` (ISO 3166-1) is how numbers without a country code are read. Requests are counted in `metrics`.
    pub fn new(
        store: Store,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
        metrics: &Metrics,
        default_region: Option<&str>,
    ) -> Self {
        Self::with_rate(store, dialer, clock, metrics, default_region, REQUESTS_PER_SECOND)
    }

    /// As [`ApiState::new`], with another number of requests that each key may make a second.
    pub fn with_rate(
        store: Store,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
        metrics: &Metrics,
        default_region: Option<&str>,
        requests_per_second: u32,
    ) -> Self {
        let jobs = Jobs::new(metrics, clock, store.clone(), Handle::current());
        Self {
            store,
            dialer,
            clock,
            default_region: default_region.map(Into::into),
            requests_per_second,
            limiter: Arc::new(Limiter::new(requests_per_second)),
            bodies: Budget::new(),
            look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            strangers_logged: Arc::new(Limiter::new(STRANGERS_LOGGED_PER_SECOND)),
            imports: Arc::new(Semaphore::new(imports::RUNNING_MAX)),
            uploads: Arc::new(Semaphore::new(suppression::UPLOADS_MAX)),
            dry_runs: Arc::new(Semaphore::new(explain::dry_run::DRY_RUNS_MAX)),
            rules: Rulebook::shipped().cloned().unwrap_or_default(),
            suppression_numbers_max: SUPPRESSION_NUMBERS_MAX,
            files_folder: None,
            metrics: metrics.clone(),
            trail: Arc::new(audit::Trail::new(metrics.queue("audit"))),
            followers: Arc::new(events::Followers::new(metrics.queue("event_streams"))),
            jobs,
            pbxes: Arc::default(),
        }
    }

    /// Explains by these rules, which are the dialer's. Without it: by those of this binary.
    pub fn by_rules(mut self, rules: Arc<Rulebook>) -> Self {
        self.rules = rules;
        self
    }

    /// Limits the numbers of all suppression lists together.
    pub fn with_suppression_numbers_max(mut self, max: usize) -> Self {
        self.suppression_numbers_max = max;
        self
    }

    /// Writes the contact files of imports to this folder. The system's folder of temporary files may be memory.
    pub fn with_files_in(mut self, folder: &Path) -> Self {
        self.files_folder = Some(folder.into());
        self
    }

    /// Shows these jobs, and runs imports and replacements of suppression lists beside them.
    pub fn with_jobs(mut self, jobs: Jobs) -> Self {
        self.jobs = jobs;
        self
    }

    /// Asks these PBXs whether they have what a campaign's callees are to hear.
    pub fn asking(mut self, pbxes: &[PbxConfig]) -> Self {
        self.pbxes = pbxes.into();
        self
    }
}

/// Everything that is served: the API, its documentation, the health checks.
pub fn router(state: ApiState) -> Router {
    let (api, document) = api(&state).split_for_parts();
    let document = Arc::new(openapi::Served::new(document));
    let documentation = Router::new()
        .route("/api/v1/openapi.json", get(openapi::json))
        .route("/api/docs", get(openapi::docs))
        .route("/problems/{slug}", get(openapi::problem))
        .with_state(document);
    api.with_state(state.clone())
        .merge(documentation)
        .fallback(async || Problem::of_status(axum::http::StatusCode::NOT_FOUND))
        .layer(from_fn_with_state(state, frame::frame))
}

/// The routes for connections over the limit: the health checks. All other requests get the status 503.
pub fn crowded_router(state: ApiState) -> Router {
    let (health, _) = health(OpenApiRouter::new()).split_for_parts();
    let crowded = async || {
        Problem::unavailable(
            "Too many connections are open. Close some, and try again in a second.",
            1,
        )
    };
    health
        .with_state(state.clone())
        .fallback(crowded)
        .layer(from_fn_with_state(state, frame::frame))
}

/// The OpenAPI document, as [`router`] serves it.
pub fn document(state: &ApiState) -> serde_json::Value {
    openapi::complete(api(state).into_openapi())
}

fn api(state: &ApiState) -> OpenApiRouter<ApiState> {
    let read = |routes| needs(Role::Read, state, routes);
    let agent = |routes| needs(Role::Agent, state, routes);
    let write = |routes| needs(Role::Write, state, routes);
    let v1 = OpenApiRouter::new()
        .routes(write(routes!(tasks::create::create)))
        .routes(write(routes!(tasks::create::create_batch)))
        .routes(read(routes!(tasks::list)))
        .routes(read(routes!(tasks::get)))
        .routes(read(routes!(tasks::contacts)))
        .routes(write(routes!(tasks::start)))
        .routes(write(routes!(tasks::pause)))
        .routes(write(routes!(tasks::resume)))
        .routes(write(routes!(tasks::cancel)))
        .routes(write(routes!(tasks::requeue::requeue)))
        //
        .routes(read(routes!(campaigns::list)))
        .routes(write(routes!(campaigns::create)))
        .routes(read(routes!(campaigns::get)))
        .routes(write(routes!(campaigns::put_settings)))
        .routes(write(routes!(campaigns::put_trunks)))
        .routes(write(routes!(campaigns::activate)))
        .routes(write(routes!(campaigns::pause)))
        .routes(write(routes!(campaigns::archive)))
        //
        .routes(read(routes!(live::all)))
        .routes(read(routes!(live::campaign)))
        .routes(read(routes!(explain::task::task)))
        .routes(read(routes!(explain::number::number)))
        .routes(read(routes!(pacing::decisions)))
        .routes(read(routes!(events::follow)))
        .routes(read(routes!(jobs::list)))
        .routes(write(routes!(drain::drain)))
        .routes(write(routes!(pbxes::begin, pbxes::end)))
        //
        .routes(read(routes!(contacts::lists)))
        .routes(write(routes!(contacts::create_list)))
        .routes(read(routes!(contacts::get_list)))
        .routes(read(routes!(contacts::in_list)))
        .routes(write(routes!(contacts::add)))
        .routes(read(routes!(contacts::get)))
        .routes(read(routes!(contacts::why::why)))
        .routes(read(routes!(contacts::why::search)))
        //
        .routes(write(routes!(imports::create)))
        .routes(read(routes!(imports::list)))
        .routes(read(routes!(imports::get)))
        .routes(read(routes!(imports::rejected)))
        .routes(write(routes!(imports::stop)))
        .routes(write(routes!(imports::resume)))
        .routes(write(routes!(imports::publish)))
        .routes(write(routes!(imports::cancel)))
        //
        .routes(read(routes!(attempts::list)))
        .routes(read(routes!(attempts::get)))
        .routes(agent(routes!(attempts::put_disposition)))
        .routes(read(routes!(recordings::list)))
        //
        .routes(read(routes!(agents::list)))
        .routes(write(routes!(agents::create)))
        .routes(read(routes!(agents::get)))
        .routes(write(routes!(agents::put)))
        .routes(write(routes!(agents::delete)))
        .routes(agent(routes!(agents::log_in)))
        .routes(agent(routes!(agents::log_out)))
        .routes(agent(routes!(agents::ready)))
        .routes(agent(routes!(agents::pause)))
        .routes(agent(routes!(agents::hang_up)))
        .routes(agent(routes!(agents::disposition)))
        //
        .routes(read(routes!(trunks::list)))
        .routes(write(routes!(trunks::create)))
        .routes(read(routes!(trunks::get)))
        .routes(write(routes!(trunks::put)))
        .routes(write(routes!(trunks::delete)))
        //
        .routes(read(routes!(dnc::list)))
        .routes(write(routes!(dnc::add)))
        .routes(write(routes!(dnc::remove)))
        .routes(read(routes!(dnc::check)))
        .routes(read(routes!(suppression::list)))
        .routes(read(routes!(suppression::get)))
        .routes(write(routes!(suppression::upload)))
        .routes(write(routes!(suppression::remove)))
        //
        .routes(write(routes!(api_keys::list)))
        .routes(write(routes!(api_keys::create)))
        .routes(write(routes!(api_keys::revoke)))
        .routes(write(routes!(audit::list)));
    health(openapi::base().nest("/api/v1", v1))
}

fn health(router: OpenApiRouter<ApiState>) -> OpenApiRouter<ApiState> {
    router
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}
