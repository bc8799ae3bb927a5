//! Decides whether a number may be called now. The gate is asked when a contact is leased and again just before the
//! originate. Every decision is stored.
//!
//! The rules are data (`rules/*.toml`). Input of a decision: the planned call ([`Ask`]), what is known of the number, its
//! contact and its past attempts ([`Facts`]). Output: a [`Decision`] with every rule that decided and the datum that it
//! used. `docs/compliance.md` says how each rule is read. [`hours_only`] is the part that the dialer uses today.

mod ask;
mod calendar;
mod decision;
mod file;
mod hours;
mod hours_only;
mod judge;
mod policy;
mod rule;
mod rulebook;
mod shipped;
mod state;
mod zones;

pub use ask::{Ask, ConsentFact, ContactFacts, DialingMode, Facts, PastAttempt, Places, Purpose};
pub use decision::{Datum, Decision, Reason, RuleVerdict};
pub use file::{Day, FileError};
pub use hours_only::{GateDecision, GateFacts, GateReason, GateStage, GateVerdict, decide, decide_alike};
pub use policy::{Policy, UnknownProfile};
pub use rule::{PauseAfter, Per, Rule};
pub use rulebook::{Chosen, Override, Profile, Rulebook};
pub use state::State;
pub use zones::{TIME_ZONE_DATA, Zone, ZoneStretch};

#[cfg(test)]
mod tests;
