//! The API's state over the store alone, in a process that dials nothing.

use crate::api::ApiState;
use crate::api::control::{AgentRefusal, Dialer, PbxStatus};
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, PbxKind};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::store::Store;
use futures_util::future::BoxFuture;
use paceline_core::ids::{AgentId, CampaignId, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::live::{Decision, LiveCampaign};
use std::sync::Arc;
use std::time::Duration;

/// What the explanations are computed from. The lists of `store` are loaded.
pub(super) async fn state(config: &Config, store: Store) -> anyhow::Result<ApiState> {
    let clock = Clock::real();
    let maintained = store.maintained().await?;
    let pbxes = config.pbxes.iter().map(|pbx| PbxStatus {
        name: pbx.name.clone(),
        kind: kind(&pbx.kind),
        connected: false,
        version: None,
        maintenance_since: maintained.get(&pbx.name).copied(),
        refuses_calls: false,
        agent_dial: pbx.agent_dial.clone(),
        dial_allowed: pbx.dial_allowed.clone(),
    });
    let dialer = NoDialer {
        pbxes: pbxes.collect(),
        events: Events::new(clock.now().wall),
    };
    let region = config.default_region.as_deref();
    let state = ApiState::new(store, Arc::new(dialer), clock, &Metrics::new(), region);
    Ok(state.by_rules(app::rules(&config.overlays)?))
}

fn kind(kind: &PbxKind) -> &'static str {
    match kind {
        PbxKind::Ari { .. } => "ari",
        PbxKind::Esl { .. } => "esl",
        PbxKind::Sim { .. } => "sim",
    }
}

struct NoDialer {
    pbxes: Vec<PbxStatus>,
    events: Events,
}

impl Dialer for NoDialer {
    fn campaign_changed(&self, _: CampaignId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn task_changed(&self, _: CampaignId, _: TaskId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn agent(&self, _: CampaignId, _: AgentId, _: AgentRequest) -> BoxFuture<'_, Result<(), AgentRefusal>> {
        Box::pin(async { Err(AgentRefusal::NotRunning) })
    }

    fn campaign_of(&self, _: AgentId) -> Option<CampaignId> {
        None
    }

    fn live(&self, _: CampaignId) -> Option<Arc<LiveCampaign>> {
        None
    }

    fn decisions(&self, _: CampaignId, _: usize) -> Vec<Decision> {
        Vec::new()
    }

    fn drain(&self, within: Duration) -> Duration {
        within
    }

    fn maintenance_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn suppression_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn pbxes(&self) -> Vec<PbxStatus> {
        self.pbxes.clone()
    }

    fn events(&self) -> Events {
        self.events.clone()
    }
}
