//! One end of the audio of many calls: it sends tones over RTP and listens for the tone of the far end.
//!
//! Input: flows, each with the address from the PBX's SDP and the script to play. Output: whether the far end's tone and
//! the message were heard in each flow. All flows of an end share one UDP port, and the port of the PBX identifies the
//! flow. G.711 µ-law only.

pub(crate) mod tone;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{LabError, Result};

/// Pitch of a callee, Hz. The agents' phones listen for it.
pub(crate) const CALLEE_HZ: u32 = 440;
/// Pitch of an agent, Hz. The carrier's callees listen for it.
pub(crate) const AGENT_HZ: u32 = 880;

/// Pitch of `sound:message`, Hz.
pub(crate) const MESSAGE_HZ: u32 = 660;

const PACKET: Duration = Duration::from_millis(20);
const SAMPLES: usize = 160;
/// Number of consecutive packets with the tone that count as heard: 100 ms.
const HEARD_PACKETS: u32 = 5;
/// A longer pause ends a spell. It is longer than the pause after a callee's "hello" and shorter than the time between two
/// calls.
const SPELL_GAP: Duration = Duration::from_millis(1_500);

/// The audio that the ends send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio {
    /// Callees play 440 Hz and agents 880 Hz, from answer to hang-up.
    Tones,
    /// No RTP is sent: for benchmarks.
    None,
}

/// The audio at one end since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaReport {
    /// Number of calls that reached audio. An agent's held leg counts once, however many callees it is bridged with.
    pub flows: u64,
    /// Number of these in which the far end's tone was heard for 100 ms or more.
    pub flows_heard: u64,
    /// Number of times that the far end's tone began after at least 1.5 s without it. At the agents' end this is the number of
    /// callees heard.
    pub spells: u64,
    /// Total length of these spells.
    pub heard: Duration,
    /// Number of RTP packets received.
    pub packets_in: u64,
    /// Number of RTP packets sent.
    pub packets_out: u64,
}

/// A part of a played script. The last part lasts for the rest of the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound {
    /// Pitch in Hz; 0 for silence.
    pub(crate) hz: u32,
    pub(crate) length_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowId(u64);

#[derive(Debug)]
struct Flow {
    remote: SocketAddr,
    script: &'static [Sound],
    /// Number of packets sent; also the clock of the flow.
    sent: u64,
    key: Option<Key>,
    /// Start of its script.
    began: Instant,
    run: u32,
    first_heard: Option<Instant>,
    last_heard: Option<Instant>,
    spells: u64,
    message_run: u32,
    message: Option<(Instant, Instant)>,
}

/// The audio heard in a flow. Times count from the start of its script.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    /// Start of the far end's tone. `None`: it was not heard.
    pub(crate) far: Option<Duration>,
    /// Start of the message, and the last time that it was heard. `None`: it was not heard.
    pub(crate) message: Option<(Duration, Duration)>,
}

/// A pressed key: the RFC 4733 event and the number of its packets sent.
#[derive(Debug)]
struct Key {
    event: u8,
    sent: u16,
    started_at: u64,
}

#[derive(Debug, Default)]
struct State {
    flows: BTreeMap<FlowId, Flow>,
    by_remote: BTreeMap<SocketAddr, FlowId>,
    next_id: u64,
    tones: BTreeMap<u32, Vec<u8>>,
    report: MediaReport,
}

