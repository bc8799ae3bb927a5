//! Tests again, over PostgreSQL, the routes whose queries differ most between the databases.

use super::harness::Api;
use serde_json::{Value, json};

#[tokio::test]
async fn the_same_requests_are_answered_the_same_over_postgresql() {
    let api = Api::on_postgres().await;
    api.make_ready().await;
    let list = json!({"name": "renewals", "contacts": [{"numbers": [{"number": "2025550123"}], "attributes": {"plan": "gold"}}]});
    assert_eq!(
        api.post("/api/v1/contact-lists", list).await.expect(201)["added"],
        1
    );
    let task = json!({"name": "t", "number_pool": ["2025550123", "2025550124"], "start_time": "2099-01-01T00:00:00Z"});
    let created = api.post("/api/v1/tasks", task).await.expect(201);
    assert_eq!(
        (&created["state"], &created["contacts"]),
        (&json!("scheduled"), &json!(2))
    );
    let started = api.post("/api/v1/tasks/1/start", Value::Null).await.expect(200);
    assert_eq!(
        (&started["state"], &started["progress"]["ready"]),
        (&json!("running"), &json!(2))
    );
    for change in ["pause", "resume", "cancel"] {
        api.post(&format!("/api/v1/tasks/1/{change}"), Value::Null)
            .await
            .expect(200);
    }
    assert_eq!(
        api.get("/api/v1/tasks?state=cancelled&campaign_id=1")
            .await
            .expect(200)["items"][0]["id"],
        1
    );
    assert_eq!(
        api.get("/api/v1/contacts/2/why").await.expect(200)["tasks"][0]["task_id"],
        1
    );
    let numbers = json!({"numbers": ["2025550199"], "reason": "asked"});
    assert_eq!(
        api.post("/api/v1/dnc", numbers.clone()).await.expect(200)["added"],
        1
    );
    assert_eq!(
        api.post("/api/v1/dnc", numbers).await.expect(200)["duplicates"],
        1
    );
    let agent = json!({"name": "agent-3", "pbx": "office", "extension": "203"});
    api.post("/api/v1/agents", agent.clone()).await.expect(201);
    assert_eq!(
        api.post("/api/v1/agents", agent).await.problem(),
        (422, "invalid".into())
    );
    let campaign = json!({"name": "default"});
    assert_eq!(
        api.post("/api/v1/campaigns", campaign).await.problem(),
        (422, "invalid".into())
    );
    assert_eq!(
        api.delete("/api/v1/trunks/1").await.problem(),
        (409, "conflict".into())
    );
    for path in [
        "trunks",
        "campaigns",
        "agents",
        "tasks",
        "contact-lists",
        "attempts",
        "recordings",
        "dnc",
        "api-keys",
        "live",
    ] {
        api.get(&format!("/api/v1/{path}")).await.expect(200);
    }
    api.get("/readyz").await.expect(200);
}
