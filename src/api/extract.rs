//! Reads bodies, queries and path parts as typed values. A refusal names the field and never repeats the value.

use super::budget::{Charge, SMALL_BYTES_MAX};
use super::problem::{Fault, Kind, Problem};
use super::{BODY_BYTES_MAX, BODY_TIMEOUT};
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// A JSON body.
pub(super) struct Json<T>(pub T);

/// A JSON body together with its raw bytes.
pub(super) struct JsonAndBytes<T>(pub T, pub Bytes);

/// A query string.
pub(super) struct Query<T>(pub T);

/// The only parameter in the path.
pub(super) struct Id<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let JsonAndBytes(value, _) = JsonAndBytes::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for JsonAndBytes<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let essence = content_type.and_then(|v| v.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "Send the body as JSON with the header `Content-Type: application/json`.",
            ));
        }
        let charge = request.extensions().get::<Charge>().cloned();
        let charge =
            charge.ok_or_else(|| Problem::internal(anyhow::anyhow!("a route without guard takes a body")))?;
        let too_large = || Problem::of_status(axum::http::StatusCode::PAYLOAD_TOO_LARGE);
        // A body without a length may grow to the limit.
        let length = request.body().size_hint().upper();
        let length = length.map_or(BODY_BYTES_MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        if length > BODY_BYTES_MAX {
            return Err(too_large());
        }
        charge.bytes(length).await?;
        let read = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, read)
            .await
            .map_err(|_| {
                let waited = BODY_TIMEOUT.as_secs();
                Problem::new(
                    Kind::BodyTimeout,
                    format!("The whole body must arrive within {waited} s. Send it again."),
                )
            })?
            .map_err(|_| too_large())?;
        charge.values(&bytes).await?;
        let value = if bytes.len() > SMALL_BYTES_MAX {
            let bytes = bytes.clone();
            super::check::aside(move || parse(&bytes)).await??
        } else {
            parse(&bytes)?
        };
        Ok(Self(value, bytes))
    }
}

/// Reads JSON. Syntax errors are `malformed-body`, everything else is `invalid` with a pointer.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(
            Kind::MalformedBody,
            "The body is empty. Send one JSON object.",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = pointer(error.path());
        explain(&path, &error.into_inner())
    })?;
    reader.end().map_err(|error| explain("", &error))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { variant } => format!("/{}", escape(variant)),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

/// A reference token of a JSON pointer (RFC 6901, section 3).
fn escape(key: &str) -> String {
    key.chars()
        .take(100)
        .collect::<String>()
        .replace('~', "~0")
        .replace('/', "~1")
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    let full = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = full.strip_suffix(&place).unwrap_or(&full);
    if !error.is_data() {
        let detail = format!("{text}{place}. Send one JSON value; a JSON checker shows the place.");
        return Problem::new(Kind::MalformedBody, detail);
    }
    let fault = match complaint(text) {
        Complaint::Unknown { field, known } => {
            Fault::body(within(path, field), format!("unknown field; known here: {known}"))
        }
        Complaint::Missing { field } => Fault::body(within(path, field), "missing; it is required"),
        Complaint::Duplicate { field } => Fault::body(within(path, field), "given twice"),
        Complaint::Expected(expected) => Fault::body(path, format!("expected {}", plain(expected))),
        Complaint::Other(text) => Fault::body(path, text),
    };
    Problem::invalid(
        "Nothing was changed. Correct what `errors` names and send again.",
        vec![fault],
    )
}

/// The field's pointer. For some errors of serde the path ends with the field already.
fn within(path: &str, field: &str) -> String {
    let last = format!("/{}", escape(field));
    if path.ends_with(&last) {
        path.to_owned()
    } else {
        format!("{path}{last}")
    }
}

/// An error of serde. It has no typed errors for these cases and names the field in the message only. The value is left
/// out, because it may be a telephone number.
enum Complaint<'a> {
    Unknown { field: &'a str, known: &'a str },
    Missing { field: &'a str },
    Duplicate { field: &'a str },
    Expected(&'a str),
    Other(&'a str),
}

fn complaint(text: &str) -> Complaint<'_> {
    let named = |prefix: &str| text.strip_prefix(prefix)?.split('`').next();
    let expected = |otherwise| {
        text.rsplit_once("expected ")
            .map_or(otherwise, |(_, expected)| expected)
    };
    if let Some(field) = named("unknown field `") {
        let known = expected("none");
        let known = known.strip_prefix("one of ").unwrap_or(known);
        Complaint::Unknown { field, known }
    } else if let Some(field) = named("missing field `") {
        Complaint::Missing { field }
    } else if let Some(field) = named("duplicate field `") {
        Complaint::Duplicate { field }
    } else if text.starts_with("invalid ") && text.contains(", expected ")
        || text.starts_with("unknown variant `")
    {
        Complaint::Expected(expected("something else"))
    } else {
        match text {
            "invalid digit found in string" => Complaint::Expected("a whole number, 0 or more"),
            "cannot parse integer from empty string" => Complaint::Expected("a whole number"),
            _ if text.starts_with("number too ") => Complaint::Expected("a smaller number"),
            _ if text.starts_with("UUID parsing failed") => Complaint::Expected("a UUID"),
            _ => Complaint::Other(text),
        }
    }
}

/// A plain word for a Rust type.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a string",
        "a sequence" => "a list",
        "a map" => "an object",
        text if text.starts_with("struct ") => "an object",
        text => text,
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| {
                use std::error::Error as _;
                let source = rejection.source().map(ToString::to_string).unwrap_or_default();
                let (path, text) = source.split_once(": ").unwrap_or(("", &source));
                let (name, detail) = match complaint(text) {
                    Complaint::Unknown { field, known } => {
                        (field, format!("unknown parameter; known here: {known}"))
                    }
                    Complaint::Missing { field } => (field, "missing; it is required".to_owned()),
                    Complaint::Duplicate { field } => (field, "given twice".to_owned()),
                    Complaint::Expected(expected) => (path, format!("expected {expected}")),
                    Complaint::Other(text) => (path, text.to_owned()),
                };
                let name: String = name.chars().take(100).collect();
                Problem::new(
                    Kind::BadParameter,
                    "Correct the parameter that `errors` names, or leave it out.",
                )
                .with_errors(vec![Fault::parameter(&name, detail)])
            })
    }
}

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let text = params
            .ok()
            .and_then(|all| all.iter().next().map(|(_, text)| text.to_owned()));
        text.and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| {
            let form = if size_of::<T>() == 16 {
                "a UUID"
            } else {
                "a whole number"
            };
            Problem::new(Kind::BadParameter, format!("The id in the path must be {form}."))
                .with_errors(vec![Fault::parameter("id", format!("expected {form}"))])
        })
    }
}
