//! Leasing, giving back and recovery.

use crate::imports::read_whole;
use crate::support::{Db, NOW, asked, ended, found, later, leg_ended, number, numbers, rules, until};
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::hours::{CallingHours, CallingWindow};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::command::Change;
use paceline_core::contact::Contact;
use paceline_core::gate::{GateStage, GateVerdict};
use paceline_core::ids::{AgentLegId, PbxName, TaskId};
use paceline_core::input::{LastCall, Prepared};
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{EndedBy, LegEnd, Progress};
use paceline_core::time::Wall;
use paceline_lab::Postgres;
use paceline_store::{ContactState, NewContact, NewTaskContacts, RunningTasks};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) async fn contacts_are_leased_in_due_order(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(5)).await;
    db.run("UPDATE task_contacts SET due_at_ms = due_at_ms - 1 WHERE contact_id = 4")
        .await;
    db.run("UPDATE task_contacts SET due_at_ms = due_at_ms + 5000 WHERE contact_id = 2")
        .await;
    db.run("UPDATE tasks SET next_due_at_ms = 0").await;
    db.run("UPDATE task_buckets SET next_due_at_ms = 0").await;
    let first = campaign.lease(2, NOW).await;
    assert_eq!(found(&first), [number(3).expose(), number(0).expose()]);
    let lead = &first.leads[0];
    assert_eq!((lead.task, lead.attempts_made, lead.retries_max), (task.id, 0, 2));
    let rest = campaign.lease(10, NOW).await;
    assert_eq!(found(&rest), [number(2).expose(), number(4).expose()]);
    assert_eq!(rest.next_due, Some(later(5)));
    let last = campaign.lease(10, later(5)).await;
    assert_eq!(found(&last), [number(1).expose()]);
    assert_eq!(
        (last.next_due, campaign.lease(10, later(6)).await.leads.len()),
        (None, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_leases_by_index_although_the_tables_were_empty_at_first() {
    const CONTACTS: u32 = 6_000;
    let server = Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(20)).await;
    for _ in 0..20 {
        campaign.lease(1, NOW).await;
    }
    let many: Vec<_> = (20..CONTACTS).map(number).collect();
    campaign.task(&many).await;
    let mut leased = 0;
    for second in 0..40 {
        leased += campaign.lease(10, later(second)).await.leads.len();
    }
    assert_eq!(leased, 400);
    let read_whole = read_whole(&db).await;
    assert!(
        read_whole < i64::from(8 * CONTACTS),
        "{read_whole} rows were read, a whole table at a time"
    );
}

pub(crate) async fn a_contact_whose_number_cannot_be_read_is_set_aside_and_the_others_are_called(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(3)).await;
    db.run("UPDATE contact_numbers SET number = 'no number' WHERE contact_id = 1")
        .await;
    let leased = campaign.lease(9, NOW).await;
    assert_eq!(found(&leased), [number(1).expose(), number(2).expose()]);
    assert_eq!(leased.denied, 1);
    let done = "SELECT count(*) FROM task_contacts WHERE contact_id = 1 AND state = 'done' AND last_outcome = 'blocked'";
    assert_eq!(db.count(done).await, 1);
}

pub(crate) async fn a_scheduled_task_runs_from_its_start_time(db: &Db) {
    let campaign = db.campaign("c").await;
    let contacts = NewTaskContacts::Numbers(vec![number(0).into()]);
    let task = campaign
        .task_with(TaskState::Scheduled, later(60), contacts)
        .await;
    let started_at = async |now| {
        let ahead = Duration::from_secs(5);
        db.store.start_due_tasks(now, ahead).await.unwrap()
    };
    assert_eq!(started_at(later(54)).await.next_start, None);
    let soon = started_at(later(59)).await;
    assert_eq!((soon.running, soon.next_start), (Vec::new(), Some(later(60))));
    assert_eq!(campaign.lease(10, later(60)).await.leads.len(), 0);
    let tasks = vec![(campaign.id, task.id)];
    for started in [tasks.clone(), Vec::new()] {
        let running = tasks.clone();
        let next_start = None;
        assert_eq!(
            started_at(later(60)).await,
            RunningTasks {
                running,
                started,
                next_start
            }
        );
    }
    assert_eq!(campaign.lease(10, later(60)).await.leads.len(), 1);
}

