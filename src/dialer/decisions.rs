//! The pacing decisions of the last hour, for people who ask why. Decisions in a row that launch nothing for the same reason
//! are kept as one, so that an hour fits in little memory.

use paceline_core::ids::PbxName;
use paceline_core::live::Decision;
use paceline_core::pacing::PacingReport;
use paceline_core::time::Wall;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a decision is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// How many, at most: an hour of five a second.
const KEPT_MAX: usize = 18_000;

/// A campaign's decisions. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions(Arc<Mutex<VecDeque<Decision>>>);

impl Decisions {
    pub(super) fn keep(&self, at: Wall, pbx: PbxName, report: PacingReport) {
        let mut kept = self.lock();
        let alike = |last: &Decision| {
            last.pbx == pbx
                && last.report.launch == 0
                && report.launch == 0
                && (last.report.limit, last.report.mode) == (report.limit, report.mode)
        };
        match kept.back_mut().filter(|last| alike(last)) {
            Some(last) => {
                last.at_ms = at;
                last.ticks = last.ticks.saturating_add(1);
                last.report = report;
            }
            None => kept.push_back(Decision {
                pbx,
                since_ms: at,
                at_ms: at,
                ticks: 1,
                report,
            }),
        }
        let old = |first: &Decision| first.at_ms.plus(KEPT) < at;
        while kept.len() > KEPT_MAX || kept.front().is_some_and(old) {
            kept.pop_front();
        }
    }

    /// The newest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<Decision> {
        self.lock().iter().rev().take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Decision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
