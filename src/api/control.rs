//! What the API asks of the dialer. [`Dialer`] is implemented by the running process, and by a fake in the API's tests;
//! the API knows nothing else of engines and PBXes.

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

    /// The task was created, started, paused, resumed or cancelled in the store, or contacts of it were queued again.
    fn task_changed(&self, campaign: CampaignId, task: TaskId) -> BoxFuture<'_, ()>;

    /// Hands an agent's request to the campaign's engine. `Ok` means that the engine has it; what becomes of it shows in
    /// the agent's state.
    fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> BoxFuture<'_, Result<(), AgentRefusal>>;

    /// Where the agent is logged in, if so.
    fn campaign_of(&self, agent: AgentId) -> Option<CampaignId>;

    /// The campaign at this moment; `None` where no engine runs for it.
    fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>>;

    /// The latest pacing decisions of the campaign, newest first.
    fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision>;

    /// Launch nothing more, let conversations end, log agents out, and end the process; what is still up after `within` is
    /// hung up. A later call may only bring the deadline forward.
    fn drain(&self, within: Duration) -> Duration;

    /// Which PBXes are in maintenance has changed in the store.
    fn maintenance_changed(&self) -> BoxFuture<'_, ()>;

    /// A number was put on a do-not-call list, or a suppression list has changed, in the store.
    fn suppression_changed(&self) -> BoxFuture<'_, ()>;

    /// Every configured PBX, by name.
    fn pbxes(&self) -> Vec<PbxStatus>;

    /// What happens, as it happens.
    fn events(&self) -> Events;
}

/// Why an agent's request was not taken.
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
    /// The agent works elsewhere.
    #[error("the agent is logged in to campaign {0}: log out there first")]
    LoggedInElsewhere(CampaignId),
    /// As things stand for this agent.
    #[error(transparent)]
    Engine(#[from] paceline_core::engine::EngineError),
}

/// One configured PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PbxStatus {
    /// As configured.
    pub name: PbxName,
    /// How it is attached: `ari`, `sim`.
    pub kind: &'static str,
    /// Whether its event stream stands and is resynchronised.
    pub connected: bool,
    /// What it calls itself, once it was asked.
    pub version: Option<String>,
    /// Since when it is in maintenance, if so.
    pub maintenance_since: Option<Wall>,
    /// It refused the last call of a campaign.
    pub refuses_calls: bool,
    /// How agents' phones are reached there.
    pub agent_dial: AgentTemplate,
    /// What its trunks may lead to.
    pub dial_allowed: DialRules,
}
