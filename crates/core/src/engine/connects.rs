//! Connects callees to agents: waiting callees get free agents, and the PBX reports the result.

use super::{Engine, SILENCE_MARGIN};
use crate::agent::{AgentReason, Phone, Work};
use crate::attempt::{AttemptState, EndReason};
use crate::campaign::recording::RecordingSettings;
use crate::command::Change;
use crate::ids::{AgentId, AgentLegId, AttemptId, LegId};
use crate::outcome::MessageResult;
use crate::pbx::{ConnectFault, Destination, PbxCommand, RecordingName};
use crate::time::Now;

impl Engine {
    /// Connects a waiting callee to the agent reserved for it. If that agent cannot take it, the agent is freed.
    pub(super) fn serve(&mut self, now: Now, attempt: AttemptId, kept: Option<AgentId>) {
        match kept {
            Some(agent) if self.listens(agent) && !self.is_past_limit(now, attempt) => {
                self.connect(now, attempt, agent)
            }
            Some(agent) => self.free_agent(now, agent, attempt),
            None => {}
        }
    }

    /// True if the callee waits and the limit has passed, so that it gets no agent any more.
    fn is_past_limit(&self, now: Now, attempt: AttemptId) -> bool {
        matches!(self.state_of(attempt), Some(AttemptState::Waiting { limit_at, .. }) if limit_at <= now.mono)
    }

    /// Gives free agents to the waiting callees, the longest waiting first. A callee past the limit gets none.
    pub(super) fn serve_waiting(&mut self, now: Now) {
        let in_time = |attempt: &&AttemptId| !self.is_past_limit(now, **attempt);
        let mut waiting: Vec<_> = self
            .waiting
            .iter()
            .filter(in_time)
            .filter_map(|attempt| Some((self.attempts.get(attempt)?.state.deadline(), *attempt)))
            .collect();
        waiting.sort_unstable();
        for (_, attempt) in waiting {
            let pbx = self.attempts.get(&attempt).map(|open| open.leg.pbx.clone());
            if let Some(agent) = pbx.and_then(|pbx| self.longest_free(&pbx)) {
                self.connect(now, attempt, agent);
            }
        }
    }

