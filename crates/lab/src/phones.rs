//! The agents' phones: a small SIP user agent for all agents on one UDP port.
//!
//! Input: calls from the PBX to `agent-N`, and the behaviour set by [`Phones::set`]. Output: what each phone did, and
//! whether agents heard callees. A test can also make a phone hang up or press a key.

mod line;
mod sip;

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    LabError, MediaReport, Result,
    media::{Audio, CALLEE_HZ, Media},
};
use line::{Datagram, Lines};

/// Behaviour of a phone at its next calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneBehaviour {
    /// It rings for some time, then answers.
    Answers {
        /// Time from the INVITE to the 200.
        after: Duration,
    },
    /// It rings and never answers.
    Rings,
    /// It replies 486.
    Busy,
    /// It replies 603.
    Declines,
    /// It replies 480.
    Unreachable,
    /// It never replies.
    Silent,
}

impl Default for PhoneBehaviour {
    fn default() -> Self {
        Self::Answers {
            after: Duration::from_millis(50),
        }
    }
}

/// The SDP with which a phone signals hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `a=sendonly`, as most phones do.
    SendOnly,
    /// `a=inactive`.
    Inactive,
    /// An address of zeros, as old phones do (RFC 2543).
    NoAddress,
}

/// The state of a call to a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneState {
    /// Ringing now.
    Ringing,
    /// Answered and up.
    Answered,
    /// The phone refused it or never replied.
    Refused,
    /// The PBX cancelled before the answer.
    Cancelled,
    /// The PBX hung up after the answer.
    PbxHungUp,
    /// The phone hung up after the answer.
    AgentHungUp,
    /// The PBX died while the call was ringing or up; see [`Phones::lose_calls`].
    Lost,
}

/// One call (one SIP Call-ID) to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneCall {
    /// The number N of `agent-N`.
    pub agent: u32,
    /// The SIP Call-ID.
    pub call_id: String,
    /// Its state.
    pub state: PhoneState,
}

