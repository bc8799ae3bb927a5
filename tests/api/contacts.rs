use super::harness::Api;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn two() -> Value {
    json!([
        {"number": "+1 202 555 0123", "name": "A. Example", "time_zone": "America/New_York", "attributes": {"plan": "gold"}},
        {"number": "2025550124"},
    ])
}

#[tokio::test]
async fn a_list_is_created_with_contacts_and_grows() {
    let api = Api::new().await;
    let list = json!({"name": "renewals", "contacts": two()});
    assert_snapshot!(api.post("/api/v1/contact-lists", list).await, @r#"
    201 Created
    {
      "id": 1,
      "name": "renewals",
      "created_at": "[now]",
      "added": 2,
      "duplicates": 0
    }
    "#);
    let more =
        json!({"contacts": [{"number": "2025550124"}, {"number": "2025550125"}, {"number": "+12025550125"}]});
    assert_snapshot!(api.post("/api/v1/contact-lists/1/contacts", more).await, @r#"
    200 OK
    {
      "added": 1,
      "duplicates": 2
    }
    "#);
    assert_snapshot!(api.get("/api/v1/contact-lists/1").await, @r#"
    200 OK
    {
      "id": 1,
      "name": "renewals",
      "created_at": "[now]",
      "contacts": 3
    }
    "#);
    assert_snapshot!(api.get("/api/v1/contact-lists/1/contacts?limit=1").await, @r#"
    200 OK
    {
      "items": [
        {
          "id": 1,
          "contact_list_id": 1,
          "number": "+12025550123",
          "name": "A. Example",
          "time_zone": "America/New_York",
          "attributes": {
            "plan": "gold"
          },
          "further_numbers": []
        }
      ],
      "next_cursor": "Y29udGFjdHM6MQ"
    }
    "#);
    assert_snapshot!(api.ask("GET", "/api/v1/contacts/2", &api.read, &Value::Null).await, @r#"
    200 OK
    {
      "id": 2,
      "contact_list_id": 1,
      "number": "+*********24",
      "name": null,
      "time_zone": null,
      "attributes": {},
      "further_numbers": []
    }
    "#);
    assert_snapshot!(api.get("/api/v1/contacts/9").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no contact 9. GET /api/v1/contact-lists lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.post("/api/v1/contact-lists/9/contacts", json!({"contacts": two()})).await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no contact list 9. GET /api/v1/contact-lists lists what there is.",
      "request_id": "[id]"
    }
    "#);
    api.post("/api/v1/contact-lists", json!({"name": "second"}))
        .await
        .expect(201);
    assert_eq!(
        api.get("/api/v1/contact-lists").await.expect(200)["items"][0]["name"],
        "second"
    );
}

#[tokio::test]
async fn every_bad_contact_is_named_and_none_is_added() {
    let api = Api::new().await;
    let list = json!({"name": "renewals", "contacts": [
        {"number": "2025550123"},
        {"number": "12"},
        {"number": "2025550124", "time_zone": "New York"},
        {"number": "2025550125", "name": "", "attributes": {"": "x"}},
    ]});
    assert_snapshot!(api.post("/api/v1/contact-lists", list).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/contacts/1/number",
          "detail": "too short for its country"
        },
        {
          "pointer": "#/contacts/2/time_zone",
          "detail": "this is not an IANA time zone: use one such as America/New_York"
        },
        {
          "pointer": "#/contacts/3/name",
          "detail": "1 to 200 characters, no line breaks, and not only spaces"
        },
        {
          "pointer": "#/contacts/3/attributes",
          "detail": "up to 64 attributes, names of 1 to 100 bytes, texts of up to 2,000 characters"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(
        api.get("/api/v1/contact-lists").await.expect(200)["items"],
        json!([])
    );
    assert_snapshot!(api.post("/api/v1/contact-lists/1/contacts", json!({"contacts": []})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/contacts",
          "detail": "there is nobody in it"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn a_contact_is_found_by_its_number_with_a_key_that_may() {
    let api = Api::new().await;
    api.post(
        "/api/v1/contact-lists",
        json!({"name": "renewals", "contacts": two()}),
    )
    .await
    .expect(201);
    let search = json!({"number": "(202) 555-0123"});
    let found = api
        .post("/api/v1/contacts/search", search.clone())
        .await
        .expect(200);
    assert_eq!(found["items"][0]["id"], 1);
    assert_snapshot!(api.ask("POST", "/api/v1/contacts/search", &api.write, &search).await, @r#"
    403 Forbidden
    {
      "type": "/problems/forbidden",
      "title": "The key does not allow this",
      "status": 403,
      "detail": "This needs a key that may see numbers: `sees_numbers`.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.post("/api/v1/contacts/search", json!({"number": "12"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number",
          "detail": "too short for its country"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn why_tells_a_contacts_whole_story() {
    let api = Api::ready().await;
    let task = json!({"name": "week 47", "number_pool": ["2025550123", "2025550124", "2025550125", "2025550126", "2025550127"]});
    api.post("/api/v1/tasks", task).await.expect(201);
    api.sql(
        "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, ended_at_ms, outcome)
           VALUES (X'0198A1B2C3D47E5F8A6B7C8D9E0F1A2B', 1, 1, 1, '+12025550123', 1, 1763600000000, 1763600025000, 'no_answer');
         INSERT INTO gate_decisions (at_ms, task_id, contact_id, attempt_id, stage, verdict, reasons, until_ms) VALUES
           (1763590000000, 1, 1, NULL, 'lease', 'defer', 'outside_hours', 1763600000000),
           (1763600000000, 1, 1, NULL, 'lease', 'allow', 'clear', NULL),
           (1763600000001, 1, 1, X'0198A1B2C3D47E5F8A6B7C8D9E0F1A2B', 'originate', 'allow', 'clear', NULL),
           (1763600000000, 1, 2, NULL, 'lease', 'deny', 'dnc', NULL),
           (1763600000000, 1, 3, NULL, 'lease', 'defer', 'outside_hours', 4100000000000);
         UPDATE task_contacts SET due_at_ms = 4100000000000, attempts_made = 1, last_outcome = 'no_answer' WHERE contact_id = 1;
         UPDATE task_contacts SET state = 'done', last_outcome = 'blocked' WHERE contact_id = 2;
         UPDATE task_contacts SET due_at_ms = 4100000000000 WHERE contact_id = 3;
         UPDATE task_contacts SET state = 'done', attempts_made = 2, last_outcome = 'answered' WHERE contact_id = 4;",
    )
    .await;
    assert_snapshot!(api.get("/api/v1/contacts/1/why").await, @r#"
    200 OK
    {
      "contact": {
        "id": 1,
        "contact_list_id": 1,
        "number": "+12025550123",
        "name": null,
        "time_zone": null,
        "attributes": {},
        "further_numbers": []
      },
      "on_do_not_call_list": false,
      "tasks": [
        {
          "task_id": 1,
          "task_state": "running",
          "campaign_id": 1,
          "campaign_state": "active",
          "state": "ready",
          "due_at": "2099-12-03T16:53:20.000Z",
          "attempts_made": 1,
          "last_outcome": "no_answer",
          "explanation": "waits for its next attempt at 2099-12-03T16:53:20.000Z, as the last one was `no_answer`"
        }
      ],
      "decisions": [
        {
          "at": "2025-11-20T00:53:20.001Z",
          "task_id": 1,
          "attempt_id": "0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
          "stage": "originate",
          "verdict": "allow",
          "reasons": [
            "clear"
          ],
          "until": null
        },
        {
          "at": "2025-11-20T00:53:20.000Z",
          "task_id": 1,
          "attempt_id": null,
          "stage": "lease",
          "verdict": "allow",
          "reasons": [
            "clear"
          ],
          "until": null
        },
        {
          "at": "2025-11-19T22:06:40.000Z",
          "task_id": 1,
          "attempt_id": null,
          "stage": "lease",
          "verdict": "defer",
          "reasons": [
            "outside_hours"
          ],
          "until": "2025-11-20T00:53:20.000Z"
        }
      ],
      "attempts": [
        {
          "id": "0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
          "campaign_id": 1,
          "task_id": 1,
          "contact_id": 1,
          "number": "+12025550123",
          "ordinal": 1,
          "created_at": "2025-11-20T00:53:20.000Z",
          "answered_at": null,
          "connected_at": null,
          "abandoned_at": null,
          "agent_id": null,
          "ended_at": "2025-11-20T00:53:45.000Z",
          "outcome": "no_answer",
          "disposition": null,
          "message": null,
          "message_at": null
        }
      ]
    }
    "#);
    let explained = async |contact: u32| {
        let why = api
            .get(&format!("/api/v1/contacts/{contact}/why"))
            .await
            .expect(200);
        why["tasks"][0]["explanation"].as_str().unwrap().to_owned()
    };
    assert_snapshot!(explained(2).await, @"finished: the gate refused it for good (dnc)");
    assert_snapshot!(explained(3).await, @"deferred by the gate (outside_hours) until 2099-12-03T16:53:20.000Z");
    assert_snapshot!(explained(4).await, @"finished after 2 attempts, the last one `answered`");
    assert_snapshot!(explained(5).await, @"due: it is dialed as soon as an agent is free; GET /api/v1/live tells what is in the way");
    api.post(
        "/api/v1/dnc",
        json!({"numbers": ["2025550127"], "reason": "asked"}),
    )
    .await
    .expect(200);
    assert_snapshot!(explained(5).await, @"will be refused: the number is on the do-not-call list");
    api.delete("/api/v1/dnc/1").await.expect(204);
    api.post("/api/v1/campaigns/1/pause", Value::Null)
        .await
        .expect(200);
    assert_snapshot!(explained(5).await, @"waits: its campaign is paused");
    api.post("/api/v1/tasks/1/pause", Value::Null).await.expect(200);
    assert_snapshot!(explained(5).await, @"waits: its task is paused");
    assert_eq!(
        api.get("/api/v1/contacts/9/why").await.problem(),
        (404, "not-found".into())
    );
}