pub(crate) async fn a_task_started_before_its_time_has_its_contacts_due(db: &Db) {
    let campaign = db.campaign("c").await;
    let contacts = NewTaskContacts::Numbers(vec![number(0).into()]);
    let task = campaign
        .task_with(TaskState::Scheduled, later(3600), contacts)
        .await;
    assert!(db.store.start_task(task.id, later(1)).await.unwrap());
    assert!(!db.store.start_task(task.id, later(2)).await.unwrap());
    assert_eq!(db.store.task(task.id).await.unwrap().unwrap().start_at, later(1));
    assert_eq!(campaign.lease(10, later(1)).await.leads.len(), 1);
}

pub(crate) async fn tasks_share_a_lease(db: &Db) {
    let campaign = db.campaign("c").await;
    let all = numbers(130);
    let large = campaign.task(&all[..100]).await.id;
    let small = campaign.task(&all[100..103]).await.id;
    let other = campaign.task(&all[103..]).await.id;
    let leased = campaign.lease(30, NOW).await;
    let share = |task| leased.leads.iter().filter(|lead| lead.task == task).count();
    assert_eq!(
        (share(large), share(small), share(other)),
        (10, 3, 17),
        "what the small one leaves is shared"
    );
}

pub(crate) async fn paused_and_cancelled_tasks_lease_nothing(db: &Db) {
    let campaign = db.campaign("c").await;
    let paused = campaign.task(&[number(1)]).await.id;
    let cancelled = campaign.task(&[number(2)]).await.id;
    assert!(
        db.store
            .move_task(paused, &[TaskState::Running], TaskState::Paused)
            .await
            .unwrap()
    );
    assert!(
        db.store
            .move_task(cancelled, &[TaskState::Running], TaskState::Cancelled)
            .await
            .unwrap()
    );
    let none = campaign.lease(10, NOW).await;
    assert_eq!((none.leads.len(), none.next_due), (0, None));
    assert!(
        db.store
            .move_task(paused, &[TaskState::Paused], TaskState::Running)
            .await
            .unwrap()
    );
    assert_eq!(found(&campaign.lease(10, NOW).await), [number(1).expose()]);
}

pub(crate) async fn a_campaign_that_is_not_active_leases_nothing(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    campaign
        .task_with(
            TaskState::Scheduled,
            later(60),
            NewTaskContacts::Numbers(vec![number(1).into()]),
        )
        .await;
    let (active, paused) = (CampaignState::Active, CampaignState::Paused);
    assert!(
        db.store
            .move_campaign(campaign.id, &[active], paused)
            .await
            .unwrap()
    );
    assert_eq!(
        db.store
            .start_due_tasks(later(61), Duration::ZERO)
            .await
            .unwrap()
            .started
            .len(),
        1
    );
    let none = campaign.lease(10, later(61)).await;
    assert_eq!((none.leads.len(), none.next_due), (0, None));
    assert!(
        db.store
            .move_campaign(campaign.id, &[paused], active)
            .await
            .unwrap()
    );
    assert_eq!(campaign.lease(10, later(61)).await.leads.len(), 2);
}

pub(crate) async fn a_number_is_held_by_one_contact_at_a_time(db: &Db) {
    let (one, other) = (db.campaign("one").await, db.campaign("other").await);
    let held = one.task(&[number(7)]).await;
    let twin = one.task(&[number(7)]).await;
    other.task(&[number(7), number(8)]).await;
    let first = one.lease(10, NOW).await;
    assert_eq!(
        (first.leads.len(), first.locked),
        (1, 1),
        "twins in one lease too"
    );
    assert_eq!(first.leads[0].task, held.id);
    let second = other.lease(10, NOW).await;
    assert_eq!(
        (found(&second), second.locked),
        (vec![number(8).expose().to_owned()], 1)
    );
    assert_eq!(second.next_due, Some(later(60)), "looked at again a minute later");
    let progress = db.store.task_progress(twin.id).await.unwrap();
    assert_eq!((progress.ready, progress.next_due_at), (1, Some(later(60))));
    db.store
        .give_back(&[(first.leads[0].task, first.leads[0].contact)], NOW)
        .await
        .unwrap();
    assert_eq!(other.lease(10, later(60)).await.leads.len(), 1);
}

pub(crate) fn mornings(time_zone: &str) -> CallingHours {
    let windows = vec![CallingWindow {
        days: (1..=7).collect(),
        from_minute: 9 * 60,
        until_minute: 12 * 60,
    }];
    CallingHours {
        time_zone: Some(time_zone.into()),
        windows,
    }
}

