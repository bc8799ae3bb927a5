//! Parts of the running process that the crates of the shell share: its [`clock`], the [`wakings`] of its thread, and handles
//! of its [`metrics`].

pub mod clock;
pub mod metrics;
pub mod wakings;
