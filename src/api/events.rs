//! Live events as server-sent events (WHATWG HTML standard, section 9.2).
//!
//! In: the stream of [`crate::events`]. Out: one endless answer for each client that follows it. Few clients do.

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::masking;
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use crate::events::{Event, EventId, Filter, Next, Reader};
use crate::metrics::QueueMetrics;
use crate::store::Store;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{self, Sse};
use futures_util::stream::{self, Stream};
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::campaign::TaskState;
use paceline_core::event::{AlarmKind, CallProgress, CallStep, EventKind, What};
use paceline_core::ids::CampaignId;
use paceline_core::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use uuid::Uuid;

/// Maximum number of open streams of one key.
const STREAMS_PER_KEY_MAX: usize = 8;
/// Maximum number of open streams of all keys together.
const STREAMS_MAX: usize = 64;
/// If no event is sent for this long, Paceline sends an id without an event, so that both ends notice a dead connection, and a
/// client whose filter lets no event through does not resume from far behind.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Interval between two checks that a stream's key is still valid.
const KEY_CHECK: Duration = Duration::from_secs(5);

/// The open streams, counted by key.
#[derive(Debug)]
pub(super) struct Followers {
    open: Mutex<BTreeMap<i64, usize>>,
    queue: QueueMetrics,
}

/// One counted stream. Dropping it frees its place.
#[derive(Debug)]
struct Place {
    followers: Arc<Followers>,
    key: i64,
}

impl Followers {
    pub(super) fn new(queue: QueueMetrics) -> Self {
        let open = Mutex::default();
        Self { open, queue }
    }

    fn place(self: &Arc<Self>, key: i64) -> Option<Place> {
        let mut open = self.open();
        let of_key = open.get(&key).copied().unwrap_or(0);
        if of_key >= STREAMS_PER_KEY_MAX || open.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        open.insert(key, of_key + 1);
        self.queue.depth.inc();
        let followers = Arc::clone(self);
        Some(Place { followers, key })
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<i64, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followers.queue.depth.dec();
        let mut open = self.followers.open();
        if let Some(n) = open.get_mut(&self.key) {
            *n = n.saturating_sub(1);
        }
        open.retain(|_, n| *n > 0);
    }
}

/// True if an answer is an event stream.
pub(super) fn is_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Filters of the event stream.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Kinds of events, separated by commas: `call`, `agent`, `task`, `trunk`, `pbx`, `alarm`. All kinds if left out.
    #[param(example = "call,agent")]
    kind: Option<String>,
    /// Only events of this campaign, and events that concern all campaigns, such as those of a PBX.
    campaign_id: Option<i64>,
}

