//! Handles of metrics, so that hot paths hash no labels. The shell defines and registers the metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::time::Duration;

/// The metrics of one bounded queue.
#[derive(Clone, Debug, Default)]
pub struct QueueMetrics {
    /// Number of items that wait in the queue.
    pub depth: Gauge,
    /// Number of items that were lost because the queue was full.
    pub dropped: Counter,
    /// Number of times that a producer waited because the queue was full.
    pub stalls: Counter,
}

/// A histogram of durations, in seconds.
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

/// A histogram for durations that are usually below a second. Its buckets go from 0.1 ms to 5 s.
pub fn sub_second() -> Histogram {
    Histogram::new([
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0,
    ])
}
