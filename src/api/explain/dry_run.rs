//! What would become of a task, before it is created: the gate is asked about every contact, and nothing is stored.
//!
//! One reader takes the contacts from the store page by page; the gate is asked about a page on a thread of its own while the next is
//! read. So the memory does not depend on the list.

use super::super::problem::{ApiResult, Problem};
use super::super::words::Utc;
use super::super::{ApiState, check};
use super::{RuleCount, archived, moment, policy};
use crate::store::{CampaignRow, ForecastPage};
use paceline_core::gate::{CampaignPolicy, Forecast, ForecastHour, ForecastReason, ForecastReport};
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Dry runs at the same time.
pub(in crate::api) const DRY_RUNS_MAX: usize = 1;
/// A longer dry run answers with what it has. Below the time limit of a request.
const TIME_MAX: Duration = Duration::from_secs(25);
/// Numbers of a pool on a page.
const PAGE: usize = 2_000;

/// What would become of a task. Nothing was created.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DryRun {
    /// The result in one sentence.
    #[schema(
        example = "Of 1000 contacts, 412 may be called at the start, 380 wait, and 208 are skipped, most by paceline suppressed."
    )]
    summary: String,
    /// The campaign.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The start of the task, for which the gate was asked.
    starts_at: Utc,
    /// Contacts that the gate was asked about.
    #[schema(example = 1000)]
    contacts: u64,
    /// `false`: the list is so long that time ran out, and the numbers are those of its first `contacts` contacts.
    #[schema(example = true)]
    complete: bool,
    /// Numbers of the pool that came more than once.
    #[schema(example = 0)]
    duplicates: u64,
    /// Contacts that may be called at the start.
    #[schema(example = 412)]
    callable: u64,
    /// Contacts that must wait at the start.
    #[schema(example = 380)]
    waiting: u64,
    /// Contacts that will be skipped: the gate denies them.
    #[schema(example = 208)]
    skipped: u64,
    /// Contacts that must wait until after the last of `hours`.
    #[schema(example = 0)]
    later: u64,
    /// The rules that deny, those with the most contacts first. Each contact counts once, for the rule that decided.
    skipped_by: Vec<RuleCount>,
    /// The rules that defer at the start, likewise.
    waiting_by: Vec<RuleCount>,
    /// The 168 hours from the start on. Calls that the task itself makes are not foreseen.
    hours: Vec<DryRunHour>,
    /// Why nothing will be dialed as things are, and what to do. Empty if nothing is in the way.
    #[schema(example = json!([]))]
    notes: Vec<String>,
}

/// One hour of a dry run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DryRunHour {
    /// Its begin: a whole hour of UTC, or the start of the task.
    from: Utc,
    /// Contacts that may be called at some time in this hour.
    #[schema(example = 792)]
    callable: u64,
    /// Those of them that may not be called earlier.
    #[schema(example = 380)]
    first: u64,
}

/// The contacts of a task that is not created.
pub(in crate::api) enum Planned {
    List(ContactListId),
    Numbers(Vec<E164>),
}

/// Asks the gate about all contacts of a task.
pub(in crate::api) async fn dry_run(
    state: &ApiState,
    campaign: &CampaignRow,
    contacts: Planned,
    duplicates: u64,
    starts_at: Wall,
    notes: Vec<String>,
) -> ApiResult<DryRun> {
    let Ok(_turn) = Arc::clone(&state.dry_runs).try_acquire_owned() else {
        return Err(Problem::unavailable(
            "Another dry run is under way, and there can be one at a time. Try again in a few seconds.",
            5,
        ));
    };
    let policy = policy(state, campaign.id).await?;
    let policy = policy.ok_or_else(|| archived(&campaign.name))?;
    let (report, complete) = forecast(state, policy, contacts, starts_at).await?;
    let count = |reasons: Vec<ForecastReason>| -> Vec<RuleCount> {
        let count = |reason: ForecastReason| RuleCount::new(reason.example, reason.contacts);
        reasons.into_iter().map(count).collect()
    };
    Ok(DryRun {
        summary: summary(&report, complete),
        campaign_id: campaign.id.0,
        starts_at: Utc(starts_at),
        contacts: report.contacts,
        complete,
        duplicates,
        callable: report.callable,
        waiting: report.waiting,
        skipped: report.skipped,
        later: report.later,
        skipped_by: count(report.skipped_by),
        waiting_by: count(report.waiting_by),
        hours: report.hours.into_iter().map(DryRunHour::from).collect(),
        notes,
    })
}

