//! What the store counts. The shell hands the handles over when it opens the store, and shows them.

use paceline_core::gate::{GateDecision, GateStage};
use paceline_runtime::metrics::{QueueMetrics, Seconds, sub_second};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// The store's metrics. Cheap to clone; all clones count into the same.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// The queue of changes that the writer has yet to store.
    pub changes: QueueMetrics,
    /// How long the store takes to commit.
    pub commit: Seconds,
    /// 1 while the store cannot write.
    pub failing: Gauge,
    /// Answers of the gate.
    pub decisions: Family<GateLabels, Counter>,
}

/// Labels of the gate's answers, all of them closed sets of words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GateLabels {
    stage: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

impl Default for StoreMetrics {
    /// Metrics that nobody is shown.
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
    /// Counts an answer of the gate under the most important of its reasons, so that sums stay meaningful.
    pub fn count_decision(&self, stage: GateStage, decision: &GateDecision) {
        let labels = GateLabels {
            stage: stage.as_str(),
            verdict: decision.verdict.as_str(),
            reason: decision.reasons.first().map_or("none", |r| r.as_str()),
        };
        self.decisions.get_or_create(&labels).inc();
    }
}
