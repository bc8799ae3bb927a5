//! Long and timed work beside the calls: one file per job, each of which reports its state here. Jobs run on the API's threads, so
//! that none of them delays a call.
//!
//! In: what a job does in one turn. Out: its turns, made in time, tried again after a failure, and counted.

pub mod clearing;
pub mod filling;
pub mod preparing;
pub mod retention;
pub mod tasks;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use paceline_core::live::JobState;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What every job reports. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reports: Mutex<BTreeMap<&'static str, JobReport>>,
    /// For each job: rung when there is work before its time.
    bells: Mutex<BTreeMap<&'static str, Arc<Notify>>>,
    metrics: Metrics,
    clock: Clock,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// What it does at present.
    pub state: JobState,
    /// When its last successful turn ended.
    pub succeeded_at: Option<Wall>,
    /// Things done since the process was started, such as tasks that were started.
    pub done: u64,
    /// Turns in a row that failed.
    pub failures: u32,
    /// Why the last turn failed, if it did.
    pub error: Option<String>,
}

/// One job.
pub trait Job: Send {
    /// What it is called in reports and metrics.
    fn name(&self) -> &'static str;

    /// How long it waits after a successful turn, unless [`Jobs::wake`] tells of work.
    fn period(&self) -> Duration;

    /// Does what is to be done now, and tells how many things it has done.
    fn turn(&mut self) -> BoxFuture<'_, Result<u64, StoreError>>;
}

impl Jobs {
    /// No job yet.
    pub fn new(metrics: &Metrics, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            reports: Mutex::default(),
            bells: Mutex::default(),
            metrics: metrics.clone(),
            clock,
        }))
    }

    /// The reports of all jobs, by name.
    pub fn reports(&self) -> BTreeMap<&'static str, JobReport> {
        self.held().clone()
    }

    /// Gives this job a turn now, or after its present one. Without it the work waits for the job's period.
    pub fn wake(&self, name: &'static str) {
        self.bell(name).notify_one();
    }

    /// Gives a job its turns, for ever.
    pub async fn run(self, mut job: impl Job) {
        let (name, period) = (job.name(), job.period());
        let bell = self.bell(name);
        let mut delay = RETRY_MIN;
        loop {
            self.report(name, |report| report.state = JobState::Working);
            match job.turn().await {
                Ok(done) => {
                    let now = self.0.clock.now().wall;
                    self.report(name, |report| {
                        report.state = JobState::Waiting;
                        report.succeeded_at = Some(now);
                        report.done = report.done.saturating_add(done);
                        (report.failures, report.error) = (0, None);
                    });
                    delay = RETRY_MIN;
                    let period = self.0.clock.real_duration(period);
                    tokio::select! {
                        () = bell.notified() => {}
                        () = tokio::time::sleep(period) => {}
                    }
                }
                Err(error) => {
                    let text = format!("{:#}", anyhow::Error::from(error));
                    warn!(job = name, error = %text, "the job `{name}` failed; trying again in {} s", delay.as_secs());
                    self.0.metrics.job_failed(name);
                    self.report(name, |report| {
                        report.state = JobState::Failing;
                        report.failures = report.failures.saturating_add(1);
                        report.error = Some(text);
                    });
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn report(&self, name: &'static str, change: impl FnOnce(&mut JobReport)) {
        let mut reports = self.held();
        change(reports.entry(name).or_insert(JobReport {
            state: JobState::Waiting,
            succeeded_at: None,
            done: 0,
            failures: 0,
            error: None,
        }));
    }

    fn bell(&self, name: &'static str) -> Arc<Notify> {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(name).or_default())
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, JobReport>> {
        self.0.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
