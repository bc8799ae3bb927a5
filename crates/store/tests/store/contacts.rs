//! Contacts with several numbers and an external id: the owner of a record, its additions, and the number to dial.

use crate::imports::{file, new_list, staged};
use crate::support::{Campaign, Db, NOW, asked, found, later, number};
use paceline_core::campaign::TaskState;
use paceline_core::contact::{
    Address, Consent, ConsentKind, Contact, CountryCode, ExternalId, Label, Language, NumberKind, Tag, Tier,
};
use paceline_core::gate::Purpose;
use paceline_core::ids::ContactListId;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use paceline_store::{
    ContactFilter, ContactRow, ImportInto, NewContact, NewTaskContacts, Staged, StagedContact,
};

fn contact(numbers: &[u32], external_id: Option<&str>) -> Contact {
    Contact {
        numbers: numbers.iter().map(|n| number(*n).into()).collect(),
        external_id: external_id.map(|id| ExternalId::new(id).unwrap()),
        ..Contact::default()
    }
}

fn new(contact: Contact) -> NewContact {
    NewContact {
        contact,
        ..NewContact::default()
    }
}

/// A contact with a value in every field.
fn whole() -> Contact {
    let mut contact = contact(&[1, 2], Some("crm-1"));
    contact.numbers[0].kind = Some(NumberKind::Mobile);
    contact.numbers[1].label = Some(Label::new("Home Phone").unwrap());
    Contact {
        name: Some("A. Example".into()),
        time_zone: Some("America/New_York".into()),
        language: Some(Language::new("es-MX").unwrap()),
        tier: Some(Tier::new(2).unwrap()),
        address: Address {
            country: Some(CountryCode::new("US").unwrap()),
            state: Some(Tag::new("NY").unwrap()),
            postal_code: Some(paceline_core::contact::PostalCode::new("10001").unwrap()),
        },
        tags: ["vip", "renewal"].map(|tag| Tag::new(tag).unwrap()).into(),
        consents: vec![Consent {
            kind: ConsentKind::ExpressWritten,
            scope: Purpose::Marketing,
            granted_at: Wall(1),
            expires_at: Some(Wall(2)),
            proof: None,
        }],
        ..contact
    }
}

async fn list_of(db: &Db, contacts: &[Contact]) -> ContactListId {
    let contacts: Vec<_> = contacts.iter().cloned().map(new).collect();
    let made = db.store.create_contact_list("l", &contacts, NOW).await.unwrap();
    made.0.id
}

async fn all(db: &Db, list: ContactListId) -> Vec<ContactRow> {
    let all = ContactFilter::default();
    db.store
        .contacts(list, &all, None, 100)
        .await
        .unwrap()
        .whole()
        .unwrap()
}

/// The contacts of a list, as `name 1,2 external-id`.
async fn listed(db: &Db, list: ContactListId) -> Vec<String> {
    let tell = |row: ContactRow| {
        let numbers = row.contact.numbers.iter().map(|n| {
            let digits = n.number.expose_digits();
            let digit = |at: std::ops::Range<usize>| digits[at].parse::<u32>().unwrap();
            (digit(6..12) - 460_000).to_string()
        });
        let numbers: Vec<_> = numbers.collect();
        let id = row.contact.external_id.as_ref().map_or("-", |id| id.as_str());
        format!(
            "{} {} {id}",
            row.contact.name.unwrap_or_default(),
            numbers.join(",")
        )
    };
    all(db, list).await.into_iter().map(tell).collect()
}

fn rows(contacts: Vec<(Contact, &str)>) -> Staged {
    let row = |(n, (contact, name)): (u64, (Contact, &str))| StagedContact {
        line: n,
        contact: Contact {
            name: Some(name.to_owned()),
            ..contact
        },
        attributes: "{}".into(),
    };
    Staged {
        rows_read: contacts.len() as u64,
        contacts: (2..).zip(contacts).map(row).collect(),
        ..staged(0, 0, None, "{}")
    }
}