impl From<ForecastHour> for DryRunHour {
    fn from(hour: ForecastHour) -> Self {
        Self {
            from: Utc(hour.from),
            callable: hour.callable,
            first: hour.first,
        }
    }
}

/// The report, and whether it is about all contacts.
async fn forecast(
    state: &ApiState,
    policy: Arc<CampaignPolicy>,
    contacts: Planned,
    starts_at: Wall,
) -> ApiResult<(ForecastReport, bool)> {
    let started = Instant::now();
    let mut forecast = Forecast::new(Arc::clone(&policy), starts_at);
    let mut rest = Rest::new(contacts);
    let mut page = rest.read(state, &policy).await?;
    let mut complete = true;
    while let Some(found) = page.take() {
        if started.elapsed() > TIME_MAX {
            complete = false;
            break;
        }
        rest.go_on(&found);
        let judging = judge(Arc::clone(&policy), forecast, found);
        let (judged, read) = tokio::join!(judging, rest.read(state, &policy));
        forecast = judged?;
        page = read?;
    }
    Ok((check::aside(|| forecast.report()).await?, complete))
}

async fn judge(policy: Arc<CampaignPolicy>, forecast: Forecast, page: ForecastPage) -> ApiResult<Forecast> {
    check::aside(move || {
        let mut forecast = forecast;
        page.judge(&policy, &mut forecast);
        forecast
    })
    .await
}

/// The contacts that were not read yet.
enum Rest {
    List {
        list: ContactListId,
        after: Option<ContactId>,
    },
    Numbers {
        numbers: Vec<E164>,
        read: usize,
    },
}

impl Rest {
    fn new(contacts: Planned) -> Self {
        match contacts {
            Planned::List(list) => Self::List {
                list,
                after: Some(ContactId(0)),
            },
            Planned::Numbers(numbers) => Self::Numbers { numbers, read: 0 },
        }
    }

    /// The next page. `None`: there are no more.
    async fn read(&self, state: &ApiState, policy: &CampaignPolicy) -> ApiResult<Option<ForecastPage>> {
        let now = state.clock.now().wall;
        let page = match self {
            Self::List { after: None, .. } => return Ok(None),
            Self::List {
                list,
                after: Some(after),
            } => state.store.forecast_page(policy, *list, *after, now).await?,
            Self::Numbers { numbers, read } => {
                let page: Vec<_> = numbers.iter().skip(*read).take(PAGE).cloned().collect();
                if page.is_empty() {
                    return Ok(None);
                }
                state.store.forecast_numbers(policy, &page, now).await?
            }
        };
        Ok(Some(page))
    }

    fn go_on(&mut self, page: &ForecastPage) {
        match self {
            Self::List { after, .. } => *after = page.next,
            Self::Numbers { read, .. } => *read = read.saturating_add(PAGE),
        }
    }
}

fn summary(report: &ForecastReport, complete: bool) -> String {
    let by = |reasons: &[ForecastReason], of: u64| match reasons {
        [] => String::new(),
        [most, ..] => {
            let part = match most.contacts {
                all if all == of => "",
                most if most > of / 2 => "most ",
                _ => "among others ",
            };
            format!(", {part}by {} {}", most.example.profile, most.example.rule)
        }
    };
    let first = report.hours.iter().find(|hour| hour.first > 0);
    let from = match first {
        Some(hour) if report.callable == 0 => {
            format!(
                " The first may be called in the hour from {} on.",
                moment(hour.from)
            )
        }
        Some(_) | None => String::new(),
    };
    let of = if complete { "" } else { "the first " };
    format!(
        "Of {of}{} contacts, {} may be called at the start, {} wait{}, and {} are skipped{}.{from}",
        report.contacts,
        report.callable,
        report.waiting,
        by(&report.waiting_by, report.waiting),
        report.skipped,
        by(&report.skipped_by, report.skipped),
    )
}
