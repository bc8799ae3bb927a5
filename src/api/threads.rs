//! The API's own threads, so that nothing that is asked of it takes the dialer's thread. They run at a lower priority: where
//! the CPU is short, answered calls come first.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;
/// For what takes milliseconds: large bodies, contact files, the metrics' page.
const BLOCKING_MAX: usize = 8;
/// All of them.
#[cfg(test)]
pub(crate) const THREADS: usize = WORKERS + BLOCKING_MAX;
/// As in `nice`. About a tenth of the dialer's share where both want the same core.
const PRIORITY: i32 = 10;

/// Runs until it is dropped; what still runs then is given up.
#[derive(Debug)]
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts them.
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

    /// Where to spawn what shall run on them.
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

/// Of the calling thread alone, and of those that it starts, such as SQLite's.
fn lower_priority() {
    // Linux knows a priority for each thread; elsewhere this would lower the dialer's as well.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        tracing::debug!(error = %error, "the API's threads keep the process's priority");
    }
}
