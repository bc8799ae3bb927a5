//! Finds the contact of a list that a record belongs to, and fills the contact from the record. Imports and the API use it.
//!
//! A record is matched by its external id, if it has one, and by its first number. Its other numbers are not compared,
//! because many people give the number of their office. For the same reason a record without an external id whose first
//! number is a further number of another contact is refused: the two may be colleagues. A record fills empty fields and
//! replaces nothing, so the first record wins.

use super::{CONSENTS_MAX, Contact, ExternalId, NUMBERS_MAX, TAGS_MAX};
use std::collections::BTreeMap;

/// The contact that a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs<C> {
    /// No contact of the list: the record is a new contact.
    Nobody,
    /// This contact of the list.
    To(C),
    /// The contact is unclear, so the record is refused.
    Unclear(Unclear),
}

/// The reason why a record cannot be matched with one contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// One contact has the record's number, and another contact has its external id.
    #[error(
        "its number is that of one contact of the list, and its external id is that of another: correct one of them, here or there"
    )]
    TwoContacts,
    /// The contact with the record's number has a different external id.
    #[error(
        "its number is that of a contact of the list that has another external id: a number can be called for one contact only"
    )]
    OtherExternalId,
    /// The record's first number is a further number of the contact that has it.
    #[error(
        "its number is a further number of another contact of the list, so it can be the same person or a colleague: give both rows \
         one external id, or give this row another number first"
    )]
    FurtherNumber,
}

/// The contact that has a record's first number.
#[derive(Clone, Copy, Debug)]
pub struct ByNumber<'a, C> {
    /// The contact.
    pub contact: C,
    /// Its external id.
    pub external_id: Option<&'a ExternalId>,
    /// True if the number is also this contact's first number.
    pub is_first: bool,
}

/// Finds the contact that a record belongs to. `external_id` is the record's. `by_external_id` is the contact with that id.
/// `by_number` is the contact with the record's first number.
pub fn belongs<C: PartialEq>(
    external_id: Option<&ExternalId>,
    by_external_id: Option<C>,
    by_number: Option<ByNumber<'_, C>>,
) -> Belongs<C> {
    let has_another = |has: Option<&ExternalId>| has.is_some() && external_id.is_some() && has != external_id;
    match (by_external_id, by_number) {
        (None, None) => Belongs::Nobody,
        (Some(contact), None) => Belongs::To(contact),
        (Some(one), Some(other)) if one == other.contact => Belongs::To(one),
        (Some(_), Some(_)) => Belongs::Unclear(Unclear::TwoContacts),
        (None, Some(other)) if has_another(other.external_id) => Belongs::Unclear(Unclear::OtherExternalId),
        (None, Some(other)) if !other.is_first => Belongs::Unclear(Unclear::FurtherNumber),
        (None, Some(other)) => Belongs::To(other.contact),
    }
}

impl Contact {
    /// Fills empty fields from a later record of the same contact. Returns true if the record added something. New numbers,
    /// tags and consents are added up to their maximum, numbers and consents at the end. An address that differs adds nothing,
    /// because a postal code of another place is worse than none.
    pub fn fill(&mut self, later: &Contact) -> bool {
        let mut gained = blank(&mut self.external_id, &later.external_id);
        gained |= blank(&mut self.name, &later.name);
        gained |= blank(&mut self.time_zone, &later.time_zone);
        gained |= blank(&mut self.language, &later.language);
        gained |= blank(&mut self.tier, &later.tier);
        let (here, there) = (&mut self.address, &later.address);
        if agree(&here.country, &there.country)
            && agree(&here.state, &there.state)
            && agree(&here.postal_code, &there.postal_code)
        {
            gained |= blank(&mut here.country, &there.country);
            gained |= blank(&mut here.state, &there.state);
            gained |= blank(&mut here.postal_code, &there.postal_code);
        }
        for number in &later.numbers {
            if self.numbers.len() < NUMBERS_MAX && !self.numbers.iter().any(|n| n.number == number.number) {
                self.numbers.push(number.clone());
                gained = true;
            }
        }
        for tag in &later.tags {
            if self.tags.len() < TAGS_MAX && !self.tags.contains(tag) {
                gained |= self.tags.insert(tag.clone());
            }
        }
        for consent in &later.consents {
            if self.consents.len() < CONSENTS_MAX && !self.consents.contains(consent) {
                self.consents.push(consent.clone());
                gained = true;
            }
        }
        gained
    }
}

