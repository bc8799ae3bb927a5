//! Which trunk a leg leaves over, for all campaigns together.
//!
//! Input: the trunks with their limits, requests for a trunk, and what happens to the legs. Output: a [`Choice`] for each
//! request, with its kind and its reasons. One [`Arbiter`] owns the health, the channels and the calls per second of every
//! trunk. A choice is a grant: it holds a channel and a call per second until the leg ends, or until it lapses because the
//! leg was not dialed. Time and ids are passed in; there is no randomness. Start at [`Arbiter::choose`].
//! `docs/trunks.md` has the model and its constants.

mod arbiter;
mod capacity;
mod choice;
mod groups;
mod health;
mod history;
mod legs;
mod quality;
mod settings;
mod shares;
mod silence;
#[cfg(test)]
mod tests;
mod view;

pub use arbiter::{Arbiter, Request};
pub use choice::{Choice, Excluded, Kind, Reason};
pub use health::Cause;
pub use legs::{LegResult, LegStep, TrunkVerdict};
pub use settings::{CampaignShare, Trunk, TrunkGroup, TrunkSettings, Weights};
pub use view::{Condition, TrunkView};
