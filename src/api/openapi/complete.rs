//! Adds to the document what the derives cannot know: the errors that all operations share, that answers have all of their
//! fields, and that the items of a page have the same schemas as elsewhere.

use super::super::problem::Kind;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa::openapi::OpenApi;

const SCHEMAS: &str = "#/components/schemas/";

/// The document as it is served.
pub(in super::super) fn complete(document: OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let operations = document
        .get_mut("paths")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        add_errors(operation);
    }
    let sent = sent_schemas(&document);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if let Some(item) = name.strip_prefix("Page_")
            && let Some(items) = schema.pointer_mut("/properties/items/items")
        {
            *items = json!({"$ref": format!("{SCHEMAS}{item}")});
        }
        // A problem and an event leave out what does not apply; every other answer has null there.
        if !sent.contains(name.as_str()) && !matches!(name.as_str(), "Problem" | "Fault" | "EventData") {
            require_all(schema);
        }
    }
    document
}

fn add_errors(operation: &mut Value) {
    let has = |key: &str| operation.get(key).is_some();
    let mut kinds = vec![Kind::Internal, Kind::Unavailable];
    if has("security") {
        kinds.extend([Kind::Unauthenticated, Kind::Forbidden, Kind::RateLimited]);
    }
    if has("requestBody") {
        kinds.extend([
            Kind::MalformedBody,
            Kind::BodyTimeout,
            Kind::BodyTooLarge,
            Kind::UnsupportedMediaType,
            Kind::Invalid,
        ]);
    }
    if has("parameters") {
        kinds.push(Kind::BadParameter);
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    for kind in kinds {
        let status = kind.status().as_u16().to_string();
        responses
            .entry(status)
            .or_insert_with(|| json!({"description": kind.title()}));
    }
    for (status, response) in responses.iter_mut() {
        if let (true, Value::Object(response)) = (status.starts_with(['4', '5']), response) {
            let schema = json!({"schema": {"$ref": format!("{SCHEMAS}Problem")}});
            response.insert("content".to_owned(), json!({"application/problem+json": schema}));
        }
    }
    responses.sort_keys();
}

fn require_all(schema: &mut Value) {
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(require_all);
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    let names: Vec<String> = fields.into_iter().flat_map(Map::keys).cloned().collect();
    if let (false, Value::Object(schema)) = (names.is_empty(), schema) {
        schema.insert("required".to_owned(), json!(names));
    }
}

/// Names of the schemas that a client sends, directly or inside others.
fn sent_schemas(document: &Value) -> BTreeSet<String> {
    let items = document
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::values);
    let operations = items.filter_map(Value::as_object).flat_map(Map::values);
    let mut sent = BTreeSet::new();
    for body in operations.filter_map(|operation| operation.get("requestBody")) {
        collect(document, body, &mut sent);
    }
    sent
}

fn collect(document: &Value, value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(document, item, names)),
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str);
            if let Some(name) = target.and_then(|target| target.strip_prefix(SCHEMAS))
                && names.insert(name.to_owned())
                && let Some(schema) = document.pointer(&format!("/components/schemas/{name}"))
            {
                collect(document, schema, names);
            }
            fields.values().for_each(|field| collect(document, field, names));
        }
        _ => {}
    }
}
