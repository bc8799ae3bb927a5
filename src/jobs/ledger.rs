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
#[derive(Clone, Debug)]
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
            .publish_ledger(&keys.signing, keys.replaced(), &keys.checkpoints, now)
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
        // If this fails, the next start does it.
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

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.work())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, StoreConfig};
    use crate::events::Next;
    use crate::metrics::Metrics;
    use crate::store::{NewFact, StoreMetrics};
    use futures_util::FutureExt as _;
    use paceline_core::time::Wall;
    use paceline_ledger::Kind;
    use uuid::Uuid;

    async fn record(store: &Store) {
        let fact = NewFact {
            kind: Kind::Overlay,
            at: Wall(1),
            number: None,
            campaign: None,
            body: "{}".to_owned(),
        };
        store.record_fact(&fact).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_was_changed_is_an_alarm_until_it_is_back_and_entries_still_get_places() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            store: StoreConfig::sqlite(&folder.path().join("p.db")),
            ..Config::default()
        };
        let store = Store::open(&config.store.shown, StoreMetrics::default())
            .await
            .unwrap();
        let keys = Arc::new(Keys::open(&config, Uuid::nil(), true).unwrap());
        store.keep_ledger(keys.numbers.clone());
        let (metrics, events) = (Metrics::new(), Events::new(Wall(1)));
        let mut alarms = events.read(None);
        let gauges = metrics.ledger();
        let mut job = Ledger::new(
            store.clone(),
            Arc::clone(&keys),
            Clock::real(),
            gauges.clone(),
            events,
        );
        record(&store).await;
        assert_eq!(job.run_once().await.unwrap(), 1);
        assert_eq!(
            (gauges.entries.get(), gauges.checkpoint.get(), gauges.broken.get()),
            (1, 1, 0)
        );
        let file = keys.checkpoints.path();
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, "nonsense").unwrap();
        for size in 2..4 {
            record(&store).await;
            job.published = None;
            let error = job.run_once().await.unwrap_err();
            assert!(matches!(error, StoreError::Ledger(_)), "{error}");
            assert_eq!(
                (gauges.entries.get(), gauges.checkpoint.get(), gauges.broken.get()),
                (size, 1, 1)
            );
        }
        let Some(Next::Event(event)) = alarms.next().now_or_never() else {
            panic!("no alarm")
        };
        let alarm = AlarmKind::LedgerBroken;
        assert!(matches!(&event.what, What::Alarm { alarm: told, .. } if *told == alarm));
        assert_eq!(alarms.next().now_or_never(), None, "it is told once");
        std::fs::write(file, whole).unwrap();
        assert_eq!(job.run_once().await.unwrap(), 0);
        assert_eq!((gauges.checkpoint.get(), gauges.broken.get()), (3, 0));
    }
}
