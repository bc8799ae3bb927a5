//! Rules of regulators at the lease and at the originate. Most contacts are in Florida, whose rules ask for a written consent and for
//! at most three attempts in 24 hours.

use crate::imports::{file, staged};
use crate::support::{Campaign, Db, NOW, asked, found, later, rules};
use paceline_core::campaign::{CampaignConfig, TaskState, TrunkConfig};
use paceline_core::command::NewAttempt;
use paceline_core::contact::{Consent, ConsentKind, Contact, Tag};
use paceline_core::dial::TrunkTemplate;
use paceline_core::gate::{CampaignPolicy, GateVerdict, Purpose};
use paceline_core::ids::PbxName;
use paceline_core::input::{Lead, Prepared};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::CallerId;
use paceline_core::time::Wall;
use paceline_store::{ImportInto, NewContact, NewTaskContacts, NewTrunk, TaskRow, Writer};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn miami() -> E164 {
    E164::new("+13055550123").unwrap()
}

pub(crate) fn consent() -> Consent {
    Consent {
        kind: ConsentKind::ExpressWritten,
        scope: Purpose::Marketing,
        granted_at: Wall(1),
        expires_at: None,
        proof: None,
    }
}

pub(crate) async fn task_of(
    db: &Db,
    campaign: &Campaign<'_>,
    numbers: &[E164],
    consents: Vec<Consent>,
) -> TaskRow {
    let contact = Contact {
        numbers: numbers.iter().cloned().map(Into::into).collect(),
        consents,
        ..Contact::default()
    };
    let contact = NewContact {
        contact,
        ..NewContact::default()
    };
    let list = db.store.create_contact_list("l", &[contact], NOW).await.unwrap();
    let contacts = NewTaskContacts::List(list.0.id);
    campaign.task_with(TaskState::Running, NOW, contacts).await
}

async fn call(campaign: &Campaign<'_>, writer: &Writer, at: Wall) {
    let lead = campaign.lease(1, at).await.leads.remove(0);
    let (new, prepared) = campaign.prepare(writer, &lead, at).await;
    assert_eq!(prepared, Prepared::Allowed);
    campaign.end(writer, &new, Outcome::Busy, at, None).await;
    writer.flush().await;
}

pub(crate) async fn attempts_to_a_number_count_whatever_the_list_that_has_it(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    for at in [NOW, later(60), later(120)] {
        task_of(db, &campaign, &[miami()], vec![consent()]).await;
        call(&campaign, &writer, at).await;
    }
    task_of(db, &campaign, &[miami()], vec![consent()]).await;
    let leased = campaign.lease(1, later(180)).await;
    let tomorrow = later(24 * 3600);
    assert_eq!(
        (leased.leads.len(), leased.deferred, leased.next_due),
        (0, 1, Some(tomorrow))
    );
    assert_eq!(campaign.lease(1, tomorrow).await.leads.len(), 1);
}

