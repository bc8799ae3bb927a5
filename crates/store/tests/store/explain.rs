//! An explanation gives the same result as the lease.

use crate::support::{Campaign, Db, NOW, asked, ended, later, leg_ended, number, numbers};
use paceline_core::campaign::TaskState;
use paceline_core::contact::{Consent, ConsentKind, Contact};
use paceline_core::gate::{Forecast, ForecastReport, GateVerdict, Purpose};
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use paceline_store::{LaterBy, NewContact, NewTaskContacts, TaskRow};

fn e164(text: &str) -> E164 {
    E164::new(text).unwrap()
}

fn contact(numbers: &[&str], consents: Vec<Consent>) -> NewContact {
    let contact = Contact {
        numbers: numbers.iter().map(|text| e164(text).into()).collect(),
        consents,
        ..Contact::default()
    };
    NewContact {
        contact,
        ..NewContact::default()
    }
}

fn written() -> Consent {
    Consent {
        kind: ConsentKind::ExpressWritten,
        scope: Purpose::Marketing,
        granted_at: Wall(1),
        expires_at: None,
        proof: None,
    }
}

/// Contacts with every possible result: it is 10:00 in Miami, 15:00 in London and 23:00 in Hong Kong.
fn mixed() -> Vec<NewContact> {
    vec![
        contact(&["+442079460001"], vec![]),
        contact(&["+442079460002"], vec![]),
        contact(&["+13055550123"], vec![]),
        contact(&["+13055550124"], vec![written()]),
        contact(&["+85223456781"], vec![]),
        contact(&["+85223456782", "+442079460003"], vec![]),
        contact(&["+442079460004"], vec![]),
        contact(&["+442079460005", "+442079460006"], vec![]),
        contact(&["+18005550100"], vec![]),
    ]
}

async fn list(db: &Db, contacts: &[NewContact]) -> ContactListId {
    db.store
        .create_contact_list("l", contacts, NOW)
        .await
        .unwrap()
        .0
        .id
}

async fn task(campaign: &Campaign<'_>, list: ContactListId) -> TaskRow {
    let contacts = NewTaskContacts::List(list);
    campaign.task_with(TaskState::Running, NOW, contacts).await
}

async fn forecast(db: &Db, campaign: &Campaign<'_>, list: ContactListId, at: Wall) -> ForecastReport {
    let policy = campaign.policy();
    let mut forecast = Forecast::new(policy.clone(), at);
    let mut after = Some(ContactId(0));
    while let Some(last) = after {
        let page = db.store.forecast_page(&policy, list, last, at).await.unwrap();
        page.judge(&policy, &mut forecast);
        after = page.next;
    }
    forecast.report()
}

fn rules(report: &ForecastReport) -> Vec<(&str, u64)> {
    let reasons = report.skipped_by.iter().chain(&report.waiting_by);
    let mut rules: Vec<_> = reasons
        .map(|reason| (reason.example.rule.as_str(), reason.contacts))
        .collect();
    rules.sort_unstable();
    rules
}

pub(crate) async fn a_forecast_says_of_a_list_what_the_lease_does_with_it(db: &Db) {
    let campaign = db.campaign("c").await;
    let list = list(db, &mixed()).await;
    let listed = [e164("+442079460004"), e164("+442079460005")];
    db.store.add_dnc(&listed, &asked(NOW)).await.unwrap();
    let report = forecast(db, &campaign, list, NOW).await;
    assert_eq!(
        (report.contacts, report.callable, report.waiting, report.skipped),
        (9, 4, 2, 3)
    );
    assert_eq!(
        rules(&report),
        [("consent", 1), ("hours", 2), ("no_zone", 1), ("suppressed", 1)]
    );
    assert_eq!(
        db.count("SELECT count(*) FROM gate_decisions").await,
        0,
        "nothing is stored"
    );
    task(&campaign, list).await;
    let leased = campaign.lease(20, NOW).await;
    assert_eq!((leased.leads.len(), leased.denied), (4, 3));
    let again = forecast(db, &campaign, list, NOW).await;
    assert_eq!(again, report, "a lease changes nothing of it");
}

pub(crate) async fn a_forecast_reads_past_attempts_by_contact_and_by_number(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let miami = [contact(&["+13055550124"], vec![written()])];
    for at in [NOW, later(60), later(120)] {
        task(&campaign, list(db, &miami).await).await;
        let lead = campaign.lease(1, at).await.leads.remove(0);
        let (new, _) = campaign.prepare(&writer, &lead, at).await;
        writer.change(campaign.id, leg_ended(&new, at)).await;
        writer
            .change(campaign.id, ended(&new, Outcome::Busy, at, None))
            .await;
        writer.flush().await;
    }
    let other = list(db, &miami).await;
    let report = forecast(db, &campaign, other, later(180)).await;
    assert_eq!((report.waiting, rules(&report)), (1, vec![("attempts_24h", 1)]));
    let numbers = [e164("+13055550124"), e164("+442079460001")];
    let policy = campaign.policy();
    let mut forecast = Forecast::new(policy.clone(), later(180));
    let page = db
        .store
        .forecast_numbers(&policy, &numbers, later(180))
        .await
        .unwrap();
    page.judge(&policy, &mut forecast);
    let report = forecast.report();
    assert_eq!(
        (report.callable, report.skipped),
        (1, 1),
        "a number alone has no consent"
    );
    let judged = db
        .store
        .judge_number(&policy, &numbers[0], later(180))
        .await
        .unwrap();
    assert_eq!(judged.len(), 3, "each contact of a task");
    for judged in judged {
        assert_eq!(
            judged.verdict,
            GateVerdict::Defer {
                until_ms: later(24 * 3600)
            }
        );
        assert_eq!(judged.reasons[0].rule, "attempts_24h");
    }
    assert_eq!(
        db.store.attempts_of_number(&numbers[0], 10).await.unwrap().len(),
        3
    );
}

