//! Leases, attempts, ends, returns and restarts in any order: no number is leased twice at once, no contact is lost,
//! and no lease is left at the end.

use crate::support::{Campaign, Db, NOW, number};
use paceline_core::command::NewAttempt;
use paceline_core::ids::TaskId;
use paceline_core::input::{Lead, Prepared};
use paceline_core::outcome::Outcome;
use paceline_core::requeue::Requeue;
use paceline_core::time::Wall;
use paceline_store::{Requeued, Writer};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

const RETRY: Duration = Duration::from_secs(90);

#[derive(Clone, Debug)]
enum Step {
    Lease(usize),
    Prepare(usize),
    End { which: usize, retry: bool, flush: bool },
    GiveBack(usize),
    Restart,
    Requeue,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..6usize).prop_map(Step::Lease),
        4 => (0..8usize).prop_map(Step::Prepare),
        4 => (0..8usize, any::<bool>(), any::<bool>()).prop_map(|(which, retry, flush)| Step::End { which, retry, flush }),
        1 => (0..8usize).prop_map(Step::GiveBack),
        1 => Just(Step::Restart),
        1 => Just(Step::Requeue),
        2 => (1..120u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

pub(crate) async fn no_interleaving_loses_a_contact_or_holds_a_number_twice(db: &Db) {
    let cases = if db.is_sqlite() { 24 } else { 12 };
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let names = AtomicU64::new(0);
    tokio::task::block_in_place(|| {
        let run = |steps: Vec<Step>| {
            let name = format!("run-{}", names.fetch_add(1, Ordering::Relaxed));
            Handle::current().block_on(run(db, &name, steps));
            Ok(())
        };
        runner.run(&steps(), run).unwrap();
    });
}

struct World<'a> {
    db: &'a Db,
    campaign: Campaign<'a>,
    writer: Writer,
    tasks: [TaskId; 2],
    now: Wall,
    hopper: Vec<Lead>,
    open: Vec<NewAttempt>,
}

async fn run(db: &Db, name: &str, steps: Vec<Step>) {
    let campaign = db.campaign(name).await;
    // Some numbers are in both tasks.
    let first = campaign.task(&(0..6).map(number).collect::<Vec<_>>()).await.id;
    let second = campaign.task(&(3..9).map(number).collect::<Vec<_>>()).await.id;
    let writer = db.store.writer();
    let mut world = World {
        db,
        campaign,
        writer,
        tasks: [first, second],
        now: NOW,
        hopper: Vec::new(),
        open: Vec::new(),
    };
    for step in steps {
        world.take(step).await;
        db.check().await;
    }
    world.finish().await;
}

impl World<'_> {
    async fn take(&mut self, step: Step) {
        match step {
            Step::Lease(limit) => self.lease(limit).await,
            Step::Prepare(which) if !self.hopper.is_empty() => {
                let lead = self.hopper.remove(which % self.hopper.len());
                let (new, prepared) = self.campaign.prepare(&self.writer, &lead, self.now).await;
                assert_eq!(prepared, Prepared::Allowed);
                self.open.push(new);
            }
            Step::End { which, retry, flush } if !self.open.is_empty() => {
                let attempt = self.open.remove(which % self.open.len());
                let retry = retry.then(|| self.now.plus(RETRY));
                self.campaign
                    .end(&self.writer, &attempt, Outcome::Busy, self.now, retry)
                    .await;
                if flush {
                    self.writer.flush().await;
                }
            }
            Step::GiveBack(which) if !self.hopper.is_empty() => {
                let lead = self.hopper.remove(which % self.hopper.len());
                self.db
                    .store
                    .give_back(&[(lead.task, lead.contact)], self.now)
                    .await
                    .unwrap();
            }
            Step::Restart => {
                self.writer.flush().await;
                let recovered = self.db.store.recover(self.campaign.id, self.now).await.unwrap();
                assert_eq!(recovered.given_back, u64::try_from(self.hopper.len()).unwrap());
                let found: BTreeSet<_> = recovered.attempts.iter().map(|open| open.attempt).collect();
                assert_eq!(found, self.open.iter().map(|new| new.attempt).collect());
                self.hopper.clear();
            }
            Step::Requeue => {
                let which = Requeue::after([Outcome::Busy]).unwrap();
                for task in self.tasks {
                    let requeued = self.db.store.requeue(task, &which, self.now).await.unwrap();
                    assert!(matches!(requeued, Requeued::Done(_)), "{requeued:?}");
                }
            }
            Step::Wait(seconds) => self.now = self.now.plus(Duration::from_secs(seconds)),
            Step::Prepare(_) | Step::End { .. } | Step::GiveBack(_) => {}
        }
    }

    async fn lease(&mut self, limit: usize) {
        let held: BTreeSet<_> = self
            .hopper
            .iter()
            .chain(self.open.iter().map(|new| &new.lead))
            .map(|lead| lead.number.clone())
            .collect();
        let leased = self.campaign.lease(limit, self.now).await;
        assert!(leased.leads.len() <= limit);
        for lead in &leased.leads {
            assert!(!held.contains(&lead.number), "held by another contact");
        }
        if leased.leads.len() < limit {
            let next = leased.next_due.is_none_or(|next| next > self.now);
            assert!(next, "fewer than asked for means that there are no more");
        }
        self.hopper.extend(leased.leads);
    }

    /// Brings every contact from any state to its last state.
    async fn finish(mut self) {
        let of_this = format!(
            "FROM task_contacts WHERE task_id IN (SELECT id FROM tasks WHERE campaign_id = {})",
            self.campaign.id
        );
        for _ in 0..20 {
            for attempt in std::mem::take(&mut self.open) {
                self.campaign
                    .end(&self.writer, &attempt, Outcome::Answered, self.now, None)
                    .await;
            }
            self.writer.flush().await;
            self.now = self.now.plus(RETRY);
            self.lease(100).await;
            while !self.hopper.is_empty() {
                self.take(Step::Prepare(0)).await;
            }
        }
        assert_eq!(
            self.db
                .count(&format!("SELECT count(*) {of_this} AND state = 'done'"))
                .await,
            12
        );
        assert_eq!(self.db.count("SELECT count(*) FROM number_leases").await, 0);
        let completed = format!(
            "SELECT count(*) FROM tasks WHERE campaign_id = {} AND state = 'completed'",
            self.campaign.id
        );
        assert_eq!(self.db.count(&completed).await, 2);
        self.db.check().await;
    }
}
