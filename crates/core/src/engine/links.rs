//! What a lost link, a restart of the switch or a crash of our own left behind: adopt what lives, ask after what is
//! missing. Until a switch is resynchronised nothing is launched there.

use super::calls::look_at;
use super::full::Probe;
use super::{ASK_AGAIN, Engine, SILENCE_MARGIN, Timer};
use crate::agent::{Agent, AgentReason, Phone, Wants, Work};
use crate::call::{Call, CallState, Why};
use crate::command::Change;
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::input::Recovered;
use crate::outcome::MessageResult;
use crate::pbx::{ChannelPhase, PbxEvent, Progress, Snapshot};
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
            PbxEvent::Ended { leg, end } => self.ended(now, then, leg, end),
            // The agent's state is `ringing` from the moment that the phone is called.
            PbxEvent::AgentRinging { leg } => self.switch_had_room(now, &pbx, Probe::Phone(leg), true),
            PbxEvent::AgentReady { leg } => {
                self.agent_ready(now, leg);
            }
            PbxEvent::AgentEnded { leg, end } => self.agent_ended(now, leg, &end),
            PbxEvent::AgentLeft { leg, how } => self.agent_left(now, leg, how),
            PbxEvent::AgentTrouble { leg, trouble } => self.agent_troubled(now, leg, trouble),
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

    /// Takes over what a former run left open. What became of it, the first snapshot of each switch says.
    pub(super) fn adopt(&mut self, now: Now, mut recovered: Recovered) {
        for open in recovered.agents {
            // Not known to be held before the snapshot says so.
            let give_up_at = now.mono + self.config.settings.agents.ring_timeout() + SILENCE_MARGIN;
            let phone = match open.leg {
                Some(leg) => Phone::Calling {
                    leg,
                    recalls: 0,
                    give_up_at,
                },
                None => Phone::gone_since(now.mono),
            };
            if let Some(leg) = open.leg {
                self.agent_legs.insert(leg, open.agent);
            }
            let agent = Agent {
                id: open.agent,
                pbx: open.pbx,
                template: open.template,
                extension: open.extension,
                phone,
                work: Work::Idle { since: now.mono },
                wants: open.wants,
                since: now.wall,
                why_phone: AgentReason::TakenOver,
                // Who asked for it was not stored.
                why_wants: match open.wants {
                    Wants::LogOut => AgentReason::LoggedOut,
                    Wants::Calls | Wants::Pause => AgentReason::TakenOver,
                },
                reason: AgentReason::TakenOver,
            };
            self.rearm(None, agent.deadline(), Timer::Agent(open.agent));
            let state = agent.state();
            self.agents.insert(open.agent, agent);
            self.pace_agent(open.agent, state, open.wants != Wants::Calls);
        }
        // An agent may have transferred one callee and talk with the next: the newest is the agent's own.
        recovered
            .attempts
            .sort_by_key(|open| std::cmp::Reverse(open.connected.map(|(at, _)| at)));
        for open in recovered.attempts {
            let silent_at = now.mono + self.config.settings.dialing.ring_timeout() + SILENCE_MARGIN;
            let talk_until = silent_at + self.config.settings.dialing.call_duration_max();
            let answered = open.answered_at.map(|at| Now {
                mono: now.before(now.wall.since(at)).mono,
                wall: at,
            });
            let state = match (open.connected, answered) {
                (Some((_, agent)), _) if self.is_idle(agent) => {
                    self.set_work(
                        now,
                        agent,
                        Work::OnCall {
                            attempt: open.attempt,
                        },
                        AgentReason::TakenOver,
                    );
                    CallState::Connected {
                        agent,
                        silent_at: talk_until,
                    }
                }
                // The agent has had another one since: this one was transferred, or nobody saw its end.
                (Some(_), _) => CallState::Transferred {
                    connected: true,
                    silent_at: talk_until,
                },
                // Hears the message of the former run, or had to.
                (None, Some(_)) if open.abandoned_at.is_some() => CallState::Ending {
                    agent: None,
                    why: Why::Limit,
                    ask_again_at: now.mono,
                },
                // Past its limit or not, the first snapshot says what has come of it.
                (None, Some(answered)) => {
                    let limit_at = answered.mono + self.config.settings.answering.connect_limit();
                    CallState::Waiting {
                        limit_at,
                        look_at: look_at(now, limit_at),
                    }
                }
                (None, None) => CallState::Dialing {
                    agent: None,
                    silent_at,
                },
            };
            self.legs.insert(open.leg, open.attempt);
            if matches!(state, CallState::Waiting { .. }) {
                self.waiting.insert(open.attempt);
            }
            let (attempt, leg, pbx, trunk, lead) = (open.attempt, open.leg, open.pbx, open.trunk, open.lead);
            self.rearm(None, state.deadline(), Timer::Call(attempt));
            self.calls.insert(
                attempt,
                Call {
                    attempt,
                    leg,
                    pbx,
                    trunk,
                    lead,
                    launched_at: now.before(now.wall.since(open.created_at)).mono,
                    answered,
                    connected_at: open.connected.map(|(at, _)| at),
                    abandoned_at: open.abandoned_at,
                    rang_at: None,
                    state,
                },
            );
            self.pace_call(attempt, state);
        }
    }

    fn is_idle(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.work, Work::Idle { .. }))
    }

    fn is_untied(&self, agent: AgentId) -> bool {
        self.agents
            .get(&agent)
            .is_some_and(|a| matches!(a.work, Work::Idle { .. } | Work::WrapUp { .. }))
    }

    /// Holds what we believe against what lives. Also right when nothing was lost.
    ///
    /// Those who are joined are settled first: until then an agent who talks looks free, and would be given somebody else.
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
        // Who talks by our books and is with nobody frees the agent for another callee in that bridge.
        let is_joined = |call: &Call| {
            if matches!(call.state, CallState::Connected { .. }) {
                return true;
            }
            let channel = snapshot.channels.get(&call.leg.0);
            channel.is_some_and(|c| c.with_others || c.bridge.is_some_and(|bridge| snapshot.holds(bridge)))
        };
        let here = self.calls.values().filter(|c| c.pbx == pbx);
        let (mut joined, mut alone): (Vec<&Call>, Vec<&Call>) = here.partition(|c| is_joined(c));
        let attempts = |calls: &mut Vec<&Call>| -> Vec<AttemptId> {
            calls.sort_by_key(|call| (settled_as(call.state), call.attempt));
            calls.iter().map(|call| call.attempt).collect()
        };
        let (joined, alone) = (attempts(&mut joined), attempts(&mut alone));
        for attempt in joined {
            self.resynchronise_call(now, ago, lost_at, attempt, snapshot);
        }
        for id in others {
            self.resynchronise_agent(now, id, snapshot);
        }
        for attempt in alone {
            self.resynchronise_call(now, ago, lost_at, attempt, snapshot);
        }
        // Who asked to go home during a call that a former run did not see the end of.
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
            // One that is not to be called any more pauses its agent.
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
            // Held, but not in its bridge: the driver mends that and says when it is ready.
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
            // Asked, not assumed: the driver knows whether it ever was.
            (Phone::Held { .. } | Phone::Calling { .. } | Phone::Leaving { .. }, None)
            | (Phone::Leaving { .. }, Some(_)) => self.drop_phone(now, id, AgentReason::PhoneLost),
            (Phone::Calling { .. }, Some(false)) | (Phone::Gone { .. }, _) => {}
        }
    }

    /// `lost_at`: when the link was lost, if this run had one.
    fn resynchronise_call(
        &mut self,
        now: Now,
        ago: Duration,
        lost_at: Option<Mono>,
        attempt: AttemptId,
        snapshot: &Snapshot,
    ) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let (leg, state) = (call.leg, call.state);
        let channel = snapshot.channels.get(&leg.0).copied();
        // A bridge that the agent's own leg is not in joins nobody with an agent.
        let joined = channel
            .and_then(|c| c.bridge)
            .filter(|bridge| snapshot.holds(*bridge))
            .and_then(|bridge| self.agent_legs.get(&bridge).copied())
            .filter(|agent| self.is_held(*agent));
        let with_others = channel.is_some_and(|c| c.with_others) && joined.is_none();
        let up = channel.is_some_and(|c| c.phase == ChannelPhase::Up);
        // Where the PBX cannot tell since when it is up, the worst is taken: since we last knew that it was not.
        let up_for = channel.and_then(|c| c.up_for).map_or_else(
            || now.mono.since(lost_at.unwrap_or_default().max(call.launched_at)),
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
            // Not dialed yet: its absence means nothing.
            CallState::Preparing { .. } => {}
            CallState::Ending { why, .. } => self.end_as_seen(now, attempt, why, joined),
            // Whether the message still plays is not known any more; nobody is left in silence for it.
            CallState::Message { .. } => self.message_over(now, attempt, MessageResult::CutShort),
            _ if channel.is_none() => self.ask_after(now, attempt),
            // Joined to an agent's leg that is being hung up, or that no book knows.
            CallState::Waiting { .. } | CallState::Connecting { .. } if with_a_stranger => {
                self.end(now, attempt, Why::Limit)
            }
            CallState::Dialing { agent, .. } | CallState::Ringing { agent, .. } if with_a_stranger => {
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.person_waits(now, up_since, attempt);
                self.end(now, attempt, Why::Limit)
            }
            CallState::Dialing { agent, .. } | CallState::Ringing { agent, .. } if up => {
                self.person_waits(now, up_since, attempt);
                if joined.is_none() {
                    return self.serve(now, attempt, agent);
                }
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.join_as_seen(now, attempt, joined);
            }
            CallState::Dialing { agent, .. } | CallState::Ringing { agent, .. } => {
                if channel.is_some_and(|c| c.phase == ChannelPhase::Ringing)
                    && matches!(state, CallState::Dialing { .. })
                {
                    self.progressed(now, leg, Progress::Ringing);
                }
                if agent.is_none() {
                    self.adopt_unanswered(now, attempt);
                }
            }
            CallState::Waiting { .. } | CallState::Connecting { .. } => {
                self.join_as_seen(now, attempt, joined)
            }
            CallState::Connected { agent, .. } => {
                if joined != Some(agent) {
                    self.end_as_seen(now, attempt, Why::AgentLost, joined);
                }
            }
            CallState::Transferred { .. } => self.transferred_alone(now, attempt, joined),
        }
    }

    /// The leg is missing. Its end comes from the driver, with what the driver knows of it; the agent stays tied until then.
    fn ask_after(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let (leg, pbx, agent) = (call.leg, call.pbx.clone(), call.state.agent());
        let why = match call.state {
            CallState::Preparing { .. } | CallState::Dialing { .. } | CallState::Ringing { .. } => {
                Why::Missing
            }
            CallState::Waiting { .. } | CallState::Connecting { .. } => Why::CalleeGone { since: now },
            CallState::Message { .. } => Why::Limit,
            CallState::Connected { .. } | CallState::Transferred { connected: true, .. } => {
                Why::SilentConnected
            }
            CallState::Transferred { connected: false, .. } => Why::Limit,
            CallState::Ending { why, .. } => why,
        };
        self.set_call(
            attempt,
            CallState::Ending {
                agent,
                why,
                ask_again_at: now.mono + ASK_AGAIN,
            },
        );
        self.tell(&pbx, crate::pbx::PbxCommand::HangUp { leg });
    }

    /// An answered callee is in this agent's bridge, whatever we had asked for.
    fn join_as_seen(&mut self, now: Now, attempt: AttemptId, joined: Option<AgentId>) {
        let Some(state) = self.calls.get(&attempt).map(|c| c.state) else {
            return;
        };
        // Nobody is given an agent past the limit, so they were joined by then at the latest.
        let by = |limit_at: Mono| now.before(now.mono.since(limit_at));
        match (state, joined) {
            (CallState::Connecting { agent, limit_at, .. }, Some(seen)) if seen == agent => {
                self.talk(now, by(limit_at), attempt, agent)
            }
            (CallState::Waiting { limit_at, .. }, Some(seen)) if self.is_idle(seen) => {
                self.talk(now, by(limit_at), attempt, seen)
            }
            // In somebody else's bridge, who is busy with another call by our books: nobody is given two calls.
            (CallState::Waiting { .. } | CallState::Connecting { .. }, Some(_)) => {
                self.end_as_seen(now, attempt, Why::Limit, joined)
            }
            (CallState::Waiting { limit_at, .. }, None) => {
                let look_at = look_at(now, limit_at);
                self.set_call(attempt, CallState::Waiting { limit_at, look_at })
            }
            (CallState::Connecting { limit_at, .. }, None) if limit_at <= now.mono => {
                self.end(now, attempt, Why::Limit)
            }
            // Asked to join and not joined: the request was lost with the link, so it is made again.
            (CallState::Connecting { agent, .. }, None) if self.listens(agent) => {
                self.connect_again(attempt, agent)
            }
            (CallState::Connecting { agent, limit_at, .. }, None) => {
                let look_at = look_at(now, limit_at);
                self.set_call(attempt, CallState::Waiting { limit_at, look_at });
                self.free_agent(now, agent, attempt);
            }
            (
                CallState::Preparing { .. }
                | CallState::Dialing { .. }
                | CallState::Ringing { .. }
                | CallState::Message { .. }
                | CallState::Connected { .. }
                | CallState::Transferred { .. }
                | CallState::Ending { .. },
                _,
            ) => {}
        }
    }

    /// Hangs up a callee. The agent in whose bridge it was seen gets nobody else before its end is confirmed.
    fn end_as_seen(&mut self, now: Now, attempt: AttemptId, why: Why, joined: Option<AgentId>) {
        self.end(now, attempt, why);
        let Some(seen) = joined.filter(|agent| self.is_idle(*agent)) else {
            return;
        };
        let Some(CallState::Ending {
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
        let state = CallState::Ending {
            agent: Some(seen),
            why,
            ask_again_at,
        };
        self.set_call(attempt, state);
    }

    /// Somebody who is none of our agents talks with this callee.
    fn found_with_others(&mut self, now: Now, up_since: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let (leg, state) = (call.leg, call.state);
        match state {
            CallState::Preparing { .. } | CallState::Transferred { .. } => {}
            // What we had asked for may have been lost with the link.
            CallState::Ending { why, .. } => self.end(now, attempt, why),
            // Answered unseen.
            CallState::Dialing { agent, .. } | CallState::Ringing { agent, .. } => {
                if let Some(kept) = agent {
                    self.free_agent(now, kept, attempt);
                }
                self.person_waits(now, up_since, attempt);
                self.transferred(now, leg);
            }
            CallState::Waiting { .. }
            | CallState::Connecting { .. }
            | CallState::Message { .. }
            | CallState::Connected { .. } => self.transferred(now, leg),
        }
    }

    /// Nobody has this callee whom we thought to be transferred, or an agent of ours does.
    fn transferred_alone(&mut self, now: Now, attempt: AttemptId, joined: Option<AgentId>) {
        match joined {
            // Found by a former run's books: the agent had two calls there, and this is the one that is on.
            Some(agent) if self.is_untied(agent) => {
                let silent_at = now.mono
                    + self.config.settings.dialing.ring_timeout()
                    + self.config.settings.dialing.call_duration_max()
                    + SILENCE_MARGIN;
                self.set_work(now, agent, Work::OnCall { attempt }, AgentReason::TakenOver);
                self.set_call(attempt, CallState::Connected { agent, silent_at });
            }
            Some(_) | None => self.end(now, attempt, Why::AgentLost),
        }
    }

    fn connect_again(&mut self, attempt: AttemptId, agent: AgentId) {
        let Some((leg, pbx)) = self.calls.get(&attempt).map(|c| (c.leg, c.pbx.clone())) else {
            return;
        };
        let Some(agent_leg) = self.agents.get(&agent).and_then(|a| a.phone.leg()) else {
            return;
        };
        self.tell(&pbx, crate::pbx::PbxCommand::Connect { leg, agent_leg });
    }

    /// A call of a former run still rings: it gets a free agent, or it is taken back before it can be abandoned.
    fn adopt_unanswered(&mut self, now: Now, attempt: AttemptId) {
        let Some((pbx, state)) = self.calls.get(&attempt).map(|c| (c.pbx.clone(), c.state)) else {
            return;
        };
        if self.is_paced_ahead(&pbx) {
            return;
        }
        let Some(agent) = self.longest_free(&pbx) else {
            return self.end(now, attempt, Why::TakenBack);
        };
        self.set_work(now, agent, Work::Reserved { attempt }, AgentReason::CallLaunched);
        match state {
            CallState::Dialing { silent_at, .. } => {
                self.set_call(
                    attempt,
                    CallState::Dialing {
                        agent: Some(agent),
                        silent_at,
                    },
                );
            }
            CallState::Ringing { silent_at, .. } => {
                self.set_call(
                    attempt,
                    CallState::Ringing {
                        agent: Some(agent),
                        silent_at,
                    },
                );
            }
            CallState::Preparing { .. }
            | CallState::Waiting { .. }
            | CallState::Connecting { .. }
            | CallState::Message { .. }
            | CallState::Connected { .. }
            | CallState::Transferred { .. }
            | CallState::Ending { .. } => {}
        }
    }
}

/// In which order calls are held against a snapshot: those who talk, by our books, first.
fn settled_as(state: CallState) -> u8 {
    match state {
        CallState::Connected { .. } => 0,
        CallState::Transferred { .. } => 1,
        CallState::Connecting { .. } => 2,
        CallState::Preparing { .. }
        | CallState::Dialing { .. }
        | CallState::Ringing { .. }
        | CallState::Waiting { .. }
        | CallState::Message { .. }
        | CallState::Ending { .. } => 3,
    }
}
