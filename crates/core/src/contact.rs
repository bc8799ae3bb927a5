//! What is known of somebody to call: the numbers, and what decides whether, when and in which order they are dialed.
//!
//! In: values that people, files and other systems give. Out: a [`Contact`] that passed its checks, and in [`merge`] what
//! becomes of a second record of the same contact. Knows no list and no row.

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

/// Numbers of one contact.
pub const NUMBERS_MAX: usize = 10;
/// Tags of one contact.
pub const TAGS_MAX: usize = 50;
/// Consents of one contact.
pub const CONSENTS_MAX: usize = 20;

words! {
    /// What kind of line a number has, by the number plan of its country.
    NumberKind {
        /// A landline.
        Fixed = "fixed",
        /// A mobile phone.
        Mobile = "mobile",
        /// Either: some plans do not tell.
        FixedOrMobile = "fixed_or_mobile",
        /// Free for the caller.
        TollFree = "toll_free",
        /// Expensive for the caller.
        PremiumRate = "premium_rate",
        /// The caller and the callee share the cost.
        SharedCost = "shared_cost",
        /// Voice over IP.
        Voip = "voip",
        /// Follows a person.
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
    /// How a contact agreed to be called.
    ConsentKind {
        /// Said or clicked.
        Express = "express",
        /// In writing or signed electronically; where the law asks for `express`, this serves too.
        ExpressWritten = "express_written",
        /// A contract that runs.
        Contract = "contract",
    }
}

/// One number of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactNumber {
    /// Unique within a contact list.
    pub number: E164,
    /// By the number plan; none where nobody asked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NumberKind>,
    /// What the file or system that it is from calls it, such as `Home Phone`.
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

/// Where a contact lives.
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
    /// As the post of the country writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<PostalCode>,
}

/// A contact's agreement to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// How it was given.
    pub kind: ConsentKind,
    /// The purpose that the contact agreed to.
    pub scope: Purpose,
    /// When it was given. It says nothing of calls before.
    pub granted_at: Wall,
    /// When it ends; none: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// Where it can be proved: a document, a recording, a form with its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// Somebody to call, except for attributes, which decide nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contact {
    /// In the order in which they are dialed; 1 to [`NUMBERS_MAX`], each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<ContactNumber>,
    /// The contact's id in the system that it is from. Unique within a contact list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// What to call the contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IANA time zone, known to exist; none: the campaign's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What the contact speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// How important the contact is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Where the contact lives.
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
    /// None, or too many.
    #[error("give 1 to {NUMBERS_MAX} numbers")]
    Numbers,
    /// The same number again.
    #[error("a number comes twice")]
    NumberTwice,
    /// Too many.
    #[error("at most {TAGS_MAX} tags")]
    Tags,
    /// Too many.
    #[error("at most {CONSENTS_MAX} consents")]
    Consents,
    /// It ends before it begins.
    #[error("consent {index}: `expires_at` must be after `granted_at`")]
    ConsentEnds {
        /// From 0.
        index: usize,
    },
}

impl ContactError {
    /// The field at fault, as the API writes it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Numbers | Self::NumberTwice => "numbers",
            Self::Tags => "tags",
            Self::Consents | Self::ConsentEnds { .. } => "consents",
        }
    }
}

impl Contact {
    /// Whether it can be stored: what the types of its fields cannot say.
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
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.state.is_none() && self.postal_code.is_none()
    }
}
