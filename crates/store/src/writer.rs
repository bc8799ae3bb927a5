//! The dialer's writer: one bounded queue, and one task that commits the queued items together in one transaction.
//!
//! In: attempts to prepare and changes, in order. Out: an answer for each attempt, once it is durable or certain
//! never to be stored. A database failure loses nothing: the writer retries the present batch until it succeeds, the
//! queue fills, and the senders wait. Start at [`Writer::prepare`]; the loop is [`Task::run`].

mod apply;
mod batch;
mod claim;
mod plan;
mod suppressed;

pub use claim::PendingPrepare;

#[cfg(test)]
pub(super) use apply::statements;

use super::Store;
use super::error::DbError;
use apply::Failure;
use batch::{Batch, Entry};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{AttemptId, CampaignId, TaskId};
use paceline_core::input::Prepared;
use paceline_runtime::clock::Clock;
use paceline_runtime::metrics::{QueueMetrics, Seconds};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Items in the queue before senders must wait. While the store fails, nothing new is launched, so only the calls
/// that are up still send changes, about ten each. There is room for several thousand such calls, because a campaign
/// that waits here serves no agents.
const QUEUE_SIZE: usize = 65_536;
/// Items in one transaction. This is large enough to store the items of an outage within seconds, even on a slow
/// disk.
const BATCH_SIZE_MAX: usize = 1024;
/// An attempt is written at once, but not sooner than this after the last commit. Items that arrive in between share
/// the next transaction.
const PREPARE_GAP: Duration = Duration::from_millis(250);
/// A change waits this long for more items, unless an attempt arrives.
const CHANGE_DELAY: Duration = Duration::from_millis(250);
/// That a phone rings is needed only after a crash, so it waits longer and seldom needs a transaction of its own.
const RINGING_DELAY: Duration = Duration::from_secs(1);
/// An attempt that is not stored within this time is answered [`Prepared::Failed`] and never stored.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval of the check for complete tasks. It covers only tasks in which a contact is done.
const COMPLETE_GAP: Duration = Duration::from_secs(1);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// Short, so that the writer works again soon after the failure ends.
const RETRY_DELAY_MAX: Duration = Duration::from_millis(500);
/// A transaction longer than the time limit of an attempt counts as a failure from this moment, before it ends.
const SLOW_AFTER: Duration = PREPARE_TIMEOUT;

/// Writes the dialer's changes in batches. Cheap to clone. The task behind it ends when the last clone is dropped and
/// everything is written.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Item>,
    counters: Arc<Counters>,
}

/// Counts since the writer started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Times that a sender waited for room in the queue.
    pub queue_waits: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Items in the committed transactions.
    pub items: u64,
    /// Transactions that failed and were retried.
    pub retries: u64,
    /// Attempts that were answered `Failed`.
    pub prepares_failed: u64,
    /// Changes that were dropped because the database refuses them for good. Each is logged.
    pub changes_dropped: u64,
    /// True if the last transaction failed: nothing can be stored at present.
    pub failing: bool,
}

#[derive(Debug)]
struct Counters {
    queue: QueueMetrics,
    commit: Seconds,
    batches: AtomicU64,
    items: AtomicU64,
    retries: AtomicU64,
    prepares_failed: AtomicU64,
    failing: Arc<AtomicBool>,
    failing_shown: Gauge,
}

enum Item {
    Entry(Entry),
    Flush(oneshot::Sender<()>),
}

impl Counters {
    /// Waits for the store. Reports trouble if that takes too long.
    async fn watch<T>(&self, asked: impl Future<Output = T>) -> T {
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            () = tokio::time::sleep(SLOW_AFTER) => self.note_trouble(&"it has not answered in time"),
        }
        asked.await
    }

    fn note_trouble(&self, error: &dyn std::fmt::Display) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            self.failing_shown.set(1);
            tracing::warn!(%error, "the store cannot write; changes are kept and repeated, and nothing is launched; check the database and the disk");
        }
    }
}

