//! Watches the age of the suppression lists: shows it as metrics, and raises an alarm once for each version of a list whose data is
//! too old. A list that is too old still suppresses its numbers.

use super::Job;
use crate::clock::Clock;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::event::{AlarmKind, What};
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::warn;

/// The job that watches suppression lists.
pub struct Suppression {
    store: Store,
    clock: Clock,
    events: Events,
    metrics: Metrics,
    /// The versions for which the alarm was raised.
    told: BTreeSet<i64>,
}

impl Suppression {
    /// The job's name, by which the API wakes it when a list has changed.
    pub const NAME: &'static str = "suppression";

    /// Creates the job for the lists of this store.
    pub fn new(store: Store, clock: Clock, events: Events, metrics: Metrics) -> Self {
        Self {
            store,
            clock,
            events,
            metrics,
            told: BTreeSet::new(),
        }
    }

    async fn look(&mut self) -> Result<u64, StoreError> {
        let lists = self.store.suppression_lists().await?;
        let now = self.clock.now().wall;
        self.metrics.suppression_lists(&lists, now);
        let old: BTreeSet<i64> = lists
            .iter()
            .filter(|list| list.is_too_old(now))
            .map(|list| list.version)
            .collect();
        for list in lists.iter().filter(|list| old.contains(&list.version)) {
            if self.told.contains(&list.version) {
                continue;
            }
            let (name, days) = (&list.name, list.age(now).as_secs() / 86_400);
            let text = format!(
                "The data of the suppression list `{name}` is {days} days old, which is more than its limit. Download the present one, and \
                 upload it with POST /api/v1/suppression-lists/{name}."
            );
            warn!(list = %name, "{text}");
            let alarm = AlarmKind::SuppressionListOld;
            self.events.tell(now, None, What::Alarm { alarm, text });
        }
        self.told = old;
        Ok(lists.len() as u64)
    }
}

impl Job for Suppression {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.look())
    }
}
