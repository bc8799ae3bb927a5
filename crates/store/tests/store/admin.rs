//! All other settings of users.

use crate::support::{Db, NOW, asked, later, number, numbers};
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::CampaignState;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::command::Change;
use paceline_core::contact::Contact;
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::ids::{AgentId, CampaignId, ContactListId, PbxName, TrunkId};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_store::{
    Archiving, ContactFilter, Deleted, NewAgent, NewApiKey, NewContact, NewTrunk, Role, StoreError,
};
use std::collections::BTreeMap;
use std::error::Error;

pub(crate) async fn campaigns_keep_their_settings_and_trunks(db: &Db) {
    let store = &db.store;
    let (a, b) = (db.campaign("a").await, db.campaign("b").await);
    let mut settings = CampaignSettings::default();
    settings.dialing.ring_timeout_ms = 17_000;
    let both = [b.trunk, a.trunk];
    let row = store
        .create_campaign("both", &settings, &both, later(1))
        .await
        .unwrap();
    assert_eq!(
        (row.state, &row.settings, row.trunks.as_slice()),
        (CampaignState::Draft, &settings, &both[..])
    );
    assert_eq!(store.campaign(row.id).await.unwrap(), Some(row.clone()));
    assert_eq!(store.campaign_by_name("both").await.unwrap(), Some(row.clone()));
    let dial = store.dial_campaign(row.id).await.unwrap().unwrap();
    assert_eq!((&dial.settings, dial.state), (&settings, CampaignState::Draft));
    let names: Vec<_> = dial.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
    assert_eq!(names, ["b-trunk", "a-trunk"]);
    let taken = store.create_campaign("both", &settings, &[], NOW).await;
    assert!(matches!(taken, Err(StoreError::Taken)), "{taken:?}");
    for trunks in [[a.trunk, TrunkId(99)], [a.trunk, a.trunk]] {
        let refused = store.set_campaign_trunks(row.id, &trunks).await;
        assert!(
            matches!(refused, Err(StoreError::NoTrunk { index: 1 })),
            "{refused:?}"
        );
    }
    assert_eq!(
        store.campaign(row.id).await.unwrap().unwrap().trunks,
        both,
        "as before"
    );
    store.set_campaign_trunks(row.id, &[a.trunk]).await.unwrap();
    assert!(
        store
            .set_campaign_settings(row.id, &CampaignSettings::default(), NOW)
            .await
            .unwrap()
    );
    assert!(
        !store
            .set_campaign_settings(CampaignId(99), &settings, NOW)
            .await
            .unwrap()
    );
    assert!(matches!(
        store.set_campaign_trunks(CampaignId(99), &[]).await,
        Err(StoreError::NoCampaign)
    ));
    let changed = store.campaign(row.id).await.unwrap().unwrap();
    assert_eq!(
        (changed.settings, changed.trunks),
        (CampaignSettings::default(), vec![a.trunk])
    );
}

pub(crate) async fn a_campaign_in_use_cannot_be_archived(db: &Db) {
    let campaign = db.campaign("c").await;
    let id = campaign.id;
    let archive = async || db.store.archive_campaign(id).await.unwrap();
    assert_eq!(archive().await, Archiving::WrongState, "active");
    campaign.task(&numbers(2)).await;
    let leads = campaign.lease(2, NOW).await.leads;
    let writer = db.store.writer();
    let (called, _) = campaign.prepare(&writer, &leads[0], NOW).await;
    let agent = |state| Change::Agent {
        agent: campaign.agent,
        state,
        pbx: Some(PbxName::new("office")),
        leg: None,
        wants: Wants::Pause,
        reason: AgentReason::TakenOver,
        at: NOW,
    };
    writer.change(id, agent(AgentState::Paused)).await;
    writer.flush().await;
    let (active, paused) = (CampaignState::Active, CampaignState::Paused);
    assert!(db.store.move_campaign(id, &[active], paused).await.unwrap());
    assert_eq!(archive().await, Archiving::InUse, "a call and an agent");
    campaign
        .end(&writer, &called, Outcome::Answered, later(1), None)
        .await;
    writer.flush().await;
    assert_eq!(archive().await, Archiving::InUse, "an agent");
    writer.change(id, agent(AgentState::Offline)).await;
    writer.flush().await;
    assert_eq!(archive().await, Archiving::Done);
    assert_eq!(archive().await, Archiving::WrongState, "archived");
    let left = db.store.dial_campaigns().await.unwrap();
    assert_eq!(
        left.iter().map(|c| c.state).collect::<Vec<_>>(),
        [CampaignState::Archived],
        "a number is still leased"
    );
    db.store.recover(id, later(2)).await.unwrap();
    assert_eq!(db.store.dial_campaigns().await.unwrap(), []);
    assert_eq!(db.count("SELECT count(*) FROM number_leases").await, 0);
}