/// One end; see the documentation of the module.
#[derive(Debug)]
pub(crate) struct Media {
    port: u16,
    /// Kept open so that the PBX's RTCP reaches a port; never read.
    _rtcp: UdpSocket,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Media {
    /// Binds two ports, listens for `far_hz`, and sends unless `audio` is [`Audio::None`].
    pub(crate) fn start(audio: Audio, far_hz: u32) -> Result<Self> {
        let (socket, rtcp) = pair().map_err(LabError::socket("bind a pair of ports for RTP"))?;
        let port = socket
            .local_addr()
            .map_err(LabError::socket("read the RTP port"))?
            .port();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .map_err(LabError::socket("set the RTP timeout"))?;
        let sender = socket
            .try_clone()
            .map_err(LabError::socket("share the RTP socket"))?;
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let listening = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            thread::spawn(move || listen(&socket, &state, &stop, far_hz))
        };
        let sending = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            thread::spawn(move || send(&sender, &state, &stop, audio))
        };
        Ok(Self {
            port,
            _rtcp: rtcp,
            state,
            stop,
            threads: vec![listening, sending],
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts playing `script` to the port `remote` of the PBX.
    pub(crate) fn open(&self, remote: SocketAddr, script: &'static [Sound]) -> FlowId {
        let mut state = lock(&self.state);
        let id = FlowId(state.next_id);
        state.next_id += 1;
        state.report.flows += 1;
        state.by_remote.insert(remote, id);
        state.flows.insert(
            id,
            Flow {
                remote,
                script,
                sent: 0,
                key: None,
                began: Instant::now(),
                run: 0,
                first_heard: None,
                last_heard: None,
                spells: 0,
                message_run: 0,
                message: None,
            },
        );
        id
    }

    /// Replaces the script.
    pub(crate) fn play(&self, id: FlowId, script: &'static [Sound]) {
        if let Some(flow) = lock(&self.state).flows.get_mut(&id) {
            flow.script = script;
            flow.sent = 0;
            flow.began = Instant::now();
        }
    }

    /// Presses a key for 100 ms. Returns false if the key does not exist or the flow has ended.
    pub(crate) fn press(&self, id: FlowId, key: char) -> bool {
        let event = match key {
            '0'..='9' => u8::try_from(key).unwrap_or(b'0') - b'0',
            '*' => 10,
            '#' => 11,
            _ => return false,
        };
        let mut state = lock(&self.state);
        let Some(flow) = state.flows.get_mut(&id) else {
            return false;
        };
        flow.key = Some(Key {
            event,
            sent: 0,
            started_at: flow.sent,
        });
        true
    }

    /// Ends a flow. Returns what was heard in it.
    pub(crate) fn close(&self, id: FlowId) -> Heard {
        let mut state = lock(&self.state);
        let Some(flow) = state.flows.remove(&id) else {
            return Heard::default();
        };
        if state.by_remote.get(&flow.remote) == Some(&id) {
            state.by_remote.remove(&flow.remote);
        }
        let since = |at: Instant| at.saturating_duration_since(flow.began);
        Heard {
            far: flow.first_heard.map(since),
            message: flow.message.map(|(from, until)| (since(from), since(until))),
        }
    }

    pub(crate) fn report(&self) -> MediaReport {
        lock(&self.state).report
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // This fails only if the thread panicked.
            let _ = thread.join();
        }
    }
}

/// RTP needs an even port, and RTCP the next one.
fn pair() -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..200 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port.saturating_add(1)))
        {
            return Ok((socket, rtcp));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Start of a tone that has just been heard for [`HEARD_PACKETS`] packets.
fn began(now: Instant) -> Instant {
    now.checked_sub(PACKET * HEARD_PACKETS).unwrap_or(now)
}

fn listen(socket: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool, far_hz: u32) {
    let mut buffer = [0u8; 2_048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some((header, payload)) = buffer
            .get(..length)
            .and_then(|packet| packet.split_at_checked(12))
        else {
            continue;
        };
        // Version 2, payload type 0 (µ-law), with or without the marker bit.
        let audio = matches!(header, [first, second, ..] if first >> 6 == 2 && second & 0x7f == 0);
        let tone = audio && tone::is_heard(payload, far_hz);
        let message = audio && tone::is_heard(payload, MESSAGE_HZ);
        let mut state = lock(state);
        state.report.packets_in += 1;
        let Some(id) = state.by_remote.get(&from).copied() else {
            continue;
        };
        let Some(flow) = state.flows.get_mut(&id) else {
            continue;
        };
        flow.run = if tone { flow.run.saturating_add(1) } else { 0 };
        flow.message_run = if message {
            flow.message_run.saturating_add(1)
        } else {
            0
        };
        if flow.message_run >= HEARD_PACKETS {
            let now = Instant::now();
            flow.message.get_or_insert((began(now), now)).1 = now;
        }
        if flow.run >= HEARD_PACKETS {
            let now = Instant::now();
            flow.first_heard.get_or_insert(began(now));
            let new_spell = flow
                .last_heard
                .is_none_or(|at| now.duration_since(at) >= SPELL_GAP);
            let from = flow.last_heard.filter(|_| !new_spell).unwrap_or(began(now));
            flow.last_heard = Some(now);
            flow.spells += u64::from(new_spell);
            let first = flow.spells == 1;
            state.report.heard += now.saturating_duration_since(from);
            if new_spell {
                state.report.spells += 1;
                state.report.flows_heard += u64::from(first);
            }
        }
    }
}

fn send(socket: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool, audio: Audio) {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let packets = packets_due(&mut lock(state), audio);
        for (remote, packet) in packets {
            // A port that the PBX has closed refuses packets; SIP ends the flow.
            let _ = socket.send_to(&packet, remote);
        }
        next += PACKET;
        let now = Instant::now();
        if next > now {
            thread::sleep(next - now);
        } else if now - next > Duration::from_millis(200) {
            // After a pause of the process it continues from now instead of sending a burst.
            next = now;
        }
    }
}

