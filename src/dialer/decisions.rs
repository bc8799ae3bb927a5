//! The pacing decisions of the last hour, for the API. Consecutive decisions of one PBX that launch nothing for the same
//! reason are kept as one, so that an hour fits in little memory.

use paceline_core::ids::PbxName;
use paceline_core::live::Decision;
use paceline_core::pacing::PacingReport;
use paceline_core::time::Wall;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum age of a kept decision.
const KEPT: Duration = Duration::from_secs(3600);
/// Maximum number of kept decisions: five per second for an hour.
const KEPT_MAX: usize = 18_000;
/// Number of newest decisions that are searched for the PBX's last one. With up to this many PBXes, the idle decisions of
/// each PBX are kept as one.
const TURNS_MAX: usize = 32;

/// A campaign's decisions. All clones share one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions(Arc<Mutex<VecDeque<Decision>>>);

impl Decisions {
    pub(super) fn keep(&self, at: Wall, pbx: PbxName, report: PacingReport) {
        let mut kept = self.lock();
        let alike = |last: &Decision| {
            last.report.launch == 0
                && report.launch == 0
                && (last.report.limit, last.report.mode) == (report.limit, report.mode)
        };
        let theirs = kept.iter_mut().rev().take(TURNS_MAX).find(|last| last.pbx == pbx);
        match theirs.filter(|last| alike(last)) {
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

    /// At most `limit` decisions, newest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<Decision> {
        self.lock().iter().rev().take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Decision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_core::pacing::{EffectiveMode, LaunchLimit};

    fn report(launch: u32) -> PacingReport {
        PacingReport {
            launch,
            wanted: launch,
            limit: LaunchLimit::Risk,
            mode: EffectiveMode::Predictive,
            fallback: None,
            risk: 0.0,
            risk_max: 0.0,
            expected_abandon_ratio: 0.0,
            rule: None,
            budget_left: 0.0,
            live: 0.0,
            abandoned: 0.0,
            agents: 1,
            agents_free: 0,
            in_flight: 0,
            answer_probability: 0.2,
            drift: 1.0,
        }
    }

    #[test]
    fn pbxes_that_take_turns_have_their_idle_decisions_kept_as_one_each() {
        let decisions = Decisions::default();
        for tick in 0..1_000_i64 {
            for pbx in ["pbx1", "pbx2"] {
                decisions.keep(Wall(tick * 200), PbxName::new(pbx), report(0));
            }
        }
        decisions.keep(Wall(200_000), PbxName::new("pbx2"), report(2));
        let kept = decisions.latest(10);
        let seen: Vec<_> = kept
            .iter()
            .map(|d| (d.pbx.as_str(), d.ticks, d.report.launch))
            .collect();
        assert_eq!(seen, [("pbx2", 1, 2), ("pbx2", 1_000, 0), ("pbx1", 1_000, 0)]);
    }
}
