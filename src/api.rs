//! The REST API.

pub mod control;