/// The phones of all agents. They end when this is dropped.
#[derive(Debug)]
pub struct Phones {
    sip_port: u16,
    socket: UdpSocket,
    lines: Arc<Mutex<Lines>>,
    media: Arc<Media>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Phones {
    /// Starts the phones on a free port. Every phone answers after 50 ms until [`Self::set`] changes it.
    ///
    /// # Errors
    /// If a socket cannot be opened.
    pub fn start(audio: Audio) -> Result<Self> {
        Self::start_on(0, audio)
    }

    /// Starts the phones on this port of 127.0.0.1 (UDP); 0: a free port.
    ///
    /// # Errors
    /// As [`Self::start`], and if the port is in use.
    pub fn start_on(sip_port: u16, audio: Audio) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, sip_port))
            .map_err(LabError::socket(format!("bind the phones' SIP port {sip_port}")))?;
        let sip_port = socket
            .local_addr()
            .map_err(LabError::socket("read the phones' SIP port"))?
            .port();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .map_err(LabError::socket("set the phones' timeout"))?;
        let receiver = socket
            .try_clone()
            .map_err(LabError::socket("share the phones' socket"))?;
        let media = Arc::new(Media::start(audio, CALLEE_HZ)?);
        let lines = Arc::new(Mutex::new(Lines::new(sip_port)));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (lines, media, stop) = (Arc::clone(&lines), Arc::clone(&media), Arc::clone(&stop));
            thread::spawn(move || run(&receiver, &lines, &media, &stop))
        };
        Ok(Self {
            sip_port,
            socket,
            lines,
            media,
            stop,
            thread: Some(thread),
        })
    }

    /// Their SIP port on 127.0.0.1 (UDP).
    pub fn sip_port(&self) -> u16 {
        self.sip_port
    }

    /// Sets how the phone of `agent-N` behaves from now on.
    pub fn set(&self, agent: u32, behaviour: PhoneBehaviour) {
        lock(&self.lines).set(agent, behaviour);
    }

    /// Sets how all phones without [`Self::set`] behave from now on.
    pub fn set_all(&self, behaviour: PhoneBehaviour) {
        lock(&self.lines).default = behaviour;
    }

    /// `agent-N` hangs up.
    ///
    /// # Errors
    /// If the phone has no answered call.
    pub fn hang_up(&self, agent: u32) -> Result<()> {
        let datagrams = lock(&self.lines).hang_up(agent, Instant::now(), &self.media);
        if datagrams.is_empty() {
            return Err(LabError::NotInCall { agent });
        }
        transmit(&self.socket, datagrams);
        Ok(())
    }

    /// `agent-N` presses a key (0 to 9, `*`, `#`) for 100 ms. It is sent as RFC 4733, also with [`Audio::None`].
    ///
    /// # Errors
    /// If the phone has no answered call, or the key does not exist.
    pub fn press(&self, agent: u32, key: char) -> Result<()> {
        let flow = lock(&self.lines).flow(agent);
        if flow.is_some_and(|flow| self.media.press(flow, key)) {
            Ok(())
        } else {
            Err(LabError::NotInCall { agent })
        }
    }

    /// The phone of `agent-N` calls an extension of the PBX, for example to consult a colleague or to pick up a call.
    ///
    /// # Errors
    /// If the phone has not received anything from the PBX yet.
    pub fn dial(&self, agent: u32, extension: &str) -> Result<()> {
        let datagrams = lock(&self.lines).dial(agent, extension, &self.media);
        self.transmit_some(agent, datagrams)
    }

    /// True if a call placed by the phone of `agent-N` is answered.
    pub fn has_own_call(&self, agent: u32) -> bool {
        lock(&self.lines).has_own_call(agent)
    }

    /// The phone of `agent-N` transfers its held call to an extension (REFER), and hangs up when the PBX reports success.
    ///
    /// # Errors
    /// If the PBX has no answered call to that phone.
    pub fn transfer(&self, agent: u32, extension: &str) -> Result<()> {
        let datagrams = lock(&self.lines).transfer(agent, extension);
        self.transmit_some(agent, datagrams)
    }

    /// The phone of `agent-N` transfers its held call to the other party of its own call (REFER with Replaces).
    ///
    /// # Errors
    /// If one of the two calls does not exist.
    pub fn transfer_to_own_call(&self, agent: u32) -> Result<()> {
        let datagrams = lock(&self.lines).transfer_to_own_call(agent);
        self.transmit_some(agent, datagrams)
    }

    /// The phone of `agent-N` puts its held call on hold, or ends the hold if `hold` is `None`.
    ///
    /// # Errors
    /// If the PBX has no answered call to that phone.
    pub fn hold(&self, agent: u32, hold: Option<Hold>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1);
        while lock(&self.lines).is_inviting(agent) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let datagrams = lock(&self.lines).hold(agent, hold, &self.media);
        self.transmit_some(agent, datagrams)
    }

    /// The phone of `agent-N` stops or resumes sending audio, without any SIP message.
    ///
    /// # Errors
    /// If the PBX has no answered call to that phone.
    pub fn mute(&self, agent: u32, muted: bool) -> Result<()> {
        if lock(&self.lines).mute(agent, muted, &self.media) {
            Ok(())
        } else {
            Err(LabError::NotInCall { agent })
        }
    }

    /// The phone of `agent-N` loses its power or network: no BYE, no RTP, no reply.
    pub fn power_off(&self, agent: u32) {
        lock(&self.lines).power(agent, false, &self.media);
    }

    /// The phone has power again and knows no call.
    pub fn power_on(&self, agent: u32) {
        lock(&self.lines).power(agent, true, &self.media);
    }

    fn transmit_some(&self, agent: u32, datagrams: Vec<Datagram>) -> Result<()> {
        if datagrams.is_empty() {
            return Err(LabError::NotInCall { agent });
        }
        transmit(&self.socket, datagrams);
        Ok(())
    }

    /// Marks all calls as lost, because the PBX that placed them is known to be dead and will send no BYE.
    pub fn lose_calls(&self) {
        lock(&self.lines).lose_calls(&self.media);
    }

    /// True if `agent-N` has an answered call.
    pub fn is_on_call(&self, agent: u32) -> bool {
        lock(&self.lines)
            .calls
            .iter()
            .any(|call| call.agent == agent && call.state == PhoneState::Answered)
    }

    /// All calls to phones in order of arrival.
    pub fn calls(&self) -> Vec<PhoneCall> {
        lock(&self.lines).calls.clone()
    }

    /// The audio that the agents heard from the callees. `spells` counts callees, because an agent's leg lasts for many calls.
    pub fn media_report(&self) -> MediaReport {
        self.media.report()
    }
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // This fails only if the thread panicked.
            let _ = thread.join();
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(socket: &UdpSocket, lines: &Mutex<Lines>, media: &Media, stop: &AtomicBool) {
    let mut buffer = [0u8; 65_536];
    let mut last_tick = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let received = socket.recv_from(&mut buffer);
        let now = Instant::now();
        let mut out = Vec::new();
        {
            let mut lines = lock(lines);
            if let Ok((length, from)) = received {
                out = lines.receive(buffer.get(..length).unwrap_or_default(), from, now, media);
            }
            if now.duration_since(last_tick) >= Duration::from_millis(10) {
                last_tick = now;
                out.extend(lines.tick(now, media));
            }
        }
        transmit(socket, out);
    }
}

fn transmit(socket: &UdpSocket, datagrams: Vec<Datagram>) {
    for (to, text) in datagrams {
        // The PBX may be down now; what matters is retransmitted.
        let _ = socket.send_to(text.as_bytes(), to);
    }
}
