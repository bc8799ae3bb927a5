//! Legs that are moved without a command of ours: an agent's phone transfers its callee, another phone picks up a call, an operator
//! moves a leg.
//!
//! Measured on 1.11:
//! - A blind or attended transfer parks the agent's leg first. Then comes `CHANNEL_UNBRIDGE` of the callee's leg, then the events of
//!   the callee's next place. If the phone hangs up at once, its leg ends before all of these.
//! - If the agent's leg was moved or has ended, the PBX parks the callee. The event of the agent's end may come after that.
//! - If another phone picked up the callee, the agent's leg ends with `PICKED_OFF`, before or after the callee's `CHANNEL_UNBRIDGE`.
//! - If another party joins a leg of ours from its own channel, that channel is the first of the two, so we get no event of the join.
//! - When the conversation of a transferred callee ends, the PBX parks the callee. But if the other party is gone before the two are
//!   joined, the callee stays in `CS_SOFT_EXECUTE` or `CS_EXCHANGE_MEDIA` alone, and no event says so. So the driver looks at
//!   transferred callees every [`LOOKED_EVERY`].

use super::Legs;
use super::phones::is_due;
use crate::esl::command;
use crate::esl::leg::{Join, Leg, Message, Place, Presence, Side, Stage};
use crate::esl::outbox::OnReply;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, Departure, EndedBy, LegEnd, PbxEvent};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Maximum time that a pickup parks a transferred callee on its way to the next colleague.
pub(super) const BRIEF_PARK_MAX: Duration = Duration::from_millis(300);
/// Interval at which the driver asks the PBX for the other parties of transferred callees.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// Maximum time that the driver waits until the PBX parks an agent's leg that is alone, or reports its end.
pub(super) const PARK_WAIT_MAX: Duration = Duration::from_secs(1);

impl Legs {
    /// The two do not talk any more. The first leg still exists.
    pub(super) fn unbridged(&mut self, a: Uuid, b: Uuid) {
        let side = |id| self.legs.get(&id).map(|leg: &Leg| leg.side);
        let (callee, agent) = match (side(a), side(b)) {
            (Some(Side::Callee), _) => (a, b),
            (_, Some(Side::Callee)) => (b, a),
            _ => return,
        };
        let parked = self.legs.get(&agent).is_some_and(Leg::is_parked);
        if let Some(leg) = self.legs.get_mut(&callee)
            && leg.join == (Join::Talking { with: agent })
        {
            leg.join = Join::Parted { from: agent };
            if parked {
                self.transferred(callee);
            }
        }
    }

    /// The leg has left `park`.
    pub(super) fn unparked(&mut self, id: Uuid, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Stage::Held(Place::Parked { settles_until }) = leg.stage else {
            return;
        };
        // Our own joins: CHANNEL_BRIDGE confirms them.
        if matches!(leg.join, Join::Asked { .. }) {
            return;
        }
        let settling = settles_until
            .filter(|until| *until > now)
            .map(|until| Place::Settling { until });
        leg.stage = Stage::Held(settling.unwrap_or(Place::Away));
        match leg.side {
            // Another party has it now.
            Side::Callee if matches!(leg.join, Join::Elsewhere { .. }) => {
                self.parked_elsewhere.retain(|(_, callee)| *callee != id);
                self.out.ask(OnReply::Nothing, command::hold_once_left(id));
            }
            Side::Callee if settling.is_some() => self.must_be_parked(id, now),
            Side::Callee => self.transferred(id),
            // A join of ours begins, although its callee has ended since.
            Side::Agent if self.left_behind.iter().any(|(_, agent, _)| *agent == id) => {}
            Side::Agent => self.taken_away(id, now),
        }
    }

    /// A party that is none of our agents has this callee.
    pub(super) fn transferred(&mut self, callee: Uuid) {
        let Some(leg) = self.legs.get_mut(&callee) else {
            return;
        };
        if leg.side != Side::Callee || !leg.answered() || matches!(leg.join, Join::Elsewhere { .. }) {
            return;
        }
        let join = std::mem::replace(&mut leg.join, Join::Elsewhere { missed: false });
        leg.unpark();
        leg.message = Message::No;
        let agent = match join {
            Join::Alone | Join::Elsewhere { .. } => None,
            Join::Asked { with, until } => {
                self.joins.remove(&(until, callee));
                Some(with)
            }
            Join::Wanted { with } | Join::Talking { with } => Some(with),
            Join::Parted { from } => Some(from),
        };
        // It may have been parked on the way, which clears this variable.
        self.out.ask(OnReply::Nothing, command::hold_once_left(callee));
        self.recordings.callee_moved(LegId(callee), &mut self.out);
        self.out
            .events
            .push_back(PbxEvent::Transferred { leg: LegId(callee) });
        let Some(agent) = agent else { return };
        if let Some(leg) = self.legs.get_mut(&agent) {
            if leg.join.with() == Some(callee) {
                leg.join = Join::Alone;
            }
            if leg.phone.presence == Presence::Transferring {
                self.left(agent, Departure::Transferred);
            }
        }
    }

    fn left(&mut self, agent: Uuid, how: Departure) {
        if let Some(leg) = self.legs.get_mut(&agent)
            && std::mem::replace(&mut leg.phone.presence, Presence::Left) == Presence::Left
        {
            return;
        }
        let leg = AgentLegId(agent);
        self.out.events.push_back(PbxEvent::AgentLeft { leg, how });
    }

