//! The audit lists who changed what, and which requests were refused.

use super::harness::Api;
use serde_json::{Value, json};

/// Route, object, key, status and whether it was refused; the newest entry first.
async fn audit(api: &Api, query: &str) -> Vec<(String, Value, Value, u64, bool)> {
    let page = api.get(&format!("/api/v1/audit{query}")).await.expect(200);
    let items = page["items"].as_array().unwrap().clone();
    let entry = |item: &Value| {
        (
            format!(
                "{} {}",
                item["method"].as_str().unwrap(),
                item["route"].as_str().unwrap()
            ),
            item["object"].clone(),
            item["api_key_id"].clone(),
            item["status"].as_u64().unwrap(),
            item["refused"].as_bool().unwrap(),
        )
    };
    items.iter().map(entry).collect()
}

#[tokio::test]
async fn changes_and_refusals_are_listed_with_key_and_object_and_reads_are_not() {
    let api = Api::ready().await;
    let before = audit(&api, "").await.len();
    api.get("/api/v1/trunks").await.expect(200);
    let trunk = json!({"name": "carrier-b", "pbx": "office", "dial": "PJSIP/{number}@carrier-b", "caller_id": "+12025550100"});
    api.post("/api/v1/trunks", trunk.clone()).await.expect(201);
    api.ask("DELETE", "/api/v1/trunks/2", &api.read, &Value::Null)
        .await;
    api.ask("DELETE", "/api/v1/trunks/2", "pl_9_x", &Value::Null)
        .await;
    api.ask("DELETE", "/api/v1/trunks/2", "", &Value::Null).await;
    api.put("/api/v1/trunks/12025550123", trunk).await;
    api.delete("/api/v1/trunks/2").await.expect(204);
    // The body is invalid, so nothing changes.
    api.post("/api/v1/trunks", json!({})).await;
    let seen = audit(&api, "").await;
    let one = |asked: &str, object: Value, key: Value, status: u64, refused: bool| {
        (asked.to_owned(), object, key, status, refused)
    };
    let expected = [
        one("DELETE /api/v1/trunks/{id}", json!("2"), json!(1), 204, false),
        one("DELETE /api/v1/trunks/{id}", json!("2"), Value::Null, 401, true),
        one("DELETE /api/v1/trunks/{id}", json!("2"), Value::Null, 401, true),
        one("DELETE /api/v1/trunks/{id}", json!("2"), json!(4), 403, true),
        one("POST /api/v1/trunks", json!("2"), json!(1), 201, false),
    ];
    assert_eq!(seen[..seen.len() - before], expected);
    let of_key = audit(&api, "?api_key_id=4").await;
    assert_eq!(of_key, expected[3..4]);
    let refused = audit(&api, "?refused=true").await;
    assert_eq!(refused, expected[1..4]);
    assert!(audit(&api, "?refused=false").await.iter().all(|entry| !entry.4));
    assert!(
        api.ask("GET", "/api/v1/audit", &api.read, &Value::Null)
            .await
            .status
            == 403
    );
}

#[tokio::test]
async fn refusals_beyond_a_rate_are_counted_and_not_stored_one_by_one() {
    let api = Api::ready().await;
    let before = audit(&api, "").await.len();
    for _ in 0..200 {
        api.ask("GET", "/api/v1/trunks", "", &Value::Null).await;
    }
    let page = api.get("/api/v1/audit?limit=200").await.expect(200);
    let refused = page["items"].as_array().unwrap().len() - before;
    assert!((10..100).contains(&refused), "{refused} refusals are stored");
    let metrics = api.metrics.render();
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("paceline_queue_dropped_total{queue=\"audit\"} "));
    assert_eq!(dropped.unwrap().parse::<usize>().unwrap(), 200 - refused);
}

#[tokio::test]
async fn a_change_is_listed_though_its_client_hung_up() {
    use tower::ServiceExt as _;
    let api = Api::ready().await;
    let before = audit(&api, "").await.len();
    for n in 0..20 {
        let trunk =
            json!({"name": format!("carrier-{n}"), "pbx": "office", "dial": "PJSIP/{number}@carrier-b"});
        let request = axum::http::Request::post("/api/v1/trunks")
            .header("authorization", format!("Bearer {}", api.root))
            .header("content-type", "application/json")
            .body(axum::body::Body::from(trunk.to_string()))
            .unwrap();
        // The test drops the same future that a connection drops when the client hangs up.
        let mut asked = Box::pin(api.router.clone().oneshot(request));
        assert!(futures_util::FutureExt::now_or_never(&mut asked).is_none());
    }
    let listed = async || audit(&api, "?limit=200").await.len() - before;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while listed().await < 20 && std::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
    let trunks = api.get("/api/v1/trunks?limit=200").await.expect(200);
    assert_eq!(trunks["items"].as_array().unwrap().len(), 21);
    assert_eq!(listed().await, 20);
}