    fn connect(&mut self, now: Now, attempt: AttemptId, agent: AgentId) {
        let Some((leg, pbx, limit_at)) = self.attempts.get(&attempt).and_then(|open| match open.state {
            AttemptState::Waiting { limit_at, .. } => Some((open.leg.id, open.leg.pbx.clone(), limit_at)),
            AttemptState::Preparing { .. }
            | AttemptState::Dialing { .. }
            | AttemptState::Ringing { .. }
            | AttemptState::Connecting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Connected { .. }
            | AttemptState::Transferred { .. }
            | AttemptState::Ending { .. } => None,
        }) else {
            return;
        };
        let Some(agent_leg) = self.agents.get(&agent).and_then(|a| a.phone.leg()) else {
            return;
        };
        self.set_work(now, agent, Work::Reserved { attempt }, AgentReason::CallLaunched);
        let look_at = limit_at;
        let state = AttemptState::Connecting {
            agent,
            limit_at,
            look_at,
        };
        self.set_state(attempt, state);
        self.tell(
            &pbx,
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            },
        );
    }

    pub(super) fn connected(&mut self, now: Now, then: Now, leg: LegId, agent_leg: AgentLegId) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match self.state_of(attempt) {
            Some(AttemptState::Connecting { agent, .. })
                if self.agent_legs.get(&agent_leg) == Some(&agent) =>
            {
                self.talk(now, then, attempt, agent);
            }
            Some(
                AttemptState::Preparing { .. }
                | AttemptState::Dialing { .. }
                | AttemptState::Ringing { .. }
                | AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
            )
            | None => self.counts.stale += 1,
        }
    }

    /// Callee and agent have been in one bridge since `then`.
    pub(super) fn talk(&mut self, now: Now, then: Now, attempt: AttemptId, agent: AgentId) {
        let Some(open) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let (leg, pbx, at) = (open.leg.id, open.leg.pbx.clone(), open.wall_at(then));
        open.connected_at = Some(at);
        let silent_at = now.mono
            + self.config.settings.dialing.ring_timeout()
            + self.config.settings.dialing.call_duration_max()
            + SILENCE_MARGIN;
        self.set_state(attempt, AttemptState::Connected { agent, silent_at });
        self.set_work(now, agent, Work::OnCall { attempt }, AgentReason::CallConnected);
        self.phone_proved(agent);
        self.store(Change::Connected { attempt, agent, at });
        self.count_answer(attempt, None);
        let agent_leg = self.agents.get(&agent).and_then(|a| a.phone.leg());
        let RecordingSettings {
            enabled,
            announcement,
        } = self.config.settings.recording.clone();
        if let (true, Some(agent_leg)) = (enabled, agent_leg) {
            let recording = RecordingName::of(leg);
            let name = recording.clone();
            self.store(Change::RecordingAsked {
                recording: name,
                attempt,
                agent,
                pbx: pbx.clone(),
                at: now.wall,
            });
            self.tell(
                &pbx,
                PbxCommand::Record {
                    leg,
                    agent_leg,
                    recording,
                    announcement,
                },
            );
        }
    }

    pub(super) fn connect_failed(
        &mut self,
        now: Now,
        then: Now,
        leg: LegId,
        agent_leg: AgentLegId,
        fault: ConnectFault,
    ) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match (self.state_of(attempt), fault) {
            (
                Some(AttemptState::Connecting { agent, limit_at, .. }),
                ConnectFault::AgentGone | ConnectFault::Refused,
            ) if self.agent_legs.get(&agent_leg) == Some(&agent) => {
                // The PBX may have connected the two. The agent's leg is ended, so that the agent cannot get two calls.
                let look_at = limit_at;
                self.set_state(attempt, AttemptState::Waiting { limit_at, look_at });
                self.free_agent(now, agent, attempt);
                self.drop_phone(now, agent, AgentReason::PbxUnclear);
            }
            (Some(AttemptState::Connecting { agent, .. }), ConnectFault::CalleeGone)
                if self.agent_legs.get(&agent_leg) == Some(&agent) =>
            {
                self.end(now, attempt, EndReason::CalleeGone { since: then });
            }
            (
                Some(
                    AttemptState::Preparing { .. }
                    | AttemptState::Dialing { .. }
                    | AttemptState::Ringing { .. }
                    | AttemptState::Waiting { .. }
                    | AttemptState::Connecting { .. }
                    | AttemptState::Message { .. }
                    | AttemptState::Connected { .. }
                    | AttemptState::Transferred { .. }
                    | AttemptState::Ending { .. },
                )
                | None,
                _,
            ) => self.counts.stale += 1,
        }
    }

    /// The callee was transferred to a party that is not one of our agents. The agent's part is over, and the call is left
    /// alone until it ends. If no agent of ours had been connected, the callee counts as abandoned.
    pub(super) fn transferred(&mut self, now: Now, leg: LegId) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        let Some(state) = self.state_of(attempt) else {
            return;
        };
        let (agent, connected) = match state {
            AttemptState::Connected { agent, .. } => (Some(agent), true),
            AttemptState::Connecting { agent, .. } => (Some(agent), false),
            AttemptState::Waiting { .. } => (None, false),
            AttemptState::Message { asked_at, .. } => {
                self.note_message(attempt, MessageResult::CutShort, asked_at);
                (None, false)
            }
            AttemptState::Preparing { .. }
            | AttemptState::Dialing { .. }
            | AttemptState::Ringing { .. }
            | AttemptState::Transferred { .. }
            | AttemptState::Ending { .. } => {
                self.counts.stale += 1;
                return;
            }
        };
        if !connected {
            self.give_up(now, attempt);
        }
        let silent_at = now.mono
            + self.config.settings.dialing.ring_timeout()
            + self.config.settings.dialing.call_duration_max()
            + SILENCE_MARGIN;
        self.set_state(attempt, AttemptState::Transferred { connected, silent_at });
        match agent {
            Some(agent) if connected => self.wrap_up(now, agent, attempt, AgentReason::CallTransferred),
            Some(agent) => {
                // An earlier agent transferred the callee, and our connect command crossed that event. The PBX may have
                // carried it out.
                self.free_agent(now, agent, attempt);
                self.drop_phone(now, agent, AgentReason::PbxUnclear);
            }
            None => {}
        }
    }

    /// The party to which the callee was transferred is gone.
    pub(super) fn callee_alone(&mut self, now: Now, leg: LegId) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match self.state_of(attempt) {
            Some(AttemptState::Transferred { connected, .. }) => {
                let why = if connected {
                    EndReason::AgentLost
                } else {
                    EndReason::Limit
                };
                self.end(now, attempt, why);
            }
            Some(
                AttemptState::Preparing { .. }
                | AttemptState::Dialing { .. }
                | AttemptState::Ringing { .. }
                | AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Ending { .. },
            )
            | None => self.counts.stale += 1,
        }
    }

    pub(super) fn is_held(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.phone, Phone::Held { .. }))
    }

    pub(super) fn listens(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.phone, Phone::Held { trouble: None, .. }))
    }
}