/// The data of one event. Fields that do not belong to its kind are left out.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventData {
    /// The time of the event.
    at: Utc,
    /// The kind of event. It is also the name of the server-sent event.
    kind: EventKind,
    /// The campaign. Left out if the event concerns all campaigns.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    campaign_id: Option<i64>,
    /// `call`: the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_id: Option<Uuid>,
    /// `call`: the step that the call has reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<CallStep>,
    /// `call`, when it is dialed: the trunk that carries it. `trunk`: the trunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    trunk_id: Option<i64>,
    /// `call`, when it is dialed or ends, and `task`: the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    task_id: Option<i64>,
    /// `call`, when it is dialed or ends: the contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    contact_id: Option<i64>,
    /// `call`, when it is connected, and `agent`: the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    agent_id: Option<i64>,
    /// `call`, when it ends: the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// `agent`: the new state.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_state: Option<AgentState>,
    /// `agent`: the reason for the new state.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<AgentReason>,
    /// `task`: the new state.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_state: Option<TaskState>,
    /// `trunk`: `true` if Paceline launches no calls over it, because it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<bool>,
    /// `pbx`: the configured name of the PBX.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pbx1")]
    pbx: Option<String>,
    /// `pbx`, when the link changes: `true` if the link is up, that is, connected and resynchronised.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    /// `pbx`, when its maintenance begins or ends: `true` if it is in maintenance now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = true)]
    in_maintenance: Option<bool>,
    /// `alarm`: the kind of problem that needs a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm: Option<AlarmKind>,
    /// `alarm`: the problem as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl From<&Event> for EventData {
    fn from(event: &Event) -> Self {
        let mut data = Self {
            at: Utc(event.at),
            kind: event.what.kind(),
            campaign_id: event.campaign.map(|id| id.0),
            attempt_id: None,
            step: None,
            trunk_id: None,
            task_id: None,
            contact_id: None,
            agent_id: None,
            outcome: None,
            agent_state: None,
            reason: None,
            task_state: None,
            held: None,
            pbx: None,
            connected: None,
            in_maintenance: None,
            alarm: None,
            text: None,
        };
        match event.what.clone() {
            What::Call { attempt, progress } => {
                data.attempt_id = Some(attempt.0);
                data.step = Some(progress.step());
                match progress {
                    CallProgress::Dialing { trunk, task, contact } => {
                        data.trunk_id = Some(trunk.0);
                        data.task_id = Some(task.0);
                        data.contact_id = Some(contact.0);
                    }
                    CallProgress::Connected { agent } => data.agent_id = Some(agent.0),
                    CallProgress::Ended {
                        task,
                        contact,
                        outcome,
                    } => {
                        data.task_id = Some(task.0);
                        data.contact_id = Some(contact.0);
                        data.outcome = Some(outcome);
                    }
                    CallProgress::Ringing | CallProgress::Answered | CallProgress::Abandoned => {}
                }
            }
            What::Agent { agent, state, reason } => {
                data.agent_id = Some(agent.0);
                data.agent_state = Some(state);
                data.reason = Some(reason);
            }
            What::Task { task, state } => {
                data.task_id = Some(task.0);
                data.task_state = Some(state);
            }
            What::Trunk { trunk, held } => {
                data.trunk_id = Some(trunk.0);
                data.held = Some(held);
            }
            What::Pbx { pbx, connected } => {
                data.pbx = Some(pbx.as_str().to_owned());
                data.connected = Some(connected);
            }
            What::Maintenance { pbx, on } => {
                data.pbx = Some(pbx.as_str().to_owned());
                data.in_maintenance = Some(on);
            }
            What::Alarm { alarm, text } => {
                data.alarm = Some(alarm);
                data.text = Some(text);
            }
        }
        data
    }
}

/// Follow live events.
///
/// The answer is an endless stream of server-sent events (`text/event-stream`). Use `curl -N`, or an `EventSource` that
/// sends the key. Each event has an `id`, its kind as `event`, and `data` as below. The stream begins with an `id` without an
/// event, and sends one every 15 s while there are no events. To continue after a break, send the last `id` as
/// `Last-Event-ID`, as an `EventSource` does; Paceline keeps the newest 16,384 events. An event named `missed`, with the data
/// `{}`, says that events in between that the filter wants are no longer kept, or that Paceline was restarted: read the present
/// state again. If a client reads so slowly that it loses events, Paceline sends `missed` and ends the stream. If it takes
/// nothing for 10 s, Paceline closes the connection. A key may have 8 open streams. They end when the key is revoked.
#[utoipa::path(get, path = "/events", operation_id = "follow_events", tag = "live", params(EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was read")),
    responses((status = 200, body = EventData, content_type = "text/event-stream")))]
pub(super) async fn follow(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> ApiResult<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    let filter = Filter {
        kinds: kinds(query.kind.as_deref())?,
        campaign: query.campaign_id.map(CampaignId),
    };
    let last = last_id(&headers)?;
    let Some(place) = state.followers.place(caller.key) else {
        return Err(Problem::new(
            Kind::RateLimited,
            format!(
                "Too many streams are open: at most {STREAMS_PER_KEY_MAX} of one key and {STREAMS_MAX} of all. Close one first."
            ),
        )
        .retry_after_s(1));
    };
    let follower = Follower {
        reader: state.dialer.events().read_some(last, filter),
        masks: !caller.sees_numbers,
        // A resumed stream may begin with `missed`. If a stream that has begun misses events, it ends.
        begun: false,
        over: false,
        said_at: None,
        store: state.store.clone(),
        check: key_checks(),
        place,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events))
}

