//! The agents' phones: a small SIP user agent of our own, on one UDP port for all agents.
//!
//! In: calls from the switch to `agent-N`. Out: what each phone did, told in advance by [`Phones::set`], and whether
//! agents heard callees. Tests can also have a phone hang up or press a key.

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

/// What a phone does with the next calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneBehaviour {
    /// Rings for so long, then answers.
    Answers {
        /// From the INVITE to the 200.
        after: Duration,
    },
    /// Rings and never answers.
    Rings,
    /// Replies 486.
    Busy,
    /// Replies 603.
    Declines,
    /// Replies 480.
    Unreachable,
    /// Never replies.
    Silent,
}

impl Default for PhoneBehaviour {
    fn default() -> Self {
        Self::Answers {
            after: Duration::from_millis(50),
        }
    }
}

/// How a phone says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `a=sendonly`, as most phones do.
    SendOnly,
    /// `a=inactive`.
    Inactive,
    /// An address of zeros, as old phones do (RFC 2543).
    NoAddress,
}

/// What became of a call to a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneState {
    /// Ringing now.
    Ringing,
    /// Answered, and up now.
    Answered,
    /// The phone refused it, or never replied.
    Refused,
    /// The switch gave up before the answer.
    Cancelled,
    /// The switch hung up after the answer.
    SwitchHungUp,
    /// The phone hung up after the answer.
    AgentHungUp,
    /// The switch died with the call up or ringing; see [`Phones::lose_calls`].
    Lost,
}

/// One call (one SIP Call-ID) that reached a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneCall {
    /// N of `agent-N`.
    pub agent: u32,
    /// The SIP Call-ID.
    pub call_id: String,
    /// What became of it.
    pub state: PhoneState,
}

/// The phones of all agents; gone when dropped.
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
    /// Starts them on a free port. Every phone answers after 50 ms until told otherwise.
    ///
    /// # Errors
    /// When a socket cannot be had.
    pub fn start(audio: Audio) -> Result<Self> {
        Self::start_on(0, audio)
    }

    /// Starts them on that port of 127.0.0.1 (UDP), 0 for a free one.
    ///
    /// # Errors
    /// As [`Self::start`], and when the port is taken.
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

    /// Where they listen for SIP on 127.0.0.1 (UDP).
    pub fn sip_port(&self) -> u16 {
        self.sip_port
    }

    /// What `agent-N`'s phone does from now on.
    pub fn set(&self, agent: u32, behaviour: PhoneBehaviour) {
        lock(&self.lines).set(agent, behaviour);
    }

    /// What all phones that [`Self::set`] did not name do from now on.
    pub fn set_all(&self, behaviour: PhoneBehaviour) {
        lock(&self.lines).default = behaviour;
    }

    /// `agent-N` hangs up.
    ///
    /// # Errors
    /// When that phone is in no answered call.
    pub fn hang_up(&self, agent: u32) -> Result<()> {
        let datagrams = lock(&self.lines).hang_up(agent, Instant::now(), &self.media);
        if datagrams.is_empty() {
            return Err(LabError::NotInCall { agent });
        }
        transmit(&self.socket, datagrams);
        Ok(())
    }

    /// `agent-N` presses a key (0 to 9, `*`, `#`) for 100 ms; sent as RFC 4733 even with [`Audio::None`].
    ///
    /// # Errors
    /// When that phone is in no answered call, or there is no such key.
    pub fn press(&self, agent: u32, key: char) -> Result<()> {
        let flow = lock(&self.lines).flow(agent);
        if flow.is_some_and(|flow| self.media.press(flow, key)) {
            Ok(())
        } else {
            Err(LabError::NotInCall { agent })
        }
    }

    /// `agent-N`'s phone calls an extension of the switch, as for asking a colleague or to pick up a call.
    ///
    /// # Errors
    /// When nothing was heard from the switch yet.
    pub fn dial(&self, agent: u32, extension: &str) -> Result<()> {
        let datagrams = lock(&self.lines).dial(agent, extension, &self.media);
        self.transmit_some(agent, datagrams)
    }

    /// Whether a call that `agent-N`'s phone placed is answered.
    pub fn has_own_call(&self, agent: u32) -> bool {
        lock(&self.lines).has_own_call(agent)
    }

    /// `agent-N`'s phone transfers its held call to an extension (REFER), and hangs up once the switch says that it is done.
    ///
    /// # Errors
    /// When the switch has no answered call to that phone.
    pub fn transfer(&self, agent: u32, extension: &str) -> Result<()> {
        let datagrams = lock(&self.lines).transfer(agent, extension);
        self.transmit_some(agent, datagrams)
    }

    /// `agent-N`'s phone transfers its held call to whom its own call is with (REFER with Replaces).
    ///
    /// # Errors
    /// When one of the two calls is not there.
    pub fn transfer_to_own_call(&self, agent: u32) -> Result<()> {
        let datagrams = lock(&self.lines).transfer_to_own_call(agent);
        self.transmit_some(agent, datagrams)
    }

    /// `agent-N`'s phone puts its held call on hold, or takes it off with `None`.
    ///
    /// # Errors
    /// When the switch has no answered call to that phone.
    pub fn hold(&self, agent: u32, hold: Option<Hold>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1);
        while lock(&self.lines).is_inviting(agent) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let datagrams = lock(&self.lines).hold(agent, hold, &self.media);
        self.transmit_some(agent, datagrams)
    }

    /// `agent-N`'s phone sends no audio, or does again; nobody is told.
    ///
    /// # Errors
    /// When the switch has no answered call to that phone.
    pub fn mute(&self, agent: u32, muted: bool) -> Result<()> {
        if lock(&self.lines).mute(agent, muted, &self.media) {
            Ok(())
        } else {
            Err(LabError::NotInCall { agent })
        }
    }

    /// `agent-N`'s phone loses its power, or its network: no BYE, no RTP, no reply to anything.
    pub fn power_off(&self, agent: u32) {
        lock(&self.lines).power(agent, false, &self.media);
    }

    /// It is back, and knows of no call.
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

    /// Takes all calls that are up for lost, because the switch they came from is known to be dead: no BYE will come.
    pub fn lose_calls(&self) {
        lock(&self.lines).lose_calls(&self.media);
    }

    /// Whether `agent-N` is in an answered call.
    pub fn is_on_call(&self, agent: u32) -> bool {
        lock(&self.lines)
            .calls
            .iter()
            .any(|call| call.agent == agent && call.state == PhoneState::Answered)
    }

    /// Every call that reached a phone, in order of arrival.
    pub fn calls(&self) -> Vec<PhoneCall> {
        lock(&self.lines).calls.clone()
    }

    /// What the agents heard of the callees: `spells` counts callees, as an agent's leg lasts for many.
    pub fn media_report(&self) -> MediaReport {
        self.media.report()
    }
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and there is nobody to tell.
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
        // The switch may be down just then; what matters is retransmitted.
        let _ = socket.send_to(text.as_bytes(), to);
    }
}
