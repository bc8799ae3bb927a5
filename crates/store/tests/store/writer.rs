//! Attempts and changes that the writer stores.

use crate::support::{Db, NOW, asked, ended, found, later, leg_ended, number, numbers, rules, until};
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::hours::{CallingHours, CallingWindow};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::command::Change;
use paceline_core::gate::{GateStage, GateVerdict};
use paceline_core::ids::{AgentId, AgentLegId, AttemptId, PbxName};
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::Learnt;
use paceline_core::pbx::{EndedBy, Progress, RecordingName};
use paceline_store::{AttemptFilter, CallRecord, ContactState, RecordingState};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) async fn an_attempt_is_stored_whole_before_the_answer(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    let (new, prepared) = campaign.prepare(&writer, &lead, later(1)).await;
    assert_eq!(prepared, Prepared::Allowed);
    let row = db.store.attempt(new.attempt).await.unwrap().unwrap();
    assert_eq!(
        (row.campaign, row.task, row.contact, &row.number),
        (campaign.id, task.id, lead.contact, &number(0))
    );
    assert_eq!(
        (row.ordinal, row.created_at, row.ended_at, row.outcome),
        (1, later(1), None, None)
    );
    let legs = db.store.legs_of_attempt(new.attempt).await.unwrap();
    assert_eq!(legs.len(), 1);
    assert_eq!(
        (legs[0].id, &legs[0].pbx, legs[0].trunk),
        (new.leg, &new.pbx, campaign.trunk)
    );
    let decisions = db
        .store
        .decisions_of_attempt(lead.contact, task.id, new.attempt)
        .await
        .unwrap();
    let told: Vec<_> = decisions
        .iter()
        .map(|d| (d.stage, d.verdict, d.attempt))
        .collect();
    let allow = GateVerdict::Allow;
    assert_eq!(
        told,
        [
            (GateStage::Originate, allow, Some(new.attempt)),
            (GateStage::Lease, allow, None)
        ]
    );
    let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
    assert_eq!((contact.state, contact.attempts_made), (ContactState::Leased, 0));
}

pub(crate) async fn a_number_listed_since_the_lease_is_refused(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    assert!(db.store.suppressed_leases(NOW).await.unwrap().is_empty());
    db.store.add_dnc(&numbers(2), &asked(NOW)).await.unwrap();
    let leases = db.store.suppressed_leases(NOW).await.unwrap();
    assert_eq!(
        leases,
        BTreeMap::from([(campaign.id, numbers(1))]),
        "only leased numbers"
    );
    let writer = db.store.writer();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(1)).await.1,
        Prepared::Refused
    );
    writer.flush().await;
    let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
    assert_eq!(
        (contact.state, contact.last_outcome),
        (ContactState::Done, Some(Outcome::Blocked))
    );
    let decision = &db.store.decisions_of_contact(lead.contact, 1).await.unwrap()[0];
    assert_eq!(
        (decision.stage, decision.verdict),
        (GateStage::Originate, GateVerdict::Deny)
    );
    assert_eq!((rules(decision), decision.attempt), (vec!["suppressed"], None));
    assert_eq!(db.count("SELECT count(*) FROM attempts").await, 0);
    assert_eq!(
        db.store.task(task.id).await.unwrap().unwrap().state,
        TaskState::Completed
    );
}

pub(crate) async fn hours_closed_since_the_lease_put_the_contact_off(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    // Open until 15:01. At 15:00:40 a call could still ring after that.
    let windows = vec![CallingWindow {
        days: (1..=7).collect(),
        from_minute: 0,
        until_minute: 15 * 60 + 1,
    }];
    campaign.hours = CallingHours {
        time_zone: Some("Atlantic/Reykjavik".into()),
        windows,
    };
    let writer = db.store.writer();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(40)).await.1,
        Prepared::Refused
    );
    let again = campaign.lease(1, later(60)).await;
    assert_eq!(
        (again.leads.len(), again.next_due),
        (0, Some(later(9 * 3600))),
        "next midnight"
    );
}

pub(crate) async fn a_task_stopped_since_the_lease_gets_its_contact_back(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    db.store
        .move_task(task.id, &[TaskState::Running], TaskState::Paused)
        .await
        .unwrap();
    let writer = db.store.writer();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(1)).await.1,
        Prepared::Refused
    );
    let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
    assert_eq!((contact.state, contact.attempts_made), (ContactState::Ready, 0));
    db.store
        .move_task(task.id, &[TaskState::Paused], TaskState::Running)
        .await
        .unwrap();
    assert_eq!(campaign.lease(1, later(5)).await.leads.len(), 1);
}

