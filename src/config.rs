//! The configuration file. Input: `paceline.toml`. Output: a checked [`Config`], or every [`Problem`] found in it.
//!
//! Every setting has a default, so an empty file is valid. Secrets must not be in the file; it names the file or
//! environment variable that contains them. Relative paths start at the folder of the configuration file. Start at
//! [`Config::load`].

mod reader;
mod sections;
mod warnings;

pub use reader::Problem;
pub use warnings::NotOnLoopback;

use crate::clock::Clock;
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::ids::PbxName;
use reader::{Reader, Section};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use sections::Outside;
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read if no other is named. It may be missing.
pub const DEFAULT_FILE: &str = "paceline.toml";
/// Maximum size of the file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from. `None`: the defaults are used.
    pub file: Option<PathBuf>,
    /// Address of the API, its page and `/metrics`. Default: loopback.
    pub listen: SocketAddr,
    /// Proxies whose `X-Forwarded-For` is believed: the audit shows the address that they name.
    pub trusted_proxies: Vec<IpAddr>,
    /// The store of Paceline's state.
    pub store: StoreConfig,
    /// Region (ISO 3166-1, two letters) for numbers without a country code. `None`: such numbers are refused.
    pub default_region: Option<String>,
    /// The place of the ledger's checkpoints.
    pub ledger: LedgerConfig,
    /// The team's own rules beside those of regulators, in this order.
    pub overlays: Vec<Overlay>,
    /// The retention of rows that only people read.
    pub retention: RetentionConfig,
    /// Numbers of all suppression lists together; a list that is replaced counts twice meanwhile.
    pub suppression_numbers_max: usize,
    /// The service of the outside check. `None`: there is none.
    pub outside_check: Option<OutsideCheckConfig>,
    /// True: logs are JSON, one object per line.
    pub log_json: bool,
    /// The PBXes. Their names are unique.
    pub pbxes: Vec<PbxConfig>,
    /// The file of `paceline serve --test-clock`. `None`: the time is the machine's.
    pub test_clock: Option<PathBuf>,
    /// Password files that other users of this machine can read.
    pub open_secrets: Vec<PathBuf>,
}

/// A rule file of the team. `docs/compliance.md` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The file's name, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Numbers of all suppression lists together. They are in memory, 8 bytes each: 256 MB.
pub const SUPPRESSION_NUMBERS_MAX: usize = 32_000_000;

/// The retention of rows that only people read, in days: 1 to 36,500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Rows of the audit.
    pub audit_days: u32,
    /// The gate's decisions.
    pub decisions_days: u32,
    /// The rows that imports rejected.
    pub import_rejects_days: u32,
    /// The bodies of opt-outs in the ledger.
    pub opt_outs_days: u32,
    /// Answers of the outside check, after they expired.
    pub outside_answers_days: u32,
}

impl Default for RetentionConfig {
    /// Five years for what proves how calls were made: the FTC's Telemarketing Sales Rule asks for records of five years (16 CFR
    /// 310.5), the longest time among the rules that we know for call records. Ten years for opt-outs, as Virginia asks for those
    /// of texts (SB 1339).
    fn default() -> Self {
        Self {
            audit_days: 1_827,
            decisions_days: 1_827,
            import_rejects_days: 90,
            opt_outs_days: 3_653,
            outside_answers_days: 30,
        }
    }
}

/// The place of the ledger's checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The append-only file of checkpoints. Default: beside the key files, with a part of the installation's id and the
    /// ending `.checkpoints`.
    pub checkpoints: Option<PathBuf>,
}

