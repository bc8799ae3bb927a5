//! Real telephony and databases on loopback, for tests and for trying Paceline out.
//!
//! The crate has [`Asterisk`] (22 or 16, unpacked by `scripts/tools`), [`FreeSwitch`] (if one is installed), a [`Carrier`] (SIPp,
//! whose callees do what the dialed number's last two digits say, see [`Behaviour`]), the agents' [`Phones`], [`Postgres`], an
//! [`HttpsServer`] with an authority of its own, and a [`SmallDisk`] that can be filled. [`Lab`] starts a carrier, phones and an
//! Asterisk that know each other.
//!
//! Everything listens on 127.0.0.1 and on ports found free at start, lives in a temporary folder, and ends when its
//! value is dropped or when this process dies, however it dies. No tokio: everything here blocks; from async code call
//! it in `spawn_blocking`. It knows nothing of Paceline itself.

mod asterisk;
mod carrier;
mod disk;
mod error;
mod esl;
mod folder;
mod freeswitch;
mod http;
mod https;
mod lab;
mod media;
mod phones;
mod ports;
mod postgres;
mod process;
mod tools;

pub use asterisk::{Asterisk, AsteriskPorts, Options, Version};
pub use carrier::{Behaviour, CallEnd, Callee, Carrier, SeenCall};
pub use disk::SmallDisk;
pub use error::LabError;
pub use freeswitch::{FreeSwitch, FreeSwitchOptions, FreeSwitchPorts};
pub use http::Reply;
pub use https::HttpsServer;
pub use lab::{FreeSwitchLab, Lab, LabOptions, LabPorts};
pub use media::{Audio, MediaReport};
pub use phones::{Hold, PhoneBehaviour, PhoneCall, PhoneState, Phones};
pub use postgres::Postgres;

/// The result of the operations of this crate.
pub type Result<T> = std::result::Result<T, LabError>;
