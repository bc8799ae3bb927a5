//! A client sends the same request twice: it is carried out once, and the second answer repeats the first.

use super::harness::{Api, Reply};
use axum::body::Body;
use axum::http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};

async fn with_key(api: &Api, path: &str, key: &str, caller: &str, body: &Value) -> Reply {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {caller}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    api.send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

#[tokio::test]
async fn the_same_request_sent_twice_creates_once() {
    let api = Api::ready().await;
    let task = json!({"name": "t", "number_pool": ["2025550123", "2025550123"]});
    let other = json!({"name": "other", "number_pool": ["2025550123"]});
    let send = async |key: &str, body: &Value| with_key(&api, "/api/v1/tasks", key, &api.root, body).await;
    assert_eq!(send("k1", &task).await.expect(201)["id"], 1);
    let repeated = send("k1", &task).await.expect(201);
    assert_eq!((&repeated["id"], &repeated["contacts"]), (&json!(1), &json!(1)));
    assert_snapshot!(send("k1", &other).await, @r#"
    422 Unprocessable Entity
    {
      "type": "/problems/idempotency-key-reused",
      "title": "The Idempotency-Key belongs to another request",
      "status": 422,
      "detail": "This Idempotency-Key came with another body before; nothing was created. Send a fresh key with a new request, and the same body with an old key.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(send("k2", &task).await.expect(201)["id"], 2);
    assert_snapshot!(send("with space", &task).await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "The Idempotency-Key header cannot be used; nothing was created.",
      "errors": [
        {
          "parameter": "Idempotency-Key",
          "detail": "1 to 200 visible ASCII characters, such as a UUID"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    // The same idempotency key from another client is a different key.
    assert_eq!(
        with_key(&api, "/api/v1/tasks", "k1", &api.write, &other)
            .await
            .expect(201)["id"],
        3
    );
    let batch = json!({"tasks": [task, other]});
    let send = async |body: &Value| with_key(&api, "/api/v1/tasks/batch", "k1", &api.root, body).await;
    assert_eq!(send(&batch).await.expect(201)["tasks"][1]["id"], 5);
    assert_eq!(send(&batch).await.expect(201)["tasks"][1]["id"], 5);
    assert_eq!(
        send(&json!({"tasks": [task]})).await.problem(),
        (422, "idempotency-key-reused".into())
    );
    assert_eq!(
        api.get("/api/v1/tasks").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[tokio::test]
async fn requests_with_one_key_at_one_time_create_once() {
    let api = Api::ready().await;
    let task = json!({"name": "t", "number_pool": ["2025550123"]});
    let one = || with_key(&api, "/api/v1/tasks", "k1", &api.root, &task);
    let replies = futures_util::future::join_all((0..20).map(|_| one())).await;
    for reply in replies {
        assert_eq!(reply.expect(201)["id"], 1);
    }
}
