//! If a fact behind the gate's decision changes, the gate is asked again about the held contacts that depend on it, and
//! about no others.

use crate::gate::{consent, miami, task_of};
use crate::outside::{answer, store};
use crate::support::{Db, NOW, asked, found, later, number, numbers};
use crate::suppression::{open, upload};
use paceline_core::gate::Purpose;
use paceline_core::ids::TaskId;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::outside::{OutsideService, OutsideVerdict};
use paceline_core::suppression::ListKind;
use paceline_core::time::Wall;
use paceline_store::{EntryEnd, NewDnc, TasksToDial};
use std::sync::Arc;

/// Asks the gate about all held contacts that are marked. Returns how many are due again.
async fn recheck(db: &Db, now: Wall) -> u64 {
    let mut due = 0;
    for task in db.store.tasks_to_recheck().await.unwrap() {
        while let Some(rechecked) = db.store.recheck_some(task, now).await.unwrap() {
            due += rechecked.contacts;
        }
    }
    assert!(db.store.tasks_to_recheck().await.unwrap().is_empty());
    due
}

async fn decisions(db: &Db, task: TaskId) -> i64 {
    let sql = format!("SELECT count(*) FROM gate_decisions WHERE task_id = {task}");
    db.count(&sql).await
}

pub(crate) async fn a_number_that_leaves_a_registry_is_called_and_the_others_are_not_asked_about(db: &Db) {
    open(db).await;
    let campaign = db.campaign("c").await;
    // More contacts than one slice.
    let all = numbers(700);
    upload(&db.store, "tps", ListKind::Registry, &all[1..])
        .await
        .unwrap();
    let task = campaign.task(&all).await;
    let mut leased = campaign.lease(10, NOW).await;
    assert_eq!(found(&leased), [all[0].expose()]);
    while leased.denied > 0 {
        leased = campaign.lease(10, NOW).await;
    }
    let asked = decisions(db, task.id).await;
    assert_eq!(asked, 700);
    upload(&db.store, "tps", ListKind::Registry, &all[1..699])
        .await
        .unwrap();
    assert_eq!(recheck(db, later(2)).await, 1);
    let leased = campaign.lease(10, later(2)).await;
    assert_eq!(found(&leased), [all[699].expose()]);
    assert_eq!(decisions(db, task.id).await, asked + 1);
    let list = upload(&db.store, "tps", ListKind::Registry, &all[1..2]).await;
    assert!(db.store.remove_list(&list.unwrap().name, NOW).await.unwrap());
    assert_eq!(recheck(db, later(3)).await, 698);
}

pub(crate) async fn other_rules_free_contacts_that_waited_one_by_one_and_those_that_were_denied(db: &Db) {
    const OFF: &str =
        "name = 'acme'\n[[switch_off]]\nprofile = 'us-fl'\nrule = 'attempts_24h'\noverride = 'agreed'\n";
    let mut campaign = db.campaign("c").await;
    let writer = db.store.writer();
    for at in [NOW, later(60), later(120)] {
        let task = task_of(db, &campaign, &[miami()], vec![consent()]).await;
        let lead = campaign.lease(1, at).await.leads.remove(0);
        assert_eq!(lead.task, task.id);
        let (new, prepared) = campaign.prepare(&writer, &lead, at).await;
        assert_eq!(prepared, Prepared::Allowed);
        campaign.end(&writer, &new, Outcome::Busy, at, None).await;
        writer.flush().await;
    }
    let waiting = task_of(db, &campaign, &[miami()], vec![consent()]).await;
    assert_eq!(campaign.lease(1, later(180)).await.deferred, 1);
    assert_eq!(recheck(db, later(181)).await, 0, "nothing has changed");
    campaign.rules = Arc::new(campaign.rules.with_overlay("acme.toml", OFF).unwrap());
    assert_eq!(campaign.lease(1, later(182)).await.leads.len(), 0);
    assert_eq!(recheck(db, later(183)).await, 1);
    let lead = campaign.lease(1, later(183)).await.leads.remove(0);
    assert_eq!(lead.task, waiting.id);
    // A task whose contacts were all denied is completed, and is then opened again.
    let orlando = paceline_core::number::E164::new("+14075550123").unwrap();
    let denied = task_of(db, &campaign, std::slice::from_ref(&orlando), Vec::new()).await;
    assert_eq!(campaign.lease(1, later(184)).await.denied, 1);
    let mut settings = campaign.settings();
    settings.compliance.purpose = Purpose::Service;
    let service = campaign.policy_of(settings);
    db.store.lease(&service, 1, later(185)).await.unwrap();
    assert_eq!(recheck(db, later(186)).await, 1);
    let leased = db.store.lease(&service, 1, later(186)).await.unwrap();
    assert_eq!(
        (leased.leads[0].task, &leased.leads[0].number),
        (denied.id, &orlando)
    );
}

pub(crate) async fn an_answer_of_the_outside_check_makes_its_contacts_due(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.suppression.outside_check = true;
    let works = OutsideService::Works;
    db.store.set_outside_service(&works).await.unwrap();
    campaign.task(&numbers(40)).await;
    let leased = campaign.lease(5, NOW).await;
    assert_eq!((leased.deferred_buckets, leased.next_due), (1, Some(later(15))));
    store(db, &[number(7)], &answer(OutsideVerdict::Deny, later(3_600))).await;
    store(db, &[number(8)], &answer(OutsideVerdict::Allow, later(3_600))).await;
    // The first page has two answers; the others of the page wait one by one.
    let leased = campaign.lease(5, later(1)).await;
    assert_eq!(found(&leased), [number(8).expose()]);
    assert_eq!(leased.denied, 1);
    store(
        db,
        &[number(7), number(9)],
        &answer(OutsideVerdict::Allow, later(3_600)),
    )
    .await;
    let leased = campaign.lease(5, later(2)).await;
    assert_eq!(found(&leased), [number(7).expose(), number(9).expose()]);
}

pub(crate) async fn a_number_whose_do_not_call_entry_has_ended_is_called(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(3)).await;
    let until = |seconds| NewDnc {
        expires_at: Some(later(seconds)),
        ..asked(NOW)
    };
    db.store.add_dnc(&numbers(1), &until(100)).await.unwrap();
    db.store.add_dnc(&numbers(2)[1..], &until(200)).await.unwrap();
    let leased = campaign.lease(10, NOW).await;
    assert_eq!(
        (found(&leased), leased.denied),
        (vec![number(2).expose().to_owned()], 2)
    );
    let ended = async |after, at| db.store.reopen_ended_entries(after, at).await.unwrap();
    let first = EntryEnd::default();
    assert_eq!(ended(first, later(99)).await, (first, TasksToDial::new()));
    let (seen, tasks) = ended(first, later(100)).await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(found(&campaign.lease(10, later(100)).await), [number(0).expose()]);
    let (seen, _) = ended(seen, later(200)).await;
    assert_eq!(found(&campaign.lease(10, later(200)).await), [number(1).expose()]);
    assert_eq!(ended(seen, later(300)).await, (seen, TasksToDial::new()));
}
