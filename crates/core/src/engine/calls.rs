//! How an attempt moves: from dialed to answered, ended. How it is connected is `engine/connects.rs`.

use super::full::Probe;
use super::{ASK_AGAIN, CATCH_UP, Engine, EngineError, SILENCE_MARGIN, Timer};
use crate::agent::{AgentReason, Work};
use crate::call::{CallState, Why};
use crate::command::Change;
use crate::ids::{AgentId, AttemptId, LegId};
use crate::input::Prepared;
use crate::outcome::{MessageResult, Outcome};
use crate::pbx::{EndedBy, LegEnd, PbxCommand, Progress};
use crate::retry;
use crate::time::{Mono, Now, Wall};
use std::time::Duration;

/// How long the store's word that a call is allowed holds good.
const PREPARED_MAX: Duration = Duration::from_secs(120);

/// While the link is down, an answered call that is over its limit is looked at again after this.
const LINK_DOWN_WAIT: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn prepared(
        &mut self,
        now: Now,
        attempt: AttemptId,
        result: Prepared,
    ) -> Result<(), EngineError> {
        let Some(call) = self.calls.get(&attempt) else {
            return Err(EngineError::NotAsked(attempt));
        };
        let CallState::Preparing { agent, wanted } = call.state else {
            return Err(EngineError::NotAsked(attempt));
        };
        self.store_fails = result == Prepared::Failed;
        match result {
            // Nothing is dialed on a word given long ago: the hours may have ended since.
            Prepared::Allowed
                if wanted
                    && self.active
                    && !self.clock_doubted
                    && now.mono.since(call.launched_at) <= PREPARED_MAX
                    && self.links_up.contains(&call.pbx)
                    && !self.is_maintained(&call.pbx) =>
            {
                self.dial(now, attempt, agent)
            }
            Prepared::Allowed => {
                let end = LegEnd {
                    by: EndedBy::Refused,
                    detail: "not dialed: nobody needed it any more, or the link was lost".to_owned(),
                    ..LegEnd::default()
                };
                self.settle(now, now, attempt, Outcome::Cancelled, end);
            }
            Prepared::Refused => self.forget(now, attempt),
            Prepared::Failed => {
                self.store_failed(now);
                self.forget(now, attempt);
            }
        }
        Ok(())
    }

    fn dial(&mut self, now: Now, attempt: AttemptId, agent: Option<AgentId>) {
        let silent_at = now.mono + self.config.settings.dialing.ring_timeout() + SILENCE_MARGIN;
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let Some(trunk) = self.config.trunks.iter().find(|t| t.id == call.trunk) else {
            let detail = "the trunk was removed from the campaign".to_owned();
            let end = LegEnd {
                by: EndedBy::Refused,
                detail,
                ..LegEnd::default()
            };
            return self.settle(now, now, attempt, Outcome::Failed, end);
        };
        let command = PbxCommand::CallContact {
            leg: call.leg,
            dial: trunk.dial.render(&call.lead.number),
            caller_id: trunk.caller_id.clone(),
            ring_timeout: self.config.settings.dialing.ring_timeout(),
            duration_max: self.config.settings.dialing.ring_timeout()
                + self.config.settings.dialing.call_duration_max(),
        };
        let pbx = call.pbx.clone();
        if let Some(call) = self.calls.get_mut(&attempt) {
            call.launched_at = now.mono;
        }
        self.counts.launched += 1;
        self.set_call(attempt, CallState::Dialing { agent, silent_at });
        self.tell(&pbx, command);
    }

    pub(super) fn progressed(&mut self, now: Now, leg: LegId, kind: Progress) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        self.leg_lives(now, attempt);
        match self.state_of(attempt) {
            Some(CallState::Dialing { agent, silent_at }) => {
                if let Some(call) = self.calls.get_mut(&attempt) {
                    call.rang_at = Some(now.mono);
                }
                self.set_call(attempt, CallState::Ringing { agent, silent_at });
                self.store(Change::LegProgressed {
                    attempt,
                    leg,
                    kind,
                    at: now.wall,
                });
            }
            // A second sign of life, or one overtaken by what it led to.
            Some(
                CallState::Preparing { .. }
                | CallState::Ringing { .. }
                | CallState::Waiting { .. }
                | CallState::Connecting { .. }
                | CallState::Message { .. }
                | CallState::Connected { .. }
                | CallState::Transferred { .. }
                | CallState::Ending { .. },
            )
            | None => self.counts.stale += 1,
        }
    }

    /// `then`: when it was answered, by the PBX's own time.
    pub(super) fn answered(&mut self, now: Now, then: Now, leg: LegId) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match self.state_of(attempt) {
            Some(CallState::Dialing { agent, .. } | CallState::Ringing { agent, .. }) => {
                self.person_waits(now, then, attempt);
                self.serve(now, attempt, agent);
            }
            Some(CallState::Ending {
                agent,
                why: Why::TakenBack | Why::SilentUnanswered | Why::Missing,
                ask_again_at,
            }) => {
                self.note_answer(then, attempt);
                self.give_up(now, attempt);
                self.set_call(
                    attempt,
                    CallState::Ending {
                        agent,
                        why: Why::TakenBackAnswered,
                        ask_again_at,
                    },
                );
            }
            Some(
                CallState::Preparing { .. }
                | CallState::Waiting { .. }
                | CallState::Connecting { .. }
                | CallState::Message { .. }
                | CallState::Connected { .. }
                | CallState::Transferred { .. }
                | CallState::Ending { .. },
            )
            | None => self.counts.stale += 1,
        }
    }

    /// A sign of life: the PBX had room for the leg, and its trunk works.
    fn leg_lives(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let (trunk, dialed_at, pbx) = (call.trunk, call.launched_at, call.pbx.clone());
        self.switch_had_room(now, &pbx, Probe::Call(attempt), true);
        if let Some(breaker) = self.breakers.get_mut(&trunk)
            && breaker.lives(dialed_at)
        {
            self.trust(trunk);
        }
    }

    /// A person answered at `then`, which may be long ago.
    pub(super) fn person_waits(&mut self, now: Now, then: Now, attempt: AttemptId) {
        self.leg_lives(now, attempt);
        let Some(answered) = self.note_answer(then, attempt) else {
            return;
        };
        let limit_at = answered.mono + self.config.settings.answering.connect_limit();
        let look_at = look_at(now, limit_at);
        self.set_call(attempt, CallState::Waiting { limit_at, look_at });
    }

    /// Keeps when it was answered, which is after it was asked for.
    fn note_answer(&mut self, then: Now, attempt: AttemptId) -> Option<Now> {
        let call = self.calls.get_mut(&attempt)?;
        let answered = *call
            .answered
            .get_or_insert(then.no_earlier_than(call.launched_at));
        let leg = call.leg;
        self.store(Change::Answered {
            attempt,
            leg,
            at: answered.wall,
        });
        Some(answered)
    }

    /// The person is abandoned from now on, unless an agent was there.
    pub(super) fn give_up(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get_mut(&attempt) else {
            return;
        };
        if call.answered.is_none() || call.connected_at.is_some() || call.abandoned_at.is_some() {
            return;
        }
        let at = call.wall_at(now);
        call.abandoned_at = Some(at);
        self.store(Change::Abandoned { attempt, at });
        self.count_answer(attempt, None);
    }

    /// `then`: when it ended, by the PBX's own time.
    pub(super) fn ended(&mut self, now: Now, then: Now, leg: LegId, end: LegEnd) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        let Some(state) = self.state_of(attempt) else {
            return;
        };
        if matches!(state, CallState::Preparing { .. }) {
            self.counts.stale += 1;
            return;
        }
        if let (Some(taken), Some(pbx)) = (end.was_taken(), self.calls.get(&attempt).map(|c| c.pbx.clone())) {
            self.switch_had_room(now, &pbx, Probe::Call(attempt), taken);
        }
        if let CallState::Message { asked_at, .. } = state {
            self.note_message(attempt, MessageResult::CutShort, asked_at);
        }
        let outcome = state.outcome(&end);
        self.settle(now, then, attempt, outcome, end);
    }

    /// The agent of this call lost the phone.
    pub(super) fn call_lost_its_agent(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let pbx = call.pbx.clone();
        match call.state {
            CallState::Preparing {
                agent: Some(agent),
                wanted: true,
            } => {
                let other = self.replacement(now, agent, attempt, &pbx);
                let state = CallState::Preparing {
                    agent: other.or(Some(agent)),
                    wanted: other.is_some(),
                };
                self.set_call(attempt, state);
            }
            CallState::Dialing {
                agent: Some(agent),
                silent_at,
            } => match self.replacement(now, agent, attempt, &pbx) {
                Some(other) => self.set_call(
                    attempt,
                    CallState::Dialing {
                        agent: Some(other),
                        silent_at,
                    },
                ),
                None => self.end(now, attempt, Why::TakenBack),
            },
            CallState::Ringing {
                agent: Some(agent),
                silent_at,
            } => match self.replacement(now, agent, attempt, &pbx) {
                Some(other) => self.set_call(
                    attempt,
                    CallState::Ringing {
                        agent: Some(other),
                        silent_at,
                    },
                ),
                None => self.end(now, attempt, Why::TakenBack),
            },
            CallState::Connecting { agent, limit_at, .. } => {
                let look_at = limit_at;
                self.set_call(attempt, CallState::Waiting { limit_at, look_at });
                self.free_agent(now, agent, attempt);
            }
            CallState::Connected { .. } => self.end(now, attempt, Why::AgentLost),
            CallState::Preparing { .. }
            | CallState::Dialing { agent: None, .. }
            | CallState::Ringing { agent: None, .. }
            | CallState::Waiting { .. }
            | CallState::Message { .. }
            | CallState::Transferred { .. }
            | CallState::Ending { .. } => {}
        }
    }

    /// Frees an agent who cannot serve this call, and reserves another one who can.
    fn replacement(
        &mut self,
        now: Now,
        agent: AgentId,
        attempt: AttemptId,
        pbx: &crate::ids::PbxName,
    ) -> Option<AgentId> {
        let other = self.longest_free(pbx)?;
        self.free_agent(now, agent, attempt);
        self.set_work(now, other, Work::Reserved { attempt }, AgentReason::CallLaunched);
        Some(other)
    }

    /// Asks the switch to end a call. An agent for whom the switch was never asked to join is free at once.
    pub(super) fn end(&mut self, now: Now, attempt: AttemptId, why: Why) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let (leg, pbx, state) = (call.leg, call.pbx.clone(), call.state);
        match why {
            Why::Limit | Why::TakenBackAnswered => self.give_up(now, attempt),
            Why::TakenBack
            | Why::AgentHungUp
            | Why::AgentLost
            | Why::CalleeGone { .. }
            | Why::SilentUnanswered
            | Why::Missing
            | Why::SilentConnected => {}
        }
        let agent = match state {
            CallState::Connecting { agent, .. } | CallState::Connected { agent, .. } => Some(agent),
            CallState::Ending { agent, .. } => agent,
            CallState::Preparing { agent, .. }
            | CallState::Dialing { agent, .. }
            | CallState::Ringing { agent, .. } => {
                if let Some(agent) = agent {
                    self.free_agent(now, agent, attempt);
                }
                None
            }
            CallState::Waiting { .. } | CallState::Message { .. } | CallState::Transferred { .. } => None,
        };
        let ask_again_at = now.mono + ASK_AGAIN;
        self.set_call(
            attempt,
            CallState::Ending {
                agent,
                why,
                ask_again_at,
            },
        );
        self.tell(&pbx, PbxCommand::HangUp { leg });
    }

    pub(super) fn call_due(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let due = call.state.deadline().is_some_and(|at| at <= now.mono);
        let link_up = self.links_up.contains(&call.pbx);
        // While the link is down silence means nothing; the next snapshot will tell.
        let silent_at = now.mono + SILENCE_MARGIN;
        match call.state {
            _ if !due => {}
            CallState::Preparing { .. } => {}
            CallState::Dialing { .. } | CallState::Ringing { .. } if link_up => {
                self.end(now, attempt, Why::SilentUnanswered);
            }
            CallState::Dialing { agent, .. } => {
                self.set_call(attempt, CallState::Dialing { agent, silent_at })
            }
            CallState::Ringing { agent, .. } => {
                self.set_call(attempt, CallState::Ringing { agent, silent_at })
            }
            CallState::Waiting { .. } if link_up => self.abandon(now, attempt),
            // Whether the two are joined by now is not known: nothing is played to both.
            CallState::Connecting { .. } if link_up => self.end(now, attempt, Why::Limit),
            CallState::Message { broken: true, .. } => self.message_over(now, attempt, MessageResult::Failed),
            CallState::Message { .. } => self.message_over(now, attempt, MessageResult::CutShort),
            // They may be talking by now: the next snapshot tells, and nobody can be hung up on before it.
            CallState::Waiting { limit_at, .. } => {
                let look_at = now.mono + LINK_DOWN_WAIT;
                self.set_call(attempt, CallState::Waiting { limit_at, look_at })
            }
            CallState::Connecting { agent, limit_at, .. } => {
                let look_at = now.mono + LINK_DOWN_WAIT;
                let state = CallState::Connecting {
                    agent,
                    limit_at,
                    look_at,
                };
                self.set_call(attempt, state)
            }
            CallState::Connected { .. } | CallState::Transferred { connected: true, .. } if link_up => {
                self.end(now, attempt, Why::SilentConnected)
            }
            CallState::Transferred { connected: false, .. } if link_up => self.end(now, attempt, Why::Limit),
            CallState::Transferred { connected, .. } => {
                self.set_call(attempt, CallState::Transferred { connected, silent_at })
            }
            CallState::Connected { agent, .. } => {
                self.set_call(attempt, CallState::Connected { agent, silent_at })
            }
            CallState::Ending { agent, why, .. } => {
                let (leg, pbx) = (call.leg, call.pbx.clone());
                self.set_call(
                    attempt,
                    CallState::Ending {
                        agent,
                        why,
                        ask_again_at: now.mono + ASK_AGAIN,
                    },
                );
                if link_up {
                    self.tell(&pbx, PbxCommand::HangUp { leg });
                }
            }
        }
    }

    /// What has come of an answer without an agent: past the limit it is abandoned, whoever ended it.
    fn unconnected(&self, attempt: AttemptId, outcome: Outcome, ended_at: Wall) -> Outcome {
        let Some(call) = self.calls.get(&attempt) else {
            return outcome;
        };
        match (call.answered, call.connected_at, call.abandoned_at) {
            (None, _, _) | (_, Some(_), _) => outcome,
            (Some(_), None, Some(_)) => Outcome::Abandoned,
            (Some(answered), None, None)
                if ended_at.since(answered.wall) > self.config.settings.answering.connect_limit() =>
            {
                Outcome::Abandoned
            }
            (Some(_), None, None) => outcome,
        }
    }

    /// The attempt is over, since `then`: stores its end and lets its agent go.
    fn settle(&mut self, now: Now, then: Now, attempt: AttemptId, outcome: Outcome, end: LegEnd) {
        let Some(state) = self.state_of(attempt) else {
            return;
        };
        let lost_unseen = matches!(outcome, Outcome::Abandoned | Outcome::Unknown) && end.answered;
        if lost_unseen && self.calls.get(&attempt).is_some_and(|c| c.answered.is_none()) {
            // Nobody saw when: its end is all that is known.
            self.note_answer(then, attempt);
        }
        let then = match state {
            CallState::Ending {
                why: Why::CalleeGone { since },
                ..
            } if since.mono < then.mono => since,
            _ => then,
        };
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let at = call.wall_at(then);
        let outcome = self.unconnected(attempt, outcome, at);
        self.count_answer(attempt, Some((at, outcome)));
        let Some(call) = self.calls.get(&attempt) else {
            return;
        };
        let next = retry::after(outcome, end.by, &call.lead);
        let trunk = call.trunk;
        let call = call.clone();
        let blame = self.judge_trunk(now, then, &call, outcome, &end);
        let change = Change::Ended {
            attempt,
            leg: call.leg,
            task: call.lead.task,
            contact: call.lead.contact,
            outcome,
            end,
            at,
            retry_at: next.wait.map(|wait| now.wall.plus(wait)),
            spends_try: next.spends_try,
        };
        self.pace_ended(attempt, outcome);
        self.store_end(now, trunk, blame, change);
        self.forget(now, attempt);
    }

    fn forget(&mut self, now: Now, attempt: AttemptId) {
        let Some(call) = self.calls.remove(&attempt) else {
            return;
        };
        self.look_for_stranded |= self.is_maintained(&call.pbx);
        self.legs.remove(&call.leg);
        self.waiting.remove(&attempt);
        if let Some(breaker) = self
            .breakers
            .get_mut(&call.trunk)
            .filter(|_| is_unheard(call.state))
        {
            breaker.heard();
        }
        self.rearm(call.state.deadline(), None, Timer::Call(attempt));
        if let Some(agent) = call.state.agent() {
            self.let_go(now, agent, attempt);
        }
    }

    /// The call is over for this agent.
    pub(super) fn let_go(&mut self, now: Now, agent: AgentId, attempt: AttemptId) {
        match self.agents.get(&agent).map(|a| a.work) {
            Some(Work::OnCall { attempt: theirs }) if theirs == attempt => {
                self.wrap_up(now, agent, attempt, AgentReason::CallEnded);
            }
            _ => self.free_agent(now, agent, attempt),
        }
    }

    /// The conversation is over for this agent.
    pub(super) fn wrap_up(&mut self, now: Now, agent: AgentId, attempt: AttemptId, why: AgentReason) {
        let until = now.mono + self.config.settings.agents.wrap_up();
        self.set_work(now, agent, Work::WrapUp { attempt, until }, why);
        self.renew_if_deaf(now, agent);
        self.agent_due(now, agent);
    }

    pub(super) fn set_call(&mut self, attempt: AttemptId, state: CallState) {
        let Some(call) = self.calls.get_mut(&attempt) else {
            return;
        };
        let before = std::mem::replace(&mut call.state, state);
        self.look_for_stranded |= self.maintained.contains(&call.pbx);
        if let Some(breaker) = self.breakers.get_mut(&call.trunk)
            && is_unheard(before)
            && !is_unheard(state)
        {
            breaker.heard();
        }
        self.pace_call(attempt, state);
        if matches!(state, CallState::Waiting { .. }) {
            self.waiting.insert(attempt);
        } else {
            self.waiting.remove(&attempt);
        }
        self.rearm(before.deadline(), state.deadline(), Timer::Call(attempt));
    }

    pub(super) fn state_of(&self, attempt: AttemptId) -> Option<CallState> {
        self.calls.get(&attempt).map(|call| call.state)
    }

    pub(super) fn attempt_of(&mut self, leg: LegId) -> Option<AttemptId> {
        let attempt = self.legs.get(&leg).copied();
        if attempt.is_none() {
            self.counts.stale += 1;
        }
        attempt
    }
}

/// When to look at somebody who waits. Past the limit not at once: what has come of it may be in the next events.
pub(super) fn look_at(now: Now, limit_at: Mono) -> Mono {
    if limit_at <= now.mono {
        now.mono + CATCH_UP
    } else {
        limit_at
    }
}

/// Whether nothing has been heard of a call yet.
fn is_unheard(state: CallState) -> bool {
    matches!(state, CallState::Preparing { .. } | CallState::Dialing { .. })
}
