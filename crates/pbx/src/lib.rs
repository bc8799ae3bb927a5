//! PBXes: what every driver has in common. In: [`PbxCommand`]. Out: [`PbxEvent`]. A driver decides nothing.
//!
//! A driver owns its connections, reconnects with back-off for as long as it lives, and says so in its events:
//! [`PbxEvent::LinkLost`] at once when the stream of events breaks, [`PbxEvent::Resynchronised`] when it stands again,
//! with all that lives on the PBX. The first event of every driver is one of these two.

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
mod pbx_clock;
mod progress;
pub mod sim;

/// Commands that may wait for a PBX before [`PbxHandle::send`] refuses more.
pub const COMMANDS_WAITING_MAX: usize = 4096;
/// Events that may wait for us before the driver breaks the link itself and resynchronises.
pub const EVENTS_WAITING_MAX: usize = 16384;

/// An event, and when its bytes were read.
#[derive(Debug)]
pub struct Stamped {
    /// What happened.
    pub event: PbxEvent,
    /// When we read it, before it was parsed.
    pub read_at: Instant,
    /// How long before that it happened, by the PBX's own time; zero where the PBX does not tell, or nonsense.
    pub ago: Duration,
}

impl Stamped {
    /// Something that happens as it is said.
    pub fn now(event: PbxEvent) -> Self {
        Self {
            event,
            read_at: Instant::now(),
            ago: Duration::ZERO,
        }
    }
}

/// What every channel of ours bears on a PBX: the application's name and this installation's id. Two installations may have
/// an application of one name by mistake; neither touches what does not bear its own mark.
fn mark(app: &str, installation: Uuid) -> String {
    format!("{app}-{}", installation.simple())
}

/// Why a driver without a link refuses.
const NO_LINK: &str = "no link to the PBX";

/// What comes of a command that a PBX was not even told, in words free of personal data. Nothing for those that end
/// something: they are asked again.
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

/// Both ends of a running driver. Dropping it stops the driver; channels on the PBX are left as they are.
#[derive(Debug)]
pub struct PbxHandle {
    /// Where commands go.
    pub commands: mpsc::Sender<PbxCommand>,
    /// Where events come from. Never closed before the driver is stopped.
    pub events: mpsc::Receiver<Stamped>,
    /// Counters that the driver keeps, for `/metrics`.
    pub stats: std::sync::Arc<LinkStats>,
}

/// What a driver counts of its own link. All monotonic, but for `connected`.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Whether the event stream stands and is resynchronised.
    pub connected: std::sync::atomic::AtomicBool,
    /// Times that the link came up.
    pub connects: std::sync::atomic::AtomicU64,
    /// Times that a connected link was lost.
    pub losses: std::sync::atomic::AtomicU64,
    /// Events read from the PBX, known and unknown.
    pub events_read: std::sync::atomic::AtomicU64,
    /// Events and commands that could not be handed on because a queue was full.
    pub dropped: std::sync::atomic::AtomicU64,
    /// Commands that the PBX refused or did not answer in time.
    pub commands_failed: std::sync::atomic::AtomicU64,
    /// The PBX's own version when last connected: `22.10.0`.
    version: Mutex<Option<String>>,
}

impl LinkStats {
    /// The PBX's own version when last connected, where it tells: `22.10.0`.
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
