//! The drivers of PBXes, and what they have in common. Input: [`PbxCommand`]. Output: [`PbxEvent`]. A driver decides nothing.
//!
//! A driver owns its connections and reconnects with back-off until it is dropped. It reports [`PbxEvent::LinkLost`] at once if
//! the stream of events breaks, and [`PbxEvent::Resynchronised`], with all channels of the PBX, when the link is up again. The
//! first event of every driver is one of these two.

use paceline_core::pbx::{ConnectFault, Destination, EndedBy, LegEnd, PbxCommand, PbxEvent};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use uuid::Uuid;

pub mod ari;
mod driver;
mod ended;
pub mod esl;
#[cfg(test)]
mod hostile;
mod owner;
mod pbx_clock;
mod progress;
pub mod sim;

/// Commands that may wait for a PBX before [`PbxHandle::send`] refuses more.
pub const COMMANDS_WAITING_MAX: usize = 4096;
/// Events that may wait for us before the driver breaks the link itself and resynchronises.
pub const EVENTS_WAITING_MAX: usize = 16384;

/// An event with the time at which its bytes were read.
#[derive(Debug)]
pub struct Stamped {
    /// The event.
    pub event: PbxEvent,
    /// The time of reading, before parsing.
    pub read_at: Instant,
    /// The time from the event on the PBX until `read_at`, by the PBX's own time. Zero if the PBX gives no time, or an impossible one.
    pub ago: Duration,
}

impl Stamped {
    /// An event that happens now.
    pub fn now(event: PbxEvent) -> Self {
        Self {
            event,
            read_at: Instant::now(),
            ago: Duration::ZERO,
        }
    }
}

/// The mark of our channels on a PBX: the application's name and this installation's id. Two installations may use the same
/// application by mistake. Neither touches a channel without its own mark.
fn mark(app: &str, installation: Uuid) -> String {
    format!("{app}-{}", installation.simple())
}

/// The reason of a driver that refuses a command because it has no link.
const NO_LINK: &str = "no link to the PBX";

/// The event for a command that was not sent to the PBX. `why` contains no personal data. `None` for commands that end
/// something, because the engine sends them again.
pub fn refusal(command: &PbxCommand, why: &str) -> Option<PbxEvent> {
    let end = || LegEnd {
        by: EndedBy::Refused,
        detail: why.to_owned(),
        ..LegEnd::default()
    };
    match command {
        PbxCommand::CallContact { leg, .. } => Some(PbxEvent::LegEnded {
            leg: *leg,
            end: end(),
        }),
        PbxCommand::CallAgent { leg, .. } => Some(PbxEvent::AgentEnded {
            leg: *leg,
            end: end(),
        }),
        PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg),
        } => Some(PbxEvent::ConnectFailed {
            leg: *leg,
            agent_leg: *agent_leg,
            fault: ConnectFault::Refused,
        }),
        PbxCommand::Play { leg, .. } => Some(PbxEvent::Played {
            leg: *leg,
            whole: false,
        }),
        PbxCommand::Record { recording, .. } => Some(PbxEvent::RecordingFailed {
            recording: recording.clone(),
            reason: why.to_owned(),
        }),
        PbxCommand::HangUp { .. } | PbxCommand::HangUpAgent { .. } | PbxCommand::StopRecording { .. } => None,
    }
}

/// The handle of a running driver. Dropping it stops the driver. Channels on the PBX stay.
#[derive(Debug)]
pub struct PbxHandle {
    /// Takes commands.
    pub commands: mpsc::Sender<PbxCommand>,
    /// Gives events. It is open until the driver is stopped.
    pub events: mpsc::Receiver<Stamped>,
    /// The driver's counters, for `/metrics`.
    pub stats: std::sync::Arc<LinkStats>,
}

/// The counters of a driver's link. All but `connected` only grow.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// True if the link is up and resynchronised.
    pub connected: std::sync::atomic::AtomicBool,
    /// Times that the link came up.
    pub connects: std::sync::atomic::AtomicU64,
    /// Times that a connected link was lost.
    pub losses: std::sync::atomic::AtomicU64,
    /// Events read from the PBX, known and unknown.
    pub events_read: std::sync::atomic::AtomicU64,
    /// Events and commands that could not be delivered because a queue was full.
    pub dropped: std::sync::atomic::AtomicU64,
    /// Commands that the PBX refused or did not answer in time.
    pub commands_failed: std::sync::atomic::AtomicU64,
    /// The PBX's version at the last connect, as `22.10.0`.
    version: Mutex<Option<String>>,
}

impl LinkStats {
    /// The PBX's version at the last connect, as `22.10.0`. `None` if the PBX does not give it.
    pub fn version(&self) -> Option<String> {
        self.version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_version(&self, version: &str) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.to_owned());
    }
}
