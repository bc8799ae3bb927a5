//! The stop of an engine: it launches nothing more. Before a restart it serves the calls that ring, and leaves conversations up.
//! Before an end for good it cancels the calls that ring, and lets conversations end or hangs them up.

use super::Engine;
use crate::agent::AgentReason;
use crate::attempt::{Attempt, AttemptState, EndReason};
use crate::ids::{AgentId, AttemptId};
use crate::time::Now;

impl Engine {
    /// True if a stopping engine has no attempt and no agent left.
    pub fn is_drained(&self) -> bool {
        self.draining && self.attempts.is_empty() && self.agents.is_empty() && self.judged.is_empty()
    }

    /// True if the engine is stopping and every open call is a conversation: a restart now strands no callee.
    pub fn is_settled(&self) -> bool {
        self.draining
            && self.judged.is_empty()
            && self.attempts.values().all(|open| open.state.is_conversation())
    }

    /// Launches nothing more. Calls that were dialed go on, unless they are to be cancelled.
    pub(super) fn stop(&mut self, now: Now, cancel: bool) {
        self.draining = true;
        self.keep_learnt(now);
        self.return_hopper(|_| true);
        let undialed = |open: &Attempt| matches!(open.state, AttemptState::Preparing { .. });
        self.take_back_where(now, |open| cancel || undialed(open));
    }

    /// Launches nothing more, cancels the calls that ring once they have rung for the minimum time, and logs agents out after
    /// their calls.
    pub(super) fn drain(&mut self, now: Now) {
        self.stop(now, false);
        self.cancels_ringing = true;
        self.look_for_stranded = true;
        self.log_out_all(now);
    }

    pub(super) fn log_out_all(&mut self, now: Now) {
        let agents: Vec<AgentId> = self.agents.keys().copied().collect();
        for agent in agents {
            self.log_out(now, agent, AgentReason::Drained);
        }
    }

    /// Ends every call, conversations too.
    pub(super) fn hang_up_all(&mut self, now: Now) {
        self.take_back_where(now, |_| true);
        let attempts: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for attempt in attempts {
            match self.state_of(attempt) {
                Some(AttemptState::Connected { .. } | AttemptState::Transferred { connected: true, .. }) => {
                    self.end(now, attempt, EndReason::AgentHungUp)
                }
                Some(
                    AttemptState::Waiting { .. }
                    | AttemptState::Connecting { .. }
                    | AttemptState::Message { .. }
                    | AttemptState::Transferred { connected: false, .. },
                ) => self.end(now, attempt, EndReason::Limit),
                Some(
                    AttemptState::Preparing { .. }
                    | AttemptState::Dialing { .. }
                    | AttemptState::Ringing { .. }
                    | AttemptState::Ending { .. },
                )
                | None => {}
            }
        }
    }
}
