//! No request makes a route fail with an internal error.

use super::harness::{Api, new_key};
use paceline::api::{Role, keys};
use paceline_core::time::Wall;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

/// How many bodies of each kind the test sends to each route.
const BODIES: usize = 40;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2..3i64).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("+12025550123")),
        Just(json!("office")),
        Just(json!("PJSIP/{number}@c")),
        Just(json!("2026-11-20T09:00:00Z")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{0,8}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The fields of a route's body, as the OpenAPI document lists them.
fn fields(document: &Value, operation: &Value) -> Vec<String> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str() {
        Some(target) => document.pointer(target.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[tokio::test]
async fn no_body_and_no_parameter_makes_a_route_fail() {
    send_anything(&Api::ready().await).await;
}

#[tokio::test]
async fn no_body_and_no_parameter_makes_a_route_fail_over_postgresql() {
    let api = Api::on_postgres().await;
    api.make_ready().await;
    send_anything(&api).await;
}

async fn send_anything(api: &Api) {
    // Key 1 revokes itself during the test.
    let key = keys::create(&api.store, &new_key("own", Role::Write, true), Wall(0))
        .await
        .unwrap();
    let document = api.get("/api/v1/openapi.json").await.expect(200);
    let mut runner = TestRunner::deterministic();
    let mut draw = |strategy: &BoxedStrategy<Value>| strategy.new_tree(&mut runner).unwrap().current();
    let (anything, text) = (any_json().boxed(), ".{0,30}".prop_map(Value::from).boxed());
    let mut accepted = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has_body = operation["requestBody"]["content"]["application/json"].is_object();
            for n in 0..BODIES {
                let id = ["1", "2", "0", "-1", "9223372036854775807", "x%00", "%F0%9F%92%A9"][n % 7];
                let mut path = path.replace("{id}", id);
                let mut body = Value::Null;
                if has_body {
                    let named = fields(&document, operation);
                    let known: Map<_, _> = named.into_iter().map(|name| (name, draw(&anything))).collect();
                    body = if n % 5 == 0 {
                        draw(&anything)
                    } else {
                        Value::Object(known)
                    };
                } else {
                    let parameter = [
                        "limit",
                        "cursor",
                        "state",
                        "created_from",
                        "attempt_id",
                        "disposition",
                        "x",
                    ][n % 7];
                    let value = if n % 8 == 0 { json!("\0") } else { draw(&text) };
                    let encoded: String = value
                        .as_str()
                        .unwrap()
                        .bytes()
                        .map(|b| format!("%{b:02X}"))
                        .collect();
                    path = format!("{path}?{parameter}={encoded}");
                }
                let reply = api.ask(&method.to_uppercase(), &path, &key, &body).await;
                assert!(
                    reply.status.as_u16() < 500,
                    "{method} {path} {body}: {}",
                    reply.text
                );
                if reply.status.as_u16() >= 400 {
                    reply.problem();
                } else {
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 150, "{accepted} requests were accepted");
}
