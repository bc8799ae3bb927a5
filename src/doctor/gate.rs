//! Checks whether the test call may be placed. It makes a phone ring like any other call, so the do-not-call list and the
//! calling hours apply too. Input: the number, and the zone of its phone. Output: the reason against it, if there is one.

use super::DoctorError;
use crate::store::Store;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use paceline_core::campaign::CampaignConfig;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::gate::{
    CampaignPolicy, ContactFacts, Datum, Facts, GateVerdict, PlannedCall, Purpose, RuleVerdict, Rulebook,
    Zone,
};
use paceline_core::ids::CampaignId;
use paceline_core::number::{E164, NumberText};
use paceline_core::time::Wall;
use std::sync::Arc;
use std::time::Duration;

/// The choice whether the gate decides about the test call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskGate {
    /// The gate decides.
    Asked {
        /// The IANA zone of the phone, if the user has stated it. `None`: the zones are those of the contacts with this number,
        /// or else all zones in which the number may be. The call must be allowed in all of them.
        time_zone: Option<String>,
    },
    /// The gate is not asked. The user has demanded this, because it is the user's own phone.
    NotAsked,
}

/// The reason why the call may not be placed now, by the rules of regulators and the calling hours of a new campaign.
pub(super) async fn refusal(
    store: &Store,
    rules: &Arc<Rulebook>,
    number: &E164,
    time_zone: Option<&str>,
    now: Wall,
) -> Result<Option<String>, DoctorError> {
    const ROWS_MAX: i64 = 100;
    let listed = store.listed(number, now).await.map_err(DoctorError::Store)?;
    if SuppressionSettings::default().refuses(&listed).is_some() {
        return Ok(Some("the number is on a do-not-call list".to_owned()));
    }
    let stated: Vec<String> = match time_zone {
        Some(zone) => vec![zone.to_owned()],
        None => {
            let contacts = store.contacts_with_number(number, ROWS_MAX).await;
            let contacts = contacts.map_err(DoctorError::Store)?.into_iter();
            contacts.filter_map(|c| c.contact.time_zone).collect()
        }
    };
    let mut zones = Vec::with_capacity(stated.len());
    for name in &stated {
        match Zone::named(name) {
            Ok(zone) => zones.push(Some(zone)),
            Err(_) => return Ok(Some(format!("`{name}` is not the IANA time zone of a place"))),
        }
    }
    if zones.is_empty() {
        zones.push(None);
    }
    let policy = policy(rules);
    Ok(zones
        .into_iter()
        .find_map(|zone| against(&policy, number, zone, now)))
}

/// The rules of a new campaign. A test call sells nothing.
fn policy(rules: &Arc<Rulebook>) -> CampaignPolicy {
    let mut settings = CampaignSettings::default();
    settings.compliance.purpose = Purpose::Service;
    let config = CampaignConfig {
        id: CampaignId(0),
        settings,
        trunks: Vec::new(),
    };
    CampaignPolicy::new(rules, Arc::new(config))
}

/// The reason against a call to a phone in this zone, or anywhere where the number may be. Rules about a caller id or a ring
/// time are not asked: the test call has no campaign whose settings they could be.
fn against(policy: &CampaignPolicy, number: &E164, zone: Option<Zone>, now: Wall) -> Option<String> {
    let facts = Facts {
        number: paceline_places::of_number(number),
        address: None,
        contact: ContactFacts {
            time_zone: zone,
            ..ContactFacts::default()
        },
        history: &[],
        suppressed: &[],
        outside: None,
    };
    let call = PlannedCall {
        number: NumberText(number.expose()),
        ..policy.call(now, Duration::from_secs(super::call::RING_S))
    };
    let decision = policy.rules().decide(&call, &facts);
    let against = decision
        .reasons
        .iter()
        .filter(|reason| reason.verdict != RuleVerdict::Allow);
    let mut texts = against.filter_map(|reason| match reason.datum {
        Datum::Hours { zone, .. } => {
            let from = from(decision.verdict, zone).unwrap_or_default();
            Some(format!("it is not a time to call in {zone}{from}"))
        }
        Datum::Text(text) => Some(format!("a call to this number is never allowed: {text}")),
        Datum::Attempts { .. }
        | Datum::Pause { .. }
        | Datum::Consent { .. }
        | Datum::CallerId { .. }
        | Datum::RingTime { .. }
        | Datum::Allowlist { .. }
        | Datum::Lists(_)
        | Datum::Outside { .. } => None,
    });
    texts.next()
}

