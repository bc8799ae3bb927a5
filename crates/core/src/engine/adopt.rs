//! What a former run left open, as the store tells it: agents and attempts are taken over when the engine starts. What became of
//! those whose legs may live, the first snapshot of each PBX says (`engine/links.rs`).

use super::attempts::look_at;
use super::{Engine, SILENCE_MARGIN, Timer};
use crate::agent::{Agent, AgentReason, Phone, Wants, Work};
use crate::attempt::{Attempt, AttemptState, Leg, Why};
use crate::input::{OpenAgent, OpenAttempt, Recovered};
use crate::time::{Now, Wall};

impl Engine {
    pub(super) fn adopt(&mut self, now: Now, mut recovered: Recovered) {
        for open in recovered.agents {
            self.adopt_agent(now, open);
        }
        // An agent may have transferred one callee and talk with the next: the newest is the agent's own.
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
            // The agent has had another one since: this one was transferred, or nobody saw its end.
            (Some(_), _) => AttemptState::Transferred {
                connected: true,
                silent_at: talk_until,
            },
            // Hears the message of the former run, or had to.
            (None, Some(_)) if open.abandoned_at.is_some() => AttemptState::Ending {
                agent: None,
                why: Why::Limit,
                ask_again_at: now.mono,
            },
            // Past its limit or not, the first snapshot says what has come of it.
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
            // Only an end that came at once was still being judged when the former run died.
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
                state,
            },
        );
        if open.leg_end.is_none() {
            self.pace_attempt(attempt, state);
        }
    }

    /// Attempts whose legs the former run saw the end of: they get their outcomes by the rules that it had, and the PBX is not
    /// asked about them.
    fn settle_ended(&mut self, now: Now, mut ended: Vec<OpenAttempt>) {
        ended.sort_by_key(|open| (open.leg_end.as_ref().map(|(at, _)| *at), open.attempt));
        for open in ended {
            // One at a time: a leg that ended later must not look as if it lived on.
            self.adopt_attempt(now, &open);
            let attempt = open.attempt;
            if let (Some(state), Some((at, end))) = (self.state_of(attempt), open.leg_end) {
                let outcome = self.unconnected(attempt, state.outcome(&end), at);
                self.after_leg(now, then(now, at), attempt, outcome, &end);
            }
        }
    }
}

/// Both clocks as they stood at a time that is in the store.
fn then(now: Now, at: Wall) -> Now {
    Now {
        mono: now.before(now.wall.since(at)).mono,
        wall: at,
    }
}
