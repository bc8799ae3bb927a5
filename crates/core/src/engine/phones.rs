//! The held leg to an agent's phone: when the phone is called again, and what the phone does by itself.

use super::full::Probe;
use super::{ASK_AGAIN, Engine, SILENCE_MARGIN};
use crate::agent::{Agent, AgentReason, Phone, Wants, Work};
use crate::attempt::AttemptState;
use crate::ids::{AgentId, AgentLegId};
use crate::outcome::Outcome;
use crate::pbx::{Departure, EndedBy, LegEnd, LegTrouble, PbxCommand};
use crate::time::{Mono, Now};
use crate::verdict;
use rand::RngExt;
use std::time::Duration;

/// A phone that was lost or did not answer is called again this many times before its agent is paused.
const RECALLS_MAX: u8 = 2;
/// The same for a phone that the PBX could not reach: phones take minutes to register after the PBX restarts.
const RECALLS_UNREACHED_MAX: u8 = 14;
/// Wait before the first repeated call. It doubles with each further one, up to `RECALL_WAIT_MAX`. A phone that has proved
/// to work is called again without a wait.
const RECALL_WAIT_MIN: Duration = Duration::from_secs(2);
const RECALL_WAIT_MAX: Duration = Duration::from_secs(30);
/// A phone whose leg was held this long has proved to work.
const PROVED_AFTER: Duration = Duration::from_secs(60);

impl Engine {
    pub(super) fn agent_ready(&mut self, now: Now, leg: AgentLegId) {
        let Some(id) = self.agent_of(leg) else { return };
        if let Some(pbx) = self.agents.get(&id).map(|a| a.pbx.clone()) {
            self.pbx_had_room(now, &pbx, Probe::Phone(leg), true);
        }
        match self.agents.get(&id).map(|a| a.phone) {
            Some(Phone::Calling { recalls, .. }) => {
                let gone_by = now.mono + self.config.settings.agents.leg_duration_max() + SILENCE_MARGIN;
                self.set_phone(
                    now,
                    id,
                    Phone::Held {
                        leg,
                        recalls,
                        since: now.mono,
                        gone_by,
                        trouble: None,
                    },
                );
                self.restart_idle(now, id, AgentReason::PhoneAnswered);
            }
            Some(Phone::Gone { .. } | Phone::Held { .. } | Phone::Leaving { .. }) | None => {
                self.counts.stale += 1
            }
        }
    }

    pub(super) fn agent_ended(&mut self, now: Now, leg: AgentLegId, end: &LegEnd) {
        let Some(id) = self.agent_of(leg) else { return };
        let Some(pbx) = self.agents.get(&id).map(|agent| agent.pbx.clone()) else {
            return;
        };
        if let Some(taken) = end.was_taken() {
            self.pbx_had_room(now, &pbx, Probe::Phone(leg), taken);
        }
        let maintained = self.is_maintained(&pbx);
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        let recalls = match (agent.phone, end.by) {
            _ if maintained => 0,
            // The PBX takes no calls. That is not a failure of the phone.
            (Phone::Calling { recalls, .. }, EndedBy::NoRoom) => recalls.saturating_sub(1),
            (phone, _) => recalls_kept(now, phone),
        };
        match agent.phone {
            // The reason for our hang-up says more than the end.
            Phone::Leaving { .. } => {}
            Phone::Held { .. } => agent.why_phone = held_ended(end),
            Phone::Gone { .. } | Phone::Calling { .. } => agent.why_phone = unheld_ended(end),
        }
        let recalls_max = if unreached(end) {
            RECALLS_UNREACHED_MAX
        } else {
            RECALLS_MAX
        };
        let wait = match recalls {
            0 => Duration::ZERO,
            n => (RECALL_WAIT_MIN * (1 << (n - 1).min(8))).min(RECALL_WAIT_MAX),
        };
        let recall_at = (recalls <= recalls_max).then(|| now.mono + wait);
        self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        self.lost_phone(now, id);
    }

