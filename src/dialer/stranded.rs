//! Ends the attempts and logs out the agents that the last run left on PBXes that are no longer configured. No event will
//! tell how those attempts ended, so their outcome is `unknown`, and their contacts are not retried.

use super::Dialer;
use crate::store::Recovery;
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::command::Change;
use paceline_core::ids::CampaignId;
use paceline_core::input::OpenAttempt;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{EndedBy, LegEnd};
use paceline_core::time::Wall;
use tracing::warn;

impl Dialer {
    /// Ends what is open on PBXes that are not configured, and returns the rest. It returns after the store has written these
    /// changes, because the caller reads the campaign's answers next.
    pub(super) async fn settle_stranded(
        &self,
        campaign: CampaignId,
        mut all: Recovery,
        now: Wall,
    ) -> Recovery {
        let known = &self.0.pbxes;
        let before = (all.attempts.len(), all.agents.len());
        // If the end of the leg is stored, the engine can end the attempt without its PBX.
        let is_lost = |open: &mut OpenAttempt| !known.contains_key(&open.pbx) && open.leg_end.is_none();
        for lost in all.attempts.extract_if(.., is_lost) {
            let (attempt, pbx) = (lost.attempt, lost.pbx);
            warn!(attempt.id = %attempt, pbx.name = %pbx, "attempt {attempt} was on `{pbx}`, which is no longer configured: its outcome is unknown");
            let end = LegEnd {
                by: EndedBy::Vanished,
                detail: format!("`{pbx}` is no longer configured"),
                ..LegEnd::default()
            };
            let leg = lost.leg;
            let leg_ended = Change::LegEnded {
                attempt,
                leg,
                end,
                at: now,
            };
            let ended = Change::AttemptEnded {
                attempt,
                leg,
                task: lost.lead.task,
                contact: lost.lead.contact,
                outcome: Outcome::Unknown,
                at: now,
                retry_at: None,
                spends_try: false,
            };
            self.0.writer.change(campaign, leg_ended).await;
            self.0.writer.change(campaign, ended).await;
        }
        for lost in all.agents.extract_if(.., |agent| !known.contains_key(&agent.pbx)) {
            let (agent, pbx) = (lost.agent, lost.pbx);
            warn!(agent.id = %agent, pbx.name = %pbx, "agent {agent} was logged in on `{pbx}`, which is no longer configured, and is now offline");
            let change = Change::Agent {
                agent,
                state: AgentState::Offline,
                pbx: None,
                leg: None,
                wants: Wants::Calls,
                reason: AgentReason::PbxRemoved,
                at: now,
            };
            self.0.writer.change(campaign, change).await;
        }
        if before != (all.attempts.len(), all.agents.len()) {
            self.0.writer.flush().await;
        }
        all
    }
}
