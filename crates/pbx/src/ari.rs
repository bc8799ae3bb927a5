//! Asterisk over ARI. In: [`PbxCommand`](paceline_core::pbx::PbxCommand). Out: events with what the PBX said, raw.
//!
//! One task per PBX holds one WebSocket. If Asterisk can (20.14, 21.9, 22.4 and later), requests travel on the
//! same WebSocket; else over HTTP. After any doubt (no reply, silence, a full queue) the driver drops the link, connects again and
//! resynchronises. No other way repairs a loss.
//!
//! - [`decode`]: frames to values;
//! - `leg`, `legs`, `recordings`: the state of each leg, as pure state machines;
//! - `requests`: requests as values; `outbox`: the output of the state machines; `survey`: the PBX's channels after a gap;
//! - `client`, `request_queue`, `session`, `link`: sockets, time and queues around these.
//!
//! Needs on the PBX: an ARI user that is not read-only. The dialplan needs nothing.
//!
//! While Paceline is not connected, Asterisk 22 refuses a blind transfer by an agent's phone (503, measured), so the driver misses
//! none.
//!
//! Measured limits: Asterisk 16 looks at a waiting channel's commands only when its next RTP packet comes, so a connect
//! takes up to 20 ms there (200 ms if the callee sends nothing); 22 takes 1 ms. Asterisk 16 gives no SIP status.

use crate::PbxHandle;
use crate::driver::{self, Ports};
use paceline_core::ids::PbxName;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use uuid::Uuid;

mod client;
pub mod decode;
mod fair_stream;
mod held;
mod leg;
mod legs;
mod link;
mod outbox;
mod recordings;
mod request_queue;
mod requests;
mod session;
mod survey;
mod tls;

pub use client::{Client, ClientError, EventStream, HttpError, Reply};
pub use requests::{Method, Request, escape};

/// Settings for one Asterisk.
#[derive(Clone, Debug)]
pub struct AriConfig {
    /// The PBX's name in our configuration.
    pub name: PbxName,
    /// URL of its HTTP server: `http://127.0.0.1:8088`, with its prefix if it has one; a final `/ari` may be left out.
    pub url: String,
    /// The user in its `ari.conf`.
    pub username: String,
    /// That user's password.
    pub password: SecretString,
    /// The name of our application there. One per Paceline: a second client of the same name cuts off the first.
    pub app: String,
    /// The installation that drives it: the id in its store.
    pub installation: Uuid,
    /// Authorities for the certificate of an `https` PBX. If empty: those that this machine trusts.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl AriConfig {
    /// The application's usual name.
    pub const APP: &str = "paceline";
}

/// Starts a driver on the current tokio runtime. It connects, and reconnects, until the handle is dropped.
pub fn spawn(config: AriConfig) -> PbxHandle {
    let (ports, handle) = Ports::open();
    tokio::spawn(driver::run(link::AriLink::new(config), ports));
    handle
}
