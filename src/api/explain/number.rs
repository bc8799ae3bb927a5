//! What the gate says of a number now, what it said before, and when the number may be called next.

use super::super::attempts::Attempt;
use super::super::check;
use super::super::contacts::why::{ContactTask, Decision};
use super::super::dnc::DncEntry;
use super::super::extract::{Id, Query};
use super::super::problem::{ApiResult, Fault, Kind, Problem};
use super::super::words::Utc;
use super::super::{ApiState, Caller, campaigns};
use super::{archived, moment, policy, rule_names};
use crate::store::{CampaignRow, ContactState, NumberJudgement};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::contact::NumberKind;
use paceline_core::gate::{GateVerdict, RuleReason};
use paceline_core::ids::{CampaignId, ContactId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};

/// Contacts whose stored decisions are shown, the newest first.
const CONTACTS_MAX: i64 = 20;
/// Decisions and attempts that are shown, the newest first.
const SHOWN_MAX: usize = 100;

/// What the gate says of a number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NumberExplained {
    /// The answer in one sentence.
    #[schema(
        example = "Campaign `renewals` may not call the number before 2026-11-20T13:00:00Z: us-ftc hours, us-fcc hours."
    )]
    summary: String,
    /// The number in E.164.
    #[schema(example = "+12025550123")]
    number: String,
    /// The time for which the gate was asked.
    at: Utc,
    /// Where the number may be, by the number plan.
    place: NumberPlace,
    /// The entries of the number on the do-not-call list, also those that have ended and those for some campaigns.
    do_not_call: Vec<DncEntry>,
    /// The suppression lists that hold the number.
    #[schema(example = json!([]))]
    suppression_lists: Vec<String>,
    /// What the gate would say now, for each campaign with a contact that has the number, and each such contact.
    campaigns: Vec<NumberInCampaign>,
    /// What the gate said of the contacts with this number, the newest first, at most 100.
    decisions: Vec<ContactDecision>,
    /// The attempts to this number, the newest first, at most 100.
    attempts: Vec<Attempt>,
}

/// Where a number may be, by the number plan. A contact's own address and time zone are not in it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NumberPlace {
    /// `false`: the number plan has no such number. It is never called.
    #[schema(example = true)]
    possible: bool,
    /// The country (ISO 3166-1).
    #[schema(example = "US")]
    country: Option<String>,
    /// The region by name.
    #[schema(example = "Washington D.C.")]
    region: Option<&'static str>,
    /// The kind of line.
    line: Option<NumberKind>,
    /// All plausible states of the US or provinces of Canada.
    #[schema(example = json!(["DC"]))]
    states: Vec<String>,
    /// All plausible time zones. Empty: the number is never called.
    #[schema(example = json!(["America/New_York"]))]
    time_zones: Vec<&'static str>,
}

/// What the gate would say now of a call of a campaign.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NumberInCampaign {
    /// The campaign's id.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The campaign's name.
    #[schema(example = "renewals")]
    campaign: String,
    /// The campaign's state.
    campaign_state: CampaignState,
    /// The contact with the number. Null if the campaign has none: then the gate was told the number only.
    #[schema(example = 1234)]
    contact_id: Option<i64>,
    /// `allow`, `defer` or `deny`.
    #[schema(example = "defer")]
    verdict: &'static str,
    /// `allow`: every rule that was asked. Otherwise: every rule that defers or denies.
    reasons: Vec<RuleReason>,
    /// `defer`: the time from which the gate would allow the call, if nothing changes. Otherwise null.
    until: Option<Utc>,
    /// The earliest time at which the campaign may dial the contact: the gate allows it then, and a running task has the
    /// contact due. Null if it will not be dialed as things are.
    next_call_at: Option<Utc>,
    /// The answer in words.
    #[schema(example = "may not call the number before 2026-11-20T13:00:00Z: us-ftc hours, us-fcc hours")]
    explanation: String,
    /// The contact's state in each task of the campaign, the newest first.
    tasks: Vec<ContactTask>,
}

/// A decision about a contact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ContactDecision {
    /// The contact.
    #[schema(example = 1234)]
    contact_id: i64,
    #[serde(flatten)]
    decision: Decision,
}

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplainNumber {
    /// Ask for this campaign only, also if no contact of it has the number. If left out: every campaign with a contact that has it.
    campaign_id: Option<i64>,
}

