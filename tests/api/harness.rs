//! Each test has its own server. Replies become text for snapshots.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::future::BoxFuture;
use paceline::api::control::{AgentRefusal, Dialer, PbxStatus};
use paceline::api::{ApiState, Role, keys, router};
use paceline::clock::Clock;
use paceline::config::PbxConfig;
use paceline::events::Events;
use paceline::jobs::Jobs;
use paceline::jobs::clearing::Clearing;
use paceline::jobs::filling::Filling;
use paceline::metrics::Metrics;
use paceline::store::{Store, SuppressionKey};
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::ids::{AgentId, CampaignId, PbxName, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::live::{Decision, LiveCampaign};
use paceline_core::time::Wall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// The most numbers that all suppression lists together may have.
pub(super) const SUPPRESSION_NUMBERS_MAX: usize = 1_000;

/// A server, its store, its dialer, and a key of each kind.
pub(super) struct Api {
    pub(super) router: axum::Router,
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    pub(super) dialer: Arc<FakeDialer>,
    pub(super) url: String,
    /// A key that may do and see everything.
    pub(super) root: String,
    /// A key that may do everything and sees masked numbers.
    pub(super) write: String,
    /// The key of agent 1.
    pub(super) agent: String,
    pub(super) read: String,
    home: Home,
}

/// The database, which is deleted at the end of the test.
enum Home {
    Folder { folder: tempfile::TempDir },
    Server { _server: paceline_lab::Postgres },
}

/// A dialer that records its commands and gives the answers that the test sets.
#[derive(Default)]
pub(super) struct FakeDialer {
    told: Mutex<Vec<String>>,
    pub(super) live: Mutex<BTreeMap<CampaignId, LiveCampaign>>,
    pub(super) refuses: Mutex<Option<AgentRefusal>>,
    /// The campaign in which each agent works. A log-in writes it.
    pub(super) works: Mutex<BTreeMap<AgentId, CampaignId>>,
    /// If set, no agent's request is answered before this is true.
    pub(super) answers: Mutex<Option<watch::Receiver<bool>>>,
    pub(super) panics: AtomicBool,
    events: OnceLock<Events>,
    /// The store that it reads when maintenance of a PBX changes.
    store: OnceLock<Store>,
    maintained: Mutex<BTreeMap<PbxName, Wall>>,
}

impl FakeDialer {
    /// The commands since the last call of this function.
    pub(super) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }
}

impl Dialer for FakeDialer {
    fn campaign_changed(&self, campaign: CampaignId) -> BoxFuture<'_, ()> {
        self.tell(format!("campaign {campaign} changed"));
        Box::pin(async {})
    }

    fn task_changed(&self, campaign: CampaignId, task: TaskId) -> BoxFuture<'_, ()> {
        self.tell(format!("task {task} of campaign {campaign} changed"));
        Box::pin(async {})
    }

    fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> BoxFuture<'_, Result<(), AgentRefusal>> {
        self.tell(format!("agent {agent} in campaign {campaign}: {request:?}"));
        let answer = self.refuses.lock().unwrap().clone().map_or(Ok(()), Err);
        if answer.is_ok() && matches!(request, AgentRequest::LogIn { .. }) {
            self.works.lock().unwrap().insert(agent, campaign);
        }
        let may_answer = self.answers.lock().unwrap().clone();
        Box::pin(async {
            if let Some(mut may_answer) = may_answer {
                may_answer.wait_for(|yes| *yes).await.unwrap();
            }
            answer
        })
    }

    fn campaign_of(&self, agent: AgentId) -> Option<CampaignId> {
        self.works.lock().unwrap().get(&agent).copied()
    }

    fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>> {
        self.live.lock().unwrap().get(&campaign).cloned().map(Arc::new)
    }

    fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision> {
        let live = self.live(campaign);
        live.map_or_else(Vec::new, |live| live.pacing.iter().take(limit).cloned().collect())
    }

    fn drain(&self, within: Duration) -> Duration {
        self.tell(format!("drain within {} s", within.as_secs()));
        within.min(Duration::from_secs(3_600))
    }

    fn events(&self) -> Events {
        self.events.get_or_init(|| Events::new(Wall(7))).clone()
    }

    fn suppression_changed(&self) -> BoxFuture<'_, ()> {
        self.tell("suppression changed".to_owned());
        Box::pin(async {})
    }

    fn maintenance_changed(&self) -> BoxFuture<'_, ()> {
        self.tell("maintenance changed".to_owned());
        Box::pin(async {
            let store = self.store.get().expect("a store").clone();
            *self.maintained.lock().unwrap() = store.maintained().await.unwrap();
        })
    }

    fn pbxes(&self) -> Vec<PbxStatus> {
        assert!(!self.panics.load(Ordering::Relaxed), "+12025550123 made it panic");
        let pbx = |name, connected| PbxStatus {
            name: PbxName::new(name),
            kind: "ari",
            connected,
            version: connected.then(|| "22.10.0".to_owned()),
            maintenance_since: self.maintained.lock().unwrap().get(&PbxName::new(name)).copied(),
            refuses_calls: false,
            agent_dial: AgentTemplate::new(if connected {
                "PJSIP/{extension}"
            } else {
                "Local/{extension}@agents/n"
            })
            .unwrap(),
            dial_allowed: DialRules::asterisk(),
        };
        vec![pbx("branch", false), pbx("office", true)]
    }
}

