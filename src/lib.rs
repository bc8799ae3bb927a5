//! Paceline: the control plane that dials out over a PBX that you already run.
//!
//! This library is the shell around [`paceline_core`]: it talks to PBXes ([`pbx`]), keeps state ([`store`]), feeds
//! one engine per campaign ([`dialer`]), and serves people and programs ([`api`], [`cli`], [`metrics`]).

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dialer;
pub mod doctor;
pub mod events;
pub mod gate_pipe;
pub mod import;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod numbers;
pub mod outside_service;
pub mod pacing_pipe;
pub mod route_pipe;
pub mod simulate;
pub mod suppression_file;
pub mod telemetry;
mod threads;

pub use paceline_pbx as pbx;
pub use paceline_runtime::clock;
pub use paceline_store as store;
