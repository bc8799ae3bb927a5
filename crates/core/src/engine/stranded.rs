//! Calls that nobody is to take: launched ahead of agents who have left, too few of whom are still there; or on a PBX in
//! maintenance.

use super::{Engine, Timer};
use crate::agent::{AgentReason, Phone, Wants, Work};
use crate::attempt::{Attempt, AttemptState, Why};
use crate::campaign::Mode;
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::pacing::CallKey;
use crate::time::Now;
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

    /// What becomes of unanswered attempts for which no agent is kept though one should be, or whose PBX is in maintenance: a free
    /// agent is kept for them, or they are taken back. A phone that rings is let ring for as long as the rules ask, even if nobody
    /// is there to take the call: hung up earlier, it counts as a call that was given no time.
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
                self.links_up.contains(*pbx) && (self.is_maintained(pbx) || !self.is_paced_ahead(pbx))
            })
            .cloned()
            .collect();
        if left.is_empty() {
            return;
        }
        let stranded: Vec<Attempt> = open
            .filter(|open| left.contains(&open.leg.pbx))
            .filter(|open| open.state.agent().is_none() || self.is_maintained(&open.leg.pbx))
            .cloned()
            .collect();
        let ring_min = self.ring_min();
        for open in stranded {
            let other = self.longest_free(&open.leg.pbx);
            match other.filter(|_| !self.is_maintained(&open.leg.pbx)) {
                Some(agent) => self.keep_agent(now, open.id, agent),
                None => self.take_back_in_time(now, &open, ring_min),
            }
        }
    }

    fn take_back_in_time(&mut self, now: Now, open: &Attempt, ring_min: Duration) {
        let due = open.leg.rang_at.map_or(now.mono, |at| at + ring_min);
        match open.state {
            AttemptState::Preparing { agent, .. } => {
                self.set_state(open.id, AttemptState::Preparing { agent, wanted: false });
            }
            AttemptState::Ringing { .. } if due > now.mono => {
                self.timers.insert((due, Timer::Launch));
            }
            AttemptState::Dialing { .. } | AttemptState::Ringing { .. } => {
                self.end(now, open.id, Why::TakenBack)
            }
            AttemptState::Waiting { .. }
            | AttemptState::Connecting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Connected { .. }
            | AttemptState::Transferred { .. }
            | AttemptState::Ending { .. } => {}
        }
    }

    /// Keeps this agent for an attempt that nobody has answered yet.
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

    /// How long the rules ask a phone to be let ring.
    fn ring_min(&self) -> Duration {
        let rules = self.config.settings.pacing.abandon_rules.iter();
        let ring_ms_min = rules.map(|rule| rule.ring_ms_min).max().unwrap_or(0);
        Duration::from_millis(ring_ms_min.into())
    }

    /// Takes back what is too many for the agents who are left, once some have left.
    pub(super) fn take_back_surplus(&mut self, now: Now) {
        if self.surplus_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.surplus_at = None;
        // In the other modes the campaign itself says how many calls an agent has.
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
        // Who rings longest is kept first.
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

    /// Takes back calls that nobody answered yet.
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

    /// Takes back a call, unless somebody has answered it.
    pub(super) fn take_back(&mut self, now: Now, attempt: AttemptId) {
        match self.state_of(attempt) {
            Some(AttemptState::Preparing { agent, .. }) => {
                self.set_state(attempt, AttemptState::Preparing { agent, wanted: false });
            }
            Some(AttemptState::Dialing { .. } | AttemptState::Ringing { .. }) => {
                self.end(now, attempt, Why::TakenBack)
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
