//! Connects a callee with an agent in the agent's bridge, and handles the end of that.

use super::{Leg, Legs};
use crate::ari::leg::{Sent, Stage, With};
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, PbxEvent};
use std::time::Instant;
use uuid::Uuid;

impl Legs {
    pub(super) fn connect(&mut self, leg: LegId, agent_leg: AgentLegId, now: Instant) {
        self.out.ask(
            leg.0,
            Purpose::Connected(leg, agent_leg),
            requests::add_to_bridge(&self.mark, agent_leg.0, leg.0),
        );
        if let Some(agent) = self.legs.get_mut(&agent_leg.0) {
            if let Stage::Held(sent) | Stage::OutOfBridge(sent) = &mut agent.stage {
                if *sent == Sent::Silence {
                    self.out.ask(
                        agent_leg.0,
                        Purpose::Unsilenced,
                        requests::stop_silence(agent_leg.0),
                    );
                }
                *sent = Sent::Callee { since: now };
            }
            agent.with = With::Leg(leg.0);
        }
        if let Some(callee) = self.legs.get_mut(&leg.0) {
            callee.with = With::Leg(agent_leg.0);
        }
    }

    /// The callee left the agent, or was never connected.
    pub(super) fn parted(&mut self, callee: Uuid, agent: Uuid, now: Instant) {
        if let Some(callee) = self.legs.get_mut(&callee) {
            callee.with = With::Nobody;
        }
        if let Some(agent) = self.legs.get_mut(&agent)
            && agent.with == With::Leg(callee)
        {
            agent.callee_is_gone(now);
        }
    }

    pub(super) fn connected(&mut self, leg: LegId, agent_leg: AgentLegId, status: u16, now: Instant) {
        let callee_lives = self.legs.contains_key(&leg.0);
        // The agent's leg may have come out of its bridge meanwhile. Then the callee is alone there.
        let agent_lives = self.legs.get(&agent_leg.0).is_some_and(Leg::is_held);
        let fault = match status {
            200..300 if callee_lives && agent_lives => {
                self.out.events.push_back(PbxEvent::Connected { leg, agent_leg });
                return;
            }
            _ if !agent_lives => ConnectFault::AgentGone,
            _ if !callee_lives => ConnectFault::CalleeGone,
            // No such bridge; no such channel; the channel is not in our application.
            404 => ConnectFault::AgentGone,
            400 | 409 | 422 => ConnectFault::CalleeGone,
            _ => ConnectFault::Refused,
        };
        self.parted(leg.0, agent_leg.0, now);
        self.out.events.push_back(PbxEvent::ConnectFailed {
            leg,
            agent_leg,
            fault,
        });
    }
}
