//! A key that may not see numbers cannot find out a number by writing it. It gets the same answers whether the number
//! is in the store or not.

use super::harness::{Api, hours};
use super::masked::{ATTEMPT, with_numbers_everywhere};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The number of contact 1, and a number that no contact has. A masked key sees both as `+*********23`.
const RIGHT: &str = "+12025550123";
const WRONG: &str = "+12025550923";

/// An operation that changes something.
enum Write {
    /// A masked key may not call it, because some answer would depend on the number.
    Refused(fn(&str) -> Value),
    /// No answer depends on the number.
    Blind(fn(&str) -> Value),
    /// The caller writes only ids, times and words of the API.
    Numberless,
}
use Write::{Blind, Numberless, Refused};

fn writes() -> Vec<(&'static str, Write)> {
    let agent = |n: &str| json!({"name": format!("desk {n}"), "pbx": "office", "extension": n.trim_start_matches('+')});
    let trunk = |n: &str| json!({"name": format!("to {n}"), "pbx": "office", "dial": "PJSIP/{digits}@desk-7", "caller_id": n});
    let contacts = |n: &str| json!({"contacts": [{"numbers": [{"number": n}], "external_id": n, "attributes": {"phone": n}}]});
    vec![
        (
            "post /tasks",
            Blind(|n| json!({"name": n, "number_pool": [n, "+12025550987"]})),
        ),
        // The dry run would show which numbers are on a list.
        (
            "post /tasks?dry_run=true",
            Refused(|n| json!({"name": "x", "number_pool": [n]})),
        ),
        (
            "post /tasks/batch",
            Blind(|n| json!({"tasks": [{"name": n, "number_pool": [n]}]})),
        ),
        ("post /tasks/{id}/start", Numberless),
        ("post /tasks/{id}/pause", Numberless),
        ("post /tasks/{id}/resume", Numberless),
        ("post /tasks/{id}/cancel", Numberless),
        ("post /tasks/{id}/requeue", Numberless),
        (
            "post /campaigns",
            Blind(|n| json!({"name": format!("for {n}"), "trunk_ids": [1]})),
        ),
        (
            "put /campaigns/{id}/settings",
            Blind(
                |n| json!({"hours": hours(), "suppression": {"lists": [format!("x{}", n.trim_start_matches('+'))]}}),
            ),
        ),
        ("put /campaigns/{id}/trunks", Numberless),
        ("post /campaigns/{id}/activate", Numberless),
        ("post /campaigns/{id}/pause", Numberless),
        ("post /campaigns/{id}/archive", Numberless),
        ("post /drain", Numberless),
        ("post /pbxes/{name}/maintenance", Numberless),
        ("delete /pbxes/{name}/maintenance", Numberless),
        (
            "post /contact-lists",
            Blind(
                |n| json!({"name": n, "contacts": [{"numbers": [{"number": n}], "external_id": n}, {"numbers": [{"number": n}]}]}),
            ),
        ),
        ("post /contact-lists/{id}/contacts", Refused(contacts)),
        ("post /contacts/search", Refused(|n| json!({"number": n}))),
        (
            "post /imports?list=new",
            Blind(|n| json!(format!("Phone,Id\n{n},{n}\n+12025550987,x\n"))),
        ),
        (
            "post /imports?contact_list_id=1",
            Refused(|n| json!(format!("Phone\n{n}\n"))),
        ),
        // The target list existed before the import that was stopped.
        (
            "post /imports/{id}/resume",
            Refused(|n| json!(format!("Phone\n{n}\n"))),
        ),
        ("post /imports/{id}/stop", Numberless),
        ("post /imports/{id}/publish", Numberless),
        ("post /imports/{id}/cancel", Numberless),
        ("put /attempts/{id}/disposition", Numberless),
        ("post /agents", Blind(agent)),
        (
            "put /agents/{id}",
            Blind(
                |n| json!({"name": format!("other desk {n}"), "pbx": "office", "extension": format!("x{}", n.trim_start_matches('+'))}),
            ),
        ),
        ("delete /agents/{id}", Numberless),
        ("post /agents/{id}/log-in", Numberless),
        ("post /agents/{id}/log-out", Numberless),
        ("post /agents/{id}/ready", Numberless),
        ("post /agents/{id}/pause", Numberless),
        ("post /agents/{id}/hang-up", Numberless),
        ("post /agents/{id}/disposition", Numberless),
        // A trunk can lead to any phone, and that phone would show the number.
        ("post /trunks", Refused(trunk)),
        ("put /trunks/{id}", Refused(trunk)),
        ("delete /trunks/{id}", Numberless),
        (
            "post /dnc",
            Refused(|n| json!({"numbers": [n], "reason": "asked in a call"})),
        ),
        ("post /dnc/check", Refused(|n| json!({"numbers": [n]}))),
        ("delete /dnc/{id}", Numberless),
        (
            "post /suppression-lists/{name}?as_of=2026-11-20T00:00:00Z",
            Refused(|n| json!(format!("{n}\n"))),
        ),
        ("delete /suppression-lists/{name}", Numberless),
        (
            "post /api-keys",
            Blind(|n| json!({"name": format!("of {n}"), "role": "read"})),
        ),
        ("delete /api-keys/{id}", Numberless),
    ]
}

