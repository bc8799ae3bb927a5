//! The reasons why a contact was or was not dialed, from the stored decisions and attempts, and what will happen next.

use super::super::attempts::Attempt;
use super::super::check;
use super::super::extract::{Id, Json};
use super::super::problem::{ApiResult, Problem};
use super::super::words::Utc;
use super::super::{ApiState, Caller};
use super::{Contact, find};
use crate::store::{ContactTaskRow, DecisionRow};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::gate::{GateStage, GateVerdict, RuleReason};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Maximum number of decisions and of attempts shown for a contact, the newest first.
const SHOWN_MAX: i64 = 100;

/// A decision of the gate. Paceline stores one before each call, and one for each refusal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Decision {
    /// The time of the decision.
    at: Utc,
    /// The task's id.
    #[schema(example = 42)]
    task_id: i64,
    /// The attempt that followed the decision. Null if none did.
    attempt_id: Option<Uuid>,
    /// The stage at which the gate decided.
    stage: GateStage,
    /// `allow`, `defer` or `deny`.
    #[schema(example = "defer")]
    verdict: &'static str,
    /// `allow`: every rule that was asked. Otherwise: every rule that defers or denies.
    reasons: Vec<RuleReason>,
    /// `defer`: the time until which the contact is deferred. Otherwise null.
    until: Option<Utc>,
}

impl From<DecisionRow> for Decision {
    fn from(row: DecisionRow) -> Self {
        Self {
            at: Utc(row.at),
            task_id: row.task.0,
            attempt_id: row.attempt.map(|id| id.0),
            stage: row.stage,
            verdict: row.verdict.as_str(),
            reasons: row.reasons,
            until: match row.verdict {
                GateVerdict::Defer { until_ms } => Some(Utc(until_ms)),
                GateVerdict::Allow | GateVerdict::Deny => None,
            },
        }
    }
}

/// A contact's state in a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ContactTask {
    /// The task's id.
    #[schema(example = 42)]
    task_id: i64,
    /// The task's state.
    pub(crate) task_state: TaskState,
    /// The campaign's id.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The campaign's state.
    campaign_state: CampaignState,
    /// The contact's state: `ready` (it waits), `leased` (it is about to be dialed, or in a call) or `done` (finished).
    #[schema(example = "ready")]
    pub(crate) state: &'static str,
    /// The earliest time of the next attempt.
    pub(crate) due_at: Utc,
    /// Number of attempts made so far.
    #[schema(example = 1)]
    attempts_made: u32,
    /// The outcome of the last attempt. Null if there was none.
    last_outcome: Option<Outcome>,
    /// The state in words.
    #[schema(example = "waits for its calling hours until 2026-11-20T13:00:00Z")]
    pub(crate) explanation: String,
}

/// The reasons why a contact was or was not dialed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Why {
    /// The contact.
    contact: Contact,
    /// `true`: all of the contact's numbers are on do-not-call lists that hold for every campaign now.
    on_do_not_call_list: bool,
    /// The places of the contact's numbers that are on such a list, from 1.
    #[schema(example = json!([2]))]
    numbers_on_do_not_call_list: Vec<usize>,
    /// The contact's state in each task, the newest first, at most 100.
    tasks: Vec<ContactTask>,
    /// The gate's decisions, the newest first, at most 100.
    decisions: Vec<Decision>,
    /// The attempts to reach the contact, the newest first, at most 100.
    attempts: Vec<Attempt>,
}

/// Explain why a contact was or was not dialed.
///
/// The answer has the contact's state in each task, the decisions of the gate with their reasons, and the attempts.
#[utoipa::path(get, path = "/contacts/{id}/why", operation_id = "explain_contact", tag = "contacts",
    params(("id" = i64, Path, description = "The contact")),
    responses((status = 200, body = Why), (status = 404, description = "No such contact")))]
