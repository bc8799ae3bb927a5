//! Do-not-call entries and suppression lists.

use crate::support::{Db, NOW, asked, found, later, number, numbers};
use paceline_core::contact::Contact;
use paceline_core::input::Prepared;
use paceline_core::number::E164;
use paceline_core::suppression::{DncScope, ListKind, ListName};
use paceline_store::{
    ListRow, NewContact, NewDnc, NewList, NewTaskContacts, Store, StoreError, StoreMetrics, SuppressionKey,
};
use std::collections::BTreeMap;
use std::time::Duration;

const SECRET: [u8; 32] = [7; 32];

fn name(text: &str) -> ListName {
    ListName::new(text).unwrap()
}

/// Replaces a list with these numbers.
pub(crate) async fn upload(
    store: &Store,
    list: &str,
    kind: ListKind,
    numbers: &[E164],
) -> Result<ListRow, StoreError> {
    let key = store.suppression_key().unwrap();
    let hashes = numbers.iter().map(|number| key.hash(number)).collect();
    let new = NewList {
        name: name(list),
        kind,
        as_of: NOW,
        max_age: Duration::from_secs(31 * 86_400),
        rejected: 0,
        api_key: None,
    };
    store.replace_list(new, hashes, later(1)).await
}

pub(crate) async fn open(db: &Db) {
    db.store
        .open_suppression(SuppressionKey::new(&SECRET))
        .await
        .unwrap();
}

pub(crate) async fn an_entry_that_holds_longer_replaces_one_that_ends(db: &Db) {
    let until = |seconds| NewDnc {
        expires_at: Some(later(seconds)),
        ..asked(NOW)
    };
    let one = [number(0)];
    assert_eq!(db.store.add_dnc(&one, &until(100)).await.unwrap(), 1);
    assert_eq!(
        db.store.add_dnc(&one, &until(50)).await.unwrap(),
        0,
        "it is shorter"
    );
    assert_eq!(db.store.add_dnc(&one, &until(200)).await.unwrap(), 1);
    let listed = async |at| db.store.listed(&one[0], at).await.unwrap().scopes.len();
    assert_eq!((listed(later(199)).await, listed(later(200)).await), (1, 0));
    assert_eq!(db.store.add_dnc(&one, &asked(later(300))).await.unwrap(), 1);
    assert_eq!(
        db.store.add_dnc(&one, &until(900)).await.unwrap(),
        0,
        "it holds for good"
    );
    let entry = db.store.dnc_entries_of(&one[0]).await.unwrap().remove(0);
    assert_eq!((entry.expires_at, entry.added_at), (None, later(300)));
    // The number occurs twice in one request.
    let twice = [number(1), number(1)];
    assert_eq!(db.store.add_dnc(&twice, &asked(NOW)).await.unwrap(), 1);
}

pub(crate) async fn an_entry_with_a_scope_holds_for_the_campaigns_that_name_it(db: &Db) {
    let mut campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let scoped = NewDnc {
        scope: DncScope::List(name("brand-a")),
        ..asked(NOW)
    };
    db.store.add_dnc(&numbers(1), &scoped).await.unwrap();
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    assert_eq!(lead.number, number(0), "the campaign does not name the scope");
    // From now on the list applies.
    campaign.suppression.lists = vec![name("brand-a")];
    let writer = db.store.writer();
    assert_eq!(
        campaign.prepare(&writer, &lead, later(1)).await.1,
        Prepared::Refused
    );
    let decision = &db.store.decisions_of_contact(lead.contact, 1).await.unwrap()[0];
    assert!(decision.reasons[0].text.contains("do-not-call"), "{decision:?}");
    campaign.task(&numbers(3)).await;
    let leased = campaign.lease(9, later(2)).await;
    assert_eq!((leased.leads.len(), leased.denied), (2, 1));
}

