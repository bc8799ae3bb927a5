//! How an agent moves: logging in, the held leg and its recalls, work, wrap-up, going home.

use super::{ASK_AGAIN, Engine, EngineError, SILENCE_MARGIN, Timer};
use crate::agent::{Agent, AgentState, Phone, Wants, Work};
use crate::call::Why;
use crate::command::Change;
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName};
use crate::input::AgentRequest;
use crate::outcome::Outcome;
use crate::pbx::{EndedBy, LegEnd, PbxCommand};
use crate::time::Now;
use crate::verdict;
use rand::RngExt;
use std::time::Duration;

/// How often a phone that was lost or did not answer is called again before its agent is paused.
const RECALLS_MAX: u8 = 2;
/// The same for a phone that the switch could not reach at all: phones take minutes to register after a switch's restart.
const RECALLS_UNREACHED_MAX: u8 = 14;
/// Before the first call again, unless the phone had proved to be of use; doubles up to the other.
const RECALL_WAIT_MIN: Duration = Duration::from_secs(2);
const RECALL_WAIT_MAX: Duration = Duration::from_secs(30);
/// A phone held this long has proved to be of use.
const PROVED_AFTER: Duration = Duration::from_secs(60);

impl Engine {
    pub(super) fn agent_asks(
        &mut self,
        now: Now,
        id: AgentId,
        request: AgentRequest,
    ) -> Result<(), EngineError> {
        match request {
            AgentRequest::LogIn {
                pbx,
                template,
                extension,
            } => {
                if self.draining {
                    return Err(EngineError::Draining);
                }
                if let Some(agent) = self.agents.get(&id) {
                    if agent.pbx != pbx || agent.extension != extension {
                        return Err(EngineError::OtherPhone(id));
                    }
                    if agent.wants == Wants::LogOut {
                        self.set_wants(now, id, Wants::Pause);
                    }
                } else {
                    let phone = Phone::gone_since(now.mono);
                    let work = Work::Idle { since: now.mono };
                    let (wants, since) = (Wants::Pause, now.wall);
                    self.agents.insert(
                        id,
                        Agent {
                            id,
                            pbx,
                            template,
                            extension,
                            phone,
                            work,
                            wants,
                            since,
                        },
                    );
                }
                self.call_phone_afresh(now, id);
                Ok(())
            }
            AgentRequest::LogOut => {
                self.known(id)?;
                self.log_out(now, id);
                Ok(())
            }
            AgentRequest::Ready => {
                self.known(id)?;
                if self.draining {
                    return Err(EngineError::Draining);
                }
                self.end_wrap_up(now, id);
                self.set_wants(now, id, Wants::Calls);
                self.call_phone_afresh(now, id);
                Ok(())
            }
            AgentRequest::EndWrapUp => {
                self.known(id)?;
                self.end_wrap_up(now, id);
                self.leave_if_due(now, id);
                Ok(())
            }
            AgentRequest::HangUp => {
                self.known(id)?;
                match self.agents.get(&id).map(|a| a.work) {
                    Some(Work::OnCall { attempt }) => self.end(now, attempt, Why::AgentHungUp),
                    Some(Work::Idle { .. } | Work::Reserved { .. } | Work::WrapUp { .. }) | None => {
                        return Err(EngineError::NotOnCall(id));
                    }
                }
                Ok(())
            }
            AgentRequest::Pause => {
                self.known(id)?;
                if self.agents.get(&id).is_some_and(|a| a.wants == Wants::Calls) {
                    self.set_wants(now, id, Wants::Pause);
                }
                Ok(())
            }
        }
    }

    fn known(&self, id: AgentId) -> Result<(), EngineError> {
        if self.agents.contains_key(&id) {
            Ok(())
        } else {
            Err(EngineError::NotLoggedIn(id))
        }
    }

    pub(super) fn log_out(&mut self, now: Now, id: AgentId) {
        self.set_wants(now, id, Wants::LogOut);
        self.end_wrap_up(now, id);
        self.leave_if_due(now, id);
    }

    fn end_wrap_up(&mut self, now: Now, id: AgentId) {
        if let Some(Work::WrapUp { .. }) = self.agents.get(&id).map(|a| a.work) {
            self.set_work(now, id, Work::Idle { since: now.mono });
        }
    }