pub(crate) async fn attempts_of_one_batch_count_for_each_other(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    for at in [NOW, later(60)] {
        task_of(db, &campaign, &[miami()], vec![consent()]).await;
        call(&campaign, &writer, at).await;
    }
    let task = task_of(db, &campaign, &[miami()], vec![consent()]).await;
    let contact = db
        .store
        .task_contacts(task.id, None, 1)
        .await
        .unwrap()
        .whole()
        .unwrap()
        .remove(0);
    let lead = campaign.lease(1, later(120)).await.leads.remove(0);
    assert_eq!(lead.contact, contact.contact.id);
    let (_, third) = campaign.prepare(&writer, &lead, later(120)).await;
    assert_eq!(third, Prepared::Allowed, "the third is allowed and in progress");
    let decision = db
        .store
        .decisions_of_contact(lead.contact, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(rules(&decision).contains(&"attempts_24h"), "{decision:?}");
    assert_eq!(db.count("SELECT count(*) FROM attempts").await, 3);
}

pub(crate) async fn a_contact_without_consent_is_asked_about_again_once_one_is_imported(db: &Db) {
    let campaign = db.campaign("c").await;
    let task = task_of(db, &campaign, &[miami()], Vec::new()).await;
    assert_eq!(campaign.lease(1, NOW).await.denied, 1);
    let contact = db
        .store
        .task_contacts(task.id, None, 1)
        .await
        .unwrap()
        .whole()
        .unwrap()
        .remove(0)
        .contact;
    let decision = db
        .store
        .decisions_of_contact(contact.id, 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (decision.verdict, rules(&decision)),
        (GateVerdict::Deny, vec!["consent"])
    );
    let into = ImportInto::List(contact.list);
    let (import, mut staging) = db.store.begin_import(&file(&into), NOW).await.unwrap();
    let mut rows = staged(0, 1, None, "{}");
    rows.contacts[0].contact.numbers = vec![miami().into()];
    rows.contacts[0].contact.consents = vec![consent()];
    staging.stage(rows, NOW).await.unwrap();
    staging.finish(NOW).await.unwrap();
    assert!(db.store.publish_import(import.id, NOW).await.unwrap());
    db.store.finish_publishing(import.id).await.unwrap();
    assert_eq!(found(&campaign.lease(1, later(1)).await), [miami().expose()]);
}

pub(crate) async fn a_number_taken_off_the_do_not_call_list_is_asked_about_again(db: &Db) {
    let campaign = db.campaign("c").await;
    task_of(db, &campaign, &[miami()], vec![consent()]).await;
    db.store.add_dnc(&[miami()], &asked(NOW)).await.unwrap();
    assert_eq!(campaign.lease(1, NOW).await.denied, 1);
    let entry = db.store.dnc_entries_of(&miami()).await.unwrap().remove(0);
    let tasks = db.store.remove_dnc(entry.id, later(1)).await.unwrap();
    assert_eq!(tasks.unwrap().len(), 1, "the dialer is told of the task");
    assert_eq!(found(&campaign.lease(1, later(1)).await), [miami().expose()]);
}

pub(crate) async fn a_bucket_waits_only_while_all_numbers_of_its_contacts_must(db: &Db) {
    let campaign = db.campaign("c").await;
    // 10:00 in Miami. It is 07:00 in Los Angeles, whose rules wait until 08:00.
    let los_angeles = E164::new("+12135550123").unwrap();
    task_of(db, &campaign, &[los_angeles.clone(), miami()], vec![consent()]).await;
    let leased = campaign.lease(1, NOW).await;
    assert_eq!((leased.deferred_buckets, leased.deferred), (0, 1), "one by one");
    task_of(db, &campaign, &[los_angeles], vec![consent()]).await;
    let leased = campaign.lease(1, NOW).await;
    assert_eq!((leased.deferred_buckets, leased.deferred), (1, 0));
}

pub(crate) async fn an_allowlist_rule_of_an_overlay_reads_the_tags_of_the_contact(db: &Db) {
    const CHOSEN: &str =
        "name = 'acme'\n[[rule]]\nid = 'chosen'\ncitation = 'our own'\nallowlist = { tags = ['chosen'] }\n";
    let mut campaign = db.campaign("c").await;
    campaign.rules = Arc::new(campaign.rules.with_overlay("acme.toml", CHOSEN).unwrap());
    let (chosen, other) = (miami(), E164::new("+13055550124").unwrap());
    let contact = |number: &E164, tags: &[&str]| NewContact {
        contact: Contact {
            numbers: vec![number.clone().into()],
            consents: vec![consent()],
            tags: tags.iter().map(|tag| Tag::new(tag).unwrap()).collect(),
            ..Contact::default()
        },
        ..NewContact::default()
    };
    let contacts = [contact(&other, &["red"]), contact(&chosen, &["blue", "chosen"])];
    let list = db.store.create_contact_list("l", &contacts, NOW).await.unwrap();
    let contacts = NewTaskContacts::List(list.0.id);
    campaign.task_with(TaskState::Running, NOW, contacts).await;
    let leased = campaign.lease(2, NOW).await;
    assert_eq!(
        (found(&leased), leased.denied),
        (vec![chosen.expose().to_owned()], 1)
    );
    let (_, prepared) = campaign.prepare(&db.store.writer(), &leased.leads[0], NOW).await;
    assert_eq!(prepared, Prepared::Allowed);
}

pub(crate) async fn a_small_lease_takes_its_contacts_from_few_buckets(db: &Db) {
    let campaign = db.campaign("c").await;
    // 10:00 in Washington, in Atlanta and in Boston: three buckets of ten contacts.
    let mut contacts = Vec::new();
    for area in ["202", "404", "617"] {
        for n in 0..10 {
            let number = E164::new(&format!("+1{area}55501{n:02}")).unwrap();
            let contact = Contact {
                numbers: vec![number.into()],
                consents: vec![consent()],
                ..Contact::default()
            };
            contacts.push(NewContact {
                contact,
                ..NewContact::default()
            });
        }
    }
    let list = db.store.create_contact_list("l", &contacts, NOW).await.unwrap();
    let contacts = NewTaskContacts::List(list.0.id);
    campaign.task_with(TaskState::Running, NOW, contacts).await;
    assert_eq!(db.count("SELECT count(*) FROM task_buckets").await, 3);
    let areas = |leads: &[Lead]| -> BTreeSet<String> {
        let areas = leads.iter().map(|lead| lead.number.expose()[..5].to_owned());
        areas.collect()
    };
    let leased = campaign.lease(8, NOW).await;
    assert_eq!((leased.leads.len(), areas(&leased.leads).len()), (8, 1));
    let leased = campaign.lease(20, NOW).await;
    assert_eq!(leased.leads.len(), 20);
}

pub(crate) async fn a_contact_that_one_trunk_may_not_call_is_called_by_another(db: &Db) {
    let campaign = db.campaign("c").await;
    // Monday, 11:00 in Sydney, where the caller id must be shown.
    let monday = later(57 * 3_600);
    let trunk = |id, shown: Option<&str>| TrunkConfig {
        id,
        name: "carrier".into(),
        pbx: PbxName::new("office"),
        dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
        caller_id: shown.map(|shown| CallerId::new(shown).unwrap()),
    };
    let other = NewTrunk {
        name: "other".into(),
        pbx: PbxName::new("office"),
        dial: TrunkTemplate::new("PJSIP/{number}@other").unwrap(),
        caller_id: None,
    };
    let other = db.store.create_trunk(&other).await.unwrap().id;
    let (withheld, shown) = (campaign.trunk, other);
    let config = CampaignConfig {
        id: campaign.id,
        settings: campaign.settings(),
        trunks: vec![trunk(withheld, None), trunk(shown, Some("+61255501200"))],
    };
    let policy = Arc::new(CampaignPolicy::new(&campaign.rules, Arc::new(config)));
    let sydney = E164::new("+61255501234").unwrap();
    task_of(db, &campaign, &[sydney], Vec::new()).await;
    let writer = db.store.writer();
    let call = async |trunk, at| {
        let lead = db.store.lease(&policy, 1, at).await.unwrap().leads.pop()?;
        let new = NewAttempt {
            trunk,
            ..campaign.new_attempt(&lead, at)
        };
        let prepared = writer.prepare(new, policy.clone()).await.await;
        writer.flush().await;
        Some(prepared)
    };
    assert_eq!(call(withheld, monday).await, Some(Prepared::Refused));
    let after = |seconds| monday.plus(Duration::from_secs(seconds));
    assert_eq!(call(withheld, after(30)).await, None, "it waits a minute");
    assert_eq!(call(withheld, after(90)).await, Some(Prepared::Refused));
    assert_eq!(call(shown, after(180)).await, Some(Prepared::Allowed));
}