/// Calling hours from 08:00 to 21:00, in a time zone whose local time is UTC.
pub(super) fn hours() -> Value {
    let window = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from_minute": 480, "until_minute": 1260});
    json!({"time_zone": "Atlantic/Reykjavik", "windows": [window]})
}

/// A key that belongs to no agent.
pub(super) fn new_key(name: &str, role: Role, sees_numbers: bool) -> keys::NewKey<'_> {
    keys::NewKey {
        name,
        role,
        agent: None,
        sees_numbers,
    }
}

impl Api {
    /// Over SQLite, with a request rate that no test reaches.
    pub(super) async fn new() -> Self {
        Self::with_rate(100_000).await
    }

    pub(super) async fn with_rate(requests_per_second: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
        Self::over(url, Home::Folder { folder }, requests_per_second, &[]).await
    }

    /// With these PBXs, which the API can query.
    pub(super) async fn beside(pbxes: &[PbxConfig]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
        Self::over(url, Home::Folder { folder }, 100_000, pbxes).await
    }

    /// Over PostgreSQL.
    pub(super) async fn on_postgres() -> Self {
        let server = tokio::task::spawn_blocking(|| paceline_lab::Postgres::start().unwrap())
            .await
            .unwrap();
        Self::over(server.url(), Home::Server { _server: server }, 100_000, &[]).await
    }

    async fn over(url: String, home: Home, requests_per_second: u32, pbxes: &[PbxConfig]) -> Self {
        let metrics = Metrics::new();
        let store = Store::open(&url, metrics.store()).await.unwrap();
        let dialer = Arc::new(FakeDialer::default());
        let _ = dialer.store.set(store.clone());
        let clock = Clock::real();
        let state = ApiState::with_rate(
            store.clone(),
            dialer.clone(),
            clock,
            &metrics,
            Some("US"),
            requests_per_second,
        )
        .asking(pbxes)
        .with_suppression_numbers_max(SUPPRESSION_NUMBERS_MAX);
        let state = match &home {
            Home::Folder { folder } => state.with_files_in(folder.path()),
            Home::Server { .. } => state,
        };
        let key = SuppressionKey::new(&[7; 32]);
        store.open_suppression(key).await.unwrap();
        // The jobs that complete imports run here as in a running Paceline.
        let jobs = Jobs::new(&metrics, clock, store.clone(), Handle::current());
        let (filling, clearing) = (
            Filling {
                store: store.clone(),
                dialer: dialer.clone(),
            },
            Clearing { store: store.clone() },
        );
        jobs.start(filling);
        jobs.start(clearing);
        let state = state.with_jobs(jobs);
        let key = async |name, role, sees_numbers| {
            keys::create(&store, &new_key(name, role, sees_numbers), Wall(0))
                .await
                .unwrap()
        };
        let api = Self {
            router: router(state),
            root: key("root", Role::Write, true).await,
            write: key("write", Role::Write, false).await,
            agent: key("agent", Role::Read, false).await,
            read: key("read", Role::Read, false).await,
            metrics,
            store,
            dialer,
            url,
            home,
        };
        // No agent exists yet that the key could name.
        api.sql("UPDATE api_keys SET role = 'agent', agent_id = 1 WHERE name = 'agent'")
            .await;
        api
    }

