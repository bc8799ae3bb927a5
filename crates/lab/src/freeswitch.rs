//! A real FreeSWITCH in a temporary folder. Start at [`FreeSwitch::start`].
//!
//! In: the number of agents, the ports of the carrier and of the phones. Out: a running PBX with an Event Socket, a gateway
//! `carrier`, a gateway `dead`, users `agent-1` to `agent-N` and a context `from-internal`. Its configuration is the one
//! in `freeswitch-conf/lab`, which users can start too.
//!
//! FreeSWITCH is in few distributions, so it is not fetched: [`FreeSwitch::program`] looks for an installed one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    LabError, Result,
    asterisk::random_hex,
    esl, folder,
    media::{MESSAGE_HZ, tone},
    ports::PortBlock,
    process::{self, Process},
};

/// The ports of one FreeSWITCH, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSwitchPorts {
    /// The Event Socket (TCP).
    pub event_socket: u16,
    /// SIP (UDP and TCP).
    pub sip: u16,
    /// A port on which nobody listens: the address of the gateway `dead`.
    pub dead: u16,
    /// First port for RTP (UDP).
    pub rtp_first: u16,
    /// Last port for RTP.
    pub rtp_last: u16,
}

/// Options of a FreeSWITCH.
#[derive(Debug, Clone)]
pub struct FreeSwitchOptions {
    /// Number of users `agent-1`, `agent-2`, …; 200 by default.
    pub agents: u32,
    /// The carrier's port. `None`: the gateway `carrier` leads to a port on which nobody listens.
    pub carrier_port: Option<u16>,
    /// The port of the agents' phones. `None`: a port on which nobody listens.
    pub phones_port: Option<u16>,
    /// Maximum number of calls per second, plus one; 400 by default.
    pub sessions_per_second: u32,
    /// Time without audio from a phone after which FreeSWITCH ends its leg, ms; 0, the default, for never.
    pub media_timeout_ms: u32,
    /// Fixed ports; by default a free block is taken.
    pub ports: Option<FreeSwitchPorts>,
}

impl Default for FreeSwitchOptions {
    fn default() -> Self {
        Self {
            agents: 200,
            carrier_port: None,
            phones_port: None,
            sessions_per_second: 400,
            media_timeout_ms: 0,
            ports: None,
        }
    }
}

/// A running FreeSWITCH; killed, and its folder deleted, when dropped.
#[derive(Debug)]
pub struct FreeSwitch {
    // Declared first, so dropped first: it must be dead before its folder goes.
    process: Process,
    program: PathBuf,
    ports: FreeSwitchPorts,
    password: String,
    folder: TempDir,
    _block: Option<PortBlock>,
}

/// Name, pitch in Hz, length in ms.
const SOUNDS: [(&str, u32, u32); 2] = [("message", MESSAGE_HZ, 3_000), ("beep", 1_000, 200)];

impl FreeSwitch {
    /// The `freeswitch` that `PACELINE_FREESWITCH` names, or the first on the PATH; `None` if there is none.
    pub fn program() -> Option<PathBuf> {
        let named = env::var_os("PACELINE_FREESWITCH").filter(|name| !name.is_empty());
        match named {
            Some(named) => Some(PathBuf::from(named)),
            None => env::split_paths(&env::var_os("PATH")?)
                .map(|folder| folder.join("freeswitch"))
                .find(|program| program.is_file()),
        }
    }

    /// As [`Self::program`]; if there is none, says on stderr that `what` is not tested.
    pub fn program_or_skip(what: &str) -> Option<PathBuf> {
        let program = Self::program();
        if program.is_none() {
            eprintln!(
                "SKIPPED: {what}: no `freeswitch` on the PATH or in PACELINE_FREESWITCH; nothing was tested here"
            );
        }
        program
    }

