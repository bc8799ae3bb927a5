//! Gives the ledger's entries their places every few seconds, and publishes a signed checkpoint every ten seconds if there are new ones.
//! If a checkpoint cannot be published, because the file of checkpoints or the database went back or was changed, it raises an alarm
//! and goes on giving places: nothing is lost, and nothing wrong is signed.

use super::Job;
use crate::clock::Clock;
use crate::events::Events;
use crate::ledger::Keys;
use crate::metrics::LedgerMetrics;
use crate::store::{LedgerError, Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::event::{AlarmKind, What};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::error;

/// The time between two checkpoints while entries arrive. What was stored since the last checkpoint is not yet signed.
const PUBLISH_EVERY: Duration = Duration::from_secs(10);
/// The time between two comparisons of file, table and log while none arrive.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// The job that numbers entries and publishes checkpoints.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    keys: Arc<Keys>,
    clock: Clock,
    metrics: LedgerMetrics,
    events: Events,
    /// The last time that file, table and log agreed, and the size of the log then.
    published: Option<(Instant, u64)>,
    /// The alarm was raised and has not ended.
    alarmed: bool,
}

impl Ledger {
    /// The job for this store.
    pub fn new(store: Store, keys: Arc<Keys>, clock: Clock, metrics: LedgerMetrics, events: Events) -> Self {
        Self {
            store,
            keys,
            clock,
            metrics,
            events,
            published: None,
            alarmed: false,
        }
    }

    async fn work(&mut self) -> Result<u64, StoreError> {
        let (numbered, size) = self.number().await?;
        let is_due = self.published.is_none_or(|(at, published)| {
            let every = if published == size {
                COMPARE_EVERY
            } else {
                PUBLISH_EVERY
            };
            at.elapsed() >= every
        });
        if is_due {
            self.publish().await?;
        }
        Ok(numbered)
    }

    /// Returns how many entries got their places, and the size of the log.
    async fn number(&mut self) -> Result<(u64, u64), StoreError> {
        let mut numbered = 0_u64;
        loop {
            let state = self.store.number_ledger().await?;
            let now = self.clock.now().wall;
            let age = state.oldest_pending_at.map_or(Duration::ZERO, |at| now.since(at));
            self.metrics.pending.set(whole(age.as_secs()));
            self.metrics.entries.set(whole(state.size));
            numbered = numbered.saturating_add(state.numbered);
            if state.numbered == 0 {
                return Ok((numbered, state.size));
            }
        }
    }

    async fn publish(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now().wall;
        let keys = &self.keys;
        let published = self
            .store
            .publish_ledger(&keys.signing, &keys.checkpoints, now)
            .await;
        match published {
            Ok(published) => {
                self.metrics.checkpoint.set(whole(published.size));
                self.metrics.broken.set(0);
                (self.published, self.alarmed) = (Some((Instant::now(), published.size)), false);
                Ok(())
            }
            Err(LedgerError::Store(error)) => Err(error),
            Err(error) => {
                self.metrics.broken.set(1);
                if !self.alarmed {
                    error!("no checkpoint of the ledger is published: {error}");
                    let text = format!("No checkpoint of the ledger is published: {error}.");
                    let alarm = AlarmKind::LedgerBroken;
                    self.events.tell(now, None, What::Alarm { alarm, text });
                }
                self.alarmed = true;
                Err(StoreError::Ledger(Box::new(error)))
            }
        }
    }

    /// Numbers and publishes what is left when the process stops.
    pub async fn finish(mut self) {
        // What fails now is done after the next start.
        if self.number().await.is_ok() {
            self.publish().await.ok();
        }
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Job for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn turn(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.work())
    }
}
