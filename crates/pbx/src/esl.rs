//! FreeSWITCH over its Event Socket. In: [`PbxCommand`](paceline_core::pbx::PbxCommand). Out: events with what the PBX
//! said, raw.
//!
//! Three connections a PBX: one for events, one for originates, one for everything that somebody on the line waits
//! for. A FreeSWITCH whose client does not read can freeze for everybody, so a task of its own does nothing but read
//! the events, and lets go of the connection rather than wait for us. After any doubt the link is dropped, made anew, and
//! all that lives on the PBX is read: that is the only way in which a loss is repaired.
//!
//! - `leg`, `legs`, `audio`, `recordings`: what is known of each leg, as pure state machines;
//! - `said`: events as values; `command`: commands as text; `survey`: what lives on the PBX after a gap;
//! - `connection`, `reader`, `session`, `link`: sockets, time and queues around these. The codec is `paceline-esl`.
//!
//! Needs on the PBX: the Event Socket with a password, an access list that lets us in, mod_commands and mod_dptools.
//! Nothing in the dialplan.
//!
//! A leg is placed with its UUID as the channel's, answered into `park`, and joined to its agent's leg by `uuid_bridge`.
//! Both sides have `park_after_bridge`, so each outlives the other. A parked agent is sent silence.

use crate::PbxHandle;
use crate::driver::{self, Ports};
use paceline_core::ids::PbxName;
use secrecy::SecretString;
use uuid::Uuid;

mod audio;
mod command;
mod connection;
mod esl_event;
mod leg;
mod legs;
mod link;
mod outbox;
mod reader;
mod recordings;
mod session;
mod survey;

pub use command::sound_file;
pub use connection::{Connection, ConnectionError, Reading};

/// How to reach one FreeSWITCH.
#[derive(Clone, Debug)]
pub struct EslConfig {
    /// The PBX's name in our configuration.
    pub name: PbxName,
    /// Where its Event Socket is: `127.0.0.1:8021`.
    pub address: String,
    /// The Event Socket's password.
    pub password: SecretString,
    /// What our channels there are marked with: letters, digits, `-`, `_`, `.`. One per Paceline: a second client of the
    /// same name cuts off the first.
    pub app: String,
    /// The installation that drives them: the id in its store.
    pub installation: Uuid,
}

impl EslConfig {
    /// The mark's usual name.
    pub const APP: &str = "paceline";
}

/// Starts a driver on the current tokio runtime. It connects, and reconnects, until the handle is dropped.
pub fn spawn(config: EslConfig) -> PbxHandle {
    let (ports, handle) = Ports::open();
    tokio::spawn(driver::run(link::EslLink::new(config), ports));
    handle
}
