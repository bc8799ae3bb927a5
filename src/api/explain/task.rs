//! Why nothing, or little, of a task is being dialed.
//!
//! Input: the task and its campaign, the state of the campaign's engine and of the PBXes, the contacts that wait in the store, and
//! what the gate says of the next of them. Output: the blockers, the most important first.

mod blocker;
mod contacts;

pub(crate) use blocker::{Blocker, BlockerKind, Counted};

use super::super::extract::Id;
use super::super::live::explanation;
use super::super::problem::ApiResult;
use super::super::words::Utc;
use super::super::{ApiState, campaigns, check, tasks};
use super::{archived, policy};
use crate::store::{CampaignRow, CampaignWork, TaskProgress, TaskRow};
use axum::Json as Body;
use axum::extract::State;
use contacts::WaitingContacts;
use paceline_core::agent::AgentState;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::gate::Forecast;
use paceline_core::ids::PbxName;
use paceline_core::live::{Idle, LiveCampaign};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why nothing, or little, of a task is being dialed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskExplained {
    /// The answer in one sentence.
    #[schema(
        example = "Nothing of the task is dialed. No agent is logged in. POST /api/v1/agents/{id}/log-in {\"campaign_id\": 1}."
    )]
    summary: String,
    /// The task's id.
    #[schema(example = 42)]
    task_id: i64,
    /// The campaign's id.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The time for which the gate was asked.
    at: Utc,
    /// `true`: contacts of the task are about to be dialed, or in a call.
    #[schema(example = false)]
    dialing: bool,
    /// The contacts of the task.
    contacts: ExplainedContacts,
    /// What is in the way, the most important first. Empty if nothing is.
    blockers: Vec<Blocker>,
}

impl TaskExplained {
    /// As a process without a dialer sees it: it knows of no agent and of no link.
    pub(super) fn while_nothing_runs(mut self) -> Self {
        let unknown = |kind| kind == BlockerKind::PbxLink || kind == BlockerKind::NotRunning;
        self.blockers.retain(|blocker| !unknown(blocker.kind));
        let text = "Paceline is not running. Start it with `paceline serve`.";
        self.summary = format!("Nothing of task {} is dialed now. {text}", self.task_id);
        self.blockers
            .insert(0, Blocker::new(BlockerKind::NotRunning, text));
        self
    }
}

/// The contacts of a task by what they wait for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExplainedContacts {
    /// Contacts that are due, in places where it is a time to call.
    #[schema(example = 120)]
    due: u64,
    /// Contacts that are due, in places where it is no time to call.
    #[schema(example = 300)]
    outside_hours: u64,
    /// Contacts that are due later, each at its own time: for a retry, or because the gate deferred it.
    #[schema(example = 12)]
    later: u64,
    /// Contacts that are about to be dialed, or in a call.
    #[schema(example = 0)]
    leased: u64,
    /// Finished contacts.
    #[schema(example = 580)]
    done: u64,
    /// Finished contacts that the gate denied.
    #[schema(example = 8)]
    denied: u64,
}

/// Explain why nothing, or little, of a task is being dialed.
///
/// The blockers come in the order in which they must go away: the task, the campaign, Paceline itself, the PBX, agents, trunks, then
/// the contacts by what the gate says of them. The gate is asked about up to 1,000 of the contacts that are due; if there are more,
/// its numbers are estimates. The request counts all contacts of the task, so do not send it every second.
#[utoipa::path(get, path = "/explain/task/{id}", operation_id = "explain_task", tag = "live",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskExplained), (status = 404, description = "No such task"),
        (status = 409, description = "The task's campaign is archived")))]
