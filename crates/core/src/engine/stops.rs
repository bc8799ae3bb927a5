//! How an engine ends: it launches nothing more, takes back what rings, and lets conversations go on or hangs them up.

use super::Engine;
use crate::agent::AgentReason;
use crate::call::{CallState, Why};
use crate::ids::{AgentId, AttemptId};
use crate::time::Now;

impl Engine {
    /// Whether a drained engine has nothing left to wait for.
    pub fn is_drained(&self) -> bool {
        self.draining && self.calls.is_empty() && self.agents.is_empty() && self.doubts.is_empty()
    }

    /// Whether a restart now would strand nobody: every call that is up is a conversation.
    pub fn is_settled(&self) -> bool {
        self.draining
            && self.doubts.is_empty()
            && self.calls.values().all(|call| call.state.is_conversation())
    }

    /// Launches nothing more and takes back what rings.
    pub(super) fn stop(&mut self, now: Now) {
        self.draining = true;
        self.keep_learnt(now);
        self.return_hopper(|_| true);
        self.take_back_where(now, |_| true);
    }

    pub(super) fn log_out_all(&mut self, now: Now) {
        let agents: Vec<AgentId> = self.agents.keys().copied().collect();
        for agent in agents {
            self.log_out(now, agent, AgentReason::Drained);
        }
    }

    /// Ends every call, whatever it is in.
    pub(super) fn hang_up_all(&mut self, now: Now) {
        self.take_back_where(now, |_| true);
        let attempts: Vec<AttemptId> = self.calls.keys().copied().collect();
        for attempt in attempts {
            match self.state_of(attempt) {
                Some(CallState::Connected { .. } | CallState::Transferred { connected: true, .. }) => {
                    self.end(now, attempt, Why::AgentHungUp)
                }
                Some(
                    CallState::Waiting { .. }
                    | CallState::Connecting { .. }
                    | CallState::Message { .. }
                    | CallState::Transferred { connected: false, .. },
                ) => self.end(now, attempt, Why::Limit),
                Some(
                    CallState::Preparing { .. }
                    | CallState::Dialing { .. }
                    | CallState::Ringing { .. }
                    | CallState::Ending { .. },
                )
                | None => {}
            }
        }
    }
}
