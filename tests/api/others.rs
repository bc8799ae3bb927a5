//! Do-not-call list, keys, live state, health.

use super::harness::Api;
use insta::assert_snapshot;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::ids::{AgentId, AgentLegId, AttemptId, CampaignId, PbxName};
use paceline_core::live::{AttemptPhase, Idle, LiveAgent, LiveCampaign, Warning};
use paceline_core::pacing::RuleAccount;
use paceline_core::time::Wall;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn numbers_go_on_the_do_not_call_list_and_off_it() {
    let api = Api::new().await;
    let numbers = json!({"numbers": ["+1 202 555 0123", "(202) 555-0124", "+12025550123"], "reason": "asked by letter"});
    assert_snapshot!(api.post("/api/v1/dnc", numbers).await, @r#"
    200 OK
    {
      "added": 2,
      "duplicates": 1
    }
    "#);
    assert_snapshot!(api.get("/api/v1/dnc").await, @r#"
    200 OK
    {
      "items": [
        {
          "id": 2,
          "number": "+12025550124",
          "scope": "all",
          "source": "api",
          "reason": "asked by letter",
          "added_at": "[now]",
          "expires_at": null,
          "api_key_id": 1,
          "agent_id": null,
          "attempt_id": null
        },
        {
          "id": 1,
          "number": "+12025550123",
          "scope": "all",
          "source": "api",
          "reason": "asked by letter",
          "added_at": "[now]",
          "expires_at": null,
          "api_key_id": 1,
          "agent_id": null,
          "attempt_id": null
        }
      ],
      "next_cursor": null
    }
    "#);
    let masked = api.ask("GET", "/api/v1/dnc", &api.read, &Value::Null).await;
    assert!(
        !masked.text.contains("+1202") && masked.text.contains("+*********23"),
        "{}",
        masked.text
    );
    let check = json!({"numbers": ["2025550124", "2025550199"]});
    assert_snapshot!(api.post("/api/v1/dnc/check", check.clone()).await, @r#"
    200 OK
    {
      "items": [
        {
          "listed": true,
          "entries": [
            {
              "id": 2,
              "number": "+12025550124",
              "scope": "all",
              "source": "api",
              "reason": "asked by letter",
              "added_at": "[now]",
              "expires_at": null,
              "api_key_id": 1,
              "agent_id": null,
              "attempt_id": null
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
    api.delete("/api/v1/dnc/2").await.expect(204);
    assert_snapshot!(api.delete("/api/v1/dnc/2").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no do-not-call entry 2. GET /api/v1/dnc lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(
        api.post("/api/v1/dnc/check", check).await.expect(200)["items"][0]["listed"],
        false
    );
    assert_snapshot!(api.post("/api/v1/dnc", json!({"numbers": ["12", "2025550101", "x"], "reason": ""})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/reason",
          "detail": "1 to 200 characters, no line breaks, and not only spaces"
        },
        {
          "pointer": "#/numbers/0",
          "detail": "too short for its country"
        },
        {
          "pointer": "#/numbers/2",
          "detail": "has an extension, which cannot be dialed"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.post("/api/v1/dnc/check", json!({"numbers": []})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/numbers",
          "detail": "1 to 1000 numbers in one request"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn a_key_that_sees_no_numbers_cannot_look_one_up_nor_make_a_key_that_does() {
    let api = Api::new().await;
    let numbers = json!({"numbers": ["2025550123"], "reason": "asked by letter"});
    api.post("/api/v1/dnc", numbers).await.expect(200);
    let check = json!({"numbers": ["2025550123"]});
    for key in [&api.read, &api.agent, &api.write] {
        let asked = api.ask("POST", "/api/v1/dnc/check", key, &check).await;
        assert_eq!(asked.problem(), (403, "forbidden".into()));
    }
    let sees = json!({"name": "eyes", "role": "read", "sees_numbers": true});
    let made = api.ask("POST", "/api/v1/api-keys", &api.write, &sees).await;
    assert_eq!(made.problem(), (403, "forbidden".into()));
    let blind = json!({"name": "eyes", "role": "read"});
    api.ask("POST", "/api/v1/api-keys", &api.write, &blind)
        .await
        .expect(201);
    let sees = json!({"name": "more eyes", "role": "read", "sees_numbers": true});
    api.post("/api/v1/api-keys", sees).await.expect(201);
}

#[tokio::test]
async fn a_key_is_shown_once_and_refused_once_revoked() {
    let api = Api::new().await;
    let made = api
        .post("/api/v1/api-keys", json!({"name": "crm", "role": "write"}))
        .await;
    assert_snapshot!(made, @r#"
    201 Created
    {
      "id": 5,
      "name": "crm",
      "role": "write",
      "agent_id": null,
      "sees_numbers": false,
      "created_at": "[now]",
      "revoked_at": null,
      "key": "[key]"
    }
    "#);
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("pl_5_") && key.len() == 5 + 43, "{key}");
    api.ask("GET", "/api/v1/trunks", &key, &Value::Null)
        .await
        .expect(200);
    assert_snapshot!(api.post("/api/v1/api-keys", json!({"name": "crm", "role": "read"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/name",
          "detail": "another key has this name; revoked keys keep theirs"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.post("/api/v1/api-keys", json!({"name": "x", "role": "admin"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/role",
          "detail": "expected one of `read`, `agent`, `write`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.get("/api/v1/api-keys?limit=1").await, @r#"
    200 OK
    {
      "items": [
        {
          "id": 1,
          "name": "root",
          "role": "write",
          "agent_id": null,
          "sees_numbers": true,
          "created_at": "1970-01-01T00:00:00.000Z",
          "revoked_at": null
        }
      ],
      "next_cursor": "YXBpLWtleXM6MQ"
    }
    "#);
    // A key may revoke itself.
    api.ask("DELETE", "/api/v1/api-keys/5", &key, &Value::Null)
        .await
        .expect(204);
    assert_snapshot!(api.ask("GET", "/api/v1/trunks", &key, &Value::Null).await, @r#"
    401 Unauthorized
    {
      "type": "/problems/unauthenticated",
      "title": "A valid API key is needed",
      "status": 401,
      "detail": "The key is unknown or revoked. `paceline key create` makes a new one.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(
        api.delete("/api/v1/api-keys/5").await.status,
        204,
        "doing it again changes nothing"
    );
    assert_eq!(
        api.delete("/api/v1/api-keys/6").await.problem(),
        (404, "not-found".into())
    );
}

#[tokio::test]
async fn live_state_says_why_nothing_is_dialing() {
    let api = Api::ready().await;
    api.post("/api/v1/campaigns", json!({"name": "draft"}))
        .await
        .expect(201);
    let live = LiveCampaign {
        active: true,
        attempts: [(AttemptPhase::Ringing, 1)].into(),
        agents_by_state: [(AgentState::Reserved, 1)].into(),
        agents: vec![LiveAgent {
            agent: AgentId(3),
            state: AgentState::Reserved,
            reason: AgentReason::CallLaunched,
            since_ms: Wall(1_763_600_000_000),
            pbx: PbxName::new("office"),
            leg: Some(AgentLegId(Uuid::from_u128(7))),
            attempt: Some(AttemptId(Uuid::from_u128(8))),
        }],
        trunks_held: std::collections::BTreeSet::default(),
        hopper: 4,
        pacing: vec![],
        abandon: [("us-ftc", 8.0, 2.0), ("fresh", 0.0, 0.0)]
            .map(|(rule, live, abandoned)| RuleAccount {
                rule: rule.into(),
                live,
                abandoned,
            })
            .into(),
        full: vec![],
        idle: vec![Idle::NoFreeAgent],
        warnings: vec![Warning::RecordingsFailed],
        settled: false,
    };
    api.dialer.live.lock().unwrap().insert(CampaignId(1), live);
    assert_snapshot!(api.get("/api/v1/live").await, @r#"
    200 OK
    {
      "at": "[now]",
      "campaigns": [
        {
          "campaign_id": 1,
          "name": "default",
          "state": "active",
          "attempts": {
            "ringing": 1
          },
          "agents_by_state": {
            "reserved": 1
          },
          "agents": [
            {
              "agent_id": 3,
              "state": "reserved",
              "reason": "call_launched",
              "since": "2025-11-20T00:53:20.000Z",
              "pbx": "office",
              "leg_id": "00000000-0000-0000-0000-000000000007",
              "attempt_id": "00000000-0000-0000-0000-000000000008"
            }
          ],
          "hopper": 4,
          "pacing": [],
          "abandon": [
            {
              "rule": "us-ftc",
              "live_answers": 8.0,
              "abandoned": 2.0,
              "abandon_ratio": 0.25
            },
            {
              "rule": "fresh",
              "live_answers": 0.0,
              "abandoned": 0.0,
              "abandon_ratio": null
            }
          ],
          "work": {
            "preparing_tasks": 0,
            "running_tasks": 0,
            "scheduled_tasks": 0,
            "paused_tasks": 0,
            "next_start_at": null,
            "next_due_at": null,
            "deferred_tasks": 0,
            "deferred_until": null
          },
          "idle": [
            {
              "reason": "no_free_agent",
              "explanation": "Every agent is in a call, in wrap-up, paused, or reserved for a call in flight. `agents` lists them."
            }
          ],
          "warnings": [
            {
              "warning": "recordings_failed",
              "explanation": "The last recordings failed. GET /api/v1/recordings has the reasons that the PBX gave. Run `paceline doctor`: it checks whether the PBX can record and has the announcement."
            }
          ]
        },
        {
          "campaign_id": 2,
          "name": "draft",
          "state": "draft",
          "attempts": {},
          "agents_by_state": {},
          "agents": [],
          "hopper": 0,
          "pacing": [],
          "abandon": [],
          "work": {
            "preparing_tasks": 0,
            "running_tasks": 0,
            "scheduled_tasks": 0,
            "paused_tasks": 0,
            "next_start_at": null,
            "next_due_at": null,
            "deferred_tasks": 0,
            "deferred_until": null
          },
          "idle": [
            {
              "reason": "not_active",
              "explanation": "The campaign is in the state draft. POST /api/v1/campaigns/2/activate."
            }
          ],
          "warnings": []
        }
      ],
      "pbxes": [
        {
          "name": "branch",
          "kind": "ari",
          "connected": false,
          "version": null,
          "maintenance_since": null,
          "refuses_calls": false
        },
        {
          "name": "office",
          "kind": "ari",
          "connected": true,
          "version": "22.10.0",
          "maintenance_since": null,
          "refuses_calls": false
        }
      ]
    }
    "#);
    for idle in Idle::ALL {
        let live = LiveCampaign {
            idle: vec![*idle],
            ..LiveCampaign::default()
        };
        api.dialer.live.lock().unwrap().insert(CampaignId(1), live);
        let reply = api.get("/api/v1/campaigns/1/live").await.expect(200);
        assert_eq!(reply["idle"][0]["reason"], idle.as_str());
        assert!(
            reply["idle"][0]["explanation"].as_str().unwrap().len() > 20,
            "{reply}"
        );
    }
    assert_snapshot!(api.get("/api/v1/campaigns/9/live").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no campaign 9. GET /api/v1/campaigns lists what there is.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn health_needs_no_key() {
    let api = Api::new().await;
    assert_snapshot!(api.ask("GET", "/healthz", "", &Value::Null).await, @r#"
    200 OK
    {
      "status": "ok"
    }
    "#);
    assert_snapshot!(api.ask("GET", "/readyz", "", &Value::Null).await, @r#"
    200 OK
    {
      "status": "ok"
    }
    "#);
    api.store.close().await;
    assert_snapshot!(api.ask("GET", "/readyz", "", &Value::Null).await, @r#"
    503 Service Unavailable
    {
      "type": "/problems/unavailable",
      "title": "Not available at the moment",
      "status": 503,
      "detail": "The store does not answer; the log tells why. Try again in a few seconds.",
      "request_id": "[id]"
    }
    "#);
    api.ask("GET", "/healthz", "", &Value::Null).await.expect(200);
    assert_eq!(
        api.get("/api/v1/trunks").await.problem(),
        (503, "unavailable".into())
    );
}
