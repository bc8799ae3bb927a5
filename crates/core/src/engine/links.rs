//! Lost links, restarts of the PBX and crashes of Paceline: the engine compares the PBX's channels with its own records. It
//! keeps the legs that are up and asks for the end of the missing ones. Nothing is launched on a PBX that is not
//! resynchronised. `engine/adopt.rs` takes over what the store knows.

use super::attempts::look_at;
use super::full::Probe;
use super::{ASK_AGAIN, Engine, SILENCE_MARGIN};
use crate::agent::{Agent, AgentReason, Phone, Work};
use crate::attempt::{Attempt, AttemptState, EndReason};
use crate::command::Change;
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::outcome::MessageResult;
use crate::pbx::{ChannelPhase, Destination, PbxEvent, Progress, Snapshot};
use crate::time::{Mono, Now};
use std::time::Duration;

impl Engine {
    pub(super) fn pbx_event(&mut self, now: Now, pbx: PbxName, ago: Duration, event: PbxEvent) {
        let then = now.before(ago);
        match event {
            PbxEvent::LinkLost => {
                if self.links_up.remove(&pbx) {
                    self.lost_at.insert(pbx, then.mono);
                }
            }
            PbxEvent::Resynchronised(snapshot) => self.resynchronise(now, ago, pbx, &snapshot),
            PbxEvent::Progress { leg, kind } => self.progressed(then, leg, kind),
            PbxEvent::Answered { leg } => self.answered(now, then, leg),
            PbxEvent::Connected { leg, agent_leg } => self.connected(now, then, leg, agent_leg),
            PbxEvent::ConnectFailed {
                leg,
                agent_leg,
                fault,
            } => self.connect_failed(now, then, leg, agent_leg, fault),
            PbxEvent::Played { leg, whole } => self.played(now, leg, whole),
            PbxEvent::LegEnded { leg, end } => self.leg_ended(now, then, leg, end),
            // The agent is `ringing` since the phone was called. New is only that the PBX had room.
            PbxEvent::AgentRinging { leg } => self.pbx_had_room(now, &pbx, Probe::Phone(leg), true),
            PbxEvent::AgentReady { leg } => {
                self.agent_ready(now, leg);
            }
            PbxEvent::AgentEnded { leg, end } => self.agent_ended(now, leg, &end),
            PbxEvent::AgentLeft { leg, how } => self.agent_left(now, leg, how),
            PbxEvent::AgentTrouble { leg, trouble } => self.agent_troubled(now, leg, trouble),
            PbxEvent::Pressed { leg, digit } => self.pressed(then, leg, digit),
            PbxEvent::Transferred { leg } => self.transferred(now, leg),
            PbxEvent::CalleeAlone { leg } => self.callee_alone(now, leg),
            PbxEvent::RecordingStarted { recording } => {
                self.store(Change::RecordingStarted {
                    recording,
                    at: then.wall,
                });
            }
            PbxEvent::RecordingEnded { recording, duration } => {
                self.failures.recording_ended(true);
                self.store(Change::RecordingEnded {
                    recording,
                    result: Ok(duration),
                    at: then.wall,
                });
            }
            PbxEvent::RecordingFailed { recording, reason } => {
                self.failures.recording_ended(false);
                self.store(Change::RecordingEnded {
                    recording,
                    result: Err(reason),
                    at: then.wall,
                });
            }
        }
    }

