//! What the crates of the shell share of the running process: its [`clock`], the [`wakings`] of its thread, and handles of
//! its [`metrics`].

pub mod clock;
pub mod metrics;
pub mod wakings;
