//! The REST API as a client sees it: the real router over a real SQLite store in a folder of its own, with a fake
//! dialer that records its commands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exception for tests does not reach their helpers"
)]

mod api {
    mod agents;
    mod anything;
    mod attempts;
    mod audit;
    mod auth;
    mod campaigns;
    mod contacts;
    mod crowd;
    mod document;
    mod events;
    mod explain;
    mod harness;
    mod hostile;
    mod idempotency;
    mod imports;
    mod jobs;
    mod masked;
    mod misuse;
    mod oracles;
    mod others;
    mod pbxes;
    mod postgres;
    mod requeue;
    mod robust;
    mod sounds;
    mod suppression;
    mod tasks;
    mod trunks;
}
