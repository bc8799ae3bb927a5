//! Connects the parts of a running Paceline and stops them in order. It decides nothing.

use crate::api;
use crate::api::listen::Routes;
use crate::clock::Clock;
use crate::config::{Config, Overlay, PbxKind};
use crate::dialer::{AttachedPbx, Dialer, StartError};
use crate::jobs::Jobs;
use crate::jobs::clearing::Clearing;
use crate::jobs::filling::Filling;
use crate::jobs::ledger::Ledger;
use crate::jobs::outside::OutsideChecks;
use crate::jobs::preparing::Preparing;
use crate::jobs::rechecking::Rechecking;
use crate::jobs::retention::Retention;
use crate::jobs::suppression::Suppression;
use crate::jobs::tasks::Tasks;
use crate::jobs::test_clock::{TestClock, TestClockError};
use crate::keys::{self, KeysError};
use crate::ledger::{self, Keys, SignInError};
use crate::metrics::{Metrics, Page};
use crate::numbers;
use crate::outside_service::{OutsideClient, ServiceError};
use crate::pbx;
use crate::store::{EntryEnd, Hold, HoldError, Store, StoreError, SuppressionKey};
use crate::threads::{ApiThreads, JobsThread};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use paceline_core::gate::{FileError, Rulebook};
use paceline_core::outside::OutsideService;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A running Paceline.
#[derive(Debug)]
pub struct App {
    /// The store of the dialer. The API and the jobs have connections of their own.
    pub store: Store,
    /// The dialer with all campaigns.
    pub dialer: Dialer,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The address on which the API listens, with the real port if the configuration says port 0.
    pub addr: SocketAddr,
    api: JoinHandle<()>,
    api_store: Store,
    api_threads: ApiThreads,
    jobs: Jobs,
    jobs_run: Vec<JoinHandle<()>>,
    /// Works once more when the process stops.
    last_ledger: Ledger,
    _jobs_thread: JobsThread,
    hold: Hold,
}

