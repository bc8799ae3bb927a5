//! The arbiter, from the outside.

mod capacity;
mod choosing;
mod failover;
mod groups;
mod properties;
mod rig;
