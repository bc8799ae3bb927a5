//! The gauges of the ledger.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The gauges of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerMetrics {
    /// Entries with a place in the log.
    pub entries: Gauge,
    /// Entries under the newest checkpoint.
    pub checkpoint: Gauge,
    /// Age of the oldest entry without a place, in seconds.
    pub pending: Gauge,
    /// 1 while no checkpoint can be published.
    pub broken: Gauge,
}

impl LedgerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "paceline_ledger_entries",
            "Entries of the ledger",
            self.entries.clone(),
        );
        registry.register(
            "paceline_ledger_checkpoint_entries",
            "Entries of the ledger under its newest signed checkpoint",
            self.checkpoint.clone(),
        );
        registry.register(
            "paceline_ledger_pending_seconds",
            "Age of the oldest stored entry that has no place in the ledger yet; 0 if there is none",
            self.pending.clone(),
        );
        registry.register(
            "paceline_ledger_broken",
            "1 while no checkpoint of the ledger is published, because its file or the database went back, was changed, or cannot be written",
            self.broken.clone(),
        );
    }
}