pub(crate) async fn a_campaign_paused_since_the_lease_gets_its_contact_back(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    db.store
        .move_campaign(campaign.id, &[CampaignState::Active], CampaignState::Paused)
        .await
        .unwrap();
    let writer = db.store.writer();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(1)).await.1,
        Prepared::Refused
    );
    let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
    assert_eq!((contact.state, contact.attempts_made), (ContactState::Ready, 0));
}

pub(crate) async fn a_contact_with_an_open_attempt_is_not_called_twice(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    // Both attempts are in one batch, and a third follows.
    let first = writer
        .prepare(campaign.new_attempt(&lead, NOW), campaign.policy())
        .await;
    let second = writer
        .prepare(campaign.new_attempt(&lead, NOW), campaign.policy())
        .await;
    assert_eq!(
        (first.await, second.await),
        (Prepared::Allowed, Prepared::Refused)
    );
    assert_eq!(
        campaign.prepare(&writer, &lead, later(1)).await.1,
        Prepared::Refused
    );
    assert_eq!(db.count("SELECT count(*) FROM attempts").await, 1);
    // An attempt at a contact that is not leased.
    let returned = [(lead.task, lead.contact)];
    db.run("UPDATE attempts SET ended_at_ms = 1, outcome = 'busy'")
        .await;
    db.run("UPDATE legs SET ended_at_ms = 1, ended_by = 'us'").await;
    db.run("UPDATE task_contacts SET attempts_made = 1").await;
    db.store.give_back(&returned, NOW).await.unwrap();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(2)).await.1,
        Prepared::Refused
    );
}

pub(crate) async fn the_life_of_a_call_is_stored(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    let (new, _) = campaign.prepare(&writer, &lead, NOW).await;
    let (attempt, leg, agent) = (new.attempt, new.leg, campaign.agent);
    let agent_leg = AgentLegId(db.uuid());
    let state = |state, at| Change::Agent {
        agent,
        state,
        pbx: Some(PbxName::new("office")),
        leg: Some(agent_leg),
        wants: Wants::Calls,
        reason: AgentReason::TakenOver,
        at,
    };
    let early = Change::LegProgressed {
        attempt,
        leg,
        kind: Progress::EarlyMedia,
        at: later(2),
    };
    let late = Change::LegProgressed {
        attempt,
        leg,
        kind: Progress::Ringing,
        at: later(3),
    };
    writer.change(campaign.id, early).await;
    writer.flush().await;
    for change in [
        late,
        Change::Answered {
            attempt,
            leg,
            at: later(4),
        },
        Change::Connected {
            attempt,
            agent,
            at: later(5),
        },
        state(AgentState::OnCall, later(5)),
        leg_ended(&new, later(30)),
        ended(&new, Outcome::Answered, later(30), None),
        state(AgentState::WrapUp, later(30)),
    ] {
        writer.change(campaign.id, change).await;
    }
    writer.flush().await;
    let row = db.store.attempt(attempt).await.unwrap().unwrap();
    assert_eq!(
        (row.answered_at, row.connected_at, row.agent),
        (Some(later(4)), Some(later(5)), Some(agent))
    );
    assert_eq!(
        (row.ended_at, row.outcome),
        (Some(later(30)), Some(Outcome::Answered))
    );
    let leg = &db.store.legs_of_attempt(attempt).await.unwrap()[0];
    assert_eq!(
        (leg.progress, leg.progress_at),
        (Some(Progress::EarlyMedia), Some(later(2))),
        "the first sign"
    );
    assert_eq!(
        (leg.answered_at, leg.ended_at, leg.ended_by),
        (Some(later(4)), Some(later(30)), Some(EndedBy::Network))
    );
    assert_eq!(
        (leg.q850, leg.sip, leg.detail.as_deref()),
        (Some(16), Some(200), Some("Normal Clearing"))
    );
    let records = db.store.call_records(campaign.id, None, None, 10).await.unwrap();
    let record = CallRecord {
        attempt,
        created_at: NOW,
        rang_at: Some(later(2)),
        answered_at: Some(later(4)),
        connected_at: Some(later(5)),
        agent: Some(agent),
        ended_at: later(30),
        outcome: Outcome::Answered,
    };
    assert_eq!(records, [record]);
    let none = db.store.call_records(campaign.id, Some(later(3_600)), None, 10);
    assert_eq!(none.await.unwrap(), []);
    let shown = db.store.agent(agent).await.unwrap().unwrap();
    assert_eq!(
        (shown.state, shown.state_at, shown.leg),
        (AgentState::WrapUp, later(30), Some(agent_leg))
    );
    assert_eq!(shown.campaign, Some(campaign.id));
    assert_eq!(
        db.store.last_attempt_of_agent(agent).await.unwrap().unwrap().id,
        attempt
    );
    let gone = Change::Agent {
        agent,
        state: AgentState::Offline,
        pbx: None,
        leg: None,
        wants: Wants::Calls,
        reason: AgentReason::LoggedOutBySupervisor,
        at: later(40),
    };
    writer.change(campaign.id, gone).await;
    writer.flush().await;
    let shown = db.store.agent(agent).await.unwrap().unwrap();
    assert_eq!(
        (shown.state, shown.reason, shown.campaign, shown.leg),
        (
            AgentState::Offline,
            AgentReason::LoggedOutBySupervisor,
            None,
            None
        )
    );
    assert_eq!(shown.pbx.as_str(), "office");
}

