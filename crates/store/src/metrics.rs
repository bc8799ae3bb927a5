//! The store's metrics. The shell creates them, passes them in when it opens the store, and publishes them.

use paceline_core::gate::{GateStage, GateVerdict};
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

/// Labels of the gate's decisions. `reason` is the rule that decided, such as `hours`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GateLabels {
    stage: &'static str,
    verdict: &'static str,
    reason: String,
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
    /// Counts a decision once, under the rule that decided, so that sums over rules stay correct. Rules are few: those of the
    /// rule files and of the team's overlays.
    pub fn count_decision(&self, stage: GateStage, verdict: GateVerdict, rule: &str) {
        let labels = GateLabels {
            stage: stage.as_str(),
            verdict: verdict.as_str(),
            reason: rule.to_owned(),
        };
        self.decisions.get_or_create(&labels).inc();
    }
}