/// While the store is slow, the checks must not keep events back.
fn key_checks() -> Interval {
    let mut checks = tokio::time::interval(KEY_CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks
}

/// The requested kinds. `None` means all.
fn kinds(asked: Option<&str>) -> ApiResult<Option<BTreeSet<EventKind>>> {
    let Some(asked) = asked else { return Ok(None) };
    let read = asked.split(',').map(|word| word.trim().parse::<EventKind>());
    let kinds = read.collect::<Result<BTreeSet<_>, _>>().map_err(|error| {
        let fault = Fault::parameter("kind", error.to_string());
        Problem::new(Kind::BadParameter, "`kind` cannot be used.").with_errors(vec![fault])
    })?;
    Ok(Some(kinds))
}

fn last_id(headers: &HeaderMap) -> ApiResult<Option<EventId>> {
    let Some(text) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let id = text.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| {
        Problem::new(
            Kind::BadParameter,
            "`Last-Event-ID` is not an id of this stream: send the `id` of an event, or leave it out.",
        )
    })
}

/// The state of one stream.
struct Follower {
    reader: Reader,
    masks: bool,
    begun: bool,
    over: bool,
    /// The time of the last event or id. `None`: nothing was sent yet.
    said_at: Option<Instant>,
    store: Store,
    check: Interval,
    place: Place,
}

impl Follower {
    /// The next event to send. `None` ends the stream.
    async fn next(&mut self) -> Option<sse::Event> {
        if self.over {
            return None;
        }
        let Some(said_at) = self.said_at else {
            self.said_at = Some(Instant::now());
            return Some(self.at_position());
        };
        let keep_alive = tokio::time::sleep_until(said_at + KEEP_ALIVE);
        let mut keep_alive = std::pin::pin!(keep_alive);
        loop {
            let next = tokio::select! {
                biased;
                _ = self.check.tick() => {
                    if self.key_is_revoked().await {
                        self.over = true;
                        return None;
                    }
                    continue;
                }
                next = self.reader.next() => next,
                () = keep_alive.as_mut() => {
                    self.said_at = Some(Instant::now());
                    return Some(self.at_position());
                }
            };
            self.said_at = Some(Instant::now());
            let begun = std::mem::replace(&mut self.begun, true);
            return Some(match next {
                Next::Missed => {
                    if begun {
                        self.over = true;
                        self.place.followers.queue.dropped.inc();
                    }
                    self.at_position().event("missed").data("{}")
                }
                Next::Event(event) => self.shown(&event),
            });
        }
    }

    /// An id without data: a client keeps it as its `Last-Event-ID`, and sees no event.
    fn at_position(&self) -> sse::Event {
        sse::Event::default().id(self.reader.position().to_string())
    }

    /// If the store cannot be read, the key counts as valid.
    async fn key_is_revoked(&self) -> bool {
        let row = self.store.api_key(self.place.key).await;
        row.is_ok_and(|row| row.is_none_or(|row| row.revoked_at.is_some()))
    }

    fn shown(&self, event: &Event) -> sse::Event {
        let named = sse::Event::default()
            .id(event.id.to_string())
            .event(event.what.kind().as_str());
        let mut data = serde_json::to_value(EventData::from(event)).unwrap_or_default();
        if self.masks {
            masking::mask(&mut data);
        }
        named.data(data.to_string())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The connection of a client that takes nothing is closed before it can get `missed`.
        if !self.over && self.reader.is_behind() {
            self.place.followers.queue.dropped.inc();
        }
    }
}