impl Store {
    /// Starts a writer on the current runtime. Start one per process: items keep their order only within one writer.
    pub fn writer(&self) -> Writer {
        self.writer_in(&Clock::real())
    }

    /// As [`Store::writer`]; `clock` scales the gap between commits.
    pub fn writer_in(&self, clock: &Clock) -> Writer {
        let (queue, items) = mpsc::channel(QUEUE_SIZE);
        let counters = Arc::new(Counters {
            queue: self.metrics.changes.clone(),
            commit: self.metrics.commit.clone(),
            batches: AtomicU64::new(0),
            items: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            prepares_failed: AtomicU64::new(0),
            failing: Arc::clone(&self.failing),
            failing_shown: self.metrics.failing.clone(),
        });
        let task = Task {
            store: self.clone(),
            items,
            counters: Arc::clone(&counters),
            flushes: Vec::new(),
            touched: BTreeSet::new(),
            completed_at: Instant::now(),
            prepare_gap: clock.real_duration(PREPARE_GAP),
        };
        tokio::spawn(task.run());
        Writer { queue, counters }
    }
}

impl Writer {
    /// Queues an attempt to be stored with its leg and its decision, if the gate allows it again. Waits while the
    /// queue is full. The returned future gives the result; dropping it cancels the attempt if the writer has not
    /// claimed it yet.
    pub async fn prepare(&self, attempt: NewAttempt, policy: Arc<CampaignPolicy>) -> PendingPrepare {
        let deadline = Instant::now() + PREPARE_TIMEOUT;
        let (claim, pending) = claim::pair(deadline);
        let entry = Entry::Prepare(Box::new(batch::Prepare {
            attempt,
            policy,
            queued_at: Instant::now(),
            claim,
        }));
        self.send(Item::Entry(entry)).await;
        pending
    }

    /// Queues a change. Waits while the queue is full.
    pub async fn change(&self, campaign: CampaignId, change: Change) {
        self.send(Item::Entry(Entry::Change(campaign, Box::new(change))))
            .await;
    }

    /// Returns when everything queued before is stored. While the database fails, it does not return.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Item::Flush(done)).await;
        // On an error the task has ended, and there is nothing left to wait for.
        flushed.await.ok();
    }

    /// The counts so far.
    pub fn stats(&self) -> WriterStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterStats {
            queue_waits: self.counters.queue.stalls.get(),
            batches: get(&self.counters.batches),
            items: get(&self.counters.items),
            retries: get(&self.counters.retries),
            prepares_failed: get(&self.counters.prepares_failed),
            changes_dropped: self.counters.queue.dropped.get(),
            failing: self.counters.failing.load(Ordering::Relaxed),
        }
    }

    async fn send(&self, item: Item) {
        let item = match self.queue.try_send(item) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.counters.queue.stalls.inc();
                item
            }
            Err(mpsc::error::TrySendError::Closed(item)) => item,
        };
        if self.queue.send(item).await.is_err() {
            tracing::error!(
                "the store's writer has stopped; a change is lost, and the next start settles its attempt; restart Paceline"
            );
        }
    }
}