pub(crate) async fn task(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskExplained>> {
    Ok(Body(explain(&state, id).await?))
}

pub(super) async fn explain(state: &ApiState, id: i64) -> ApiResult<TaskExplained> {
    let now = state.clock.now().wall;
    let task = tasks::find(state, id).await?;
    let campaign = campaigns::find(state, task.campaign.0).await?;
    let policy = policy(state, campaign.id).await?;
    let policy = policy.ok_or_else(|| archived(&campaign.name))?;
    let progress = state.store.task_progress(task.id).await?;
    let mut standing = state.store.task_standing(&policy, task.id, now).await?;
    let pages = std::mem::take(&mut standing.due_pages);
    let said = {
        let policy = Arc::clone(&policy);
        check::aside(move || {
            let mut forecast = Forecast::new(Arc::clone(&policy), now);
            for page in &pages {
                page.judge(&policy, &mut forecast);
            }
            forecast.report()
        })
        .await?
    };
    let work = state.store.campaign_work(campaign.id, now).await?;
    let live = state.dialer.live(campaign.id);
    let around = Around {
        state,
        task: &task,
        campaign: &campaign,
        work: &work,
        live: live.as_deref(),
        trunks: policy.config().trunks.len() as u64,
        pbxes: policy
            .config()
            .trunks
            .iter()
            .map(|trunk| trunk.pbx.clone())
            .collect(),
    };
    let contacts = ExplainedContacts {
        due: standing.due,
        outside_hours: standing.waiting.iter().map(|bucket| bucket.contacts).sum(),
        later: standing.later,
        leased: progress.leased,
        done: progress.done,
        denied: progress
            .last_outcomes
            .get(&Outcome::Blocked)
            .copied()
            .unwrap_or(0),
    };
    let waiting = WaitingContacts::new(state, standing, &said, contacts.denied);
    let callable = waiting.callable;
    let mut blockers = around.blockers();
    blockers.extend(waiting.blockers());
    blockers.extend(around.last(&progress, callable));
    blockers.sort_by_key(|blocker| (blocker.kind.rank(), std::cmp::Reverse(blocker.count)));
    Ok(TaskExplained {
        summary: summary(&task, &contacts, callable, &blockers),
        task_id: task.id.0,
        campaign_id: campaign.id.0,
        at: Utc(now),
        dialing: contacts.leased > 0,
        contacts,
        blockers,
    })
}

/// What surrounds the contacts of a task.
struct Around<'a> {
    state: &'a ApiState,
    task: &'a TaskRow,
    campaign: &'a CampaignRow,
    work: &'a CampaignWork,
    live: Option<&'a LiveCampaign>,
    /// Usable trunks of the campaign.
    trunks: u64,
    /// The PBXes of these trunks.
    pbxes: BTreeSet<PbxName>,
}

