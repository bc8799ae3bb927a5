//! An agent's steps: log in, take calls, wrap up, log out. The leg to the agent's phone is in `engine/phones.rs`.

use super::{ASK_AGAIN, Engine, EngineError, SILENCE_MARGIN, Timer};
use crate::agent::{Agent, AgentReason, AgentState, Phone, Wants, Work};
use crate::attempt::EndReason;
use crate::command::{Change, Command};
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::input::{AgentRequest, Asker};
use crate::pbx::PbxCommand;
use crate::time::Now;

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
                        self.set_wants(now, id, Wants::Pause, AgentReason::LoggedIn);
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
                            why_phone: AgentReason::LoggedIn,
                            why_wants: AgentReason::LoggedIn,
                            reason: AgentReason::LoggedIn,
                        },
                    );
                }
                self.call_phone_afresh(now, id, AgentReason::LoggedIn);
                Ok(())
            }
            AgentRequest::LogOut { by } => {
                self.known(id)?;
                let why = match by {
                    Asker::Agent => AgentReason::LoggedOut,
                    Asker::Supervisor => AgentReason::LoggedOutBySupervisor,
                };
                self.log_out(now, id, why);
                Ok(())
            }
            AgentRequest::Ready => {
                self.known(id)?;
                if self.draining {
                    return Err(EngineError::Draining);
                }
                self.end_wrap_up(now, id, AgentReason::AskedForCalls);
                self.set_wants(now, id, Wants::Calls, AgentReason::AskedForCalls);
                self.call_phone_afresh(now, id, AgentReason::AskedForCalls);
                Ok(())
            }
            AgentRequest::EndWrapUp => {
                self.known(id)?;
                self.end_wrap_up(now, id, AgentReason::WrapUpOver);
                self.leave_if_due(now, id);
                Ok(())
            }
            AgentRequest::HangUp => {
                self.known(id)?;
                match self.agents.get(&id).map(|a| a.work) {
                    Some(Work::OnCall { attempt }) => self.end(now, attempt, EndReason::AgentHungUp),
                    Some(Work::Idle { .. } | Work::Reserved { .. } | Work::WrapUp { .. }) | None => {
                        return Err(EngineError::NotOnCall(id));
                    }
                }
                Ok(())
            }
            AgentRequest::Pause => {
                self.known(id)?;
                if self.agents.get(&id).is_some_and(|a| a.wants == Wants::Calls) {
                    self.set_wants(now, id, Wants::Pause, AgentReason::AskedForPause);
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

    pub(super) fn log_out(&mut self, now: Now, id: AgentId, why: AgentReason) {
        self.set_wants(now, id, Wants::LogOut, why);
        self.end_wrap_up(now, id, why);
        self.leave_if_due(now, id);
    }

    fn end_wrap_up(&mut self, now: Now, id: AgentId, why: AgentReason) {
        if let Some(Work::WrapUp { .. }) = self.agents.get(&id).map(|a| a.work) {
            self.set_work(now, id, Work::Idle { since: now.mono }, why);
        }
    }

    /// Logs the agent out if the agent asked for it and has no call and no wrap-up. A leg to the phone is ended first.
    pub(super) fn leave_if_due(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        if agent.wants != Wants::LogOut || !matches!(agent.work, Work::Idle { .. }) {
            return;
        }
        match agent.phone {
            Phone::Gone { .. } => {
                let (deadline, reason) = (agent.deadline(), agent.why_wants);
                self.rearm(deadline, None, Timer::Agent(id));
                self.pace_agent(id, AgentState::Offline, false);
                let state = AgentState::Offline;
                self.agents.remove(&id);
                self.look_for_stranded = true;
                self.commands.push_back(Command::AgentIs {
                    agent: id,
                    state,
                    reason,
                });
                self.store(Change::Agent {
                    agent: id,
                    state,
                    pbx: None,
                    leg: None,
                    wants: Wants::Calls,
                    reason,
                    at: now.wall,
                });
            }
            Phone::Calling { .. } | Phone::Held { .. } => self.drop_phone(now, id, agent.why_wants),
            Phone::Leaving { .. } => {}
        }
    }

    pub(super) fn agent_due(&mut self, now: Now, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else { return };
        let link_up = self.links_up.contains(&agent.pbx);
        match agent.phone {
            Phone::Calling { give_up_at, .. } if give_up_at <= now.mono && link_up => {
                self.drop_phone(now, id, AgentReason::PhoneNoAnswer)
            }
            // While the link is down, a missing event proves nothing. The next snapshot decides.
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
            // The event of the leg's end was missed. A call would show that, but an agent on hold gets no call.
            Phone::Held { gone_by, .. }
                if gone_by <= now.mono && link_up && agent.work.attempt().is_none() =>
            {
                self.drop_phone(now, id, AgentReason::PhoneLost)
            }
            Phone::Held {
                leg,
                recalls,
                since,
                gone_by,
                trouble,
            } if gone_by <= now.mono => {
                let gone_by = now.mono + SILENCE_MARGIN;
                let phone = Phone::Held {
                    leg,
                    recalls,
                    since,
                    gone_by,
                    trouble,
                };
                self.set_phone(now, id, phone);
            }
            Phone::Gone { .. } | Phone::Calling { .. } | Phone::Held { .. } | Phone::Leaving { .. } => {}
        }
        if let Some(Work::WrapUp { until, .. }) = self.agents.get(&id).map(|a| a.work)
            && until <= now.mono
        {
            self.set_work(now, id, Work::Idle { since: now.mono }, AgentReason::WrapUpOver);
            self.leave_if_due(now, id);
        }
    }

    /// Frees an agent who is reserved for this attempt or in a call with it. No wrap-up follows.
    pub(super) fn free_agent(&mut self, now: Now, id: AgentId, attempt: AttemptId) {
        match self.agents.get(&id).map(|a| a.work) {
            Some(Work::Reserved { attempt: theirs } | Work::OnCall { attempt: theirs })
                if theirs == attempt =>
            {
                self.set_work(
                    now,
                    id,
                    Work::Idle { since: now.mono },
                    AgentReason::CallNotConnected,
                );
                self.leave_if_due(now, id);
            }
            Some(Work::Idle { .. } | Work::Reserved { .. } | Work::OnCall { .. } | Work::WrapUp { .. })
            | None => {}
        }
    }

    /// The agent on this PBX who has been free longest. `None` if none is free or the link is down.
    pub(super) fn longest_free(&self, pbx: &PbxName) -> Option<AgentId> {
        if !self.links_up.contains(pbx) {
            return None;
        }
        let here = |id: &AgentId| self.agents.get(id).is_some_and(|agent| &agent.pbx == pbx);
        self.free.iter().map(|(_, id)| *id).find(here)
    }

    /// Every free agent whose PBX is up, the longest free first.
    pub(super) fn free_agents(&self) -> Vec<AgentId> {
        let up = |id: &AgentId| {
            self.agents
                .get(id)
                .is_some_and(|agent| self.links_up.contains(&agent.pbx))
        };
        self.free.iter().map(|(_, id)| *id).filter(up).collect()
    }

    pub(super) fn set_work(&mut self, now: Now, id: AgentId, work: Work, why: AgentReason) {
        self.change_agent(now, id, why, |agent| agent.work = work);
    }

    pub(super) fn set_wants(&mut self, now: Now, id: AgentId, wants: Wants, why: AgentReason) {
        self.change_agent(now, id, why, |agent| {
            agent.wants = wants;
            agent.why_wants = why;
        });
    }

    pub(super) fn set_phone(&mut self, now: Now, id: AgentId, phone: Phone) {
        if let Some(before) = self.agents.get(&id).and_then(|a| a.phone.leg())
            && phone.leg() != Some(before)
        {
            self.agent_legs.remove(&before);
        }
        let why = match phone {
            Phone::Held { trouble: None, .. } => AgentReason::PhoneAnswered,
            Phone::Held {
                trouble: Some(trouble),
                ..
            } => trouble.into(),
            Phone::Gone { .. } | Phone::Calling { .. } | Phone::Leaving { .. } => self
                .agents
                .get(&id)
                .map_or(AgentReason::PhoneLost, |a| a.why_phone),
        };
        self.change_agent(now, id, why, |agent| agent.phone = phone);
    }

    /// The only place that changes an agent. It updates the timers and the time of the last change. If the leg or the
    /// agent's request changed, it stores them, because they are needed after a crash.
    pub(super) fn change_agent(
        &mut self,
        now: Now,
        id: AgentId,
        why: AgentReason,
        change: impl FnOnce(&mut Agent),
    ) {
        self.look_for_stranded = true;
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        let kept = |a: &Agent| (a.phone.leg(), a.wants);
        let leaving = |a: &Agent| a.wants != Wants::Calls;
        let serves =
            |a: &Agent| a.wants == Wants::Calls && matches!(a.phone, Phone::Held { trouble: None, .. });
        let served = serves(agent);
        let (state, deadline, stored) = (agent.state(), agent.deadline(), kept(agent));
        if let Some(since) = agent.free_since() {
            self.free.remove(&(since, id));
        }
        change(agent);
        if let Some(since) = agent.free_since() {
            self.free.insert((since, id));
        }
        let (changed, reason) = (agent.state() != state, agent.reason);
        if changed {
            agent.since = now.wall;
        }
        agent.reason = agent.reason_after(why, changed);
        if changed || agent.reason != reason {
            self.commands.push_back(Command::AgentIs {
                agent: id,
                state: agent.state(),
                reason: agent.reason,
            });
        }
        if served && !serves(agent) {
            self.surplus_at = Some(now.mono);
        }
        let (after, deadline_after) = (kept(agent), agent.deadline());
        let (state_after, leaving) = (agent.state(), leaving(agent));
        let stored_again = (after != stored).then(|| Change::Agent {
            agent: id,
            state: agent.state(),
            pbx: Some(agent.pbx.clone()),
            leg: after.0,
            wants: agent.wants,
            reason: agent.reason,
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
}
