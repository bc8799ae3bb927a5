use super::harness::Api;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn two() -> Value {
    json!([
        {"numbers": [{"number": "+1 202 555 0123"}], "name": "A. Example", "time_zone": "America/New_York", "attributes": {"plan": "gold"}},
        {"numbers": [{"number": "2025550124"}]},
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
      "duplicates": 0,
      "numbers_left_out": 0
    }
    "#);
    let more = json!({"contacts": [{"numbers": [{"number": "2025550124"}]}, {"numbers": [{"number": "2025550125"}]}, {"numbers": [{"number": "+12025550125"}]}]});
    assert_snapshot!(api.post("/api/v1/contact-lists/1/contacts", more).await, @r#"
    200 OK
    {
      "added": 1,
      "duplicates": 2,
      "numbers_left_out": 0
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
          "numbers": [
            {
              "number": "+12025550123",
              "kind": "fixed_or_mobile",
              "label": null
            }
          ],
          "external_id": null,
          "name": "A. Example",
          "time_zone": "America/New_York",
          "language": null,
          "tier": null,
          "address": {
            "country": null,
            "state": null,
            "postal_code": null
          },
          "tags": [],
          "consents": [],
          "attributes": {
            "plan": "gold"
          }
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
      "numbers": [
        {
          "number": "+*********24",
          "kind": "fixed_or_mobile",
          "label": null
        }
      ],
      "external_id": null,
      "name": null,
      "time_zone": null,
      "language": null,
      "tier": null,
      "address": {
        "country": null,
        "state": null,
        "postal_code": null
      },
      "tags": [],
      "consents": [],
      "attributes": {}
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
        {"numbers": [{"number": "2025550123"}]},
        {"numbers": [{"number": "12"}]},
        {"numbers": [{"number": "2025550124"}], "time_zone": "New York"},
        {"numbers": [{"number": "2025550125"}], "name": "", "attributes": {"": "x"}},
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
          "pointer": "#/contacts/1/numbers/0/number",
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
async fn why_explains_all_decisions_about_a_contact() {
    let api = Api::ready().await;
    let task = json!({"name": "week 47", "number_pool": ["2025550123", "2025550124", "2025550125", "2025550126", "2025550127"]});
    api.post("/api/v1/tasks", task).await.expect(201);
    api.sql(
        "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, ended_at_ms, outcome)
           VALUES (X'0198A1B2C3D47E5F8A6B7C8D9E0F1A2B', 1, 1, 1, '+12025550123', 1, 1763600000000, 1763600025000, 'no_answer');
         INSERT INTO gate_decisions (at_ms, task_id, contact_id, attempt_id, stage, verdict, reasons, until_ms) VALUES
           (1763590000000, 1, 1, NULL, 'lease', 'defer', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"defer\",\"citation\":\"\",\"text\":\"so\"}]', 1763600000000),
           (1763600000000, 1, 1, NULL, 'lease', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600000001, 1, 1, X'0198A1B2C3D47E5F8A6B7C8D9E0F1A2B', 'originate', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600000000, 1, 2, NULL, 'lease', 'deny', '[{\"profile\":\"paceline\",\"rule\":\"suppressed\",\"verdict\":\"deny\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600000000, 1, 3, NULL, 'lease', 'defer', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"defer\",\"citation\":\"\",\"text\":\"so\"}]', 4100000000000);
         UPDATE task_contacts SET due_at_ms = 4100000000000, attempts_made = 1, last_outcome = 'no_answer' WHERE contact_id = 1;
         UPDATE task_contacts SET state = 'done', last_outcome = 'blocked', held_by = 'suppressed' WHERE contact_id = 2;
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
        "numbers": [
          {
            "number": "+12025550123",
            "kind": "fixed_or_mobile",
            "label": null
          }
        ],
        "external_id": null,
        "name": null,
        "time_zone": null,
        "language": null,
        "tier": null,
        "address": {
          "country": null,
          "state": null,
          "postal_code": null
        },
        "tags": [],
        "consents": [],
        "attributes": {}
      },
      "on_do_not_call_list": false,
      "numbers_on_do_not_call_list": [],
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
            {
              "profile": "paceline",
              "rule": "campaign_hours",
              "verdict": "allow",
              "citation": "",
              "text": "so"
            }
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
            {
              "profile": "paceline",
              "rule": "campaign_hours",
              "verdict": "allow",
              "citation": "",
              "text": "so"
            }
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
            {
              "profile": "paceline",
              "rule": "campaign_hours",
              "verdict": "defer",
              "citation": "",
              "text": "so"
            }
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
          "number_place": 1,
          "number_kind": "fixed_or_mobile",
          "number_label": null,
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
    assert_snapshot!(explained(2).await, @"finished: the gate refused it for good (paceline suppressed)");
    assert_snapshot!(explained(3).await, @"deferred by the gate (paceline campaign_hours) until 2099-12-03T16:53:20.000Z");
    assert_snapshot!(explained(4).await, @"finished after 2 attempts, the last one `answered`");
    assert_snapshot!(explained(5).await, @"due: it is dialed as soon as an agent is free; GET /api/v1/live tells what is in the way");
    api.post(
        "/api/v1/dnc",
        json!({"numbers": ["2025550127"], "reason": "asked"}),
    )
    .await
    .expect(200);
    assert_snapshot!(explained(5).await, @"will be refused: all of its numbers are on the do-not-call list");
    api.delete("/api/v1/dnc/1").await.expect(204);
    let listed = json!({"numbers": ["2025550124"], "reason": "asked"});
    api.post("/api/v1/dnc", listed).await.expect(200);
    api.dialer.told();
    api.delete("/api/v1/dnc/2").await.expect(204);
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    assert_snapshot!(explained(2).await, @"due: it is dialed as soon as an agent is free; GET /api/v1/live tells what is in the way");
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

#[tokio::test]
async fn all_fields_of_a_contact_are_stored_shown_and_searchable() {
    let api = Api::new().await;
    let contact = json!({
        "numbers": [{"number": "+1 202 555 0123", "label": "Mobile"}, {"number": "(202) 555-0124", "label": "Home"}],
        "external_id": "crm-1", "name": "A. Example", "language": "ES-mx", "tier": 2,
        "address": {"country": "US", "state": "NY", "postal_code": "10001"}, "tags": ["vip", "renewal", "vip"],
        "consents": [{"kind": "express_written", "scope": "marketing", "granted_at": "2026-01-01T00:00:00+01:00",
            "expires_at": "2027-01-01T00:00:00Z", "proof": "form 12"}],
    });
    let list = json!({"name": "renewals", "contacts": [contact, {"numbers": [{"number": "2025550125"}]}]});
    api.post("/api/v1/contact-lists", list).await.expect(201);
    let shown = api.get("/api/v1/contacts/1").await;
    assert_snapshot!(shown, @r#"
    200 OK
    {
      "id": 1,
      "contact_list_id": 1,
      "numbers": [
        {
          "number": "+12025550123",
          "kind": "fixed_or_mobile",
          "label": "Mobile"
        },
        {
          "number": "+12025550124",
          "kind": "fixed_or_mobile",
          "label": "Home"
        }
      ],
      "external_id": "crm-1",
      "name": "A. Example",
      "time_zone": null,
      "language": "es-MX",
      "tier": 2,
      "address": {
        "country": "US",
        "state": "NY",
        "postal_code": "10001"
      },
      "tags": [
        "renewal",
        "vip"
      ],
      "consents": [
        {
          "kind": "express_written",
          "scope": "marketing",
          "granted_at": "2025-12-31T23:00:00.000Z",
          "expires_at": "2027-01-01T00:00:00.000Z",
          "proof": "form 12"
        }
      ],
      "attributes": {}
    }
    "#);
    for (query, found) in [
        ("external_id=crm-1", 1),
        ("tag=vip", 1),
        ("tag=vip&external_id=crm-1", 1),
        ("external_id=crm-2", 0),
        ("tag=new", 0),
    ] {
        let page = api
            .get(&format!("/api/v1/contact-lists/1/contacts?{query}"))
            .await
            .expect(200);
        assert_eq!(page["items"].as_array().unwrap().len(), found, "{query}");
    }
    for number in ["2025550123", "2025550124"] {
        let found = api
            .post("/api/v1/contacts/search", json!({"number": number}))
            .await
            .expect(200);
        assert_eq!(found["items"][0]["id"], 1, "by each of its numbers");
    }
    // First one of its numbers is listed, then both.
    for (number, listed, all) in [
        ("2025550124", json!([2]), false),
        ("2025550123", json!([1, 2]), true),
    ] {
        api.post("/api/v1/dnc", json!({"numbers": [number], "reason": "asked"}))
            .await
            .expect(200);
        let why = api.get("/api/v1/contacts/1/why").await.expect(200);
        assert_eq!(why["numbers_on_do_not_call_list"], listed);
        assert_eq!(why["on_do_not_call_list"], all);
    }
}

#[tokio::test]
async fn every_invalid_field_of_a_contact_is_named() {
    let api = Api::new().await;
    let consent = json!({"kind": "express", "scope": "debt", "granted_at": "2026-01-02T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z"});
    let contacts = json!([
        {"numbers": []},
        {"numbers": [{"number": "2025550123", "label": ""}, {"number": "12"}], "external_id": " ", "language": "English",
            "tier": 10, "address": {"country": "UK", "state": "", "postal_code": "x".repeat(21)}, "tags": ["a\nb"]},
        {"numbers": [{"number": "2025550124"}, {"number": "+12025550124"}]},
        {"numbers": [{"number": "2025550125"}], "consents": [consent]},
    ]);
    let answer = api
        .post(
            "/api/v1/contact-lists",
            json!({"name": "x", "contacts": contacts}),
        )
        .await
        .expect(422);
    let pointers: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            error["pointer"]
                .as_str()
                .unwrap()
                .trim_start_matches("#/contacts/")
                .to_owned()
        })
        .collect();
    assert_eq!(
        pointers,
        [
            "0/numbers",
            "1/numbers/0/label",
            "1/numbers/1/number",
            "1/external_id",
            "1/language",
            "1/tier",
            "1/address/country",
            "1/address/state",
            "1/address/postal_code",
            "1/tags/0",
            "2/numbers",
            "3/consents",
        ]
    );
    assert_eq!(
        api.get("/api/v1/contact-lists").await.expect(200)["items"],
        json!([])
    );
}