    pub(super) fn is_idle(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.work, Work::Idle { .. }))
    }

    fn is_untied(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.work, Work::Idle { .. } | Work::WrapUp { .. }))
    }

    /// Compares our records with the PBX's channels. It is correct too if no event was lost.
    ///
    /// Connected callees come first: before that, an agent in a conversation looks free and would get a second callee.
    fn resynchronise(&mut self, now: Now, ago: Duration, pbx: PbxName, snapshot: &Snapshot) {
        self.links_up.insert(pbx.clone());
        self.look_for_stranded = true;
        self.try_full_again(now, &pbx);
        let lost_at = self.lost_at.remove(&pbx);
        let agents: Vec<AgentId> = self
            .agents
            .values()
            .filter(|a| a.pbx == pbx)
            .map(|a| a.id)
            .collect();
        let is_held = |agent: &Agent| agent.phone.leg().is_some_and(|leg| snapshot.holds(leg));
        let (held, others): (Vec<AgentId>, Vec<AgentId>) = agents
            .iter()
            .partition(|id| self.agents.get(id).is_some_and(is_held));
        for id in held {
            self.resynchronise_agent(now, id, snapshot);
        }
        // A callee who is connected by our records and alone on the PBX comes first too: its end frees the agent for
        // another callee in that bridge.
        let is_joined = |open: &Attempt| {
            if matches!(open.state, AttemptState::Connected { .. }) {
                return true;
            }
            let channel = snapshot.channels.get(&open.leg.id.0);
            channel.is_some_and(|c| {
                c.phase == ChannelPhase::Up
                    && (c.with_others || c.bridge.is_some_and(|bridge| snapshot.holds(bridge)))
            })
        };
        let here = self.attempts.values().filter(|open| open.leg.pbx == pbx);
        let (mut joined, mut alone): (Vec<&Attempt>, Vec<&Attempt>) = here.partition(|c| is_joined(c));
        let attempts = |calls: &mut Vec<&Attempt>| -> Vec<AttemptId> {
            calls.sort_by_key(|open| (settled_as(open.state), open.id));
            calls.iter().map(|open| open.id).collect()
        };
        let (joined, alone) = (attempts(&mut joined), attempts(&mut alone));
        for attempt in joined {
            self.resynchronise_attempt(now, ago, lost_at, attempt, snapshot);
        }
        for id in others {
            self.resynchronise_agent(now, id, snapshot);
        }
        for attempt in alone {
            self.resynchronise_attempt(now, ago, lost_at, attempt, snapshot);
        }
        // The agent may have asked to log out during a call whose end Paceline missed.
        for id in agents {
            self.leave_if_due(now, id);
        }
    }

    fn resynchronise_agent(&mut self, now: Now, id: AgentId, snapshot: &Snapshot) {
        let Some(phone) = self.agents.get(&id).map(|a| a.phone) else {
            return;
        };
        let Some(leg) = phone.leg() else {
            self.recall_phone_now(now, id);
            // If the phone is not to be called again, this pauses its agent.
            return self.recall_phone(now, id);
        };
        let channel = snapshot.channels.get(&leg.0);
        if let (Phone::Held { .. }, Some(channel)) = (phone, channel)
            && channel.phase == ChannelPhase::Up
            && !channel.in_our_app
        {
            return self.drop_phone(now, id, AgentReason::PhoneMoved);
        }
        let held = channel.map(|_| snapshot.holds(leg));
        match (phone, held) {
            // The leg is up, but not in its bridge. The driver repairs that and then reports the leg as ready.
            (Phone::Held { recalls, .. }, Some(false)) => {
                let give_up_at = now.mono + self.config.settings.agents.ring_timeout() + SILENCE_MARGIN;
                self.set_phone(
                    now,
                    id,
                    Phone::Calling {
                        leg,
                        recalls,
                        give_up_at,
                    },
                );
            }
            (Phone::Calling { .. }, Some(true)) => {
                self.agent_ready(now, leg);
                self.agent_troubled(now, leg, channel.and_then(|channel| channel.trouble));
            }
            (Phone::Held { .. }, Some(true)) => {
                self.agent_troubled(now, leg, channel.and_then(|channel| channel.trouble));
            }
            // A hang-up is sent even for a missing leg: the driver knows whether it ever existed, and reports its end.
            (Phone::Held { .. } | Phone::Calling { .. } | Phone::Leaving { .. }, None)
            | (Phone::Leaving { .. }, Some(_)) => self.drop_phone(now, id, AgentReason::PhoneLost),
            (Phone::Calling { .. }, Some(false)) | (Phone::Gone { .. }, _) => {}
        }
    }

    /// `lost_at`: time when the link was lost. `None` if this run had no link before.
    fn resynchronise_attempt(
        &mut self,
        now: Now,
        ago: Duration,
        lost_at: Option<Mono>,
        attempt: AttemptId,
        snapshot: &Snapshot,
    ) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let (leg, state) = (open.leg.id, open.state);
        let channel = snapshot.channels.get(&leg.0).copied();
        // A callee is with an agent only if the agent's own leg is in that bridge.
        let joined = channel
            .and_then(|c| c.bridge)
            .filter(|bridge| snapshot.holds(*bridge))
            .and_then(|bridge| self.agent_legs.get(&bridge).copied())
            .filter(|agent| self.is_held(*agent));
        let with_others = channel.is_some_and(|c| c.with_others) && joined.is_none();
        let up = channel.is_some_and(|c| c.phase == ChannelPhase::Up);
        // If the PBX cannot tell how long the leg has been up, the longest possible time is assumed: since the loss of the
        // link, or since the launch if that was later.
        let up_for = channel.and_then(|c| c.up_for).map_or_else(
            || {
                now.mono
                    .since(lost_at.unwrap_or_default().max(open.leg.launched_at))
            },
            |up| up + ago,
        );
        let up_since = now.before(up_for);
        let with_a_stranger = up
            && joined.is_none()
            && channel
                .and_then(|c| c.bridge)
                .is_some_and(|bridge| snapshot.holds(bridge));
        if up && with_others {
            return self.found_with_others(now, up_since, attempt);
        }
        match state {
            // The leg was not dialed yet, so its absence proves nothing.
            AttemptState::Preparing { .. } => {}
            AttemptState::Ending { why, .. } => self.end_as_seen(now, attempt, why, joined),
            // The message may have ended during the gap. The call is ended, so that the callee does not hear silence.
            AttemptState::Message { .. } => self.message_over(now, attempt, MessageResult::CutShort),
            _ if channel.is_none() => self.ask_after(now, attempt),
            // The callee is in the bridge of an agent's leg that is being hung up, or that no record knows.
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } if with_a_stranger => {
                self.end(now, attempt, EndReason::Limit)
            }
            AttemptState::Dialing { agent, .. } | AttemptState::Ringing { agent, .. } if with_a_stranger => {
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.person_waits(now, up_since, attempt);
                self.end(now, attempt, EndReason::Limit)
            }
            AttemptState::Dialing { agent, .. } | AttemptState::Ringing { agent, .. } if up => {
                self.person_waits(now, up_since, attempt);
                if joined.is_none() {
                    return self.serve(now, attempt, agent);
                }
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.join_as_seen(now, attempt, joined);
            }
            AttemptState::Dialing { .. } | AttemptState::Ringing { .. } => {
                if channel.is_some_and(|c| c.phase == ChannelPhase::Ringing)
                    && matches!(state, AttemptState::Dialing { .. })
                {
                    self.progressed(now, leg, Progress::Ringing);
                }
            }
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } => {
                self.join_as_seen(now, attempt, joined)
            }
            AttemptState::Connected { agent, .. } => {
                if joined != Some(agent) {
                    self.end_as_seen(now, attempt, EndReason::AgentLost, joined);
                }
            }
            // No agent of ours is to have an abandoned callee.
            AttemptState::Transferred { connected: false, .. } => {
                self.end_as_seen(now, attempt, EndReason::Limit, joined)
            }
            AttemptState::Transferred { connected: true, .. } => self.transferred_alone(now, attempt, joined),
        }
    }

    /// The leg is missing from the snapshot. The hang-up makes the driver report its end with what it knows. Until then the
    /// agent stays tied to the attempt.
    fn ask_after(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let (leg, pbx, agent) = (open.leg.id, open.leg.pbx.clone(), open.state.agent());
        let why = match open.state {
            AttemptState::Preparing { .. } | AttemptState::Dialing { .. } | AttemptState::Ringing { .. } => {
                EndReason::Missing
            }
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } => {
                EndReason::CalleeGone { since: now }
            }
            AttemptState::Message { .. } => EndReason::Limit,
            AttemptState::Connected { .. } | AttemptState::Transferred { connected: true, .. } => {
                EndReason::SilentConnected
            }
            AttemptState::Transferred { connected: false, .. } => EndReason::Limit,
            AttemptState::Ending { why, .. } => why,
        };
        self.set_state(
            attempt,
            AttemptState::Ending {
                agent,
                why,
                ask_again_at: now.mono + ASK_AGAIN,
            },
        );
        self.tell(&pbx, crate::pbx::PbxCommand::HangUp { leg });
    }

    /// Follows the snapshot for an answered callee, even if it differs from our requests: the callee is in the bridge of the
    /// agent `joined`, or in no agent's bridge.
    fn join_as_seen(&mut self, now: Now, attempt: AttemptId, joined: Option<AgentId>) {
        let Some(state) = self.state_of(attempt) else {
            return;
        };
        // No callee gets an agent after the limit, so the two were connected by the limit at the latest.
        let by = |limit_at: Mono| now.before(now.mono.since(limit_at));
        match (state, joined) {
            (AttemptState::Connecting { agent, limit_at, .. }, Some(seen)) if seen == agent => {
                self.talk(now, by(limit_at), attempt, agent)
            }
            // By the records of a former run, the agent may still be in the wrap-up of the call before.
            (AttemptState::Waiting { limit_at, .. }, Some(seen)) if self.is_untied(seen) => {
                self.talk(now, by(limit_at), attempt, seen)
            }
            // The callee is in the bridge of an agent who, by our records, has another call. No agent gets two calls.
            (AttemptState::Waiting { .. } | AttemptState::Connecting { .. }, Some(_)) => {
                self.end_as_seen(now, attempt, EndReason::Limit, joined)
            }
            (AttemptState::Waiting { limit_at, .. }, None) => {
                let look_at = look_at(now, limit_at);
                self.set_state(attempt, AttemptState::Waiting { limit_at, look_at })
            }
            (AttemptState::Connecting { limit_at, .. }, None) if limit_at <= now.mono => {
                self.end(now, attempt, EndReason::Limit)
            }
            // The connect command was lost with the link, so it is sent again.
            (AttemptState::Connecting { agent, .. }, None) if self.listens(agent) => {
                self.connect_again(attempt, agent)
            }
            (AttemptState::Connecting { agent, limit_at, .. }, None) => {
                let look_at = look_at(now, limit_at);
                self.set_state(attempt, AttemptState::Waiting { limit_at, look_at });
                self.free_agent(now, agent, attempt);
            }
            (
                AttemptState::Preparing { .. }
                | AttemptState::Dialing { .. }
                | AttemptState::Ringing { .. }
                | AttemptState::Message { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
                _,
            ) => {}
        }
    }

    /// Hangs up a callee. If the snapshot shows it in an agent's bridge, that agent gets no other callee before the end is
    /// confirmed.
    fn end_as_seen(&mut self, now: Now, attempt: AttemptId, why: EndReason, joined: Option<AgentId>) {
        self.end(now, attempt, why);
        let Some(seen) = joined.filter(|agent| self.is_untied(*agent)) else {
            return;
        };
        let Some(AttemptState::Ending {
            agent,
            why,
            ask_again_at,
        }) = self.state_of(attempt)
        else {
            return;
        };
        if let Some(kept) = agent {
            self.let_go(now, kept, attempt);
        }
        let work = Work::Reserved { attempt };
        self.set_work(now, seen, work, AgentReason::CallLaunched);
        let state = AttemptState::Ending {
            agent: Some(seen),
            why,
            ask_again_at,
        };
        self.set_state(attempt, state);
    }

    /// A party that is not one of our agents talks with this callee.
    fn found_with_others(&mut self, now: Now, up_since: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let (leg, state) = (open.leg.id, open.state);
        match state {
            AttemptState::Preparing { .. } | AttemptState::Transferred { .. } => {}
            // The hang-up may have been lost with the link, so it is sent again.
            AttemptState::Ending { why, .. } => self.end(now, attempt, why),
            // The answer was missed.
            AttemptState::Dialing { agent, .. } | AttemptState::Ringing { agent, .. } => {
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.person_waits(now, up_since, attempt);
                self.transferred(now, leg);
            }
            AttemptState::Waiting { .. }
            | AttemptState::Connecting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Connected { .. } => self.transferred(now, leg),
        }
    }

    /// By our records the callee was transferred. The snapshot shows it alone, or with an agent of ours.
    fn transferred_alone(&mut self, now: Now, attempt: AttemptId, joined: Option<AgentId>) {
        match joined {
            // By the records of a former run the agent had two calls, and this is the one that is still up.
            Some(agent) if self.is_untied(agent) => {
                let silent_at = now.mono
                    + self.config.settings.dialing.ring_timeout()
                    + self.config.settings.dialing.call_duration_max()
                    + SILENCE_MARGIN;
                self.set_work(now, agent, Work::OnCall { attempt }, AgentReason::TakenOver);
                self.set_state(attempt, AttemptState::Connected { agent, silent_at });
            }
            Some(_) | None => self.end(now, attempt, EndReason::AgentLost),
        }
    }

    fn connect_again(&mut self, attempt: AttemptId, agent: AgentId) {
        let Some((leg, pbx)) = self
            .attempts
            .get(&attempt)
            .map(|open| (open.leg.id, open.leg.pbx.clone()))
        else {
            return;
        };
        let Some(agent_leg) = self.agents.get(&agent).and_then(|a| a.phone.leg()) else {
            return;
        };
        self.tell(
            &pbx,
            crate::pbx::PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            },
        );
    }
}

/// The order in which attempts are compared with a snapshot. Those that are connected by our records come first.
fn settled_as(state: AttemptState) -> u8 {
    match state {
        AttemptState::Connected { .. } => 0,
        AttemptState::Transferred { .. } => 1,
        AttemptState::Connecting { .. } => 2,
        AttemptState::Preparing { .. }
        | AttemptState::Dialing { .. }
        | AttemptState::Ringing { .. }
        | AttemptState::Waiting { .. }
        | AttemptState::Message { .. }
        | AttemptState::Ending { .. } => 3,
    }
}
