//! Contacts as the API writes and reads them.

use super::super::ApiState;
use super::super::Caller;
use super::super::check::{self, Faults, NUMBERS_MAX};
use super::super::problem::ApiResult;
use super::super::words::Utc;
use crate::numbers::allowed::Allowed;
use crate::numbers::{Country, NumberError, Numbered};
use crate::store::{ContactRow, NewContact};
use paceline_core::contact::{
    self, ConsentKind, ContactNumber, ExternalId, Label, Language, NumberKind, Tier,
};
use paceline_core::gate::Purpose;
use paceline_core::zone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum number of telephone numbers in one request.
const ALL_NUMBERS_MAX: usize = 2 * NUMBERS_MAX;

/// A contact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Contact {
    /// The contact's id.
    #[schema(example = 1234)]
    id: i64,
    /// The id of the contact's list.
    #[schema(example = 7)]
    contact_list_id: i64,
    /// The contact's numbers in the order of dialing: Paceline dials the first one that is not on the do-not-call list.
    numbers: Vec<Number>,
    /// The contact's id in the system that it comes from.
    #[schema(example = "crm-4711")]
    external_id: Option<String>,
    /// The contact's name.
    #[schema(example = "A. Example")]
    name: Option<String>,
    /// IANA time zone of the contact's calling hours. Null: the campaign's time zone.
    #[schema(example = "America/New_York")]
    time_zone: Option<String>,
    /// The contact's language (BCP 47).
    #[schema(example = "es-MX")]
    language: Option<String>,
    /// The contact's importance, 1 (the highest) to 9.
    #[schema(example = 2)]
    tier: Option<u8>,
    /// The contact's address.
    address: Address,
    /// Words to find and select contacts by.
    #[schema(example = json!(["renewal", "vip"]))]
    tags: Vec<String>,
    /// The contact's consents.
    consents: Vec<Consent>,
    /// Further data, by name.
    #[schema(example = json!({"plan": "gold"}))]
    attributes: BTreeMap<String, String>,
}

/// A number of a contact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Number {
    /// The number in E.164. All digits but the last two are masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// The kind of line, by the number plan of the country.
    kind: Option<NumberKind>,
    /// The number's label in the system or file that it comes from.
    #[schema(example = "Home Phone")]
    label: Option<String>,
}

/// A contact's address.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Address {
    /// Country, ISO 3166-1 alpha-2.
    #[schema(example = "US")]
    country: Option<String>,
    /// State or province, up to 60 characters.
    #[schema(example = "NY")]
    state: Option<String>,
    /// Postal code, up to 20 characters.
    #[schema(example = "10001")]
    postal_code: Option<String>,
}

/// A contact's consent to be called.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Consent {
    /// The kind of consent.
    kind: ConsentKind,
    /// The purpose that the contact agreed to.
    scope: Purpose,
    /// The time when the contact gave it. It does not cover calls before that.
    granted_at: Utc,
    /// The time when it ends. Null: no fixed end.
    #[serde(default)]
    expires_at: Option<Utc>,
    /// The place where it can be proved, up to 1,000 characters.
    #[serde(default)]
    #[schema(example = "form 12, signed at the branch")]
    proof: Option<String>,
}

impl Contact {
    /// The contact as this caller may see it: numbers are masked if the key may not see them.
    pub(in crate::api) fn new(row: ContactRow, caller: Caller) -> Self {
        let known = row.contact;
        let number = |n: ContactNumber| Number {
            number: caller.show(&n.number),
            kind: n.kind,
            label: n.label.map(String::from),
        };
        let consent = |c: contact::Consent| Consent {
            kind: c.kind,
            scope: c.scope,
            granted_at: Utc(c.granted_at),
            expires_at: c.expires_at.map(Utc),
            proof: c.proof.map(String::from),
        };
        Self {
            id: row.id.0,
            contact_list_id: row.list.0,
            numbers: known.numbers.into_iter().map(number).collect(),
            external_id: known.external_id.map(String::from),
            name: known.name,
            time_zone: known.time_zone,
            language: known.language.map(String::from),
            tier: known.tier.map(Tier::number),
            address: Address {
                country: known.address.country.map(String::from),
                state: known.address.state.map(String::from),
                postal_code: known.address.postal_code.map(String::from),
            },
            tags: known.tags.into_iter().map(String::from).collect(),
            consents: known.consents.into_iter().map(consent).collect(),
            attributes: row.attributes,
        }
    }
}

/// A new contact.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ContactInput {
    /// 1 to 10 numbers in the order of dialing. Two contacts with the same first number are the same contact.
    numbers: Vec<NumberInput>,
    /// The contact's id in the system that it comes from, up to 200 characters, unique within the list.
    #[serde(default)]
    #[schema(example = "crm-4711")]
    external_id: Option<String>,
    /// The contact's name.
    #[serde(default)]
    #[schema(example = "A. Example")]
    name: Option<String>,
    /// IANA time zone of the contact. The campaign's time zone if left out.
    #[serde(default)]
    #[schema(example = "America/New_York")]
    time_zone: Option<String>,
    /// The contact's language (BCP 47).
    #[serde(default)]
    #[schema(example = "es-MX")]
    language: Option<String>,
    /// The contact's importance, 1 (the highest) to 9.
    #[serde(default)]
    #[schema(example = 2, minimum = 1, maximum = 9)]
    tier: Option<i64>,
    /// The contact's address.
    #[serde(default)]
    address: Address,
    /// Up to 50 words to find and select contacts by, each up to 60 characters.
    #[serde(default)]
    #[schema(example = json!(["renewal", "vip"]))]
    tags: Vec<String>,
    /// Up to 20 consents.
    #[serde(default)]
    consents: Vec<Consent>,
    /// Further data, by name: up to 64 texts of up to 2,000 characters.
    #[serde(default)]
    #[schema(example = json!({"plan": "gold"}))]
    attributes: BTreeMap<String, String>,
}

