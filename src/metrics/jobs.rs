//! What is counted of the jobs beside the calls.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct JobLabel {
    job: &'static str,
}

impl Metrics {
    /// Counts a failed run of a job.
    pub fn job_failed(&self, job: &'static str) {
        self.0.job_failures.get_or_create(&JobLabel { job }).inc();
    }

    /// Shows whether the present run of a job makes no progress.
    pub fn job_stuck(&self, job: &'static str, stuck: bool) {
        self.0
            .job_stuck
            .get_or_create(&JobLabel { job })
            .set(stuck.into());
    }
}