pub(crate) async fn a_list_is_replaced_as_a_whole_and_read_again_after_a_restart(db: &Db) {
    open(db).await;
    let row = upload(&db.store, "us-dnc", ListKind::Registry, &numbers(5_000))
        .await
        .unwrap();
    assert_eq!((row.numbers, row.added, row.removed), (5_000, 5_000, 0));
    let mut next: Vec<E164> = (1_000..6_000).map(number).collect();
    next.push(number(1_000));
    let row = upload(&db.store, "us-dnc", ListKind::Registry, &next)
        .await
        .unwrap();
    assert_eq!((row.numbers, row.added, row.removed), (5_000, 1_000, 1_000));
    let own = upload(&db.store, "own", ListKind::Internal, &[number(1_000)])
        .await
        .unwrap();
    let other_kind = upload(&db.store, "own", ListKind::Allow, &[]).await;
    assert!(matches!(other_kind, Err(StoreError::OtherKind)));

    let again = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
    again
        .open_suppression(SuppressionKey::new(&SECRET))
        .await
        .unwrap();
    let both = [
        (name("own"), ListKind::Internal),
        (name("us-dnc"), ListKind::Registry),
    ];
    for store in [&db.store, &again] {
        assert_eq!(store.lists_holding(&number(999)).unwrap(), []);
        let mut holding = store.lists_holding(&number(1_000)).unwrap();
        holding.sort();
        assert_eq!(holding, both);
        assert_eq!(store.lists_holding(&number(5_999)).unwrap(), both[1..]);
    }
    assert_eq!(again.suppression_lists().await.unwrap(), [own, row.clone()]);
    let versions = again.suppression_versions(&name("us-dnc"), 9).await.unwrap();
    assert_eq!((versions.len(), &versions[0]), (2, &row));
    assert_eq!(
        db.count("SELECT count(DISTINCT version_id) FROM suppression_chunks")
            .await,
        2
    );
    let other = SuppressionKey::new(&[8; 32]);
    assert!(matches!(
        again.open_suppression(other).await,
        Err(StoreError::SuppressionKey)
    ));
    assert!(again.remove_list(&name("us-dnc"), NOW).await.unwrap());
    assert_eq!(again.lists_holding(&number(5_999)).unwrap(), []);
    again.close().await;
}

pub(crate) async fn a_version_that_was_not_completed_changes_nothing_and_is_cleared(db: &Db) {
    open(db).await;
    upload(&db.store, "us-dnc", ListKind::Registry, &numbers(100))
        .await
        .unwrap();
    // The process was killed after it had written some of the next version.
    let bytes = if db.is_sqlite() {
        "x'0000000000000001'"
    } else {
        "'\\x0000000000000001'"
    };
    db.run(&format!(
        "INSERT INTO suppression_chunks (version_id, chunk, hashes) VALUES (77, 0, {bytes})"
    ))
    .await;
    let again = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
    again
        .open_suppression(SuppressionKey::new(&SECRET))
        .await
        .unwrap();
    assert_eq!(again.lists_holding(&number(99)).unwrap().len(), 1);
    assert_eq!(
        db.count("SELECT count(*) FROM suppression_chunks WHERE version_id = 77")
            .await,
        0
    );
    let next = upload(&again, "us-dnc", ListKind::Registry, &numbers(10))
        .await
        .unwrap();
    assert_eq!((next.added, next.removed), (0, 90));
    db.run("DELETE FROM suppression_chunks WHERE chunk = (SELECT min(chunk) FROM suppression_chunks)")
        .await;
    again.close().await;
}

pub(crate) async fn a_damaged_list_stops_the_dialing_and_not_the_process_until_it_is_uploaded_again(db: &Db) {
    open(db).await;
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    upload(&db.store, "us-dnc", ListKind::Registry, &numbers(100))
        .await
        .unwrap();
    db.run("DELETE FROM suppression_chunks WHERE chunk = (SELECT min(chunk) FROM suppression_chunks)")
        .await;
    let again = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
    again
        .open_suppression(SuppressionKey::new(&SECRET))
        .await
        .unwrap();
    let policy = campaign.policy();
    assert!(again.lease(&policy, 9, NOW).await.is_err());
    assert!(again.lists_holding(&number(99)).is_err());
    upload(&again, "us-dnc", ListKind::Registry, &numbers(100))
        .await
        .unwrap();
    assert!(again.lease(&policy, 9, NOW).await.is_ok());
    assert_eq!(again.lists_holding(&number(99)).unwrap().len(), 1);
    again.close().await;
}

