//! Errors of the API as `application/problem+json` (RFC 9457). Each says what to do next.
//!
//! In: a [`Kind`], a detail, the fields at fault. Out: a response. It holds no telephone number and no SQL.
//! [`super::frame`] logs the cause once and adds the request id.

use crate::store::StoreError;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;

/// The result of a handler.
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
            /// The cause of the problem and the advice, for the documentation.
            pub fn advice(self) -> &'static str { match self { $(Kind::$variant => concat!($($advice),*)),* } }
        }
    };
}

kinds! {
    /// The body is not JSON. `detail` says where the error is.
    MalformedBody = "malformed-body", BAD_REQUEST, "The body is not well-formed JSON";
    /// A query parameter or a part of the path cannot be read or is not known. `errors` names it.
    BadParameter = "bad-parameter", BAD_REQUEST, "A parameter cannot be used";
    /// The cursor is not from this list. Start again without `cursor`.
    BadCursor = "bad-cursor", BAD_REQUEST, "The cursor cannot be used";
    /// The request had no valid API key. Send `Authorization: Bearer pl_…`; make a key with `paceline key create`.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid API key is needed";
    /// The key is valid, but its role does not allow this. Use a key with the role that `detail` names.
    Forbidden = "forbidden", FORBIDDEN, "The key does not allow this";
    /// Nothing exists under this path or id.
    NotFound = "not-found", NOT_FOUND, "Not found";
    /// The path exists but does not take this method. The `Allow` header lists its methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body did not arrive in time. Send it again in one piece.
    BodyTimeout = "body-timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// The request does not fit the present state. `detail` gives that state and what is possible.
    Conflict = "conflict", CONFLICT, "The request does not fit the present state";
    /// The body is larger than the API takes. Split it, or import a file.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body must be sent as `Content-Type: application/json`.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The body is JSON, but something in it cannot be used. `errors` names the fields, but of the settings of a campaign only the first; nothing was changed.
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "Something in the request cannot be used";
    /// This `Idempotency-Key` was used before with another body. Use a new key for each new request.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another request";
    /// The key sends too many requests. Wait for the seconds that `Retry-After` gives.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The fault is in Paceline. The log has it under the problem's `request_id`.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong inside Paceline";
    /// The store or Paceline itself is overloaded. Send the request again after the seconds that `Retry-After` gives.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available at the moment";
}

/// One fault in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// The place in the body, as a JSON pointer in fragment form (RFC 6901, section 6). Left out if the fault is not in
    /// the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/number_pool/3")]
    pub pointer: Option<String>,
    /// The parameter or header with the fault. Left out if the fault is in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The fault, and what to correct. It never repeats a telephone number.
    #[schema(example = "too short to be a telephone number")]
    pub detail: String,
}

impl Fault {
    /// A fault in the body. `path` is a JSON pointer without the `#`: `/number_pool/3`.
    pub fn body(path: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(format!("#{}", path.as_ref())),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// A fault in a query parameter, a path parameter or a header.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.to_owned()),
            detail: detail.into(),
        }
    }
}

/// An error before it is sent.
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
    /// The error in this case, and what to do next.
    #[schema(
        example = "1 of 3 numbers cannot be dialed; nothing was created. Correct or remove it and send again."
    )]
    detail: &'a str,
    /// Every fault. Left out if there is none to name.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    /// The request's id. The log has more under it.
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

    /// There is no object with this id. `what` is its kind, for example `campaign`.
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

    /// One field cannot be used. `path` as in [`Fault::body`].
    pub fn field(path: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self::invalid(
            "Nothing was changed. Correct what `errors` names and send again.",
            vec![Fault::body(path, detail)],
        )
    }

    /// Several fields cannot be used.
    pub fn invalid(detail: impl Into<String>, errors: Vec<Fault>) -> Self {
        Self::new(Kind::Invalid, detail).with_errors(errors)
    }

    /// A fault in Paceline. The cause goes to the log and not to the client.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            cause: Some(Arc::new(cause.into())),
            ..Self::new(
                Kind::Internal,
                "The request failed; what it changed, if anything, was undone. The log tells more under this request_id.",
            )
        }
    }

    /// Paceline is too busy now. The client may send the request again after `retry_after_s` seconds.
    pub fn unavailable(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(Kind::Unavailable, detail)
        }
    }

    /// Adds the fields at fault.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds the time to wait, in seconds.
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a cause for the log.
    pub fn caused_by(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(Arc::new(cause.into()));
        self
    }

    /// The kind of problem.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says, with every fault, for the command line.
    pub fn sentences(&self) -> String {
        let faults = self.errors.iter().map(|fault| format!(" ({})", fault.detail));
        std::iter::once(self.detail.clone()).chain(faults).collect()
    }

    /// The cause, for the log only.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_deref()
    }

    /// The problem for a status that an HTTP layer gave without a problem.
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

    /// The response, with the request's id for the log.
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
