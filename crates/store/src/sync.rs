//! Protection against power failures. SQLite runs with `synchronous=NORMAL`: a commit is in the operating system's
//! memory before it is confirmed, so a crash of this process does not lose it. Waiting for the disk would double the
//! CPU time of a commit (300 instead of 150 µs, measured with 11 statements). The kernel alone may keep data in
//! memory for half a minute. This module therefore syncs the log in the background after commits, so that a power
//! failure loses half a second at most.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A power failure loses at most the commits of this time.
const SYNC_GAP: Duration = Duration::from_millis(500);

/// Syncs SQLite's write-ahead log after commits. Ends when dropped.
#[derive(Debug)]
pub(crate) struct LogSync {
    log: PathBuf,
    committed: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl LogSync {
    /// Starts syncing for the database file at `path`.
    pub(crate) fn start(path: &std::path::Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let committed = Arc::new(Notify::new());
        let task = tokio::spawn(run(log.clone(), Arc::clone(&committed)));
        Self { log, committed, task }
    }

    /// Syncs earlier commits now. For data that no later event would restore after a power failure.
    pub(crate) async fn sync(&self) -> std::io::Result<()> {
        sync(self.log.clone()).await
    }

    /// Notes a commit.
    pub(crate) fn committed(&self) {
        self.committed.notify_one();
    }
}

impl Drop for LogSync {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(log: PathBuf, committed: Arc<Notify>) {
    let mut failing = false;
    loop {
        committed.notified().await;
        tokio::time::sleep(SYNC_GAP).await;
        match sync(log.clone()).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                let error = error.kind();
                tracing::warn!(%error, "the database's log cannot be written to the disk, so a power failure would lose recent calls; check the disk");
            }
            Err(_) => {}
        }
    }
}

async fn sync(log: PathBuf) -> std::io::Result<()> {
    // SQLite puts no POSIX lock on its log, so closing another descriptor of the file frees no lock.
    let synced = tokio::task::spawn_blocking(move || File::open(log)?.sync_data()).await;
    synced.unwrap_or_else(|_| Err(std::io::Error::other("the sync did not end")))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_log_is_synced_when_asked_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let log = super::LogSync::start(&folder.path().join("p.db"));
        assert!(log.sync().await.is_err());
        std::fs::write(folder.path().join("p.db-wal"), "x").unwrap();
        log.sync().await.unwrap();
    }
}