/// Imports rows, each batch in its own transaction, and publishes them. Returns the list and the rejected lines with
/// their reasons.
async fn import(db: &Db, into: &ImportInto, batches: Vec<Staged>) -> (ContactListId, Vec<(u64, String)>) {
    let (row, mut staging) = db.store.begin_import(&file(into), NOW).await.unwrap();
    let mut refused = Vec::new();
    for batch in batches {
        let rejects = staging.stage(batch, NOW).await.unwrap().unwrap();
        refused.extend(rejects.into_iter().map(|reject| (reject.line, reject.reason)));
    }
    assert!(staging.finish(NOW).await.unwrap());
    assert!(db.store.publish_import(row.id, NOW).await.unwrap());
    // A start after a crash runs this too.
    db.store.fill_published_imports().await.unwrap();
    (row.list.unwrap(), refused)
}

pub(crate) async fn all_fields_of_a_contact_are_kept(db: &Db) {
    let list = list_of(db, &[contact(&[7], None), whole()]).await;
    let stored = all(db, list).await;
    assert_eq!(stored[1].contact, whole());
    assert_eq!(db.store.contact(stored[1].id).await.unwrap().unwrap(), stored[1]);
    for n in [1, 2] {
        assert_eq!(
            db.store.contacts_with_number(&number(n), 9).await.unwrap(),
            stored[1..]
        );
    }
    let find = async |external_id: Option<&str>, tag: Option<&str>| {
        let filter = ContactFilter {
            external_id: external_id.map(|id| ExternalId::new(id).unwrap()),
            tag: tag.map(|tag| Tag::new(tag).unwrap()),
        };
        db.store
            .contacts(list, &filter, None, 9)
            .await
            .unwrap()
            .whole()
            .unwrap()
    };
    for (id, tag) in [
        (Some("crm-1"), None),
        (None, Some("vip")),
        (Some("crm-1"), Some("vip")),
    ] {
        assert_eq!(find(id, tag).await, stored[1..], "{id:?} {tag:?}");
    }
    for (id, tag) in [
        (Some("crm-2"), None),
        (None, Some("new")),
        (Some("crm-2"), Some("vip")),
    ] {
        assert!(find(id, tag).await.is_empty(), "{id:?} {tag:?}");
    }
}

pub(crate) async fn an_import_keeps_all_that_is_known_of_a_contact(db: &Db) {
    let staged = StagedContact {
        line: 2,
        contact: whole(),
        attributes: "{}".into(),
    };
    let batch = Staged {
        contacts: vec![staged],
        ..rows(Vec::new())
    };
    let (list, _) = import(db, &new_list(), vec![batch.clone()]).await;
    assert_eq!(all(db, list).await[0].contact, whole());
    // The list has only one number of the contact.
    let list = list_of(db, &[contact(&[1], None)]).await;
    import(db, &ImportInto::List(list), vec![batch]).await;
    let stored = all(db, list).await.remove(0).contact;
    let kept = Contact {
        numbers: stored.numbers.clone(),
        ..whole()
    };
    assert_eq!(stored, kept);
    assert_eq!(stored.numbers.len(), 2);
}

pub(crate) async fn a_contact_is_known_by_its_external_id_or_its_first_number(db: &Db) {
    let list = list_of(db, &[contact(&[1], Some("x")), contact(&[2], None)]).await;
    let add = async |contacts: &[Contact]| {
        let contacts: Vec<_> = contacts.iter().cloned().map(new).collect();
        db.store.add_contacts(list, &contacts).await.unwrap()
    };
    let known = [
        contact(&[9], Some("x")),
        contact(&[1], None),
        contact(&[2, 8], Some("z")),
        contact(&[1], Some("z")),
        contact(&[2], Some("x")),
    ];
    assert_eq!(add(&known).await.contacts, 0);
    // Several contacts give the same office number.
    let added = add(&[
        contact(&[3, 1], Some("y")),
        contact(&[4, 1, 5], None),
        contact(&[4], None),
    ])
    .await;
    assert_eq!((added.contacts, added.numbers_left), (2, 2));
    assert_eq!(listed(db, list).await, [" 1 x", " 2 -", " 3 y", " 4,5 -"]);
}