    /// This agent's leg ends, and its callee, if it has one, is with another party.
    pub(super) fn departed(&mut self, agent: Uuid, how: Departure) {
        if let Some(Join::Talking { with }) = self.legs.get(&agent).map(|leg| leg.join) {
            let (talking, parted) = (Join::Talking { with: agent }, Join::Parted { from: agent });
            if self
                .legs
                .get(&with)
                .is_some_and(|leg| leg.join == talking || leg.join == parted)
            {
                self.transferred(with);
            }
        }
        self.left(agent, how);
    }

    /// An operator has moved this agent's leg, so it is not ours any more. If it is parked again, it is hung up like any stray.
    pub(super) fn taken_away(&mut self, agent: Uuid, now: Instant) {
        let Some(leg) = self.legs.remove(&agent) else {
            return;
        };
        self.ended.insert(agent);
        match leg.join {
            Join::Wanted { with } | Join::Asked { with, .. } => {
                self.connect_failed(with, agent, ConnectFault::AgentGone, now);
            }
            Join::Talking { with } => self.part(with, agent),
            Join::Alone | Join::Parted { .. } | Join::Elsewhere { .. } => {}
        }
        self.recordings.agent_left(AgentLegId(agent), &mut self.out);
        let end = LegEnd {
            by: EndedBy::TakenAway,
            progressed: leg.progress.rang(),
            answered: true,
            ..LegEnd::default()
        };
        let leg = AgentLegId(agent);
        self.out.events.push_back(PbxEvent::AgentEnded { leg, end });
    }

    /// A callee is parked again.
    pub(super) fn callee_parked(&mut self, callee: Uuid, join: Join, now: Instant) {
        match join {
            Join::Wanted { with } => self.join_if_parked(callee, with, now),
            Join::Talking { with: agent } | Join::Parted { from: agent } => {
                match self.legs.get(&agent).map(Leg::is_parked) {
                    // An operator has parked both: both are alone.
                    Some(true) => {
                        self.transferred(callee);
                        self.alone(callee);
                    }
                    // The agent's leg was moved, or ends, or an operator parks it too. The next event shows which.
                    Some(false) => {
                        if let Some(leg) = self.legs.get_mut(&callee) {
                            leg.join = Join::Parted { from: agent };
                        }
                        self.must_be_parked(agent, now);
                    }
                    None => self.set_alone(callee),
                }
            }
            Join::Elsewhere { .. } => self.parked_elsewhere.push_back((now + BRIEF_PARK_MAX, callee)),
            Join::Alone | Join::Asked { .. } => {}
        }
    }

    /// Asks for the other party of transferred callees.
    pub(super) fn tick_elsewhere(&mut self, now: Instant) {
        while let Some((due, callee)) = self.parked_elsewhere.front().copied()
            && due <= now
        {
            self.parked_elsewhere.pop_front();
            let alone = |leg: &Leg| leg.is_parked() && matches!(leg.join, Join::Elsewhere { .. });
            if self.legs.get(&callee).is_some_and(alone) {
                self.alone(callee);
            }
        }
        let asking = &mut self.asking;
        if asking.looking > 0 || !is_due(&mut asking.look_at, LOOKED_EVERY, now) {
            return;
        }
        for (id, leg) in &self.legs {
            if matches!(leg.join, Join::Elsewhere { .. }) {
                asking.looking += 1;
                self.out.ask(OnReply::Looked(*id), command::whom_with(*id));
            }
        }
    }

    /// Takes the output of [`command::whom_with`]. One look may fall between two conversations, so two must agree.
    pub(super) fn looked(&mut self, callee: Uuid, printed: &str) {
        self.asking.looking = self.asking.looking.saturating_sub(1);
        if let Some(leg) = self.legs.get_mut(&callee)
            && let Join::Elsewhere { missed } = &mut leg.join
        {
            let nobody = command::is_with_nobody(printed);
            if std::mem::replace(missed, nobody) && nobody {
                self.alone(callee);
            }
        }
    }

    /// A transferred callee is alone.
    pub(super) fn alone(&mut self, callee: Uuid) {
        self.set_alone(callee);
        self.out
            .events
            .push_back(PbxEvent::CalleeAlone { leg: LegId(callee) });
    }

    pub(super) fn set_alone(&mut self, id: Uuid) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.join = Join::Alone;
        }
    }

    /// The leg is alone: it must be parked soon, or end.
    pub(super) fn must_be_parked(&mut self, agent: Uuid, now: Instant) {
        self.unparked.push_back((now + PARK_WAIT_MAX, agent));
    }

    /// Legs that have been alone for too long without being parked: an operator joined them with others.
    pub(super) fn tick_unparked(&mut self, now: Instant) {
        while let Some((due, agent)) = self.unparked.front().copied()
            && due <= now
        {
            self.unparked.pop_front();
            let parted = Join::Parted { from: agent };
            let talks = |leg: &Leg| match leg.join {
                Join::Talking { with } | Join::Asked { with, .. } => {
                    self.legs.get(&with).is_some_and(|other| other.join != parted)
                }
                Join::Alone | Join::Wanted { .. } | Join::Parted { .. } | Join::Elsewhere { .. } => false,
            };
            match self.legs.get(&agent) {
                Some(leg) if leg.is_parked() || talks(leg) => {}
                Some(leg) if leg.side == Side::Callee => self.transferred(agent),
                Some(_) => self.taken_away(agent, now),
                None => {}
            }
        }
    }
}
