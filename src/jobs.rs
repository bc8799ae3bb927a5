//! Long and periodic work beside the calls. Each job has its own file and reports its state here. Jobs run on a thread of their own
//! (`threads`), so that no job delays a call and no request stops a job within a transaction.
//!
//! In: a [`Job`] with the work of one run. Out: its runs at the right times, retries after failures, and a [`JobReport`]. A run that
//! panics is a failed run. A run that takes too long goes on, and is shown as failing.
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
use crate::events::Events;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use paceline_core::event::{AlarmKind, What};
use paceline_core::live::JobState;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Failed runs in a row that raise the alarm. Fewer may be a short failure of the database, which has its own signs.
const FAILURES_ALARMED: u32 = 3;

/// The reports of all jobs. All clones share them.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reports: Mutex<BTreeMap<&'static str, Entry>>,
    /// The notifier of each job. It wakes the job before its period ends.
    bells: Mutex<BTreeMap<&'static str, Arc<Notify>>>,
    metrics: Metrics,
    clock: Clock,
    /// The store with the connections of the jobs.
    store: Store,
    on: Handle,
    events: OnceLock<Events>,
}

#[derive(Debug)]
struct Entry {
    report: JobReport,
    /// Runs at present. Imports run side by side.
    running: u32,
    /// The alarm was raised, and no run has succeeded since.
    alarmed: bool,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// Working, waiting for its next run, or waiting to retry a failed one.
    pub state: JobState,
    /// Start of the present run. `None` while it waits.
    pub working_since: Option<Wall>,
    /// End of the last successful run. `None` if no run has succeeded since the process started.
    pub succeeded_at: Option<Wall>,
    /// Number of items processed since the process started. It grows during long runs.
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

    /// A run that takes longer, and has reported no progress meanwhile, is shown as failing, and raises an alarm. It goes on.
    fn patience(&self) -> Duration {
        Duration::from_secs(10 * 60)
    }

