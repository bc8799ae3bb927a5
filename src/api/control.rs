//! The API's interface to the dialer. The running process implements [`Dialer`], and so does a fake in the API's tests.
//! The API knows nothing else about engines and PBXes.

use crate::events::Events;
use futures_util::future::BoxFuture;
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::ids::{AgentId, CampaignId, PbxName, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::live::{Decision, LiveCampaign};
use paceline_core::time::Wall;
use std::sync::Arc;
use std::time::Duration;

/// The dialer, as the API sees it. Every method returns soon and may be called at any time.
pub trait Dialer: Send + Sync {
    /// The campaign's state, settings or trunks have changed in the store.
    fn campaign_changed(&self, campaign: CampaignId) -> BoxFuture<'_, ()>;

    /// The task was created, started, paused, resumed or cancelled in the store, or contacts of it were queued again
    /// or have new data.
    fn task_changed(&self, campaign: CampaignId, task: TaskId) -> BoxFuture<'_, ()>;

    /// Hands an agent's request to the campaign's engine. `Ok` means that the engine has it. The agent's state shows the
    /// result.
    fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> BoxFuture<'_, Result<(), AgentRefusal>>;

    /// The campaign that the agent is logged in to. `None`: the agent is logged out.
    fn campaign_of(&self, agent: AgentId) -> Option<CampaignId>;

    /// The present state of the campaign. `None`: no engine runs for it.
    fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>>;

    /// The latest pacing decisions of the campaign, newest first.
    fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision>;

    /// Launches no more calls, lets conversations end, logs agents out, and ends the process. Calls that are still up after
    /// `within` are hung up. A later request can only shorten the time.
    fn drain(&self, within: Duration) -> Duration;

    /// The maintenance of a PBX has started or ended in the store.
    fn maintenance_changed(&self) -> BoxFuture<'_, ()>;

    /// A number was put on a do-not-call list, or a suppression list has changed, in the store.
    fn suppression_changed(&self) -> BoxFuture<'_, ()>;

    /// Every configured PBX, by name.
    fn pbxes(&self) -> Vec<PbxStatus>;

    /// The stream of the dialer's events.
    fn events(&self) -> Events;
}

/// The reason why an agent's request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentRefusal {
    /// No engine runs for the campaign.
    #[error("the campaign is not running: activate it first")]
    NotRunning,
    /// The process is about to stop.
    #[error("Paceline is stopping: try again after its restart")]
    Stopping,
    /// The engine's queue is full.
    #[error("the campaign's engine is busy: try again in a second")]
    Busy,
    /// The agent is logged in to this other campaign.
    #[error("the agent is logged in to campaign {0}: log out there first")]
    LoggedInElsewhere(CampaignId),
    /// The engine refused the request.
    #[error(transparent)]
    Engine(#[from] paceline_core::engine::EngineError),
}

/// One configured PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PbxStatus {
    /// The configured name.
    pub name: PbxName,
    /// The kind in the configuration: `ari`, `esl` or `sim`.
    pub kind: &'static str,
    /// True while the link is up: connected and resynchronised.
    pub connected: bool,
    /// The version that the PBX reports. `None`: not known yet.
    pub version: Option<String>,
    /// Start of its maintenance. `None`: it is not in maintenance.
    pub maintenance_since: Option<Wall>,
    /// It refused the last call of a campaign.
    pub refuses_calls: bool,
    /// The template of the dial strings of agents' phones.
    pub agent_dial: AgentTemplate,
    /// The rules for the dial strings of its trunks.
    pub dial_allowed: DialRules,
}
