//! A real Asterisk in a temporary folder. Start at [`Asterisk::start`].
//!
//! Input: the version, the number of agents, the addresses of the carrier and the phones. Output: a running PBX with ARI, a
//! trunk `carrier`, a trunk `dead`, endpoints `agent-1` to `agent-N` and a FreePBX-shaped context `from-internal`.

mod config;
mod sounds;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    LabError, Reply, Result, folder, http,
    ports::PortBlock,
    process::{self, Process},
    tools,
};

/// The version of Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 22, a current version.
    V22,
    /// 16, an old version that is still in use.
    V16,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V22 => "asterisk-22",
            Self::V16 => "asterisk-16",
        }
    }
}

/// The ports of one Asterisk, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsteriskPorts {
    /// HTTP with ARI (TCP).
    pub http: u16,
    /// SIP (UDP).
    pub sip: u16,
    /// AMI (TCP).
    pub ami: u16,
    /// A port on which nothing listens: the contact of the trunk `dead`.
    pub dead: u16,
    /// First port for RTP (UDP).
    pub rtp_first: u16,
    /// Last port for RTP.
    pub rtp_last: u16,
}

/// The options of an Asterisk.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of endpoints `agent-1`, `agent-2` and so on; default 200.
    pub agents: u32,
    /// SIP port of the carrier. Without it the trunk `carrier` is dead, like `dead`.
    pub carrier_port: Option<u16>,
    /// SIP port of the agents' phones. Without it calls to agents fail as over `dead`.
    pub phones_port: Option<u16>,
    /// Fixed ports. By default a free block is taken.
    pub ports: Option<AsteriskPorts>,
    /// Text to append to configuration files, as (file name, text).
    pub append: Vec<(String, String)>,
    /// Interval in seconds at which Asterisk checks the phones; 0, the default: never.
    pub qualify_s: u32,
    /// Asterisk ends the leg of a phone that sends no audio for this time, in seconds; 0, the default: never.
    pub rtp_timeout_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agents: 200,
            carrier_port: None,
            phones_port: None,
            ports: None,
            append: Vec::new(),
            qualify_s: 0,
            rtp_timeout_s: 0,
        }
    }
}

/// A running Asterisk. It is killed and its folder deleted when this is dropped.
#[derive(Debug)]
pub struct Asterisk {
    // Declared first, so dropped first: the process must end before its folder is deleted.
    process: Process,
    version: Version,
    ports: AsteriskPorts,
    password: String,
    folder: TempDir,
    _block: Option<PortBlock>,
}

impl Asterisk {
    /// Writes a configuration into a temporary folder, starts Asterisk there and waits until ARI answers.
    ///
    /// # Errors
    /// Says to run `scripts/tools` when that version was not fetched, and shows the log's end when it does not start.
    pub fn start(version: Version, options: &Options) -> Result<Self> {
        tools::program(version.name())?;
        let (ports, block) = match options.ports {
            Some(ports) => (ports, None),
            None => {
                let block = PortBlock::take()?;
                let (rtp_first, rtp_last) = block.rtp();
                let (http, sip, ami, dead) = (block.port(1), block.port(2), block.port(3), block.port(4));
                (
                    AsteriskPorts {
                        http,
                        sip,
                        ami,
                        dead,
                        rtp_first,
                        rtp_last,
                    },
                    Some(block),
                )
            }
        };
        let folder = folder::temporary()?;
        let password = random_hex()?;
        config::write(
            folder.path(),
            &tools::folder()?.join(version.name()),
            options,
            ports,
            &password,
        )?;
        sounds::write(&folder.path().join("data/sounds/en"), &folder.path().join("moh"))?;
        let process = launch(version, folder.path())?;
        let mut asterisk = Self {
            process,
            version,
            ports,
            password,
            folder,
            _block: block,
        };
        asterisk.wait_until_ready()?;
        Ok(asterisk)
    }

