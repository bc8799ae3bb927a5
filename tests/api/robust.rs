//! Internal errors, panics and unreadable rows: the answers, and what the log shows.

use super::harness::Api;
use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt as _;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::ServiceExt as _;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged on this thread, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_number_no_name_and_no_key_gets_into_the_log() {
    let api = Api::ready().await;
    let (log, _guard) = Log::start();
    let list = json!({"name": "renewals", "contacts": [{"numbers": [{"number": "2025550123"}], "name": "Quillfeather"}]});
    api.post("/api/v1/contact-lists", list).await.expect(201);
    api.post(
        "/api/v1/tasks",
        json!({"name": "t", "number_pool": ["+12025550124"]}),
    )
    .await
    .expect(201);
    api.post(
        "/api/v1/tasks",
        json!({"name": "t", "number_pool": ["+120255501"]}),
    )
    .await
    .problem();
    api.post("/api/v1/tasks", json!({"2025550125": 1}))
        .await
        .problem();
    api.post("/api/v1/dnc", json!({"numbers": ["2025550126"], "reason": "x"}))
        .await
        .expect(200);
    api.post("/api/v1/contacts/search", json!({"number": "2025550123"}))
        .await
        .expect(200);
    api.get("/api/v1/contacts/1/why").await.expect(200);
    api.get("/api/v1/attempts?disposition=no2025550127")
        .await
        .expect(200);
    api.get("/api/v1/2025550128?x=2025550129").await.problem();
    api.get("/api/v1/contacts/2025550130").await.problem();
    api.ask("GET", "/api/v1/trunks", "pl_1_2025550131", &Value::Null)
        .await
        .problem();
    let made = api
        .post("/api/v1/api-keys", json!({"name": "crm", "role": "read"}))
        .await
        .expect(201);
    let key = made["key"].as_str().unwrap();
    api.ask("GET", "/api/v1/trunks", key, &Value::Null)
        .await
        .expect(200);
    let text = log.text();
    assert!(text.contains("POST /api/v1/contact-lists answered 201"), "{text}");
    assert!(text.contains("GET (no route) answered 404"), "{text}");
    for secret in [
        "202555",
        "Quillfeather",
        key.strip_prefix("pl_5_").unwrap(),
        &api.root,
    ] {
        assert!(!text.contains(secret), "{secret} is in the log: {text}");
    }
}

