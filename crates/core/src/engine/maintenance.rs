//! Maintenance of a PBX. Nothing is launched there, ringing calls are cancelled, and conversations go on to their end. The
//! held legs of agents are ended once no call can need them. Then no leg of ours is left, and the PBX can restart. Agents
//! stay logged in, and their phones are called again when the maintenance ends.

use super::Engine;
use crate::agent::{AgentReason, Phone, Work};
use crate::attempt::AttemptState;
use crate::ids::{AgentId, PbxName};
use crate::time::Now;

impl Engine {
    pub(super) fn set_maintenance(&mut self, now: Now, pbx: PbxName, on: bool) {
        self.look_for_stranded = true;
        if on {
            self.maintained.insert(pbx);
            // Agents on other PBXes get newly leased contacts.
            self.return_hopper(|_| true);
        } else if self.maintained.remove(&pbx) {
            let here = self.agents.values().filter(|agent| agent.pbx == pbx);
            let here: Vec<AgentId> = here.map(|agent| agent.id).collect();
            for id in here {
                self.recall_phone_now(now, id);
            }
        }
    }

    pub(super) fn is_maintained(&self, pbx: &PbxName) -> bool {
        self.maintained.contains(pbx)
    }

    /// Ends the legs of agents that no call can need any more. Before the first snapshot it is unknown who is in a
    /// conversation, so the engine waits for it.
    pub(super) fn release_phones(&mut self, now: Now) {
        let maintained: Vec<PbxName> = self.maintained.intersection(&self.links_up).cloned().collect();
        for pbx in maintained {
            let may_need = self.attempts.values().any(|open| {
                let needs = match open.state {
                    AttemptState::Preparing { wanted, .. } => wanted,
                    AttemptState::Dialing { .. }
                    | AttemptState::Ringing { .. }
                    | AttemptState::Waiting { .. }
                    | AttemptState::Connecting { .. } => true,
                    AttemptState::Message { .. }
                    | AttemptState::Connected { .. }
                    | AttemptState::Transferred { .. }
                    | AttemptState::Ending { .. } => false,
                };
                open.leg.pbx == pbx && needs
            });
            if may_need {
                continue;
            }
            let here = self.agents.values().filter(|agent| agent.pbx == pbx);
            let released = here.filter(|agent| match (agent.phone, agent.work) {
                (Phone::Calling { .. } | Phone::Held { .. }, Work::Idle { .. } | Work::WrapUp { .. }) => true,
                (Phone::Calling { .. } | Phone::Held { .. }, Work::Reserved { .. } | Work::OnCall { .. })
                | (Phone::Gone { .. } | Phone::Leaving { .. }, _) => false,
            });
            let released: Vec<AgentId> = released.map(|agent| agent.id).collect();
            for id in released {
                self.drop_phone(now, id, AgentReason::PbxMaintenance);
            }
        }
    }
}