    /// The folder of the database, which is SQLite's.
    pub(super) fn folder(&self) -> &Path {
        match &self.home {
            Home::Folder { folder } => folder.path(),
            Home::Server { .. } => panic!("PostgreSQL has no folder"),
        }
    }

    /// With a trunk and an active campaign called `default`.
    pub(super) async fn ready() -> Self {
        let api = Self::new().await;
        api.make_ready().await;
        api
    }

    pub(super) async fn make_ready(&self) {
        let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a"});
        self.post("/api/v1/trunks", trunk).await.expect(201);
        let settings = json!({"hours": hours()});
        let campaign = json!({"name": "default", "trunk_ids": [1], "settings": settings});
        self.post("/api/v1/campaigns", campaign).await.expect(201);
        self.post("/api/v1/campaigns/1/activate", Value::Null)
            .await
            .expect(200);
        self.dialer.told();
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream has no end; `tests/api/events.rs` reads one.
        let endless = parts
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream");
        let bytes = if endless {
            axum::body::Bytes::new()
        } else {
            axum::body::to_bytes(body, usize::MAX).await.unwrap()
        };
        Reply {
            asked: format!("{method} {uri}"),
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Sends a request with this key. `body` is sent as JSON unless it is null.
    pub(super) async fn ask(&self, method: &str, path: &str, key: &str, body: &Value) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        };
        self.send(request.body(body).unwrap()).await
    }

    /// How many requests were answered with this status, over all routes, from `/metrics`.
    pub(super) fn answered_with(&self, status: u16) -> u64 {
        let text = self.metrics.render();
        let series = text.lines().filter(|line| {
            line.starts_with("paceline_api_requests_total") && line.contains(&format!("status=\"{status}\""))
        });
        series
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &self.root, &Value::Null).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, &self.root, &body).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Reply {
        self.ask("PUT", path, &self.root, &body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, &self.root, &Value::Null).await
    }

    /// Runs SQL, for rows that only the dialer writes.
    pub(super) async fn sql(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        }
    }
}

pub(super) struct Reply {
    asked: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} answered {:?}", self.asked, self.text))
    }

    /// The body. Panics if the status is another.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{} answered {}",
            self.asked,
            self.text
        );
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The status, and the last part of the problem's `type`.
    pub(super) fn problem(&self) -> (u16, String) {
        let content_type = self
            .headers
            .get("content-type")
            .map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(
            content_type.as_deref(),
            Some("application/problem+json"),
            "{}: {}",
            self.asked,
            self.text
        );
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert!(
            body["detail"].as_str().is_some_and(|detail| detail.len() > 10),
            "{body}"
        );
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        let slug = body["type"]
            .as_str()
            .unwrap()
            .strip_prefix("/problems/")
            .unwrap()
            .to_owned();
        (self.status.as_u16(), slug)
    }
}

/// Status and body, without the values that differ from run to run.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = format!("{}\n", self.status);
        if !self.text.is_empty() {
            let mut body = self.json();
            redact(&mut body);
            write!(out, "{body:#}")?;
        }
        f.write_str(out.trim_end())
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "request_id" => *field = json!("[id]"),
                    "key" => *field = json!("[key]"),
                    _ => redact(field),
                }
            }
        }
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok_and(is_recent) => {
            *text = "[now]".to_owned()
        }
        _ => {}
    }
}

fn is_recent(at: jiff::Timestamp) -> bool {
    let now = Clock::real().now().wall.0;
    (now - 60_000..=now + 1_000).contains(&at.as_millisecond())
}