pub(crate) async fn other_hours_free_contacts_that_waited_for_the_old_ones(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let settings = |hours: &CallingHours| CampaignSettings {
        hours: hours.clone(),
        ..CampaignSettings::default()
    };
    let set = async |hours, now| {
        let settings = settings(hours);
        let set = db.store.set_campaign_settings(campaign.id, &settings, now);
        assert!(set.await.unwrap());
    };
    let (mornings, always) = (mornings("Atlantic/Reykjavik"), CallingHours::always());
    set(&mornings, NOW).await;
    // One contact waits for a retry, which does not depend on the hours.
    let writer = db.store.writer();
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let (busy, _) = campaign.prepare(&writer, &lead, NOW).await;
    campaign
        .end(&writer, &busy, Outcome::Busy, NOW, Some(later(7200)))
        .await;
    writer.flush().await;
    let in_mornings = CampaignSettings {
        hours: mornings.clone(),
        ..CampaignSettings::default()
    };
    let in_mornings = campaign.policy_of(in_mornings);
    let leased = db.store.lease(&in_mornings, 10, NOW);
    assert_eq!(leased.await.unwrap().deferred_buckets, 1);
    set(&mornings, later(1)).await;
    let leased = db.store.lease(&in_mornings, 10, later(1)).await.unwrap();
    assert_eq!(
        (leased.leads.len(), leased.deferred_buckets),
        (0, 0),
        "the same hours"
    );
    set(&always, later(2)).await;
    campaign.hours = always;
    assert_eq!(campaign.lease(10, later(2)).await.leads.len(), 1);
    assert_eq!(campaign.lease(10, later(7200)).await.leads.len(), 1);
}

pub(crate) async fn contacts_outside_their_hours_wait_for_the_next_opening(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.hours = mornings("Atlantic/Reykjavik"); // it is 15:00 there
    let contact = |n, zone: Option<&str>| NewContact {
        contact: Contact {
            numbers: vec![number(n).into()],
            time_zone: zone.map(str::to_owned),
            ..Contact::default()
        },
        ..NewContact::default()
    };
    let (here, there) = (contact(1, None), contact(2, Some("America/New_York")));
    let lost = contact(3, Some("Nowhere/Land"));
    let (list, _) = db
        .store
        .create_contact_list("l", &[here, there, lost], NOW)
        .await
        .unwrap();
    let task = campaign
        .task_with(TaskState::Running, NOW, NewTaskContacts::List(list.id))
        .await;
    let leased = campaign.lease(10, NOW).await;
    assert_eq!(found(&leased), [number(2).expose()], "where it is ten o'clock");
    assert_eq!(
        (leased.deferred_buckets, leased.denied, leased.next_due),
        (1, 1, Some(later(18 * 3600)))
    );
    let rows = db.store.task_contacts(task.id, None, 10).await.unwrap();
    let states: Vec<_> = rows
        .iter()
        .map(|row| (row.state, row.due_at, row.last_outcome))
        .collect();
    assert_eq!(states[0], (ContactState::Ready, later(18 * 3600), None));
    assert_eq!(states[1].0, ContactState::Leased);
    assert_eq!(
        (states[2].0, states[2].2),
        (ContactState::Done, Some(Outcome::Blocked))
    );
    for (row, verdict, reasons) in [
        (
            &rows[0],
            GateVerdict::Defer {
                until_ms: later(18 * 3600),
            },
            vec!["campaign_hours"],
        ),
        (
            &rows[1],
            GateVerdict::Allow,
            vec!["suppressed", "dnc_disposition", "campaign_hours", "ring_time"],
        ),
        (&rows[2], GateVerdict::Deny, vec!["no_zone"]),
    ] {
        let decisions = db.store.decisions_of_contact(row.contact.id, 10).await.unwrap();
        assert_eq!(decisions.len(), 1);
        assert_eq!((decisions[0].verdict, rules(&decisions[0])), (verdict, reasons));
        assert_eq!(
            (decisions[0].stage, decisions[0].at, decisions[0].attempt),
            (GateStage::Lease, NOW, None)
        );
    }
}

pub(crate) async fn a_number_on_the_do_not_call_list_is_done_and_blocked(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&[number(1)]).await;
    db.store.add_dnc(&[number(1)], &asked(NOW)).await.unwrap();
    let leased = campaign.lease(10, NOW).await;
    assert_eq!((leased.leads.len(), leased.denied, leased.next_due), (0, 1, None));
    let progress = db.store.task_progress(task.id).await.unwrap();
    assert_eq!(
        (progress.done, progress.last_outcomes),
        (1, BTreeMap::from([(Outcome::Blocked, 1)]))
    );
    let state = db.store.task(task.id).await.unwrap().unwrap().state;
    assert_eq!(state, TaskState::Completed, "nothing more can come of it");
}

