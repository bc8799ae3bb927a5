//! The reason why a campaign launches nothing, for the operator.

use super::{Engine, Refill};
use crate::agent::{Agent, Phone, Wants};
use crate::campaign::Mode;
use crate::ids::{PbxName, TrunkId};
use crate::live::Idle;
use crate::time::Now;

impl Engine {
    /// The reasons why nothing more is launched, the most important first.
    pub(super) fn idle(&self, now: Now) -> Vec<Idle> {
        let mut why = Vec::new();
        let mut blocked = |is: bool, reason| {
            if is {
                why.push(reason);
            }
        };
        let progressive = self.config.settings.pacing.mode == Mode::Progressive;
        let counts = |a: &&Agent| match self.config.settings.pacing.mode {
            Mode::Progressive => a.free_since().is_some(),
            // These modes also launch calls for agents who are still in a call.
            Mode::Predictive | Mode::Power => {
                a.wants == Wants::Calls && matches!(a.phone, Phone::Held { trouble: None, .. })
            }
        };
        let ready: Vec<&Agent> = self.agents.values().filter(counts).collect();
        blocked(self.draining, Idle::Draining);
        blocked(!self.active, Idle::NotActive);
        blocked(self.clock_doubted, Idle::ClockDoubted);
        blocked(self.agents.is_empty(), Idle::NoAgents);
        let maintained = self.agents.values().any(|a| self.is_maintained(&a.pbx));
        blocked(maintained, Idle::PbxMaintenance);
        let full = self.agents.values().any(|a| self.is_full(now, &a.pbx));
        blocked(full, Idle::PbxFull);
        blocked(!self.agents.is_empty() && ready.is_empty(), Idle::NoFreeAgent);
        blocked(
            ready.iter().any(|a| !self.links_up.contains(&a.pbx)),
            Idle::PbxDown,
        );
        let has_trunk = |pbx: &PbxName, which: &dyn Fn(TrunkId) -> bool| {
            self.config.trunks.iter().any(|t| &t.pbx == pbx && which(t.id))
        };
        let lacks = |which: &dyn Fn(TrunkId) -> bool| {
            let lacks = |pbx: &PbxName| has_trunk(pbx, &|_| true) && !has_trunk(pbx, which);
            ready.iter().any(|a| lacks(&a.pbx))
        };
        blocked(ready.iter().any(|a| !has_trunk(&a.pbx, &|_| true)), Idle::NoTrunk);
        let failing = lacks(&|id| !self.is_probed(id));
        blocked(failing, Idle::TrunkFailing);
        let heard = |id| self.breakers.get(&id).is_none_or(|b| b.room(now.mono) > 0);
        blocked(!failing && lacks(&heard), Idle::TrunkSilent);
        let trouble = self.store_fails || self.hold_until > now.mono;
        blocked(trouble, Idle::StoreTrouble);
        let empty = !trouble && !self.clock_doubted && !ready.is_empty() && self.hopper.is_empty();
        let asked = self.refill == Refill::Asked;
        blocked(empty && !asked && self.hopper_unused.is_none(), Idle::NoContacts);
        // Nobody used the contacts that were there.
        blocked(empty && !asked && self.hopper_unused.is_some(), Idle::Pacing);
        blocked(empty && asked, Idle::Refilling);
        if why.is_empty() {
            let decided = self.live_pacing();
            if progressive && !self.hopper.is_empty() {
                why.push(Idle::NoFreeAgent);
            } else if !progressive && decided.iter().all(|decision| decision.report.launch == 0) {
                why.push(Idle::Pacing);
            }
        }
        why
    }
}
