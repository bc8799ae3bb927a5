//! Asks the service of the outside check about numbers ahead of their calls, and stores the answers. The core's `Asking` decides
//! when and for how many numbers at once. A number with a valid answer is not asked again.
//!
//! If the process stops between a request and the storing of its answers, the numbers are asked again.

use super::Job;
use crate::clock::Clock;
use crate::config::OutsideCheckConfig;
use crate::events::Events;
use crate::metrics::{Metrics, OutsideMetrics};
use crate::outside_service::{OutsideClient, ServiceError};
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::event::{AlarmKind, What};
use paceline_core::number::E164;
use paceline_core::outside::{Asking, AskingLimits, OutsideAnswer, OutsideService, Turn, accept};
use paceline_core::time::{Now, Wall};
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::{info, warn};

/// The job that asks the service.
pub struct OutsideChecks {
    store: Store,
    clock: Clock,
    events: Events,
    metrics: OutsideMetrics,
    client: OutsideClient,
    ask_ahead: Duration,
    open_because: Option<String>,
    asking: Asking,
    /// Since when the service is out.
    out_since: Option<Wall>,
    /// The state that the store has. `None`: not stored by this run yet.
    stored: Option<OutsideService>,
    /// Answers that the store could not take. They are stored before the next request, so that no number is asked twice.
    unsaved: BTreeMap<E164, OutsideAnswer>,
    trouble: Option<String>,
    /// The time until the next run.
    wait: Duration,
}

/// A task that starts is noticed at once, because the API wakes this job. Contacts that become due are noticed within this time.
const LOOK_EVERY: Duration = Duration::from_secs(15);

impl OutsideChecks {
    /// The job's name, by which the API wakes it when there is a new task.
    pub const NAME: &'static str = "outside_checks";

    /// Creates the job for the contacts of this store.
    pub fn new(
        store: Store,
        clock: Clock,
        events: Events,
        metrics: &Metrics,
        client: OutsideClient,
        config: &OutsideCheckConfig,
    ) -> Self {
        Self {
            store,
            clock,
            events,
            metrics: metrics.outside(),
            client,
            ask_ahead: config.ask_ahead,
            open_because: config.open_because.clone(),
            asking: Asking::new(AskingLimits {
                batch_max: config.batch_size,
                requests_per_minute: config.requests_per_minute,
            }),
            out_since: None,
            stored: None,
            unsaved: BTreeMap::new(),
            trouble: None,
            wait: LOOK_EVERY,
        }
    }

    async fn look(&mut self) -> Result<u64, StoreError> {
        self.save().await?;
        self.store_service().await?;
        let now = self.clock.now();
        let limit = match self.asking.turn(now.mono) {
            Turn::Send(limit) => limit,
            Turn::Wait(wait) => {
                self.wait = wait;
                return Ok(0);
            }
        };
        let numbers = self.next_numbers(now, limit).await?;
        self.metrics
            .waiting
            .set(i64::try_from(numbers.len()).unwrap_or(i64::MAX));
        self.wait = LOOK_EVERY;
        if numbers.is_empty() {
            return Ok(0);
        }
        let done = self.ask(&numbers, now).await;
        self.save().await?;
        self.store_service().await?;
        if let Turn::Wait(wait) = self.asking.turn(self.clock.now().mono) {
            self.wait = wait;
        } else {
            self.wait = Duration::ZERO;
        }
        Ok(done)
    }

    /// The numbers to ask now. Campaigns share the limit.
    async fn next_numbers(&self, now: Now, limit: usize) -> Result<Vec<E164>, StoreError> {
        let campaigns = self.store.campaigns_with_outside_check().await?;
        let due_by = now.wall.plus(self.ask_ahead);
        let mut numbers: Vec<E164> = Vec::new();
        for (n, campaign) in campaigns.iter().enumerate() {
            let left = limit.saturating_sub(numbers.len());
            let share = left.div_ceil(campaigns.len().saturating_sub(n).max(1));
            let found = self.store.unchecked_numbers(*campaign, now.wall, due_by, share);
            numbers.extend(found.await?);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Sends one request. Returns the number of answers.
    async fn ask(&mut self, numbers: &[E164], now: Now) -> u64 {
        self.asking.sent(now.mono);
        self.metrics.asked.inc_by(numbers.len() as u64);
        let replied = self.client.ask(numbers).await;
        let now = self.clock.now();
        let accepted = replied.map(|claimed| accept(numbers, claimed, now.wall));
        match accepted {
            Ok(accepted) if accepted.unanswered < numbers.len() => {
                let answers = (accepted.answers.len() - accepted.unanswered) as u64;
                for answer in accepted.answers.values() {
                    self.metrics.answered(answer.verdict);
                }
                self.metrics.succeeded(now.wall);
                self.unsaved.extend(accepted.answers);
                self.trouble = None;
                self.out_since = None;
                if self.asking.succeeded() {
                    info!("the service of the outside check answers again");
                }
                answers
            }
            Ok(_) => self.failed(ServiceError::NothingUsable, now),
            Err(error) => self.failed(error, now),
        }
    }

    fn failed(&mut self, error: ServiceError, now: Now) -> u64 {
        self.metrics.failures.inc();
        let retry_after = match &error {
            ServiceError::Status { retry_after, .. } => *retry_after,
            ServiceError::Client(_)
            | ServiceError::Secret
            | ServiceError::Unreachable(_)
            | ServiceError::TooLong
            | ServiceError::NotJson { .. }
            | ServiceError::NothingUsable => None,
        };
        let text = format!("{:#}", anyhow::Error::from(error));
        if self.asking.failed(now.mono, retry_after) {
            self.out_since = Some(now.wall);
            let meanwhile = if self.open_because.is_some() {
                "are called meanwhile, as `on_outage` under [outside_check] says"
            } else {
                "are not called meanwhile"
            };
            let text = format!("{text}. Numbers without a valid answer {meanwhile}.");
            warn!("{text}");
            let alarm = AlarmKind::OutsideCheckOut;
            self.events.tell(now.wall, None, What::Alarm { alarm, text });
        }
        self.trouble = Some(text);
        0
    }

    async fn save(&mut self) -> Result<(), StoreError> {
        if !self.unsaved.is_empty() {
            self.store.add_outside_answers(&self.unsaved).await?;
            self.unsaved.clear();
        }
        Ok(())
    }

    /// Stores the state of the service, if it has changed.
    async fn store_service(&mut self) -> Result<(), StoreError> {
        let service = match (self.out_since, &self.open_because) {
            (None, _) => OutsideService::Works,
            (Some(since), None) => OutsideService::Out { since },
            (Some(since), Some(because)) => OutsideService::OutAndOpen {
                since,
                because: because.clone(),
            },
        };
        if self.stored.as_ref() != Some(&service) {
            self.store.set_outside_service(&service).await?;
            self.metrics.out.set(i64::from(service != OutsideService::Works));
            self.stored = Some(service);
        }
        Ok(())
    }
}

impl Job for OutsideChecks {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        self.wait
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.look())
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