pub(crate) async fn contacts_that_must_wait_do_not_starve_those_that_need_not(db: &Db) {
    let campaign = db.campaign("c").await;
    let all = numbers(1300);
    campaign.task(&all).await;
    db.store.add_dnc(&all[..1290], &asked(NOW)).await.unwrap();
    let mut leads = 0;
    for _ in 0..3 {
        let leased = campaign.lease(5, NOW).await;
        assert!(leased.denied <= 512, "bounded work in one lease");
        leads += leased.leads.len();
        if leads == 0 {
            assert_eq!(leased.next_due, Some(NOW), "not done yet: ask again");
        }
    }
    assert_eq!(leads, 5);
}

pub(crate) async fn contacts_given_back_are_due_at_once(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(3)).await;
    let leased = campaign.lease(3, NOW).await;
    let keys: Vec<_> = leased
        .leads
        .iter()
        .map(|lead| (lead.task, lead.contact))
        .collect();
    let writer = db.store.writer();
    let (attempt, prepared) = campaign.prepare(&writer, &leased.leads[0], NOW).await;
    assert_eq!(prepared, Prepared::Allowed);
    db.store.give_back(&keys, later(5)).await.unwrap();
    let again = campaign.lease(3, later(5)).await;
    assert_eq!(
        found(&again),
        found(&leased)[1..],
        "all but the one that may be ringing"
    );
    assert_eq!(again.leads[0].attempts_made, 0);
    campaign
        .end(&writer, &attempt, Outcome::Busy, later(6), None)
        .await;
    writer.flush().await;
    db.store.give_back(&keys, later(7)).await.unwrap();
    db.store.give_back(&keys, later(8)).await.unwrap();
    assert_eq!(
        campaign.lease(3, later(8)).await.leads.len(),
        2,
        "what is done stays done"
    );
}

pub(crate) async fn concurrent_leases_never_share_a_contact(db: &Db) {
    let campaign = db.campaign("c").await;
    // Every number is in two tasks.
    campaign.task(&numbers(120)).await;
    campaign.task(&numbers(120)).await;
    let mut leases = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, policy) = (db.store.clone(), campaign.policy());
        leases.spawn(async move {
            let mut all = Vec::new();
            loop {
                let leased = store.lease(&policy, 7, NOW).await.unwrap();
                if leased.leads.is_empty() {
                    return all;
                }
                all.extend(leased.leads);
            }
        });
    }
    let leads: Vec<_> = leases.join_all().await.into_iter().flatten().collect();
    let held: BTreeSet<_> = leads.iter().map(|lead| lead.number.expose().to_owned()).collect();
    assert_eq!((leads.len(), held.len()), (120, 120));
}

pub(crate) async fn recovery_gives_back_what_has_no_open_attempt(db: &Db) {
    let (campaign, other) = (db.campaign("c").await, db.campaign("other").await);
    campaign.task(&numbers(3)).await;
    other.task(&[number(50)]).await;
    other.lease(1, NOW).await;
    let leased = campaign.lease(3, NOW).await;
    let writer = db.store.writer();
    let (ended, _) = campaign.prepare(&writer, &leased.leads[0], NOW).await;
    campaign
        .end(&writer, &ended, Outcome::NoAnswer, later(9), Some(later(1800)))
        .await;
    let (open, _) = campaign.prepare(&writer, &leased.leads[1], NOW).await;
    writer.flush().await;
    let recovered = db.store.recover(campaign.id, later(10)).await.unwrap();
    assert_eq!((recovered.given_back, recovered.attempts.len()), (1, 1));
    assert_eq!(recovered.attempts[0].attempt, open.attempt);
    let again = campaign.lease(3, later(11)).await;
    assert_eq!(
        (found(&again), again.next_due),
        (found(&leased)[2..].to_vec(), Some(later(1800)))
    );
    assert_eq!(
        db.count("SELECT count(*) FROM number_leases").await,
        3,
        "the other campaign's hopper is its own"
    );
}