    /// The phone's leg is gone. Releases the agent's call, then calls the phone again, pauses the agent, or logs the agent
    /// out.
    fn lost_phone(&mut self, now: Now, id: AgentId) {
        self.release_call(now, id);
        self.leave_if_due(now, id);
        self.recall_phone(now, id);
    }

    /// Calls a phone that has no leg, if it is time and if it may be called again. Otherwise waits, or pauses the agent.
    pub(super) fn recall_phone(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        let Phone::Gone { recalls, recall_at } = agent.phone else {
            return;
        };
        let Some(recall_at) = recall_at else {
            if agent.wants == Wants::Calls {
                self.set_wants(now, id, Wants::Pause, agent.why_phone);
            }
            return;
        };
        if agent.wants == Wants::LogOut {
            // If the agent asks to stay, that request calls the phone.
            let recall_at = None;
            return self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        }
        if recall_at > now.mono {
            return;
        }
        if self.is_maintained(&agent.pbx) {
            // If the maintenance ends before that, its end calls the phone.
            return self.put_off_recall(now, id, AgentReason::PbxMaintenance, now.mono + SILENCE_MARGIN);
        }
        if !self.links_up.contains(&agent.pbx) {
            // If a snapshot arrives before that, it calls the phone.
            let recall_at = Some(now.mono + SILENCE_MARGIN);
            return self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        }
        if let Some(until) = self.full_until(now, &agent.pbx) {
            return self.put_off_recall(now, id, AgentReason::PbxFull, until);
        }
        let (pbx, dial) = (agent.pbx.clone(), agent.template.render(&agent.extension));
        let leg = AgentLegId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
        let give_up_at = now.mono + self.config.settings.agents.ring_timeout() + SILENCE_MARGIN;
        self.agent_legs.insert(leg, id);
        self.probes_if_full(now, &pbx, Probe::Phone(leg));
        self.set_phone(
            now,
            id,
            Phone::Calling {
                leg,
                recalls: recalls.saturating_add(1),
                give_up_at,
            },
        );
        let command = PbxCommand::CallAgent {
            leg,
            dial,
            caller_id: None,
            ring_timeout: self.config.settings.agents.ring_timeout(),
            duration_max: self.config.settings.agents.leg_duration_max(),
            report_keys: self.config.settings.suppression.opt_out_digit.is_some(),
        };
        self.tell(&pbx, command);
    }

    fn put_off_recall(&mut self, now: Now, id: AgentId, why: AgentReason, until: Mono) {
        if let Some(agent) = self.agents.get_mut(&id)
            && let Phone::Gone { recalls, .. } = agent.phone
        {
            agent.why_phone = why;
            let recall_at = Some(until);
            self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        }
    }

    /// Calls a phone at once that is waiting for its next call.
    pub(super) fn recall_phone_now(&mut self, now: Now, id: AgentId) {
        if let Some(Phone::Gone {
            recalls,
            recall_at: Some(_),
        }) = self.agents.get(&id).map(|agent| agent.phone)
        {
            let recall_at = Some(now.mono);
            self.set_phone(now, id, Phone::Gone { recalls, recall_at });
            self.recall_phone(now, id);
        }
    }

    /// Calls the phone because a request needs it. Earlier failures no longer count.
    pub(super) fn call_phone_afresh(&mut self, now: Now, id: AgentId, why: AgentReason) {
        if let Some(agent) = self.agents.get_mut(&id)
            && matches!(agent.phone, Phone::Gone { .. })
        {
            agent.why_phone = why;
            self.set_phone(now, id, Phone::gone_since(now.mono));
            self.recall_phone(now, id);
        }
    }

    /// The phone took part in a call: earlier failures no longer count.
    pub(super) fn phone_proved(&mut self, id: AgentId) {
        if let Some(Agent {
            phone: Phone::Held { recalls, .. },
            ..
        }) = self.agents.get_mut(&id)
        {
            *recalls = 0;
        }
    }

