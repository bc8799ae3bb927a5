use super::harness::Api;
use insta::assert_snapshot;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::ids::{AgentId, AttemptId, CampaignId, PbxName};
use paceline_core::live::{LiveAgent, LiveCampaign};
use paceline_core::time::Wall;
use serde_json::{Value, json};
use uuid::Uuid;

const FIRST: &str = "019a9ec0-6400-7e5f-8a6b-000000000001";
const SECOND: &str = "019a9ec1-eaa0-7e5f-8a6b-000000000002";

/// One attempt without an answer, and one conversation with agent 1.
async fn with_attempts() -> Api {
    let api = Api::ready().await;
    api.post(
        "/api/v1/agents",
        json!({"name": "agent-3", "pbx": "office", "extension": "203"}),
    )
    .await
    .expect(201);
    let task = json!({"name": "week 47", "number_pool": ["2025550123", "2025550124"]});
    api.post("/api/v1/tasks", task).await.expect(201);
    api.sql(
        "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, ended_at_ms, outcome)
           VALUES (X'019A9EC064007E5F8A6B000000000001', 1, 1, 1, '+12025550123', 1, 1763600000000, 1763600025000, 'no_answer');
         INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, answered_at_ms, connected_at_ms, agent_id, ended_at_ms, outcome)
           VALUES (X'019A9EC1EAA07E5F8A6B000000000002', 1, 1, 1, '+12025550123', 2, 1763600100000, 1763600105000, 1763600105040, 1, 1763600200000, 'answered');
         INSERT INTO legs (id, attempt_id, pbx, trunk_id, created_at_ms, progress, progress_at_ms, answered_at_ms, ended_at_ms, ended_by, q850, sip, detail)
           VALUES (X'00000000000000000000000000000007', X'019A9EC1EAA07E5F8A6B000000000002', 'office', 1, 1763600100000, 'ringing', 1763600101000, 1763600105000, 1763600200000, 'network', 16, NULL, 'Normal Clearing');
         INSERT INTO gate_decisions (at_ms, task_id, contact_id, attempt_id, stage, verdict, reasons, until_ms) VALUES
           (1763600000000, 1, 1, NULL, 'lease', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600000001, 1, 1, X'019A9EC064007E5F8A6B000000000001', 'originate', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600099999, 1, 1, NULL, 'lease', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL),
           (1763600100000, 1, 1, X'019A9EC1EAA07E5F8A6B000000000002', 'originate', 'allow', '[{\"profile\":\"paceline\",\"rule\":\"campaign_hours\",\"verdict\":\"allow\",\"citation\":\"\",\"text\":\"so\"}]', NULL);
         INSERT INTO recordings (name, attempt_id, agent_id, pbx, state, asked_at_ms, started_at_ms, ended_at_ms, duration_ms)
           VALUES ('paceline-7', X'019A9EC1EAA07E5F8A6B000000000002', 1, 'office', 'complete', 1763600105041, 1763600105100, 1763600200000, 94900);",
    )
    .await;
    api.dialer.told();
    api
}