    /// Kills it as a crash would, with SIGKILL. [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same ports and in the same folder, and waits for ARI. Kills it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(self.version, self.folder.path())?;
        self.wait_until_ready()
    }

    /// Stops the process (SIGSTOP): its sockets stay open, and it answers nothing.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Continues the process after [`Self::freeze`].
    ///
    /// # Errors
    /// If the process has ended.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// True if the process exists, stopped or not.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The ports.
    pub fn ports(&self) -> AsteriskPorts {
        self.ports
    }

    /// `http://127.0.0.1:PORT`; ARI is under `/ari`.
    pub fn ari_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// The ARI user; the AMI user, who may only read, has the same name and password.
    pub fn user(&self) -> &'static str {
        "paceline"
    }

    /// The password of that user, created at this start.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// SIP port (UDP).
    pub fn sip_port(&self) -> u16 {
        self.ports.sip
    }

    /// AMI port (TCP). The user may only read.
    pub fn ami_port(&self) -> u16 {
        self.ports.ami
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder of all files that it reads and writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of ARI recordings.
    pub fn recordings_dir(&self) -> PathBuf {
        self.folder.path().join("spool/recording")
    }

    /// The folder of `sound:NAME`. It contains `message` (3 s), `beep`, `tone-440`, `tone-880` and more, all µ-law.
    pub fn sounds_dir(&self) -> PathBuf {
        self.folder.path().join("data/sounds/en")
    }

    /// The log of notices, warnings and errors.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log/messages")
    }

    /// Runs a command in its CLI (`asterisk -rx`) and returns the output.
    ///
    /// # Errors
    /// If no Asterisk runs.
    pub fn cli(&self, command: &str) -> Result<String> {
        let mut client = self.cli_client(command)?;
        let program = client.get_program().to_string_lossy().into_owned();
        let output = client
            .stdout(Stdio::piped())
            .output()
            .map_err(|err| LabError::Spawn { program, err })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(LabError::UnexpectedReply {
                what: "asterisk -rx",
                status: 0,
            })
        }
    }

    /// The same command, but not started yet. `core restart gracefully` returns only after Asterisk has ended. Here
    /// Asterisk does not restart by itself, because it was started with a loader that it does not know; call
    /// [`Self::restart`].
    ///
    /// # Errors
    /// If this version was not downloaded.
    pub fn cli_client(&self, command: &str) -> Result<Command> {
        let mut client = Command::new(tools::program(self.version.name())?);
        client
            .arg("-C")
            .arg(config::main_file(self.folder.path()))
            .args(["-rx", command])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(client)
    }

    /// An ARI request without body, such as `ari("GET", "/channels")`; the path is below `/ari` and already encoded.
    ///
    /// # Errors
    /// [`LabError::Http`] if no reply comes. An HTTP error status is a reply.
    pub fn ari(&self, method: &str, path: &str) -> Result<Reply> {
        http::request(
            self.ports.http,
            self.user(),
            &self.password,
            method,
            &format!("/ari{path}"),
        )
    }

    /// The ids of all channels on the PBX.
    ///
    /// # Errors
    /// If the PBX does not answer.
    pub fn channels(&self) -> Result<Vec<String>> {
        let reply = self.ari("GET", "/channels")?;
        let unexpected = || LabError::UnexpectedReply {
            what: "GET /channels",
            status: reply.status,
        };
        let channels: Vec<serde_json::Value> = serde_json::from_str(&reply.body).map_err(|_| unexpected())?;
        Ok(channels
            .iter()
            .filter_map(|channel| channel.get("id")?.as_str().map(str::to_owned))
            .collect())
    }

    /// Waits until no channel is left. Returns the ids of the channels that exist at the limit.
    ///
    /// # Errors
    /// If the PBX does not answer.
    pub fn channels_after(&self, limit: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        loop {
            let channels = self.channels()?;
            if channels.is_empty() || Instant::now() >= deadline {
                return Ok(channels);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// CPU time since the last start, user plus system, seconds.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process.cpu_seconds()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        // A loaded machine may take much longer than the usual half second.
        const LIMIT: Duration = Duration::from_secs(30);
        let started = Instant::now();
        let ready = process::poll(LIMIT, || {
            !self.process.is_running()
                || self
                    .ari("GET", "/asterisk/info")
                    .is_ok_and(|reply| reply.status == 200)
        });
        if ready && self.process.is_running() {
            return Ok(());
        }
        let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut last_words = process::last_words(&self.folder.path().join("log/output"));
        last_words.push_str(&process::last_words(&self.log_path()));
        Err(LabError::NotReady {
            what: self.version.name().to_owned(),
            waited_ms,
            last_words,
        })
    }
}

fn launch(version: Version, folder: &Path) -> Result<Process> {
    let mut command = process::dying_with_us(&tools::program(version.name())?);
    let output_path = folder.join("log/output");
    let output = fs::File::create(&output_path).map_err(LabError::file("write", &output_path))?;
    let errors = output
        .try_clone()
        .map_err(LabError::file("write", &output_path))?;
    command
        .arg("-f")
        .arg("-C")
        .arg(config::main_file(folder))
        .stdout(output)
        .stderr(errors)
        .current_dir(folder);
    Process::spawn(command)
}

/// 32 random hexadecimal digits from the operating system.
pub(crate) fn random_hex() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(LabError::file("read", "/dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
