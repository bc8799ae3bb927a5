//! A key that may not see numbers sees none, on every route and in every field.

use super::harness::Api;
use serde_json::{Map, Value, json};

pub(super) const ATTEMPT: &str = "019a9ec0-6400-7e5f-8a6b-000000000001";

/// Digits of the numbers in the store that such a key must not see.
const SECRET: [&str; 2] = ["202555012", "202555013"];

/// A store with a number in every text that a user, a file or a PBX can write.
pub(super) async fn with_numbers_everywhere() -> Api {
    let api = Api::ready().await;
    let post = async |path: &str, body: Value| api.post(path, body).await.expect(201);
    post(
        "/api/v1/agents",
        json!({"name": "Home 202-555-0123", "pbx": "office", "extension": "203"}),
    )
    .await;
    post(
        "/api/v1/campaigns",
        json!({"name": "about +12025550123", "trunk_ids": [1]}),
    )
    .await;
    let contact = json!({"numbers": [{"number": "+12025550123", "label": "not 2025550134"}, {"number": "+12025550135"}],
        "name": "Acme (202) 555 0123", "external_id": "12025550123", "language": "en", "tier": 3,
        "address": {"country": "US", "state": "2025550123", "postal_code": "202 555 0134"}, "tags": ["202-555-0134", "vip"],
        "consents": [{"kind": "express", "scope": "service", "granted_at": "2026-01-01T00:00:00Z",
            "proof": "recorded on +1 202 555 0123"}],
        "attributes": {"Home Phone": "202.555.0123", "2025550134": "x", "note": "ring\u{a0}202\u{2011}555\u{2011}0134, not\t20\u{200b}25550123"}});
    post(
        "/api/v1/contact-lists",
        json!({"name": "those of 2025550123", "contacts": [contact]}),
    )
    .await;
    post(
        "/api/v1/tasks",
        json!({"name": "call 1 202 555 0123", "number_pool": ["2025550123", "2025550134"]}),
    )
    .await;
    post(
        "/api/v1/api-keys",
        json!({"name": "of 2025550123", "role": "read"}),
    )
    .await;
    api.post(
        "/api/v1/dnc",
        json!({"numbers": ["+12025550134"], "reason": "called from 202 555 0134"}),
    )
    .await
    .expect(200);
    api.sql(
        "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, answered_at_ms, connected_at_ms, agent_id, ended_at_ms, outcome)
           VALUES (X'019A9EC064007E5F8A6B000000000001', 1, 1, 1, '+12025550123', 1, 1763600100000, 1763600105000, 1763600105040, 1, 1763600200000, 'answered');
         INSERT INTO legs (id, attempt_id, pbx, trunk_id, created_at_ms, ended_at_ms, ended_by, detail)
           VALUES (X'00000000000000000000000000000007', X'019A9EC064007E5F8A6B000000000001', 'office', 1, 1763600100000, 1763600200000, 'network', 'no route to 12025550123');
         INSERT INTO recordings (name, attempt_id, agent_id, pbx, state, asked_at_ms, failure)
           VALUES ('paceline-7', X'019A9EC064007E5F8A6B000000000001', 1, 'office', 'failed', 1763600105041, 'cannot write 12025550123.wav');
         INSERT INTO imports (list_id, makes_list, state, alive_at_ms, file_sha256, settings, shape, repairs, failure, created_at_ms)
           VALUES (1, FALSE, 'failed', 1, X'00', '{}', '{\"columns\": {\"number\": {\"header\": \"2025550123\"}}}', '{\"column 2025550123 left out\": 1}', 'at 2025550123', 1);
         INSERT INTO import_rejects (import_id, line, field, reason) VALUES (1, 2, '2025550134', 'not 2025550123');",
    )
    .await;
    api
}

/// Calls every operation. Those with a body get an empty body, and a body with numbers in the wrong fields.
async fn ask_everything(api: &Api, key: &str, mut see: impl FnMut(&str, &str)) {
    let document = api.get("/api/v1/openapi.json").await.expect(200);
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            for id in ["1", "2", ATTEMPT] {
                let path = template.replace("{id}", id).replace("{e164}", "+12025550123");
                let bodies = if method == "get" || method == "delete" {
                    vec![Value::Null]
                } else {
                    vec![
                        json!({}),
                        json!({"name": "2025550123", "numbers": ["2025550123"], "number": "x2025550123"}),
                    ]
                };
                for body in bodies {
                    let reply = api.ask(&method.to_uppercase(), &path, key, &body).await;
                    see(&format!("{method} {path}"), &reply.text);
                }
                if !template.contains("{id}") {
                    break;
                }
            }
        }
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Every text in an answer, and the names of its fields.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => {
            into.extend(fields.keys().cloned());
            fields.values().for_each(|field| texts(field, into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shows_a_number(answer: &str) -> bool {
    let mut all = vec![answer.to_owned()];
    if let Ok(value) = serde_json::from_str(answer) {
        all.clear();
        texts(&value, &mut all);
    }
    all.iter()
        .any(|text| SECRET.iter().any(|secret| digits(text).contains(secret)))
}

#[tokio::test]
async fn no_answer_of_any_operation_shows_a_number_to_a_key_that_may_not_see_them() {
    for who in ["read", "agent", "write"] {
        let api = with_numbers_everywhere().await;
        let key = match who {
            "read" => &api.read,
            "agent" => &api.agent,
            _ => &api.write,
        };
        let mut answers = 0;
        ask_everything(&api, key, |asked, text| {
            // The documentation has example numbers, which belong to no contact.
            if !asked.contains("openapi") {
                assert!(!shows_a_number(text), "{who}: {asked} answered {text}");
                answers += 1;
            }
        })
        .await;
        assert!(answers > 100, "only {answers} answers were looked at");
    }
}

#[tokio::test]
async fn a_key_that_may_see_numbers_sees_them_as_they_are_written() {
    let api = with_numbers_everywhere().await;
    let contact = api.get("/api/v1/contacts/1").await.expect(200);
    assert_eq!(contact["attributes"]["Home Phone"], "202.555.0123");
    let masked = api
        .ask("GET", "/api/v1/contacts/1", &api.read, &Value::Null)
        .await
        .expect(200);
    assert_eq!(masked["name"], "Acme (***) *** **23");
    let shown: Map<String, Value> = masked["attributes"].as_object().unwrap().clone();
    assert_eq!(shown["Home Phone"], "***.***.**23");
    assert_eq!(shown["********34"], "x");
    let numbers = json!([
        {"number": "+*********23", "kind": "fixed_or_mobile", "label": "not ********34"},
        {"number": "+*********35", "kind": "fixed_or_mobile", "label": null},
    ]);
    assert_eq!(masked["numbers"], numbers);
    assert_eq!(masked["external_id"], "*********23");
    assert_eq!(masked["tags"], json!(["***-***-**34", "vip"]));
    assert_eq!(masked["consents"][0]["proof"], "recorded on +* *** *** **23");
    assert_eq!(masked["consents"][0]["granted_at"], "2026-01-01T00:00:00.000Z");
}
