//! Tasks: creation by users and changes of state.

use crate::support::{Db, NOW, found, later, number, numbers};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::ids::{CampaignId, ContactListId, TaskId};
use paceline_core::number::E164;
use paceline_store::{ContactState, NewTask, NewTaskContacts, StoreError, TaskFilter};

fn new(campaign: CampaignId, numbers: &[E164]) -> NewTask {
    NewTask {
        campaign,
        name: "renewals".into(),
        state: TaskState::Scheduled,
        start_at: later(60),
        retries_max: 3,
        contacts: NewTaskContacts::Numbers(numbers.iter().cloned().map(Into::into).collect()),
        idempotency: None,
    }
}

pub(crate) async fn a_task_from_numbers_makes_its_list_and_contacts(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let doubled = [numbers(3), numbers(1)].concat();
    let (row, contacts) = db
        .store
        .create_tasks(&[new(campaign, &doubled)], NOW)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(contacts, 3);
    assert_eq!(db.store.task(row.id).await.unwrap(), Some(row.clone()));
    assert_eq!(
        (row.state, row.start_at, row.retries_max, row.created_at),
        (TaskState::Scheduled, later(60), 3, NOW)
    );
    assert_eq!(
        db.store.contact_list(row.list).await.unwrap().unwrap().name,
        "renewals"
    );
    let rows = db.store.task_contacts(row.id, None, 10).await.unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| row.contact.contact.numbers[0].number.clone())
            .collect::<Vec<_>>(),
        numbers(3)
    );
    assert!(
        rows.iter()
            .all(|row| (row.state, row.attempts_made) == (ContactState::Ready, 0))
    );
    let page = db
        .store
        .task_contacts(row.id, Some(rows[0].contact.id.0), 1)
        .await
        .unwrap();
    assert_eq!(*page, rows[1..2]);
    let second = NewTask {
        contacts: NewTaskContacts::List(row.list),
        ..new(campaign, &[])
    };
    assert_eq!(db.store.create_tasks(&[second], NOW).await.unwrap()[0].1, 3);
}

pub(crate) async fn a_large_task_is_taken_in_slices_and_not_dialed_before_it_is_whole(db: &Db) {
    let campaign = db.campaign("c").await;
    let store = &db.store;
    let start = |start_at, state| NewTask {
        state,
        start_at,
        ..new(campaign.id, &numbers(2500))
    };
    let new = [
        start(NOW, TaskState::Running),
        start(later(60), TaskState::Scheduled),
        start(NOW, TaskState::Running),
    ];
    let ids: Vec<_> = store.create_tasks(&new, NOW).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|(row, _)| row.id).collect();
    db.run("UPDATE contacts SET time_zone = 'Asia/Tokyo' WHERE id BETWEEN 2001 AND 2500")
        .await;
    let state = async |n: usize| store.task(ids[n]).await.unwrap().unwrap().state;
    let all: Vec<_> = store.preparing_tasks().await.unwrap();
    assert_eq!(all.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), ids);
    let leased = campaign.lease(10, NOW).await;
    assert_eq!(found(&leased), [""; 0], "nothing is dialed before it is whole");
    assert!(
        store
            .move_task(ids[2], &[TaskState::Preparing], TaskState::Cancelled)
            .await
            .unwrap()
    );
    assert_eq!(store.prepare_some(ids[2], NOW).await.unwrap(), None);
    assert_eq!(state(2).await, TaskState::Cancelled);

    assert!(
        store.start_task(ids[1], NOW).await.unwrap(),
        "it starts once it is prepared"
    );
    for (n, whole) in [(0, TaskState::Running), (1, TaskState::Running)] {
        let mut slices = Vec::new();
        while let Some(taken) = store.prepare_some(ids[n], NOW).await.unwrap() {
            assert_eq!(state(n).await, TaskState::Preparing);
            slices.push(taken);
        }
        assert_eq!(slices, [1000, 1000]);
        assert_eq!(state(n).await, whole);
        assert_eq!(store.task_progress(ids[n]).await.unwrap().ready, 2500);
        assert_eq!(store.prepare_some(ids[n], NOW).await.unwrap(), None);
    }
    assert!(store.preparing_tasks().await.unwrap().is_empty());
    assert_eq!(campaign.lease(10, NOW).await.leads.len(), 10);
}

pub(crate) async fn a_task_needs_a_campaign_and_somebody_to_call(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let none = db
        .store
        .create_tasks(&[new(CampaignId(99), &numbers(1))], NOW)
        .await;
    assert!(matches!(none, Err(StoreError::NoCampaign)), "{none:?}");
    let (empty, _) = db.store.create_contact_list("empty", &[], NOW).await.unwrap();
    for contacts in [
        NewTaskContacts::List(empty.id),
        NewTaskContacts::List(ContactListId(99)),
        NewTaskContacts::Numbers(Vec::new()),
    ] {
        let tasks = [
            new(campaign, &numbers(1)),
            NewTask {
                contacts,
                ..new(campaign, &[])
            },
        ];
        let nobody = db.store.create_tasks(&tasks, NOW).await;
        assert!(
            matches!(nobody, Err(StoreError::EmptyList { index: 1 })),
            "{nobody:?}"
        );
    }
    assert_eq!(db.count("SELECT count(*) FROM tasks").await, 0);
}

