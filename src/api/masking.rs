//! Masks telephone numbers in every answer to a key that may not see them.
//!
//! Handlers mask the fields that hold numbers ([`super::Caller::show`]). But people also write numbers into names,
//! attributes and reasons, and a PBX writes them into its texts. So the whole answer is masked again here, just before
//! it is sent.

use super::problem::Problem;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse;
use paceline_core::mask::mask_numbers;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Maximum size of an answer. A page of rows is far smaller.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Fields with digits that are not a contact's number: Paceline makes them, or they say who sent the request, or which law
/// a rule is from, and masked they would be useless. Inside `attributes` no field is exempt, because people choose those names.
const EXEMPT: [&str; 6] = ["next_cursor", "key", "peer", "caller_id", "extension", "citation"];

/// The answer with every number in it masked.
pub(super) async fn masked(response: Response<Body>) -> Response<Body> {
    if !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let masked = to_bytes(body, ANSWER_BYTES_MAX)
        .await
        .map_err(anyhow::Error::from);
    let masked = masked.and_then(|bytes| {
        let mut value: Value = serde_json::from_slice(&bytes)?;
        mask(&mut value);
        Ok(serde_json::to_vec(&value)?)
    });
    match masked {
        Ok(bytes) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(bytes))
        }
        // An answer that cannot be masked must not be sent.
        Err(error) => Problem::internal(error).into_response(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        kind.starts_with("application/json") || kind.starts_with("application/problem+json")
    })
}

/// Masks all texts in an answer, and the names of fields, because people choose some of them.
pub(super) fn mask(value: &mut Value) {
    mask_where(value, |name| EXEMPT.contains(&name));
}

fn mask_where(value: &mut Value, exempt: fn(&str) -> bool) {
    match value {
        Value::String(text) => mask_text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_where(item, exempt)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "attributes" => mask_where(field, |_| false),
                    name if exempt(name) => {}
                    _ => mask_where(field, exempt),
                }
            }
            if fields
                .keys()
                .any(|name| matches!(mask_numbers(name), Cow::Owned(_)))
            {
                *fields = with_masked_names(std::mem::take(fields));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// If two names are equal after masking, both fields are kept under different names.
fn with_masked_names(fields: Map<String, Value>) -> Map<String, Value> {
    let mut masked = Map::new();
    for (name, field) in fields {
        let mut name = mask_numbers(&name).into_owned();
        while masked.contains_key(&name) {
            name.push('\'');
        }
        masked.insert(name, field);
    }
    masked
}

fn mask_text(text: &mut String) {
    if let Cow::Owned(masked) = mask_numbers(text) {
        *text = masked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_the_names_of_attributes_are_masked_and_machine_made_values_are_not() {
        let mut answer = json!({
            "id": 12025550123_i64,
            "name": "Acme 2025550123",
            "next_cursor": "dGFza3M6NDI1234567",
            "created_at": "2026-11-20T09:00:00.000Z",
            "attributes": {"Home 2025550123": "x", "Home 2025559923": "y", "key": "202-555-0123", "plan": "gold"},
            "legs": [{"detail": "no PJSIP/+12025550123@carrier"}],
            "reasons": [{"citation": "Fla. Stat. § 501.059(8)(a)"}],
        });
        mask(&mut answer);
        let masked = json!({
            "id": 12025550123_i64,
            "name": "Acme ********23",
            "next_cursor": "dGFza3M6NDI1234567",
            "created_at": "2026-11-20T09:00:00.000Z",
            "attributes": {"Home ********23": "x", "Home ********23'": "y", "key": "***-***-**23", "plan": "gold"},
            "legs": [{"detail": "no PJSIP/+*********23@carrier"}],
            "reasons": [{"citation": "Fla. Stat. § 501.059(8)(a)"}],
        });
        assert_eq!(answer, masked);
    }
}