pub(crate) async fn a_store_whose_lists_are_not_loaded_leases_nothing(db: &Db) {
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    open(db).await;
    upload(&db.store, "us-dnc", ListKind::Registry, &numbers(1))
        .await
        .unwrap();
    let again = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
    let policy = campaign.policy();
    assert!(again.lease(&policy, 9, NOW).await.is_err());
    again
        .open_suppression(SuppressionKey::new(&SECRET))
        .await
        .unwrap();
    let leased = again.lease(&policy, 9, NOW).await.unwrap();
    assert_eq!(found(&leased), [number(1).expose()]);
    again.close().await;
}

pub(crate) async fn a_number_that_a_new_version_lists_is_stopped_at_every_step(db: &Db) {
    open(db).await;
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(2)).await;
    let leads = campaign.lease(2, NOW).await.leads;
    let writer = db.store.writer();
    let (_, prepared) = campaign.prepare(&writer, &leads[0], NOW).await;
    assert_eq!(prepared, Prepared::Allowed);
    assert_eq!(db.store.suppressed_leases(NOW).await.unwrap(), BTreeMap::new());
    upload(&db.store, "us-dnc", ListKind::Registry, &numbers(2))
        .await
        .unwrap();
    let leases = db.store.suppressed_leases(NOW).await.unwrap();
    assert_eq!(
        leases,
        BTreeMap::from([(campaign.id, numbers(2))]),
        "one is dialed, one is leased"
    );
    let (_, refused) = campaign.prepare(&writer, &leads[1], later(1)).await;
    assert_eq!(refused, Prepared::Refused);
    let decision = &db.store.decisions_of_contact(leads[1].contact, 1).await.unwrap()[0];
    assert!(decision.reasons[0].text.contains("registry"), "{decision:?}");
}

pub(crate) async fn a_contact_whose_first_number_is_in_a_registry_is_called_by_its_second(db: &Db) {
    open(db).await;
    let campaign = db.campaign("c").await;
    let contact = NewContact {
        contact: Contact {
            numbers: vec![number(0).into(), number(1).into()],
            ..Contact::default()
        },
        ..NewContact::default()
    };
    let list = db.store.create_contact_list("l", &[contact], NOW).await.unwrap();
    let contacts = NewTaskContacts::List(list.0.id);
    campaign
        .task_with(paceline_core::campaign::TaskState::Running, NOW, contacts)
        .await;
    let lead = campaign.lease(1, NOW).await.leads.remove(0);
    assert_eq!(lead.number, number(0));
    upload(&db.store, "us-dnc", ListKind::Registry, &numbers(1))
        .await
        .unwrap();
    let writer = db.store.writer();
    let (_, refused) = campaign.prepare(&writer, &lead, NOW).await;
    assert_eq!(refused, Prepared::Refused);
    let lead = campaign.lease(1, later(1)).await.leads.remove(0);
    assert_eq!(lead.number, number(1));
    let (_, allowed) = campaign.prepare(&writer, &lead, later(1)).await;
    assert_eq!(allowed, Prepared::Allowed);
}

pub(crate) async fn a_campaign_with_an_allowlist_calls_its_numbers_only(db: &Db) {
    open(db).await;
    let mut campaign = db.campaign("c").await;
    campaign.suppression.allowlist = Some(name("agreed"));
    campaign.task(&numbers(3)).await;
    upload(&db.store, "agreed", ListKind::Allow, &numbers(1))
        .await
        .unwrap();
    let leased = campaign.lease(9, NOW).await;
    assert_eq!(found(&leased), [number(0).expose()]);
    assert_eq!(leased.denied, 2);
    // Without the allow list no call is allowed.
    assert!(db.store.remove_list(&name("agreed"), NOW).await.unwrap());
    let writer = db.store.writer();
    let (_, refused) = campaign.prepare(&writer, &leased.leads[0], later(1)).await;
    assert_eq!(refused, Prepared::Refused);
    let decision = &db
        .store
        .decisions_of_contact(leased.leads[0].contact, 1)
        .await
        .unwrap()[0];
    assert!(decision.reasons[0].text.contains("allowlist"), "{decision:?}");
}
