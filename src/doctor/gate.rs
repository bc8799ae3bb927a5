//! Checks whether the test call may be placed. It makes a phone ring like any other call, so the do-not-call list and the
//! calling hours apply too. Input: the number, and the zone of its phone. Output: the reason against it, if there is one.

use super::DoctorError;
use crate::store::Store;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::gate::{GateFacts, GateVerdict, decide};
use paceline_core::number::E164;
use paceline_core::time::Wall;
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

/// The reason why the call may not be placed now. The calling hours are those of a new campaign.
pub(super) async fn refusal(
    store: &Store,
    number: &E164,
    time_zone: Option<&str>,
    now: Wall,
) -> Result<Option<String>, DoctorError> {
    const ROWS_MAX: i64 = 100;
    let listed = store.listed(number, now).await.map_err(DoctorError::Store)?;
    if SuppressionSettings::default().refuses(&listed).is_some() {
        return Ok(Some("the number is on a do-not-call list".to_owned()));
    }
    let zones: Vec<String> = match time_zone {
        Some(zone) => vec![zone.to_owned()],
        None => {
            let contacts = store.contacts_with_number(number, ROWS_MAX).await;
            let stated = contacts
                .map_err(DoctorError::Store)?
                .into_iter()
                .filter_map(|c| c.contact.time_zone);
            let stated: Vec<_> = stated.collect();
            if stated.is_empty() {
                let places = paceline_places::of_number(number);
                places.zones.iter().map(|zone| zone.name().to_owned()).collect()
            } else {
                stated
            }
        }
    };
    let hours = CampaignSettings::default().hours;
    if zones.is_empty() {
        let why = "this number does not say where its phone is: say it with `--time-zone`, such as `--time-zone America/New_York`";
        return Ok(Some(why.to_owned()));
    }
    for zone in zones {
        let facts = GateFacts {
            time_zone: Some(zone.clone()),
            suppressed: None,
        };
        match decide(&hours, &facts, now, Duration::from_secs(super::call::RING_S)).verdict {
            GateVerdict::Allow => {}
            GateVerdict::Defer { until_ms } => {
                let at = Timestamp::from_millisecond(until_ms.0)
                    .ok()
                    .zip(TimeZone::get(&zone).ok());
                let at = at.map(|(at, zone)| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string());
                let from = at
                    .map(|at| format!(", it may be placed from {at} there"))
                    .unwrap_or_default();
                return Ok(Some(format!("it is not a time to call in {zone}{from}")));
            }
            GateVerdict::Deny => return Ok(Some(format!("`{zone}` is not the IANA time zone of a place"))),
        }
    }
    Ok(None)
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
        let ask = async |number: &E164, zone, now| refusal(&store, number, zone, now).await.unwrap();

        let toll_free = number("+18005550123");
        let nowhere = ask(&toll_free, None, noon_in_york).await.unwrap();
        assert!(nowhere.contains("--time-zone"), "{nowhere}");
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
