//! The steps of an attempt and its leg: dialed, answered, ended. `engine/connects.rs` connects it to an agent.

use super::full::Probe;
use super::{ASK_AGAIN, CATCH_UP, Engine, EngineError, SILENCE_MARGIN, Timer};
use crate::agent::{AgentReason, Work};
use crate::attempt::{AttemptState, EndReason, Ended, Leg};
use crate::command::Change;
use crate::ids::{AgentId, AttemptId, LegId};
use crate::input::Prepared;
use crate::outcome::{MessageResult, Outcome};
use crate::pbx::{EndedBy, LegEnd, PbxCommand, Progress};
use crate::time::{Mono, Now, Wall};
use std::time::Duration;

/// The store's answer that a call is allowed is valid for this long after the launch, and only while the settings and trunks are
/// those that the gate was asked with.
const PREPARED_MAX: Duration = Duration::from_secs(120);

/// The detail of a leg that was cancelled because of an opt-out.
const OPTED_OUT: &str = "cancelled: the number was put on a do-not-call list";

/// While the link is down, the engine looks at an answered call past its limit at this interval.
const LINK_DOWN_WAIT: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn prepared(
        &mut self,
        now: Now,
        attempt: AttemptId,
        result: Prepared,
    ) -> Result<(), EngineError> {
        let Some(open) = self.attempts.get(&attempt) else {
            return Err(EngineError::NotAsked(attempt));
        };
        let AttemptState::Preparing { agent, wanted } = open.state else {
            return Err(EngineError::NotAsked(attempt));
        };
        self.store_fails = result == Prepared::Failed;
        match result {
            // An old permission is not used: the calling hours may have ended since.
            Prepared::Allowed
                if wanted
                    && self.active
                    && !self.clock_doubted
                    && now.mono.since(open.leg.launched_at) <= PREPARED_MAX
                    && open.leg.launched_at >= self.configured_at
                    && self.links_up.contains(&open.leg.pbx)
                    && !self.is_maintained(&open.leg.pbx) =>
            {
                self.dial(now, attempt, agent)
            }
            Prepared::Allowed => {
                let end = LegEnd {
                    by: EndedBy::Refused,
                    detail: "not dialed: its agent was gone, the link to the PBX was down, or the permission was too old".to_owned(),
                    ..LegEnd::default()
                };
                self.leg_over(now, now, attempt, Outcome::Cancelled, end);
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
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let Some(trunk) = self.config.trunks.iter().find(|t| t.id == open.leg.trunk) else {
            let detail = "the trunk was removed from the campaign".to_owned();
            let end = LegEnd {
                by: EndedBy::Refused,
                detail,
                ..LegEnd::default()
            };
            return self.leg_over(now, now, attempt, Outcome::Failed, end);
        };
        let command = PbxCommand::CallContact {
            leg: open.leg.id,
            dial: trunk.dial.render(&open.lead.number),
            caller_id: trunk.caller_id.clone(),
            ring_timeout: self.config.settings.dialing.ring_timeout(),
            duration_max: self.config.settings.dialing.ring_timeout()
                + self.config.settings.dialing.call_duration_max(),
        };
        let pbx = open.leg.pbx.clone();
        if let Some(open) = self.attempts.get_mut(&attempt) {
            open.leg.launched_at = now.mono;
        }
        self.counts.launched += 1;
        self.set_state(attempt, AttemptState::Dialing { agent, silent_at });
        self.tell(&pbx, command);
    }

    pub(super) fn progressed(&mut self, now: Now, leg: LegId, kind: Progress) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        self.leg_lives(now, attempt);
        match self.state_of(attempt) {
            Some(AttemptState::Dialing { agent, silent_at }) => {
                if let Some(open) = self.attempts.get_mut(&attempt) {
                    open.leg.rang_at = Some(now.mono);
                }
                self.set_state(attempt, AttemptState::Ringing { agent, silent_at });
                self.store(Change::LegProgressed {
                    attempt,
                    leg,
                    kind,
                    at: now.wall,
                });
            }
            // A duplicate event, or a late one.
            Some(
                AttemptState::Preparing { .. }
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

    /// `then`: time when the PBX saw the answer. Its event may have arrived later.
    pub(super) fn answered(&mut self, now: Now, then: Now, leg: LegId) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match self.state_of(attempt) {
            Some(AttemptState::Dialing { agent, .. } | AttemptState::Ringing { agent, .. }) => {
                self.person_waits(now, then, attempt);
                self.serve(now, attempt, agent);
            }
            Some(AttemptState::Ending {
                agent,
                why: EndReason::Cancelled | EndReason::SilentUnanswered | EndReason::Missing,
                ask_again_at,
            }) => {
                self.note_answer(then, attempt);
                self.give_up(now, attempt);
                self.set_state(
                    attempt,
                    AttemptState::Ending {
                        agent,
                        why: EndReason::AnsweredMeanwhile,
                        ask_again_at,
                    },
                );
            }
            Some(
                AttemptState::Preparing { .. }
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

    /// The leg rings or is answered, so the PBX had room for it and its trunk works.
    fn leg_lives(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let Leg {
            id,
            pbx,
            trunk,
            launched_at,
            ..
        } = open.leg.clone();
        self.pbx_had_room(now, &pbx, Probe::Callee(id), true);
        if let Some(breaker) = self.breakers.get_mut(&trunk)
            && breaker.lives(launched_at)
        {
            self.trust(now, trunk);
        }
    }

    /// The callee answered at `then`, which may be long ago, and has no agent yet.
    pub(super) fn person_waits(&mut self, now: Now, then: Now, attempt: AttemptId) {
        self.leg_lives(now, attempt);
        let Some(answered) = self.note_answer(then, attempt) else {
            return;
        };
        let limit_at = answered.mono + self.config.settings.answering.connect_limit();
        let look_at = look_at(now, limit_at);
        self.set_state(attempt, AttemptState::Waiting { limit_at, look_at });
    }

    /// Stores the time of the callee's answer. The first answer counts, and it is never earlier than the launch.
    fn note_answer(&mut self, then: Now, attempt: AttemptId) -> Option<Now> {
        let open = self.attempts.get_mut(&attempt)?;
        let answered = *open
            .answered
            .get_or_insert(then.no_earlier_than(open.leg.launched_at));
        let leg = open.leg.id;
        self.store(Change::Answered {
            attempt,
            leg,
            at: answered.wall,
        });
        Some(answered)
    }

    /// Marks an answered callee as abandoned from now on, unless an agent was connected.
    pub(super) fn give_up(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get_mut(&attempt) else {
            return;
        };
        if open.answered.is_none() || open.connected_at.is_some() || open.abandoned_at.is_some() {
            return;
        }
        let at = open.wall_at(now);
        open.abandoned_at = Some(at);
        self.store(Change::Abandoned { attempt, at });
        self.count_answer(attempt, None);
    }

    /// `then`: time when the PBX saw the end. Its event may have arrived later.
    pub(super) fn leg_ended(&mut self, now: Now, then: Now, leg: LegId, end: LegEnd) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let (state, pbx) = (open.state, open.leg.pbx.clone());
        if matches!(state, AttemptState::Preparing { .. }) {
            self.counts.stale += 1;
            return;
        }
        if let Some(taken) = end.was_taken() {
            self.pbx_had_room(now, &pbx, Probe::Callee(leg), taken);
        }
        if let AttemptState::Message { asked_at, .. } = state {
            self.note_message(attempt, MessageResult::CutShort, asked_at);
        }
        self.leg_over(now, then, attempt, state.outcome(&end), end);
    }

    /// The agent of this attempt cannot take the call any more, because the phone's leg was lost or has a trouble.
    pub(super) fn attempt_lost_its_agent(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        match open.state {
            AttemptState::Preparing {
                agent: Some(agent),
                wanted,
            } => self.let_agent_go(
                now,
                attempt,
                agent,
                AttemptState::Preparing { agent: None, wanted },
            ),
            AttemptState::Dialing {
                agent: Some(agent),
                silent_at,
            } => {
                let state = AttemptState::Dialing {
                    agent: None,
                    silent_at,
                };
                self.let_agent_go(now, attempt, agent, state)
            }
            AttemptState::Ringing {
                agent: Some(agent),
                silent_at,
            } => {
                let state = AttemptState::Ringing {
                    agent: None,
                    silent_at,
                };
                self.let_agent_go(now, attempt, agent, state)
            }
            AttemptState::Connecting { agent, limit_at, .. } => {
                let look_at = limit_at;
                self.set_state(attempt, AttemptState::Waiting { limit_at, look_at });
                self.free_agent(now, agent, attempt);
            }
            AttemptState::Connected { .. } => self.end(now, attempt, EndReason::AgentLost),
            AttemptState::Preparing { agent: None, .. }
            | AttemptState::Dialing { agent: None, .. }
            | AttemptState::Ringing { agent: None, .. }
            | AttemptState::Waiting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Transferred { .. }
            | AttemptState::Ending { .. } => {}
        }
    }

    /// Frees an agent who cannot serve this attempt. Once the present input is handled, `engine/stranded.rs` reserves
    /// another agent for the attempt or cancels it.
    fn let_agent_go(&mut self, now: Now, attempt: AttemptId, agent: AgentId, state: AttemptState) {
        self.set_state(attempt, state);
        self.free_agent(now, agent, attempt);
        self.look_for_stranded = true;
    }

    /// Asks the PBX to end the leg. An agent is freed at once if the PBX was not asked to connect the two. Otherwise the
    /// agent is kept until the end is confirmed.
    pub(super) fn end(&mut self, now: Now, attempt: AttemptId, why: EndReason) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let (leg, pbx, state) = (open.leg.id, open.leg.pbx.clone(), open.state);
        match why {
            EndReason::Limit | EndReason::AnsweredMeanwhile => self.give_up(now, attempt),
            EndReason::Cancelled
            | EndReason::AgentHungUp
            | EndReason::AgentLost
            | EndReason::CalleeGone { .. }
            | EndReason::SilentUnanswered
            | EndReason::Missing
            | EndReason::SilentConnected => {}
        }
        let agent = match state {
            AttemptState::Connecting { agent, .. } | AttemptState::Connected { agent, .. } => Some(agent),
            AttemptState::Ending { agent, .. } => agent,
            AttemptState::Preparing { agent, .. }
            | AttemptState::Dialing { agent, .. }
            | AttemptState::Ringing { agent, .. } => {
                if let Some(agent) = agent {
                    self.free_agent(now, agent, attempt);
                }
                None
            }
            AttemptState::Waiting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Transferred { .. } => None,
        };
        let ask_again_at = now.mono + ASK_AGAIN;
        self.set_state(
            attempt,
            AttemptState::Ending {
                agent,
                why,
                ask_again_at,
            },
        );
        self.tell(&pbx, PbxCommand::HangUp { leg });
    }

    pub(super) fn attempt_due(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let due = open.state.deadline().is_some_and(|at| at <= now.mono);
        let link_up = self.links_up.contains(&open.leg.pbx);
        // While the link is down, a missing event proves nothing. The next snapshot decides.
        let silent_at = now.mono + SILENCE_MARGIN;
        match open.state {
            _ if !due => {}
            AttemptState::Preparing { .. } => {}
            AttemptState::Dialing { .. } | AttemptState::Ringing { .. } if link_up => {
                self.end(now, attempt, EndReason::SilentUnanswered);
            }
            AttemptState::Dialing { agent, .. } => {
                self.set_state(attempt, AttemptState::Dialing { agent, silent_at })
            }
            AttemptState::Ringing { agent, .. } => {
                self.set_state(attempt, AttemptState::Ringing { agent, silent_at })
            }
            AttemptState::Waiting { .. } if link_up => self.abandon(now, attempt),
            // Callee and agent may be connected by now, and the message must not be played to both.
            AttemptState::Connecting { .. } if link_up => self.end(now, attempt, EndReason::Limit),
            AttemptState::Message { broken: true, .. } => {
                self.message_over(now, attempt, MessageResult::Failed)
            }
            AttemptState::Message { .. } => self.message_over(now, attempt, MessageResult::CutShort),
            // Callee and agent may be talking by now. The next snapshot decides; before it, a hang-up could not be sent
            // anyway.
            AttemptState::Waiting { limit_at, .. } => {
                let look_at = now.mono + LINK_DOWN_WAIT;
                self.set_state(attempt, AttemptState::Waiting { limit_at, look_at })
            }
            AttemptState::Connecting { agent, limit_at, .. } => {
                let look_at = now.mono + LINK_DOWN_WAIT;
                let state = AttemptState::Connecting {
                    agent,
                    limit_at,
                    look_at,
                };
                self.set_state(attempt, state)
            }
            AttemptState::Connected { .. } | AttemptState::Transferred { connected: true, .. } if link_up => {
                self.end(now, attempt, EndReason::SilentConnected)
            }
            AttemptState::Transferred { connected: false, .. } if link_up => {
                self.end(now, attempt, EndReason::Limit)
            }
            AttemptState::Transferred { connected, .. } => {
                self.set_state(attempt, AttemptState::Transferred { connected, silent_at })
            }
            AttemptState::Connected { agent, .. } => {
                self.set_state(attempt, AttemptState::Connected { agent, silent_at })
            }
            AttemptState::Ending { agent, why, .. } => {
                let (leg, pbx) = (open.leg.id, open.leg.pbx.clone());
                self.set_state(
                    attempt,
                    AttemptState::Ending {
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

    /// The outcome of the attempt; `outcome` is the one that its state gives. An answered attempt without an agent is
    /// abandoned if it ended past the limit, for any cause of the end.
    pub(super) fn unconnected(&self, attempt: AttemptId, outcome: Outcome, ended_at: Wall) -> Outcome {
        let Some(open) = self.attempts.get(&attempt) else {
            return outcome;
        };
        match (open.answered, open.connected_at, open.abandoned_at) {
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

    /// The attempt's leg ended at `then`. The end is stored at once, so that a crash cannot lose it.
    fn leg_over(&mut self, now: Now, then: Now, attempt: AttemptId, outcome: Outcome, mut end: LegEnd) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let lost_unseen = matches!(outcome, Outcome::Abandoned | Outcome::Unknown) && end.answered;
        let (leg, state, is_unanswered) = (open.leg.id, open.state, open.answered.is_none());
        if lost_unseen && is_unanswered {
            // The answer was missed, so only the time of the end is known.
            self.note_answer(then, attempt);
        }
        let then = match state {
            AttemptState::Ending {
                why: EndReason::CalleeGone { since },
                ..
            } if since.mono < then.mono => since,
            _ => then,
        };
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let at = open.wall_at(then);
        if open.opted_out && outcome == Outcome::Cancelled {
            end.detail = OPTED_OUT.to_owned();
        }
        let change = Change::LegEnded {
            attempt,
            leg,
            end: end.clone(),
            at,
        };
        self.store(change);
        let outcome = self.unconnected(attempt, outcome, at);
        self.pace_ended(attempt, outcome);
        self.after_leg(now, Now { wall: at, ..then }, attempt, outcome, &end);
    }

    /// Handles a leg whose end is stored: the attempt ends now, or once its trunk is judged.
    pub(super) fn after_leg(
        &mut self,
        now: Now,
        then: Now,
        attempt: AttemptId,
        outcome: Outcome,
        end: &LegEnd,
    ) {
        self.count_answer(attempt, Some((then.wall, outcome)));
        let Some(open) = self.attempts.get(&attempt).cloned() else {
            return;
        };
        let blame = self.judge_trunk(now, then, &open, outcome, end);
        let ended = Ended {
            attempt,
            lead: open.lead,
            leg: open.leg.id,
            by: end.by,
            outcome,
            opted_out: open.opted_out,
            at: then.wall,
        };
        self.end_attempt(now, open.leg.trunk, blame, ended);
        self.forget(now, attempt);
    }

    fn forget(&mut self, now: Now, attempt: AttemptId) {
        let Some(open) = self.attempts.remove(&attempt) else {
            return;
        };
        self.look_for_stranded |= self.is_maintained(&open.leg.pbx);
        self.legs.remove(&open.leg.id);
        self.waiting.remove(&attempt);
        if let Some(breaker) = self
            .breakers
            .get_mut(&open.leg.trunk)
            .filter(|_| is_unheard(open.state))
        {
            breaker.heard();
        }
        self.rearm(open.state.deadline(), None, Timer::Attempt(attempt));
        if let Some(agent) = open.state.agent() {
            self.let_go(now, agent, attempt);
        }
    }

    /// Releases the agent from this attempt. Wrap-up follows only if the agent was in a call.
    pub(super) fn let_go(&mut self, now: Now, agent: AgentId, attempt: AttemptId) {
        match self.agents.get(&agent).map(|a| a.work) {
            Some(Work::OnCall { attempt: theirs }) if theirs == attempt => {
                self.wrap_up(now, agent, attempt, AgentReason::CallEnded);
            }
            _ => self.free_agent(now, agent, attempt),
        }
    }

    /// Ends the conversation for this agent and starts the wrap-up.
    pub(super) fn wrap_up(&mut self, now: Now, agent: AgentId, attempt: AttemptId, why: AgentReason) {
        let until = now.mono + self.config.settings.agents.wrap_up();
        self.set_work(now, agent, Work::WrapUp { attempt, until }, why);
        self.renew_if_deaf(now, agent);
        self.agent_due(now, agent);
    }

    pub(super) fn set_state(&mut self, attempt: AttemptId, state: AttemptState) {
        let Some(open) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let before = std::mem::replace(&mut open.state, state);
        self.look_for_stranded |= self.maintained.contains(&open.leg.pbx);
        if let Some(breaker) = self.breakers.get_mut(&open.leg.trunk)
            && is_unheard(before)
            && !is_unheard(state)
        {
            breaker.heard();
        }
        self.pace_attempt(attempt, state);
        if matches!(state, AttemptState::Waiting { .. }) {
            self.waiting.insert(attempt);
        } else {
            self.waiting.remove(&attempt);
        }
        self.rearm(before.deadline(), state.deadline(), Timer::Attempt(attempt));
    }

    pub(super) fn state_of(&self, attempt: AttemptId) -> Option<AttemptState> {
        self.attempts.get(&attempt).map(|open| open.state)
    }

    pub(super) fn attempt_of(&mut self, leg: LegId) -> Option<AttemptId> {
        let attempt = self.legs.get(&leg).copied();
        if attempt.is_none() {
            self.counts.stale += 1;
        }
        attempt
    }
}

/// Time of the next check of a waiting callee. If the limit has passed, the time is a little later than now, because the
/// next events may show that the callee was connected or has hung up.
pub(super) fn look_at(now: Now, limit_at: Mono) -> Mono {
    if limit_at <= now.mono {
        now.mono + CATCH_UP
    } else {
        limit_at
    }
}

/// True if no event of the leg has arrived yet.
fn is_unheard(state: AttemptState) -> bool {
    matches!(
        state,
        AttemptState::Preparing { .. } | AttemptState::Dialing { .. }
    )
}