/// The end of the wait, in the time of the zone.
fn from(verdict: GateVerdict, zone: Zone) -> Option<String> {
    let GateVerdict::Defer { until_ms } = verdict else {
        return None;
    };
    let at = Timestamp::from_millisecond(until_ms.0).ok()?;
    let at = at.to_zoned(TimeZone::get(zone.name()).ok()?);
    Some(format!(
        ", it may be placed from {} there",
        at.strftime("%Y-%m-%d %H:%M")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewContact, NewDnc, StoreMetrics};
    use paceline_core::contact::Contact;
    use paceline_core::suppression::DncSource;

    fn at(text: &str) -> Wall {
        Wall(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[tokio::test]
    async fn a_test_call_keeps_to_the_do_not_call_list_and_to_hours_of_a_place_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
        let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
        let number = |text| E164::new(text).unwrap();
        let (york, berlin) = (number("+12025550123"), number("+493023125012"));
        let noon_in_york = at("2027-07-01T16:00:00Z");
        let night_in_york = at("2027-07-02T01:30:00Z");
        let ask = async |number: &E164, zone, now| {
            refusal(&store, Rulebook::shipped().unwrap(), number, zone, now)
                .await
                .unwrap()
        };

        let toll_free = number("+18005550123");
        let nowhere = ask(&toll_free, None, noon_in_york).await.unwrap();
        assert!(nowhere.contains("never allowed"), "{nowhere}");
        assert_eq!(
            ask(&york, None, noon_in_york).await,
            None,
            "area code 202 has one zone"
        );
        let (pensacola, florida) = (number("+18505550123"), number("+13055550123"));
        let early = at("2027-07-01T12:30:00Z");
        assert_eq!(ask(&florida, None, early).await, None);
        let chicago = ask(&pensacola, None, early).await.unwrap();
        assert!(chicago.contains("America/Chicago"), "{chicago}");
        let there = Some("America/New_York");
        assert_eq!(ask(&york, there, noon_in_york).await, None);
        assert_eq!(
            ask(&york, there, night_in_york).await.unwrap(),
            "it is not a time to call in America/New_York, it may be placed from 2027-07-02 08:00 there"
        );
        let fixed = ask(&york, Some("EST"), noon_in_york).await.unwrap();
        assert!(fixed.contains("not the IANA time zone of a place"), "{fixed}");
        assert_eq!(
            ask(&berlin, None, noon_in_york).await,
            None,
            "Germany has one zone"
        );
        assert!(ask(&berlin, None, night_in_york).await.is_some());

        let contact = NewContact {
            contact: Contact {
                numbers: vec![york.clone().into()],
                time_zone: Some("America/New_York".into()),
                ..Contact::default()
            },
            ..NewContact::default()
        };
        store
            .create_contact_list("l", &[contact], noon_in_york)
            .await
            .unwrap();
        assert_eq!(
            ask(&york, None, noon_in_york).await,
            None,
            "as its contact states"
        );
        store
            .add_dnc(
                std::slice::from_ref(&york),
                &NewDnc::new(DncSource::Api, "asked", noon_in_york),
            )
            .await
            .unwrap();
        let listed = ask(&york, there, noon_in_york).await.unwrap();
        assert!(listed.contains("do-not-call"), "{listed}");
        store.close().await;
    }
}