/// Explain what the gate says of a number.
///
/// What it would say now in each campaign that has the number, with every rule; what it said before; the attempts; and when the
/// number may be called next. It needs a key that may see numbers, because the answer tells whose number it is. Paceline logs no
/// path; a proxy before it may.
#[utoipa::path(get, path = "/explain/number/{e164}", operation_id = "explain_number", tag = "live",
    params(("e164" = String, Path, description = "The number in E.164, such as +12025550123"), ExplainNumber),
    responses((status = 200, body = NumberExplained), (status = 404, description = "No such campaign"),
        (status = 409, description = "The campaign is archived")))]
pub(crate) async fn number(
    State(state): State<ApiState>,
    caller: Caller,
    Id(e164): Id<String>,
    Query(query): Query<ExplainNumber>,
) -> ApiResult<Body<NumberExplained>> {
    caller.must_see_numbers()?;
    let number = read(&state, &e164)?;
    Ok(Body(explain(&state, caller, &number, query.campaign_id).await?))
}

pub(super) fn read(state: &ApiState, text: &str) -> ApiResult<E164> {
    check::number(state, text).map_err(|error| {
        Problem::new(
            Kind::BadParameter,
            "The number cannot be read. Write it in E.164, such as +12025550123.",
        )
        .with_errors(vec![Fault::parameter("e164", error.to_string())])
    })
}

pub(super) async fn explain(
    state: &ApiState,
    caller: Caller,
    number: &E164,
    campaign: Option<i64>,
) -> ApiResult<NumberExplained> {
    let now = state.clock.now().wall;
    let asked = match campaign {
        Some(id) => vec![CampaignId(id)],
        None => state.store.campaigns_with_number(number).await?,
    };
    let listed = state.store.listed(number, now).await?;
    let on_list = SuppressionSettings::default().refuses(&listed).is_some();
    let contacts = state.store.contacts_with_number(number, CONTACTS_MAX).await?;
    let mut decisions = Vec::new();
    for contact in &contacts {
        let shown = i64::try_from(SHOWN_MAX).unwrap_or(i64::MAX);
        decisions.extend(state.store.decisions_of_contact(contact.id, shown).await?);
    }
    decisions.sort_by_key(|decision| std::cmp::Reverse(decision.at));
    let mut campaigns = Vec::new();
    for id in asked {
        let row = campaigns::find(state, id.0).await?;
        let policy = policy(state, id).await?;
        let policy = policy.ok_or_else(|| archived(&row.name))?;
        for judged in state.store.judge_number(&policy, number, now).await? {
            let mut tasks = Vec::new();
            if let Some(contact) = judged.contact {
                for task in state.store.tasks_of_contact(contact, 100).await? {
                    if task.campaign == id {
                        let of_task = |decision: &&_| is_of(decision, contact, task.task);
                        let last = decisions.iter().find(of_task);
                        tasks.push(ContactTask::new(task, last, on_list, now));
                    }
                }
            }
            campaigns.push(NumberInCampaign::new(&row, judged, tasks, now));
        }
    }
    let entries = state.store.dnc_entries_of(number).await?;
    let attempts = i64::try_from(SHOWN_MAX).unwrap_or(i64::MAX);
    let attempts = state.store.attempts_of_number(number, attempts).await?;
    decisions.truncate(SHOWN_MAX);
    Ok(NumberExplained {
        summary: summary(&campaigns),
        number: caller.show(number),
        at: Utc(now),
        place: place(number),
        do_not_call: entries
            .into_iter()
            .map(|row| DncEntry::new(row, caller))
            .collect(),
        suppression_lists: listed.lists.iter().map(|(name, _)| name.to_string()).collect(),
        campaigns,
        decisions: decisions
            .into_iter()
            .map(|row| ContactDecision {
                contact_id: row.contact.0,
                decision: Decision::from(row),
            })
            .collect(),
        attempts: attempts
            .into_iter()
            .map(|row| Attempt::new(row, caller))
            .collect(),
    })
}