#[tokio::test]
async fn a_fault_of_ours_is_logged_once_under_the_id_that_the_client_has() {
    let api = Api::ready().await;
    api.sql("INSERT INTO dnc (number, reason, added_at_ms) VALUES ('5550123', 'asked', 0)")
        .await;
    let (log, _guard) = Log::start();
    let reply = api.get("/api/v1/dnc").await;
    assert_snapshot!(reply, @r#"
    500 Internal Server Error
    {
      "type": "/problems/internal",
      "title": "Something went wrong inside Paceline",
      "status": 500,
      "detail": "The request failed; what it changed, if anything, was undone. The log tells more under this request_id.",
      "request_id": "[id]"
    }
    "#);
    let text = log.text();
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(
        errors[0].contains(reply.headers["x-request-id"].to_str().unwrap()),
        "{text}"
    );
    assert!(errors[0].contains("do-not-call"), "{text}");
    assert_eq!(api.answered_with(500), 1);
}

#[tokio::test]
async fn a_panic_ends_its_own_request_only() {
    let api = Api::ready().await;
    api.dialer.panics.store(true, Ordering::Relaxed);
    let (log, _guard) = Log::start();
    assert_snapshot!(api.get("/api/v1/live").await, @r#"
    500 Internal Server Error
    {
      "type": "/problems/internal",
      "title": "Something went wrong inside Paceline",
      "status": 500,
      "detail": "The request failed; what it changed, if anything, was undone. The log tells more under this request_id.",
      "request_id": "[id]"
    }
    "#);
    assert!(
        log.text().contains("panicked") && !log.text().contains("202555"),
        "{}",
        log.text()
    );
    api.get("/api/v1/dnc").await.expect(200);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_its_request_half_way() {
    let api = Api::ready().await;
    let task = json!({"name": "t", "number_pool": ["2025550123"]});
    let request = Request::post("/api/v1/tasks")
        .header("authorization", format!("Bearer {}", api.root))
        .header("content-type", "application/json")
        .body(Body::from(task.to_string()))
        .unwrap();
    let answer = api.router.clone().oneshot(request).now_or_never();
    assert!(answer.is_none(), "the store cannot be that fast");
    let deadline = Instant::now() + Duration::from_secs(10);
    while api.dialer.told() != ["task 1 of campaign 1 changed"] {
        assert!(Instant::now() < deadline, "the dialer never heard of the task");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_hides_no_other() {
    let api = Api::ready().await;
    for n in 1..=3 {
        let agent = json!({"name": format!("desk {n}"), "pbx": "office", "extension": format!("20{n}")});
        api.post("/api/v1/agents", agent).await.expect(201);
        let campaign = json!({"name": format!("campaign {n}"), "trunk_ids": [1]});
        api.post("/api/v1/campaigns", campaign).await.expect(201);
        let task = json!({"name": "t", "number_pool": [format!("+1202555012{n}")]});
        api.post("/api/v1/tasks", task).await.expect(201);
    }
    let contact = |n: u32| json!({"numbers": [{"number": format!("+1202555013{n}")}], "tags": ["vip"]});
    let list = json!({"name": "l", "contacts": [contact(1), contact(2), contact(3), contact(4)]});
    let list = api.post("/api/v1/contact-lists", list).await.expect(201)["id"].clone();
    let path = format!("/api/v1/contact-lists/{list}/contacts");
    let first = api.get(&path).await.expect(200)["items"][0]["id"]
        .as_i64()
        .unwrap();
    api.sql(
        "UPDATE agents SET state = 'asleep' WHERE name = 'desk 2';
         UPDATE campaigns SET state = 'asleep' WHERE name = 'campaign 2';
         UPDATE tasks SET state = 'asleep' WHERE id = 2;
         UPDATE contacts SET consents = 'none' WHERE id = (SELECT min(contact_id) + 1 FROM contact_tags);
         UPDATE contact_numbers SET number = 'none' WHERE contact_id = (SELECT min(contact_id) + 2 FROM contact_tags);",
    )
    .await;
    let read = |page: &Value| {
        let ids = |list: &Value| {
            list.as_array().map(|all| {
                all.iter()
                    .map(|row| row["id"].as_i64().unwrap())
                    .collect::<Vec<_>>()
            })
        };
        (
            ids(&page["items"]).unwrap(),
            ids(&page["unreadable"]).unwrap_or_default(),
        )
    };
    for (path, readable, unreadable) in [
        ("/api/v1/agents", vec![1, 3], vec![2]),
        ("/api/v1/campaigns", vec![1, 2, 4], vec![3]),
        ("/api/v1/tasks", vec![3, 1], vec![2]),
        (path.as_str(), vec![first, first + 3], vec![first + 1, first + 2]),
    ] {
        let page = api.get(path).await.expect(200);
        assert_eq!(read(&page), (readable.clone(), unreadable.clone()), "{path}");
        // An unreadable row takes its place on a page like any other row.
        let (mut seen, mut cursor) = ((Vec::new(), Vec::new()), String::new());
        loop {
            let page = api.get(&format!("{path}?limit=1{cursor}")).await.expect(200);
            let (some, bad) = read(&page);
            assert_eq!(some.len() + bad.len(), 1, "{path}");
            seen.0.extend(some);
            seen.1.extend(bad);
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, (readable, unreadable), "{path}");
    }
    // A request for the unreadable row itself fails.
    assert_eq!(api.get("/api/v1/agents/2").await.status, 500);
}