pub(crate) async fn rows_of_a_contact_add_to_it_and_a_row_of_two_contacts_is_refused(db: &Db) {
    for apart in [false, true] {
        let all = vec![
            (contact(&[1], Some("x")), "A"),
            (contact(&[2, 20], None), "B"),
            (contact(&[3], Some("x")), "later"),
            (contact(&[2, 3, 21], Some("b")), "later"),
            (contact(&[1], Some("y")), "another id"),
            (contact(&[2], Some("x")), "two contacts"),
            (contact(&[4, 20], None), "C"),
            (contact(&[3], None), "by a further number"),
        ];
        let batches: Vec<Staged> = if apart {
            let one = |(line, row): (u64, (Contact, &str))| {
                let mut batch = rows(vec![(row.0, row.1)]);
                batch.contacts[0].line = line;
                batch
            };
            (2..).zip(all).map(one).collect()
        } else {
            vec![rows(all)]
        };
        let (list, refused) = import(db, &new_list(), batches).await;
        assert_eq!(
            listed(db, list).await,
            ["A 1,3 x", "B 2,20,21 b", "C 4 -"],
            "apart: {apart}"
        );
        let lines: Vec<u64> = refused.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [6, 7, 9], "apart: {apart}");
        assert!(refused[0].1.contains("another external id"), "{}", refused[0].1);
        assert!(refused[1].1.contains("that of another"), "{}", refused[1].1);
        assert!(refused[2].1.contains("a further number"), "{}", refused[2].1);
        let import = db.store.imports(None, 1).await.unwrap().remove(0);
        assert_eq!(
            (
                import.imported,
                import.listed,
                import.rejected,
                import.filled,
                import.numbers_left
            ),
            (Some(3), 0, 3, Some(0), 2),
            "apart: {apart}"
        );
        assert_eq!(
            db.store.import_rejects(import.id, None, 9).await.unwrap().len(),
            3
        );
    }
}

