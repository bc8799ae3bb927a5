//! Background jobs: what they do, and that the API shows them.

use super::harness::Api;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::BoxFuture;
use paceline::api::control::Dialer as _;
use paceline::api::{ApiState, router};
use paceline::clock::Clock;
use paceline::config::RetentionConfig;
use paceline::events::Next;
use paceline::jobs::clearing::Clearing;
use paceline::jobs::filling::Filling;
use paceline::jobs::preparing::Preparing;
use paceline::jobs::retention::Retention;
use paceline::jobs::tasks::Tasks;
use paceline::jobs::{Job, JobReport, Jobs};
use paceline::store::{NewContact, StoreError};
use paceline_core::contact::Contact;
use paceline_core::event::{AlarmKind, What};
use paceline_core::live::JobState;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
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

/// Two lists, each with a published import. The import of the first list has a row that cannot be read.
async fn two_published_imports(api: &Api) {
    for n in 1..=2 {
        let contact = json!({"numbers": [{"number": format!("+1202555012{n}")}]});
        let list = json!({"name": format!("list {n}"), "contacts": [contact]});
        api.post("/api/v1/contact-lists", list).await.expect(201);
    }
    api.sql(
        "INSERT INTO imports (list_id, makes_list, state, alive_at_ms, file_sha256, settings, shape, repairs, created_at_ms)
           SELECT id, FALSE, 'published', 1, X'00', '{}', '{}', '{}', 1 FROM contact_lists ORDER BY id;
         INSERT INTO import_fills (import_id, contact_id, list_id, contact, attributes)
           SELECT i.id, c.id, c.list_id, '{\"name\": \"A. Example\"}', '{}' FROM imports i JOIN contacts c ON c.list_id = i.list_id;
         UPDATE import_fills SET contact = 'none' WHERE import_id = 1;",
    )
    .await;
}

#[tokio::test]
async fn an_import_that_cannot_be_completed_is_named_and_stops_no_other() {
    let api = Api::ready().await;
    two_published_imports(&api).await;
    let mut filling = Filling {
        store: api.store.clone(),
        dialer: api.dialer.clone(),
    };
    let error = filling.run_once().await.unwrap_err();
    assert_eq!(error.to_string(), "import 1 failed, and everything else was done");
    let second = api.get("/api/v1/contacts/2").await.expect(200);
    assert_eq!(second["name"], "A. Example");
}

#[tokio::test]
async fn a_task_that_cannot_be_prepared_is_named_and_stops_no_other() {
    let api = Api::ready().await;
    for n in 1..=2 {
        let contacts: Vec<_> = (0..2_500)
            .map(|k| json!({"numbers": [{"number": format!("+12025{n}{k:05}")}]}))
            .collect();
        let list = json!({"name": format!("list {n}"), "contacts": contacts});
        let list = api.post("/api/v1/contact-lists", list).await.expect(201)["id"].clone();
        let task = json!({"name": "large", "contact_list_id": list});
        let task = api.post("/api/v1/tasks", task).await.expect(201);
        assert_eq!(task["state"], "preparing");
    }
    api.sql("UPDATE contact_numbers SET number = 'none' WHERE contact_id = 1200")
        .await;
    let mut job = Preparing {
        store: api.store.clone(),
        clock: Clock::real(),
        dialer: api.dialer.clone(),
        jobs: Jobs::new(&api.metrics, Clock::real(), api.store.clone(), Handle::current()),
    };
    let error = job.run_once().await.unwrap_err();
    assert_eq!(error.to_string(), "task 1 failed, and everything else was done");
    let second = api.get("/api/v1/tasks/2").await.expect(200);
    assert_eq!(
        (&second["state"], &second["progress"]["contacts"]),
        (&json!("running"), &json!(2500))
    );
}

