//! A contact: its numbers, and the values that decide on the permission, the time and the order of its calls.
//!
//! Input: values that people, files and other systems give. Output: a [`Contact`] that passed its checks. [`merge`] joins a
//! second record with the contact that it belongs to. This module knows no list and no row.

pub mod merge;
mod text;

pub use text::{
    CountryCode, ExternalId, Label, Language, PostalCode, Proof, State, Tag, Text, Tier, ValueError,
};

use crate::gate::Purpose;
use crate::number::E164;
use crate::time::Wall;
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Maximum number of telephone numbers of one contact.
pub const NUMBERS_MAX: usize = 10;
/// Maximum number of tags of one contact.
pub const TAGS_MAX: usize = 50;
/// Maximum number of consents of one contact.
pub const CONSENTS_MAX: usize = 20;

words! {
    /// The kind of line of a number, by the number plan of its country.
    NumberKind {
        /// A landline.
        Fixed = "fixed",
        /// A mobile phone.
        Mobile = "mobile",
        /// A landline or a mobile phone: the number plan does not distinguish them.
        FixedOrMobile = "fixed_or_mobile",
        /// A number that is free for the caller.
        TollFree = "toll_free",
        /// A number at a premium rate, paid by the caller.
        PremiumRate = "premium_rate",
        /// The caller and the callee share the cost.
        SharedCost = "shared_cost",
        /// Voice over IP.
        Voip = "voip",
        /// A personal number: its owner decides at which phone it rings.
        Personal = "personal",
        /// A pager.
        Pager = "pager",
        /// One number for many offices.
        Uan = "uan",
        /// A voice mailbox.
        Voicemail = "voicemail",
    }
}

words! {
    /// The form in which a contact agreed to be called.
    ConsentKind {
        /// Spoken or clicked.
        Express = "express",
        /// In writing or signed electronically. It also satisfies a law that asks for `express`.
        ExpressWritten = "express_written",
        /// A contract in force.
        Contract = "contract",
    }
}

/// One number of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactNumber {
    /// Unique within a contact list.
    pub number: E164,
    /// The kind of line, by the number plan. `None`: it was not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NumberKind>,
    /// The name of this number in the file or system that it is from, such as `Home Phone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

impl From<E164> for ContactNumber {
    fn from(number: E164) -> Self {
        Self {
            number,
            kind: None,
            label: None,
        }
    }
}

/// The place where a contact lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Address {
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// State or province, as people or ISO 3166-2 write it: `California` or `CA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The postal code, as the post of the country writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<PostalCode>,
}

/// A contact's agreement to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The form in which it was given.
    pub kind: ConsentKind,
    /// The purpose that the contact agreed to.
    pub scope: Purpose,
    /// Time when it was given. It does not cover earlier calls.
    pub granted_at: Wall,
    /// Time when it expires. `None`: it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// The place of its evidence: a document, a recording, or the address of a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// A contact without its attributes, which decide nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contact {
    /// Telephone numbers in the order of dialing; 1 to [`NUMBERS_MAX`], each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<ContactNumber>,
    /// The contact's id in the system that it is from. Unique within a contact list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// The contact's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IANA time zone, known to exist. `None`: the campaign's time zone is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The language that the contact speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The contact's priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The place where the contact lives.
    #[serde(skip_serializing_if = "Address::is_empty")]
    pub address: Address,
    /// At most [`TAGS_MAX`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// At most [`CONSENTS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consent>,
}

/// A contact that cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// There is no number, or there are more than [`NUMBERS_MAX`].
    #[error("give 1 to {NUMBERS_MAX} numbers")]
    Numbers,
    /// A number is given twice.
    #[error("a number comes twice")]
    NumberTwice,
    /// There are more than [`TAGS_MAX`] tags.
    #[error("at most {TAGS_MAX} tags")]
    Tags,
    /// There are more than [`CONSENTS_MAX`] consents.
    #[error("at most {CONSENTS_MAX} consents")]
    Consents,
    /// A consent expires at or before the time when it was given.
    #[error("consent {index}: `expires_at` must be after `granted_at`")]
    ConsentEnds {
        /// Index of the consent, from 0.
        index: usize,
    },
}

impl ContactError {
    /// The name of the wrong field in the API.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Numbers | Self::NumberTwice => "numbers",
            Self::Tags => "tags",
            Self::Consents | Self::ConsentEnds { .. } => "consents",
        }
    }
}

impl Contact {
    /// Checks the rules that the types of the fields cannot express: maximum numbers, duplicate numbers, and the times of
    /// consents.
    ///
    /// # Errors
    /// [`ContactError`] for the first rule that is broken.
    pub fn check(&self) -> Result<(), ContactError> {
        if !(1..=NUMBERS_MAX).contains(&self.numbers.len()) {
            return Err(ContactError::Numbers);
        }
        let numbers: BTreeSet<_> = self.numbers.iter().map(|n| &n.number).collect();
        if numbers.len() < self.numbers.len() {
            return Err(ContactError::NumberTwice);
        }
        if self.tags.len() > TAGS_MAX {
            return Err(ContactError::Tags);
        }
        if self.consents.len() > CONSENTS_MAX {
            return Err(ContactError::Consents);
        }
        let ends_first = |c: &Consent| c.expires_at.is_some_and(|ends| ends <= c.granted_at);
        match self.consents.iter().position(ends_first) {
            Some(index) => Err(ContactError::ConsentEnds { index }),
            None => Ok(()),
        }
    }
}

impl Address {
    /// True if no part of the address is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.state.is_none() && self.postal_code.is_none()
    }
}