/// Paceline could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store cannot be opened.
    #[error("cannot open the store `{shown}`")]
    Store {
        /// The store's URL without the password.
        shown: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// The address cannot be opened.
    #[error("cannot listen on {addr}: choose another address with `listen` under [server]")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refuses to start more threads.
    #[error("cannot start the threads of the API and of the jobs: raise the limit of processes or of memory")]
    Threads(#[source] std::io::Error),
    /// A key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The key of the ledger cannot be used.
    #[error("cannot begin with the key of the ledger")]
    SignIn(#[from] SignInError),
    /// The outside check cannot be set up.
    #[error(transparent)]
    OutsideCheck(#[from] ServiceError),
    /// The clock of tests cannot be used.
    #[error(transparent)]
    TestClock(#[from] TestClockError),
    /// Another process uses the store.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// A rule file of the team, or one of this binary, cannot be used.
    #[error("cannot use the rule files")]
    Rules(#[source] FileError),
    /// The dialer cannot start.
    #[error(transparent)]
    Dialer(#[from] StartError),
}

/// Maximum time that a stop lets calls ring.
const RING_PATIENCE: Duration = Duration::from_secs(30);
/// Maximum time that a stop waits for requests to the store.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The rules of regulators with the team's own.
pub fn rules(overlays: &[Overlay]) -> Result<Arc<Rulebook>, FileError> {
    let mut book = Rulebook::shipped().map_err(Clone::clone)?.clone();
    for Overlay { file, text } in overlays {
        book = Arc::new(book.with_overlay(file, text)?);
    }
    Ok(book)
}

impl App {
    /// Opens the store, takes over what the last run left open, connects to the PBXes, and serves the API.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, AppError> {
        let metrics = Metrics::new();
        let rules = rules(&config.overlays).map_err(AppError::Rules)?;
        tokio::task::spawn_blocking(numbers::load_plans);
        let shown = config.store.shown.clone();
        let hold = Hold::take(config.store.url.expose_secret()).await?;
        let store = Store::open(config.store.url.expose_secret(), metrics.store()).await;
        let store = store.map_err(|source| AppError::Store {
            shown: shown.clone(),
            source,
        })?;
        let key = SuppressionKey::new(&keys::secret(config, keys::NUMBER_KEY)?);
        let opened = store.open_suppression(key).await;
        opened.map_err(|source| AppError::Store { shown, source })?;
        let api_threads = ApiThreads::start().map_err(AppError::Threads)?;
        let jobs_thread = JobsThread::start().map_err(AppError::Threads)?;
        let api_store = {
            let _on_its_threads = api_threads.handle().enter();
            store.beside()
        };
        let jobs_store = {
            let _on_its_thread = jobs_thread.handle().enter();
            api_store.beside()
        };
        let listen = |source| AppError::Listen {
            addr: config.listen,
            source,
        };
        let listener = api_threads.handle().spawn(TcpListener::bind(config.listen)).await;
        let listener = listener.map_err(|died| listen(died.into()))?.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let unusable = |source| AppError::Store {
            shown: config.store.shown.clone(),
            source,
        };
        let installation = store.installation().await.map_err(unusable)?;
        let keys = Arc::new(open_ledger(config, &store, installation, &rules, clock).await?);
        let test_clock = match &config.test_clock {
            Some(file) => Some(TestClock::start(config, file, &store, clock).await?),
            None => None,
        };
        let outside = outside_check(config, &store).await?;
        let writer = store.writer_in(&clock);
        let pbxes = config
            .pbxes
            .iter()
            .map(|pbx| attach(pbx, installation, clock))
            .collect();
        let api_rules = Arc::clone(&rules);
        let dialer = Dialer::start(store.clone(), writer, clock, rules, metrics.clone(), pbxes).await?;
        let jobs = Jobs::new(&metrics, clock, jobs_store.clone(), jobs_thread.handle().clone());
        jobs.tell(dialer.events());
        let events = api::control::Dialer::events(&dialer);
        let ledger = Ledger::new(jobs_store.clone(), keys, clock, metrics.ledger(), events);
        let mut jobs_run = start_jobs(&jobs, &jobs_store, &dialer, &metrics, config, clock);
        jobs_run.push(jobs.start(ledger.clone()));
        if let (Some(client), Some(check)) = (outside, &config.outside_check) {
            let (store, events) = (jobs_store.clone(), dialer.events());
            let checks = OutsideChecks::new(store, clock, events, &metrics, client, check);
            jobs_run.push(jobs.start(checks));
        }
        if let Some(test_clock) = test_clock {
            jobs_run.push(jobs.start(test_clock.with_store(jobs_store)));
        }
        let routes = routes(config, &api_store, &dialer, &jobs, &metrics, clock, api_rules);
        let api = api_threads.handle().spawn(api::listen::serve(
            listener,
            routes,
            metrics.queue("api_connections"),
        ));
        Ok(Self {
            store,
            dialer,
            metrics,
            addr,
            api,
            api_store,
            api_threads,
            jobs,
            jobs_run,
            last_ledger: ledger,
            _jobs_thread: jobs_thread,
            hold,
        })
    }

    /// Launches no more calls, waits until conversations have ended or until the requested deadline, then stops. To wait no
    /// longer, drop the future and call [`App::stop`].
    pub async fn drain(&self) {
        self.dialer.drain().await;
    }

    /// Launches no more calls and serves those that ring, for a stop after which agents and conversations stay up.
    pub async fn settle(&self) {
        self.dialer.settle(RING_PATIENCE).await;
    }

    /// Returns when a drain was requested through the API.
    pub async fn drain_asked(&self) {
        self.dialer.drain_asked().await;
    }

    /// Returns when another process has taken the store. Returns its description; this process must not use the store any
    /// more.
    pub async fn lost(&self) -> String {
        self.hold.lost().await
    }

    /// Stops now. Calls that are up stay up, and the next start takes them over.
    pub async fn stop(self) {
        self.dialer.stop().await;
        self.api.abort();
        for job in &self.jobs_run {
            job.abort();
        }
        // Connections to PostgreSQL run on the threads of their users, so they must be closed there.
        let jobs_close = self.jobs.spawn(async move |store: Store| {
            self.last_ledger.finish().await;
            store.close().await;
        });
        let api_closes = self
            .api_threads
            .handle()
            .spawn(async move { self.api_store.close().await });
        let closing = async { tokio::join!(jobs_close, api_closes) };
        if tokio::time::timeout(CLOSE_PATIENCE, closing).await.is_err() {
            tracing::warn!(
                "a request to the store has not ended within {} s, so it is cut off",
                CLOSE_PATIENCE.as_secs()
            );
        }
        self.store.close().await;
    }
}

/// Reads the keys of the ledger, or makes them at the first start. From then on the store records decisions, first the rules that
/// they follow.
async fn open_ledger(
    config: &Config,
    store: &Store,
    installation: Uuid,
    rules: &Rulebook,
    clock: Clock,
) -> Result<Keys, AppError> {
    let unusable = |source| AppError::Store {
        shown: config.store.shown.clone(),
        source,
    };
    let is_empty = store.ledger_size().await.map_err(unusable)? == 0;
    let keys = Keys::open(config, installation, is_empty)?;
    store.keep_ledger(keys.numbers.clone());
    let now = clock.now().wall;
    keys.sign_in(store, now).await?;
    let rules = ledger::rules::in_force(&config.overlays, rules);
    store.record_rules(&rules, now).await.map_err(unusable)?;
    Ok(keys)
}

/// Makes the client of the outside check. Stores that the service works, or that there is none: what the last run stored holds no
/// longer, and the gate reads it.
async fn outside_check(config: &Config, store: &Store) -> Result<Option<OutsideClient>, AppError> {
    let client = config
        .outside_check
        .as_ref()
        .map(OutsideClient::new)
        .transpose()?;
    let service = match client {
        Some(_) => OutsideService::Works,
        None => OutsideService::Missing,
    };
    let stored = store.set_outside_service(&service).await;
    stored.map_err(|source| AppError::Store {
        shown: config.store.shown.clone(),
        source,
    })?;
    Ok(client)
}

fn start_jobs(
    jobs: &Jobs,
    store: &Store,
    dialer: &Dialer,
    metrics: &Metrics,
    config: &Config,
    clock: Clock,
) -> Vec<JoinHandle<()>> {
    let retention = Retention {
        store: store.clone(),
        clock,
        keep: config.retention,
    };
    let tasks = Tasks::new(store.clone(), clock, Arc::new(dialer.clone()));
    let preparing = Preparing {
        store: store.clone(),
        clock,
        dialer: Arc::new(dialer.clone()),
        jobs: jobs.clone(),
    };
    let (filling, clearing) = (
        Filling {
            store: store.clone(),
            dialer: Arc::new(dialer.clone()),
        },
        Clearing { store: store.clone() },
    );
    let rechecking = Rechecking {
        store: store.clone(),
        clock,
        dialer: Arc::new(dialer.clone()),
        seen: EntryEnd::default(),
    };
    let suppression = Suppression::new(store.clone(), clock, dialer.events(), metrics.clone());
    vec![
        jobs.start(tasks),
        jobs.start(preparing),
        jobs.start(filling),
        jobs.start(clearing),
        jobs.start(retention),
        jobs.start(rechecking),
        jobs.start(suppression),
    ]
}

fn attach(config: &crate::config::PbxConfig, installation: Uuid, clock: Clock) -> AttachedPbx {
    let (kind, handle) = match &config.kind {
        PbxKind::Ari {
            url,
            username,
            password,
            app,
            authorities,
            ami: _,
        } => {
            let config = pbx::ari::AriConfig {
                name: config.name.clone(),
                url: url.clone(),
                username: username.clone(),
                password: password.clone(),
                app: app.clone(),
                installation,
                authorities: authorities.clone(),
            };
            ("ari", pbx::ari::spawn(config))
        }
        PbxKind::Esl {
            address,
            password,
            app,
        } => {
            let config = pbx::esl::EslConfig {
                name: config.name.clone(),
                address: address.clone(),
                password: password.clone(),
                app: app.clone(),
                installation,
            };
            ("esl", pbx::esl::spawn(config))
        }
        PbxKind::Sim { seed, .. } => {
            let (handle, _) = pbx::sim::spawn_seeded(paceline_sim::SimConfig::default(), *seed, clock);
            ("sim", handle)
        }
    };
    AttachedPbx {
        name: config.name.clone(),
        kind,
        agent_dial: config.agent_dial.clone(),
        dial_allowed: config.dial_allowed.clone(),
        handle,
    }
}

fn routes(
    config: &Config,
    store: &Store,
    dialer: &Dialer,
    jobs: &Jobs,
    metrics: &Metrics,
    clock: Clock,
    rules: Arc<Rulebook>,
) -> Routes {
    let page = Page::new(metrics.clone());
    let scrape = get(move || {
        let page = page.clone();
        async move { ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], page.text().await) }
    });
    let state = api::ApiState::new(
        store.clone(),
        Arc::new(dialer.clone()),
        clock,
        metrics,
        config.default_region.as_deref(),
    )
    .with_jobs(jobs.clone())
    .by_rules(rules)
    .with_suppression_numbers_max(config.suppression_numbers_max)
    .with_files_in(&keys::folder(config))
    .asking(&config.pbxes);
    Routes {
        health: api::crowded_router(state.clone()),
        all: api::router(state).route("/metrics", scrape),
        proxies: config.trusted_proxies.as_slice().into(),
    }
}

#[cfg(test)]
mod tests;
