//! `Idempotency-Key`: the same request sent twice creates once.
//!
//! The key is kept in the task's row for as long as the row, so a repeat is recognised across restarts. It belongs to
//! the API key that sent it and to the route, so two clients cannot take each other's.

use super::super::Caller;
use super::super::problem::{ApiResult, Fault, Kind, Problem};
use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

/// The header.
pub(crate) const HEADER: &str = "idempotency-key";
const LENGTH_MAX: usize = 200;

/// The data that a task's row keeps of the request that created it.
pub(crate) struct Idempotency {
    scope: String,
    /// SHA-256 of the body.
    pub(crate) hash: [u8; 32],
}

impl Idempotency {
    /// Reads the header, if it is there.
    pub(crate) fn read(
        headers: &HeaderMap,
        caller: Caller,
        route: &str,
        body: &[u8],
    ) -> ApiResult<Option<Self>> {
        let Some(value) = headers.get(HEADER) else {
            return Ok(None);
        };
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=LENGTH_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
        let Some(key) = key else {
            let detail = format!("1 to {LENGTH_MAX} visible ASCII characters, such as a UUID");
            return Err(Problem::new(
                Kind::BadParameter,
                "The Idempotency-Key header cannot be used; nothing was created.",
            )
            .with_errors(vec![Fault::parameter("Idempotency-Key", detail)]));
        };
        Ok(Some(Self {
            scope: format!("{}/{route}/{key}", caller.key),
            hash: Sha256::digest(body).into(),
        }))
    }

    /// The row's key for the `n`th task of the request.
    pub(crate) fn row_key(&self, n: usize) -> String {
        format!("{n}/{}", self.scope)
    }

    /// The problem for a key that came with another body before.
    pub(crate) fn reused() -> Problem {
        Problem::new(
            Kind::IdempotencyKeyReused,
            "This Idempotency-Key came with another body before; nothing was created. Send a fresh key with a new request, \
             and the same body with an old key.",
        )
    }
}