pub(crate) async fn recovery_tells_open_attempts_and_agents(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    let (new, _) = campaign.prepare(&writer, &lead, later(1)).await;
    let held = AgentLegId(db.uuid());
    let pbx = PbxName::new("office");
    for change in [
        Change::Answered {
            attempt: new.attempt,
            leg: new.leg,
            at: Wall(5),
        },
        Change::Connected {
            attempt: new.attempt,
            agent: campaign.agent,
            at: Wall(6),
        },
        Change::Agent {
            agent: campaign.agent,
            state: AgentState::OnCall,
            pbx: Some(pbx.clone()),
            leg: Some(held),
            wants: Wants::LogOut,
            reason: AgentReason::TakenOver,
            at: Wall(7),
        },
    ] {
        writer.change(campaign.id, change).await;
    }
    writer.flush().await;
    let recovered = db.store.recover(campaign.id, later(10)).await.unwrap();
    let open = &recovered.attempts[0];
    assert_eq!(
        (open.attempt, open.leg, open.trunk, &open.pbx),
        (new.attempt, new.leg, campaign.trunk, &pbx)
    );
    assert_eq!(
        (&open.lead, open.created_at, open.answered_at),
        (&lead, later(1), Some(Wall(5)))
    );
    assert_eq!(open.connected, Some((Wall(6), campaign.agent)));
    let agent = &recovered.agents[0];
    assert_eq!(
        (agent.agent, &agent.pbx, agent.extension.as_str()),
        (campaign.agent, &pbx, "c")
    );
    assert_eq!(
        (agent.leg, agent.wants, agent.state),
        (Some(held), Wants::LogOut, AgentState::OnCall)
    );
    assert_eq!(agent.last_call, None, "it has not ended");
    writer.change(campaign.id, leg_ended(&new, later(30))).await;
    writer
        .change(campaign.id, ended(&new, Outcome::Answered, later(30), None))
        .await;
    writer.flush().await;
    let recovered = db.store.recover(campaign.id, later(31)).await.unwrap();
    let last_call = LastCall {
        attempt: new.attempt,
        ended_at: later(30),
    };
    assert_eq!(recovered.agents[0].last_call, Some(last_call));
}

pub(crate) async fn recovery_tells_how_the_leg_of_an_open_attempt_ended(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    let (new, _) = campaign.prepare(&writer, &lead, later(1)).await;
    let (attempt, leg) = (new.attempt, new.leg);
    let end = LegEnd {
        by: EndedBy::NoRoom,
        q850: Some(34),
        sip: Some(503),
        progressed: true,
        answered: false,
        detail: "no circuit".to_owned(),
    };
    for change in [
        Change::LegProgressed {
            attempt,
            leg,
            kind: Progress::Ringing,
            at: later(2),
        },
        Change::LegEnded {
            attempt,
            leg,
            end: end.clone(),
            at: later(3),
        },
    ] {
        writer.change(campaign.id, change).await;
    }
    // The progress is stored together with the leg's end, without further waiting.
    let stored = async || db.store.legs_of_attempt(attempt).await.unwrap().remove(0);
    until("the leg's end is stored", async || {
        stored().await.ended_at.is_some()
    })
    .await;
    assert_eq!(stored().await.progress, Some(Progress::Ringing));
    let recovered = db.store.recover(campaign.id, later(10)).await.unwrap();
    assert_eq!(recovered.attempts[0].leg_end, Some((later(3), end)));
}

pub(crate) async fn every_task_has_its_turn(db: &Db) {
    const TASKS: u32 = 60;
    let campaign = db.campaign("c").await;
    let all = numbers(TASKS * 10);
    for task in all.chunks(10) {
        campaign.task(task).await;
    }
    let mut served = BTreeMap::<TaskId, usize>::new();
    for _ in 0..9 {
        for lead in campaign.lease(20, NOW).await.leads {
            *served.entry(lead.task).or_default() += 1;
        }
    }
    assert_eq!(served.len(), 60);
    assert!(served.values().all(|n| *n == 3), "{served:?}");
}

pub(crate) async fn who_is_refused_takes_no_others_turn(db: &Db) {
    let campaign = db.campaign("c").await;
    let all = numbers(3000);
    db.store.add_dnc(&all[..2900], &asked(NOW)).await.unwrap();
    campaign.task(&all[..2900]).await;
    let callable = campaign.task(&all[2900..]).await.id;
    let leased = campaign.lease(20, NOW).await;
    assert_eq!(leased.leads.len(), 20, "in the first lease");
    assert!(leased.leads.iter().all(|lead| lead.task == callable));
}
