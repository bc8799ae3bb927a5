//! Unanswered calls that no agent can take: too many agents have left since the launch, the PBX is in maintenance, or the
//! process stops for good.

use super::{Engine, Timer};
use crate::agent::{AgentReason, Phone, Wants, Work};
use crate::attempt::{Attempt, AttemptState, EndReason};
use crate::campaign::Mode;
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::pacing::CallKey;
use crate::time::Now;
use std::collections::BTreeSet;
use std::time::Duration;

impl Engine {
    /// True if an agent on this PBX takes calls, now or after the present call.
    pub(super) fn has_agent(&self, pbx: &PbxName) -> bool {
        let serves = |phone: Phone| matches!(phone, Phone::Held { trouble: None, .. });
        self.agents
            .values()
            .any(|a| &a.pbx == pbx && a.wants == Wants::Calls && serves(a.phone))
    }

    /// True if the calls that ring on this PBX are cancelled, whether an agent is free or not.
    fn cancels_ringing_on(&self, pbx: &PbxName) -> bool {
        self.cancels_ringing || self.is_maintained(pbx)
    }

    /// Handles unanswered attempts that need a reserved agent and have none, and those that are to be cancelled. They get a
    /// free agent, or they are cancelled. A ringing phone is left ringing for the minimum time of the abandon rules, even
    /// if no agent can take the call: the rules allow no earlier hang-up.
    pub(super) fn take_back_stranded(&mut self, now: Now) {
        let unanswered = |state: AttemptState| {
            matches!(
                state,
                AttemptState::Preparing { wanted: true, .. }
                    | AttemptState::Dialing { .. }
                    | AttemptState::Ringing { .. }
            )
        };
        let open = self.attempts.values().filter(|open| unanswered(open.state));
        let pbxes: BTreeSet<&PbxName> = open.clone().map(|open| &open.leg.pbx).collect();
        let left: BTreeSet<PbxName> = pbxes
            .into_iter()
            .filter(|pbx| {
                self.links_up.contains(*pbx) && (self.cancels_ringing_on(pbx) || !self.is_paced_ahead(pbx))
            })
            .cloned()
            .collect();
        if left.is_empty() {
            return;
        }
        let stranded: Vec<Attempt> = open
            .filter(|open| left.contains(&open.leg.pbx))
            .filter(|open| open.state.agent().is_none() || self.cancels_ringing_on(&open.leg.pbx))
            .cloned()
            .collect();
        let ring_min = self.ring_min();
        for open in stranded {
            let other = self.longest_free(&open.leg.pbx);
            match other.filter(|_| !self.cancels_ringing_on(&open.leg.pbx)) {
                Some(agent) => self.keep_agent(now, open.id, agent),
                None => self.take_back_in_time(now, &open, ring_min),
            }
        }
    }

    fn take_back_in_time(&mut self, now: Now, open: &Attempt, ring_min: Duration) {
        let due = open.leg.rang_at.map_or(now.mono, |at| at + ring_min);
        if matches!(open.state, AttemptState::Ringing { .. }) && due > now.mono {
            self.timers.insert((due, Timer::Launch));
        } else {
            self.cancel_unanswered(now, open.id);
        }
    }

    /// Cancels an attempt that nobody has answered. Changes nothing after an answer.
    pub(super) fn cancel_unanswered(&mut self, now: Now, attempt: AttemptId) {
        match self.state_of(attempt) {
            Some(AttemptState::Preparing { agent, .. }) => {
                self.set_state(attempt, AttemptState::Preparing { agent, wanted: false });
            }
            Some(AttemptState::Dialing { .. } | AttemptState::Ringing { .. }) => {
                self.end(now, attempt, EndReason::Cancelled);
            }
            Some(
                AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
            )
            | None => {}
        }
    }