pub(crate) async fn why(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<Body<Why>> {
    let contact = find(&state, id).await?;
    let now = state.clock.now().wall;
    let every_campaign = SuppressionSettings::default();
    let mut listed = Vec::new();
    for (n, number) in (1..).zip(&contact.contact.numbers) {
        let found = state.store.listed(&number.number, now).await?;
        if every_campaign.refuses(&found).is_some() {
            listed.push(n);
        }
    }
    let on_list = listed.len() == contact.contact.numbers.len();
    let tasks = state.store.tasks_of_contact(contact.id, SHOWN_MAX).await?;
    let decisions = state.store.decisions_of_contact(contact.id, SHOWN_MAX).await?;
    let attempts = state.store.attempts_of_contact(contact.id, SHOWN_MAX).await?;
    let explain = |row: ContactTaskRow| {
        let last = decisions.iter().find(|decision| decision.task == row.task);
        ContactTask::new(row, last, on_list, now)
    };
    Ok(Body(Why {
        on_do_not_call_list: on_list,
        numbers_on_do_not_call_list: listed,
        tasks: tasks.into_iter().map(explain).collect(),
        decisions: decisions.iter().cloned().map(Decision::from).collect(),
        attempts: attempts
            .into_iter()
            .map(|row| Attempt::new(row, caller))
            .collect(),
        contact: Contact::new(contact, caller),
    }))
}

impl ContactTask {
    pub(crate) fn new(row: ContactTaskRow, last: Option<&DecisionRow>, on_list: bool, now: Wall) -> Self {
        Self {
            explanation: explanation(&row, last, on_list, now),
            task_id: row.task.0,
            task_state: row.task_state,
            campaign_id: row.campaign.0,
            campaign_state: row.campaign_state,
            state: row.state.as_str(),
            due_at: Utc(row.due_at),
            attempts_made: row.attempts_made,
            last_outcome: row.last_outcome,
        }
    }
}

fn explanation(row: &ContactTaskRow, last: Option<&DecisionRow>, on_list: bool, now: Wall) -> String {
    use crate::store::ContactState;
    let at = |wall: Wall| {
        serde_json::to_value(Utc(wall))
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let reasons = |row: &DecisionRow| {
        let rule = |reason: &RuleReason| format!("{} {}", reason.profile, reason.rule);
        let rules: Vec<String> = row.reasons.iter().map(rule).collect();
        rules.join(", ")
    };
    match (row.state, last, row.last_outcome) {
        (ContactState::Leased, _, _) => "taken up by the dialer: about to be dialed, or in a call".to_owned(),
        (ContactState::Done, Some(decision), _) if decision.verdict == GateVerdict::Deny => {
            format!("finished: the gate refused it for good ({})", reasons(decision))
        }
        (ContactState::Done, _, Some(outcome)) => {
            format!(
                "finished after {} attempts, the last one `{outcome}`",
                row.attempts_made
            )
        }
        (ContactState::Done, _, None) => "finished without an attempt".to_owned(),
        (ContactState::Ready, _, _) if on_list => {
            "will be refused: all of its numbers are on the do-not-call list".to_owned()
        }
        (ContactState::Ready, _, _) if row.task_state != TaskState::Running => {
            format!("waits: its task is {}", row.task_state)
        }
        (ContactState::Ready, _, _) if row.campaign_state != CampaignState::Active => {
            format!("waits: its campaign is {}", row.campaign_state)
        }
        (ContactState::Ready, Some(decision), _)
            if row.due_at > now && matches!(decision.verdict, GateVerdict::Defer { .. }) =>
        {
            format!(
                "deferred by the gate ({}) until {}",
                reasons(decision),
                at(row.due_at)
            )
        }
        (ContactState::Ready, _, Some(outcome)) if row.due_at > now => {
            format!(
                "waits for its next attempt at {}, as the last one was `{outcome}`",
                at(row.due_at)
            )
        }
        (ContactState::Ready, _, _) if row.due_at > now => format!("waits until {}", at(row.due_at)),
        (ContactState::Ready, _, _) => {
            "due: it is dialed as soon as an agent is free; GET /api/v1/live tells what is in the way"
                .to_owned()
        }
    }
}

/// A search for contacts.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchContacts {
    /// The number in any usual notation.
    #[schema(example = "+12025550123")]
    number: String,
}

/// The contacts with a number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FoundContacts {
    /// The newest 200 contacts with the number, at most one of each list.
    items: Vec<Contact>,
}

/// Find contacts by number.
///
/// The request is a POST, so that the number does not get into the log of a proxy. It needs a key that may see numbers,
/// because the answer tells whose number it is.
#[utoipa::path(post, path = "/contacts/search", operation_id = "search_contacts", tag = "contacts",
    request_body = SearchContacts, responses((status = 200, body = FoundContacts)))]
pub(crate) async fn search(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<SearchContacts>,
) -> ApiResult<Body<FoundContacts>> {
    caller.must_see_numbers()?;
    let number =
        check::number(&state, &input.number).map_err(|error| Problem::field("/number", error.to_string()))?;
    let rows = state.store.contacts_with_number(&number, 200).await?;
    Ok(Body(FoundContacts {
        items: rows.into_iter().map(|row| Contact::new(row, caller)).collect(),
    }))
}
