//! Decides whether a number may be called now. The gate is asked when a contact is leased and again just before the
//! originate. Every decision is stored.
//!
//! The rules are data (`rules/*.toml`). Input of a decision: the planned call ([`PlannedCall`]), what is known of the number, its
//! contact and its past attempts ([`Facts`]). Output: a [`Decision`] with every rule that decided and the datum that it
//! used. `docs/compliance.md` says how each rule is read.

mod calendar;
mod call;
mod campaign;
mod decision;
mod file;
mod forecast;
mod hours;
mod judge;
mod locality;
mod policy;
mod rule;
mod rulebook;
mod shipped;
mod state;
mod zones;

pub use call::{ConsentFact, ContactFacts, DialingMode, Facts, PastAttempt, Places, PlannedCall, Purpose};
pub use campaign::CampaignPolicy;
pub use decision::{Datum, Decision, GateStage, GateVerdict, Reason, RuleReason, RuleVerdict};
pub use file::{Day, FileError};
pub use forecast::{FORECAST_HOURS, Forecast, ForecastHour, ForecastReason, ForecastReport};
pub use locality::Locality;
pub use policy::{Policy, UnknownProfile};
pub use rule::{PauseAfter, Per, Rule};
pub use rulebook::{Chosen, Override, Profile, Rulebook};
pub use state::State;
pub use zones::{TIME_ZONE_DATA, Zone, ZoneStretch};

#[cfg(test)]
mod tests;