    /// The agent's leg left its bridge. The engine releases the agent's call, ends the leg and calls the phone again.
    pub(super) fn agent_left(&mut self, now: Now, leg: AgentLegId, how: Departure) {
        let Some(id) = self.agent_of(leg) else { return };
        match self.agents.get(&id).map(|a| a.phone) {
            Some(Phone::Held { .. } | Phone::Calling { .. }) => {
                self.drop_phone(now, id, how.into());
                self.release_call(now, id);
            }
            // The leg has ended, or its end was requested already.
            Some(Phone::Gone { .. } | Phone::Leaving { .. }) | None => self.counts.stale += 1,
        }
    }

    /// Handles a change of the phone's trouble; `None`: it is over. If the phone is on hold, the engine waits. With any
    /// other trouble it ends the leg and calls the phone again, but not during a conversation, because only the callee
    /// should end that.
    pub(super) fn agent_troubled(&mut self, now: Now, leg: AgentLegId, reported: Option<LegTrouble>) {
        let Some(id) = self.agent_of(leg) else { return };
        let Some(Agent { phone, work, .. }) = self.agents.get(&id) else {
            return;
        };
        let (
            Phone::Held {
                recalls,
                since,
                gone_by,
                trouble,
                ..
            },
            work,
        ) = (*phone, *work)
        else {
            self.counts.stale += 1;
            return;
        };
        if trouble == reported {
            return;
        }
        let phone = Phone::Held {
            leg,
            recalls,
            since,
            gone_by,
            trouble: reported,
        };
        self.set_phone(now, id, phone);
        let Some(trouble) = reported else {
            return self.restart_idle(now, id, AgentReason::PhoneBack);
        };
        if let Work::Reserved { attempt } = work {
            // The PBX may already be moving a callee into this bridge, and the callee must not stay there alone.
            if let Some(AttemptState::Connecting { .. }) = self.state_of(attempt) {
                self.drop_phone(now, id, trouble.into());
            }
            self.release_call(now, id);
        }
        self.renew_if_deaf(now, id);
    }

    /// Ends the leg of a phone that cannot be heard or reached, so that the phone is called again. A phone on hold keeps
    /// its leg, and so does an agent in a conversation.
    pub(super) fn renew_if_deaf(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        match (agent.phone, agent.work) {
            (
                Phone::Held {
                    trouble: Some(trouble),
                    ..
                },
                Work::Idle { .. } | Work::WrapUp { .. } | Work::Reserved { .. },
            ) => match trouble {
                LegTrouble::Unreachable | LegTrouble::NoAudio => self.drop_phone(now, id, trouble.into()),
                LegTrouble::OnHold => {}
            },
            (
                Phone::Held { .. },
                Work::OnCall { .. } | Work::Idle { .. } | Work::WrapUp { .. } | Work::Reserved { .. },
            )
            | (Phone::Gone { .. } | Phone::Calling { .. } | Phone::Leaving { .. }, _) => {}
        }
    }

    /// Takes the agent out of the call that the agent is reserved for or talks in.
    fn release_call(&mut self, now: Now, id: AgentId) {
        match self.agents.get(&id).map(|a| a.work) {
            Some(Work::Reserved { attempt } | Work::OnCall { attempt }) => {
                self.attempt_lost_its_agent(now, attempt)
            }
            Some(Work::Idle { .. } | Work::WrapUp { .. }) | None => {}
        }
    }

    /// Asks the PBX to end the agent's leg.
    pub(super) fn drop_phone(&mut self, now: Now, id: AgentId, why: AgentReason) {
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        let (recalls, pbx) = (recalls_kept(now, agent.phone), agent.pbx.clone());
        let Some(leg) = agent.phone.leg() else { return };
        if !matches!(agent.phone, Phone::Leaving { .. }) {
            agent.why_phone = why;
        }
        self.set_phone(
            now,
            id,
            Phone::Leaving {
                leg,
                recalls,
                ask_again_at: now.mono + ASK_AGAIN,
            },
        );
        self.tell(&pbx, PbxCommand::HangUpAgent { leg });
    }