#[tokio::test]
async fn a_masked_key_cannot_find_numbers_out_by_writing() {
    let (right, wrong) = tokio::join!(with_numbers_everywhere(), with_numbers_everywhere());
    let document = right.get("/api/v1/openapi.json").await.expect(200);
    let mut unlisted = operations(&document, |method| method != "get");
    same_answers(&right, &wrong, &document, "before").await;
    for (operation, write) in writes() {
        let (method, path) = operation.split_once(' ').unwrap();
        let template = path.split('?').next().unwrap();
        unlisted.remove(&format!("{method} /api/v1{template}"));
        let id = if path.contains("attempts") { ATTEMPT } else { "1" };
        let path = format!("/api/v1{}", path.replace("{id}", id).replace("{name}", "guess"));
        match write {
            Numberless => {}
            Refused(body) => {
                let reply = write_to(&right, method, &path, &body(RIGHT)).await;
                assert_eq!(reply.0, 403, "{operation} answered {}", reply.1);
            }
            Blind(body) => {
                let (right_body, wrong_body) = (body(RIGHT), body(WRONG));
                let (one, other) = tokio::join!(
                    write_to(&right, method, &path, &right_body),
                    write_to(&wrong, method, &path, &wrong_body)
                );
                assert!((200..300).contains(&one.0), "{operation} answered {one:?}");
                assert_eq!(one, other, "{operation}");
                if operation.contains("/imports") {
                    tokio::join!(published(&right), published(&wrong));
                }
                same_answers(&right, &wrong, &document, operation).await;
            }
        }
    }
    assert!(
        unlisted.is_empty(),
        "operations of which nobody has said whether they tell: {unlisted:?}"
    );
}

#[tokio::test]
async fn a_masked_key_cannot_find_numbers_out_by_asking_for_them() {
    let api = with_numbers_everywhere().await;
    for path in [
        "contact-lists/1/contacts?external_id=12025550123",
        "contact-lists/1/contacts?tag=202-555-0134",
        "explain/number/+12025550123",
    ] {
        let path = format!("/api/v1/{path}");
        let reply = api.ask("GET", &path, &api.write, &Value::Null).await;
        assert_eq!(reply.problem(), (403, "forbidden".to_owned()), "{path}");
    }
}

/// The operations of the OpenAPI document, written like `get /api/v1/tasks`.
fn operations(document: &Value, wanted: fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| wanted(method)) {
            found.insert(format!("{method} {path}"));
        }
    }
    found
}

/// Sends a string body as a file, and every other body as JSON.
async fn write_to(api: &Api, method: &str, path: &str, body: &Value) -> (u16, String) {
    let reply = match body {
        Value::String(file) => {
            let request = Request::builder().method("POST").uri(path);
            let request = request.header("authorization", format!("Bearer {}", api.write));
            api.send(request.body(Body::from(file.clone())).unwrap()).await
        }
        body => api.ask(&method.to_uppercase(), path, &api.write, body).await,
    };
    (reply.status.as_u16(), comparable(&reply.text))
}

async fn published(api: &Api) {
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let imports = api.get("/api/v1/imports").await.expect(200);
            let jobs = api.get("/api/v1/jobs").await.expect(200);
            let idle = |job: &Value| job["state"] == "waiting";
            if imports["items"][0]["state"] == "published"
                && jobs["jobs"].as_array().unwrap().iter().all(idle)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the import is published");
}

/// Asserts that a masked key gets the same answers from both stores.
async fn same_answers(right: &Api, wrong: &Api, document: &Value, after: &str) {
    for operation in operations(document, |method| method == "get") {
        let template = operation.split_once(' ').unwrap().1;
        let live = ["openapi", "/events", "/jobs", "/audit"];
        if live.iter().any(|name| template.contains(name)) {
            continue;
        }
        for id in ["1", "2", "3", ATTEMPT] {
            let path = template.replace("{id}", id);
            let (one, other) = tokio::join!(
                right.ask("GET", &path, &right.write, &Value::Null),
                wrong.ask("GET", &path, &wrong.write, &Value::Null)
            );
            let (one, other) = (comparable(&one.text), comparable(&other.text));
            assert_eq!(one, other, "after {after}: get {path}");
            if !template.contains("{id}") {
                break;
            }
        }
    }
}

/// The answer without the values that differ from run to run, and without the number that the caller sent.
fn comparable(text: &str) -> String {
    fn level(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(level),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match name.as_str() {
                        "request_id" | "key" | "age_seconds" | "uptime_seconds" | "rows_per_second" => {
                            *field = Value::Null
                        }
                        _ => level(field),
                    }
                }
            }
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *text = "a time".to_owned(),
            Value::String(text) => *text = text.replace("12025550123", "N").replace("12025550923", "N"),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let Ok(mut value) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    level(&mut value);
    value.to_string()
}
