//! The configuration file. In: `paceline.toml`. Out: a checked [`Config`], or every [`Problem`] found in it.
//!
//! Everything has a default, so an empty file is a usable one. Secrets never stand in the file: it names the file or
//! the environment variable that holds them. Relative paths are taken from the file's own folder. Start at
//! [`Config::load`].

mod reader;
mod sections;
mod warnings;

pub use reader::Problem;

use crate::clock::Clock;
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::ids::PbxName;
use reader::{Reader, Section};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use sections::Outside;
use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Read where no other file is named; it may be missing.
pub const DEFAULT_FILE: &str = "paceline.toml";
/// No sensible configuration is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    /// Where the API, its page and `/metrics` are served. Loopback by default.
    pub listen: SocketAddr,
    /// Where state is kept.
    pub store: StoreConfig,
    /// Two letters (ISO 3166-1): how numbers without a country code are read. None: they are refused.
    pub default_region: Option<String>,
    /// Whether logs are JSON, one object a line.
    pub log_json: bool,
    /// The switches, at most one of each name.
    pub pbxes: Vec<PbxConfig>,
    /// Password files that others on this machine can read.
    pub open_secrets: Vec<PathBuf>,
}

/// Where state is kept.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:` and a path, or a `postgres://` URL with its password. Only for connecting.
    pub url: SecretString,
    /// The same without the password, for people.
    pub shown: String,
}

/// One switch.
#[derive(Clone, Debug)]
pub struct PbxConfig {
    /// What trunks, agents and metrics call it.
    pub name: PbxName,
    /// How agents' phones are reached there.
    pub agent_dial: AgentTemplate,
    /// What its trunks may lead to.
    pub dial_allowed: DialRules,
    /// How it is attached.
    pub kind: PbxKind,
}

/// How a switch is attached.
#[derive(Clone, Debug)]
pub enum PbxKind {
    /// Asterisk, by its REST interface.
    Ari {
        /// Base URL: `http://127.0.0.1:8088`.
        url: String,
        /// A user of `ari.conf` that is not read-only.
        username: String,
        /// That user's password.
        password: SecretString,
        /// The Stasis application that Paceline registers.
        app: String,
        /// Who may vouch for an `https` switch; those that this machine trusts where empty.
        authorities: Vec<CertificateDer<'static>>,
        /// Where `doctor` lists queues, which ARI cannot.
        ami: Option<AmiConfig>,
    },
    /// FreeSWITCH, by its Event Socket.
    Esl {
        /// Host and port: `127.0.0.1:8021`.
        address: String,
        /// The Event Socket's password.
        password: SecretString,
        /// What Paceline's channels are marked with.
        app: String,
    },
    /// No switch at all: seeded callees and agents, for trying things out.
    Sim {
        /// The same seed gives the same callees.
        seed: u64,
        /// How many times as fast as real time.
        speed: f64,
    },
}

/// Asterisk's manager interface, by a user who may only read. Calls do without.
#[derive(Clone, Debug)]
pub struct AmiConfig {
    /// Host and port: `127.0.0.1:5038`.
    pub address: String,
    /// A user of `manager.conf`.
    pub username: String,
    /// That user's password.
    pub password: SecretString,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{}`: name another with --config, or make this one readable", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        err: std::io::Error,
    },
    /// The file is no text.
    #[error("the configuration file `{}` is no UTF-8 text of at most 1 MiB", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// What stands in it cannot be used.
    #[error("{}", Shown(.0))]
    Invalid(Vec<Problem>),
}

struct Shown<'a>(&'a [Problem]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreConfig({})", self.shown)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            store: StoreConfig::sqlite(Path::new("paceline.db")),
            default_region: None,
            log_json: false,
            pbxes: Vec::new(),
            open_secrets: Vec::new(),
        }
    }
}

impl StoreConfig {
    /// A SQLite file.
    pub fn sqlite(path: &Path) -> Self {
        let shown = format!("sqlite:{}", sections::escape(path));
        Self {
            url: shown.clone().into(),
            shown,
        }
    }
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] where there is one, or takes the defaults.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(err) if file.is_none() && err.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(err) => {
                let path = path.to_owned();
                return Err(ConfigError::Read { path, err });
            }
        };
        let not_text = || ConfigError::NotText {
            path: path.to_owned(),
        };
        let bytes = bytes.ok_or_else(not_text)?;
        let text = String::from_utf8(bytes).map_err(|_| not_text())?;
        let mut config = Self::parse(path, &text, |name| std::env::var(name).ok())?;
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Reads a file's text. `env` looks up environment variables; password files are read.
    fn parse(path: &Path, text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new(""));
        let reader = Reader::new(&file, text);
        let document = reader.document();
        let outside = Outside {
            folder,
            env: &env,
            open_secrets: RefCell::default(),
        };
        let config = document
            .as_ref()
            .map(|document| sections::read(Section::root(&reader, document), &outside));
        drop(document);
        match (config, reader.into_problems()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(ConfigError::Invalid(problems)),
        }
    }

    /// The clock to run by: faster than real time only where every switch is simulated.
    pub fn clock(&self) -> Clock {
        let speed = self.pbxes.iter().find_map(|pbx| match pbx.kind {
            PbxKind::Sim { speed, .. } => Some(speed),
            PbxKind::Ari { .. } | PbxKind::Esl { .. } => None,
        });
        match speed {
            Some(speed) if speed != 1.0 => Clock::with_speed(speed),
            _ => Clock::real(),
        }
    }
}

/// The file's bytes, or none if there are too many.
fn read_bounded(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes))
}

#[cfg(test)]
mod tests;