    /// Writes a configuration into a temporary folder, starts FreeSWITCH there and waits until it is ready.
    ///
    /// # Errors
    /// [`LabError::NoFreeSwitch`] if there is no FreeSWITCH. If it does not start, the error has the end of its log.
    pub fn start(options: &FreeSwitchOptions) -> Result<Self> {
        let program = Self::program().ok_or(LabError::NoFreeSwitch)?;
        let (ports, block) = match options.ports {
            Some(ports) => (ports, None),
            None => {
                let block = PortBlock::take()?;
                let (rtp_first, rtp_last) = block.rtp();
                let ports = FreeSwitchPorts {
                    event_socket: block.port(5),
                    sip: block.port(6),
                    dead: block.port(7),
                    rtp_first,
                    rtp_last,
                };
                (ports, Some(block))
            }
        };
        let folder = folder::temporary()?;
        let password = random_hex()?;
        write(folder.path(), options, ports, &password)?;
        let process = launch(&program, folder.path())?;
        let mut freeswitch = Self {
            process,
            program,
            ports,
            password,
            folder,
            _block: block,
        };
        freeswitch.wait_until_ready()?;
        Ok(freeswitch)
    }

    /// Kills it as a crash would, with SIGKILL. [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// True if the process exists, frozen or not.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Starts it again on the same ports and in the same folder, killing it first if it runs, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.program, self.folder.path())?;
        self.wait_until_ready()
    }

    /// Suspends the process (SIGSTOP): its sockets stay open, and it answers nothing.
    ///
    /// # Errors
    /// [`LabError::Signal`] if the process has ended.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Resumes the process after [`Self::freeze`].
    ///
    /// # Errors
    /// [`LabError::Signal`] if the process has ended.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// The ports of this FreeSWITCH.
    pub fn ports(&self) -> FreeSwitchPorts {
        self.ports
    }

    /// `127.0.0.1:PORT` of its Event Socket.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.event_socket)
    }

    /// The Event Socket's password, made for this start.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it reads and writes; its configuration is in `conf`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the recordings.
    pub fn recordings_dir(&self) -> PathBuf {
        self.folder.path().join("recordings")
    }

    /// The folder in which FreeSWITCH looks up `sound:NAME`. It holds `message` (3 s) and `beep`.
    pub fn sounds_dir(&self) -> PathBuf {
        self.folder.path().join("sounds")
    }

    /// Warnings and errors.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log/freeswitch.log")
    }

    /// Runs an API command on a connection of its own and returns what it printed.
    ///
    /// # Errors
    /// [`LabError::Http`] if the Event Socket does not answer.
    pub fn api(&self, command: &str) -> Result<String> {
        Ok(self.apis(&[command.to_owned()])?.concat())
    }

    /// Runs several API commands on one connection and returns what each printed.
    ///
    /// # Errors
    /// As [`Self::api`].
    pub fn apis(&self, commands: &[String]) -> Result<Vec<String>> {
        esl::apis(self.ports.event_socket, &self.password, commands)
    }

    /// The ids of all channels now on the PBX.
    ///
    /// # Errors
    /// [`LabError::Http`] if the Event Socket does not answer; [`LabError::UnexpectedReply`] if the answer is not JSON.
    pub fn channels(&self) -> Result<Vec<String>> {
        let text = self.api("show channels as json")?;
        let list: serde_json::Value = serde_json::from_str(&text).map_err(|_| LabError::UnexpectedReply {
            what: "show channels",
            status: 0,
        })?;
        Ok(list
            .get("rows")
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|row| row.get("uuid")?.as_str().map(str::to_owned))
            .collect())
    }

    /// Waits until no channel is left, at most for `limit`. Returns the ids of the channels that are left.
    ///
    /// # Errors
    /// As [`Self::channels`].
    pub fn channels_after(&self, limit: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        loop {
            let channels = self.channels()?;
            if channels.is_empty() || Instant::now() >= deadline {
                return Ok(channels);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU time it has used since it was last started, user plus system, seconds.
    ///
    /// # Errors
    /// [`LabError::CpuTime`] if the process has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process.cpu_seconds()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        // A loaded machine may take much longer than the usual three seconds.
        const LIMIT: Duration = Duration::from_secs(60);
        let started = Instant::now();
        let ready = process::poll(LIMIT, || {
            !self.process.is_running()
                || self
                    .api("sofia status profile lab")
                    .is_ok_and(|status| status.contains("mod_sofia@"))
        });
        if ready && self.process.is_running() {
            return Ok(());
        }
        let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut last_words = process::last_words(&self.folder.path().join("log/output"));
        last_words.push_str(&process::last_words(&self.log_path()));
        Err(LabError::NotReady {
            what: "freeswitch".to_owned(),
            waited_ms,
            last_words,
        })
    }
}

fn write(folder: &Path, options: &FreeSwitchOptions, ports: FreeSwitchPorts, password: &str) -> Result<()> {
    for name in [
        "conf",
        "log",
        "db",
        "run",
        "recordings",
        "sounds",
        "temp",
        "storage",
    ] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(LabError::file("make", &path))?;
    }
    let agents: String = (1..=options.agents)
        .map(|agent| format!("  <user id=\"agent-{agent}\"/>\n"))
        .collect();
    for (name, text) in [
        (
            "freeswitch.xml",
            include_str!("../../../freeswitch-conf/lab/freeswitch.xml").to_owned(),
        ),
        ("vars.xml", vars(options, ports, password)),
        ("agents.xml", format!("<include>\n{agents}</include>\n")),
    ] {
        let path = folder.join("conf").join(name);
        fs::write(&path, text).map_err(LabError::file("write", &path))?;
    }
    for (name, hz, length_ms) in SOUNDS {
        let path = folder.join("sounds").join(format!("{name}.wav"));
        fs::write(&path, wav(&tone::samples(hz, length_ms))).map_err(LabError::file("write", &path))?;
    }
    Ok(())
}