fn is_of(decision: &crate::store::DecisionRow, contact: ContactId, task: paceline_core::ids::TaskId) -> bool {
    decision.contact == contact && decision.task == task
}

fn place(number: &E164) -> NumberPlace {
    let places = paceline_places::of_number(number);
    NumberPlace {
        possible: places.possible,
        country: places.country.map(|country| country.as_str().to_owned()),
        region: paceline_places::region(number),
        line: places.line,
        states: places
            .states
            .iter()
            .map(|state| state.as_str().to_owned())
            .collect(),
        time_zones: places.zones.iter().map(|zone| zone.name()).collect(),
    }
}

impl NumberInCampaign {
    fn new(row: &CampaignRow, judged: NumberJudgement, tasks: Vec<ContactTask>, now: Wall) -> Self {
        let allowed_at = match judged.verdict {
            GateVerdict::Allow => Some(now),
            GateVerdict::Defer { until_ms } => Some(until_ms),
            GateVerdict::Deny => None,
        };
        let until = allowed_at.filter(|_| judged.verdict != GateVerdict::Allow);
        let waits = |task: &&ContactTask| {
            task.state == ContactState::Ready.as_str() && task.task_state == TaskState::Running
        };
        let due = tasks.iter().filter(waits).map(|task| task.due_at.0).min();
        let is_active = row.state == CampaignState::Active && row.fault.is_none();
        let next = allowed_at.zip(due).map(|(allowed, due)| allowed.max(due));
        let next = next.filter(|_| is_active);
        Self {
            explanation: explanation(row, &judged, next, &tasks, now),
            campaign_id: row.id.0,
            campaign: row.name.clone(),
            campaign_state: row.state,
            contact_id: judged.contact.map(|contact| contact.0),
            verdict: judged.verdict.as_str(),
            reasons: judged.reasons,
            until: until.map(Utc),
            next_call_at: next.map(Utc),
            tasks,
        }
    }
}

/// Follows the campaign's name.
fn explanation(
    row: &CampaignRow,
    judged: &NumberJudgement,
    next: Option<Wall>,
    tasks: &[ContactTask],
    now: Wall,
) -> String {
    let rules = rule_names(&judged.reasons);
    let said = match judged.verdict {
        GateVerdict::Allow => "may call the number now".to_owned(),
        GateVerdict::Defer { until_ms } => {
            format!("may not call the number before {}: {rules}", moment(until_ms))
        }
        GateVerdict::Deny => return format!("does not call the number: {rules}"),
    };
    let but = match next {
        Some(next) if next > now && judged.verdict == GateVerdict::Allow => {
            format!(", but its contact is not due before {}", moment(next))
        }
        Some(_) => String::new(),
        None if judged.contact.is_none() => ", but has no contact with it".to_owned(),
        None if row.state != CampaignState::Active => format!(", but the campaign is {}", row.state),
        None => match tasks.first() {
            Some(task) => format!(
                ", but in its newest task the contact {}",
                after_contact(&task.explanation)
            ),
            None => String::new(),
        },
    };
    format!("{said}{but}")
}

/// Such as `is finished after 3 attempts`.
fn after_contact(explanation: &str) -> String {
    match explanation.starts_with("waits") || explanation.starts_with("will") {
        true => explanation.to_owned(),
        false => format!("is {explanation}"),
    }
}

fn summary(campaigns: &[NumberInCampaign]) -> String {
    let first = |verdict: &str| campaigns.iter().find(|campaign| campaign.verdict == verdict);
    match campaigns {
        [] => "No task has a contact with this number. Give `campaign_id` to ask what the gate would say."
            .to_owned(),
        [one] => format!("Campaign `{}` {}.", one.campaign, one.explanation),
        more => {
            let told = first("allow").or_else(|| first("defer")).or(more.first());
            let count = |verdict: &str| more.iter().filter(|campaign| campaign.verdict == verdict).count();
            let told = told.map_or_else(String::new, |one| {
                format!(" Campaign `{}` {}.", one.campaign, one.explanation)
            });
            format!(
                "{} contacts of campaigns have this number: the gate allows {}, defers {} and denies {}.{told}",
                more.len(),
                count("allow"),
                count("defer"),
                count("deny"),
            )
        }
    }
}