    /// Reserves this agent for an unanswered attempt.
    fn keep_agent(&mut self, now: Now, attempt: AttemptId, agent: AgentId) {
        let agent_kept = Some(agent);
        let state = match self.state_of(attempt) {
            Some(AttemptState::Preparing { .. }) => AttemptState::Preparing {
                agent: agent_kept,
                wanted: true,
            },
            Some(AttemptState::Dialing { silent_at, .. }) => AttemptState::Dialing {
                agent: agent_kept,
                silent_at,
            },
            Some(AttemptState::Ringing { silent_at, .. }) => AttemptState::Ringing {
                agent: agent_kept,
                silent_at,
            },
            Some(
                AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
            )
            | None => return,
        };
        self.set_work(now, agent, Work::Reserved { attempt }, AgentReason::CallLaunched);
        self.set_state(attempt, state);
    }

    /// The minimum ring time of the abandon rules; zero without rules.
    fn ring_min(&self) -> Duration {
        let rules = self.config.settings.pacing.abandon_rules.iter();
        let ring_ms_min = rules.map(|rule| rule.ring_ms_min).max().unwrap_or(0);
        Duration::from_millis(ring_ms_min.into())
    }

    /// Cancels the calls that are too many for the remaining agents, after an agent has stopped taking calls.
    pub(super) fn take_back_surplus(&mut self, now: Now) {
        if self.surplus_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.surplus_at = None;
        // In the other modes the settings give the number of calls for each agent.
        if self.config.settings.pacing.mode != Mode::Predictive {
            return;
        }
        let pbxes: Vec<PbxName> = self.links_up.iter().cloned().collect();
        for pbx in pbxes {
            self.take_back_surplus_on(now, &pbx);
        }
    }

    fn take_back_surplus_on(&mut self, now: Now, pbx: &PbxName) {
        let ring_min = self.ring_min();
        let (mut may_go, mut storing) = (Vec::new(), Vec::new());
        for open in self.attempts.values().filter(|open| &open.leg.pbx == pbx) {
            match open.state {
                AttemptState::Preparing {
                    agent: None,
                    wanted: true,
                } => storing.push(open.id),
                AttemptState::Ringing { agent: None, .. } => {
                    let due = open.leg.rang_at.map_or(now.mono, |at| at + ring_min);
                    if due <= now.mono {
                        may_go.push((0, open.leg.launched_at, open.id));
                    } else if self.surplus_at.is_none_or(|at| due < at) {
                        self.surplus_at = Some(due);
                        self.timers.insert((due, Timer::Launch));
                    }
                }
                AttemptState::Dialing { agent: None, .. } => may_go.push((1, open.leg.launched_at, open.id)),
                AttemptState::Preparing { .. }
                | AttemptState::Dialing { .. }
                | AttemptState::Ringing { .. }
                | AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. } => {}
            }
        }
        // Calls are cancelled from the end of this list, so the oldest ringing call is cancelled last.
        may_go.sort_unstable();
        let keys: Vec<CallKey> = may_go
            .iter()
            .map(|(_, _, attempt)| CallKey(attempt.0.as_u128()))
            .collect();
        let surplus = self.pacing.surplus(now, pbx, &keys, storing.len());
        let all = may_go.into_iter().map(|(_, _, attempt)| attempt).chain(storing);
        let all: Vec<AttemptId> = all.collect();
        for attempt in all.into_iter().rev().take(surplus) {
            self.take_back(now, attempt);
        }
    }

    /// Cancels the unanswered calls that `which` selects.
    pub(super) fn take_back_where(&mut self, now: Now, which: impl Fn(&Attempt) -> bool) {
        let attempts: Vec<AttemptId> = self
            .attempts
            .values()
            .filter(|c| which(c))
            .map(|open| open.id)
            .collect();
        for attempt in attempts {
            self.take_back(now, attempt);
        }
    }

    /// Cancels a call, unless the callee has answered.
    pub(super) fn take_back(&mut self, now: Now, attempt: AttemptId) {
        match self.state_of(attempt) {
            Some(AttemptState::Preparing { agent, .. }) => {
                self.set_state(attempt, AttemptState::Preparing { agent, wanted: false });
            }
            Some(AttemptState::Dialing { .. } | AttemptState::Ringing { .. }) => {
                self.end(now, attempt, EndReason::Cancelled)
            }
            Some(
                AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
            )
            | None => {}
        }
    }
}
