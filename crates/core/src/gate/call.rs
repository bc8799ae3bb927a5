//! The input of the gate: the planned call, and the facts about the number, the contact and the past attempts.

use super::{State, Zone};
use crate::contact::{Consent, ConsentKind, CountryCode, NumberKind};
use crate::number::NumberText;
use crate::outcome::Outcome;
use crate::outside::OutsideFact;
use crate::time::Wall;
use crate::words::words;
use std::time::Duration;

words! {
    /// The purpose of a call. Also the scope of a consent.
    Purpose {
        /// Sales and advertising.
        Marketing = "marketing",
        /// Money owed.
        Debt = "debt",
        /// Appointments, deliveries and the like.
        Service = "service",
    }
}

words! {
    /// The way in which a call is started. It decides if an agent is reserved for the call.
    DialingMode {
        /// More calls than free agents, by a forecast.
        Predictive = "predictive",
        /// One call for each free agent, who is reserved for it.
        Progressive = "progressive",
        /// A fixed number of calls for each free agent.
        Power = "power",
        /// The agent sees the contact first, and is reserved for the call.
        Preview = "preview",
        /// No agent: a recording or an artificial voice speaks.
        Agentless = "agentless",
        /// The agent dials the number.
        Manual = "manual",
    }
}

/// A call that the gate decides about.
#[derive(Clone, Copy, Debug)]
pub struct PlannedCall<'a> {
    /// The time of the originate.
    pub at: Wall,
    /// Longest time that the phone may ring. The calling hours must hold for all of it.
    pub ring_timeout: Duration,
    /// The purpose of the call.
    pub purpose: Purpose,
    /// The way in which the call is started.
    pub mode: DialingMode,
    /// The campaign, for caps that count by campaign.
    pub campaign: Option<&'a str>,
    /// The subject of the call, for caps that count by subject. `None` equals `None`.
    pub subject: Option<&'a str>,
    /// The debt that the call is about, for caps that count by debt. `None` equals `None`.
    pub debt: Option<&'a str>,
    /// The number that the callee sees, with its `+`. `None`: withheld.
    pub caller_id: Option<NumberText<'a>>,
    /// The number to call, with its `+`.
    pub number: NumberText<'a>,
}

/// The places in which a number, or an address, may be: all plausible ones, never only the most likely one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places<'a> {
    /// False if the number plan has no such number. Such a number is denied.
    pub possible: bool,
    /// The country of the number plan. A territory such as PR is a country of its own.
    pub country: Option<CountryCode>,
    /// The kind of line by the number plan. A hint: no rule reads it.
    pub line: Option<NumberKind>,
    /// All plausible states of the US or provinces of Canada; empty elsewhere.
    pub states: &'a [State],
    /// All plausible time zones. Empty: the number is in no zone (toll-free, premium, personal, unassigned), and is denied.
    pub zones: &'a [Zone],
}

/// The known facts about the contact.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContactFacts<'a> {
    /// The contact's own zone. It replaces all other zones.
    pub time_zone: Option<Zone>,
    /// The country of the contact's address.
    pub country: Option<CountryCode>,
    /// The state or province of the contact's address, in [`Self::country`], or else in the number's country.
    pub state: Option<State>,
    /// Tags, for rules that allow only some contacts.
    pub tags: &'a [&'a str],
    /// Consents.
    pub consents: &'a [ConsentFact],
}

/// A consent, as far as a rule reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentFact {
    /// The form in which it was given. `None`: a form that satisfies no rule.
    pub kind: Option<ConsentKind>,
    /// The purpose that the contact agreed to. `None`: a purpose that no call has.
    pub scope: Option<Purpose>,
    /// Time of the grant. The consent counts from then on.
    pub granted_at: Wall,
    /// Time of its end. `None`: it does not end. The phone must stop ringing by then.
    pub expires_at: Option<Wall>,
    /// True if there is a proof.
    pub proven: bool,
}

impl From<&Consent> for ConsentFact {
    fn from(consent: &Consent) -> Self {
        Self {
            kind: Some(consent.kind),
            scope: Some(consent.scope),
            granted_at: consent.granted_at,
            expires_at: consent.expires_at,
            proven: consent.proof.is_some(),
        }
    }
}

/// An attempt of the past to reach the contact, by any of its numbers.
#[derive(Clone, Copy, Debug)]
pub struct PastAttempt<'a> {
    /// The time of the originate.
    pub at: Wall,
    /// The number that was called. `None`: not known.
    pub number: Option<NumberText<'a>>,
    /// The campaign.
    pub campaign: Option<&'a str>,
    /// The subject.
    pub subject: Option<&'a str>,
    /// The debt.
    pub debt: Option<&'a str>,
    /// The outcome.
    pub outcome: Outcome,
    /// The disposition that the agent chose, such as `refused` or `dnc`. `None`: there is none.
    pub disposition: Option<&'a str>,
}

/// All facts that the gate uses.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The places of the number.
    pub number: Places<'a>,
    /// The places of the contact's address: those of its state, or else of the whole country. `None` if the contact has
    /// neither.
    pub address: Option<Places<'a>>,
    /// The contact.
    pub contact: ContactFacts<'a>,
    /// All attempts to reach the contact, in any order.
    pub history: &'a [PastAttempt<'a>],
    /// The names of the suppression lists that hold the number. Any of them denies.
    pub suppressed: &'a [&'a str],
    /// What the outside check knows of the number. `None`: the campaign does not need the check.
    pub outside: Option<OutsideFact<'a>>,
}
