//! A simulated PBX and a simulated world around the engine, in virtual time.
//!
//! Everything here is a pure function of its configuration, a seed and the inputs: no I/O, no clock. Start at [`pbx`] for
//! the PBX, at [`config`] for its callees, phones and faults, at [`truth`] for what really happened on it, and at [`world`]
//! for whole worlds with troubles. `cargo run -p paceline-sim --example hunt` searches for worlds that fail.

pub mod callee;
pub mod config;
mod link;
pub mod pacing;
pub mod pbx;
mod phone;
pub mod random;
pub mod trunks;
pub mod truth;
pub mod world;

pub use config::{Faults, SimConfig};
pub use pbx::SimPbx;
pub use phone::Answer;
pub use world::WorldOptions;