    /// Does one run, and returns the number of items that it processed: rows, contacts or tasks, depending on the job. Items of
    /// [`Jobs::progressed`] are not counted again.
    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// The reason why a run failed.
enum Failure {
    Store(StoreError),
    Panic,
}

/// A panic ends the run only. A job keeps no state that a broken run could leave half changed: it reads the store in each run.
async fn caught(run: impl Future<Output = Result<u64, StoreError>>) -> Result<u64, Failure> {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(ran) => ran.map_err(Failure::Store),
        Err(_) => Err(Failure::Panic),
    }
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
            events: OnceLock::new(),
        }))
    }

    /// Raises the alarms of jobs in this stream.
    pub fn tell(&self, events: Events) {
        // It is set once, at the start.
        let _ = self.0.events.set(events);
    }

    /// The reports of all jobs that have begun their first run, by the job's name.
    pub fn reports(&self) -> BTreeMap<&'static str, JobReport> {
        let held = self.held();
        held.iter()
            .map(|(name, entry)| (*name, entry.report.clone()))
            .collect()
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

    /// The same, with a report under this name. The work returns the number of its items.
    pub fn spawn_shown<F>(&self, name: &'static str, work: impl FnOnce(Store) -> F)
    where
        F: Future<Output = Result<u64, StoreError>> + Send + 'static,
    {
        let (jobs, work) = (self.clone(), work(self.0.store.clone()));
        self.0.on.spawn(async move {
            jobs.begin(name);
            match caught(work).await {
                Ok(done) => jobs.succeeded(name, done, None),
                Err(failure) => jobs.failed(name, failure, None),
            }
        });
    }

    /// Counts items of a run that is not over yet. So a long run is distinguished from one that hangs.
    pub fn progressed(&self, name: &'static str, items: u64) {
        self.entry(name, |entry| {
            entry.report.done = entry.report.done.saturating_add(items)
        });
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
            let patience = job.patience();
            // What the job does before its first await may panic too.
            let run = async { job.run_once().await };
            match self.watched(name, patience, run).await {
                Ok(done) => {
                    self.succeeded(name, done, job.trouble());
                    delay = RETRY_MIN;
                    let period = self.0.clock.real_duration(job.period());
                    tokio::select! {
                        () = bell.notified() => {}
                        () = tokio::time::sleep(period) => {}
                    }
                }
                Err(failure) => {
                    self.failed(name, failure, Some(delay));
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Does a run, and reports it while it hangs.
    async fn watched(
        &self,
        name: &'static str,
        patience: Duration,
        run: impl Future<Output = Result<u64, StoreError>>,
    ) -> Result<u64, Failure> {
        let mut seen = self.begin(name);
        let mut run = pin!(caught(run));
        let patience = self.0.clock.real_duration(patience);
        loop {
            if let Ok(ran) = tokio::time::timeout(patience, run.as_mut()).await {
                return ran;
            }
            let done = self.entry(name, |entry| entry.report.done);
            if std::mem::replace(&mut seen, done) == done {
                self.is_stuck(name, patience);
            }
        }
    }

    /// Reports the begin of a run. Returns the number of items so far.
    fn begin(&self, name: &'static str) -> u64 {
        let now = self.0.clock.now().wall;
        self.entry(name, |entry| {
            entry.running = entry.running.saturating_add(1);
            entry.report.state = JobState::Working;
            entry.report.working_since.get_or_insert(now);
            entry.report.done
        })
    }

    fn end(&self, name: &'static str, state: JobState, change: impl FnOnce(&mut Entry)) {
        self.0.metrics.job_stuck(name, false);
        self.entry(name, |entry| {
            entry.running = entry.running.saturating_sub(1);
            if entry.running == 0 {
                entry.report.working_since = None;
                entry.report.state = state;
            }
            change(entry);
        });
    }

    fn succeeded(&self, name: &'static str, done: u64, trouble: Option<String>) {
        let now = self.0.clock.now().wall;
        let state = match &trouble {
            Some(_) => JobState::Failing,
            None => JobState::Waiting,
        };
        if trouble.is_some() {
            self.0.metrics.job_failed(name);
        }
        self.end(name, state, |entry| {
            let report = &mut entry.report;
            report.done = report.done.saturating_add(done);
            match trouble {
                Some(_) => report.failures = report.failures.saturating_add(1),
                None => (report.succeeded_at, report.failures) = (Some(now), 0),
            }
            report.error = trouble;
            entry.alarmed = false;
        });
    }

    /// `again_in`: the job runs again after this time.
    fn failed(&self, name: &'static str, failure: Failure, again_in: Option<Duration>) {
        let (text, is_panic) = match failure {
            Failure::Store(error) => (format!("{:#}", anyhow::Error::from(error)), false),
            // The message of a panic may contain personal data. The panic hook has logged the place.
            Failure::Panic => (
                "a fault of Paceline: the log says where it panicked".to_owned(),
                true,
            ),
        };
        match again_in {
            Some(delay) => {
                warn!(job = name, error = %text, "the job `{name}` failed; trying again in {} s", delay.as_secs());
            }
            None => warn!(job = name, error = %text, "the work `{name}` failed"),
        }
        self.0.metrics.job_failed(name);
        let mut failures = 0;
        self.end(name, JobState::Failing, |entry| {
            failures = entry.report.failures.saturating_add(1);
            entry.report.failures = failures;
            entry.report.error = Some(text.clone());
        });
        if is_panic || failures >= FAILURES_ALARMED {
            self.alarm(name, format!("The job `{name}` fails: {text}."));
        }
    }

    fn is_stuck(&self, name: &'static str, patience: Duration) {
        let text = format!("no progress for {} s; its run goes on", patience.as_secs());
        warn!(job = name, "the job `{name}` has made {text}");
        self.0.metrics.job_stuck(name, true);
        self.entry(name, |entry| {
            entry.report.state = JobState::Failing;
            entry.report.error = Some(text.clone());
        });
        self.alarm(name, format!("The job `{name}` has made {text}."));
    }

    /// Raises the alarm once, until a run succeeds.
    fn alarm(&self, name: &'static str, text: String) {
        let told = self.entry(name, |entry| std::mem::replace(&mut entry.alarmed, true));
        if let Some(events) = self.0.events.get().filter(|_| !told) {
            let alarm = AlarmKind::JobFailed;
            events.tell(self.0.clock.now().wall, None, What::Alarm { alarm, text });
        }
    }

    fn entry<T>(&self, name: &'static str, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut reports = self.held();
        change(reports.entry(name).or_insert(Entry {
            report: JobReport {
                state: JobState::Waiting,
                working_since: None,
                succeeded_at: None,
                done: 0,
                failures: 0,
                error: None,
            },
            running: 0,
            alarmed: false,
        }))
    }

    fn bell(&self, name: &'static str) -> Arc<Notify> {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(name).or_default())
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Entry>> {
        self.0.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
