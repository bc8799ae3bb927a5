//! Handles of metrics, so that hot paths hash no labels. Which metrics there are is decided in the shell.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::time::Duration;

/// One bounded queue.
#[derive(Clone, Debug, Default)]
pub struct QueueMetrics {
    /// What waits in it now.
    pub depth: Gauge,
    /// What it had no room for, and was lost.
    pub dropped: Counter,
    /// Times that a producer had to wait for room.
    pub stalls: Counter,
}

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct Seconds(Histogram);

impl Seconds {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl From<Histogram> for Seconds {
    fn from(histogram: Histogram) -> Self {
        Self(histogram)
    }
}

/// For durations that are usually below a second.
pub fn sub_second() -> Histogram {
    Histogram::new([
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0,
    ])
}
