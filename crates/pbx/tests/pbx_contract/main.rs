//! Behaviour that the drivers of all PBXes share: the same scenarios, with the same commands, events and outcomes, on real
//! Asterisk 22 and 16 and on a real FreeSWITCH, with SIPp as the trunk and simulated phones, on a double of FreeSWITCH, and
//! on the simulated PBX.
//!
//! If there is no FreeSWITCH, its part is skipped with a message on stderr. The double runs everywhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod agents;
mod double;
mod links;
mod messages;
mod outcomes;
mod phones;
#[path = "../ari/proxy.rs"]
mod proxy;
mod recordings;
mod rig;

/// Makes a test of each scenario on each PBX. Scenarios after `over a socket` need a socket, or a PBX that looks for
/// its sound files; those after `over the Event Socket` need a FreeSWITCH; those after `with routes` need a dialplan;
/// those after `for real` need a PBX's disk, audio or process.
macro_rules! on_every_pbx {
    ($($scenario:ident)* ; over a socket : $($socket:ident)* ; over the Event Socket : $($esl:ident)* ; with routes : $($routed:ident)* ; for real : $($real:ident)*) => {
        mod on_asterisk_22 {
            $crate::on_every_pbx!(Asterisk22 : $($scenario)* $($socket)* $($routed)* $($real)*);
        }
        mod on_asterisk_16 {
            $crate::on_every_pbx!(Asterisk16 : $($scenario)* $($socket)* $($routed)* $($real)*);
        }
        mod on_freeswitch {
            $crate::on_every_pbx!(FreeSwitch : $($scenario)* $($socket)* $($esl)* $($routed)* $($real)*);
        }
        mod on_a_double {
            $crate::on_every_pbx!(Double : $($scenario)* $($socket)* $($esl)*);
        }
        mod on_a_simulation {
            $crate::on_every_pbx!(Sim : $($scenario)* $($routed)*);
        }
    };
    ($kind:ident : $($scenario:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $scenario() {
            let kind = $crate::rig::Kind::$kind;
            let real = kind != $crate::rig::Kind::FreeSwitch
                || paceline_lab::FreeSwitch::program_or_skip(stringify!($scenario)).is_some();
            if real {
                super::$scenario(kind).await;
            }
        })*
    };
}
pub(crate) use on_every_pbx;