#[tokio::test]
async fn an_attempt_is_shown_with_all_that_led_to_it() {
    let api = with_attempts().await;
    assert_snapshot!(api.get(&format!("/api/v1/attempts/{SECOND}")).await, @r#"
    200 OK
    {
      "id": "019a9ec1-eaa0-7e5f-8a6b-000000000002",
      "campaign_id": 1,
      "task_id": 1,
      "contact_id": 1,
      "number": "+12025550123",
      "number_place": 1,
      "number_kind": "fixed_or_mobile",
      "number_label": null,
      "ordinal": 2,
      "created_at": "2025-11-20T00:55:00.000Z",
      "answered_at": "2025-11-20T00:55:05.000Z",
      "connected_at": "2025-11-20T00:55:05.040Z",
      "abandoned_at": null,
      "agent_id": 1,
      "ended_at": "2025-11-20T00:56:40.000Z",
      "outcome": "answered",
      "disposition": null,
      "message": null,
      "message_at": null,
      "legs": [
        {
          "id": "00000000-0000-0000-0000-000000000007",
          "pbx": "office",
          "trunk_id": 1,
          "created_at": "2025-11-20T00:55:00.000Z",
          "progress": "ringing",
          "progress_at": "2025-11-20T00:55:01.000Z",
          "answered_at": "2025-11-20T00:55:05.000Z",
          "ended_at": "2025-11-20T00:56:40.000Z",
          "ended_by": "network",
          "q850": 16,
          "sip": null,
          "detail": "Normal Clearing"
        }
      ],
      "recordings": [
        {
          "name": "paceline-7",
          "attempt_id": "019a9ec1-eaa0-7e5f-8a6b-000000000002",
          "agent_id": 1,
          "pbx": "office",
          "state": "complete",
          "asked_at": "2025-11-20T00:55:05.041Z",
          "started_at": "2025-11-20T00:55:05.100Z",
          "ended_at": "2025-11-20T00:56:40.000Z",
          "duration_ms": 94900,
          "failure": null
        }
      ],
      "decisions": [
        {
          "at": "2025-11-20T00:55:00.000Z",
          "task_id": 1,
          "attempt_id": "019a9ec1-eaa0-7e5f-8a6b-000000000002",
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
          "at": "2025-11-20T00:54:59.999Z",
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
        }
      ]
    }
    "#);
    let masked = api
        .ask(
            "GET",
            &format!("/api/v1/attempts/{SECOND}"),
            &api.write,
            &Value::Null,
        )
        .await;
    assert!(!masked.text.contains("1202555"), "{}", masked.text);
    assert_snapshot!(api.get("/api/v1/attempts/019a9ec1-eaa0-7e5f-8a6b-000000000009").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no attempt 019a9ec1-eaa0-7e5f-8a6b-000000000009. GET /api/v1/attempts lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/attempts/9").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "The id in the path must be a UUID.",
      "errors": [
        {
          "parameter": "id",
          "detail": "expected a UUID"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/recordings").await, @r#"
    200 OK
    {
      "items": [
        {
          "name": "paceline-7",
          "attempt_id": "019a9ec1-eaa0-7e5f-8a6b-000000000002",
          "agent_id": 1,
          "pbx": "office",
          "state": "complete",
          "asked_at": "2025-11-20T00:55:05.041Z",
          "started_at": "2025-11-20T00:55:05.100Z",
          "ended_at": "2025-11-20T00:56:40.000Z",
          "duration_ms": 94900,
          "failure": null
        }
      ],
      "next_cursor": null
    }
    "#);
    assert_eq!(
        api.get(&format!("/api/v1/recordings?attempt_id={FIRST}"))
            .await
            .expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn attempts_are_filtered_and_paged() {
    let api = with_attempts().await;
    let ids = async |query: &str| {
        let page = api.get(&format!("/api/v1/attempts?{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for all in [
        "",
        "campaign_id=1",
        "task_id=1",
        "contact_id=1",
        "created_from=2025-11-20T00:00:00Z",
    ] {
        assert_eq!(ids(all).await, [SECOND, FIRST], "{all}");
    }
    for second in [
        "agent_id=1",
        "outcome=answered",
        "created_from=2025-11-20T00:55:00Z",
    ] {
        assert_eq!(ids(second).await, [SECOND], "{second}");
    }
    for none in [
        "campaign_id=2",
        "disposition=success",
        "contact_id=2",
        "outcome=busy&agent_id=1",
    ] {
        assert_eq!(ids(none).await, Vec::<String>::new(), "{none}");
    }
    let first_page = api.get("/api/v1/attempts?limit=1").await.expect(200);
    let cursor = first_page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&format!("limit=1&cursor={cursor}")).await, [FIRST]);
}

#[tokio::test]
async fn a_disposition_is_kept_and_ends_wrap_up() {
    let api = with_attempts().await;
    let path = format!("/api/v1/attempts/{SECOND}/disposition");
    let set = async |word: &str| {
        api.ask("PUT", &path, &api.agent, &json!({"disposition": word}))
            .await
    };
    assert_snapshot!(set("success").await, @r#"
    200 OK
    {
      "id": "019a9ec1-eaa0-7e5f-8a6b-000000000002",
      "campaign_id": 1,
      "task_id": 1,
      "contact_id": 1,
      "number": "+*********23",
      "number_place": 1,
      "number_kind": "fixed_or_mobile",
      "number_label": null,
      "ordinal": 2,
      "created_at": "2025-11-20T00:55:00.000Z",
      "answered_at": "2025-11-20T00:55:05.000Z",
      "connected_at": "2025-11-20T00:55:05.040Z",
      "abandoned_at": null,
      "agent_id": 1,
      "ended_at": "2025-11-20T00:56:40.000Z",
      "outcome": "answered",
      "disposition": "success",
      "message": null,
      "message_at": null
    }
    "#);
    assert_eq!(
        api.dialer.told(),
        Vec::<String>::new(),
        "the agent is in no wrap-up"
    );
    let wraps_up = |attempt: &str| LiveCampaign {
        agents: vec![LiveAgent {
            agent: AgentId(1),
            state: AgentState::WrapUp,
            reason: AgentReason::CallLaunched,
            since_ms: Wall(0),
            pbx: PbxName::new("office"),
            leg: None,
            attempt: Some(AttemptId(attempt.parse::<Uuid>().unwrap())),
        }],
        ..LiveCampaign::default()
    };
    api.dialer
        .live
        .lock()
        .unwrap()
        .insert(CampaignId(1), wraps_up(FIRST));
    set("success").await.expect(200);
    assert_eq!(api.dialer.told(), Vec::<String>::new(), "wraps another call up");
    api.dialer
        .live
        .lock()
        .unwrap()
        .insert(CampaignId(1), wraps_up(SECOND));
    set("success").await.expect(200);
    assert_eq!(api.dialer.told(), ["agent 1 in campaign 1: EndWrapUp"]);
    let body = json!({"disposition": "callback"});
    let last = api.post("/api/v1/agents/1/disposition", body).await.expect(200);
    assert_eq!(
        (&last["id"], &last["disposition"]),
        (&json!(SECOND), &json!("callback"))
    );
    assert_eq!(api.dialer.told(), ["agent 1 in campaign 1: EndWrapUp"]);
    // The engine knows a connection a moment before the store, whose last conversation is still another one.
    api.dialer.works.lock().unwrap().insert(AgentId(1), CampaignId(1));
    api.dialer
        .live
        .lock()
        .unwrap()
        .insert(CampaignId(1), wraps_up(FIRST));
    let body = json!({"disposition": "success"});
    let present = api.post("/api/v1/agents/1/disposition", body).await.expect(200);
    assert_eq!(present["id"], json!(FIRST));
    assert_eq!(api.dialer.told(), ["agent 1 in campaign 1: EndWrapUp"]);
    assert_snapshot!(set("Sold!").await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/disposition",
          "detail": "a disposition is 1 to 40 lower-case letters, digits or `_`, such as success, callback, refused, dnc"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let path = format!("/api/v1/attempts/{FIRST}/disposition");
    assert_snapshot!(api.put(&path, json!({"disposition": "success"})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Attempt 019a9ec0-6400-7e5f-8a6b-000000000001 was never connected with an agent, so there is no conversation to give a disposition of.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn the_disposition_dnc_puts_the_number_on_the_list() {
    let api = with_attempts().await;
    api.post("/api/v1/agents/1/disposition", json!({"disposition": "dnc"}))
        .await
        .expect(200);
    assert!(api.dialer.told().contains(&"suppression changed".to_owned()));
    let check = api
        .post(
            "/api/v1/dnc/check",
            json!({"numbers": ["2025550123", "2025550124"]}),
        )
        .await;
    assert_snapshot!(check, @r#"
    200 OK
    {
      "items": [
        {
          "listed": true,
          "entries": [
            {
              "id": 1,
              "number": "+12025550123",
              "scope": "all",
              "source": "agent",
              "reason": "an agent's disposition: dnc",
              "added_at": "[now]",
              "expires_at": null,
              "api_key_id": 1,
              "agent_id": 1,
              "attempt_id": "019a9ec1-eaa0-7e5f-8a6b-000000000002"
            }
          ],
          "lists": []
        },
        {
          "listed": false,
          "entries": [],
          "lists": []
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn the_disposition_refused_puts_the_number_on_the_list_for_a_time() {
    let api = with_attempts().await;
    api.post("/api/v1/agents/1/disposition", json!({"disposition": "refused"}))
        .await
        .expect(200);
    assert!(api.dialer.told().contains(&"suppression changed".to_owned()));
    let entry = &api.get("/api/v1/dnc").await.expect(200)["items"][0];
    assert_eq!(
        (&entry["source"], &entry["scope"]),
        (&json!("agent"), &json!("all"))
    );
    let at = |field: &str| entry[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let days = at("expires_at").duration_since(at("added_at")).as_hours() / 24;
    assert_eq!(days, 365);
}

#[tokio::test]
async fn an_agent_without_a_conversation_has_nothing_to_dispose_of() {
    let api = Api::ready().await;
    api.post(
        "/api/v1/agents",
        json!({"name": "agent-3", "pbx": "office", "extension": "203"}),
    )
    .await
    .expect(201);
    assert_snapshot!(api.post("/api/v1/agents/1/disposition", json!({"disposition": "success"})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Agent 1 has had no conversation yet.",
      "request_id": "[id]"
    }
    "#);
}
