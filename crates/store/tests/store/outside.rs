//! The check by an outside service.

use crate::support::{Db, NOW, found, later, number, numbers, rules};
use paceline_core::campaign::TaskState;
use paceline_core::contact::{Contact, NumberKind};
use paceline_core::gate::GateVerdict;
use paceline_core::input::Prepared;
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::outside::{OutsideAnswer, OutsideReason, OutsideRuling, OutsideService, OutsideVerdict};
use paceline_core::time::Wall;
use paceline_store::{ContactState, Expiring, NewContact, NewTaskContacts};
use std::collections::BTreeMap;

pub(crate) fn answer(verdict: OutsideVerdict, expires_at: Wall) -> OutsideAnswer {
    OutsideAnswer {
        verdict,
        line: Some(NumberKind::Mobile),
        reason: "vacant".into(),
        evidence: Some("e-1".into()),
        answered_at: NOW,
        expires_at,
    }
}

pub(crate) async fn store(db: &Db, numbers: &[E164], answer: &OutsideAnswer) {
    let answers: BTreeMap<_, _> = numbers
        .iter()
        .map(|number| (number.clone(), answer.clone()))
        .collect();
    db.store.add_outside_answers(&answers).await.unwrap();
}

pub(crate) async fn the_last_answer_of_a_number_is_kept_until_its_retention(db: &Db) {
    let all = numbers(700);
    store(db, &all, &answer(OutsideVerdict::Allow, later(10))).await;
    let last = OutsideAnswer {
        line: None,
        evidence: None,
        ..answer(OutsideVerdict::Deny, later(20))
    };
    store(db, &all[..1], &last).await;
    assert_eq!(db.store.check_of(&all[0]).await.unwrap(), Some(last));
    assert_eq!(db.store.check_of(&number(9_000)).await.unwrap(), None);
    let mut slices = Vec::new();
    loop {
        match db
            .store
            .delete_expired(Expiring::OutsideAnswers, later(11), later(11))
            .await
            .unwrap()
        {
            0 => break,
            slice => slices.push(slice),
        }
    }
    assert_eq!(slices, [250, 250, 199]);
    assert!(db.store.check_of(&all[0]).await.unwrap().is_some());
}

pub(crate) async fn numbers_are_asked_in_the_order_of_the_lease_and_only_if_they_are_due_soon(db: &Db) {
    let campaign = db.campaign("spring").await;
    let two = NewContact {
        contact: Contact {
            numbers: vec![number(0).into(), number(1).into()],
            ..Contact::default()
        },
        ..NewContact::default()
    };
    let list = db
        .store
        .create_contact_list("two numbers", &[two], NOW)
        .await
        .unwrap()
        .0
        .id;
    let soon = campaign
        .task_with(TaskState::Running, NOW, NewTaskContacts::List(list))
        .await;
    let due = later(5).0;
    db.run(&format!(
        "UPDATE task_contacts SET due_at_ms = {due} WHERE task_id = {}",
        soon.id
    ))
    .await;
    campaign.task(&numbers(12)[2..6]).await;
    campaign
        .task_with(
            TaskState::Paused,
            NOW,
            NewTaskContacts::Numbers(vec![number(20).into()]),
        )
        .await;
    let other = db.campaign("autumn").await;
    other.task(&[number(30)]).await;
    let unchecked = async |now: Wall, due_by: Wall, limit| {
        let found = db
            .store
            .unchecked_numbers(campaign.id, now, due_by, limit)
            .await
            .unwrap();
        found
            .iter()
            .map(|found| found.expose().to_owned())
            .collect::<Vec<_>>()
    };
    let exposed = |of: &[E164]| of.iter().map(|n| n.expose().to_owned()).collect::<Vec<_>>();
    assert_eq!(unchecked(NOW, NOW, 100).await, exposed(&numbers(6)[2..]));
    let mut soon = unchecked(NOW, later(10), 100).await;
    soon.sort();
    let mut six = exposed(&numbers(6));
    six.sort();
    assert_eq!(
        soon, six,
        "all numbers of the contact that is due in five seconds"
    );
    assert_eq!(
        unchecked(NOW, later(10), 2).await.len(),
        2,
        "tasks share the limit"
    );
    store(db, &numbers(5)[2..], &answer(OutsideVerdict::Deny, later(10))).await;
    assert_eq!(unchecked(NOW, NOW, 100).await, exposed(&[number(5)]));
    assert_eq!(
        unchecked(later(10), NOW, 100).await.len(),
        4,
        "the answers have expired"
    );
}

