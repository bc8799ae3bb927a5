//! What every switch's driver does alike: the same scenarios, with the same commands, events and outcomes, on real
//! Asterisk 22 and 16 and on a real FreeSWITCH, with SIPp as the trunk and simulated phones.
//!
//! Where there is no FreeSWITCH its part is skipped, and says so on stderr.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod agents;
mod links;
mod outcomes;
#[path = "../ari/proxy.rs"]
mod proxy;
mod recordings;
mod rig;

/// Makes a test of each scenario on each switch.
macro_rules! on_every_switch {
    ($($scenario:ident)*) => {
        mod on_asterisk_22 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario($crate::rig::Kind::Asterisk22).await; })*
        }
        mod on_asterisk_16 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario($crate::rig::Kind::Asterisk16).await; })*
        }
        mod on_freeswitch {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                if paceline_lab::FreeSwitch::program_or_skip(stringify!($scenario)).is_some() {
                    super::$scenario($crate::rig::Kind::FreeSwitch).await;
                }
            })*
        }
    };
}
pub(crate) use on_every_switch;