pub(crate) async fn a_campaign_moves_only_from_the_states_named(db: &Db) {
    let id = db.campaign("c").await.id;
    let (draft, active) = (CampaignState::Draft, CampaignState::Active);
    assert!(
        db.store
            .move_campaign(id, &[active], CampaignState::Paused)
            .await
            .unwrap()
    );
    assert!(
        db.store
            .move_campaign(id, &[CampaignState::Paused, draft], active)
            .await
            .unwrap()
    );
    assert!(
        !db.store
            .move_campaign(id, &[draft], CampaignState::Archived)
            .await
            .unwrap()
    );
    assert_eq!(db.store.live_campaigns().await.unwrap().len(), 1);
    assert!(
        db.store
            .move_campaign(id, &[active], CampaignState::Archived)
            .await
            .unwrap()
    );
    assert!(
        db.store.live_campaigns().await.unwrap().is_empty()
            && db.store.dial_campaigns().await.unwrap().is_empty()
    );
    assert_eq!(db.store.dial_campaign(id).await.unwrap(), None);
}

pub(crate) async fn a_trunk_in_use_cannot_be_deleted(db: &Db) {
    let campaign = db.campaign("c").await;
    assert_eq!(
        db.store.delete_trunk(campaign.trunk).await.unwrap(),
        Deleted::InUse
    );
    assert_eq!(
        db.store.campaigns_of_trunk(campaign.trunk).await.unwrap(),
        [campaign.id]
    );
    let new = NewTrunk {
        name: "spare".into(),
        pbx: PbxName::new("lab"),
        dial: TrunkTemplate::new("Local/{digits}@out/n").unwrap(),
        caller_id: Some(paceline_core::pbx::CallerId::new("12025550100").unwrap()),
    };
    let changed = db
        .store
        .replace_trunk(campaign.trunk, &new)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(db.store.trunk(campaign.trunk).await.unwrap(), Some(changed));
    assert!(matches!(
        db.store.create_trunk(&new).await,
        Err(StoreError::Taken)
    ));
    assert_eq!(
        db.store
            .replace_trunk(
                TrunkId(99),
                &NewTrunk {
                    name: "x".into(),
                    ..new.clone()
                }
            )
            .await
            .unwrap(),
        None
    );
    db.store.set_campaign_trunks(campaign.id, &[]).await.unwrap();
    assert_eq!(
        db.store.delete_trunk(campaign.trunk).await.unwrap(),
        Deleted::Done
    );
    assert_eq!(
        db.store.delete_trunk(campaign.trunk).await.unwrap(),
        Deleted::Missing
    );
    let next = db.store.create_trunk(&new).await.unwrap();
    assert!(next.id > campaign.trunk, "a deleted trunk's id stays its own");
}

