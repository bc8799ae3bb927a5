//! The telephone network behind the trunk: SIPp as a carrier, and the audio of its callees.
//!
//! Input: calls from a PBX. Output: what each callee did ([`Behaviour`]), a list of all calls, and whether callees heard an
//! agent or the message. SIPp does the SIP; this crate does the audio, because SIPp cannot listen.

mod behaviour;
mod callees;
mod scenario;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

pub use behaviour::Behaviour;
pub use callees::Callee;

use crate::{
    LabError, MediaReport, Result, folder,
    media::{AGENT_HZ, Audio, FlowId, Media},
    ports, process,
    process::Process,
    tools,
};

/// The end of a call, as the carrier saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The carrier refused it with the behaviour's SIP status.
    Refused,
    /// The carrier never replied.
    Ignored,
    /// The caller cancelled before the answer.
    Cancelled,
    /// The caller hung up after the answer.
    CallerHungUp,
    /// The callee hung up after the answer.
    CalleeHungUp,
    /// The PBX died during the call; see [`Carrier::lose_calls`].
    Lost,
}

/// One call (one SIP Call-ID) at the carrier. Retransmissions do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCall {
    /// The dialed number as received.
    pub number: String,
    /// The callee's behaviour. `None` if the number does not end in two digits; then SIPp refuses the call.
    pub behaviour: Option<Behaviour>,
    /// The SIP Call-ID.
    pub call_id: String,
    /// Time of the INVITE, ms since 1970.
    pub at_ms: u64,
    /// True if the call was answered.
    pub answered: bool,
    /// Time of the answer, ms since 1970; up to 20 ms late.
    pub answered_at_ms: Option<u64>,
    /// The end of the call. `None` while it is up.
    pub end: Option<CallEnd>,
    /// Time of the end, ms since 1970; up to 20 ms late.
    pub ended_at_ms: Option<u64>,
    /// Time from the answer until the callee heard an agent's tone. Known after the end of the call.
    pub heard_agent: Option<Duration>,
    /// Start and end of the message that the callee heard, from the answer. Known after the end of the call.
    pub heard_message: Option<(Duration, Duration)>,
}

/// A running carrier. It ends when this is dropped.
#[derive(Debug)]
pub struct Carrier {
    process: Process,
    sip_port: u16,
    media: Arc<Media>,
    call_log: Arc<Mutex<CallLog>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    folder: TempDir,
}

#[derive(Debug, Default)]
struct CallLog {
    calls: Vec<SeenCall>,
    /// Index in `calls`, RTP address of the caller and flow, for each call that is up.
    live: BTreeMap<String, (usize, SocketAddr, Option<FlowId>)>,
}

impl Carrier {
    /// Starts SIPp on a free port.
    ///
    /// # Errors
    /// Says to run `scripts/tools` when SIPp is missing.
    pub fn start(audio: Audio) -> Result<Self> {
        Self::start_with(audio, &[])
    }

