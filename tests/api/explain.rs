//! Explanations: of a number, of a task, and of a task before it is created.

use super::harness::Api;
use paceline_core::agent::AgentState;
use paceline_core::ids::CampaignId;
use paceline_core::live::{Idle, LiveCampaign};
use serde_json::{Value, json};

/// A Wednesday, 07:30 in New York, 12:30 in London, 21:30 in Sydney.
const MORNING: &str = "2036-07-02T11:30:00Z";

/// Calling hours that are always open, so that only the regulators' rules decide.
fn open() -> Value {
    let window = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from_minute": 0, "until_minute": 1440});
    json!({"time_zone": "Atlantic/Reykjavik", "windows": [window]})
}

/// An API with a trunk and an active campaign whose calling hours are always open.
async fn ready() -> Api {
    let api = Api::new().await;
    make_ready(&api).await;
    api
}

async fn make_ready(api: &Api) {
    let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a"});
    api.post("/api/v1/trunks", trunk).await.expect(201);
    let campaign = json!({"name": "renewals", "trunk_ids": [1], "settings": {"hours": open()}});
    api.post("/api/v1/campaigns", campaign).await.expect(201);
    api.post("/api/v1/campaigns/1/activate", Value::Null)
        .await
        .expect(200);
    api.dialer.told();
}

async fn list(api: &Api, numbers: &[&str]) -> i64 {
    let contacts: Vec<_> = numbers
        .iter()
        .map(|number| json!({"numbers": [{"number": number}]}))
        .collect();
    let list = json!({"name": "l", "contacts": contacts, "countries": ["any"]});
    api.post("/api/v1/contact-lists", list).await.expect(201)["id"]
        .as_i64()
        .unwrap()
}

async fn refuse(api: &Api, number: &str) {
    let entry = json!({"numbers": [number], "reason": "asked"});
    api.post("/api/v1/dnc", entry).await.expect(200);
}

/// Two in New York, one in Miami without consent, one in London on the do-not-call list, one in London, one toll-free.
const NUMBERS: [&str; 6] = [
    "+12125550123",
    "+12125550124",
    "+13055550123",
    "+442079460001",
    "+442079460002",
    "+18005550100",
];

fn rules(counts: &Value) -> Vec<(String, u64)> {
    let counts = counts.as_array().unwrap().iter();
    let mut rules: Vec<_> = counts
        .map(|count| {
            let rule = format!(
                "{}/{}",
                count["profile"].as_str().unwrap(),
                count["rule"].as_str().unwrap()
            );
            (rule, count["contacts"].as_u64().unwrap())
        })
        .collect();
    rules.sort();
    rules
}

async fn a_dry_run_tells_who_is_called_when(api: &Api) {
    let list = list(api, &NUMBERS).await;
    refuse(api, "+442079460001").await;
    api.dialer.told();
    let task = json!({"name": "t", "contact_list_id": list, "campaign_id": 1, "start_time": MORNING});
    let run = api
        .post("/api/v1/tasks?dry_run=true", task.clone())
        .await
        .expect(200);
    let count = |field: &str| run[field].as_u64().unwrap();
    assert_eq!((count("contacts"), &run["complete"]), (6, &json!(true)));
    assert_eq!(
        (
            count("callable"),
            count("waiting"),
            count("skipped"),
            count("later")
        ),
        (1, 2, 3, 0)
    );
    assert_eq!(rules(&run["waiting_by"]), [("us-ftc/hours".to_owned(), 2)]);
    assert_eq!(
        rules(&run["skipped_by"]),
        [
            ("paceline/no_zone".to_owned(), 1),
            ("paceline/suppressed".to_owned(), 1),
            ("us-fl/consent".to_owned(), 1)
        ]
    );
    assert_eq!(run["hours"].as_array().unwrap().len(), 168);
    assert_eq!(
        run["hours"][0],
        json!({"from": "2036-07-02T11:30:00.000Z", "callable": 1, "first": 1})
    );
    assert_eq!(
        run["hours"][1],
        json!({"from": "2036-07-02T12:00:00.000Z", "callable": 3, "first": 2})
    );
    assert!(
        run["summary"]
            .as_str()
            .unwrap()
            .starts_with("Of 6 contacts, 1 may be called at the start, 2 wait"),
        "{run}"
    );
    assert_eq!(
        api.dialer.told(),
        [] as [String; 0],
        "the dialer is told of nothing"
    );
    assert_eq!(
        api.get("/api/v1/tasks").await.expect(200)["items"],
        json!([]),
        "nothing is created"
    );
    let created = api.post("/api/v1/tasks?dry_run=false", task).await.expect(201);
    assert_eq!(created["contacts"], 6);
}