pub(crate) async fn numbers_that_an_import_adds_are_seen_and_dialed_once_it_is_published(db: &Db) {
    let campaign = db.campaign("c").await;
    let list = list_of(db, &[contact(&[1], Some("x"))]).await;
    let contacts = NewTaskContacts::List(list);
    campaign.task_with(TaskState::Running, NOW, contacts).await;
    db.store.add_dnc(&[number(1)], &asked(NOW)).await.unwrap();
    let into = ImportInto::List(list);
    for published in [false, true] {
        let (row, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
        staging
            .stage(rows(vec![(contact(&[5], Some("x")), "A")]), NOW)
            .await
            .unwrap();
        assert_eq!(listed(db, list).await, [" 1 x"], "not yet");
        assert!(
            db.store
                .contacts_with_number(&number(5), 9)
                .await
                .unwrap()
                .is_empty()
        );
        if published {
            assert!(staging.finish(NOW).await.unwrap());
            assert!(db.store.publish_import(row.id, NOW).await.unwrap());
            db.store.finish_publishing(row.id).await.unwrap();
            let row = db.store.import(row.id).await.unwrap().unwrap();
            assert_eq!((row.listed, row.filled), (1, Some(1)));
        } else {
            db.store.clear_import(row.id, None).await.unwrap();
            assert_eq!(db.count("SELECT count(*) FROM contact_numbers").await, 1);
        }
    }
    assert_eq!(listed(db, list).await, ["A 1,5 x"]);
    assert_eq!(found(&campaign.lease(9, later(1)).await), [number(5).expose()]);
}

pub(crate) async fn a_contact_added_by_hand_is_removed_from_an_import_that_is_only_staged(db: &Db) {
    let list = list_of(db, &[contact(&[1], None)]).await;
    let (row, mut staging) = db
        .store
        .begin_import(&file(&ImportInto::List(list)), NOW)
        .await
        .unwrap();
    let mut tagged = contact(&[2], Some("two"));
    tagged.tags.insert(Tag::new("t").unwrap());
    let batch = rows(vec![
        (tagged, "gone"),
        (contact(&[3, 4], Some("three")), "with 4"),
        (contact(&[1, 5], Some("one")), "B"),
    ]);
    staging.stage(batch, NOW).await.unwrap();
    let by_hand = [
        contact(&[2], None),
        contact(&[3], None),
        contact(&[5], Some("one")),
        contact(&[6], Some("three")),
    ];
    let by_hand: Vec<_> = by_hand.into_iter().map(new).collect();
    assert_eq!(db.store.add_contacts(list, &by_hand).await.unwrap().contacts, 4);
    assert!(staging.finish(NOW).await.unwrap());
    assert!(db.store.publish_import(row.id, NOW).await.unwrap());
    db.store.finish_publishing(row.id).await.unwrap();
    let mut all = listed(db, list).await;
    all.sort();
    assert_eq!(all, [" 2 -", " 3 -", " 5 one", " 6 three", "B 1 -", "with 4 4 -"]);
}

async fn running(db: &Db, campaign: &Campaign<'_>, contacts: &[Contact]) {
    let list = NewTaskContacts::List(list_of(db, contacts).await);
    campaign.task_with(TaskState::Running, NOW, list).await;
}

pub(crate) async fn the_first_number_that_may_be_called_is_dialed(db: &Db) {
    let campaign = db.campaign("c").await;
    running(
        db,
        &campaign,
        &[contact(&[1, 2, 3], None), contact(&[4, 5], None)],
    )
    .await;
    db.store
        .add_dnc(&[number(1), number(4), number(5)], &asked(NOW))
        .await
        .unwrap();
    let leased = campaign.lease(9, NOW).await;
    assert_eq!(found(&leased), [number(2).expose()]);
    assert_eq!(leased.denied, 1, "all of its numbers are listed");
    let writer = db.store.writer();
    let (first, prepared) = campaign.prepare(&writer, &leased.leads[0], NOW).await;
    assert_eq!(prepared, Prepared::Allowed);
    // Another contact with that number waits, even if it is in another list.
    running(db, &campaign, &[contact(&[2, 6], None)]).await;
    assert_eq!(campaign.lease(9, NOW).await.locked, 1);
    campaign
        .end(&writer, &first, Outcome::Busy, later(5), Some(later(6)))
        .await;
    writer.flush().await;
    let attempt = db.store.attempt(first.attempt).await.unwrap().unwrap();
    assert_eq!((attempt.number, attempt.number_place), (number(2), Some(2)));
    // The retry dials the same number.
    let leased = campaign.lease(9, later(6)).await;
    assert_eq!(found(&leased), [number(2).expose()]);
}

pub(crate) async fn a_number_listed_since_the_lease_leaves_the_contacts_others(db: &Db) {
    let campaign = db.campaign("c").await;
    running(db, &campaign, &[contact(&[1, 2], None)]).await;
    let writer = db.store.writer();
    for (at, leased, listed, prepared) in [(0, 1, 1, Prepared::Refused), (5, 2, 9, Prepared::Allowed)] {
        let leads = campaign.lease(9, later(at)).await;
        assert_eq!(found(&leads), [number(leased).expose()]);
        db.store.add_dnc(&[number(listed)], &asked(NOW)).await.unwrap();
        let answer = campaign.prepare(&writer, &leads.leads[0], later(at)).await;
        assert_eq!(answer.1, prepared);
    }
}
