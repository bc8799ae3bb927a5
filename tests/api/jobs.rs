//! Work beside the calls: what it does, and that it is shown.

use super::harness::Api;
use axum::body::Body;
use axum::http::Request;
use paceline::api::{ApiState, router};
use paceline::clock::Clock;
use paceline::config::RetentionConfig;
use paceline::jobs::clearing::Clearing;
use paceline::jobs::preparing::Preparing;
use paceline::jobs::retention::Retention;
use paceline::jobs::tasks::Tasks;
use paceline::jobs::{Job as _, Jobs};
use paceline::store::NewContact;
use paceline_core::contact::Contact;
use paceline_core::live::JobState;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tower::ServiceExt as _;

#[tokio::test]
async fn a_scheduled_task_starts_without_any_agent_and_a_completed_one_is_an_event() {
    let api = Api::ready().await;
    for (name, number) in [("soon", "+12025550123"), ("late", "+12025550124")] {
        let task = json!({"name": name, "number_pool": [number], "start_time": "2099-01-01T00:00:00Z"});
        api.post("/api/v1/tasks", task).await.expect(201);
    }
    api.sql("UPDATE tasks SET start_at_ms = 1000 WHERE name = 'soon'")
        .await;
    api.dialer.told();
    let mut job = Tasks::new(api.store.clone(), Clock::real(), api.dialer.clone());
    assert_eq!(job.run_once().await.unwrap(), 1);
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    let state =
        async |task: &str| api.get(&format!("/api/v1/tasks/{task}")).await.expect(200)["state"].clone();
    assert_eq!(
        (state("1").await, state("2").await),
        (json!("running"), json!("scheduled"))
    );
    assert_eq!(job.run_once().await.unwrap(), 0);
    api.sql("UPDATE tasks SET state = 'completed' WHERE id = 1").await;
    assert_eq!(job.run_once().await.unwrap(), 0);
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    assert_eq!(job.run_once().await.unwrap(), 0);
    assert_eq!(api.dialer.told(), [""; 0]);
}

#[tokio::test]
async fn a_large_task_is_answered_at_once_and_prepared_beside_the_calls() {
    let api = Api::ready().await;
    let contacts: Vec<NewContact> = (0..2_500)
        .map(|n| NewContact {
            contact: Contact {
                numbers: vec![E164::new(&format!("+1202555{n:04}")).unwrap().into()],
                ..Contact::default()
            },
            ..NewContact::default()
        })
        .collect();
    let (list, _) = api
        .store
        .create_contact_list("l", &contacts, Wall(0))
        .await
        .unwrap();
    let task = json!({"name": "large", "contact_list_id": list.id.0, "campaign_id": 1});
    let made = api.post("/api/v1/tasks", task).await.expect(201);
    assert_eq!(
        (&made["state"], &made["contacts"]),
        (&json!("preparing"), &json!(2500))
    );
    let pause = api.post("/api/v1/tasks/1/pause", Value::Null).await;
    assert_eq!(pause.problem(), (409, "conflict".into()));
    api.dialer.told();
    let mut job = Preparing {
        store: api.store.clone(),
        clock: Clock::real(),
        dialer: api.dialer.clone(),
        jobs: Jobs::new(&api.metrics, Clock::real(), api.store.clone(), Handle::current()),
    };
    job.run_once().await.unwrap();
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    let task = api.get("/api/v1/tasks/1").await.expect(200);
    assert_eq!(
        (&task["state"], &task["progress"]["contacts"]),
        (&json!("running"), &json!(2500))
    );
}

#[tokio::test]
async fn rows_older_than_the_retention_time_are_deleted_and_counted() {
    let api = Api::ready().await;
    let clock = Clock::real();
    let keep = RetentionConfig {
        audit_days: 1,
        ..RetentionConfig::default()
    };
    let store = api.store.clone();
    let mut job = Retention { store, clock, keep };
    let before = api.get("/api/v1/audit").await.expect(200)["items"].clone();
    let entries = before.as_array().unwrap().len() as u64;
    assert!(entries > 0);
    assert_eq!(job.run_once().await.unwrap(), 0);
    assert_eq!(api.get("/api/v1/audit").await.expect(200)["items"], before);
    api.sql("UPDATE audit SET at_ms = at_ms - 24 * 60 * 60 * 1000")
        .await;
    assert_eq!(job.run_once().await.unwrap(), entries);
    assert_eq!(api.get("/api/v1/audit").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_job_that_is_woken_does_not_wait_for_its_time() {
    let api = Api::ready().await;
    let jobs = Jobs::new(&api.metrics, Clock::real(), api.store.clone(), Handle::current());
    let clearing = Clearing {
        store: api.store.clone(),
    };
    let running = jobs.start(clearing);
    let turn = async || {
        loop {
            let reports = jobs.reports();
            match reports.get(Clearing::NAME).map(|report| report.succeeded_at) {
                Some(Some(at)) => return at,
                Some(None) | None => tokio::task::yield_now().await,
            }
        }
    };
    let first = turn().await;
    jobs.wake(Clearing::NAME);
    while turn().await == first {
        tokio::task::yield_now().await;
        jobs.wake(Clearing::NAME);
    }
    running.abort();
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_shown() {
    let api = Api::ready().await;
    let jobs = Jobs::new(&api.metrics, Clock::real(), api.store.clone(), Handle::current());
    api.sql("ALTER TABLE tasks RENAME TO gone").await;
    let tasks = Tasks::new(api.store.clone(), Clock::real(), api.dialer.clone());
    let running = jobs.start(tasks);
    let seen = async |state: JobState| {
        loop {
            if jobs
                .reports()
                .get("tasks")
                .is_some_and(|report| report.state == state)
            {
                return jobs.reports()["tasks"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let failing = seen(JobState::Failing).await;
    assert_eq!((failing.failures, failing.succeeded_at), (1, None));
    let error = failing.error.unwrap();
    assert!(error.contains("start scheduled tasks"), "{error}");
    assert!(
        api.metrics
            .render()
            .contains("paceline_job_failures_total{job=\"tasks\"} 1")
    );
    api.sql("ALTER TABLE gone RENAME TO tasks").await;
    let waiting = seen(JobState::Waiting).await;
    assert_eq!((waiting.failures, waiting.error), (0, None));
    running.abort();
    let state = ApiState::new(
        api.store.clone(),
        api.dialer.clone(),
        Clock::real(),
        &api.metrics,
        None,
    )
    .with_jobs(jobs);
    let request = Request::get("/api/v1/jobs").header("authorization", format!("Bearer {}", api.read));
    let answer = router(state)
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap();
    let shown: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(shown["jobs"][0]["name"], "tasks");
    assert_eq!(shown["jobs"][0]["state"], "waiting");
}