fn packets_due(state: &mut State, audio: Audio) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut packets = Vec::with_capacity(state.flows.len());
    let tones = &mut state.tones;
    for (id, flow) in &mut state.flows {
        if let Some(packet) = key_packet(*id, flow) {
            packets.push((flow.remote, packet));
        } else if audio == Audio::Tones
            && let Some(hz) = pitch_at(flow.script, flow.sent)
        {
            let cycle = tones.entry(hz).or_insert_with(|| tone::samples(hz, 1_000));
            let start = usize::try_from(flow.sent % 50).unwrap_or(0) * SAMPLES;
            let mut packet = rtp_header(0, flow.sent == 0, *id, flow.sent, flow.sent);
            packet.extend_from_slice(cycle.get(start..start + SAMPLES).unwrap_or_default());
            packets.push((flow.remote, packet));
        }
        flow.sent += 1;
    }
    state.report.packets_out += packets.len() as u64;
    packets
}

/// The pitch of a script after this many packets. `None` for an empty script.
fn pitch_at(script: &[Sound], packets: u64) -> Option<u32> {
    let mut left_ms = packets * 20;
    for sound in script {
        if left_ms < u64::from(sound.length_ms) {
            return Some(sound.hz);
        }
        left_ms -= u64::from(sound.length_ms);
    }
    script.last().map(|sound| sound.hz)
}

/// RFC 4733: five packets while the key is down, then three with the end bit.
fn key_packet(id: FlowId, flow: &mut Flow) -> Option<Vec<u8>> {
    const DOWN: u16 = 5;
    let key = flow.key.as_mut()?;
    let ended = key.sent >= DOWN;
    let duration = (key.sent.min(DOWN - 1) + 1) * 160;
    let mut packet = rtp_header(101, key.sent == 0, id, flow.sent, key.started_at);
    packet.extend_from_slice(&[key.event, if ended { 0x8a } else { 0x0a }]);
    packet.extend_from_slice(&duration.to_be_bytes());
    key.sent += 1;
    if key.sent >= DOWN + 3 {
        flow.key = None;
    }
    Some(packet)
}

/// RFC 3550's twelve bytes. The sequence number counts packets, the timestamp samples.
fn rtp_header(payload_type: u8, marker: bool, id: FlowId, sequence: u64, clock: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(12 + SAMPLES);
    header.extend_from_slice(&[0x80, payload_type | if marker { 0x80 } else { 0 }]);
    header.extend((sequence & 0xffff).to_be_bytes().iter().skip(6));
    header.extend(
        (clock.wrapping_mul(160) & 0xffff_ffff)
            .to_be_bytes()
            .iter()
            .skip(4),
    );
    header.extend((id.0 & 0xffff_ffff).to_be_bytes().iter().skip(4));
    header
}
