//! Long and periodic work beside the calls. Each job has its own file and reports its state here. Jobs run on a thread of their own
//! (`threads`), so that no job delays a call and no request stops a job within a transaction.
//!
//! In: a [`Job`] with the work of one run. Out: its runs at the right times, retries after failures, and a [`JobReport`].
//! [`Jobs::spawn`] runs other long work on the store, such as an import, in the same way.

pub mod clearing;
pub mod filling;
pub mod ledger;
pub mod outside;
pub mod preparing;
pub mod rechecking;
pub mod retention;
pub mod suppression;
pub mod tasks;
pub mod test_clock;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::live::JobState;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The reports of all jobs. All clones share them.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reports: Mutex<BTreeMap<&'static str, JobReport>>,
    /// The notifier of each job. It wakes the job before its period ends.
    bells: Mutex<BTreeMap<&'static str, Arc<Notify>>>,
    metrics: Metrics,
    clock: Clock,
    /// The store with the connections of the jobs.
    store: Store,
    on: Handle,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// Working, waiting for its next run, or waiting to retry a failed one.
    pub state: JobState,
    /// End of the last successful run. `None` if no run has succeeded since the process started.
    pub succeeded_at: Option<Wall>,
    /// Sum of the numbers that [`Job::run_once`] returned since the process started.
    pub done: u64,
    /// Number of failed runs since the last successful one.
    pub failures: u32,
    /// The error of the last run with its causes. `None` if it succeeded.
    pub error: Option<String>,
}

/// Work that is done in runs.
pub trait Job: Send {
    /// The job's name in reports and metrics.
    fn name(&self) -> &'static str;

    /// The time between the successful run that has just ended and the next one. [`Jobs::wake`] ends the wait early.
    fn period(&self) -> Duration;

    /// A problem outside the store although the last run succeeded, such as a service that does not answer. The next run is
    /// after [`Job::period`], as after any successful run.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Does one run, and returns the number of items that it processed: rows, contacts or tasks, depending on the job.
    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>>;
}

impl Jobs {
    /// Creates the reports, without any job. All work runs `on` this runtime, with this store.
    pub fn new(metrics: &Metrics, clock: Clock, store: Store, on: Handle) -> Self {
        Self(Arc::new(Shared {
            reports: Mutex::default(),
            bells: Mutex::default(),
            metrics: metrics.clone(),
            clock,
            store,
            on,
        }))
    }

    /// The reports of all jobs that have begun their first run, by the job's name.
    pub fn reports(&self) -> BTreeMap<&'static str, JobReport> {
        self.held().clone()
    }

    /// Runs this job now, or again after its present run. Without this call, the work waits until the job's period ends.
    pub fn wake(&self, name: &'static str) {
        self.bell(name).notify_one();
    }

    /// Runs other work with the store of the jobs. It goes on if the result is not awaited.
    pub fn spawn<F>(&self, work: impl FnOnce(Store) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.on.spawn(work(self.0.store.clone()))
    }

    /// Runs a job again and again until the result is aborted. A failed run is retried after 1 s. The delay doubles with each failure,
    /// up to 60 s.
    pub fn start(&self, job: impl Job + 'static) -> JoinHandle<()> {
        self.0.on.spawn(self.clone().run(job))
    }

    async fn run(self, mut job: impl Job) {
        let name = job.name();
        let bell = self.bell(name);
        let mut delay = RETRY_MIN;
        loop {
            self.report(name, |report| report.state = JobState::Working);
            match job.run_once().await {
                Ok(done) => {
                    let now = self.0.clock.now().wall;
                    let trouble = job.trouble();
                    self.report(name, |report| {
                        report.done = report.done.saturating_add(done);
                        if trouble.is_some() {
                            report.state = JobState::Failing;
                            report.failures = report.failures.saturating_add(1);
                        } else {
                            report.state = JobState::Waiting;
                            (report.succeeded_at, report.failures) = (Some(now), 0);
                        }
                        report.error = trouble;
                    });
                    delay = RETRY_MIN;
                    let period = self.0.clock.real_duration(job.period());
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