    /// Starts SIPp with callees who have their own script, whatever their numbers end in.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(audio: Audio, callees: &[Callee]) -> Result<Self> {
        // Another program may take the port before SIPp does.
        let mut attempt = Self::launch(ports::likely_free_udp()?, audio, callees);
        for _ in 0..3 {
            if matches!(attempt, Err(LabError::NotReady { .. })) {
                attempt = Self::launch(ports::likely_free_udp()?, audio, callees);
            }
        }
        attempt
    }

    /// Starts SIPp on that port of 127.0.0.1 (UDP).
    ///
    /// # Errors
    /// As [`Self::start`], and when the port is taken.
    pub fn start_on(sip_port: u16, audio: Audio) -> Result<Self> {
        Self::launch(sip_port, audio, &[])
    }

    fn launch(sip_port: u16, audio: Audio, callees: &[Callee]) -> Result<Self> {
        let folder = folder::temporary()?;
        let media = Arc::new(Media::start(audio, AGENT_HZ)?);
        let scenario = folder.path().join("carrier.xml");
        fs::write(&scenario, scenario::scenario(media.port(), callees))
            .map_err(LabError::file("write", &scenario))?;
        let calls_path = folder.path().join("calls.log");
        File::create(&calls_path).map_err(LabError::file("write", &calls_path))?;
        if !callees.is_empty() {
            let table = folder.path().join(callees::FILE);
            fs::write(&table, callees::table(callees)).map_err(LabError::file("write", &table))?;
        }
        let mut process = launch(
            folder.path(),
            &scenario,
            &calls_path,
            sip_port,
            !callees.is_empty(),
        )?;

        let listening = process::poll(Duration::from_secs(10), || {
            !process.is_running() || udp_port_is_bound(sip_port)
        });
        if !listening || !process.is_running() {
            let last_words = process::last_words(&folder.path().join("output"));
            return Err(LabError::NotReady {
                what: "sipp".to_owned(),
                waited_ms: 10_000,
                last_words,
            });
        }
        let calls = File::open(&calls_path).map_err(LabError::file("read", &calls_path))?;
        let call_log = Arc::new(Mutex::new(CallLog::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (call_log, media, stop) = (Arc::clone(&call_log), Arc::clone(&media), Arc::clone(&stop));
            thread::spawn(move || follow(calls, &call_log, &media, &stop))
        };
        Ok(Self {
            process,
            sip_port,
            media,
            call_log,
            stop,
            reader: Some(reader),
            folder,
        })
    }

    /// Its SIP port on 127.0.0.1 (UDP).
    pub fn sip_port(&self) -> u16 {
        self.sip_port
    }

    /// All calls in order of arrival; up to 20 ms late.
    pub fn calls(&self) -> Vec<SeenCall> {
        lock(&self.call_log).calls.clone()
    }

    /// Marks all calls as lost, because the PBX that placed them is known to be dead and will send no BYE.
    pub fn lose_calls(&self) {
        let mut call_log = lock(&self.call_log);
        let live = std::mem::take(&mut call_log.live);
        for (place, _, flow) in live.into_values() {
            if let Some(call) = call_log.calls.get_mut(place) {
                call.end = Some(CallEnd::Lost);
                call.ended_at_ms = Some(now_ms());
                let heard = flow.map(|flow| self.media.close(flow)).unwrap_or_default();
                (call.heard_agent, call.heard_message) = (heard.far, heard.message);
            }
        }
    }

    /// Presses a key of the callee of this number for 100 ms; its phone sends it by RFC 4733. Returns false if the callee is in
    /// no answered call, or if the key does not exist.
    pub fn press(&self, number: &str, key: char) -> bool {
        let call_log = lock(&self.call_log);
        let flow = call_log.live.values().find_map(|(place, _, flow)| {
            let call = call_log.calls.get(*place)?;
            flow.filter(|_| call.answered && call.number == number)
        });
        flow.is_some_and(|flow| self.media.press(flow, key))
    }

    /// The audio that the callees heard from the agents.
    pub fn media_report(&self) -> MediaReport {
        self.media.report()
    }

    /// True if SIPp runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// SIP messages that SIPp did not expect, so that it aborted the call. Normally there are none.
    ///
    /// # Errors
    /// If SIPp's file exists and cannot be read.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let path = self.folder.path().join("errors.log");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        let complaints = text.split("Aborting call on ").skip(1);
        Ok(complaints
            .map(|complaint| complaint.chars().take(200).collect())
            .collect())
    }

    /// CPU time of SIPp, seconds.
    ///
    /// # Errors
    /// If SIPp has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process.cpu_seconds()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.process.kill();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // This fails only if the thread panicked.
            let _ = reader.join();
        }
    }
}