/// A number of a new contact.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct NumberInput {
    /// The number in any usual notation. Without a country code it is read in the configured default region.
    #[schema(example = "+1 202 555 0123")]
    number: String,
    /// The number's label, up to 100 characters.
    #[serde(default)]
    #[schema(example = "Home Phone")]
    label: Option<String>,
}

/// Checks contacts and converts them to the stored form.
pub(super) async fn check_contacts(
    state: &ApiState,
    mut inputs: Vec<ContactInput>,
    allowed: &Allowed,
    faults: &mut Faults,
) -> ApiResult<Vec<NewContact>> {
    let count = inputs.iter().map(|input| input.numbers.len()).sum::<usize>();
    if inputs.len() > NUMBERS_MAX || count > ALL_NUMBERS_MAX {
        faults.add(
            "/contacts",
            format!(
                "more than {NUMBERS_MAX} contacts or {ALL_NUMBERS_MAX} numbers in one request: send several, or import a file"
            ),
        );
        return Ok(Vec::new());
    }
    let numbers = inputs.iter_mut().flat_map(|input| &mut input.numbers);
    let texts = numbers.map(|n| std::mem::take(&mut n.number)).collect();
    let mut numbers = check::numbers(state, texts).await?.into_iter();
    let mut contacts = Vec::with_capacity(inputs.len());
    for (n, input) in inputs.into_iter().enumerate() {
        contacts.extend(input.check(&format!("/contacts/{n}"), &mut numbers, allowed, faults));
    }
    Ok(contacts)
}

impl ContactInput {
    /// The checked contact. `None` if part of it cannot be used; `faults` says why. It takes the contact's numbers from
    /// `numbers`.
    fn check(
        self,
        at: &str,
        numbers: &mut impl Iterator<Item = Result<Numbered, NumberError>>,
        allowed: &Allowed,
        faults: &mut Faults,
    ) -> Option<NewContact> {
        let before = faults.len();
        let mut known = contact::Contact::default();
        let stated = self.address.country.as_deref().and_then(Country::new);
        for (n, (input, number)) in self.numbers.into_iter().zip(numbers).enumerate() {
            let place = format!("{at}/numbers/{n}");
            let label = optional(
                faults,
                format!("{place}/label"),
                input.label.as_deref(),
                Label::new,
            );
            let number = check::wanted(number, allowed, stated);
            if let Some(read) = faults.take(format!("{place}/number"), number) {
                known.numbers.push(ContactNumber {
                    number: read.number,
                    kind: Some(read.kind),
                    label,
                });
            }
        }
        let text = |field: &str| format!("{at}/{field}");
        let external_id = self.external_id.as_deref();
        known.external_id = optional(faults, text("external_id"), external_id, ExternalId::new);
        known.language = optional(faults, text("language"), self.language.as_deref(), Language::new);
        known.tier = optional(faults, text("tier"), self.tier, Tier::new);
        if let Some(name) = &self.name {
            faults.name(text("name"), name);
        }
        if let Some(Err(error)) = self.time_zone.as_deref().map(zone::of_place) {
            faults.add(text("time_zone"), error.to_string());
        }
        (known.name, known.time_zone) = (self.name, self.time_zone);
        known.address = self.address.check(&text("address"), faults);
        for (n, tag) in self.tags.iter().enumerate() {
            let tag = faults.take(format!("{at}/tags/{n}"), contact::Tag::new(tag));
            known.tags.extend(tag);
        }
        for (n, consent) in self.consents.into_iter().enumerate() {
            known
                .consents
                .push(consent.check(&format!("{at}/consents/{n}"), faults));
        }
        let fits = |(key, value): (&String, &String)| {
            (1..=100).contains(&key.len()) && value.chars().count() <= 2000
        };
        if self.attributes.len() > 64 || !self.attributes.iter().all(fits) {
            let detail = "up to 64 attributes, names of 1 to 100 bytes, texts of up to 2,000 characters";
            faults.add(text("attributes"), detail);
        }
        if faults.len() > before {
            return None;
        }
        if let Err(error) = known.check() {
            faults.add(text(error.field()), error.to_string());
            return None;
        }
        Some(NewContact {
            contact: known,
            attributes: self.attributes,
        })
    }
}

impl Address {
    fn check(self, at: &str, faults: &mut Faults) -> contact::Address {
        contact::Address {
            country: optional(
                faults,
                format!("{at}/country"),
                self.country.as_deref(),
                contact::CountryCode::new,
            ),
            state: optional(
                faults,
                format!("{at}/state"),
                self.state.as_deref(),
                contact::State::new,
            ),
            postal_code: optional(
                faults,
                format!("{at}/postal_code"),
                self.postal_code.as_deref(),
                contact::PostalCode::new,
            ),
        }
    }
}

impl Consent {
    fn check(self, at: &str, faults: &mut Faults) -> contact::Consent {
        contact::Consent {
            kind: self.kind,
            scope: self.scope,
            granted_at: self.granted_at.0,
            expires_at: self.expires_at.map(|at| at.0),
            proof: optional(
                faults,
                format!("{at}/proof"),
                self.proof.as_deref(),
                contact::Proof::new,
            ),
        }
    }
}

/// The checked value. `None` if it is left out or cannot be used.
fn optional<I, T, E: std::fmt::Display>(
    faults: &mut Faults,
    path: String,
    given: Option<I>,
    read: impl FnOnce(I) -> Result<T, E>,
) -> Option<T> {
    given.and_then(|given| faults.take(path, read(given)))
}
