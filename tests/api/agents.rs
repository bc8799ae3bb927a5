use super::harness::Api;
use insta::assert_snapshot;
use paceline::api::control::AgentRefusal;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::engine::EngineError;
use paceline_core::ids::{AgentId, CampaignId, PbxName};
use paceline_core::live::{LiveAgent, LiveCampaign};
use paceline_core::time::Wall;
use serde_json::{Value, json};

async fn with_agent() -> Api {
    let api = Api::ready().await;
    api.post(
        "/api/v1/agents",
        json!({"name": "agent-3", "pbx": "office", "extension": "203"}),
    )
    .await
    .expect(201);
    api
}

#[tokio::test]
async fn an_agent_is_created_read_replaced_and_deleted() {
    let api = with_agent().await;
    assert_snapshot!(api.get("/api/v1/agents/1").await, @r#"
    200 OK
    {
      "id": 1,
      "name": "agent-3",
      "pbx": "office",
      "extension": "203",
      "state": "offline",
      "state_reason": "never_logged_in",
      "state_since": "[now]",
      "campaign_id": null,
      "wants": "calls"
    }
    "#);
    let twin = json!({"name": "agent-4", "pbx": "office", "extension": "203"});
    assert_snapshot!(api.post("/api/v1/agents", twin).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#",
          "detail": "another agent has this name, or this extension on this PBX"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let bad = json!({"name": "agent-4", "pbx": "nowhere", "extension": "7&SIP/1"});
    assert_snapshot!(api.post("/api/v1/agents", bad).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/pbx",
          "detail": "no PBX of this name is configured; there are: branch, office"
        },
        {
          "pointer": "#/extension",
          "detail": "an extension is 1 to 64 letters, digits, `-`, `_` or `.`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let moved = json!({"name": "agent-3", "pbx": "branch", "extension": "303"});
    assert_eq!(
        api.put("/api/v1/agents/1", moved.clone()).await.expect(200)["extension"],
        "303"
    );
    assert_eq!(
        api.get("/api/v1/agents").await.expect(200)["items"][0]["pbx"],
        "branch"
    );
    api.delete("/api/v1/agents/1").await.expect(204);
    assert_eq!(
        api.put("/api/v1/agents/1", moved).await.problem(),
        (404, "not-found".into())
    );
    assert_eq!(
        api.delete("/api/v1/agents/1").await.problem(),
        (404, "not-found".into())
    );
}

#[tokio::test]
async fn an_agents_requests_reach_the_campaign() {
    let api = with_agent().await;
    assert_snapshot!(api.post("/api/v1/agents/1/ready", Value::Null).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Agent 1 is not logged in. Log in with POST /api/v1/agents/1/log-in {\"campaign_id\": …}.",
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.post("/api/v1/agents/1/log-in", json!({"campaign_id": 7})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/campaign_id",
          "detail": "there is no such campaign; GET /api/v1/campaigns lists them"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    // The dialer's state has priority, because the row in the store follows a moment later.
    let ringing = LiveAgent {
        agent: AgentId(1),
        state: AgentState::Ringing,
        reason: AgentReason::CallLaunched,
        since_ms: Wall(1_763_600_000_000),
        pbx: PbxName::new("office"),
        leg: None,
        attempt: None,
    };
    let live = LiveCampaign {
        agents: vec![ringing],
        ..LiveCampaign::default()
    };
    api.dialer.live.lock().unwrap().insert(CampaignId(1), live);
    assert_snapshot!(api.post("/api/v1/agents/1/log-in", json!({"campaign_id": 1})).await, @r#"
    202 Accepted
    {
      "id": 1,
      "name": "agent-3",
      "pbx": "office",
      "extension": "203",
      "state": "ringing",
      "state_reason": "call_launched",
      "state_since": "2025-11-20T00:53:20.000Z",
      "campaign_id": 1,
      "wants": "calls"
    }
    "#);
    assert_snapshot!(api.post("/api/v1/agents/1/log-in", json!({"campaign_id": 1})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Agent 1 is logged in. Log out first with POST /api/v1/agents/1/log-out.",
      "request_id": "[id]"
    }
    "#);
    for request in ["pause", "ready", "hang-up", "log-out"] {
        api.post(&format!("/api/v1/agents/1/{request}"), Value::Null)
            .await
            .expect(202);
    }
    assert_snapshot!(api.dialer.told().join("\n"), @r#"
    agent 1 in campaign 1: LogIn { pbx: PbxName("office"), template: AgentTemplate("PJSIP/{extension}"), extension: Extension("203") }
    agent 1 in campaign 1: Pause
    agent 1 in campaign 1: Ready
    agent 1 in campaign 1: HangUp
    agent 1 in campaign 1: LogOut { by: Supervisor }
    "#);
    api.ask("POST", "/api/v1/agents/1/log-out", &api.agent, &Value::Null)
        .await
        .expect(202);
    assert_eq!(api.dialer.told(), ["agent 1 in campaign 1: LogOut { by: Agent }"]);
    assert_snapshot!(api.delete("/api/v1/agents/1").await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Agent 1 is logged in. Log out first with POST /api/v1/agents/1/log-out.",
      "request_id": "[id]"
    }
    "#);
    let moved = json!({"name": "agent-3", "pbx": "branch", "extension": "303"});
    assert_snapshot!(api.put("/api/v1/agents/1", moved).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Agent 1 is logged in. Log out first with POST /api/v1/agents/1/log-out.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn a_refusal_of_the_dialer_says_what_to_do() {
    let api = with_agent().await;
    for (refusal, expected) in [
        (AgentRefusal::NotRunning, (409, "conflict")),
        (AgentRefusal::Busy, (503, "unavailable")),
        (AgentRefusal::Stopping, (503, "unavailable")),
        (
            AgentRefusal::Engine(EngineError::OtherPhone(AgentId(1))),
            (409, "conflict"),
        ),
        (AgentRefusal::Engine(EngineError::Draining), (503, "unavailable")),
    ] {
        *api.dialer.refuses.lock().unwrap() = Some(refusal);
        let reply = api
            .post("/api/v1/agents/1/log-in", json!({"campaign_id": 1}))
            .await;
        assert_eq!(reply.problem(), (expected.0, expected.1.to_owned()));
        assert_eq!(reply.headers.contains_key("retry-after"), expected.0 == 503);
    }
}

#[tokio::test]
async fn no_agent_can_log_in_to_a_draft() {
    let api = with_agent().await;
    api.post("/api/v1/campaigns", json!({"name": "draft"}))
        .await
        .expect(201);
    assert_snapshot!(api.post("/api/v1/agents/1/log-in", json!({"campaign_id": 2})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign 2 is draft: nobody can work in it. Activate it with POST /api/v1/campaigns/2/activate.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn an_agents_key_acts_for_that_agent_only() {
    let api = Api::ready().await;
    for (name, extension) in [("one", "201"), ("two", "202")] {
        let agent = json!({"name": name, "pbx": "office", "extension": extension});
        api.post("/api/v1/agents", agent).await.expect(201);
    }
    for (body, field) in [
        (
            json!({"name": "desk", "role": "agent"}),
            "needs the id of its agent",
        ),
        (
            json!({"name": "desk", "role": "read", "agent_id": 1}),
            "needs the id of its agent",
        ),
        (
            json!({"name": "desk", "role": "agent", "agent_id": 3}),
            "no agent 3",
        ),
    ] {
        let refused = api.post("/api/v1/api-keys", body).await;
        assert_eq!(refused.problem(), (422, "invalid".to_owned()));
        assert!(
            refused.text.contains(field) && refused.text.contains("#/agent_id"),
            "{}",
            refused.text
        );
    }
    let made = json!({"name": "desk", "role": "agent", "agent_id": 2});
    let made = api.post("/api/v1/api-keys", made).await.expect(201);
    assert_eq!(made["agent_id"], 2);
    let key = made["key"].as_str().unwrap();
    let log_in = json!({"campaign_id": 1});
    let ask = async |agent: i64, what: &str, body: &Value| {
        api.ask("POST", &format!("/api/v1/agents/{agent}/{what}"), key, body)
            .await
    };
    for what in ["log-in", "ready", "pause", "hang-up", "log-out", "disposition"] {
        let body = if what == "disposition" {
            json!({"disposition": "success"})
        } else {
            log_in.clone()
        };
        let other = ask(1, what, &body).await;
        assert_eq!(other.problem(), (403, "forbidden".to_owned()), "{what}");
    }
    assert_eq!(api.dialer.told(), Vec::<String>::new());
    ask(2, "log-in", &log_in).await.expect(202);
    ask(2, "ready", &Value::Null).await.expect(202);
}

#[tokio::test]
async fn an_agents_phone_is_no_outside_number() {
    let api = with_agent().await;
    // Paceline calls the agents of this PBX through its dialplan, which may send a long extension to the carrier.
    let outside = json!({"name": "mobile", "pbx": "branch", "extension": "00882123456789"});
    for reply in [
        api.post("/api/v1/agents", outside.clone()).await,
        api.put("/api/v1/agents/1", outside).await,
    ] {
        assert_eq!(reply.problem(), (422, "invalid".to_owned()));
        let error = &reply.json()["errors"][0];
        assert_eq!(error["pointer"], "#/extension");
        assert!(
            error["detail"].as_str().unwrap().contains("agent_digits_max"),
            "{error}"
        );
    }
    let inside = json!({"name": "desk", "pbx": "branch", "extension": "2031"});
    api.post("/api/v1/agents", inside).await.expect(201);
    // A row that another program or an earlier configuration wrote.
    api.sql("UPDATE agents SET extension = '00882123456789' WHERE name = 'desk'")
        .await;
    let log_in = api
        .post("/api/v1/agents/2/log-in", json!({"campaign_id": 1}))
        .await;
    assert_eq!(log_in.problem().0, 409);
}