/// Adds the attributes whose names are new. Returns true if there were any.
pub fn fill_attributes(here: &mut BTreeMap<String, String>, later: &BTreeMap<String, String>) -> bool {
    let before = here.len();
    for (name, value) in later {
        here.entry(name.clone()).or_insert_with(|| value.clone());
    }
    here.len() > before
}

fn blank<T: Clone>(here: &mut Option<T>, there: &Option<T>) -> bool {
    if here.is_some() || there.is_none() {
        return false;
    }
    here.clone_from(there);
    true
}

fn agree<T: PartialEq>(here: &Option<T>, there: &Option<T>) -> bool {
    here.is_none() || there.is_none() || here == there
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Consent, ConsentKind, ContactNumber, CountryCode, Tag, Tier};
    use super::*;
    use crate::gate::Purpose;
    use crate::number::E164;
    use crate::time::Wall;
    use proptest::prelude::*;

    fn id(text: &str) -> ExternalId {
        ExternalId::new(text).unwrap()
    }

    fn first_of(contact: u8, external_id: Option<&ExternalId>) -> ByNumber<'_, u8> {
        ByNumber {
            contact,
            external_id,
            is_first: true,
        }
    }

    #[test]
    fn a_record_belongs_to_the_contact_with_its_external_id_or_its_first_number() {
        let x = id("x");
        assert_eq!(belongs::<u8>(None, None, None), Belongs::Nobody);
        assert_eq!(belongs(Some(&x), Some(1), None), Belongs::To(1));
        assert_eq!(
            belongs(Some(&x), Some(1), Some(first_of(1, Some(&x)))),
            Belongs::To(1)
        );
        assert_eq!(belongs(Some(&x), None, Some(first_of(1, None))), Belongs::To(1));
        assert_eq!(belongs(None, None, Some(first_of(1, Some(&x)))), Belongs::To(1));
    }

    #[test]
    fn a_record_belongs_to_no_contact_by_a_further_number_alone() {
        let x = id("x");
        let office = |external_id| ByNumber {
            is_first: false,
            ..first_of(1, external_id)
        };
        let unclear = Belongs::Unclear(Unclear::FurtherNumber);
        assert_eq!(belongs(None, None, Some(office(None))), unclear);
        assert_eq!(belongs(None, None, Some(office(Some(&x)))), unclear);
        assert_eq!(belongs(Some(&x), None, Some(office(None))), unclear);
        assert_eq!(belongs(Some(&x), Some(1), Some(office(Some(&x)))), Belongs::To(1));
    }

    #[test]
    fn a_record_that_matches_two_contacts_belongs_to_neither() {
        let (x, y) = (id("x"), id("y"));
        assert_eq!(
            belongs(Some(&x), Some(1), Some(first_of(2, None))),
            Belongs::Unclear(Unclear::TwoContacts)
        );
        assert_eq!(
            belongs(Some(&x), None, Some(first_of(2, Some(&y)))),
            Belongs::Unclear(Unclear::OtherExternalId)
        );
    }

    #[test]
    fn an_address_is_never_made_of_two() {
        let mut here = Contact::default();
        here.address.country = CountryCode::new("US").ok();
        let address = Address {
            country: CountryCode::new("CA").ok(),
            state: crate::contact::State::new("ON").ok(),
            postal_code: None,
        };
        let mut there = Contact {
            address,
            ..Contact::default()
        };
        assert!(!here.fill(&there));
        there.address.country = None;
        assert!(here.fill(&there));
        assert_eq!(here.address.state, there.address.state);
    }

    fn contact() -> impl Strategy<Value = Contact> {
        let number =
            (0_u8..14).prop_map(|n| ContactNumber::from(E164::new(&format!("+120255501{n:02}")).unwrap()));
        let numbers = prop::collection::vec(number, 0..14).prop_map(|mut all| {
            let mut seen = std::collections::BTreeSet::new();
            all.retain(|n| seen.insert(n.number.clone()));
            all.truncate(NUMBERS_MAX);
            all
        });
        let tags =
            prop::collection::btree_set((0_u8..60).prop_map(|n| Tag::new(&n.to_string()).unwrap()), 0..40);
        let consent = (0_i64..30).prop_map(|at| Consent {
            kind: ConsentKind::Express,
            scope: Purpose::Marketing,
            granted_at: Wall(at),
            expires_at: None,
            proof: None,
        });
        let consents = prop::collection::vec(consent, 0..15).prop_map(|mut all| {
            all.dedup();
            all
        });
        let country = prop::option::of(prop::sample::select(vec!["US", "CA"]));
        let state = prop::option::of(prop::sample::select(vec!["NY", "ON"]));
        let tier = prop::option::of(1_i64..=9);
        (
            numbers,
            tags,
            consents,
            country,
            state,
            tier,
            prop::option::of("[a-c]"),
            prop::option::of("[a-c]"),
        )
            .prop_map(
                |(numbers, tags, consents, country, state, tier, name, external)| Contact {
                    numbers,
                    external_id: external.map(|text| id(&text)),
                    name,
                    tier: tier.map(|n| Tier::new(n).unwrap()),
                    address: Address {
                        country: country.map(|c| CountryCode::new(c).unwrap()),
                        state: state.map(|s| crate::contact::State::new(s).unwrap()),
                        postal_code: None,
                    },
                    tags,
                    consents,
                    ..Contact::default()
                },
            )
    }

    proptest! {
        #[test]
        fn filling_replaces_nothing_stays_in_bounds_and_is_done_once(first in contact(), later in contact()) {
            let mut filled = first.clone();
            let gained = filled.fill(&later);
            prop_assert_eq!(gained, filled != first);
            // The values of the first record stay, before the added ones.
            prop_assert_eq!(&filled.numbers[..first.numbers.len()], &first.numbers[..]);
            prop_assert_eq!(&filled.consents[..first.consents.len()], &first.consents[..]);
            prop_assert!(filled.tags.is_superset(&first.tags));
            prop_assert!(first.name.is_none() || first.name == filled.name);
            prop_assert!(first.external_id.is_none() || first.external_id == filled.external_id);
            prop_assert!(first.tier.is_none() || first.tier == filled.tier);
            prop_assert!(first.address.country.is_none() || first.address.country == filled.address.country);
            prop_assert!(filled.numbers.len() <= NUMBERS_MAX && filled.tags.len() <= TAGS_MAX && filled.consents.len() <= CONSENTS_MAX);
            prop_assert!(filled.numbers.is_empty() || filled.check().is_ok());
            // A second fill changes nothing, so an import that is repeated after a crash gives the same contact.
            let once = filled.clone();
            prop_assert!(!filled.fill(&later) && filled == once);
        }

        #[test]
        fn filling_from_two_records_in_turn_is_filling_from_both_together(mut first in contact(), mut second in contact(), mut third in contact()) {
            // If a list is full, or addresses differ, the result depends on the order. These records avoid both.
            for contact in [&mut first, &mut second, &mut third] {
                contact.numbers.truncate(3);
                contact.consents.truncate(6);
                contact.tags = std::mem::take(&mut contact.tags).into_iter().take(16).collect();
                contact.address = Address::default();
            }
            let mut in_turn = first.clone();
            in_turn.fill(&second);
            in_turn.fill(&third);
            let mut both = second;
            both.fill(&third);
            let mut together = first;
            together.fill(&both);
            prop_assert_eq!(in_turn, together);
        }

        #[test]
        fn a_contact_survives_being_stored(contact in contact()) {
            let text = serde_json::to_string(&contact).unwrap();
            prop_assert_eq!(serde_json::from_str::<Contact>(&text).unwrap(), contact);
        }
    }
}
