//! The client of the outside check: sends numbers to the configured service and reads its answers. It decides nothing.
//!
//! In: numbers. Out: the answers as the service claims them, or a [`ServiceError`]. Errors contain no number: neither the body of
//! the request nor that of the reply is repeated.

use crate::config::OutsideCheckConfig;
use jiff::Timestamp;
use paceline_core::number::E164;
use paceline_core::outside::{ClaimedAnswer, OutsideVerdict};
use paceline_core::time::Wall;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// The longest reply. 500 answers take about 150 kB.
const BODY_BYTES_MAX: usize = 1 << 20;
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// The configured service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OutsideClient {
    client: reqwest::Client,
    url: String,
    authorization: Option<HeaderValue>,
}

/// The service gave no usable reply.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The HTTP client cannot be made.
    #[error("cannot create an HTTP client for the outside check: check this machine's TLS set-up")]
    Client(#[source] reqwest::Error),
    /// The secret cannot be sent in a header.
    #[error(
        "the secret of the outside check contains characters that HTTP does not allow: write it into `secret_file` again"
    )]
    Secret,
    /// No reply, or half of one.
    #[error(
        "the service of the outside check does not answer in time, or not completely: check `url` under [outside_check], and the service"
    )]
    Unreachable(#[source] reqwest::Error),
    /// A reply that is no success.
    #[error(
        "the service of the outside check answered with the HTTP status {status}: check `url` and the secret under [outside_check], or ask its operator"
    )]
    Status {
        /// The HTTP status.
        status: u16,
        /// The wait that the service asks for.
        retry_after: Option<Duration>,
    },
    /// A reply of any length.
    #[error(
        "the reply of the service is longer than {BODY_BYTES_MAX} bytes: check that `url` under [outside_check] is the service's"
    )]
    TooLong,
    /// A reply that is not the expected JSON.
    #[error(
        "the reply of the service is not the JSON that docs/outside-checks.md describes (line {line}, column {column}): ask its operator"
    )]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A reply without an answer for any number.
    #[error("the reply of the service has no usable answer for any number: ask its operator")]
    NothingUsable,
}

#[derive(Serialize)]
struct Question<'a> {
    numbers: &'a [E164],
}

#[derive(Deserialize)]
struct Reply {
    /// One by one, so that a wrong answer does not spoil the others.
    answers: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Answer {
    number: E164,
    verdict: OutsideVerdict,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    line_type: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    evidence_id: Option<String>,
    expires_at: String,
}

impl OutsideClient {
    /// Sets up TLS and the secret. Connects nowhere yet.
    pub fn new(config: &OutsideCheckConfig) -> Result<Self, ServiceError> {
        // Another part of the process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WAIT_MAX.min(config.timeout))
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ServiceError::Client)?;
        let authorization = config.secret.as_ref().map(|secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret()))
                .map_err(|_| ServiceError::Secret)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            client,
            url: config.url.clone(),
            authorization: authorization.transpose()?,
        })
    }

    /// Asks for these numbers. Answers that cannot be read are left out.
    pub async fn ask(&self, numbers: &[E164]) -> Result<Vec<ClaimedAnswer>, ServiceError> {
        let mut request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("paceline/", env!("CARGO_PKG_VERSION")))
            .json(&Question { numbers });
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let unreachable = |error: reqwest::Error| ServiceError::Unreachable(error.without_url());
        let mut reply = request.send().await.map_err(unreachable)?;
        if reply.status() != StatusCode::OK {
            let retry_after = reply.headers().get(RETRY_AFTER);
            let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(ServiceError::Status {
                status: reply.status().as_u16(),
                retry_after: seconds.map(Duration::from_secs),
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
                return Err(ServiceError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        // The text of a JSON error may repeat a number, so only its place is kept.
        let reply: Reply = serde_json::from_slice(&body).map_err(|error| ServiceError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        Ok(reply
            .answers
            .iter()
            .filter_map(|answer| claimed(answer))
            .collect())
    }
}

/// The answer, or `None` if it cannot be read.
fn claimed(answer: &RawValue) -> Option<ClaimedAnswer> {
    let answer: Answer = serde_json::from_str(answer.get()).ok()?;
    let until = answer.until.as_deref().map(wall);
    if until == Some(None) {
        return None;
    }
    Some(ClaimedAnswer {
        number: answer.number,
        verdict: answer.verdict,
        until: until.flatten(),
        line: answer.line_type.and_then(|line| line.parse().ok()),
        reason: answer.reason.unwrap_or_default(),
        evidence: answer.evidence_id,
        expires_at: wall(&answer.expires_at)?,
    })
}

/// A time in RFC 3339.
fn wall(text: &str) -> Option<Wall> {
    let at: Timestamp = text.parse().ok()?;
    Some(Wall(at.as_millisecond()))
}