    /// The phone can be used now. An idle agent counts as free from now on.
    fn restart_idle(&mut self, now: Now, id: AgentId, why: AgentReason) {
        if let Some(Work::Idle { .. }) = self.agents.get(&id).map(|a| a.work) {
            self.set_work(now, id, Work::Idle { since: now.mono }, why);
        }
    }

    fn agent_of(&mut self, leg: AgentLegId) -> Option<AgentId> {
        let id = self.agent_legs.get(&leg).copied();
        if id.is_none() {
            self.counts.stale += 1;
        }
        id
    }
}

/// True if the PBX never reached the phone.
fn unreached(end: &LegEnd) -> bool {
    !end.progressed
        && !end.answered
        && match end.by {
            EndedBy::Refused | EndedBy::NoRoom | EndedBy::Stopped => true,
            EndedBy::Network => matches!(verdict::unanswered(end), Outcome::Failed | Outcome::Congestion),
            EndedBy::RingTimeout | EndedBy::Us | EndedBy::Vanished | EndedBy::TakenAway => false,
        }
}

/// True if the PBX ended the leg because no audio came from the phone: Asterisk's `rtp_timeout` gives cause 44 (measured on
/// 22.10 and 16.28), and the FreeSWITCH driver reports the same for `media_timeout`.
fn was_silent(end: &LegEnd) -> bool {
    end.answered && end.q850 == Some(44)
}

/// The number of calls to this phone since it last proved to work.
fn recalls_kept(now: Now, phone: Phone) -> u8 {
    match phone {
        Phone::Held { since, .. } if now.mono.since(since) >= PROVED_AFTER => 0,
        Phone::Gone { .. } | Phone::Calling { .. } | Phone::Held { .. } | Phone::Leaving { .. } => {
            phone.recalls()
        }
    }
}

/// The reason to show after a held leg ended.
fn held_ended(end: &LegEnd) -> AgentReason {
    match end.by {
        EndedBy::Network if was_silent(end) => AgentReason::PhoneNoAudio,
        EndedBy::Network | EndedBy::RingTimeout | EndedBy::Us | EndedBy::Refused | EndedBy::NoRoom => {
            AgentReason::PhoneHungUp
        }
        EndedBy::Stopped => AgentReason::PbxStopped,
        EndedBy::Vanished => AgentReason::PhoneLost,
        EndedBy::TakenAway => AgentReason::PhoneMoved,
    }
}

/// The reason to show after a call to the phone ended before the leg was held.
fn unheld_ended(end: &LegEnd) -> AgentReason {
    match end.by {
        EndedBy::Vanished => AgentReason::PhoneLost,
        EndedBy::TakenAway => AgentReason::PhoneMoved,
        EndedBy::NoRoom => AgentReason::PbxFull,
        EndedBy::Stopped => AgentReason::PbxStopped,
        EndedBy::Refused => AgentReason::PhoneUnreachable,
        EndedBy::RingTimeout if end.progressed => AgentReason::PhoneNoAnswer,
        EndedBy::RingTimeout => AgentReason::PhoneUnreachable,
        EndedBy::Us | EndedBy::Network if end.answered => AgentReason::PhoneHungUp,
        EndedBy::Us => AgentReason::PhoneNoAnswer,
        EndedBy::Network => match verdict::unanswered(end) {
            Outcome::Busy => AgentReason::PhoneBusy,
            Outcome::Rejected => AgentReason::PhoneDeclined,
            Outcome::NoAnswer => AgentReason::PhoneNoAnswer,
            Outcome::Answered
            | Outcome::Machine
            | Outcome::Invalid
            | Outcome::Congestion
            | Outcome::Failed
            | Outcome::Fax
            | Outcome::Screened
            | Outcome::Abandoned
            | Outcome::Cancelled
            | Outcome::Blocked
            | Outcome::Unknown => AgentReason::PhoneUnreachable,
        },
    }
}