    /// An agent who wants to go home and has nothing left to do goes.
    pub(super) fn leave_if_due(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        if agent.wants != Wants::LogOut || !matches!(agent.work, Work::Idle { .. }) {
            return;
        }
        match agent.phone {
            Phone::Gone { .. } => {
                let deadline = agent.deadline();
                self.rearm(deadline, None, Timer::Agent(id));
                self.pace_agent(id, AgentState::Offline, false);
                self.agents.remove(&id);
                let state = AgentState::Offline;
                self.store(Change::Agent {
                    agent: id,
                    state,
                    pbx: None,
                    leg: None,
                    wants: Wants::Calls,
                    at: now.wall,
                });
            }
            Phone::Calling { .. } | Phone::Held { .. } => self.drop_phone(now, id),
            Phone::Leaving { .. } => {}
        }
    }

    pub(super) fn agent_ready(&mut self, now: Now, leg: AgentLegId) {
        let Some(id) = self.agent_of(leg) else { return };
        match self.agents.get(&id).map(|a| a.phone) {
            Some(Phone::Calling { recalls, .. }) => {
                self.set_phone(
                    now,
                    id,
                    Phone::Held {
                        leg,
                        recalls,
                        since: now.mono,
                    },
                );
                self.restart_idle(now, id);
            }
            Some(Phone::Gone { .. } | Phone::Held { .. } | Phone::Leaving { .. }) | None => {
                self.counts.stale += 1
            }
        }
    }

    pub(super) fn agent_ended(&mut self, now: Now, leg: AgentLegId, end: &LegEnd) {
        let Some(id) = self.agent_of(leg) else { return };
        let Some(agent) = self.agents.get(&id) else { return };
        let useful =
            matches!(agent.phone, Phone::Held { since, .. } if now.mono.since(since) >= PROVED_AFTER);
        let recalls = if useful { 0 } else { agent.phone.recalls() };
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

    /// What an agent kept for a call means to it once the phone is gone; then calls the phone again, or pauses the agent.
    fn lost_phone(&mut self, now: Now, id: AgentId) {
        match self.agents.get(&id).map(|a| a.work) {
            Some(Work::Reserved { attempt } | Work::OnCall { attempt }) => {
                self.call_lost_its_agent(now, attempt)
            }
            Some(Work::Idle { .. } | Work::WrapUp { .. }) | None => {}
        }
        self.leave_if_due(now, id);
        self.recall_phone(now, id);
    }

    /// Calls a phone that is gone, if it is time and it still may be.
    pub(super) fn recall_phone(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        let Phone::Gone { recalls, recall_at } = agent.phone else {
            return;
        };
        let Some(recall_at) = recall_at else {
            if agent.wants == Wants::Calls {
                self.set_wants(now, id, Wants::Pause);
            }
            return;
        };
        if agent.wants == Wants::LogOut {
            // Should the agent stay after all, the phone is called afresh.
            let recall_at = None;
            return self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        }
        if recall_at > now.mono {
            return;
        }
        if !self.links_up.contains(&agent.pbx) {
            // The next snapshot calls it, if it comes first.
            let recall_at = Some(now.mono + SILENCE_MARGIN);
            return self.set_phone(now, id, Phone::Gone { recalls, recall_at });
        }
        let (pbx, dial) = (agent.pbx.clone(), agent.template.render(&agent.extension));
        let leg = AgentLegId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
        let give_up_at = now.mono + self.config.agent_ring_timeout + SILENCE_MARGIN;
        self.agent_legs.insert(leg, id);
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
            ring_timeout: self.config.agent_ring_timeout,
            duration_max: self.config.agent_leg_duration_max,
        };
        self.tell(&pbx, command);
    }

