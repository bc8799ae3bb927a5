use super::harness::Api;
use insta::assert_snapshot;
use serde_json::{Value, json};

#[tokio::test]
async fn a_number_pool_is_all_that_a_task_needs() {
    let api = Api::ready().await;
    let task = json!({
        "name": "renewals, week 47",
        "number_pool": ["+12025550123", "(202) 555-0124", "202-555-0123"],
        "start_time": "2026-11-01T09:00:00+01:00",
        "max_retries": 3,
    });
    assert_snapshot!(api.post("/api/v1/tasks", task).await, @r#"
    201 Created
    {
      "id": 1,
      "name": "renewals, week 47",
      "state": "running",
      "campaign_id": 1,
      "contact_list_id": 1,
      "start_time": "[now]",
      "max_retries": 3,
      "created_at": "[now]",
      "contacts": 2,
      "duplicates": 1,
      "notes": []
    }
    "#);
    assert_eq!(api.dialer.told(), ["task 1 of campaign 1 changed"]);
    assert_snapshot!(api.get("/api/v1/tasks/1").await, @r#"
    200 OK
    {
      "id": 1,
      "name": "renewals, week 47",
      "state": "running",
      "campaign_id": 1,
      "contact_list_id": 1,
      "start_time": "[now]",
      "max_retries": 3,
      "created_at": "[now]",
      "progress": {
        "contacts": 2,
        "ready": 2,
        "leased": 0,
        "done": 0,
        "next_due_at": "[now]",
        "last_outcomes": {},
        "waits": []
      }
    }
    "#);
    assert_snapshot!(api.ask("GET", "/api/v1/tasks/1/contacts?limit=1", &api.read, &Value::Null).await, @r#"
    200 OK
    {
      "items": [
        {
          "contact": {
            "id": 1,
            "contact_list_id": 1,
            "numbers": [
              {
                "number": "+*********23",
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
          "state": "ready",
          "due_at": "[now]",
          "attempts_made": 0,
          "last_outcome": null
        }
      ],
      "next_cursor": "dGFzay1jb250YWN0czox"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/tasks/2").await, @r#"
    404 Not Found
    {
      "type": "/problems/not-found",
      "title": "Not found",
      "status": 404,
      "detail": "There is no task 2. GET /api/v1/tasks lists what there is.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(
        api.get("/api/v1/tasks/2/contacts").await.problem(),
        (404, "not-found".into())
    );
}

#[tokio::test]
async fn every_bad_number_is_named_by_its_place_and_nothing_is_created() {
    let api = Api::ready().await;
    let task =
        json!({"name": "t", "number_pool": ["2025550123", "12", "call me", "+999123", "", "1.20256E+10"]});
    let refused = api.post("/api/v1/tasks", task).await;
    assert_snapshot!(refused, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. 5 of 6 numbers cannot be dialed. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number_pool/1",
          "detail": "too short for its country"
        },
        {
          "pointer": "#/number_pool/2",
          "detail": "contains letters"
        },
        {
          "pointer": "#/number_pool/3",
          "detail": "unknown country code"
        },
        {
          "pointer": "#/number_pool/4",
          "detail": "empty"
        },
        {
          "pointer": "#/number_pool/5",
          "detail": "written by a spreadsheet in scientific notation, digits are lost: format the column as text and export again"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(api.get("/api/v1/tasks").await.expect(200)["items"], json!([]));
    assert_eq!(
        api.get("/api/v1/contact-lists").await.expect(200)["items"],
        json!([])
    );
    assert_eq!(api.dialer.told(), Vec::<String>::new());
}

#[tokio::test]
async fn a_task_that_makes_no_sense_is_explained() {
    let api = Api::ready().await;
    let post = async |body: Value| api.post("/api/v1/tasks", body).await;
    assert_snapshot!(post(json!({"name": "t"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number_pool",
          "detail": "give either `number_pool` or `contact_list_id`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "number_pool": []})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number_pool",
          "detail": "there is no number in it"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "number_pool": ["2025550123"], "contact_list_id": 1})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/contact_list_id",
          "detail": "give either `number_pool` or `contact_list_id`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "contact_list_id": 9})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/contact_list_id",
          "detail": "there is no such contact list, or nobody is in it"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "", "number_pool": ["2025550123"], "max_retries": 101, "campaign_id": 9})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/campaign_id",
          "detail": "there is no such campaign; GET /api/v1/campaigns lists them"
        },
        {
          "pointer": "#/name",
          "detail": "1 to 200 characters, no line breaks, and not only spaces"
        },
        {
          "pointer": "#/max_retries",
          "detail": "must be from 0 to 100"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "number_pool": ["2025550123"], "start_time": "tomorrow"})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/start_time",
          "detail": "write the moment as RFC 3339 with its offset, such as 2026-11-20T09:00:00Z or 2026-11-20T09:00:00+01:00"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "number_pool": [2025550123u64]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number_pool/0",
          "detail": "expected a string"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_snapshot!(post(json!({"name": "t", "numbers": ["2025550123"]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/numbers",
          "detail": "unknown field; known here: `name`, `number_pool`, `countries`, `premium_rate`, `contact_list_id`, `campaign_id`, `start_time`, `max_retries`"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let many: Vec<String> = (0..10_001).map(|n| format!("+1202555{n:04}")).collect();
    assert_snapshot!(post(json!({"name": "t", "number_pool": many})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/number_pool",
          "detail": "more than 10000 numbers in one request: send several, or import a file"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(api.get("/api/v1/tasks").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_task_that_names_no_campaign_is_of_the_default_one_which_is_made_for_the_first() {
    let api = Api::new().await;
    let task = json!({"name": "t", "number_pool": ["2025550123"]});
    assert_snapshot!(api.post("/api/v1/tasks", task.clone()).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "The task names no campaign, and there is no trunk to make the one called `default` with; nothing was created. Create a trunk with POST /api/v1/trunks {\"name\": \"carrier\", \"pbx\": …, \"dial\": …}.",
      "request_id": "[id]"
    }
    "#);
    let trunk = json!({"name": "carrier-a", "pbx": "office", "dial": "PJSIP/{number}@carrier-a"});
    api.post("/api/v1/trunks", trunk).await.expect(201);
    let first = api.post("/api/v1/tasks", task.clone()).await.expect(201);
    let campaign = api.get("/api/v1/campaigns/1").await.expect(200);
    assert_eq!(
        (&campaign["name"], &campaign["state"], &campaign["trunk_ids"]),
        (&json!("default"), &json!("draft"), &json!([1]))
    );
    assert_eq!(first["campaign_id"], 1);
    let created = api.post("/api/v1/tasks", task.clone()).await.expect(201);
    assert_snapshot!(created["notes"][0].as_str().unwrap(), @"campaign `default` is draft: nothing is dialed until POST /api/v1/campaigns/1/activate");
    api.post("/api/v1/campaigns/1/archive", Value::Null)
        .await
        .expect(200);
    assert_snapshot!(api.post("/api/v1/tasks", task).await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Campaign `default` is archived and takes no tasks; nothing was created. Name another one in `campaign_id`.",
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn a_contact_list_can_be_dialed_instead() {
    let api = Api::ready().await;
    let list = json!({"name": "renewals", "contacts": [{"numbers": [{"number": "2025550123"}]}, {"numbers": [{"number": "2025550124"}]}]});
    api.post("/api/v1/contact-lists", list).await.expect(201);
    let task = json!({"name": "t", "contact_list_id": 1, "campaign_id": 1});
    let created = api.post("/api/v1/tasks", task).await.expect(201);
    assert_eq!(
        (&created["contacts"], &created["contact_list_id"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_task_goes_through_its_life_and_the_dialer_hears_of_it() {
    let api = Api::ready().await;
    let task = json!({"name": "t", "number_pool": ["2025550123"], "start_time": "2099-01-01T00:00:00Z"});
    assert_eq!(
        api.post("/api/v1/tasks", task).await.expect(201)["state"],
        "scheduled"
    );
    api.dialer.told();
    let change = async |what: &str| api.post(&format!("/api/v1/tasks/1/{what}"), Value::Null).await;
    assert_eq!(change("pause").await.expect(200)["state"], "paused");
    assert_eq!(change("pause").await.expect(200)["state"], "paused");
    assert_snapshot!(change("start").await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Task 1 is paused; only one that is scheduled can become running. POST /api/v1/tasks/1/resume.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(change("resume").await.expect(200)["state"], "scheduled");
    assert_snapshot!(change("start").await, @r#"
    200 OK
    {
      "id": 1,
      "name": "t",
      "state": "running",
      "campaign_id": 1,
      "contact_list_id": 1,
      "start_time": "[now]",
      "max_retries": 0,
      "created_at": "[now]",
      "progress": {
        "contacts": 1,
        "ready": 1,
        "leased": 0,
        "done": 0,
        "next_due_at": "[now]",
        "last_outcomes": {},
        "waits": []
      }
    }
    "#);
    assert_eq!(change("pause").await.expect(200)["state"], "paused");
    assert_eq!(change("resume").await.expect(200)["state"], "running");
    assert_eq!(change("cancel").await.expect(200)["state"], "cancelled");
    assert_eq!(change("cancel").await.expect(200)["state"], "cancelled");
    assert_eq!(
        api.dialer.told().len(),
        9,
        "told again where it may have missed it"
    );
    assert_snapshot!(change("resume").await, @r#"
    409 Conflict
    {
      "type": "/problems/conflict",
      "title": "The request does not fit the present state",
      "status": 409,
      "detail": "Task 1 is cancelled; only one that is paused can become running.",
      "request_id": "[id]"
    }
    "#);
    assert_eq!(
        api.post("/api/v1/tasks/9/pause", Value::Null).await.problem(),
        (404, "not-found".into())
    );
}

#[tokio::test]
async fn a_batch_is_created_whole_or_not_at_all() {
    let api = Api::ready().await;
    let good = json!({"name": "one", "number_pool": ["2025550123"]});
    let bad = json!({"name": "two", "number_pool": ["2025550124", "12"], "max_retries": 101});
    assert_snapshot!(api.post("/api/v1/tasks/batch", json!({"tasks": [good, bad]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was created. 1 of 3 numbers cannot be dialed. Correct or remove what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/tasks/1/max_retries",
          "detail": "must be from 0 to 100"
        },
        {
          "pointer": "#/tasks/1/number_pool/1",
          "detail": "too short for its country"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    let empty = json!({"name": "two", "contact_list_id": 9});
    assert_snapshot!(api.post("/api/v1/tasks/batch", json!({"tasks": [good, empty]})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/tasks/1/contact_list_id",
          "detail": "there is no such contact list, or nobody is in it"
        }
      ],
      "request_id": "[id]"
    }
    "##);
    assert_eq!(api.get("/api/v1/tasks").await.expect(200)["items"], json!([]));
    let other = json!({"name": "two", "number_pool": ["2025550124"]});
    let created = api
        .post("/api/v1/tasks/batch", json!({"tasks": [good, other]}))
        .await
        .expect(201);
    assert_eq!(created["tasks"][1]["name"], "two");
    assert_eq!(api.dialer.told().len(), 2);
    assert_snapshot!(api.post("/api/v1/tasks/batch", json!({"tasks": []})).await, @r##"
    422 Unprocessable Entity
    {
      "type": "/problems/invalid",
      "title": "Something in the request cannot be used",
      "status": 422,
      "detail": "Nothing was changed. Correct what `errors` names and send again.",
      "errors": [
        {
          "pointer": "#/tasks",
          "detail": "1 to 100 tasks in one batch"
        }
      ],
      "request_id": "[id]"
    }
    "##);
}

#[tokio::test]
async fn tasks_are_listed_by_campaign_state_and_date() {
    let api = Api::ready().await;
    api.post("/api/v1/campaigns", json!({"name": "other", "trunk_ids": [1]}))
        .await
        .expect(201);
    for (name, campaign, start) in [
        ("a", 1, "2020-01-01T00:00:00Z"),
        ("b", 1, "2099-01-01T00:00:00Z"),
        ("c", 2, "2020-01-01T00:00:00Z"),
    ] {
        let task = json!({"name": name, "campaign_id": campaign, "number_pool": ["2025550123"], "start_time": start});
        api.post("/api/v1/tasks", task).await.expect(201);
    }
    let names = async |query: &str| {
        let page = api.get(&format!("/api/v1/tasks?{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names("").await, "c b a");
    assert_eq!(names("campaign_id=1").await, "b a");
    assert_eq!(names("campaign_id=1&state=running").await, "a");
    assert_eq!(names("created_until=2020-01-01T00:00:00Z").await, "");
    assert_eq!(names("created_from=2020-01-01T00:00:00Z").await, "c b a");
    assert_snapshot!(api.get("/api/v1/tasks?state=runing").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "Correct the parameter that `errors` names, or leave it out.",
      "errors": [
        {
          "parameter": "state",
          "detail": "expected one of `preparing`, `scheduled`, `running`, `paused`, `completed`, `cancelled`"
        }
      ],
      "request_id": "[id]"
    }
    "#);
    assert_snapshot!(api.get("/api/v1/tasks?created_from=today").await, @r#"
    400 Bad Request
    {
      "type": "/problems/bad-parameter",
      "title": "A parameter cannot be used",
      "status": 400,
      "detail": "Correct the parameter that `errors` names, or leave it out.",
      "errors": [
        {
          "parameter": "created_from",
          "detail": "write the moment as RFC 3339 with its offset, such as 2026-11-20T09:00:00Z or 2026-11-20T09:00:00+01:00"
        }
      ],
      "request_id": "[id]"
    }
    "#);
}

#[tokio::test]
async fn foreign_and_premium_rate_numbers_are_refused_unless_they_are_wanted() {
    let api = Api::ready().await;
    let (foreign, premium) = ("+442079460123", "+19002345678");
    let task = |extra: Value| {
        let mut task = json!({"name": "t", "number_pool": ["+12025550123", foreign, premium]});
        task.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        task
    };
    let list = |extra: Value| {
        let mut list = json!({"name": "l", "contacts": [{"numbers": [{"number": "+12025550123"}, {"number": foreign}]}, {"numbers": [{"number": premium}]}]});
        list.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        list
    };
    let reasons = |reply: Value| {
        let errors = reply["errors"].as_array().unwrap().clone();
        errors
            .into_iter()
            .map(|e| {
                format!(
                    "{} {}",
                    e["pointer"].as_str().unwrap(),
                    e["detail"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    let gb = "a number in GB, and only those in US are wanted: to take it, name its country too (`--countries`; in the API `countries`)";
    let dear = "a premium-rate number, which costs whoever calls it: to take them, say so (`--premium-rate`; in the API `premium_rate=true`)";
    let refused = api.post("/api/v1/tasks", task(json!({}))).await.expect(422);
    assert_eq!(
        reasons(refused),
        [format!("#/number_pool/1 {gb}"), format!("#/number_pool/2 {dear}")]
    );
    let refused = api
        .post("/api/v1/contact-lists", list(json!({})))
        .await
        .expect(422);
    let places = [
        format!("#/contacts/0/numbers/1/number {gb}"),
        format!("#/contacts/1/numbers/0/number {dear}"),
    ];
    assert_eq!(reasons(refused), places);
    let wanted = json!({"countries": ["US", "GB"], "premium_rate": true});
    api.post("/api/v1/tasks", task(wanted.clone())).await.expect(201);
    api.post("/api/v1/contact-lists", list(wanted)).await.expect(201);
    // A contact in a country may have a number there.
    let there = json!({"contacts": [{"numbers": [{"number": foreign}], "address": {"country": "GB"}}]});
    let added = api
        .post("/api/v1/contact-lists/1/contacts", there)
        .await
        .expect(200);
    assert_eq!(
        added["duplicates"].as_u64().unwrap() + added["added"].as_u64().unwrap(),
        1
    );
    let refused = api
        .post("/api/v1/tasks", task(json!({"countries": ["XX"]})))
        .await
        .expect(422);
    assert!(reasons(refused)[0].starts_with("#/countries there is no number plan for `XX`"));
}
