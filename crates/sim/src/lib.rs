//! A simulated switch and a simulated world around the engine, in virtual time.
//!
//! Everything here is a pure function of its configuration, a seed and the inputs: no I/O, no clock. Start at
//! [`switch`] for the switch, at [`config`] for what its callees, phones and faults are like, at [`truth`] for what
//! really happened on it, at [`world`]
//! for whole worlds under trouble, hunted with `cargo run -p paceline-sim --example hunt`.

pub mod callee;
pub mod config;
mod link;
pub mod pacing;
mod phone;
pub mod random;
pub mod switch;
pub mod truth;
pub mod world;

pub use config::{Faults, SimConfig};
pub use phone::Answer;
pub use switch::SimSwitch;
pub use world::WorldOptions;
