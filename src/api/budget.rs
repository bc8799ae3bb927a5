//! Limits the memory for the bodies of all requests together. In: a body's length and the number of its values. Out:
//! permission to keep it until its request ends.
//!
//! A body is charged for its bytes before they are read, and for its values before they are parsed.

use super::problem::{Kind, Problem};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Smaller bodies are not counted. Only a few requests run at once, so their memory is small.
pub(super) const SMALL_BYTES_MAX: usize = 64 * 1024;
/// A body is in memory three times: as received, as parsed values during the checks, and in the form that is stored.
const BYTES_PER_BYTE: usize = 3;
const BYTES_MAX: usize = 96 * 1024 * 1024;
/// Bytes of a parsed value beside its text: its place in a list or map, and the map itself.
const BYTES_PER_VALUE: usize = 96;
/// 10,000 contacts with 64 attributes each have fewer values.
const VALUES_MAX: usize = 700_000;
const VALUES_BYTES_MAX: usize = VALUES_MAX * BYTES_PER_VALUE;
/// Maximum time that a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
const KIB: usize = 1024;

/// The memory of all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    /// A separate limit: a request whose body has been read never waits for one whose body has not.
    values: Arc<Semaphore>,
}

/// The memory of one request, held until the request ends.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    budget: Budget,
    held: Arc<Mutex<Vec<OwnedSemaphorePermit>>>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(BYTES_MAX / KIB)),
            values: Arc::new(Semaphore::new(VALUES_BYTES_MAX / KIB)),
        }
    }

    /// A charge for one request, empty at first.
    pub(super) fn charge(&self) -> Charge {
        Charge {
            budget: self.clone(),
            held: Arc::default(),
        }
    }
}

impl Charge {
    /// Waits until the body's bytes may be read. Errors with `unavailable` after 10 s.
    pub(super) async fn bytes(&self, bytes: usize) -> Result<(), Problem> {
        if bytes <= SMALL_BYTES_MAX {
            return Ok(());
        }
        self.hold(&self.budget.bytes, bytes.saturating_mul(BYTES_PER_BYTE))
            .await
    }

    /// Waits until this body may be parsed. Errors with `unavailable` after 10 s, and with `body-too-large` if it has
    /// too many values.
    pub(super) async fn values(&self, body: &[u8]) -> Result<(), Problem> {
        if body.len() <= SMALL_BYTES_MAX {
            return Ok(());
        }
        // An upper bound: each value but the first of a list or map comes after a comma, and the first after a bracket.
        let values = memchr::memchr3_iter(b',', b'[', b'{', body).count();
        if values > VALUES_MAX {
            return Err(Problem::new(
                Kind::BodyTooLarge,
                format!("The body may have at most {VALUES_MAX} values. Split it."),
            ));
        }
        self.hold(&self.budget.values, values.saturating_mul(BYTES_PER_VALUE))
            .await
    }

    /// Frees all memory of the request.
    pub(super) fn release(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn hold(&self, of: &Arc<Semaphore>, bytes: usize) -> Result<(), Problem> {
        let kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX);
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(of).acquire_many_owned(kib)).await;
        let permit = permit.ok().and_then(Result::ok).ok_or_else(|| {
            Problem::unavailable(
                "Too many large bodies are being read. Send this one again, or split it.",
                5,
            )
        })?;
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(permit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::BODY_BYTES_MAX;
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn the_largest_body_fits_and_no_more_than_fit_are_read_at_once() {
        let budget = Budget::new();
        let charges: Vec<Charge> = (0..60).map(|_| budget.charge()).collect();
        let read = |charge: &Charge| {
            charge
                .bytes(BODY_BYTES_MAX)
                .now_or_never()
                .is_some_and(|r| r.is_ok())
        };
        let at_once = charges.iter().filter(|charge| read(charge)).count();
        assert!(
            (1..=BYTES_MAX / BYTES_PER_BYTE / BODY_BYTES_MAX).contains(&at_once),
            "{at_once}"
        );
        let small = budget.charge();
        assert!(
            small.bytes(SMALL_BYTES_MAX).now_or_never().is_some(),
            "small ones do not wait"
        );
        charges.iter().for_each(Charge::release);
        assert!(read(&small));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_nothing_but_values_wait_for_each_other_and_absurd_ones_are_refused() {
        let budget = Budget::new();
        let many = vec![b','; VALUES_MAX];
        let (first, second) = (budget.charge(), budget.charge());
        first.values(&many).await.unwrap();
        let waited = second.values(&many).await.unwrap_err();
        assert_eq!(waited.kind(), Kind::Unavailable);
        first.release();
        second.values(&many).await.unwrap();
        let absurd = first.values(&vec![b'['; VALUES_MAX + 1]).await.unwrap_err();
        assert_eq!(absurd.kind(), Kind::BodyTooLarge);
    }
}
