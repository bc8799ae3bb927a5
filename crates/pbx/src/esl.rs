//! FreeSWITCH over its Event Socket. In: [`PbxCommand`](paceline_core::pbx::PbxCommand). Out: events with what the PBX
//! said, raw.
//!
//! Three connections per PBX: one for events, one for originates, one for the commands that a party on the line waits for. A client
//! that does not read can freeze a whole FreeSWITCH. So a task of its own only reads the events, and closes the connection rather
//! than wait for us. After any doubt the driver drops the link, connects again and resynchronises. No other way repairs a loss.
//!
//! - `leg`, `legs`, `audio`, `recordings`: the state of each leg, as pure state machines;
//! - `esl_event`: events as values; `command`: commands as text; `survey`: the PBX's channels after a gap;
//! - `connection`, `reader`, `session`, `link`: sockets, time and queues around these. The codec is `paceline-esl`.
//!
//! Needs on the PBX: the Event Socket with a password, an access list that lets us in, mod_commands and mod_dptools.
//! The dialplan needs nothing.
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

/// Settings for one FreeSWITCH.
#[derive(Clone, Debug)]
pub struct EslConfig {
    /// The PBX's name in our configuration.
    pub name: PbxName,
    /// Address of its Event Socket: `127.0.0.1:8021`.
    pub address: String,
    /// The Event Socket's password.
    pub password: SecretString,
    /// The mark of our channels there: letters, digits, `-`, `_`, `.`. One per Paceline: a second client of the same name cuts off
    /// the first.
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
