//! `POST /tasks/{id}/requeue`.

use super::harness::Api;
use insta::assert_snapshot;
use paceline_core::campaign::CampaignConfig;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::command::{Change, NewAttempt};
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{AttemptId, CampaignId, LegId, PbxName, TrunkId};
use paceline_core::outcome::Outcome;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const PATH: &str = "/api/v1/tasks/1/requeue";

/// Creates task 1 as completed. Its contacts have ended with these outcomes.
async fn with_finished_task(api: &Api, outcomes: &[Outcome]) {
    api.make_ready().await;
    let pool: Vec<String> = (0..outcomes.len()).map(|n| format!("20255501{n:02}")).collect();
    let task = json!({"name": "week 47", "number_pool": pool});
    api.post("/api/v1/tasks", task).await.expect(201);
    let campaign = CampaignId(1);
    let config = CampaignConfig {
        id: campaign,
        settings: CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        },
        trunks: Vec::new(),
    };
    let rules = paceline::demo::loopback_rules().unwrap();
    let policy = Arc::new(CampaignPolicy::new(&rules, Arc::new(config)));
    let now = paceline::clock::Clock::real().now().wall;
    let leased = api.store.lease(&policy, outcomes.len(), now).await.unwrap();
    assert_eq!(leased.leads.len(), outcomes.len());
    let writer = api.store.writer();
    for (lead, outcome) in leased.leads.into_iter().zip(outcomes) {
        let new = NewAttempt {
            attempt: AttemptId(Uuid::now_v7()),
            leg: LegId(Uuid::new_v4()),
            pbx: PbxName::new("office"),
            trunk: TrunkId(1),
            lead,
            created_at: now,
            ring_timeout: Duration::from_secs(25),
        };
        writer.prepare(new.clone(), Arc::clone(&policy)).await.await;
        let ended = Change::AttemptEnded {
            attempt: new.attempt,
            leg: new.leg,
            task: new.lead.task,
            contact: new.lead.contact,
            outcome: *outcome,
            at: now.plus(Duration::from_secs(1)),
            retry_at: None,
            spends_try: true,
        };
        writer.change(campaign, ended).await;
    }
    writer.flush().await;
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while api.get("/api/v1/tasks/1").await.expect(200)["state"] != "completed" {
        assert!(tokio::time::Instant::now() < until, "the task was not completed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    api.dialer.told();
}

async fn contacts_that_reached_no_phone_are_queued_again(api: &Api) {
    let outcomes = [
        Outcome::Failed,
        Outcome::Unknown,
        Outcome::NoAnswer,
        Outcome::Answered,
    ];
    with_finished_task(api, &outcomes).await;
    assert_snapshot!(api.ask("POST", PATH, &api.write, &json!({})).await, @r#"
    200 OK
    {
      "task": {
        "id": 1,
        "name": "week 47",
        "state": "running",
        "campaign_id": 1,
        "contact_list_id": 1,
        "start_time": "[now]",
        "max_retries": 0,
        "created_at": "[now]"
      },
      "queued": 2,
      "outcomes": {
        "failed": 1,
        "unknown": 1
      }
    }
    "#);
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    let progress = &api.get("/api/v1/tasks/1").await.expect(200)["progress"];
    assert_eq!((&progress["ready"], &progress["done"]), (&json!(2), &json!(2)));
    // A second request queues nothing, because no contact has finished since.
    assert_eq!(api.post(PATH, json!({})).await.expect(200)["queued"], 0);
    let named = json!({"outcomes": ["no_answer", "busy", "no_answer"]});
    let reply = api.post(PATH, named).await.expect(200);
    assert_eq!(
        (&reply["queued"], &reply["outcomes"]),
        (&json!(1), &json!({"no_answer": 1}))
    );
    let contacts = api.get("/api/v1/tasks/1/contacts").await.expect(200);
    let states: Vec<_> = contacts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["state"].as_str().unwrap(), c["attempts_made"].as_u64().unwrap()))
        .collect();
    assert_eq!(states, [("ready", 1), ("ready", 1), ("ready", 1), ("done", 1)]);
    let audit = api.get("/api/v1/audit?limit=10").await.expect(200);
    let first = &audit["items"][0];
    assert_eq!(
        (&first["route"], &first["object"], &first["status"]),
        (&json!("/api/v1/tasks/{id}/requeue"), &json!("1"), &json!(200))
    );
}

#[tokio::test]
async fn contacts_that_reached_no_phone_are_queued_again_on_sqlite() {
    contacts_that_reached_no_phone_are_queued_again(&Api::new().await).await;
}

#[tokio::test]
async fn contacts_that_reached_no_phone_are_queued_again_on_postgresql() {
    contacts_that_reached_no_phone_are_queued_again(&Api::on_postgres().await).await;
}

#[tokio::test]
async fn a_refused_queue_entry_names_the_valid_ones() {
    let api = Api::new().await;
    with_finished_task(&api, &[Outcome::Failed]).await;
    assert_snapshot!(api.post(PATH, json!({"outcomes": []})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/outcomes",
          "detail": "name at least one outcome, or leave it out for contacts whose call reached no phone"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(api.post(PATH, json!({"outcomes": ["failed", "answered"]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/outcomes",
          "detail": "contacts whose last attempt is `answered` cannot be called again on request; use one of unknown, failed, congestion, cancelled, no_answer, busy"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    for body in [
        json!({"outcomes": ["lost"]}),
        json!({"outcomes": "failed"}),
        json!({"outcome": ["failed"]}),
    ] {
        let reply = api.post(PATH, body.clone()).await;
        assert_eq!(reply.problem(), (422, "invalid".into()), "{body}");
    }
    assert_eq!(
        api.post(PATH, Value::Null).await.problem(),
        (415, "unsupported-media-type".into())
    );
    for (path, problem) in [
        ("/api/v1/tasks/2/requeue", (404, "not-found".into())),
        ("/api/v1/tasks/x/requeue", (400, "bad-parameter".into())),
    ] {
        assert_eq!(api.post(path, json!({})).await.problem(), problem, "{path}");
    }
    let refused = api.ask("POST", PATH, &api.read, &json!({})).await;
    assert_eq!(refused.problem(), (403, "forbidden".into()));
    assert_eq!(api.get("/api/v1/tasks/1").await.expect(200)["state"], "completed");
    assert_eq!(api.dialer.told(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancelled_task_and_one_of_an_archived_campaign_are_not_queued_again() {
    let api = Api::new().await;
    with_finished_task(&api, &[Outcome::Failed]).await;
    api.sql("UPDATE tasks SET state = 'cancelled'").await;
    assert_snapshot!(api.post(PATH, json!({"outcomes": ["busy"]})).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Task 1 is cancelled, for good. Create a new task for these contacts with POST /api/v1/tasks.",
      "request_id": "[id]"
    }
    "#);
    api.sql("UPDATE tasks SET state = 'completed'; UPDATE campaigns SET state = 'archived'")
        .await;
    assert_eq!(
        api.post(PATH, json!({})).await.problem(),
        (409, "conflict".into())
    );
}