pub(crate) async fn tasks_are_created_all_or_none(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let keyed = |n: u8| NewTask {
        idempotency: Some((format!("key-{n}"), [n; 32])),
        ..new(campaign, &numbers(1))
    };
    let created = db.store.create_tasks(&[keyed(1), keyed(2)], NOW).await.unwrap();
    assert_eq!(created.len(), 2);
    let taken = db.store.create_tasks(&[keyed(3), keyed(2)], NOW).await;
    assert!(matches!(taken, Err(StoreError::IdempotencyKeyTaken)), "{taken:?}");
    assert_eq!(db.count("SELECT count(*) FROM tasks").await, 2);
    assert_eq!(db.count("SELECT count(*) FROM contacts").await, 2);
    // The failed request has left nothing behind.
    assert_eq!(db.store.create_tasks(&[keyed(3)], NOW).await.unwrap().len(), 1);
}

pub(crate) async fn an_idempotency_key_is_used_once(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let keyed = NewTask {
        idempotency: Some(("key".into(), [7; 32])),
        ..new(campaign, &numbers(1))
    };
    assert_eq!(db.store.task_by_idempotency_key("key").await.unwrap(), None);
    let mut creations = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, keyed) = (db.store.clone(), keyed.clone());
        creations.spawn(async move { store.create_tasks(&[keyed], NOW).await });
    }
    let (created, refused): (Vec<_>, Vec<_>) =
        creations.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((created.len(), refused.len()), (1, 3));
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(StoreError::IdempotencyKeyTaken))),
        "{refused:?}"
    );
    let (row, hash) = db.store.task_by_idempotency_key("key").await.unwrap().unwrap();
    assert_eq!(
        (Some(&row), hash),
        (created[0].as_ref().ok().map(|rows| &rows[0].0), [7; 32])
    );
}

pub(crate) async fn a_task_moves_only_from_the_states_named(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let (row, _) = db
        .store
        .create_tasks(&[new(campaign, &numbers(1))], NOW)
        .await
        .unwrap()
        .remove(0);
    let from = [TaskState::Scheduled, TaskState::Running];
    assert!(
        db.store
            .move_task(row.id, &from, TaskState::Paused)
            .await
            .unwrap()
    );
    assert!(
        !db.store
            .move_task(row.id, &from, TaskState::Paused)
            .await
            .unwrap()
    );
    assert!(
        !db.store
            .move_task(TaskId(99), &from, TaskState::Paused)
            .await
            .unwrap()
    );
    assert!(
        db.store
            .move_task(row.id, &[TaskState::Paused], TaskState::Cancelled)
            .await
            .unwrap()
    );
    assert_eq!(
        db.store.task(row.id).await.unwrap().unwrap().state,
        TaskState::Cancelled
    );
    let filter = |campaign, state| TaskFilter {
        campaign,
        state,
        ..TaskFilter::default()
    };
    let count = async |filter: TaskFilter| db.store.tasks(&filter, None, 10).await.unwrap().len();
    assert_eq!(count(filter(Some(campaign), Some(TaskState::Cancelled))).await, 1);
    assert_eq!(count(filter(Some(campaign), Some(TaskState::Running))).await, 0);
    assert_eq!(count(filter(Some(CampaignId(99)), None)).await, 0);
    assert_eq!(
        count(TaskFilter {
            created_from: Some(later(1)),
            ..TaskFilter::default()
        })
        .await,
        0
    );
    assert_eq!(
        count(TaskFilter {
            created_until: Some(later(1)),
            ..TaskFilter::default()
        })
        .await,
        1
    );
}

pub(crate) async fn a_contacts_place_in_its_tasks_is_told(db: &Db) {
    let campaign = db.campaign("c").await.id;
    let (first, _) = db
        .store
        .create_tasks(&[new(campaign, &[number(5)])], NOW)
        .await
        .unwrap()
        .remove(0);
    let second = NewTask {
        contacts: NewTaskContacts::List(first.list),
        ..new(campaign, &[])
    };
    let (second, _) = db
        .store
        .create_tasks(&[second], later(1))
        .await
        .unwrap()
        .remove(0);
    let contact = &db.store.contacts_with_number(&number(5), 10).await.unwrap()[0];
    let places = db.store.tasks_of_contact(contact.id, 10).await.unwrap();
    assert_eq!(
        places.iter().map(|place| place.task).collect::<Vec<_>>(),
        [second.id, first.id]
    );
    let place = &places[0];
    assert_eq!(
        (place.task_state, place.campaign, place.campaign_state),
        (TaskState::Scheduled, campaign, CampaignState::Active)
    );
    assert_eq!(
        (place.state, place.due_at, place.attempts_made),
        (ContactState::Ready, later(1), 0)
    );
}
