//! The present state of calls and agents, and the reasons why nothing more is dialed.

use super::ApiState;
use super::campaigns;
use super::extract::Id;
use super::pacing::PacingDecision;
use super::pbxes::Pbx;
use super::problem::ApiResult;
use super::sounds::ExplainedWarning;
use super::words::Utc;
use crate::doctor::sounds::name_of;
use crate::store::{CampaignRow, CampaignWork};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::campaign::CampaignState;
use paceline_core::live::{self, AttemptPhase, Idle, LiveAgent, LiveCampaign};
use paceline_core::pacing::RuleAccount;
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The present state of everything.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Live {
    /// Time of this state.
    at: Utc,
    /// Every campaign that is not archived.
    campaigns: Vec<CampaignLive>,
    /// Every configured PBX.
    pbxes: Vec<Pbx>,
}

/// The present state of a campaign.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CampaignLive {
    /// The campaign's id.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The campaign's name.
    #[schema(example = "default")]
    name: String,
    /// The campaign's state.
    state: CampaignState,
    /// Attempts in progress, by phase.
    #[schema(example = json!({"ringing": 2, "connected": 5}))]
    attempts: BTreeMap<AttemptPhase, usize>,
    /// Logged-in agents by state.
    #[schema(example = json!({"available": 1, "on_call": 5}))]
    agents_by_state: BTreeMap<AgentState, usize>,
    /// All logged-in agents.
    agents: Vec<AgentLive>,
    /// Contacts in the hopper, ready to be dialed.
    #[schema(example = 40)]
    hopper: usize,
    /// The latest pacing decision on each PBX, in the modes `predictive` and `power`.
    pacing: Vec<PacingDecision>,
    /// The counters of each abandon rule in its window. Empty if the campaign has no rules or does not run.
    abandon: Vec<AbandonAccount>,
    /// The work of its tasks.
    work: Work,
    /// The reasons why nothing more is dialed, most important first. Empty while calls are launched.
    idle: Vec<IdleReason>,
    /// Warnings about calls that go on.
    warnings: Vec<ExplainedWarning>,
}

/// The counters of an abandon rule in its window.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AbandonAccount {
    /// The rule's name, as in the campaign's settings.
    #[schema(example = "us-ftc")]
    rule: String,
    /// Live answers, as the rule counts them.
    #[schema(example = 412.0)]
    live_answers: f64,
    /// Abandoned calls among `live_answers`.
    #[schema(example = 9.0)]
    abandoned: f64,
    /// Abandoned calls divided by live answers, 0 to 1. Null before the first live answer.
    #[schema(example = 0.0218)]
    abandon_ratio: Option<f64>,
}

/// The present state of an agent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AgentLive {
    /// The agent's id.
    #[schema(example = 3)]
    agent_id: i64,
    /// The agent's state.
    state: AgentState,
    /// The reason of this state.
    reason: AgentReason,
    /// Start of this state.
    since: Utc,
    /// The PBX of the agent's phone.
    #[schema(example = "pbx1")]
    pbx: String,
    /// The channel of the agent on that PBX.
    leg_id: Option<Uuid>,
    /// The agent's call: reserved, in conversation, or just ended.
    attempt_id: Option<Uuid>,
}

/// The work of a campaign's tasks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Work {
    /// Number of tasks whose contacts are still being read from their lists.
    #[schema(example = 0)]
    preparing_tasks: u64,
    /// Number of running tasks.
    #[schema(example = 1)]
    running_tasks: u64,
    /// Number of tasks that wait for their start time.
    #[schema(example = 0)]
    scheduled_tasks: u64,
    /// Number of paused tasks.
    #[schema(example = 0)]
    paused_tasks: u64,
    /// Start time of the next scheduled task.
    next_start_at: Option<Utc>,
    /// Earliest time when the next contact of a running task is due. It may be later.
    next_due_at: Option<Utc>,
    /// Number of running tasks with contacts that the gate has deferred, for example because of the calling hours.
    #[schema(example = 0)]
    deferred_tasks: u64,
    /// Time when the first of these contacts may be called.
    deferred_until: Option<Utc>,
}

/// A reason why nothing is dialed, with what to do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct IdleReason {
    /// The reason.
    reason: Idle,
    /// The meaning of the reason for this campaign, and the advice.
    #[schema(example = "No agent is logged in. POST /api/v1/agents/{id}/log-in {\"campaign_id\": 1}.")]
    explanation: String,
}

