//! Deletes rows that the dialer does not need, once they are older than the settings under `[retention]` allow. The job deletes a few
//! hundred rows of one kind at a time. After each slice it sleeps for as long as the slice took, so that the dialer's writes wait for
//! one slice at most.

use super::Job;
use crate::clock::Clock;
use crate::config::RetentionConfig;
use crate::store::{Expiring, Failures, Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::time::Wall;
use std::time::{Duration, Instant};
use tracing::info;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The job that deletes old rows.
#[derive(Debug)]
pub struct Retention {
    /// The store with the rows.
    pub store: Store,
    /// The clock that gives the age of a row.
    pub clock: Clock,
    /// The number of days that rows of each kind are kept.
    pub keep: RetentionConfig,
}

impl Retention {
    async fn delete_expired(&self) -> Result<u64, StoreError> {
        let (mut deleted, mut failures) = (0_u64, Failures::default());
        for kind in Expiring::ALL {
            match self.delete_expired_of(kind).await {
                Ok(rows) => deleted = deleted.saturating_add(rows),
                Err(error) => failures.note(format!("the rows of {}", kind.table()), error),
            }
        }
        failures.none()?;
        Ok(deleted)
    }

    async fn delete_expired_of(&self, kind: Expiring) -> Result<u64, StoreError> {
        let days = match kind {
            Expiring::Audit => self.keep.audit_days,
            Expiring::Decisions => self.keep.decisions_days,
            Expiring::ImportRejects => self.keep.import_rejects_days,
            Expiring::LedgerDecisions => self.keep.decisions_days,
            Expiring::LedgerOptOuts => self.keep.opt_outs_days,
            Expiring::OutsideAnswers => self.keep.outside_answers_days,
        };
        let mut deleted = 0_u64;
        // A clock that has jumped ahead makes every row look old.
        while !self.clock.is_doubted() {
            let now = self.clock.now().wall;
            let before = Wall(now.0.saturating_sub(i64::from(days) * DAY_MS));
            let began = Instant::now();
            let slice = self.store.delete_expired(kind, before, now).await?;
            if slice == 0 {
                break;
            }
            deleted = deleted.saturating_add(slice);
            tokio::time::sleep(began.elapsed()).await;
        }
        if deleted > 0 {
            info!(
                "{deleted} rows of {} were older than {days} days and are deleted",
                kind.table()
            );
        }
        Ok(deleted)
    }
}

impl Job for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60 * 60)
    }

    /// One slice is short, but there may be millions of rows.
    fn patience(&self) -> Duration {
        Duration::from_secs(2 * 60 * 60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.delete_expired())
    }
}