#[tokio::test]
async fn a_dry_run_tells_who_is_called_when_and_creates_nothing() {
    a_dry_run_tells_who_is_called_when(&ready().await).await;
}

#[tokio::test]
async fn a_dry_run_over_postgresql_tells_the_same() {
    let api = Api::on_postgres().await;
    make_ready(&api).await;
    a_dry_run_tells_who_is_called_when(&api).await;
    let now = json!({"name": "t", "contact_list_id": 1, "campaign_id": 1});
    let task = &api.post("/api/v1/tasks", now).await.expect(201)["id"];
    let told = api.get(&format!("/api/v1/explain/task/{task}")).await.expect(200);
    assert_eq!(kinds(&told)[0].0, "not_running", "{told}");
    let told = api.get("/api/v1/explain/number/+442079460002").await.expect(200);
    assert_eq!(told["campaigns"][0]["verdict"], "allow", "{told}");
}

#[tokio::test]
async fn a_dry_run_of_a_number_pool_judges_the_numbers_alone() {
    let api = ready().await;
    refuse(&api, "+442079460001").await;
    let mut pool = NUMBERS.to_vec();
    pool.push("+44 20 7946 0002");
    let task = json!({"name": "t", "number_pool": pool, "countries": ["any"], "campaign_id": 1, "start_time": MORNING});
    let run = api
        .post("/api/v1/tasks?dry_run=true", task.clone())
        .await
        .expect(200);
    assert_eq!(
        (&run["contacts"], &run["duplicates"], &run["skipped"]),
        (&json!(6), &json!(1), &json!(3))
    );
    assert_eq!(
        api.get("/api/v1/contact-lists").await.expect(200)["items"],
        json!([])
    );
    // Only a key that may see numbers learns whether a number is on a list.
    let refused = api
        .ask("POST", "/api/v1/tasks?dry_run=true", &api.write, &task)
        .await;
    assert_eq!(refused.problem(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_dry_run_names_every_fault_and_creates_no_campaign() {
    let api = Api::new().await;
    let pool =
        json!({"name": " ", "number_pool": ["12", "+12125550123"], "max_retries": 101, "campaign_id": 9});
    let wrong = api.post("/api/v1/tasks?dry_run=true", pool).await.expect(422);
    assert_eq!(wrong["errors"].as_array().unwrap().len(), 4, "{wrong}");
    let unnamed = json!({"name": "t", "contact_list_id": 1});
    let unnamed = api.post("/api/v1/tasks?dry_run=true", unnamed).await;
    assert_eq!(unnamed.problem(), (409, "conflict".into()));
    assert_eq!(api.get("/api/v1/campaigns").await.expect(200)["items"], json!([]));
    make_ready(&api).await;
    let nobody = json!({"name": "t", "contact_list_id": 9, "campaign_id": 1});
    let nobody = api.post("/api/v1/tasks?dry_run=true", nobody).await;
    assert_eq!(nobody.problem(), (422, "invalid".into()));
    for query in ["dry_run=yes", "dryrun=true"] {
        let task = json!({"name": "t", "number_pool": ["+12125550123"], "campaign_id": 1});
        let wrong = api.post(&format!("/api/v1/tasks?{query}"), task).await;
        assert_eq!(wrong.problem(), (400, "bad-parameter".into()), "{query}");
    }
    assert_eq!(api.get("/api/v1/tasks").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_number_is_explained_for_each_campaign_that_has_it() {
    let api = ready().await;
    let list = list(&api, &NUMBERS).await;
    let task = json!({"name": "t", "contact_list_id": list, "campaign_id": 1});
    api.post("/api/v1/tasks", task).await.expect(201);
    let explain = async |number: &str| {
        let path = format!("/api/v1/explain/number/{}", number.replace('+', "%2B"));
        api.get(&path).await.expect(200)
    };
    let london = explain("+442079460002").await;
    assert_eq!(london["place"]["country"], "GB");
    let zones = london["place"]["time_zones"].as_array().unwrap();
    assert!(zones.contains(&json!("Europe/London")), "{london}");
    let now = &london["campaigns"][0];
    assert_eq!(
        (&now["campaign_id"], &now["contact_id"], &now["verdict"]),
        (&json!(1), &json!(5), &json!("allow"))
    );
    assert!(now["next_call_at"].is_string(), "{london}");
    assert!(now["reasons"].as_array().unwrap().len() > 2, "{london}");
    assert_eq!(now["tasks"][0]["state"], "ready");
    assert_eq!(london["summary"], "Campaign `renewals` may call the number now.");
    let miami = explain("+13055550123").await;
    let now = &miami["campaigns"][0];
    assert_eq!(
        (&now["verdict"], &now["until"], &now["next_call_at"]),
        (&json!("deny"), &json!(null), &json!(null))
    );
    assert!(
        now["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .any(|reason| reason["rule"] == "consent"),
        "{miami}"
    );
    refuse(&api, "+442079460002").await;
    let listed = explain("+442079460002").await;
    assert_eq!(listed["do_not_call"][0]["reason"], "asked");
    assert_eq!(listed["campaigns"][0]["reasons"][0]["rule"], "suppressed");
    assert_eq!(
        listed["summary"],
        "Campaign `renewals` does not call the number: paceline suppressed."
    );
}

#[tokio::test]
async fn a_number_that_no_campaign_has_is_explained_for_a_campaign_by_name() {
    let api = ready().await;
    let nobody = api.get("/api/v1/explain/number/+442079460009").await.expect(200);
    assert_eq!(nobody["campaigns"], json!([]));
    assert!(
        nobody["summary"].as_str().unwrap().contains("campaign_id"),
        "{nobody}"
    );
    let asked = api
        .get("/api/v1/explain/number/+442079460009?campaign_id=1")
        .await
        .expect(200);
    let now = &asked["campaigns"][0];
    assert_eq!(
        (&now["contact_id"], &now["verdict"], &now["next_call_at"]),
        (&json!(null), &json!("allow"), &json!(null))
    );
    assert!(
        asked["summary"]
            .as_str()
            .unwrap()
            .contains("has no contact with it"),
        "{asked}"
    );
    // A number without a country code belongs to the configured region.
    let national = api.get("/api/v1/explain/number/2125550123").await.expect(200);
    assert_eq!(national["number"], "+12125550123");
}

#[tokio::test]
async fn a_number_is_explained_only_to_a_key_that_may_see_numbers_and_is_in_no_audit() {
    let api = ready().await;
    for path in ["+442079460002", "5550123", "12125550123"] {
        let path = format!("/api/v1/explain/number/{path}");
        let refused = api.ask("GET", &path, &api.write, &Value::Null).await;
        assert_eq!(refused.problem(), (403, "forbidden".into()));
    }
    let audit = api.get("/api/v1/audit?refused=true").await.expect(200);
    let items = audit["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{audit}");
    for item in items {
        assert_eq!(
            (&item["route"], &item["object"]),
            (&json!("/api/v1/explain/number/{e164}"), &json!(null))
        );
    }
    for (path, expected) in [
        ("/api/v1/explain/number/12", (400, "bad-parameter")),
        ("/api/v1/explain/number/x%00", (400, "bad-parameter")),
        (
            "/api/v1/explain/number/+442079460002?campaign_id=9",
            (404, "not-found"),
        ),
        (
            "/api/v1/explain/number/+442079460002?campaign=1",
            (400, "bad-parameter"),
        ),
        ("/api/v1/explain/task/9", (404, "not-found")),
        ("/api/v1/explain/task/x", (400, "bad-parameter")),
    ] {
        let (status, slug) = api.get(path).await.problem();
        assert_eq!((status, slug.as_str()), expected, "{path}");
    }
    api.post("/api/v1/campaigns/1/pause", Value::Null)
        .await
        .expect(200);
    api.post("/api/v1/campaigns/1/archive", Value::Null)
        .await
        .expect(200);
    let archived = api
        .get("/api/v1/explain/number/+442079460002?campaign_id=1")
        .await;
    assert_eq!(archived.problem(), (409, "conflict".into()));
}

fn kinds(explained: &Value) -> Vec<(String, Option<u64>)> {
    let blockers = explained["blockers"].as_array().unwrap().iter();
    blockers
        .map(|blocker| {
            (
                blocker["kind"].as_str().unwrap().to_owned(),
                blocker["count"].as_u64(),
            )
        })
        .collect()
}

fn live(idle: &[Idle]) -> LiveCampaign {
    LiveCampaign {
        active: true,
        idle: idle.to_vec(),
        agents_by_state: [(AgentState::OnCall, 2)].into(),
        ..LiveCampaign::default()
    }
}

#[tokio::test]
async fn a_task_that_is_not_dialed_is_explained_by_the_first_thing_in_the_way() {
    let api = ready().await;
    refuse(&api, "+442079460001").await;
    let list = list(
        &api,
        &["+442079460001", "+442079460002", "+493023125001", "+493023125002"],
    )
    .await;
    let task = json!({"name": "t", "contact_list_id": list, "campaign_id": 1});
    api.post("/api/v1/tasks", task).await.expect(201);
    let explain = async || {
        api.ask("GET", "/api/v1/explain/task/1", &api.read, &Value::Null)
            .await
            .expect(200)
    };
    let told = explain().await;
    let of = |name: &str, count| (name.to_owned(), count);
    assert_eq!(
        kinds(&told),
        [
            of("not_running", None),
            of("consent", Some(2)),
            of("do_not_call", Some(1))
        ]
    );
    assert!(
        told["summary"]
            .as_str()
            .unwrap()
            .starts_with("Nothing more of task 1 is dialed now. Paceline does not run the campaign yet"),
        "{told}"
    );
    assert_eq!(
        (&told["dialing"], &told["contacts"]["due"]),
        (&json!(false), &json!(4))
    );
    api.dialer
        .live
        .lock()
        .unwrap()
        .insert(CampaignId(1), live(&[Idle::NoAgents]));
    let told = explain().await;
    assert_eq!(kinds(&told)[0], of("no_agents", Some(0)));
    assert!(
        told["summary"]
            .as_str()
            .unwrap()
            .contains("No agent is logged in."),
        "{told}"
    );
    api.dialer
        .live
        .lock()
        .unwrap()
        .insert(CampaignId(1), live(&[Idle::NoFreeAgent]));
    let told = explain().await;
    assert_eq!(kinds(&told)[0], of("no_free_agent", Some(2)));
    let rule = &told["blockers"][1]["rules"][0];
    assert_eq!(
        (&rule["profile"], &rule["rule"], &rule["contacts"]),
        (&json!("de"), &json!("consent"), &json!(2))
    );
    // Nothing stops the campaign, and one contact may be called.
    api.dialer.live.lock().unwrap().insert(CampaignId(1), live(&[]));
    let told = explain().await;
    assert_eq!(kinds(&told), [of("consent", Some(2)), of("do_not_call", Some(1))]);
    assert!(
        told["summary"]
            .as_str()
            .unwrap()
            .starts_with("Task 1 is being dialed: 0 contacts"),
        "{told}"
    );
    assert!(
        told["summary"]
            .as_str()
            .unwrap()
            .contains("1 more may be dialed now"),
        "{told}"
    );
    api.post("/api/v1/tasks/1/pause", Value::Null).await.expect(200);
    let told = explain().await;
    assert_eq!(kinds(&told)[0], of("task_state", None));
    assert_eq!(
        told["summary"],
        "Nothing more of task 1 is dialed now. The task is paused. POST /api/v1/tasks/1/resume."
    );
}

#[tokio::test]
async fn a_task_whose_pbx_has_no_link_and_one_without_contacts_left_are_explained() {
    let api = ready().await;
    let trunk = json!({"name": "carrier-b", "pbx": "branch", "dial": "PJSIP/{number}@carrier-b"});
    api.post("/api/v1/trunks", trunk).await.expect(201);
    api.put("/api/v1/campaigns/1/trunks", json!({"trunk_ids": [2]}))
        .await
        .expect(200);
    api.dialer.live.lock().unwrap().insert(CampaignId(1), live(&[]));
    let list = list(&api, &["+442079460001"]).await;
    let task = json!({"name": "t", "contact_list_id": list, "campaign_id": 1});
    api.post("/api/v1/tasks", task).await.expect(201);
    let told = api.get("/api/v1/explain/task/1").await.expect(200);
    assert_eq!(kinds(&told), [("pbx_link".to_owned(), Some(1))]);
    assert!(told["summary"].as_str().unwrap().contains("`branch`"), "{told}");
    api.put("/api/v1/campaigns/1/trunks", json!({"trunk_ids": [1]}))
        .await
        .expect(200);
    api.sql("UPDATE task_contacts SET state = 'done', last_outcome = 'answered'")
        .await;
    let told = api.get("/api/v1/explain/task/1").await.expect(200);
    assert_eq!(kinds(&told), [("no_contacts".to_owned(), Some(0))]);
    assert_eq!(
        told["summary"],
        "Nothing more of task 1 is dialed now. No contact of the task is left: all 1 are finished."
    );
}
