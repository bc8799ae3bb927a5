//! The store's metrics. The shell creates them, passes them in when it opens the store, and publishes them.

use paceline_core::gate::{GateDecision, GateStage};
use paceline_runtime::metrics::{QueueMetrics, Seconds, sub_second};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// The store's metrics. Cheap to clone; all clones share the same values.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// The queue of changes that the writer must still store.
    pub changes: QueueMetrics,
    /// The duration of a commit, in seconds.
    pub commit: Seconds,
    /// 1 while the store cannot write.
    pub failing: Gauge,
    /// Decisions of the gate.
    pub decisions: Family<GateLabels, Counter>,
}

/// Labels of the gate's decisions. Each has a closed set of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GateLabels {
    stage: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

impl Default for StoreMetrics {
    /// Metrics that are not published.
    fn default() -> Self {
        Self {
            changes: QueueMetrics::default(),
            commit: Seconds::from(sub_second()),
            failing: Gauge::default(),
            decisions: Family::default(),
        }
    }
}

impl StoreMetrics {
    /// Counts a decision once, under its most important reason, so that sums over reasons stay correct.
    pub fn count_decision(&self, stage: GateStage, decision: &GateDecision) {
        let labels = GateLabels {
            stage: stage.as_str(),
            verdict: decision.verdict.as_str(),
            reason: decision.reasons.first().map_or("none", |r| r.as_str()),
        };
        self.decisions.get_or_create(&labels).inc();
    }
}
