//! SIGINT and SIGTERM: the first one starts a stop, the second one ends its waiting.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that were received and not handled yet. Create it before the work starts, so that none is missed.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal. The future may be dropped; no signal is lost.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
