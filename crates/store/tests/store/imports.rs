//! Imports: their contacts become visible all at once or not at all.

use crate::admin::contacts;
use crate::support::{Db, NOW, later, number, numbers};
use paceline_core::campaign::TaskState;
use paceline_core::contact::Contact;
use paceline_core::input::Prepared;
use paceline_lab::Postgres;
use paceline_store::{
    ContactFilter, ImportInto, ImportState, NewImport, NewTaskContacts, Staged, StagedContact, StagedReject,
    StoreError,
};
use std::cell::Cell;
use std::time::Duration;

pub(crate) fn new_list() -> ImportInto {
    ImportInto::NewList("file".into())
}

pub(crate) fn file(into: &ImportInto) -> NewImport<'_> {
    NewImport {
        into,
        file_sha256: &[7; 32],
        settings: "{}",
        shape: "{}",
    }
}

/// Rows of a file: `count` contacts from number `first` on, with this name.
pub(crate) fn staged(first: u32, count: u32, name: Option<&str>, attributes: &str) -> Staged {
    let contact = |n| StagedContact {
        line: u64::from(n) + 2,
        contact: Contact {
            numbers: vec![number(n).into()],
            name: name.map(str::to_owned),
            ..Contact::default()
        },
        attributes: attributes.into(),
    };
    Staged {
        contacts: (first..first + count).map(contact).collect(),
        rows_read: u64::from(first + count),
        repairs: "{}".into(),
        numbers: "{}".into(),
        ..Staged::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_finds_the_contacts_of_a_files_rows_by_index_although_the_tables_were_empty_at_first() {
    const ROWS: u32 = 6_000;
    let server = Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let mut into = new_list();
    // The second import finds each row in the list.
    for _ in 0..2 {
        let (row, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
        for first in (0..ROWS).step_by(2_000) {
            staging
                .stage(staged(first, 2_000, None, "{}"), NOW)
                .await
                .unwrap();
        }
        assert!(staging.finish(NOW).await.unwrap());
        assert!(db.store.publish_import(row.id, NOW).await.unwrap());
        into = ImportInto::List(row.list.unwrap());
    }
    let read_whole = read_whole(&db).await;
    assert!(
        read_whole < i64::from(4 * ROWS),
        "{read_whole} rows were read, a whole table at a time"
    );
}

/// Rows of large tables that the store's sessions on PostgreSQL have read without an index. Closes the store.
pub(crate) async fn read_whole(db: &Db) -> i64 {
    // A session reports what it has read at its end.
    db.store.close().await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'paceline'";
    while db.count(others).await > 0 {
        tokio::task::yield_now().await;
    }
    let read = "SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables \
        WHERE relname IN ('contacts', 'contact_numbers', 'import_fills', 'task_contacts', 'attempts')";
    db.count(read).await
}

pub(crate) async fn an_import_is_seen_when_it_is_published_and_not_before(db: &Db) {
    let campaign = db.campaign("c").await;
    let (row, mut staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    for first in [0, 2000] {
        let done = staging.stage(staged(first, 2500, None, "{}"), NOW).await.unwrap();
        assert_eq!(done, Some(Vec::new()));
    }
    let list = row.list.unwrap();
    let unseen = async || {
        assert!(db.store.contact_lists(None, 10).await.unwrap().is_empty());
        assert_eq!(db.store.count_contacts(list).await.unwrap(), 0);
        assert!(
            db.store
                .contacts_with_number(&number(1), 10)
                .await
                .unwrap()
                .is_empty()
        );
        let add = db.store.add_contacts(list, &contacts(1)).await;
        assert!(matches!(add, Err(StoreError::NoList)));
    };
    unseen().await;
    assert!(
        !db.store.publish_import(row.id, NOW).await.unwrap(),
        "not read to its end"
    );
    assert!(staging.finish(NOW).await.unwrap());
    unseen().await;
    assert!(db.store.publish_import(row.id, later(1)).await.unwrap());
    assert!(!db.store.publish_import(row.id, later(2)).await.unwrap(), "once");
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.imported, row.published_at),
        (ImportState::Published, Some(4500), Some(later(1)))
    );
    let task = paceline_store::NewTaskContacts::List(list);
    let task = campaign.task_with(TaskState::Running, NOW, task).await;
    assert_eq!(db.store.task_progress(task.id).await.unwrap().ready, 4500);
    let in_order = db
        .store
        .contacts(list, &ContactFilter::default(), None, 4500)
        .await
        .unwrap();
    let in_order: Vec<_> = in_order
        .into_iter()
        .map(|row| row.contact.numbers[0].number.clone())
        .collect();
    assert_eq!(in_order, numbers(4500), "in the order of the file");
}

pub(crate) async fn a_cancelled_import_leaves_nothing(db: &Db) {
    let (row, mut staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    staging.stage(staged(0, 2500, None, "{}"), NOW).await.unwrap();
    assert!(db.store.clear_import(row.id, None).await.unwrap());
    let more = staging.stage(staged(2500, 10, None, "{}"), NOW).await.unwrap();
    assert_eq!(more, None, "its worker stages nothing more");
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.list), (ImportState::Cancelled, None));
    for table in ["contacts", "contact_lists"] {
        assert_eq!(
            db.count(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    let (row, staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    drop(staging);
    db.store.clear_import(row.id, Some("no good")).await.unwrap();
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.failure.as_deref()),
        (ImportState::Failed, Some("no good"))
    );
}

pub(crate) async fn an_import_into_a_list_fills_blanks_of_its_contacts_and_replaces_nothing(db: &Db) {
    let (list, _) = db
        .store
        .create_contact_list("list", &contacts(100), NOW)
        .await
        .unwrap();
    let into = ImportInto::List(list.id);
    let (row, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
    staging
        .stage(staged(50, 100, Some("new"), "{}"), NOW)
        .await
        .unwrap();
    assert_eq!(db.store.count_contacts(list.id).await.unwrap(), 100);
    // A user can add a number that is only staged, because the import may be cancelled.
    let mut added = contacts(150).pop().unwrap();
    added.contact.name = Some("added".into());
    let added = db.store.add_contacts(list.id, &[added]).await.unwrap();
    assert_eq!(added.contacts, 1);
    assert!(staging.finish(NOW).await.unwrap());
    assert!(db.store.publish_import(row.id, NOW).await.unwrap());
    assert_eq!(db.store.count_contacts(list.id).await.unwrap(), 150);
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!((row.listed, row.imported), (50, Some(49)));
    for (n, name) in [(99, Some("A. Example")), (100, Some("new")), (149, Some("added"))] {
        let found = db.store.contacts_with_number(&number(n), 2).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().unwrap().contact.name.as_deref(), name, "{n}");
    }
    let (row, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
    let second = db.store.begin_import(&file(&into), NOW).await;
    assert!(
        matches!(second, Err(StoreError::ListBusy { import }) if import == row.id),
        "one import at a time"
    );
    let unwanted = staged(140, 100, Some("never"), r#"{"never":"1"}"#);
    staging.stage(unwanted, NOW).await.unwrap();
    db.store.clear_import(row.id, None).await.unwrap();
    assert_eq!(db.store.count_contacts(list.id).await.unwrap(), 150);
    assert_eq!(db.count("SELECT count(*) FROM contacts").await, 150);
    assert_eq!(db.count("SELECT count(*) FROM import_fills").await, 0);
}

pub(crate) async fn of_imports_into_one_list_that_begin_at_once_one_begins(db: &Db) {
    let (list, _) = db
        .store
        .create_contact_list("list", &contacts(1), NOW)
        .await
        .unwrap();
    let into = ImportInto::List(list.id);
    for _ in 0..20 {
        let new = file(&into);
        let begin = || db.store.begin_import(&new, NOW);
        let (a, b, c, d) = tokio::join!(begin(), begin(), begin(), begin());
        let mut begun: Vec<_> = [a, b, c, d].into_iter().filter_map(Result::ok).collect();
        assert_eq!(
            begun.len(),
            1,
            "numbers that another has staged would be nobody's"
        );
        let (row, _) = begun.pop().unwrap();
        db.store.clear_import(row.id, None).await.unwrap();
    }
}

pub(crate) async fn the_additions_of_an_import_to_a_listed_contact_are_visible_after_its_publication(
    db: &Db,
) {
    let (first, mut staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    let mut there = staged(0, 1, None, r#"{"a":"1"}"#);
    there.contacts.extend(staged(1, 1, Some("B"), "{}").contacts);
    there
        .contacts
        .extend(staged(2, 1, Some("C"), r#"{"a":"1"}"#).contacts);
    staging.stage(there, NOW).await.unwrap();
    staging.finish(NOW).await.unwrap();
    db.store.publish_import(first.id, NOW).await.unwrap();
    let list = first.list.unwrap();

    let (row, mut staging) = db
        .store
        .begin_import(&file(&ImportInto::List(list)), NOW)
        .await
        .unwrap();
    // Two transactions, because rows with one number may be far apart in a file. The third contact gets no new value.
    let mut rows = staged(0, 1, Some("A"), r#"{"a":"2","b":"2"}"#);
    rows.contacts
        .extend(staged(2, 1, Some("Z"), r#"{"a":"2"}"#).contacts);
    staging.stage(rows, NOW).await.unwrap();
    let mut rows = staged(0, 2, Some("later"), r#"{"b":"3","c":"3"}"#);
    rows.contacts
        .iter_mut()
        .for_each(|row| row.contact.time_zone = Some("Europe/Madrid".into()));
    staging.stage(rows, NOW).await.unwrap();
    staging.finish(NOW).await.unwrap();
    let listed = async || -> Vec<String> {
        let all = db
            .store
            .contacts(list, &ContactFilter::default(), None, 10)
            .await
            .unwrap();
        all.into_iter()
            .map(|row| {
                let c = row.contact;
                format!(
                    "{} {:?} {:?}",
                    c.name.unwrap_or_default(),
                    c.time_zone,
                    row.attributes
                )
            })
            .collect()
    };
    let before = listed().await;
    assert!(db.store.publish_import(row.id, NOW).await.unwrap());
    assert_eq!(listed().await, before, "not yet filled in");
    // A start after a crash runs this too.
    assert_eq!(db.store.fill_published_imports().await.unwrap().0, 1);
    assert_eq!(db.store.fill_published_imports().await.unwrap().0, 0);
    assert_eq!(
        listed().await,
        [
            r#"A Some("Europe/Madrid") {"a": "1", "b": "2", "c": "3"}"#,
            r#"B Some("Europe/Madrid") {"b": "3", "c": "3"}"#,
            r#"C None {"a": "1"}"#,
        ]
    );
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!((row.listed, row.imported, row.filled), (4, Some(0), Some(2)));
    assert_eq!(db.count("SELECT count(*) FROM import_fills").await, 0);
}

/// On SQLite one transaction writes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_task_that_is_created_while_an_import_fills_in_zones_has_its_contacts_in_their_buckets()
 {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap());
    let server = server.await.unwrap();
    let db = Db::postgres(&server).await;
    let campaign = db.campaign("c").await;
    let mut nowhere = contacts(1);
    nowhere.iter_mut().for_each(|new| new.contact.time_zone = None);
    let list = db.store.create_contact_list("list", &nowhere, NOW).await;
    let list = list.unwrap().0.id;
    let into = ImportInto::List(list);
    let (import, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
    let mut rows = staged(0, 1, None, "{}");
    rows.contacts
        .iter_mut()
        .for_each(|row| row.contact.time_zone = Some("Europe/Madrid".into()));
    staging.stage(rows, NOW).await.unwrap();
    staging.finish(NOW).await.unwrap();
    assert!(db.store.publish_import(import.id, NOW).await.unwrap());
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM contacts FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let created = Cell::new(false);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let look_again = || tokio::time::sleep(Duration::from_millis(5));
    let filling = async { db.store.finish_publishing(import.id).await.unwrap() };
    let creating = async {
        while db.count(waiting).await < 1 {
            look_again().await;
        }
        let contacts = NewTaskContacts::List(list);
        campaign.task_with(TaskState::Running, NOW, contacts).await;
        created.set(true);
    };
    let letting_go = async {
        while !created.get() && db.count(waiting).await < 2 {
            look_again().await;
        }
        held.rollback().await.unwrap();
    };
    tokio::join!(filling, creating, letting_go);
    db.check().await;
    assert_eq!(
        db.count("SELECT count(*) FROM task_buckets WHERE localities = 'GB;;Europe/Madrid'")
            .await,
        1
    );
}

pub(crate) async fn rows_of_one_number_become_one_contact(db: &Db) {
    let (row, mut staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    let mut rows = staged(0, 2, None, r#"{"a":"1"}"#);
    rows.contacts
        .extend(staged(0, 1, Some("first"), r#"{"a":"2","b":"2"}"#).contacts);
    staging.stage(rows, NOW).await.unwrap();
    let again = staged(0, 3, Some("later"), r#"{"b":"3","c":"3"}"#);
    staging.stage(again, NOW).await.unwrap();
    staging.finish(NOW).await.unwrap();
    db.store.publish_import(row.id, NOW).await.unwrap();
    db.store.finish_publishing(row.id).await.unwrap();
    let told: Vec<_> = db
        .store
        .contacts(row.list.unwrap(), &ContactFilter::default(), None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|row| format!("{} {:?}", row.contact.name.unwrap_or_default(), row.attributes))
        .collect();
    assert_eq!(
        told,
        [
            r#"first {"a": "1", "b": "2", "c": "3"}"#,
            r#"later {"a": "1", "b": "3", "c": "3"}"#,
            r#"later {"b": "3", "c": "3"}"#,
        ]
    );
}

pub(crate) async fn a_staged_contact_that_is_added_by_hand_leaves_nothing_to_the_contact_with_its_old_id(
    db: &Db,
) {
    let list = db.store.create_contact_list("list", &[], NOW).await.unwrap().0.id;
    let into = ImportInto::List(list);
    let (row, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
    staging.stage(staged(0, 2, None, "{}"), NOW).await.unwrap();
    // The second rows of both numbers add a value.
    for n in [0, 1] {
        let more = staged(n, 1, None, &format!(r#"{{"row":"{n}"}}"#));
        staging.stage(more, NOW).await.unwrap();
    }
    // The other way round, so that SQLite gives each the id of the other one's staged contact.
    let mut by_hand = contacts(2);
    by_hand.reverse();
    assert_eq!(db.store.add_contacts(list, &by_hand).await.unwrap().contacts, 2);
    assert!(staging.finish(NOW).await.unwrap());
    assert!(db.store.publish_import(row.id, NOW).await.unwrap());
    db.store.finish_publishing(row.id).await.unwrap();
    for n in [0, 1] {
        let found = db.store.contacts_with_number(&number(n), 10).await.unwrap();
        assert_eq!(found[0].attributes.get("row"), None, "{n}");
    }
}

pub(crate) async fn an_interrupted_import_goes_on_with_another_worker(db: &Db) {
    let (row, mut first) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    let mut rows = staged(0, 100, None, "{}");
    rows.rejects.push(StagedReject {
        line: 7,
        field: Some("Phone".into()),
        reason: "empty".into(),
    });
    first.stage(rows, NOW).await.unwrap();
    assert!(
        db.store.resume_import(row.id, later(59)).await.unwrap().is_none(),
        "it runs"
    );
    let (again, mut second) = db.store.resume_import(row.id, later(61)).await.unwrap().unwrap();
    assert_eq!((again.rows_read, again.rejected), (100, 1));
    let gone = first.stage(staged(100, 10, None, "{}"), later(62)).await.unwrap();
    assert_eq!(gone, None);
    let done = second
        .stage(staged(100, 100, None, "{}"), later(62))
        .await
        .unwrap();
    assert!(done.is_some());
    assert!(db.store.stop_import(row.id).await.unwrap());
    let gone = second
        .stage(staged(200, 10, None, "{}"), later(63))
        .await
        .unwrap();
    assert_eq!(gone, None);
    let (_, third) = db.store.resume_import(row.id, later(64)).await.unwrap().unwrap();
    assert!(third.finish(later(64)).await.unwrap());
    let row = db.store.import(row.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.imported), (ImportState::Staged, Some(200)));
    let rejects = db.store.import_rejects(row.id, None, 10).await.unwrap();
    assert_eq!(rejects.len(), 1);
    assert_eq!(
        db.store.import_reasons(row.id).await.unwrap().get("empty"),
        Some(&1)
    );
    assert!(
        db.store
            .import_rejects(row.id, Some(7), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(db.store.imports(None, 10).await.unwrap(), [row]);
}

pub(crate) async fn calls_are_prepared_while_an_import_is_staged(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(20)).await;
    let leads = campaign.lease(20, NOW).await.leads;
    assert_eq!(leads.len(), 20);
    let writer = db.store.writer();
    let (row, mut staging) = db.store.begin_import(&file(&new_list()), NOW).await.unwrap();
    let stage = async {
        for n in 1..=20 {
            let rows = staged(n * 1_000, 1_000, Some("staged"), "{}");
            assert!(staging.stage(rows, NOW).await.unwrap().is_some());
        }
        assert!(staging.finish(NOW).await.unwrap());
    };
    let call = async {
        for lead in &leads {
            // An attempt that waited for two seconds would be answered `Failed`.
            let (_, prepared) = campaign.prepare(&writer, lead, later(1)).await;
            assert_eq!(prepared, Prepared::Allowed);
        }
    };
    tokio::join!(stage, call);
    writer.flush().await;
    assert_eq!(
        db.store.import(row.id).await.unwrap().unwrap().imported,
        Some(20_000)
    );
}