/// A service that says of a number whether it should be called.
#[derive(Clone, Debug)]
pub struct OutsideCheckConfig {
    /// The URL to which the numbers are sent: https, or http on this machine.
    pub url: String,
    /// Sent as `Authorization: Bearer`. `None`: none is sent.
    pub secret: Option<SecretString>,
    /// Most numbers in a request: 1 to 500.
    pub batch_size: usize,
    /// Most requests in a minute: 1 to 6,000.
    pub requests_per_minute: u32,
    /// Longest wait for a complete reply: 100 ms to 60 s.
    pub timeout: Duration,
    /// Numbers are asked if their contacts are due within this time: 1 min to 24 h.
    pub ask_ahead: Duration,
    /// During an outage, numbers without a valid answer are called, for this reason. `None`: they are not called.
    pub open_because: Option<String>,
}

/// The store of Paceline's state.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:` and a path, or a `postgres://` URL with its password. Only for connecting.
    pub url: SecretString,
    /// The same without the password, for messages.
    pub shown: String,
    /// The folder of the files with secret keys. `None`: that of the SQLite file, or of the configuration file.
    pub keys: Option<PathBuf>,
}

/// A PBX.
#[derive(Clone, Debug)]
pub struct PbxConfig {
    /// Its name in trunks, agents and metrics.
    pub name: PbxName,
    /// Template of the dial string of agents' phones.
    pub agent_dial: AgentTemplate,
    /// Dial strings that its trunks may use.
    pub dial_allowed: DialRules,
    /// The kind of PBX and how to connect to it.
    pub kind: PbxKind,
}

/// The kind of PBX and how to connect to it.
#[derive(Clone, Debug)]
pub enum PbxKind {
    /// Asterisk with its REST interface (ARI).
    Ari {
        /// Base URL, such as `http://127.0.0.1:8088`.
        url: String,
        /// A user of `ari.conf` with write access.
        username: String,
        /// The password of this user.
        password: SecretString,
        /// The Stasis application that Paceline registers.
        app: String,
        /// Certificates of authorities for an `https` URL. Empty: the authorities that this machine trusts.
        authorities: Vec<CertificateDer<'static>>,
        /// The manager interface, with which `doctor` lists queues. ARI cannot list them.
        ami: Option<AmiConfig>,
    },
    /// FreeSWITCH with its Event Socket.
    Esl {
        /// Host and port, such as `127.0.0.1:8021`.
        address: String,
        /// The password of the Event Socket.
        password: SecretString,
        /// The mark on Paceline's channels.
        app: String,
    },
    /// A simulated PBX with callees and agents, to try Paceline.
    Sim {
        /// The same seed gives the same callees.
        seed: u64,
        /// Speed as a factor of real time.
        speed: f64,
    },
}

/// Asterisk's manager interface with a read-only user. Calls do not need it.
#[derive(Clone, Debug)]
pub struct AmiConfig {
    /// Host and port, such as `127.0.0.1:5038`.
    pub address: String,
    /// A user of `manager.conf`.
    pub username: String,
    /// The password of this user.
    pub password: SecretString,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{}`: name another file with --config, or make this one readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        err: std::io::Error,
    },
    /// The file is not UTF-8, or larger than 1 MiB.
    #[error("the configuration file `{}` is not UTF-8 text, or it is larger than 1 MiB", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// At least one setting is wrong.
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
            trusted_proxies: Vec::new(),
            store: StoreConfig::sqlite(Path::new("paceline.db")),
            default_region: None,
            ledger: LedgerConfig::default(),
            overlays: Vec::new(),
            retention: RetentionConfig::default(),
            suppression_numbers_max: SUPPRESSION_NUMBERS_MAX,
            outside_check: None,
            log_json: false,
            pbxes: Vec::new(),
            test_clock: None,
            open_secrets: Vec::new(),
        }
    }
}

impl StoreConfig {
    /// The store in this SQLite file.
    pub fn sqlite(path: &Path) -> Self {
        let shown = format!("sqlite:{}", sections::escape(path));
        Self {
            url: shown.clone().into(),
            shown,
            keys: None,
        }
    }
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] if it exists, or uses the defaults.
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

    /// Checks the text of a file. `env` looks up environment variables. Password files are read.
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

    /// The clock of the process. It runs faster than real time only if all PBXes are simulated.
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

/// The bytes of the file. `None` if it is too large.
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