/// See everything at this moment.
///
/// Calls, agents, hoppers, links to PBXes, and for each campaign the reasons why nothing more is dialed.
#[utoipa::path(get, path = "/live", operation_id = "get_live", tag = "live", responses((status = 200, body = Live)))]
pub(super) async fn all(State(state): State<ApiState>) -> ApiResult<Body<Live>> {
    let mut campaigns = Vec::new();
    let mut works = state.store.campaign_works(state.clock.now().wall).await?;
    for row in state.store.live_campaigns().await? {
        let work = works.remove(&row.id).unwrap_or_default();
        campaigns.push(campaign_live(&state, row, &work));
    }
    Ok(Body(Live {
        at: Utc(state.clock.now().wall),
        campaigns,
        pbxes: state.dialer.pbxes().into_iter().map(Pbx::from).collect(),
    }))
}

/// See a campaign at this moment.
#[utoipa::path(get, path = "/campaigns/{id}/live", operation_id = "get_campaign_live", tag = "live",
    params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = CampaignLive), (status = 404, description = "No such campaign")))]
pub(super) async fn campaign(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
) -> ApiResult<Body<CampaignLive>> {
    let row = campaigns::find(&state, id).await?;
    let work = state.store.campaign_work(row.id, state.clock.now().wall).await?;
    Ok(Body(campaign_live(&state, row, &work)))
}

fn campaign_live(state: &ApiState, row: CampaignRow, work: &CampaignWork) -> CampaignLive {
    let live = state
        .dialer
        .live(row.id)
        .map_or_else(LiveCampaign::default, |live| (*live).clone());
    // Without an engine there is no live state, and only one thing to say.
    let idle = if row.state == CampaignState::Active && row.fault.is_none() {
        live.idle
    } else {
        vec![Idle::NotActive]
    };
    let warnings = live.warnings.into_iter().map(|warning| warn_of(warning, &row));
    let warnings = warnings.collect();
    let explain = |reason| IdleReason {
        reason,
        explanation: explanation(reason, &row, work),
    };
    CampaignLive {
        campaign_id: row.id.0,
        state: row.state,
        attempts: live.attempts,
        agents_by_state: live.agents_by_state,
        agents: live.agents.into_iter().map(AgentLive::from).collect(),
        hopper: live.hopper,
        pacing: live.pacing.into_iter().map(PacingDecision::from).collect(),
        abandon: live.abandon.into_iter().map(AbandonAccount::from).collect(),
        idle: idle.into_iter().map(explain).collect(),
        warnings,
        work: Work {
            preparing_tasks: work.preparing,
            running_tasks: work.running,
            scheduled_tasks: work.scheduled,
            paused_tasks: work.paused,
            next_start_at: work.next_start_at.map(Utc),
            next_due_at: work.next_due_at.map(Utc),
            deferred_tasks: work.deferred,
            deferred_until: work.deferred_until.map(Utc),
        },
        name: row.name,
    }
}

impl From<RuleAccount> for AbandonAccount {
    fn from(account: RuleAccount) -> Self {
        Self {
            rule: account.rule.as_ref().to_owned(),
            live_answers: account.live,
            abandoned: account.abandoned,
            abandon_ratio: (account.live > 0.0).then(|| account.abandoned / account.live),
        }
    }
}

impl From<LiveAgent> for AgentLive {
    fn from(live: LiveAgent) -> Self {
        Self {
            agent_id: live.agent.0,
            state: live.state,
            reason: live.reason,
            since: Utc(live.since_ms),
            pbx: live.pbx.as_str().to_owned(),
            leg_id: live.leg.map(|id| id.0),
            attempt_id: live.attempt.map(|id| id.0),
        }
    }
}

pub(super) fn explanation(reason: Idle, row: &CampaignRow, work: &CampaignWork) -> String {
    let id = row.id;
    match (reason, &row.fault) {
        (Idle::NotActive, Some(fault)) => {
            format!("Nothing is dialed: {fault} with PUT /api/v1/campaigns/{id}/settings.")
        }
        (reason, _) => explanation_of(reason, row, work),
    }
}

