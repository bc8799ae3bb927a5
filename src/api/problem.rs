//! Errors as they leave the API: `application/problem+json` (RFC 9457), each with what to do next.
//!
//! In: a [`Kind`], a detail, the fields at fault. Out: a response. Holds no number, no SQL: causes go to the log only,
//! once, in [`super::frame`], which also adds the request id.

use crate::store::StoreError;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;

/// What a handler returns.
pub type ApiResult<T> = Result<T, Problem>;

macro_rules! kinds {
    ($($(#[doc = $advice:literal])* $variant:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        /// The kinds of problem. Each kind's page is `/problems/<slug>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[doc = $advice])* $variant),* }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];
            /// The last part of its type URI.
            pub fn slug(self) -> &'static str { match self { $(Kind::$variant => $slug),* } }
            /// Its HTTP status.
            pub fn status(self) -> StatusCode { match self { $(Kind::$variant => StatusCode::$status),* } }
            /// One line, the same for every problem of this kind.
            pub fn title(self) -> &'static str { match self { $(Kind::$variant => $title),* } }
            /// When it happens and what to do, for the documentation.
            pub fn advice(self) -> &'static str { match self { $(Kind::$variant => concat!($($advice),*)),* } }
        }
    };
}

kinds! {
    /// The body is not JSON at all. `detail` says where it stops being JSON.
    MalformedBody = "malformed-body", BAD_REQUEST, "The body is not well-formed JSON";
    /// A query parameter or a part of the path cannot be read, or is not known. `errors` names it.
    BadParameter = "bad-parameter", BAD_REQUEST, "A parameter cannot be used";
    /// The cursor is not one that this list gave out. Start again without `cursor`.
    BadCursor = "bad-cursor", BAD_REQUEST, "The cursor cannot be used";
    /// No valid API key came with the request. Send `Authorization: Bearer pl_…`; make a key with `paceline key create`.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid API key is needed";
    /// The key is valid and its role does not allow this. Use a key with the role that `detail` names.
    Forbidden = "forbidden", FORBIDDEN, "The key does not allow this";
    /// There is nothing under this path or id.
    NotFound = "not-found", NOT_FOUND, "Not found";
    /// The path exists and does not take this method; the `Allow` header lists what it takes.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body did not arrive in time. Send it again in one piece.
    BodyTimeout = "body-timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// What is asked does not fit the present state of things. `detail` gives that state and what would be possible.
    Conflict = "conflict", CONFLICT, "The request does not fit the present state";
    /// The body is larger than the API takes. Split it, or import a file.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body must be sent as `Content-Type: application/json`.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The body is JSON, and something in it cannot be used. `errors` names every field; nothing was changed.
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "Something in the request cannot be used";
    /// This `Idempotency-Key` was used before with another body. Take a fresh key for each new request.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another request";
    /// The key asks more often than it may. Wait for the seconds that `Retry-After` gives.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The fault is ours; the log has it under the problem's `request_id`.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong inside Paceline";
    /// The store, or Paceline itself, has no time for this now. Try again after the seconds that `Retry-After` gives.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available at the moment";
}

/// One thing at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// Where in the body, as a JSON pointer in fragment form (RFC 6901, 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/number_pool/3")]
    pub pointer: Option<String>,
    /// Which parameter or header, where it is not in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong with it and what would do. Never repeats a telephone number.
    #[schema(example = "too short to be a telephone number")]
    pub detail: String,
}

impl Fault {
    /// At a place in the body; `path` is a JSON pointer without the `#`: `/number_pool/3`.
    pub fn body(path: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(format!("#{}", path.as_ref())),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// In a query parameter, a path parameter or a header.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.to_owned()),
            detail: detail.into(),
        }
    }
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Fault>,
    retry_after_s: Option<u64>,
    cause: Option<Arc<anyhow::Error>>,
}

/// The wire form of a [`Problem`] (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// The kind of problem, a URI relative to the server.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid")]
    kind: String,
    /// The kind in one line.
    #[schema(example = "Something in the request cannot be used")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong this time, and what to do next.
    #[schema(
        example = "1 of 3 numbers cannot be dialed; nothing was created. Correct or remove it and send again."
    )]
    detail: &'a str,
    /// Every field at fault.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    /// Under which the log has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
            cause: None,
        }
    }

    /// Nothing under this id. `what` is what it would have been: `campaign`.
    pub fn no(what: &str, id: impl std::fmt::Display) -> Self {
        let list = match what {
            "do-not-call entry" => "dnc".to_owned(),
            "contact" => "contact-lists".to_owned(),
            "PBX" => "live".to_owned(),
            _ => format!("{}s", what.to_lowercase().replace(' ', "-")),
        };
        Self::new(
            Kind::NotFound,
            format!("There is no {what} {id}. GET /api/v1/{list} lists what there is."),
        )
    }

    /// The request does not fit the present state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// One unusable field; `path` as in [`Fault::body`].
    pub fn field(path: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self::invalid(
            "Nothing was changed. Correct what `errors` names and send again.",
            vec![Fault::body(path, detail)],
        )
    }

    /// Several unusable fields.
    pub fn invalid(detail: impl Into<String>, errors: Vec<Fault>) -> Self {
        Self::new(Kind::Invalid, detail).with_errors(errors)
    }

    /// A fault of ours. The cause is logged and not shown.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            cause: Some(Arc::new(cause.into())),
            ..Self::new(
                Kind::Internal,
                "The request failed; what it changed, if anything, was undone. The log tells more under this request_id.",
            )
        }
    }

    /// No time for this now.
    pub fn unavailable(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(Kind::Unavailable, detail)
        }
    }

    /// Names the fields at fault.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// Says how long to wait.
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Keeps a cause for the log.
    pub fn caused_by(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(Arc::new(cause.into()));
        self
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is behind it, for the log only.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_deref()
    }

    /// The problem for a status that some layer answered with by itself.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(
                Kind::NotFound,
                "There is nothing at this path. GET /api/docs lists all that there is.",
            ),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                Kind::MethodNotAllowed,
                "This path takes other methods; the Allow header lists them.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                Kind::BodyTooLarge,
                format!(
                    "The body may have at most {} bytes. Split it.",
                    super::BODY_BYTES_MAX
                ),
            ),
            _ => Self::internal(anyhow::anyhow!("a layer answered {status} by itself")),
        }
    }

    /// The response, with the id under which the log has more.
    pub fn respond(&self, request_id: Option<&str>) -> Response<Body> {
        let body = ProblemBody {
            kind: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            request_id,
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthenticated {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"paceline\""),
            );
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = self.respond(None);
        // `super::frame` finds it here, logs its cause and adds the request id.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let passing = matches!(&error, StoreError::Query { source, .. } if source.is_passing());
        if passing {
            Self::unavailable(
                "The store cannot do this at the moment. Try again in a few seconds.",
                5,
            )
            .caused_by(error)
        } else {
            Self::internal(error)
        }
    }
}