/// The variables that `freeswitch-conf/lab/vars.xml` shows to users.
fn vars(options: &FreeSwitchOptions, ports: FreeSwitchPorts, password: &str) -> String {
    let variables = [
        ("domain", "lab".to_owned()),
        ("event_socket_port", ports.event_socket.to_string()),
        ("event_socket_password", password.to_owned()),
        ("sip_port", ports.sip.to_string()),
        (
            "carrier_port",
            options.carrier_port.unwrap_or(ports.dead).to_string(),
        ),
        (
            "phones_port",
            options.phones_port.unwrap_or(ports.dead).to_string(),
        ),
        ("dead_port", ports.dead.to_string()),
        ("media_timeout_ms", options.media_timeout_ms.to_string()),
        ("rtp_first", ports.rtp_first.to_string()),
        ("rtp_last", ports.rtp_last.to_string()),
        ("sessions_max", "2000".to_owned()),
        ("sessions_per_second", options.sessions_per_second.to_string()),
    ];
    let lines: String = variables
        .iter()
        .map(|(name, value)| format!("  <X-PRE-PROCESS cmd=\"set\" data=\"{name}={value}\"/>\n"))
        .collect();
    format!("<include>\n{lines}</include>\n")
}

/// A WAV file of µ-law samples, 8 kHz.
fn wav(samples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(samples.len() + 58);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&length.saturating_add(50).to_le_bytes());
    // Format 7 is µ-law: one channel, 8,000 samples and bytes a second, one byte a sample of 8 bits.
    bytes.extend_from_slice(b"WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0");
    bytes.extend_from_slice(b"fact\x04\0\0\0");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(samples);
    bytes
}

fn launch(program: &Path, folder: &Path) -> Result<Process> {
    let mut command: Command = process::dying_with_us(program);
    let output_path = folder.join("log/output");
    let output = fs::File::create(&output_path).map_err(LabError::file("write", &output_path))?;
    let errors = output
        .try_clone()
        .map_err(LabError::file("write", &output_path))?;
    command.args(["-nf", "-nc", "-nonat", "-nocal", "-np"]);
    for (option, name) in [
        ("-conf", "conf"),
        ("-log", "log"),
        ("-db", "db"),
        ("-run", "run"),
        ("-recordings", "recordings"),
        ("-sounds", "sounds"),
        ("-temp", "temp"),
        ("-storage", "storage"),
    ] {
        command.arg(option).arg(folder.join(name));
    }
    command.stdout(output).stderr(errors).current_dir(folder);
    Process::spawn(command)
}
