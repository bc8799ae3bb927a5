//! The OpenAPI document and its page.

use super::harness::Api;
use paceline_core::campaign::settings::CampaignSettings;
use serde_json::Value;
use std::collections::BTreeSet;

#[tokio::test]
async fn the_document_has_no_dead_reference_and_no_unused_schema() {
    let api = Api::new().await;
    let document = api
        .ask("GET", "/api/v1/openapi.json", "", &Value::Null)
        .await
        .expect(200);
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let mut refs = Vec::new();
    collect_refs(&document, &mut refs);
    assert!(refs.len() > 50);
    for target in &refs {
        let found = target
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer));
        assert!(found.is_some_and(Value::is_object), "{target} leads nowhere");
    }
    let used: BTreeSet<_> = refs
        .iter()
        .filter_map(|r| r.strip_prefix("#/components/schemas/"))
        .collect();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(name.as_str()), "schema {name} is used nowhere");
    }
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{at}: id used twice"
            );
            assert!(
                tags.contains(operation["tags"][0].as_str().unwrap()),
                "{at}: unknown tag"
            );
            assert!(
                operation["summary"].as_str().unwrap().ends_with('.'),
                "{at}: no summary"
            );
            check_parameters(&at, path, operation);
            let responses = operation["responses"].as_object().unwrap();
            let success = responses
                .iter()
                .find(|(status, _)| status.starts_with('2'))
                .expect(&at);
            assert!(
                success.0 == "204"
                    || ["application/json", "text/event-stream"]
                        .iter()
                        .any(|kind| success.1["content"][kind]["schema"].is_object()),
                "{at}"
            );
            for (status, response) in responses {
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(status.starts_with('2'), problem.is_null(), "{at} {status}");
            }
        }
    }
}

fn check_parameters(at: &str, path: &str, operation: &Value) {
    let none = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap_or(&none);
    let in_path = parameters.iter().filter(|p| p["in"] == "path").count();
    assert_eq!(in_path, path.matches('{').count(), "{at}");
    for parameter in parameters {
        assert!(
            parameter["description"].as_str().is_some_and(|d| d.len() > 4),
            "{at}: {parameter}"
        );
        assert!(parameter["schema"].is_object(), "{at}: {parameter}");
    }
}

fn collect_refs(value: &Value, refs: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_refs(item, refs)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(target) if name == "$ref" => refs.push(target.clone()),
                    other => collect_refs(other, refs),
                }
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_field_is_described_and_the_settings_schema_matches_the_settings() {
    let api = Api::new().await;
    let document = api
        .ask("GET", "/api/v1/openapi.json", "", &Value::Null)
        .await
        .expect(200);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let parts = schema["allOf"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![schema.clone()]);
        for part in &parts {
            for (field, described) in part["properties"].as_object().into_iter().flatten() {
                let named = described["$ref"].is_string() || described["oneOf"].is_array();
                assert!(
                    named || described["description"].is_string(),
                    "{name}.{field} is not described"
                );
            }
        }
    }
    let written = serde_json::to_value(CampaignSettings::default()).unwrap();
    same_fields(schemas, "CampaignSettings", &written);
    same_fields(schemas, "CallingHours", &written["hours"]);
    same_fields(schemas, "CallingWindow", &written["hours"]["windows"][0]);
    same_fields(schemas, "DialingSettings", &written["dialing"]);
    same_fields(schemas, "PacingSettings", &written["pacing"]);
    same_fields(schemas, "AnsweringSettings", &written["answering"]);
    same_fields(schemas, "AgentSettings", &written["agents"]);
    same_fields(schemas, "RecordingSettings", &written["recording"]);
    same_fields(schemas, "AbandonRule", &written["pacing"]["abandon_rules"][0]);
}

fn same_fields(schemas: &serde_json::Map<String, Value>, name: &str, written: &Value) {
    let described: BTreeSet<_> = schemas[name]["properties"].as_object().unwrap().keys().collect();
    let written: BTreeSet<_> = written.as_object().unwrap().keys().collect();
    assert_eq!(described, written, "{name}");
}

#[tokio::test]
async fn the_page_shows_every_operation_and_loads_nothing() {
    let api = Api::new().await;
    let document = api
        .ask("GET", "/api/v1/openapi.json", "", &Value::Null)
        .await
        .expect(200);
    let page = api.ask("GET", "/api/docs", "", &Value::Null).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = format!("<article id=\"{}\">", operation["operationId"].as_str().unwrap());
            assert!(page.text.contains(&id), "{id}");
        }
    }
    for loaded in ["<script", "src=", "@import", "url(", "href=\"http", "style=\""] {
        assert!(!page.text.contains(loaded), "{loaded}");
    }
    // Every link within the page has its target.
    for part in page.text.split("href=\"#").skip(1) {
        let id = part.split('"').next().unwrap();
        assert!(page.text.contains(&format!("id=\"{id}\"")), "#{id}");
    }
}

#[tokio::test]
async fn a_problems_type_leads_to_its_explanation() {
    let api = Api::new().await;
    let reply = api.ask("GET", "/problems/invalid", "", &Value::Null).await;
    assert_eq!(reply.status, 303);
    assert_eq!(reply.headers["location"], "/api/docs#problem-invalid");
    assert_eq!(
        api.ask("GET", "/problems/none", "", &Value::Null).await.problem(),
        (404, "not-found".into())
    );
}
