//! Paceline's decisions as pure state machines: values in, values out.
//!
//! Nothing here can open a socket, read a clock or draw a random number. Time and seeds are passed in, so the same engine
//! runs in production, in the simulator and in property tests. Start at [`engine`] for what a campaign does, at [`input`]
//! and [`command`] for what goes in and out of it, at [`pbx`] for the protocol between the engine and the PBX drivers, and
//! at [`gate`] for whether a number may be called now.

pub mod agent;
mod attempt;
mod breaker;
pub mod campaign;
pub mod command;
pub mod contact;
pub mod dial;
pub mod engine;
pub mod event;
pub mod gate;
pub mod ids;
pub mod input;
pub mod live;
pub mod mask;
pub mod number;
pub mod outcome;
pub mod outside;
pub mod pacing;
pub mod pbx;
pub mod requeue;
pub mod retry;
pub mod suppression;
pub mod time;
pub mod trunks;
pub mod verdict;
pub mod words;
pub mod zone;