pub(crate) async fn a_recording_is_stored_with_its_end(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(1)).await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let writer = db.store.writer();
    let (new, _) = campaign.prepare(&writer, &lead, NOW).await;
    let name = |text: &str| RecordingName::new(text).unwrap();
    for text in ["fine", "lost", "asked"] {
        let (attempt, agent, pbx) = (new.attempt, campaign.agent, PbxName::new("office"));
        let asked = Change::RecordingAsked {
            recording: name(text),
            attempt,
            agent,
            pbx,
            at: later(1),
        };
        writer.change(campaign.id, asked).await;
    }
    writer.flush().await;
    for change in [
        Change::RecordingStarted {
            recording: name("fine"),
            at: later(2),
        },
        Change::RecordingEnded {
            recording: name("fine"),
            result: Ok(Some(Duration::from_millis(1234))),
            at: later(9),
        },
        Change::RecordingEnded {
            recording: name("lost"),
            result: Err("disk full".into()),
            at: later(3),
        },
    ] {
        writer.change(campaign.id, change).await;
    }
    writer.flush().await;
    let rows = db.store.recordings(Some(new.attempt), None, 10).await.unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|r| (r.name.as_str(), r.state, r.duration_ms, r.failure.as_deref()))
        .collect();
    let expected = [
        ("asked", RecordingState::Asked, None, None),
        ("fine", RecordingState::Complete, Some(1234), None),
        ("lost", RecordingState::Failed, None, Some("disk full")),
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        (rows[1].asked_at, rows[1].started_at, rows[1].ended_at),
        (later(1), Some(later(2)), Some(later(9)))
    );
    assert_eq!(
        db.store.recordings(None, Some("fine"), 10).await.unwrap().len(),
        1
    );
}

pub(crate) async fn what_pacing_learnt_is_stored_and_replaced(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let pbx = PbxName::new("main");
    for calls_ended in [7, 9] {
        let learnt = Learnt {
            calls_ended,
            person_delay: vec![0.5, 1.5],
            ..Learnt::default()
        };
        let change = Change::Learnt {
            campaign: campaign.id,
            pbx: pbx.clone(),
            learnt: Box::new(learnt.clone()),
            at: NOW,
        };
        writer.change(campaign.id, change).await;
        writer.flush().await;
        let stored = db.store.pacing_learnt(campaign.id).await.unwrap();
        assert_eq!(stored, [(pbx.clone(), learnt)]);
    }
}

pub(crate) async fn an_ended_attempt_frees_its_number_for_the_next(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let writer = db.store.writer();
    let mut at = NOW;
    for attempts_made in 0..3 {
        let lead = campaign.lease(1, at).await.leads.remove(0);
        assert_eq!(lead.attempts_made, attempts_made);
        let (new, prepared) = campaign.prepare(&writer, &lead, at).await;
        assert_eq!(prepared, Prepared::Allowed);
        let retry = at.plus(Duration::from_secs(1800));
        campaign.end(&writer, &new, Outcome::Busy, at, Some(retry)).await;
        writer.flush().await;
        let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
        assert_eq!((contact.state, contact.due_at), (ContactState::Ready, retry));
        assert_eq!(
            (contact.attempts_made, contact.last_outcome),
            (attempts_made + 1, Some(Outcome::Busy))
        );
        let early = campaign.lease(1, at.plus(Duration::from_secs(1799))).await;
        assert_eq!((early.leads.len(), early.next_due), (0, Some(retry)));
        at = retry;
    }
    let all = db
        .store
        .attempts(
            &AttemptFilter {
                task: Some(task.id),
                ..Default::default()
            },
            None,
            10,
        )
        .await
        .unwrap();
    assert_eq!(all.iter().map(|row| row.ordinal).collect::<Vec<_>>(), [3, 2, 1]);
}

pub(crate) async fn a_task_is_completed_when_every_contact_is_done(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(2)).await;
    let writer = db.store.writer();
    let leads = campaign.lease(2, NOW).await.leads;
    let (first, _) = campaign.prepare(&writer, &leads[0], NOW).await;
    let (second, _) = campaign.prepare(&writer, &leads[1], NOW).await;
    campaign
        .end(&writer, &first, Outcome::Answered, later(1), None)
        .await;
    writer.flush().await;
    assert_eq!(
        db.store.task(task.id).await.unwrap().unwrap().state,
        TaskState::Running
    );
    campaign
        .end(&writer, &second, Outcome::Answered, later(2), None)
        .await;
    // Without a flush, within about a second.
    until("the task is completed", async || {
        db.store.task(task.id).await.unwrap().unwrap().state == TaskState::Completed
    })
    .await;
}