pub(crate) async fn agents_are_changed_only_while_offline(db: &Db) {
    let campaign = db.campaign("c").await;
    let agent = |name: &str, extension: &str| NewAgent {
        name: name.into(),
        pbx: PbxName::new("office"),
        extension: Extension::new(extension).unwrap(),
    };
    for taken in [agent("c-agent", "8"), agent("other", "c")] {
        assert!(matches!(
            db.store.create_agent(&taken, NOW).await,
            Err(StoreError::Taken)
        ));
    }
    let changed = db
        .store
        .replace_agent(campaign.agent, &agent("new", "9"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.extension.as_str(), changed.state),
        ("new", "9", AgentState::Offline)
    );
    let writer = db.store.writer();
    let state = |state| Change::Agent {
        agent: campaign.agent,
        state,
        pbx: None,
        leg: None,
        wants: Wants::Calls,
        reason: AgentReason::TakenOver,
        at: NOW,
    };
    writer.change(campaign.id, state(AgentState::Ringing)).await;
    writer.flush().await;
    assert_eq!(
        db.store
            .replace_agent(campaign.agent, &agent("newer", "9"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        db.store.delete_agent(campaign.agent).await.unwrap(),
        Deleted::InUse
    );
    writer.change(campaign.id, state(AgentState::Offline)).await;
    writer.flush().await;
    assert_eq!(
        db.store.delete_agent(campaign.agent).await.unwrap(),
        Deleted::Done
    );
    assert_eq!(
        db.store.delete_agent(campaign.agent).await.unwrap(),
        Deleted::Missing
    );
    assert_eq!(db.store.agent(campaign.agent).await.unwrap(), None);
}

pub(crate) async fn an_api_key_is_found_listed_and_revoked(db: &Db) {
    let new = NewApiKey {
        name: "crm",
        salt: &[1, 2],
        token_hmac: &[3, 4],
        role: Role::Agent,
        agent: Some(AgentId(7)),
        sees_numbers: true,
        created_at: NOW,
    };
    let row = db.store.create_api_key(&new).await.unwrap();
    assert_eq!(db.store.api_key(row.id).await.unwrap(), Some(row.clone()));
    assert_eq!(
        (row.salt.as_slice(), row.role, row.agent, row.sees_numbers),
        (&[1, 2][..], Role::Agent, Some(AgentId(7)), true)
    );
    assert!(matches!(
        db.store.create_api_key(&new).await,
        Err(StoreError::Taken)
    ));
    assert!(db.store.revoke_api_key(row.id, later(5)).await.unwrap());
    assert!(db.store.revoke_api_key(row.id, later(6)).await.unwrap());
    assert!(!db.store.revoke_api_key(99, NOW).await.unwrap());
    assert_eq!(
        db.store.api_keys(None, 10).await.unwrap()[0].revoked_at,
        Some(later(5)),
        "the first time counts"
    );
}

pub(crate) async fn the_do_not_call_list_takes_a_number_once(db: &Db) {
    assert_eq!(db.store.add_dnc(&numbers(3), &asked(NOW)).await.unwrap(), 3);
    assert_eq!(db.store.add_dnc(&numbers(5), &asked(later(1))).await.unwrap(), 2);
    let entry = db.store.dnc_entries_of(&number(0)).await.unwrap().remove(0);
    assert_eq!((entry.reason.as_str(), entry.added_at), ("asked", NOW));
    let newest = db.store.dnc_entries(None, 2).await.unwrap();
    let rest = db.store.dnc_entries(Some(newest[1].id), 10).await.unwrap();
    assert_eq!(
        (newest.len(), rest.len(), rest[2].number.clone()),
        (2, 3, number(0))
    );
    assert!(db.store.remove_dnc(entry.id, NOW).await.unwrap().is_some());
    assert!(db.store.remove_dnc(entry.id, NOW).await.unwrap().is_none());
    assert_eq!(db.store.dnc_entries_of(&number(0)).await.unwrap(), []);
}

pub(crate) async fn lists_are_paged_by_their_keys(db: &Db) {
    for name in ["a", "b", "c"] {
        db.campaign(name).await;
    }
    let first = db.store.campaigns(None, 2).await.unwrap();
    let rest = db.store.campaigns(Some(first[1].id.0), 2).await.unwrap();
    let names: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|row| (row.name.as_str(), row.trunks.len()))
        .collect();
    assert_eq!(names, [("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(db.store.trunks(Some(1), 10).await.unwrap().len(), 2);
    assert_eq!(db.store.agents(Some(AgentId(2)), 10).await.unwrap().len(), 1);
    let (list, added) = db
        .store
        .create_contact_list("l", &contacts(5), NOW)
        .await
        .unwrap();
    assert_eq!(added.contacts, 5);
    let all = ContactFilter::default();
    let page = db.store.contacts(list.id, &all, None, 3).await.unwrap();
    let rest = db
        .store
        .contacts(list.id, &all, Some(page[2].id), 3)
        .await
        .unwrap();
    assert_eq!((page.len(), rest.len()), (3, 2));
    assert_eq!(
        db.store.contact(rest[1].id).await.unwrap().as_ref(),
        Some(&rest[1])
    );
    assert_eq!(
        (
            rest[1].contact.numbers[0].number.clone(),
            rest[1].attributes["plan"].as_str()
        ),
        (number(4), "gold")
    );
}

pub(crate) fn contacts(count: u32) -> Vec<NewContact> {
    let contact = |number: E164| NewContact {
        contact: Contact {
            numbers: vec![number.into()],
            name: Some("A. Example".into()),
            time_zone: Some("Europe/Berlin".into()),
            ..Contact::default()
        },
        attributes: BTreeMap::from([("plan".to_owned(), "gold".to_owned())]),
    };
    numbers(count).into_iter().map(contact).collect()
}

pub(crate) async fn a_list_counts_a_number_once(db: &Db) {
    let doubled = [contacts(3), contacts(2)].concat();
    let (list, added) = db.store.create_contact_list("l", &doubled, NOW).await.unwrap();
    assert_eq!(
        (added.contacts, db.store.count_contacts(list.id).await.unwrap()),
        (3, 3)
    );
    let added = db.store.add_contacts(list.id, &contacts(700)).await.unwrap();
    assert_eq!(added.contacts, 697);
    let none = db.store.add_contacts(ContactListId(99), &contacts(1)).await;
    assert!(matches!(none, Err(StoreError::NoList)), "{none:?}");
    assert_eq!(db.store.contact_lists(None, 10).await.unwrap(), [list]);
}

pub(crate) async fn an_error_never_repeats_a_value(db: &Db) {
    // First a stored value that cannot be read, then a value that the database refuses.
    let campaign = db.campaign("c").await;
    let task = campaign.task(&[number(42)]).await;
    db.run("UPDATE contact_numbers SET number = 'secret-42'").await;
    let contacts = db.store.task_contacts(task.id, None, 10).await.unwrap();
    let error = contacts.whole().unwrap_err();
    let mut told = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(" {error} {error:?}");
        source = error.source();
    }
    assert!(!told.contains("secret"), "{told}");
    let name = "secret\0name";
    let refused = db.store.create_contact_list(name, &[], NOW).await;
    let told = refused.map_or_else(|error| format!("{error:?}"), |_| String::new());
    assert!(!told.contains("secret"), "{told}");
    if !db.is_sqlite() {
        assert!(told.contains("SQLSTATE 22021"), "{told}");
    }
    db.run("UPDATE contact_numbers SET number = '+12025550142'").await;
}
