//! Implements the API's interface to the dialer.

use super::Dialer;
use crate::api::control::{AgentRefusal, PbxStatus};
use crate::events::Events;
use futures_util::future::BoxFuture;
use paceline_core::ids::{AgentId, CampaignId, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::live::{Decision, LiveCampaign};
use std::sync::Arc;
use std::time::Duration;

impl crate::api::control::Dialer for Dialer {
    fn campaign_changed(&self, campaign: CampaignId) -> BoxFuture<'_, ()> {
        Box::pin(self.campaign_changed(campaign))
    }

    fn task_changed(&self, campaign: CampaignId, task: TaskId) -> BoxFuture<'_, ()> {
        Box::pin(self.task_changed(campaign, task))
    }

    fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> BoxFuture<'_, Result<(), AgentRefusal>> {
        Box::pin(self.agent(campaign, agent, request))
    }

    fn campaign_of(&self, agent: AgentId) -> Option<CampaignId> {
        self.campaign_of(agent)
    }

    fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>> {
        self.live(campaign)
    }

    fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision> {
        self.decisions(campaign, limit)
    }

    fn drain(&self, within: Duration) -> Duration {
        self.ask_to_drain(within)
    }

    fn maintenance_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.maintenance_changed())
    }

    fn suppression_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.suppression_changed())
    }

    fn pbxes(&self) -> Vec<PbxStatus> {
        self.pbxes()
    }

    fn events(&self) -> Events {
        self.events()
    }
}
