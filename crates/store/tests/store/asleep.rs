//! Contacts of a time zone whose calling hours are over: they wait together, and do not delay calls to other contacts.

use crate::lease::mornings;
use crate::support::{Db, NOW, later, number};
use paceline_core::campaign::TaskState;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::contact::Contact;
use paceline_core::gate::GateVerdict;
use paceline_core::ids::{ContactId, TaskId};
use paceline_store::{ContactState, NewContact, NewTaskContacts};

/// Makes a task of `asleep` contacts in a time zone where it is night, and `awake` contacts in another.
async fn half_asleep(
    db: &Db,
    campaign: &crate::support::Campaign<'_>,
    asleep: u32,
    awake: u32,
    other_zone: &str,
) -> (TaskId, Vec<ContactId>) {
    let contact = |n: u32| NewContact {
        contact: Contact {
            numbers: vec![number(n).into()],
            // It is midnight in Tokyo, ten o'clock in New York, 16:00 in Madrid.
            time_zone: Some(if n < asleep { "Asia/Tokyo" } else { other_zone }.to_owned()),
            ..Contact::default()
        },
        ..NewContact::default()
    };
    let contacts: Vec<_> = (0..asleep + awake).map(contact).collect();
    let (list, _) = db.store.create_contact_list("l", &contacts, NOW).await.unwrap();
    let task = campaign
        .task_with(TaskState::Running, NOW, NewTaskContacts::List(list.id))
        .await;
    let rows = db.store.task_contacts(task.id, None, 10_000).await.unwrap();
    (task.id, rows.into_iter().map(|row| row.contact.id).collect())
}

pub(crate) async fn who_is_asleep_waits_together_and_keeps_nobody_from_being_called(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.hours = mornings("America/New_York"); // it is ten o'clock there
    let (task, contacts) = half_asleep(db, &campaign, 2000, 10, "America/New_York").await;
    let leased = campaign.lease(10, NOW).await;
    assert_eq!(
        (leased.leads.len(), leased.deferred_buckets, leased.deferred),
        (10, 1, 0)
    );
    let all_decisions = "SELECT count(*) FROM gate_decisions WHERE verdict = 'defer'";
    assert_eq!(db.count(all_decisions).await, 1, "one for all of them");
    // The returned contacts are due at once. The gate is not asked about the deferred bucket again.
    let back: Vec<_> = leased
        .leads
        .iter()
        .map(|lead| (lead.task, lead.contact))
        .collect();
    db.store.give_back(&back, later(1)).await.unwrap();
    assert_eq!(campaign.lease(10, later(1)).await.leads.len(), 10);
    let last = campaign.lease(10, later(2)).await;
    let nine_in_tokyo = later(9 * 3600);
    assert_eq!((last.leads.len(), last.next_due), (0, Some(nine_in_tokyo)));
    assert_eq!(db.count(all_decisions).await, 1);
    // The wait is visible in the task and in each of the contacts.
    let progress = db.store.task_progress(task).await.unwrap();
    let wait = &progress.waits[0];
    assert_eq!(
        (
            wait.time_zones.as_slice(),
            wait.until,
            wait.reasons[0].rule.as_str()
        ),
        (&["Asia/Tokyo".to_owned()][..], nine_in_tokyo, "campaign_hours")
    );
    assert_eq!(
        (progress.waits.len(), progress.next_due_at),
        (1, Some(nine_in_tokyo))
    );
    let why = db.store.decisions_of_contact(contacts[7], 10).await.unwrap();
    assert_eq!(why.len(), 1);
    assert_eq!(
        (why[0].verdict, why[0].contact, why[0].task),
        (
            GateVerdict::Defer {
                until_ms: nine_in_tokyo
            },
            contacts[7],
            task
        )
    );
    let rows = db.store.task_contacts(task, None, 1).await.unwrap();
    assert_eq!(
        (rows[0].state, rows[0].due_at),
        (ContactState::Ready, nine_in_tokyo)
    );
    assert_eq!(
        db.store.tasks_of_contact(contacts[7], 1).await.unwrap()[0].due_at,
        nine_in_tokyo
    );
    let work = db.store.campaign_work(campaign.id, later(2)).await.unwrap();
    assert_eq!((work.deferred, work.deferred_until), (1, Some(nine_in_tokyo)));
    // In Tokyo the calling hours have begun.
    assert_eq!(campaign.lease(30, nine_in_tokyo).await.leads.len(), 30);
}

pub(crate) async fn other_hours_are_a_matter_of_a_few_rows(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.hours = mornings("Asia/Tokyo");
    let (task, _) = half_asleep(db, &campaign, 1000, 1000, "Europe/Madrid").await;
    let none = campaign.lease(10, NOW).await;
    assert_eq!((none.leads.len(), none.deferred_buckets), (0, 2));
    let settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    assert!(
        db.store
            .set_campaign_settings(campaign.id, &settings, later(1))
            .await
            .unwrap()
    );
    let untouched = "SELECT count(*) FROM task_contacts WHERE state = 'ready'";
    assert_eq!(db.count(untouched).await, 2000);
    assert!(db.store.task_progress(task).await.unwrap().waits.is_empty());
    campaign.hours = CallingHours::always();
    assert_eq!(campaign.lease(50, later(1)).await.leads.len(), 50);
}