struct Task {
    store: Store,
    items: mpsc::Receiver<Item>,
    counters: Arc<Counters>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Tasks in which a contact was done since the last check for complete tasks.
    touched: BTreeSet<TaskId>,
    completed_at: Instant,
    prepare_gap: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut last_commit = Instant::now();
        while let Some(item) = self.next().await {
            let entries = self.gather(item, last_commit).await;
            self.show_depth(entries.len());
            if !entries.is_empty() {
                self.write(entries).await;
                last_commit = Instant::now();
                self.show_depth(0);
            }
            if !self.flushes.is_empty() || self.completed_at.elapsed() >= COMPLETE_GAP {
                self.complete_touched().await;
            }
            for done in self.flushes.drain(..) {
                done.send(()).ok();
            }
        }
        self.complete_touched().await;
    }

    fn show_depth(&self, in_hand: usize) {
        let depth = self.items.len().saturating_add(in_hand);
        self.counters
            .queue
            .depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Returns the next item. Checks for complete tasks while it waits.
    async fn next(&mut self) -> Option<Item> {
        while !self.touched.is_empty() {
            let ask_at = self.completed_at + COMPLETE_GAP;
            match tokio::time::timeout_at(ask_at, self.items.recv()).await {
                Ok(item) => return item,
                Err(_) => self.complete_touched().await,
            }
        }
        self.items.recv().await
    }

    /// Collects the entries that share a transaction with `first`.
    async fn gather(&mut self, first: Item, last_commit: Instant) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut write_at = Instant::now() + RINGING_DELAY;
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Entry(entry) => {
                    write_at = write_at.min(self.write_at(&entry, last_commit));
                    entries.push(entry);
                }
                Item::Flush(done) => {
                    self.flushes.push(done);
                    break;
                }
            }
            if entries.len() >= BATCH_SIZE_MAX {
                break;
            }
            next = match self.items.try_recv() {
                Ok(item) => Some(item),
                Err(_) => tokio::time::timeout_at(write_at, self.items.recv())
                    .await
                    .ok()
                    .flatten(),
            };
        }
        entries
    }

    /// Time when an entry must be written at the latest.
    fn write_at(&self, entry: &Entry, last_commit: Instant) -> Instant {
        let now = Instant::now();
        match entry {
            Entry::Prepare(_) => (now + CHANGE_DELAY).min(last_commit + self.prepare_gap),
            Entry::Change(_, change) if matches!(**change, Change::LegProgressed { .. }) => {
                now + RINGING_DELAY
            }
            Entry::Change(..) | Entry::GiveBack(..) => now + CHANGE_DELAY,
        }
    }

    /// Writes all entries, however long it takes. If the database refuses a part for good, halving finds the entries
    /// at fault.
    async fn write(&mut self, entries: Vec<Entry>) {
        let mut parts = VecDeque::from([entries]);
        while let Some(part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let Err(mut refused) = self.write_part(part).await else {
                continue;
            };
            if refused.entries.len() > 1 {
                let rest = refused.entries.split_off(refused.entries.len() / 2);
                parts.push_front(rest);
                parts.push_front(refused.entries);
            } else {
                let back = self.drop_refused(refused);
                parts.push_front(back);
            }
        }
    }

    /// Drops entries that cannot be stored. Returns the entries that must be stored in their place.
    fn drop_refused(&self, refused: Refused) -> Vec<Entry> {
        let error = &refused.error;
        let mut back = Vec::new();
        for entry in refused.entries {
            match entry {
                Entry::Prepare(prepare) => {
                    self.counters.prepares_failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(attempt.id = %prepare.attempt.attempt, error, "an attempt cannot be stored");
                    let lead = &prepare.attempt.lead;
                    back.push(Entry::GiveBack(
                        lead.task,
                        lead.contact,
                        prepare.attempt.created_at,
                    ));
                    prepare.claim.answer(Prepared::Failed);
                }
                Entry::Change(campaign, change) => {
                    self.counters.queue.dropped.inc();
                    let kind = batch::kind(&change);
                    tracing::error!(campaign.id = %campaign, change = kind, error, "a change cannot be stored");
                }
                Entry::GiveBack(..) => tracing::error!(error, "a contact cannot be given back"),
            }
        }
        back
    }

    /// Writes a batch in one transaction. Retries until the database stores or refuses it.
    async fn write_part(&mut self, mut entries: Vec<Entry>) -> Result<(), Refused> {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let counters = Arc::clone(&self.counters);
            match counters.watch(self.try_part(&mut entries)).await {
                Tried::Stored(answers) => {
                    self.answer(entries, &answers);
                    return Ok(());
                }
                Tried::Refused(error) => {
                    release(&entries);
                    return Err(Refused { entries, error });
                }
                Tried::Failed(error) => {
                    release(&entries);
                    self.note_failure(&error);
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    async fn try_part(&mut self, entries: &mut [Entry]) -> Tried {
        // An attempt can still be given up while it waits for a connection, so the claims come after it.
        let tx = match self.store.pools.begin().await {
            Ok(tx) => tx,
            Err(error) => return Tried::Failed(error),
        };
        self.expire(entries);
        let batch = Batch::merge(entries);
        let lists = match self.store.lists() {
            Ok(lists) => lists,
            Err(error) => return Tried::Failed(error),
        };
        let started = Instant::now();
        let answers = match apply::write(tx, &batch, &lists).await {
            Ok((answers, decisions)) => {
                self.counters.commit.observe(started.elapsed());
                self.store.count_decisions(&decisions);
                answers
            }
            Err(Failure::NotStored(error)) if error.is_passing() => return Tried::Failed(error),
            Err(Failure::NotStored(error)) => return Tried::Refused(error.to_string()),
            Err(Failure::Unknown(error, answers)) => {
                self.note_failure(&error);
                if !self.is_stored(&answers).await {
                    return Tried::Failed(error);
                }
                answers
            }
        };
        self.settled(&batch, entries.len());
        Tried::Stored(answers)
    }

    /// Claims every attempt that is still wanted. Replaces each of the others by giving back its contact.
    fn expire(&self, entries: &mut [Entry]) {
        for entry in entries {
            let Entry::Prepare(prepare) = entry else { continue };
            if !prepare.claim.claim() {
                self.counters.prepares_failed.fetch_add(1, Ordering::Relaxed);
                let lead = &prepare.attempt.lead;
                *entry = Entry::GiveBack(lead.task, lead.contact, prepare.attempt.created_at);
            }
        }
    }

    /// True if a commit with an unknown result took place. Asks until the database answers.
    async fn is_stored(&self, answers: &BTreeMap<AttemptId, apply::Answer>) -> bool {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            match self.store.was_stored(answers).await {
                Ok(stored) => return stored,
                Err(error) => self.note_failure(&error),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    fn settled(&mut self, batch: &Batch<'_>, items: usize) {
        self.touched.extend(batch.tasks_touched());
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.counters
            .items
            .fetch_add(u64::try_from(items).unwrap_or(0), Ordering::Relaxed);
        self.note_success();
    }

    fn answer(&mut self, entries: Vec<Entry>, answers: &BTreeMap<AttemptId, apply::Answer>) {
        for entry in entries {
            let Entry::Prepare(prepare) = entry else { continue };
            let answer = answers.get(&prepare.attempt.attempt);
            if answer.is_some_and(|answer| answer.prepared == Prepared::Refused) {
                self.touched.insert(prepare.attempt.lead.task);
            }
            prepare
                .claim
                .answer(answer.map_or(Prepared::Failed, |answer| answer.prepared));
        }
    }

    fn note_success(&self) {
        if self.counters.failing.swap(false, Ordering::Relaxed) {
            self.counters.failing_shown.set(0);
            tracing::info!("the store can write again, and launching resumes");
        }
    }

    fn note_failure(&self, error: &DbError) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.counters.note_trouble(error);
    }

    async fn complete_touched(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        self.completed_at = Instant::now();
        match self
            .counters
            .watch(self.store.complete_tasks(&self.touched))
            .await
        {
            Ok(()) => {
                self.touched.clear();
                self.note_success();
            }
            // The tasks stay in the set, so the next check covers them.
            Err(error) => self.note_failure(&error),
        }
    }
}

/// Releases the claims of attempts that were not stored.
fn release(entries: &[Entry]) {
    for entry in entries {
        if let Entry::Prepare(prepare) = entry {
            prepare.claim.release();
        }
    }
}

/// The result of one transaction.
enum Tried {
    Stored(BTreeMap<AttemptId, apply::Answer>),
    /// The database will never store it, for this reason.
    Refused(String),
    /// Nothing is stored. A retry may succeed.
    Failed(DbError),
}

/// Entries that the database will never store together.
struct Refused {
    entries: Vec<Entry>,
    error: String,
}
