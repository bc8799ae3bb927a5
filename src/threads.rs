//! The threads beside the dialer's: those of the API, so that no request takes the dialer's thread, and one for the jobs.
//!
//! Work that begins a transaction and then waits for a thread holds SQLite's lock for writing, and nothing is dialed until it goes on.
//! So jobs do not run on the API's threads, which requests may keep busy, and the thread of the jobs has the dialer's priority.

use std::convert::Infallible;
use std::io;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

const API_WORKERS: usize = 2;
/// Threads for work that takes milliseconds: large bodies, contact files, the page of metrics.
const API_BLOCKING_MAX: usize = 8;
/// Number of all threads of the API.
#[cfg(test)]
pub(crate) const API_THREADS: usize = API_WORKERS + API_BLOCKING_MAX;
/// Threads for the rows of two contact files, a suppression list, and the file of checkpoints.
const JOBS_BLOCKING_MAX: usize = 4;
/// The `nice` value of the API's threads and of those that read files for jobs. These threads get about a tenth of the dialer's share
/// if both want the same core.
const PRIORITY: i32 = 10;

/// The running threads of the API. Dropping this cancels the tasks that still run. They run at a lower priority: if CPU time is short,
/// answered calls come first.
#[derive(Debug)]
pub(crate) struct ApiThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl ApiThreads {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(API_WORKERS)
            .max_blocking_threads(API_BLOCKING_MAX)
            .thread_name("paceline-api")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// The handle for spawning tasks on these threads.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ApiThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not wait for its threads inside of another one.
            runtime.shutdown_background();
        }
    }
}

/// The running thread of the jobs. Dropping this cancels the tasks that still run.
#[derive(Debug)]
pub(crate) struct JobsThread {
    handle: Handle,
    /// The thread ends when this is dropped.
    _stop: oneshot::Sender<Infallible>,
}

impl JobsThread {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        // The hook is called on the threads for blocking work only.
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(JOBS_BLOCKING_MAX)
            .thread_name("paceline-files")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let run = move || {
            // The sender never sends; this ends when it is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        std::thread::Builder::new()
            .name("paceline-jobs".to_owned())
            .spawn(run)?;
        Ok(Self { handle, _stop: stop })
    }

    /// The handle for spawning tasks on this thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Lowers the priority of the calling thread, and of the threads that it starts, such as SQLite's.
fn lower_priority() {
    // On Linux each thread has its own priority. Elsewhere this would also lower the dialer's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        tracing::debug!(error = %error, "a thread keeps the process's priority");
    }
}
