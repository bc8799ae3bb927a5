//! The API's own threads, so that no request takes the dialer's thread. They run at a lower priority: if CPU time is short,
//! answered calls come first.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;
/// Threads for work that takes milliseconds: large bodies, contact files, the page of metrics.
const BLOCKING_MAX: usize = 8;
/// Number of all threads.
#[cfg(test)]
pub(crate) const THREADS: usize = WORKERS + BLOCKING_MAX;
/// The `nice` value. These threads get about a tenth of the dialer's share if both want the same core.
const PRIORITY: i32 = 10;

/// The running threads. Dropping this cancels the tasks that still run.
#[derive(Debug)]
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_MAX)
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
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not wait for its threads inside of another one.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the calling thread, and of the threads that it starts, such as SQLite's.
fn lower_priority() {
    // On Linux each thread has its own priority. Elsewhere this would also lower the dialer's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        tracing::debug!(error = %error, "the API's threads keep the process's priority");
    }
}