fn explanation_of(reason: Idle, row: &CampaignRow, work: &CampaignWork) -> String {
    let id = row.id;
    match reason {
        Idle::NotActive if row.state == CampaignState::Archived => {
            "The campaign is archived. It dials nothing, and cannot be activated again.".to_owned()
        }
        Idle::NotActive => format!("The campaign is in the state {}. POST /api/v1/campaigns/{id}/activate.", row.state),
        Idle::Draining => "Paceline is stopping. Calls that are up continue, and no call is launched.".to_owned(),
        Idle::NoAgents => {
            format!("No agent is logged in. POST /api/v1/agents/{{id}}/log-in {{\"campaign_id\": {id}}}.")
        }
        Idle::NoFreeAgent => {
            "Every agent is in a call, in wrap-up, paused, or reserved for a call in flight. `agents` lists them.".to_owned()
        }
        Idle::NoContacts => no_contacts(work),
        Idle::PbxDown => "The PBX of the free agents is not reachable or not resynchronised yet; see `pbxes` in GET /api/v1/live. \
            Paceline reconnects by itself. Run `paceline doctor` to find the cause."
            .to_owned(),
        Idle::PbxFull => "The PBX of the agents refuses new calls. It has reached its limit of sessions or of sessions per second, it is \
             paused, or it shuts down gracefully. Paceline tries it again within 30 s. If the PBX is to restart, POST \
             /api/v1/pbxes/{name}/maintenance: it ends the agents' held legs, which keep the PBX from restarting."
            .to_owned(),
        Idle::PbxMaintenance => "A PBX of the agents is in maintenance, see `pbxes` in GET /api/v1/live. No call is launched there. DELETE \
             /api/v1/pbxes/{name}/maintenance ends it, and then the agents' phones are called again."
            .to_owned(),
        Idle::StoreTrouble => {
            "The database failed a moment ago. A call needs its attempt in the database first, so none is launched. See the log and \
             GET /readyz.".to_owned()
        }
        Idle::ClockDoubted => "The clock of this machine has jumped. No call is launched until the clock is right again, or has kept the new \
             time for 15 minutes. Check the machine's time service."
            .to_owned(),
        Idle::TrunkFailing => {
            "Several calls in a row failed on the trunks before any phone rang. One call tests them every 1 to 30 s, and launches \
             continue as soon as one rings. GET /api/v1/attempts?outcome=failed shows the causes that the PBX reported. Check \
             the trunk on the PBX."
                .to_owned()
        }
        Idle::TrunkSilent => "None of the calls in flight has rung yet. No more calls are launched over these trunks until one rings or ends.".to_owned(),
        Idle::Refilling => "The engine has asked the database for contacts and waits for them.".to_owned(),
        Idle::Pacing => "The agents and the abandon rules allow no more calls in flight now. `pacing` has the latest decision.".to_owned(),
        Idle::NoTrunk => format!(
            "The campaign has no usable trunk on the PBX of a free agent. Add one with POST /api/v1/trunks, then \
             PUT /api/v1/campaigns/{id}/trunks. If it has one, `fault` in GET /api/v1/trunks is the reason why it cannot be used."
        ),
    }
}

fn warn_of(warning: live::Warning, row: &CampaignRow) -> ExplainedWarning {
    let id = row.id;
    let explanation = match warning {
        live::Warning::MessageFailed => {
            let sound = row
                .settings
                .answering
                .abandon_message
                .as_ref()
                .map_or("", name_of);
            format!(
                "The PBX could not play the abandon message `{sound}`. Abandoned callees hear nothing, and an abandon rule may require \
                 a message. Run `paceline doctor`: it checks whether the PBX has the sound, and says where to put it. Or set \
                 another sound with PUT /api/v1/campaigns/{id}/settings."
            )
        }
        live::Warning::RecordingsFailed => {
            "The last recordings failed. GET /api/v1/recordings has the reasons that the PBX gave. Run `paceline doctor`: it \
            checks whether the PBX can record and has the announcement."
                .to_owned()
        }
        live::Warning::SoundUnchecked => {
            "Paceline could not check whether a PBX has a sound of the settings. Run `paceline doctor`.".to_owned()
        }
    };
    ExplainedWarning { warning, explanation }
}

fn no_contacts(work: &CampaignWork) -> String {
    let at = |wall| {
        serde_json::to_value(Utc(wall))
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let mut parts = Vec::new();
    match (work.running, work.next_due_at) {
        (0, _) if work.preparing > 0 => {}
        (0, _) => parts.push("no task runs, POST /api/v1/tasks creates one".to_owned()),
        (n, Some(due)) => parts.push(format!(
            "{n} tasks run, and their next contact is due at {} or later",
            at(due)
        )),
        (n, None) => parts.push(format!(
            "{n} tasks run, and all of their contacts are finished or being called"
        )),
    }
    if work.preparing > 0 {
        parts.push(format!(
            "the contacts of {} tasks are still being read from their lists",
            work.preparing
        ));
    }
    if let Some(until) = work.deferred_until {
        parts.push(format!(
            "{} of them have contacts that the gate has deferred, the first until {}; GET /api/v1/tasks/{{id}} has the reasons",
            work.deferred,
            at(until)
        ));
    }
    if let Some(start) = work.next_start_at {
        parts.push(format!(
            "{} tasks are scheduled, the next one for {}",
            work.scheduled,
            at(start)
        ));
    }
    if work.paused > 0 {
        parts.push(format!("{} tasks are paused", work.paused));
    }
    format!("No contact is due: {}.", parts.join("; "))
}