fn launch(folder: &Path, scenario: &Path, calls: &Path, sip_port: u16, table: bool) -> Result<Process> {
    let mut command = process::dying_with_us(&tools::program("sipp")?);
    let output_path = folder.join("output");
    let output = File::create(&output_path).map_err(LabError::file("write", &output_path))?;
    let errors = output
        .try_clone()
        .map_err(LabError::file("write", &output_path))?;
    command.arg("-sf").arg(scenario).args([
        "-i",
        "127.0.0.1",
        "-p",
        &sip_port.to_string(),
        "-t",
        "u1",
        "-nostdin",
    ]);
    if table {
        command.args(["-inf", callees::FILE, "-infindex", callees::FILE, "0"]);
    }
    // SIPp's control port would otherwise listen on all addresses.
    command.args(["-ci", "127.0.0.1", "-cp", &ports::likely_free_udp()?.to_string()]);
    command
        .args([
            "-buff_size",
            "4194304",
            "-trace_logs",
            "-log_overwrite",
            "true",
            "-log_file",
        ])
        .arg(calls);
    command
        .args(["-trace_err", "-error_file"])
        .arg(folder.join("errors.log"));
    command.stdout(output).stderr(errors).current_dir(folder);
    Process::spawn(command)
}

/// True if a process has bound this UDP port on 127.0.0.1, by /proc/net/udp. Binding the port to test it could take it away
/// from SIPp.
fn udp_port_is_bound(port: u16) -> bool {
    let address = format!(" 0100007F:{port:04X} ");
    fs::read_to_string("/proc/net/udp").is_ok_and(|table| table.contains(&address))
}

fn lock(call_log: &Mutex<CallLog>) -> MutexGuard<'_, CallLog> {
    call_log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads SIPp's log while it grows.
fn follow(mut log: File, call_log: &Mutex<CallLog>, media: &Media, stop: &AtomicBool) {
    let mut pending = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Reading is tried again after an error.
        let read = log.read_to_end(&mut pending).unwrap_or(0);
        let complete = pending
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = pending.drain(..complete).collect();
        let mut call_log = lock(call_log);
        for line in String::from_utf8_lossy(&lines).lines() {
            // A line of another format is not from our scenario.
            let _ = note(line, &mut call_log, media);
        }
        drop(call_log);
        if read == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn note(line: &str, call_log: &mut CallLog, media: &Media) -> Option<()> {
    let mut words = line.split_whitespace();
    let event = words.next()?;
    if event == "I" {
        let seconds: f64 = words.next()?.parse().ok()?;
        let microseconds: f64 = words.next()?.parse().ok()?;
        let call_id = words.next()?.to_owned();
        let number = words.next()?.to_owned();
        let port: u16 = words.next().and_then(|port| port.parse().ok()).unwrap_or(0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of our own clock"
        )]
        let at_ms = (seconds * 1_000.0 + microseconds / 1_000.0) as u64;
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        call_log
            .live
            .insert(call_id.clone(), (call_log.calls.len(), remote, None));
        let behaviour = Behaviour::of(&number);
        call_log.calls.push(SeenCall {
            number,
            behaviour,
            call_id,
            at_ms,
            answered: false,
            answered_at_ms: None,
            end: None,
            ended_at_ms: None,
            heard_agent: None,
            heard_message: None,
        });
        return Some(());
    }
    let end = match (event, if event == "X" { words.next()? } else { "" }) {
        ("X", "R") => Some(CallEnd::Refused),
        ("X", "I") => Some(CallEnd::Ignored),
        ("X", "C") => Some(CallEnd::Cancelled),
        ("X", "B") => Some(CallEnd::CallerHungUp),
        ("X", "H") => Some(CallEnd::CalleeHungUp),
        _ => None,
    };
    let call_id = words.next()?;
    let (place, remote, flow) = call_log.live.get_mut(call_id)?;
    let call = call_log.calls.get_mut(*place)?;
    match event {
        "E" => *flow = Some(media.open(*remote, Behaviour::early_script())),
        "A" => {
            call.answered = true;
            call.answered_at_ms = Some(now_ms());
            let script = call.behaviour.unwrap_or(Behaviour::Talks).script();
            match flow {
                Some(flow) => media.play(*flow, script),
                None => *flow = Some(media.open(*remote, script)),
            }
        }
        "X" => {
            call.end = end;
            call.ended_at_ms = Some(now_ms());
            let heard = flow.take().map(|flow| media.close(flow)).unwrap_or_default();
            (call.heard_agent, call.heard_message) = (heard.far, heard.message);
            call_log.live.remove(call_id);
        }
        _ => return None,
    }
    Some(())
}
