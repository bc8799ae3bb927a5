//! Takes over the agents and attempts that a former run left open, as the store reports them at the start. If their legs
//! may still be up, the first snapshot of each PBX shows what happened to them (`engine/links.rs`).

use super::attempts::look_at;
use super::{Engine, SILENCE_MARGIN, Timer};
use crate::agent::{Agent, AgentReason, Phone, Wants, Work};
use crate::attempt::{Attempt, AttemptState, Leg};
use crate::input::{LastCall, OpenAgent, OpenAttempt, Recovered};
use crate::time::{Now, Wall};
use std::time::Duration;

impl Engine {
    pub(super) fn adopt(&mut self, now: Now, mut recovered: Recovered) {
        for mut open in recovered.agents {
            // A later conversation shows that the wrap-up is over.
            let talks_since = |last: &LastCall| {
                let mut connected = recovered.attempts.iter().filter_map(|attempt| attempt.connected);
                connected.any(|(at, agent)| agent == open.agent && at >= last.ended_at)
            };
            if open.last_call.as_ref().is_some_and(talks_since) {
                open.last_call = None;
            }
            self.adopt_agent(now, open);
        }
        // An agent may have transferred one callee and talk with the next. The newest call is the agent's own, so it comes
        // first.
        recovered
            .attempts
            .sort_by_key(|open| std::cmp::Reverse(open.connected.map(|(at, _)| at)));
        let (ended, alive): (Vec<OpenAttempt>, Vec<OpenAttempt>) = recovered
            .attempts
            .into_iter()
            .partition(|open| open.leg_end.is_some());
        for open in alive {
            self.adopt_attempt(now, &open);
        }
        self.settle_ended(now, ended);
    }

    fn adopt_agent(&mut self, now: Now, open: OpenAgent) {
        let work = self.work_left(now, &open);
        // Only the snapshot shows whether the leg is held.
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
            work,
            wants: open.wants,
            since: now.wall,
            why_phone: AgentReason::TakenOver,
            // The store does not keep who asked for it.
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

    /// The rest of the wrap-up after the agent's last conversation. An agent who is logging out gets none.
    fn work_left(&self, now: Now, open: &OpenAgent) -> Work {
        let wrap_up = self.config.settings.agents.wrap_up();
        let rest = open.last_call.map_or(Duration::ZERO, |last| {
            wrap_up.saturating_sub(now.wall.since(last.ended_at))
        });
        match (open.last_call, open.wants) {
            (Some(last), Wants::Calls | Wants::Pause) if !rest.is_zero() => Work::WrapUp {
                attempt: last.attempt,
                until: now.mono + rest,
            },
            (Some(_) | None, Wants::Calls | Wants::Pause | Wants::LogOut) => Work::Idle { since: now.mono },
        }
    }

    fn adopt_attempt(&mut self, now: Now, open: &OpenAttempt) {
        let attempt = open.attempt;
        let silent_at = now.mono + self.config.settings.dialing.ring_timeout() + SILENCE_MARGIN;
        let talk_until = silent_at + self.config.settings.dialing.call_duration_max();
        let answered = open.answered_at.map(|at| then(now, at));
        let state = match (open.connected, answered) {
            (Some((_, agent)), _) if self.is_idle(agent) => {
                self.set_work(now, agent, Work::OnCall { attempt }, AgentReason::TakenOver);
                AttemptState::Connected {
                    agent,
                    silent_at: talk_until,
                }
            }
            // The agent has another, newer call. This one was transferred, or its end was missed.
            (Some(_), _) => AttemptState::Transferred {
                connected: true,
                silent_at: talk_until,
            },
            // The former run abandoned this callee, and it may have heard the message. It gets no second one. If the first
            // snapshot does not show it with a colleague, it is hung up.
            (None, Some(_)) if open.abandoned_at.is_some() => AttemptState::Transferred {
                connected: false,
                silent_at: talk_until,
            },
            // Even if the limit has passed, the first snapshot decides: an agent may have been connected.
            (None, Some(answered)) => {
                let limit_at = answered.mono + self.config.settings.answering.connect_limit();
                AttemptState::Waiting {
                    limit_at,
                    look_at: look_at(now, limit_at),
                }
            }
            (None, None) => AttemptState::Dialing {
                agent: None,
                silent_at,
            },
        };
        let leg = Leg {
            id: open.leg,
            pbx: open.pbx.clone(),
            trunk: open.trunk,
            // Only the trunk's judgement keeps an attempt open after its leg's end, and only a leg that ended at once is
            // judged. So the time of its end is near enough.
            launched_at: match &open.leg_end {
                Some((ended_at, _)) => then(now, *ended_at).mono,
                None => then(now, open.created_at).mono,
            },
            rang_at: None,
        };
        self.legs.insert(leg.id, attempt);
        if matches!(state, AttemptState::Waiting { .. }) {
            self.waiting.insert(attempt);
        }
        self.rearm(None, state.deadline(), Timer::Attempt(attempt));
        self.attempts.insert(
            attempt,
            Attempt {
                id: attempt,
                lead: open.lead.clone(),
                leg,
                answered,
                connected_at: open.connected.map(|(at, _)| at),
                abandoned_at: open.abandoned_at,
                opted_out: false,
                state,
            },
        );
        if open.leg_end.is_none() {
            self.pace_attempt(attempt, state);
        }
    }

    /// Attempts whose legs had ended in the former run. Their outcomes follow the same rules as there, and the PBX is not
    /// asked about them.
    fn settle_ended(&mut self, now: Now, mut ended: Vec<OpenAttempt>) {
        ended.sort_by_key(|open| (open.leg_end.as_ref().map(|(at, _)| *at), open.attempt));
        for open in ended {
            // One at a time: otherwise the other legs, which have ended too, would look as if they were up.
            self.adopt_attempt(now, &open);
            let attempt = open.attempt;
            if let (Some(state), Some((at, end))) = (self.state_of(attempt), open.leg_end) {
                let outcome = self.unconnected(attempt, state.outcome(&end), at);
                self.after_leg(now, then(now, at), attempt, outcome, &end);
            }
        }
    }
}

/// Both clocks at a wall time from the store.
fn then(now: Now, at: Wall) -> Now {
    Now {
        mono: now.before(now.wall.since(at)).mono,
        wall: at,
    }
}
