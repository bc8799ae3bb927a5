//! Joins callees with agents, and reports a join when the two talk.

use super::moves::PARK_WAIT_MAX;
use super::{JOIN_BEGINS_MAX, JOIN_WAIT_MAX, Legs};
use crate::esl::command;
use crate::esl::leg::{Join, Leg, Place, Presence, Side, Stage};
use crate::esl::outbox::{Look, OnReply};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, PbxEvent};
use std::time::Instant;
use uuid::Uuid;

struct Parked(bool);

impl Legs {
    pub(super) fn connect(&mut self, leg: LegId, agent_leg: AgentLegId, now: Instant) {
        let callee = self.legs.get(&leg.0).map(Leg::answered);
        let agent = self.legs.get(&agent_leg.0).map(|agent| {
            (
                agent.answered() && agent.phone.presence != Presence::Left,
                agent.join.with(),
            )
        });
        let callee = callee.filter(|_| {
            self.legs
                .get(&leg.0)
                .is_some_and(|leg| !matches!(leg.join, Join::Elsewhere { .. }))
        });
        let fault = match (callee, agent) {
            (_, None | Some((false, _))) => Some(ConnectFault::AgentGone),
            (None | Some(false), _) => Some(ConnectFault::CalleeGone),
            // A join now would end the conversation with its present callee. A callee that has ended does not count.
            (_, Some((true, Some(other)))) if other != leg.0 && self.legs.contains_key(&other) => {
                Some(ConnectFault::Refused)
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.out.events.push_back(PbxEvent::ConnectFailed {
                leg,
                agent_leg,
                fault,
            });
            return;
        }
        for (one, other) in [(leg.0, agent_leg.0), (agent_leg.0, leg.0)] {
            if let Some(one) = self.legs.get_mut(&one) {
                one.join = Join::Wanted { with: other };
            }
        }
        self.join_if_parked(leg.0, agent_leg.0, now);
    }

    pub(super) fn join_if_parked(&mut self, callee: Uuid, agent: Uuid, now: Instant) {
        let parked = |id| self.legs.get(&id).is_some_and(Leg::is_parked);
        if !parked(callee) || !parked(agent) {
            return;
        }
        let until = now + JOIN_WAIT_MAX;
        for (one, other) in [(callee, agent), (agent, callee)] {
            if let Some(one) = self.legs.get_mut(&one) {
                one.join = Join::Asked { with: other, until };
            }
        }
        self.joins.insert((until, callee), ());
        self.out.ask(OnReply::Nothing, command::hold_once_left(callee));
        self.out.ask(
            OnReply::Joined(LegId(callee), AgentLegId(agent)),
            command::join(callee, agent),
        );
    }

    /// `Some` for a callee whose conversation with this agent is over and whose place is not known yet: whether it has been parked since.
    fn parted(&self, callee: Uuid, agent: Uuid) -> Option<Parked> {
        let leg = self.legs.get(&callee)?;
        (leg.join == Join::Parted { from: agent }).then_some(Parked(leg.is_parked()))
    }

    /// The callee and the agent are not joined, and will not be.
    pub(super) fn part(&mut self, callee: Uuid, agent: Uuid) {
        match self.parted(callee, agent) {
            Some(Parked(true)) => self.set_alone(callee),
            // It was not parked since their conversation ended, so it is with another party.
            Some(Parked(false)) => self.transferred(callee),
            None => {}
        }
        for (one, other) in [(callee, agent), (agent, callee)] {
            if let Some(one) = self.legs.get_mut(&one)
                && one.join.with() == Some(other)
            {
                if let Join::Asked { until, .. } = one.join {
                    self.joins.remove(&(until, callee));
                }
                one.join = Join::Alone;
            }
        }
    }

    /// True if the agent's leg is as the end of its callee left it, and has had no callee since.
    fn is_alone(&self, agent: Uuid, look: Look) -> bool {
        self.legs.get(&agent).is_some_and(|leg| match (look, leg.join) {
            (Look::AfterFailedJoin, Join::Alone | Join::Wanted { .. }) => true,
            // It has not been parked since that conversation.
            (Look::AfterTalk, Join::Talking { with }) => !self.legs.contains_key(&with),
            (Look::AfterFailedJoin, Join::Talking { .. })
            | (Look::AfterTalk, Join::Alone | Join::Wanted { .. })
            | (_, Join::Asked { .. } | Join::Parted { .. } | Join::Elsewhere { .. }) => false,
        })
    }

    /// The callee ended before the join. The agent's leg is looked at when the join should have begun, and, because a PBX that is
    /// short of CPU begins later, when it must have.
    pub(super) fn look_after_failed_join(&mut self, agent: Uuid, now: Instant) {
        for wait in [JOIN_BEGINS_MAX, JOIN_WAIT_MAX] {
            self.left_behind.push((now + wait, agent, Look::AfterFailedJoin));
        }
    }

    /// Its callee ended, perhaps while the PBX still joined the two. Then the PBX parks neither leg and raises no event.
    pub(super) fn look_after_talk(&mut self, agent: Uuid, now: Instant) {
        self.left_behind
            .push((now + JOIN_BEGINS_MAX, agent, Look::AfterTalk));
    }

    pub(super) fn tick_left_behind(&mut self, now: Instant) {
        for (_, agent, look) in self
            .left_behind
            .extract_if(.., |(due, ..)| *due <= now)
            .collect::<Vec<_>>()
        {
            if self.is_alone(agent, look) {
                self.out
                    .ask(OnReply::LeftBehind(agent, look), command::whom_with(agent));
            }
        }
    }

    /// Parks an agent's leg that the PBX has left between two conversations, unless the next one has begun.
    pub(super) fn left_behind(&mut self, agent: Uuid, look: Look, printed: &str, now: Instant) {
        let is_left = command::is_between(printed) || command::is_with_nobody(printed);
        if !self.is_alone(agent, look) {
            return;
        }
        if is_left {
            self.out.ask(OnReply::Nothing, command::park(agent));
        } else if self.legs.get(&agent).is_some_and(Leg::is_parked) {
            return;
        } else {
            // Another party may have it.
            self.must_be_parked(agent, now);
        }
        self.left_behind.push((now + JOIN_BEGINS_MAX, agent, look));
    }

    /// The PBX may have begun to join this callee with an agent who is gone. Then it parks the callee again; otherwise the callee is
    /// still parked.
    fn settle(&mut self, callee: Uuid, now: Instant) {
        if let Some(leg) = self.legs.get_mut(&callee) {
            if leg.is_held() {
                let until = now + PARK_WAIT_MAX;
                leg.stage = Stage::Held(Place::Settling { until });
            }
            self.out.ask(OnReply::Settled(callee), command::whom_with(callee));
            self.must_be_parked(callee, now);
        }
    }

    pub(super) fn settled(&mut self, callee: Uuid, printed: &str, now: Instant) {
        if let Some(leg) = self.legs.get_mut(&callee)
            && let Stage::Held(Place::Settling { until }) = leg.stage
            && command::is_parked(printed)
        {
            leg.stage = Stage::Held(Place::Parked {
                settles_until: Some(until),
            });
            if let Join::Wanted { with } = leg.join {
                self.join_if_parked(callee, with, now);
            }
        }
    }

    pub(super) fn connect_failed(&mut self, callee: Uuid, agent: Uuid, fault: ConnectFault, now: Instant) {
        let asked = self.legs.get(&callee).map(|leg| leg.join);
        if matches!(asked, Some(Join::Asked { with, .. }) if with == agent) {
            self.settle(callee, now);
        }
        self.part(callee, agent);
        self.out.events.push_back(PbxEvent::ConnectFailed {
            leg: LegId(callee),
            agent_leg: AgentLegId(agent),
            fault,
        });
    }

    /// An agent's leg is parked.
    pub(super) fn agent_parked(&mut self, agent: Uuid, join: Join, now: Instant) {
        match join {
            Join::Wanted { with } => self.join_if_parked(with, agent, now),
            Join::Talking { with } => {
                if let Some(leg) = self.legs.get_mut(&agent) {
                    leg.join = Join::Alone;
                }
                self.out.ask(OnReply::Nothing, command::forget_history(agent));
                if let Some(Parked(parked)) = self.parted(with, agent) {
                    self.transferred(with);
                    if parked {
                        self.alone(with);
                    }
                }
            }
            Join::Alone | Join::Asked { .. } | Join::Parted { .. } | Join::Elsewhere { .. } => {}
        }
    }

    /// The two talk with each other.
    pub(super) fn bridged(&mut self, a: Uuid, b: Uuid, now: Instant) {
        let side = |id| self.legs.get(&id).map(|leg: &Leg| leg.side);
        let (callee, agent) = match (side(a), side(b)) {
            (Some(Side::Callee), Some(Side::Agent)) => (a, b),
            (Some(Side::Agent), Some(Side::Callee)) => (b, a),
            (None, None) => return,
            // The other leg has ended. The events of the remaining one follow.
            _ if self.ended.ids.contains(&a) || self.ended.ids.contains(&b) => return,
            (one, other) => {
                for (id, side) in [(a, one), (b, other)] {
                    match side {
                        Some(Side::Callee) => self.transferred(id),
                        Some(Side::Agent) => self.taken_away(id, now),
                        None => {}
                    }
                }
                return;
            }
        };
        match self.legs.get(&callee).map(|leg| leg.join) {
            Some(Join::Asked { with, until }) if with == agent => {
                self.joins.remove(&(until, callee));
                self.out.events.push_back(PbxEvent::Connected {
                    leg: LegId(callee),
                    agent_leg: AgentLegId(agent),
                });
            }
            Some(Join::Talking { with }) if with == agent => {}
            // By an operator.
            _ => self.out.ask(OnReply::Nothing, command::hold_once_left(callee)),
        }
        for (one, other) in [(callee, agent), (agent, callee)] {
            if let Some(one) = self.legs.get_mut(&one) {
                one.join = Join::Talking { with: other };
                one.unpark();
                one.phone.audio.talks(now);
            }
        }
    }
}