#[tokio::test]
async fn old_rows_are_deleted_although_others_cannot_be() {
    let api = Api::ready().await;
    let keep = RetentionConfig::default();
    let (store, clock) = (api.store.clone(), Clock::real());
    let mut job = Retention { store, clock, keep };
    api.sql(
        "ALTER TABLE audit RENAME TO gone;
         INSERT INTO imports (list_id, makes_list, state, alive_at_ms, file_sha256, settings, shape, repairs, created_at_ms)
           VALUES (NULL, FALSE, 'published', 1, X'00', '{}', '{}', '{}', 1);
         INSERT INTO import_rejects (import_id, line, field, reason) VALUES (1, 2, 'phone', 'too short');",
    )
    .await;
    let error = job.run_once().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rows of audit failed, and everything else was done"
    );
    let left = api.get("/api/v1/imports/1/rejected-rows").await.expect(200);
    assert_eq!(left["items"], json!([]));
}

/// A job that panics in its first run, and hangs in its second run until the test lets it continue.
struct Troubled {
    runs: u32,
    go_on: Arc<Notify>,
}

impl Job for Troubled {
    fn name(&self) -> &'static str {
        "troubled"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.runs += 1;
        assert!(self.runs > 1, "+12025550123");
        Box::pin(async {
            self.go_on.notified().await;
            Ok(3)
        })
    }
}

#[tokio::test]
async fn a_job_that_panics_runs_again_and_one_that_hangs_is_shown() {
    let api = Api::ready().await;
    let jobs = Jobs::new(&api.metrics, Clock::real(), api.store.clone(), Handle::current());
    let events = api.dialer.events();
    let mut told = events.read(None);
    jobs.tell(events);
    let go_on = Arc::new(Notify::new());
    let running = jobs.start(Troubled {
        runs: 0,
        go_on: go_on.clone(),
    });
    let until = async |wanted: &dyn Fn(&JobReport) -> bool| {
        loop {
            let report = jobs.reports().remove("troubled");
            if let Some(report) = report.filter(wanted) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let metric = |line: &str| api.metrics.render().lines().any(|shown| shown == line);
    tokio::time::timeout(Duration::from_secs(30), async {
        let failed = until(&|report| report.failures == 1).await;
        assert_eq!((failed.state, failed.working_since), (JobState::Failing, None));
        let error = failed.error.unwrap();
        assert!(error.contains("panicked") && !error.contains("2025550123"), "{error}");
        assert!(metric("paceline_job_failures_total{job=\"troubled\"} 1"));
        let Next::Event(event) = told.next().await else { panic!("missed") };
        assert!(matches!(&event.what, What::Alarm { alarm: AlarmKind::JobFailed, text } if text.contains("`troubled`")), "{event:?}");

        let hangs = until(&|report| report.state == JobState::Failing && report.working_since.is_some()).await;
        assert!(hangs.error.unwrap().contains("no progress"));
        assert!(metric("paceline_job_stuck{job=\"troubled\"} 1"));

        go_on.notify_one();
        let fine = until(&|report| report.state == JobState::Waiting).await;
        assert_eq!((fine.done, fine.failures, fine.error, fine.working_since), (3, 0, None, None));
        assert!(metric("paceline_job_stuck{job=\"troubled\"} 0"));
    })
    .await
    .expect("it goes on");
    running.abort();
}

#[tokio::test]
async fn imports_are_among_the_jobs() {
    let api = Api::new().await;
    let request =
        Request::post("/api/v1/imports?list=spring").header("authorization", format!("Bearer {}", api.root));
    let file = Body::from("Phone\n+12025550123\n");
    api.send(request.body(file).unwrap()).await.expect(202);
    loop {
        let jobs = api.get("/api/v1/jobs").await.expect(200);
        let imports = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["name"] == "imports")
            .cloned();
        let imports = imports.expect("the import has begun");
        if imports["state"] == "waiting" {
            assert_eq!(
                (&imports["done"], &imports["working_since"]),
                (&json!(1), &Value::Null)
            );
            return;
        }
        assert_eq!(imports["state"], "working");
        tokio::task::yield_now().await;
    }
}
