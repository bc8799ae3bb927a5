//! Finished contacts that a user queues again.

use crate::support::{Campaign, Db, NOW, asked, ended, later, leg_ended, number, numbers, until};
use paceline_core::campaign::TaskState;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::command::Change;
use paceline_core::ids::TaskId;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::Progress;
use paceline_core::requeue::{LastAttempt, Requeue};
use paceline_store::{ContactState, Requeued, TaskRow, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Contacts of the large task: more than a hundred transactions.
const MANY: u32 = 100_000;

const ALL_SIX: [Outcome; 6] = [
    Outcome::Unknown,
    Outcome::Failed,
    Outcome::Congestion,
    Outcome::Cancelled,
    Outcome::NoAnswer,
    Outcome::Busy,
];

fn again(outcomes: &[Outcome]) -> Requeue {
    Requeue::after(outcomes.iter().copied()).unwrap()
}

/// A task whose contacts each have had one attempt with the given result.
async fn finished(campaign: &Campaign<'_>, writer: &Writer, lasts: &[LastAttempt]) -> TaskRow {
    let task = campaign.task(&numbers(u32::try_from(lasts.len()).unwrap())).await;
    let leased = campaign.lease(lasts.len(), NOW).await;
    let mut prepares = Vec::new();
    for lead in &leased.leads {
        let new = campaign.new_attempt(lead, later(1));
        prepares.push((new.clone(), writer.prepare(new, campaign.policy()).await));
    }
    for ((new, prepared), last) in prepares.into_iter().zip(lasts) {
        assert_eq!(prepared.await, Prepared::Allowed);
        let (attempt, leg) = (new.attempt, new.leg);
        if last.rang {
            let (kind, at) = (Progress::Ringing, later(2));
            let rang = Change::LegProgressed {
                attempt,
                leg,
                kind,
                at,
            };
            writer.change(campaign.id, rang).await;
        }
        if last.answered {
            let at = later(3);
            writer
                .change(campaign.id, Change::Answered { attempt, leg, at })
                .await;
        }
        writer.change(campaign.id, leg_ended(&new, later(4))).await;
        writer
            .change(campaign.id, ended(&new, last.outcome, later(4), None))
            .await;
    }
    writer.flush().await;
    task
}

fn unanswered(outcomes: &[Outcome]) -> Vec<LastAttempt> {
    let last = |outcome: &Outcome| LastAttempt {
        outcome: *outcome,
        rang: false,
        answered: false,
    };
    outcomes.iter().map(last).collect()
}

async fn done(db: &Db, task: TaskId, which: &Requeue) -> BTreeMap<Outcome, u64> {
    match db.store.requeue(task, which, later(60)).await.unwrap() {
        Requeued::Done(queued) => queued,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn finished_contacts_are_ready_as_their_last_attempt_says(db: &Db) {
    let campaign = db.campaign("c").await;
    let mut lasts = Vec::new();
    for outcome in Outcome::ALL {
        for (rang, answered) in [(false, false), (false, true), (true, false), (true, true)] {
            lasts.push(LastAttempt {
                outcome: *outcome,
                rang,
                answered,
            });
        }
    }
    let task = finished(&campaign, &db.store.writer(), &lasts).await.id;
    assert!(
        db.count("SELECT count(*) FROM task_contacts WHERE tries_made > 0")
            .await
            > 0
    );
    let mut ready = BTreeSet::new();
    for which in [Requeue::unreached(), again(&[Outcome::NoAnswer]), again(&ALL_SIX)] {
        let mut expected: BTreeMap<Outcome, u64> = BTreeMap::new();
        for (n, last) in lasts.iter().enumerate() {
            if which.takes(*last) && ready.insert(n) {
                *expected.entry(last.outcome).or_default() += 1;
            }
        }
        assert_eq!(done(db, task, &which).await, expected, "{which:?}");
        // A contact that is already ready is not queued twice.
        assert_eq!(done(db, task, &which).await, BTreeMap::new(), "{which:?}");
        let rows = db.store.task_contacts(task, None, 100).await.unwrap();
        for (n, row) in rows.iter().enumerate() {
            let is_ready = row.state == ContactState::Ready;
            assert_eq!(is_ready, ready.contains(&n), "{which:?} {:?}", lasts[n]);
            assert_eq!((row.attempts_made, row.last_outcome), (1, Some(lasts[n].outcome)));
            assert!(!is_ready || row.due_at == later(60), "{row:?}");
        }
        db.check().await;
    }
    let tries = "SELECT count(*) FROM task_contacts WHERE state = 'ready' AND tries_made > 0";
    assert_eq!(db.count(tries).await, 0);
    let leased = campaign.lease(100, later(60)).await;
    assert_eq!(leased.leads.len(), ready.len());
    assert!(
        leased
            .leads
            .iter()
            .all(|lead| (lead.attempts_made, lead.tries_made) == (1, 0))
    );
}

pub(crate) async fn ringing_is_stored_before_the_call_is_answered_or_ends(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let task = campaign.task(&numbers(1)).await.id;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let (new, _) = campaign.prepare(&writer, &lead, later(1)).await;
    let (attempt, leg) = (new.attempt, new.leg);
    let rang = Change::LegProgressed {
        attempt,
        leg,
        kind: Progress::Ringing,
        at: later(2),
    };
    writer.change(campaign.id, rang).await;
    // From here on a crash cannot lose the ringing, whatever else is stored.
    until("the ringing is stored", async || {
        let legs = db.store.legs_of_attempt(attempt).await.unwrap();
        legs[0].progress == Some(Progress::Ringing)
    })
    .await;
    writer.change(campaign.id, leg_ended(&new, later(60))).await;
    writer
        .change(campaign.id, ended(&new, Outcome::Unknown, later(60), None))
        .await;
    writer.flush().await;
    assert_eq!(done(db, task, &Requeue::unreached()).await, BTreeMap::new());
    let named = BTreeMap::from([(Outcome::Unknown, 1)]);
    assert_eq!(done(db, task, &again(&[Outcome::Unknown])).await, named);
}

pub(crate) async fn a_completed_task_runs_again_once_somebody_is_queued(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let lasts = unanswered(&[Outcome::Failed, Outcome::Invalid]);
    let task = finished(&campaign, &writer, &lasts).await.id;
    let state = async || db.store.task(task).await.unwrap().unwrap().state;
    until("the task is completed", async || {
        state().await == TaskState::Completed
    })
    .await;
    assert_eq!(done(db, task, &again(&[Outcome::Busy])).await, BTreeMap::new());
    assert_eq!(state().await, TaskState::Completed);
    assert_eq!(
        done(db, task, &Requeue::unreached()).await,
        BTreeMap::from([(Outcome::Failed, 1)])
    );
    assert_eq!(state().await, TaskState::Running);
    let lead = campaign.lease(10, later(60)).await.leads.remove(0);
    assert_eq!((lead.attempts_made, lead.tries_made), (1, 0));
    let (new, _) = campaign.prepare(&writer, &lead, later(61)).await;
    writer.change(campaign.id, leg_ended(&new, later(62))).await;
    writer
        .change(campaign.id, ended(&new, Outcome::Failed, later(62), None))
        .await;
    writer.flush().await;
    until("it is completed again", async || {
        state().await == TaskState::Completed
    })
    .await;
    assert_eq!(db.count("SELECT max(attempts_made) FROM task_contacts").await, 2);
}

pub(crate) async fn a_paused_task_stays_paused_and_one_that_is_over_for_good_is_refused(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = finished(&campaign, &db.store.writer(), &unanswered(&[Outcome::Failed]))
        .await
        .id;
    let which = Requeue::unreached();
    let requeue = async |task| db.store.requeue(task, &which, later(60)).await.unwrap();
    assert_eq!(requeue(TaskId(99)).await, Requeued::NoTask);
    db.run("UPDATE tasks SET state = 'cancelled'").await;
    assert_eq!(requeue(task).await, Requeued::Cancelled);
    db.run("UPDATE tasks SET state = 'paused'").await;
    db.run("UPDATE campaigns SET state = 'archived'").await;
    assert_eq!(requeue(task).await, Requeued::Archived);
    assert_eq!(
        db.count("SELECT count(*) FROM task_contacts WHERE state = 'ready'")
            .await,
        0
    );
    db.run("UPDATE campaigns SET state = 'active'").await;
    assert_eq!(
        requeue(task).await,
        Requeued::Done(BTreeMap::from([(Outcome::Failed, 1)]))
    );
    assert_eq!(
        db.store.task(task).await.unwrap().unwrap().state,
        TaskState::Paused
    );
    assert_eq!(campaign.lease(10, later(60)).await.leads.len(), 0);
    let resumed = db.store.move_task(task, &[TaskState::Paused], TaskState::Running);
    assert!(resumed.await.unwrap());
    assert_eq!(campaign.lease(10, later(60)).await.leads.len(), 1);
}

pub(crate) async fn who_is_queued_again_still_has_to_pass_the_gate(db: &Db) {
    let mut campaign = db.campaign("c").await;
    let lasts = unanswered(&[Outcome::Failed, Outcome::Unknown]);
    let task = finished(&campaign, &db.store.writer(), &lasts).await.id;
    db.store.add_dnc(&[number(0)], &asked(NOW)).await.unwrap();
    assert_eq!(done(db, task, &Requeue::unreached()).await.len(), 2);
    let mut mornings = CallingHours::always();
    mornings.windows[0].until_minute = 12 * 60;
    campaign.hours = mornings;
    // It is 15:00: the contacts wait together, and queueing them again does not change that.
    assert_eq!(campaign.lease(10, later(60)).await.deferred_buckets, 1);
    assert_eq!(done(db, task, &Requeue::unreached()).await.len(), 0);
    let waits = db.store.task_progress(task).await.unwrap().waits;
    assert_eq!(waits.len(), 1);
    assert_eq!(campaign.lease(10, later(61)).await.leads.len(), 0);
    campaign.hours = CallingHours::always();
    let leased = campaign.lease(10, waits[0].until).await;
    assert_eq!((leased.leads.len(), leased.denied), (1, 1));
}

/// A statement that waits for the task's row must not use the contacts' states from before the wait.
pub(crate) async fn a_task_is_not_completed_while_contacts_of_it_are_queued(db: &Db) {
    if db.is_sqlite() {
        return; // one transaction writes at a time
    }
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let task = campaign.task(&numbers(2)).await.id;
    let leads = campaign.lease(2, NOW).await.leads;
    let mut open = Vec::new();
    for lead in &leads {
        open.push(campaign.prepare(&writer, lead, later(1)).await.0);
    }
    campaign
        .end(&writer, &open[0], Outcome::Failed, later(2), None)
        .await;
    writer.flush().await;
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    let mut queueing = pool.begin().await.unwrap();
    for sql in [
        "SELECT id FROM tasks FOR UPDATE",
        "UPDATE task_contacts SET state = 'ready' WHERE state = 'done'",
        "UPDATE task_buckets SET next_due_at_ms = 0",
        "UPDATE tasks SET next_due_at_ms = 0",
    ] {
        sqlx::query(sql).execute(&mut *queueing).await.unwrap();
    }
    campaign
        .end(&writer, &open[1], Outcome::Invalid, later(3), None)
        .await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("somebody waits for the row", async || db.count(waiting).await > 0).await;
    queueing.commit().await.unwrap();
    writer.flush().await;
    until("nobody waits", async || db.count(waiting).await == 0).await;
    assert_eq!(
        db.store.task(task).await.unwrap().unwrap().state,
        TaskState::Running
    );
}

pub(crate) async fn a_hundred_thousand_contacts_are_queued_bit_by_bit_beside_dialing(db: &Db) {
    let campaign = db.campaign("c").await;
    let other = db.campaign("d").await;
    let task = campaign.task(&numbers(1)).await.id;
    let uuid = if db.is_sqlite() {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    for sql in [
        format!(
            "INSERT INTO contacts (list_id, name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
             SELECT 1, '+1999' || (1000000 + i) FROM n"
        ),
        "INSERT INTO contact_numbers (contact_id, position, list_id, number) SELECT id, 0, 1, name FROM contacts \
         WHERE name LIKE '+1999%'"
            .to_owned(),
        "INSERT INTO task_contacts (task_id, contact_id, bucket_id, state, due_at_ms, attempts_made, tries_made, last_outcome) \
         SELECT 1, c.id, (SELECT id FROM task_buckets), 'done', 0, 1, 1, 'failed' FROM contacts c WHERE c.name LIKE '+1999%'"
            .to_owned(),
        format!(
            "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, ended_at_ms, outcome) \
             SELECT {uuid}, 1, 1, c.id, c.name, 1, 0, 1, 'failed' FROM contacts c WHERE c.name LIKE '+1999%'"
        ),
        format!(
            "INSERT INTO legs (attempt_id, id, pbx, trunk_id, created_at_ms, ended_at_ms, ended_by) \
             SELECT id, {uuid}, 'office', 1, 0, 1, 'network' FROM attempts"
        ),
    ] {
        db.run(&sql).await;
    }
    other.task(&(1..400).map(number).collect::<Vec<_>>()).await;
    let ready = "SELECT count(*) FROM task_contacts WHERE task_id = 1 AND state = 'ready'";
    let already = db.count(ready).await;
    // The job is stopped in the middle. The next one must do the rest.
    let beside = Arc::new(db.store.beside());
    let begin = || {
        let beside = Arc::clone(&beside);
        tokio::spawn(async move { beside.requeue(task, &Requeue::unreached(), later(60)).await })
    };
    let dying = begin();
    until("some are queued", async || db.count(ready).await > already).await;
    dying.abort();
    assert!(
        dying.await.is_err_and(|error| error.is_cancelled()),
        "it was done before it could die"
    );
    let rest = begin();
    let (mut leases, mut longest) = (0, Duration::ZERO);
    while !rest.is_finished() {
        let asked_at = Instant::now();
        let leads = other.lease(4, NOW).await.leads;
        longest = longest.max(asked_at.elapsed());
        assert_eq!(leads.len(), 4);
        let back: Vec<_> = leads.iter().map(|lead| (lead.task, lead.contact)).collect();
        db.store.give_back(&back, NOW).await.unwrap();
        leases += 1;
    }
    let Ok(Ok(Requeued::Done(rest))) = rest.await else {
        panic!("the rest was not queued");
    };
    println!("{leases} leases meanwhile, the longest in {longest:?}");
    assert_eq!(db.count(ready).await, already + i64::from(MANY));
    assert!((1..u64::from(MANY)).contains(&rest[&Outcome::Failed]), "{rest:?}");
    // The job runs hundreds of transactions, and the dialer can lease between any two of them.
    assert!(leases >= 20, "only {leases} leases meanwhile");
    beside.close().await;
    // The check after each case would take too long over so many attempts.
    for sql in [
        "DELETE FROM legs",
        "DELETE FROM attempts",
        "UPDATE task_contacts SET attempts_made = 0",
    ] {
        db.run(sql).await;
    }
}
