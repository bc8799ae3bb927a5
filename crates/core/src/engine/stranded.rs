//! Calls that nobody is to take: launched ahead, and all agents have left; or on a PBX in maintenance.

use super::{Engine, Timer};
use crate::agent::{Phone, Wants};
use crate::call::{CallState, Why};
use crate::ids::{AttemptId, PbxName};
use crate::time::{Mono, Now};
use std::collections::BTreeSet;
use std::time::Duration;

impl Engine {
    /// Whether an agent is on this PBX who takes calls, now or after the present one.
    pub(super) fn has_agent(&self, pbx: &PbxName) -> bool {
        let serves = |phone: Phone| matches!(phone, Phone::Held { trouble: None, .. });
        self.agents
            .values()
            .any(|a| &a.pbx == pbx && a.wants == Wants::Calls && serves(a.phone))
    }

    /// Takes back what nobody can take any more, and all that rings on a PBX in maintenance. A phone that rings is let ring for as
    /// long as the rules ask.
    pub(super) fn take_back_stranded(&mut self, now: Now) {
        let unanswered = |state: CallState| {
            matches!(
                state,
                CallState::Preparing { wanted: true, .. }
                    | CallState::Dialing { .. }
                    | CallState::Ringing { .. }
            )
        };
        let calls = self.calls.values().filter(|call| unanswered(call.state));
        let pbxes: BTreeSet<&PbxName> = calls.clone().map(|call| &call.pbx).collect();
        let left: BTreeSet<PbxName> = pbxes
            .into_iter()
            .filter(|pbx| self.links_up.contains(*pbx) && (self.is_maintained(pbx) || !self.has_agent(pbx)))
            .cloned()
            .collect();
        if left.is_empty() {
            return;
        }
        let rules = self.config.settings.pacing.abandon_rules.iter();
        let ring_ms_min = rules.map(|rule| rule.ring_ms_min).max().unwrap_or(0);
        let ring_min = Duration::from_millis(ring_ms_min.into());
        let stranded: Vec<(AttemptId, CallState, Option<Mono>)> = calls
            .filter(|call| left.contains(&call.pbx))
            .filter(|call| call.state.agent().is_none() || self.is_maintained(&call.pbx))
            .map(|call| (call.attempt, call.state, call.rang_at))
            .collect();
        for (attempt, state, rang_at) in stranded {
            let due = rang_at.map_or(now.mono, |at| at + ring_min);
            match state {
                CallState::Preparing { agent, .. } => {
                    self.set_call(attempt, CallState::Preparing { agent, wanted: false });
                }
                CallState::Ringing { .. } if due > now.mono => {
                    self.timers.insert((due, Timer::Launch));
                }
                CallState::Dialing { .. } | CallState::Ringing { .. } => {
                    self.end(now, attempt, Why::TakenBack)
                }
                CallState::Waiting { .. }
                | CallState::Connecting { .. }
                | CallState::Message { .. }
                | CallState::Connected { .. }
                | CallState::Transferred { .. }
                | CallState::Ending { .. } => {}
            }
        }
    }
}
