//! Many requests at once, and expensive requests: other clients are still served.

use super::harness::{Api, Reply};
use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use paceline_core::ids::{AgentId, CampaignId};
use serde_json::{Value, json};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(30);
/// How many requests of one key run at once, and how many more wait.
const RUNNING: usize = 4;
const WAITING: usize = 64;
const MIB: usize = 1024 * 1024;

/// An API whose dialer answers no agent's request until the test sends `true`.
async fn hanging() -> (Api, watch::Sender<bool>) {
    let api = Api::ready().await;
    let agent = json!({"name": "agent-3", "pbx": "office", "extension": "203"});
    api.post("/api/v1/agents", agent).await.expect(201);
    let (answer, may_answer) = watch::channel(false);
    *api.dialer.answers.lock().unwrap() = Some(may_answer);
    api.dialer.works.lock().unwrap().insert(AgentId(1), CampaignId(1));
    (api, answer)
}

/// Creates `count` keys with the role `write`.
async fn keys(api: &Api, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for n in 0..count {
        let key = json!({"name": format!("key {n}"), "role": "write"});
        let made = api.post("/api/v1/api-keys", key).await.expect(201);
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    keys
}

/// Drives `work` until `done` returns true.
async fn until(mut work: std::pin::Pin<&mut impl Future>, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_with_many_requests_delays_only_its_own_requests() {
    let (api, answer) = hanging().await;
    let ask = || api.post("/api/v1/agents/1/ready", Value::Null);
    let mut asked = pin!(join_all((0..RUNNING + WAITING).map(|_| ask())));
    let mut in_dialer = 0;
    until(asked.as_mut(), "the first ones run", || {
        in_dialer += api.dialer.told().len();
        in_dialer >= RUNNING
    })
    .await;
    // The last of these requests may not be in the queue yet.
    let refused = loop {
        assert!(asked.as_mut().now_or_never().is_none(), "somebody was answered");
        let reply = ask().now_or_never();
        if let Some(reply) = reply {
            break reply;
        }
        let other = api.ask("GET", "/api/v1/trunks", &api.write, &Value::Null).await;
        other.expect(200);
        let mut late = pin!(ask());
        if let Ok(reply) = tokio::time::timeout(Duration::from_millis(200), late.as_mut()).await {
            break reply;
        }
    };
    assert_eq!(refused.problem(), (429, "rate-limited".into()));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(in_dialer + api.dialer.told().len(), RUNNING);
    answer.send(true).unwrap();
    let served = asked.await.iter().filter(|reply| reply.status == 202).count();
    assert!(served >= RUNNING + WAITING - 1, "{served}");
    api.get("/api/v1/trunks").await.expect(200);
}

#[tokio::test]
async fn health_is_answered_while_all_other_requests_hang() {
    const KEYS: usize = 100;
    let (api, answer) = hanging().await;
    let keys = keys(&api, KEYS).await;
    let asked = keys.iter().flat_map(|key| [key; RUNNING]);
    let asked = asked.map(|key| async {
        let path = "/api/v1/agents/1/ready";
        api.ask("POST", path, key, &Value::Null).await
    });
    let mut asked = pin!(join_all(asked));
    let mut in_dialer = 0;
    until(asked.as_mut(), "as many run as may", || {
        in_dialer += api.dialer.told().len();
        in_dialer >= 64
    })
    .await;
    // These requests give any other request that may run the time to begin.
    for _ in 0..KEYS {
        for path in ["/healthz", "/readyz"] {
            assert!(asked.as_mut().now_or_never().is_none(), "somebody was answered");
            api.ask("GET", path, "", &Value::Null).await.expect(200);
        }
    }
    answer.send(true).unwrap();
    for reply in asked.await {
        reply.expect(202);
    }
}

/// A body of spaces. It counts how often the server begins to read it, and ends when the test allows it.
struct Slow {
    begun: Arc<AtomicUsize>,
    may_end: watch::Sender<bool>,
}

impl Slow {
    fn new() -> Self {
        Self {
            begun: Arc::default(),
            may_end: watch::Sender::new(false),
        }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn body(&self) -> Body {
        let (begun, mut may_end) = (self.begun.clone(), self.may_end.subscribe());
        let parts = stream::once(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            may_end.wait_for(|yes| *yes).await.unwrap();
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; MIB]))
        });
        Body::from_stream(parts)
    }

    async fn send(&self, api: &Api, key: &str, path: &str) -> Reply {
        let mut request = Request::post(path).header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        api.send(request.body(self.body()).unwrap()).await
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_or_not_permitted_is_not_read() {
    let api = Api::ready().await;
    let slow = Slow::new();
    let path = "/api/v1/contact-lists";
    for (key, status) in [
        ("", 401),
        ("pl_1_nobody", 401),
        (&api.read, 403),
        (&api.agent, 403),
    ] {
        assert_eq!(slow.send(&api, key, path).await.status, status);
    }
    let too_long = Request::post(path)
        .header("authorization", format!("Bearer {}", api.root))
        .header("content-type", "application/json");
    let too_long = too_long.body(Body::from(vec![b' '; 9 * MIB])).unwrap();
    assert_eq!(api.send(too_long).await.problem(), (413, "body-too-large".into()));
    assert_eq!(slow.begun(), 0);
}

#[tokio::test]
async fn large_bodies_of_all_keys_are_read_a_few_at_a_time() {
    let api = Api::ready().await;
    let keys = keys(&api, 15).await;
    let slow = Slow::new();
    let sent = keys.iter().flat_map(|key| [key; RUNNING]);
    let sent = sent.map(|key| slow.send(&api, key, "/api/v1/contact-lists"));
    let mut sent = pin!(join_all(sent));
    until(sent.as_mut(), "the first is read", || slow.begun() > 0).await;
    // This request gives every body that may be read the time to begin.
    api.get("/api/v1/trunks").await.expect(200);
    let at_once = slow.begun();
    assert!(at_once <= 4, "{at_once} bodies of 8 MiB are read at once");
    slow.may_end.send(true).unwrap();
    for reply in sent.await {
        // The body was read in its turn, and it has only spaces.
        assert_eq!(reply.problem(), (400, "malformed-body".into()));
    }
}

#[tokio::test]
async fn a_body_with_too_many_values_is_refused_before_it_is_parsed() {
    let api = Api::ready().await;
    let body = format!("{{\"name\":\"x\",\"contacts\":[{}1]}}", "1,".repeat(3 * MIB));
    let request = Request::post("/api/v1/contact-lists")
        .header("authorization", format!("Bearer {}", api.root))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    assert_eq!(api.send(request).await.problem(), (413, "body-too-large".into()));
}