pub(crate) async fn an_outage_is_read_by_the_gate_with_the_reason_to_call_meanwhile(db: &Db) {
    let one = [number(0)];
    let ruling = async || db.store.outside_rulings(&one, NOW).await.unwrap()[&one[0]];
    let deferred = |ruling| match ruling {
        OutsideRuling::Defer { because, .. } => Some(because),
        OutsideRuling::Allow(_) | OutsideRuling::Deny => None,
    };
    for (service, because) in [
        (OutsideService::Missing, OutsideReason::NoService),
        (OutsideService::Works, OutsideReason::NotAsked),
        (OutsideService::Out { since: NOW }, OutsideReason::Outage),
    ] {
        db.store.set_outside_service(&service).await.unwrap();
        assert_eq!(db.store.outside_service().await.unwrap(), service);
        assert_eq!(deferred(ruling().await), Some(because));
    }
    let open = OutsideService::OutAndOpen {
        since: NOW,
        because: "the service only advises us".into(),
    };
    db.store.set_outside_service(&open).await.unwrap();
    assert_eq!(db.store.outside_service().await.unwrap(), open);
    assert_eq!(ruling().await, OutsideRuling::Allow(OutsideReason::Outage));
    store(db, &one, &answer(OutsideVerdict::Deny, later(1))).await;
    assert_eq!(ruling().await, OutsideRuling::Deny);
    db.store
        .set_outside_service(&OutsideService::Missing)
        .await
        .unwrap();
    assert_eq!(db.store.outside_service().await.unwrap(), OutsideService::Missing);
}

pub(crate) async fn a_campaign_that_needs_the_check_calls_only_numbers_that_the_service_allows(db: &Db) {
    let mut campaign = db.campaign("spring").await;
    campaign.suppression.outside_check = true;
    let all = numbers(4);
    let task = campaign.task(&all).await;
    db.store
        .set_outside_service(&OutsideService::Works)
        .await
        .unwrap();
    store(
        db,
        &[all[0].clone(), all[3].clone()],
        &answer(OutsideVerdict::Allow, later(3_600)),
    )
    .await;
    store(db, &all[1..2], &answer(OutsideVerdict::Deny, later(3_600))).await;
    store(db, &all[2..3], &answer(OutsideVerdict::Defer, later(600))).await;
    let leased = campaign.lease(10, NOW).await;
    assert_eq!(found(&leased), [all[0].expose(), all[3].expose()]);
    assert_eq!((leased.denied, leased.deferred), (1, 1));
    assert_eq!(leased.next_due, Some(later(600)));
    // The service gives another answer than at the lease.
    store(db, &all[3..], &answer(OutsideVerdict::Deny, later(3_600))).await;
    let writer = db.store.writer();
    let prepared = async |n: usize| campaign.prepare(&writer, &leased.leads[n], later(1)).await.1;
    assert_eq!(
        (prepared(0).await, prepared(1).await),
        (Prepared::Allowed, Prepared::Refused)
    );
    writer.flush().await;
    let denied = leased.leads[1].contact;
    let decision = &db.store.decisions_of_contact(denied, 1).await.unwrap()[0];
    assert_eq!(
        (decision.verdict, rules(decision)),
        (GateVerdict::Deny, vec!["outside_check"])
    );
    let text = &decision.reasons[0].text;
    assert!(text.contains("vacant") && text.contains("e-1"), "{text}");
    let contacts = db.store.task_contacts(task.id, None, 10).await.unwrap();
    let blocked = contacts.iter().find(|row| row.contact.id == denied).unwrap();
    assert_eq!(
        (blocked.state, blocked.last_outcome),
        (ContactState::Done, Some(Outcome::Blocked))
    );
}

pub(crate) async fn contacts_without_an_answer_wait_together_and_an_open_outage_lets_them_be_called(db: &Db) {
    let mut campaign = db.campaign("spring").await;
    campaign.suppression.outside_check = true;
    campaign.task(&numbers(300)).await;
    let waits = async |now: Wall, until: Wall| {
        let leased = campaign.lease(10, now).await;
        assert_eq!(
            (leased.leads.len(), leased.deferred, leased.deferred_buckets),
            (0, 0, 1)
        );
        assert_eq!(leased.next_due, Some(until));
    };
    waits(NOW, later(300)).await;
    let works = OutsideService::Works;
    db.store.set_outside_service(&works).await.unwrap();
    waits(later(300), later(315)).await;
    let out = OutsideService::Out { since: NOW };
    db.store.set_outside_service(&out).await.unwrap();
    waits(later(315), later(615)).await;
    let decided =
        "SELECT count(*) FROM gate_decisions WHERE reasons LIKE '%outside_check%' AND bucket_id IS NOT NULL";
    assert_eq!(db.count(decided).await, 3);
    assert_eq!(db.count("SELECT count(*) FROM gate_decisions").await, 3);
    let open = OutsideService::OutAndOpen {
        since: NOW,
        because: "the service only advises us".into(),
    };
    db.store.set_outside_service(&open).await.unwrap();
    store(db, &numbers(1), &answer(OutsideVerdict::Deny, later(600))).await;
    let leased = campaign.lease(3, later(615)).await;
    assert_eq!(
        (leased.leads.len(), leased.deferred),
        (3, 1),
        "the last answer of one was a deny"
    );
    let decision = &db
        .store
        .decisions_of_contact(leased.leads[0].contact, 1)
        .await
        .unwrap()[0];
    let because = decision
        .reasons
        .iter()
        .find(|reason| reason.rule == "outside_check");
    assert!(because.unwrap().text.contains("only advises us"), "{decision:?}");
}