    /// Somebody asked for this phone: earlier failures no longer count.
    fn call_phone_afresh(&mut self, now: Now, id: AgentId) {
        if let Some(Phone::Gone { .. }) = self.agents.get(&id).map(|a| a.phone) {
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

    /// Asks the switch to end the agent's leg.
    pub(super) fn drop_phone(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        let (recalls, pbx) = (agent.phone.recalls(), agent.pbx.clone());
        let Some(leg) = agent.phone.leg() else { return };
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

    pub(super) fn agent_due(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        let link_up = self.links_up.contains(&agent.pbx);
        match agent.phone {
            Phone::Calling { give_up_at, .. } if give_up_at <= now.mono && link_up => {
                self.drop_phone(now, id)
            }
            // While the link is down silence means nothing; the next snapshot will tell.
            Phone::Calling {
                leg,
                recalls,
                give_up_at,
            } if give_up_at <= now.mono => {
                let give_up_at = now.mono + SILENCE_MARGIN;
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
            Phone::Leaving {
                leg,
                recalls,
                ask_again_at,
            } if ask_again_at <= now.mono => {
                let pbx = agent.pbx.clone();
                self.set_phone(
                    now,
                    id,
                    Phone::Leaving {
                        leg,
                        recalls,
                        ask_again_at: now.mono + ASK_AGAIN,
                    },
                );
                if link_up {
                    self.tell(&pbx, PbxCommand::HangUpAgent { leg });
                }
            }
            Phone::Gone {
                recall_at: Some(at), ..
            } if at <= now.mono => self.recall_phone(now, id),
            Phone::Gone { .. } | Phone::Calling { .. } | Phone::Held { .. } | Phone::Leaving { .. } => {}
        }
        if let Some(Work::WrapUp { until, .. }) = self.agents.get(&id).map(|a| a.work)
            && until <= now.mono
        {
            self.set_work(now, id, Work::Idle { since: now.mono });
            self.leave_if_due(now, id);
        }
    }

    /// Lets go of an agent who is kept for this call, if so.
    pub(super) fn free_agent(&mut self, now: Now, id: AgentId, attempt: AttemptId) {
        match self.agents.get(&id).map(|a| a.work) {
            Some(Work::Reserved { attempt: theirs } | Work::OnCall { attempt: theirs })
                if theirs == attempt =>
            {
                self.set_work(now, id, Work::Idle { since: now.mono });
                self.leave_if_due(now, id);
            }
            Some(Work::Idle { .. } | Work::Reserved { .. } | Work::OnCall { .. } | Work::WrapUp { .. })
            | None => {}
        }
    }

    /// The agent on this switch who has been free longest.
    pub(super) fn longest_free(&self, pbx: &PbxName) -> Option<AgentId> {
        if !self.links_up.contains(pbx) {
            return None;
        }
        let here = |id: &AgentId| self.agents.get(id).is_some_and(|agent| &agent.pbx == pbx);
        self.free.iter().map(|(_, id)| *id).find(here)
    }

    /// Every free agent whose switch is up, the longest free first.
    pub(super) fn free_agents(&self) -> Vec<AgentId> {
        let up = |id: &AgentId| {
            self.agents
                .get(id)
                .is_some_and(|agent| self.links_up.contains(&agent.pbx))
        };
        self.free.iter().map(|(_, id)| *id).filter(up).collect()
    }

    fn restart_idle(&mut self, now: Now, id: AgentId) {
        if let Some(Work::Idle { .. }) = self.agents.get(&id).map(|a| a.work) {
            self.set_work(now, id, Work::Idle { since: now.mono });
        }
    }

    pub(super) fn set_work(&mut self, now: Now, id: AgentId, work: Work) {
        self.change_agent(now, id, |agent| agent.work = work);
    }

    fn set_wants(&mut self, now: Now, id: AgentId, wants: Wants) {
        self.change_agent(now, id, |agent| agent.wants = wants);
    }

    pub(super) fn set_phone(&mut self, now: Now, id: AgentId, phone: Phone) {
        if let Some(before) = self.agents.get(&id).and_then(|a| a.phone.leg())
            && phone.leg() != Some(before)
        {
            self.agent_legs.remove(&before);
        }
        self.change_agent(now, id, |agent| agent.phone = phone);
    }

    /// The one place where an agent changes: keeps timers and the time of the last change true, and stores what is
    /// needed after a crash (the leg, what the agent asked for) when that changed.
    fn change_agent(&mut self, now: Now, id: AgentId, change: impl FnOnce(&mut Agent)) {
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        let kept = |a: &Agent| (a.phone.leg(), a.wants);
        let leaving = |a: &Agent| a.wants != Wants::Calls;
        let (state, deadline, stored) = (agent.state(), agent.deadline(), kept(agent));
        if let Some(since) = agent.free_since() {
            self.free.remove(&(since, id));
        }
        change(agent);
        if let Some(since) = agent.free_since() {
            self.free.insert((since, id));
        }
        if agent.state() != state {
            agent.since = now.wall;
        }
        let (after, deadline_after) = (kept(agent), agent.deadline());
        let (state_after, leaving) = (agent.state(), leaving(agent));
        let stored_again = (after != stored).then(|| Change::Agent {
            agent: id,
            state: agent.state(),
            pbx: Some(agent.pbx.clone()),
            leg: after.0,
            wants: agent.wants,
            at: now.wall,
        });
        self.rearm(deadline, deadline_after, Timer::Agent(id));
        if state_after != state || after.1 != stored.1 {
            self.pace_agent(id, state_after, leaving);
        }
        if let Some(change) = stored_again {
            self.store(change);
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

/// Whether the switch never reached the phone.
fn unreached(end: &LegEnd) -> bool {
    !end.progressed
        && !end.answered
        && match end.by {
            EndedBy::Refused | EndedBy::NoRoom => true,
            EndedBy::Network => matches!(verdict::unanswered(end), Outcome::Failed | Outcome::Congestion),
            EndedBy::RingTimeout | EndedBy::Us | EndedBy::Vanished => false,
        }
}
