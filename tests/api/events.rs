//! The event stream: each client gets the events that its key may see.

use super::harness::Api;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::StreamExt as _;
use paceline::api::control::Dialer as _;
use paceline::api::listen::{self, Routes};
use paceline::events::KEPT;
use paceline_core::campaign::TaskState;
use paceline_core::event::{AlarmKind, What};
use paceline_core::ids::{CampaignId, PbxName, TaskId, TrunkId};
use paceline_core::time::Wall;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tower::ServiceExt as _;

/// An open stream.
struct Stream(BodyDataStream);

impl Stream {
    /// The next event: its id, its name and its data. `None` at the end.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let frame = self.0.next().await?.unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap();
        Some((field("id:"), field("event:"), data))
    }
}

async fn follow(api: &Api, key: &str, query: &str, last: Option<&str>) -> Stream {
    let mut request =
        Request::get(format!("/api/v1/events{query}")).header("authorization", format!("Bearer {key}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = api
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = Stream(response.into_body().into_data_stream());
    // The stream sends an id first, so that a client can resume even before the first event.
    let first = stream.0.next().await.unwrap().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(
        first.starts_with("id: 7-") || first.starts_with("id:7-"),
        "{first}"
    );
    assert!(!first.contains("data"), "{first}");
    stream
}

fn task(n: i64, state: TaskState) -> What {
    What::Task {
        task: TaskId(n),
        state,
    }
}

#[tokio::test]
async fn the_event_stream_can_be_filtered_and_resumed() {
    let api = Api::ready().await;
    let events = api.dialer.events();
    let at = Wall(1_763_600_000_000);
    let mut all = follow(&api, &api.root, "", None).await;
    let mut some = follow(&api, &api.root, "?kind=task,%20pbx&campaign_id=2", None).await;
    events.tell(at, Some(CampaignId(1)), task(1, TaskState::Running));
    let held = What::Trunk {
        trunk: TrunkId(1),
        held: true,
    };
    events.tell(at, Some(CampaignId(2)), held);
    let pbx = What::Pbx {
        pbx: PbxName::new("office"),
        connected: false,
    };
    events.tell(at, None, pbx);
    events.tell(at, Some(CampaignId(2)), task(2, TaskState::Completed));
    let first = json!({"at": "2025-11-20T00:53:20.000Z", "kind": "task", "campaign_id": 1, "task_id": 1, "task_state": "running"});
    assert_eq!(all.next().await, Some(("7-1".into(), "task".into(), first)));
    let second = json!({"at": "2025-11-20T00:53:20.000Z", "kind": "trunk", "campaign_id": 2, "trunk_id": 1, "held": true});
    assert_eq!(all.next().await, Some(("7-2".into(), "trunk".into(), second)));
    let (id, kind, data) = some.next().await.unwrap();
    assert_eq!((id.as_str(), kind.as_str()), ("7-3", "pbx"));
    assert_eq!(
        data,
        json!({"at": "2025-11-20T00:53:20.000Z", "kind": "pbx", "pbx": "office", "connected": false})
    );
    assert_eq!(some.next().await.unwrap().2["task_id"], 2);
    let maintenance = What::Maintenance {
        pbx: PbxName::new("office"),
        on: true,
    };
    events.tell(at, None, maintenance);
    assert_eq!(
        some.next().await.unwrap().2,
        json!({"at": "2025-11-20T00:53:20.000Z", "kind": "pbx", "pbx": "office", "in_maintenance": true})
    );
    let mut back = follow(&api, &api.root, "", Some("7-3")).await;
    assert_eq!(back.next().await.unwrap().0, "7-4");
    let mut of_another_run = follow(&api, &api.root, "", Some("6-3")).await;
    let missed = ("7-5".into(), "missed".into(), json!({}));
    assert_eq!(of_another_run.next().await, Some(missed));
    events.tell(at, None, task(3, TaskState::Paused));
    assert_eq!(of_another_run.next().await.unwrap().0, "7-6", "it goes on");
}

#[tokio::test]
async fn numbers_in_events_are_masked_for_a_key_that_may_not_see_them() {
    let api = Api::ready().await;
    let (mut sees, mut masked) = (
        follow(&api, &api.root, "", None).await,
        follow(&api, &api.read, "", None).await,
    );
    let text = "Nothing is dialed for campaign `about 202-555-0123`".to_owned();
    let alarm = AlarmKind::SettingsUnusable;
    api.dialer.events().tell(
        Wall(0),
        Some(CampaignId(1)),
        What::Alarm {
            alarm,
            text: text.clone(),
        },
    );
    assert_eq!(sees.next().await.unwrap().2["text"], text);
    let shown = masked.next().await.unwrap().2;
    assert_eq!(
        shown["text"],
        "Nothing is dialed for campaign `about ***-***-**23`"
    );
    assert_eq!(shown["alarm"], "settings_unusable");
}

#[tokio::test]
async fn a_slow_reader_is_told_and_disconnected() {
    let api = Api::ready().await;
    let mut slow = follow(&api, &api.root, "", None).await;
    let events = api.dialer.events();
    events.tell(Wall(0), None, task(1, TaskState::Running));
    assert_eq!(slow.next().await.unwrap().0, "7-1");
    for n in 0..=KEPT {
        events.tell(Wall(0), None, task(i64::try_from(n).unwrap(), TaskState::Running));
    }
    assert_eq!(slow.next().await.unwrap().1, "missed");
    assert_eq!(slow.next().await, None);
    let metrics = api.metrics.render();
    assert!(
        metrics.contains("paceline_queue_dropped_total{queue=\"event_streams\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_stream_without_events_sends_its_id_so_that_it_resumes_without_a_loss() {
    let api = Api::ready().await;
    let events = api.dialer.events();
    let mut pbxes = follow(&api, &api.root, "?kind=pbx", None).await;
    events.tell(Wall(0), None, task(1, TaskState::Running));
    tokio::time::pause();
    let frame = pbxes.0.next().await.unwrap().unwrap();
    let frame = String::from_utf8(frame.to_vec()).unwrap();
    assert_eq!(frame.replace(": ", ":").trim(), "id:7-1");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected_and_counted() {
    let api = Api::ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let routes = Routes {
        all: api.router.clone(),
        health: api.router.clone(),
        proxies: Default::default(),
    };
    let serving = tokio::spawn(listen::serve(
        listener,
        routes,
        api.metrics.queue("api_connections"),
    ));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(addr).await.unwrap();
    let asked = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer {}\r\n\r\n",
        api.root
    );
    socket.write_all(asked.as_bytes()).await.unwrap();
    let metric = |text: &str| api.metrics.render().lines().any(|line| line == text);
    let until = async |line: &str| {
        while !metric(line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        until("paceline_queue_depth{queue=\"event_streams\"} 1").await;
        let text = "x".repeat(2_000);
        for _ in 0..KEPT / 2 {
            let (alarm, text) = (AlarmKind::SettingsUnusable, text.clone());
            api.dialer
                .events()
                .tell(Wall(0), None, What::Alarm { alarm, text });
        }
        until("paceline_queue_dropped_total{queue=\"event_streams\"} 1").await;
        until("paceline_queue_depth{queue=\"event_streams\"} 0").await;
    })
    .await
    .expect("it is disconnected and counted");
    serving.abort();
}

#[tokio::test]
async fn the_streams_of_a_revoked_key_end() {
    let api = Api::ready().await;
    let mut stream = follow(&api, &api.read, "", None).await;
    api.sql("UPDATE api_keys SET revoked_at_ms = 1 WHERE name = 'read'")
        .await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn streams_are_limited_do_not_count_as_running_requests_and_make_room_when_closed() {
    let api = Api::ready().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(follow(&api, &api.read, "", None).await);
    }
    let ask = async || api.ask("GET", "/api/v1/events", &api.read, &Value::Null).await;
    assert_eq!(ask().await.problem(), (429, "rate-limited".into()));
    // The open streams outnumber the requests that a key may run at once, and still this request is served.
    api.ask("GET", "/api/v1/campaigns", &api.read, &Value::Null)
        .await
        .expect(200);
    drop(open.pop());
    assert_eq!(ask().await.status, 200);
    for (query, header) in [
        ("?kind=calls", None),
        ("?kind=", None),
        ("?kinds=call", None),
        ("", Some("x")),
    ] {
        let mut request = Request::get(format!("/api/v1/events{query}"))
            .header("authorization", format!("Bearer {}", api.root));
        if let Some(last) = header {
            request = request.header("last-event-id", last);
        }
        let refused = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            refused.problem(),
            (400, "bad-parameter".into()),
            "{query} {header:?}"
        );
    }
}
