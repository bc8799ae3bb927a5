//! An example value for a schema: its own example if it has one, or else one made of the examples of its parts.

use serde_json::{Map, Value, json};

/// Maximum depth of an example. Schemas may refer to themselves.
const DEPTH_MAX: usize = 8;

/// The schema that a `$ref` names, or the value itself if it is no `$ref`.
pub(super) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| document.pointer(target.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// The name of the schema that a `$ref` names.
pub(super) fn name_of(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// The alternatives of a `oneOf` or `anyOf`, without null.
pub(super) fn alternatives(schema: &Value) -> Option<Vec<&Value>> {
    let any = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    Some(
        any.iter()
            .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"))
            .collect(),
    )
}

/// An example of the schema.
pub(super) fn example(document: &Value, schema: &Value) -> Value {
    at_depth(document, schema, 0)
}

fn at_depth(document: &Value, schema: &Value, depth: usize) -> Value {
    let given = |schema: &Value| {
        schema
            .get("example")
            .or_else(|| schema.get("examples")?.get(0))
            .cloned()
    };
    if let Some(example) = given(schema) {
        return example;
    }
    let schema = resolve(document, schema);
    if let Some(example) = given(schema) {
        return example;
    }
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut all = Map::new();
        for part in parts {
            if let Value::Object(fields) = at_depth(document, part, depth + 1) {
                all.extend(fields);
            }
        }
        return Value::Object(all);
    }
    if let Some(first) = alternatives(schema).and_then(|any| any.first().copied()) {
        return at_depth(document, first, depth + 1);
    }
    if let Some(word) = schema.get("enum").and_then(|words| words.get(0)) {
        return word.clone();
    }
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match kind(schema) {
        "object" => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let mut all: Map<String, Value> = fields
                .into_iter()
                .flatten()
                .map(|(name, field)| (name.clone(), at_depth(document, field, depth + 1)))
                .collect();
            if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
                all.insert("key".to_owned(), at_depth(document, values, depth + 1));
            }
            Value::Object(all)
        }
        "array" => {
            let item = schema
                .get("items")
                .map(|items| at_depth(document, items, depth + 1));
            Value::Array(item.into_iter().collect())
        }
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => json!(0.5),
        "boolean" => json!(true),
        "string" if schema.get("format").and_then(Value::as_str) == Some("uuid") => {
            json!("0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")
        }
        "string" => json!("text"),
        _ => Value::Null,
    }
}

/// The schema's type. If there are several, the first that is not null.
pub(super) fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(several)) => several
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or(""),
        _ => "",
    }
}

/// True if the schema allows null.
pub(super) fn nullable(schema: &Value) -> bool {
    let null = |kind: &Value| kind.as_str() == Some("null");
    let by_type = schema
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|several| several.iter().any(null));
    let by_choice = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|key| schema.get(*key)?.as_array())
        .any(|any| any.iter().filter_map(|one| one.get("type")).any(null));
    by_type || by_choice
}