pub(crate) async fn a_change_said_twice_changes_nothing_more(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = campaign.task(&numbers(1)).await;
    let writer = db.store.writer();
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    let (new, _) = campaign.prepare(&writer, &lead, NOW).await;
    campaign
        .end(&writer, &new, Outcome::Busy, later(1), Some(later(10)))
        .await;
    writer.flush().await;
    let again = campaign.lease(1, later(10)).await.leads.remove(0);
    // The same change is sent again, as after a commit whose answer was lost.
    campaign
        .end(&writer, &new, Outcome::Failed, later(20), None)
        .await;
    writer
        .change(
            campaign.id,
            Change::Answered {
                attempt: new.attempt,
                leg: new.leg,
                at: later(21),
            },
        )
        .await;
    writer.flush().await;
    let contact = &db.store.task_contacts(task.id, None, 1).await.unwrap()[0];
    assert_eq!(
        (contact.state, contact.last_outcome),
        (ContactState::Leased, Some(Outcome::Busy))
    );
    let row = db.store.attempt(new.attempt).await.unwrap().unwrap();
    assert_eq!((row.ended_at, row.outcome), (Some(later(1)), Some(Outcome::Busy)));
    assert_eq!(
        campaign.prepare(&writer, &again, later(30)).await.1,
        Prepared::Allowed
    );
}

pub(crate) async fn an_attempt_that_can_never_be_stored_gives_its_contact_back(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let writer = db.store.writer();
    let leads = campaign.lease(2, NOW).await.leads;
    let (first, _) = campaign.prepare(&writer, &leads[0], NOW).await;
    let mut same = campaign.new_attempt(&leads[1], NOW);
    same.attempt = first.attempt;
    let pending = writer.prepare(same, campaign.policy()).await;
    assert_eq!(pending.await, Prepared::Failed);
    writer.flush().await;
    assert_eq!(campaign.lease(2, later(1)).await.leads.len(), 1);
}

pub(crate) async fn a_change_that_can_never_be_stored_holds_up_nothing(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let writer = db.store.writer();
    let leads = campaign.lease(2, NOW).await.leads;
    let (first, _) = campaign.prepare(&writer, &leads[0], NOW).await;
    writer.flush().await;
    let orphan = |n: &str| Change::RecordingAsked {
        recording: RecordingName::new(n).unwrap(),
        attempt: AttemptId(uuid::Uuid::from_u128(0xdead)),
        agent: AgentId(1),
        pbx: PbxName::new("office"),
        at: NOW,
    };
    writer.change(campaign.id, orphan("one")).await;
    campaign.end(&writer, &first, Outcome::Busy, later(1), None).await;
    let pending = writer
        .prepare(campaign.new_attempt(&leads[1], NOW), campaign.policy())
        .await;
    writer.change(campaign.id, orphan("two")).await;
    assert_eq!(pending.await, Prepared::Allowed);
    writer.flush().await;
    assert_eq!(
        db.store.attempt(first.attempt).await.unwrap().unwrap().outcome,
        Some(Outcome::Busy)
    );
    assert_eq!(
        (writer.stats().changes_dropped, writer.stats().failing),
        (2, false)
    );
}

pub(crate) async fn an_attempt_given_up_is_not_stored_and_its_contact_comes_back(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let leased = campaign.lease(2, NOW).await;
    let writer = db.store.writer();
    let blocked = db.block_writing().await;
    let first = writer
        .prepare(campaign.new_attempt(&leased.leads[0], NOW), campaign.policy())
        .await;
    let asked = std::time::Instant::now();
    if db.is_sqlite() {
        assert_eq!(first.await, Prepared::Failed);
        assert!(asked.elapsed() < Duration::from_secs(4));
    }
    // The caller stops waiting for this one.
    drop(
        writer
            .prepare(campaign.new_attempt(&leased.leads[1], NOW), campaign.policy())
            .await,
    );
    drop(blocked);
    writer.flush().await;
    if db.is_sqlite() {
        assert_eq!(db.count("SELECT count(*) FROM attempts").await, 0);
        assert_eq!(writer.stats().prepares_failed, 2);
        assert_eq!(found(&campaign.lease(2, later(9)).await), found(&leased));
    } else {
        // On PostgreSQL the transaction had already begun, so the first attempt could no longer be given up.
        assert_eq!(writer.stats().prepares_failed, 1);
        assert_eq!(found(&campaign.lease(2, later(9)).await), found(&leased)[1..]);
    }
}