impl Around<'_> {
    fn blockers(&self) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        blockers.extend(self.task_state());
        let is_active = self.campaign.state == CampaignState::Active && self.campaign.fault.is_none();
        let idle = match self.live {
            Some(live) if is_active => live.idle.clone(),
            Some(_) | None => vec![Idle::NotActive],
        };
        for reason in idle {
            let kind = match BlockerKind::of_idle(reason) {
                Some(BlockerKind::CampaignState) if is_active => BlockerKind::NotRunning,
                Some(kind) => kind,
                None => continue,
            };
            blockers.push(self.idle(reason, kind));
        }
        let statuses = self.state.dialer.pbxes().into_iter();
        let down = statuses.filter(|pbx| self.pbxes.contains(&pbx.name) && !pbx.connected);
        let down: Vec<_> = down.map(|pbx| format!("`{}`", pbx.name.as_str())).collect();
        blockers.retain(|blocker| blocker.kind != BlockerKind::PbxLink || down.is_empty());
        if !down.is_empty() {
            blockers.push(Blocker {
                count: Some(down.len() as u64),
                of: Some(Counted::Pbxes),
                ..Blocker::new(
                    BlockerKind::PbxLink,
                    format!(
                        "The link to the PBX {} is down, or not resynchronised yet. Paceline reconnects by itself. Run `paceline doctor` to \
                         find the cause.",
                        down.join(", ")
                    ),
                )
            });
        }
        blockers
    }

    fn task_state(&self) -> Option<Blocker> {
        let id = self.task.id;
        let (text, until) = match self.task.state {
            TaskState::Running => return None,
            TaskState::Preparing => (
                "The contacts of the task are still being taken from its list. Wait until it runs."
                    .to_owned(),
                None,
            ),
            TaskState::Scheduled => (
                format!("The task starts at its start time. POST /api/v1/tasks/{id}/start starts it now."),
                Some(Utc(self.task.start_at)),
            ),
            TaskState::Paused => (
                format!("The task is paused. POST /api/v1/tasks/{id}/resume."),
                None,
            ),
            TaskState::Completed => (
                "The task is completed: each contact was reached, or is out of retries, or was denied."
                    .to_owned(),
                None,
            ),
            TaskState::Cancelled => (
                "The task is cancelled. That is final: create a new task.".to_owned(),
                None,
            ),
        };
        Some(Blocker {
            until,
            ..Blocker::new(BlockerKind::TaskState, text)
        })
    }

    fn idle(&self, reason: Idle, kind: BlockerKind) -> Blocker {
        let nobody = LiveCampaign::default();
        let live = self.live.unwrap_or(&nobody);
        let agents = |busy: &dyn Fn(AgentState) -> bool| -> u64 {
            let agents = live.agents_by_state.iter();
            agents
                .filter(|(state, _)| busy(**state))
                .map(|(_, count)| *count as u64)
                .sum()
        };
        let (count, of) = match kind {
            BlockerKind::NoAgents => (Some(0), Some(Counted::Agents)),
            BlockerKind::NoFreeAgent => (Some(agents(&|_| true)), Some(Counted::Agents)),
            BlockerKind::NoTrunk => (Some(self.trunks), Some(Counted::Trunks)),
            BlockerKind::TrunkFailing => (Some(live.trunks_held.len() as u64), Some(Counted::Trunks)),
            BlockerKind::PbxFull => (Some(live.full.len() as u64), Some(Counted::Pbxes)),
            _ => (None, None),
        };
        let text = match kind {
            BlockerKind::NotRunning => {
                "Paceline does not run the campaign yet. It begins within seconds.".to_owned()
            }
            _ => explanation(reason, self.campaign, self.work),
        };
        Blocker {
            count,
            of,
            ..Blocker::new(kind, text)
        }
    }

    /// Blockers that depend on what the contacts are found to wait for.
    fn last(&self, progress: &TaskProgress, callable: u64) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        let runs = self.task.state == TaskState::Running;
        if runs && progress.ready == 0 && progress.leased == 0 {
            blockers.push(Blocker {
                count: Some(0),
                of: Some(Counted::Contacts),
                ..Blocker::new(
                    BlockerKind::NoContacts,
                    format!(
                        "No contact of the task is left: all {} are finished.",
                        progress.done
                    ),
                )
            });
        }
        let others = self.work.running.saturating_sub(1);
        if runs && callable > 0 && others > 0 {
            blockers.push(Blocker {
                count: Some(others),
                of: Some(Counted::Tasks),
                ..Blocker::new(
                    BlockerKind::OtherTasks,
                    format!("Other running tasks of the campaign, which take turns with this one: {others}."),
                )
            });
        }
        blockers
    }
}

fn summary(task: &TaskRow, contacts: &ExplainedContacts, callable: u64, blockers: &[Blocker]) -> String {
    let id = task.id;
    let stops = |blocker: &&Blocker| {
        blocker.kind <= BlockerKind::Draining
            || contacts.leased == 0 && blocker.kind <= BlockerKind::NoContacts
    };
    if let Some(first) = blockers.iter().find(stops) {
        return format!("Nothing more of task {id} is dialed now. {}", first.explanation);
    }
    let mut waiting = blockers.iter().filter(|blocker| blocker.kind.is_about_contacts());
    let mut others = blockers
        .iter()
        .filter(|blocker| !blocker.kind.is_about_contacts());
    if callable == 0 {
        let of = if contacts.leased == 0 { "No" } else { "No other" };
        return match waiting.next() {
            Some(waiting) => format!(
                "{of} contact of task {id} may be dialed now. {}",
                waiting.explanation
            ),
            None => format!("{of} contact of task {id} is due now."),
        };
    }
    let dialed = format!(
        "Task {id} is being dialed: {} contacts are about to be dialed or in a call, and {callable} more may be dialed now.",
        contacts.leased
    );
    match others.next() {
        Some(first) => format!("{dialed} {}", first.explanation),
        None => dialed,
    }
}

/// A time in JSON, if there is one.
fn utc(at: Option<Wall>) -> Option<Utc> {
    at.map(Utc)
}
