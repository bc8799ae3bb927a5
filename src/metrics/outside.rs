//! The metrics of the outside check: its requests and its answers.

use super::{Metrics, VerdictLabel};
use paceline_core::outside::OutsideVerdict;
use paceline_core::time::Wall;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// The metrics of the outside check. All clones count into the same series.
#[derive(Clone, Debug, Default)]
pub struct OutsideMetrics {
    /// Numbers that were sent to the service.
    pub asked: Counter,
    /// Requests that failed.
    pub failures: Counter,
    /// Numbers in the request that is sent next.
    pub waiting: Gauge,
    /// 1 while the service is out.
    pub out: Gauge,
    pub(super) answers: Family<VerdictLabel, Counter>,
    pub(super) succeeded_at: Gauge,
}

impl OutsideMetrics {
    /// Counts an answer.
    pub fn answered(&self, verdict: OutsideVerdict) {
        let verdict = verdict.as_str();
        self.answers.get_or_create(&VerdictLabel { verdict }).inc();
    }

    /// The service has answered a request.
    pub fn succeeded(&self, now: Wall) {
        self.succeeded_at.set(now.0 / 1_000);
    }
}

impl Metrics {
    /// The metrics of the outside check.
    pub fn outside(&self) -> OutsideMetrics {
        self.0.outside.clone()
    }
}