pub(crate) async fn a_forecast_reads_every_contact_of_a_long_list_once(db: &Db) {
    let campaign = db.campaign("c").await;
    let others: Vec<_> = numbers(700)
        .iter()
        .map(|n| contact(&[n.expose()], vec![]))
        .collect();
    list(db, &others).await;
    let contacts: Vec<_> = (0..4_321)
        .map(|n| contact(&[number(1_000 + n).expose()], vec![]))
        .collect();
    let long = list(db, &contacts).await;
    let report = forecast(db, &campaign, long, NOW).await;
    assert_eq!((report.contacts, report.callable), (4_321, 4_321));
}

pub(crate) async fn a_number_is_judged_for_each_campaign_that_has_it(db: &Db) {
    let campaign = db.campaign("c").await;
    let other = db.campaign("d").await;
    let number = e164("+13055550124");
    let list = list(db, &[contact(&[number.expose()], vec![written()])]).await;
    assert_eq!(db.store.campaigns_with_number(&number).await.unwrap(), []);
    task(&campaign, list).await;
    assert_eq!(
        db.store.campaigns_with_number(&number).await.unwrap(),
        [campaign.id]
    );
    let judge = async |campaign: &Campaign<'_>| {
        let judged = db.store.judge_number(&campaign.policy(), &number, NOW).await;
        let mut judged = judged.unwrap();
        assert_eq!(judged.len(), 1);
        judged.remove(0)
    };
    assert_eq!(judge(&campaign).await.verdict, GateVerdict::Allow);
    let unknown = judge(&other).await;
    assert_eq!((unknown.contact, unknown.verdict), (None, GateVerdict::Deny));
    assert_eq!(unknown.reasons[0].rule, "consent");
    db.store
        .add_dnc(std::slice::from_ref(&number), &asked(NOW))
        .await
        .unwrap();
    let listed = judge(&campaign).await;
    assert_eq!(
        (listed.verdict, listed.reasons[0].rule.as_str()),
        (GateVerdict::Deny, "suppressed")
    );
    assert_eq!(
        db.count("SELECT count(*) FROM gate_decisions").await,
        0,
        "nothing is stored"
    );
}

pub(crate) async fn contacts_of_a_task_are_counted_by_what_they_wait_for(db: &Db) {
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let policy = campaign.policy();
    let task = task(&campaign, list(db, &mixed()).await).await;
    let standing = db.store.task_standing(&policy, task.id, NOW).await.unwrap();
    // No lease has run yet, so it is not stored yet that it is night in Hong Kong.
    assert_eq!((standing.due, standing.later), (8, 0));
    assert_eq!(standing.waiting.len(), 1);
    assert_eq!(
        (
            standing.waiting[0].contacts,
            standing.waiting[0].time_zones[0].as_str()
        ),
        (1, "Asia/Hong_Kong")
    );
    let mut forecast = Forecast::new(policy.clone(), NOW);
    for page in &standing.due_pages {
        page.judge(&policy, &mut forecast);
    }
    let said = forecast.report();
    assert_eq!(
        (said.contacts, said.callable, said.waiting, said.skipped),
        (8, 5, 1, 2)
    );
    let leased = campaign.lease(20, NOW).await;
    let lead = leased
        .leads
        .iter()
        .find(|lead| lead.number == e164("+442079460001"))
        .unwrap();
    let (new, _) = campaign.prepare(&writer, lead, NOW).await;
    writer.change(campaign.id, leg_ended(&new, NOW)).await;
    writer
        .change(campaign.id, ended(&new, Outcome::Busy, NOW, Some(later(600))))
        .await;
    writer.flush().await;
    let standing = db.store.task_standing(&policy, task.id, later(1)).await.unwrap();
    // One waits for its retry; the gate deferred the one whose first number is in Hong Kong.
    assert_eq!((standing.due, standing.later), (0, 2));
    let mut causes: Vec<_> = standing.later_by.into_iter().collect();
    causes.sort_by_key(|(by, _)| matches!(by, LaterBy::Retry(_)));
    let [(LaterBy::Gate(rule), 1), (LaterBy::Retry(Outcome::Busy), 1)] = causes.as_slice() else {
        panic!("{causes:?}");
    };
    assert_eq!(rule.rule, "hours");
    let mut denied: Vec<_> = standing
        .denied_by
        .iter()
        .map(|(rule, n)| (rule.rule.as_str(), *n))
        .collect();
    denied.sort_unstable();
    assert_eq!(denied, [("consent", 1), ("no_zone", 1)]);
}
