//! One link while it is up. One task carries commands, replies and events between the connections, the queues and the state
//! machine, and it waits for all of them at once.

use super::command;
use super::connection::{Connection, REPLY_WAIT_MAX};
use super::esl_event::EslEvent;
use super::legs::Legs;
use super::outbox::{OnReply, Request};
use super::reader::{Deaf, Heard, Reader, What};
use crate::LinkStats;
use crate::driver::{Due, Ports, Pulse, Stopped};
use crate::pbx_clock::PbxClock;
use paceline_runtime::clock::Moment;
use paceline_runtime::wakings;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use uuid::Uuid;

const TICK: Duration = Duration::from_millis(100);
/// Maximum number of commands without a reply on one connection. The PBX executes them one by one.
const SENT_MAX: usize = 64;
/// If this many commands wait here, the driver takes no more from the engine.
const WAITING_MAX: usize = 1024;
/// Maximum number of messages on the connection for events that are handled before anything else.
const TURN_MAX: usize = 256;
/// Maximum time that a write waits for room in the socket.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The end of a session.
pub(super) enum End {
    Stopped,
    Lost(Lost),
}

/// The reason that a link was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("a connection to the PBX failed")]
    Deaf(#[source] Deaf),
    #[error("a command could not be sent; check that FreeSWITCH runs")]
    Write(#[source] std::io::Error),
    #[error("the PBX does not read commands; check its load")]
    Stuck,
    #[error("the PBX has sent nothing for seconds; check that FreeSWITCH runs and can be reached")]
    Silent,
    #[error("the PBX did not reply to a command; check its load")]
    NoReply,
    #[error("Paceline's queue of events is full, so it closes the link; check this machine's load")]
    Congested,
    #[error("another Paceline uses the same `app`; give each Paceline its own `app`")]
    Replaced,
}

/// A connection for commands while the link is up.
pub(super) struct Line {
    reader: Reader,
    writing: OwnedWriteHalf,
    waiting: VecDeque<Request>,
    sent: VecDeque<(Instant, OnReply)>,
    replied_at: Instant,
    /// The commands to write together, with one system call.
    text: Vec<u8>,
}

impl Line {
    pub(super) fn new(connection: Connection, app: &str, stats: &Arc<LinkStats>) -> Self {
        let Connection { reading, writing } = connection;
        Self {
            reader: Reader::spawn(reading, app.to_owned(), Arc::clone(stats)),
            writing,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            replied_at: Instant::now(),
            text: Vec::new(),
        }
    }

    /// True if a command has no reply in time. The time starts anew with each message on this connection: a PBX that is short of CPU
    /// executes many commands slowly, and the last reply comes late although the PBX works.
    fn overdue(&self, now: Instant) -> bool {
        self.sent
            .front()
            .is_some_and(|(at, _)| now.duration_since(self.replied_at.max(*at)) > REPLY_WAIT_MAX)
    }

    /// Sends waiting commands, until [`SENT_MAX`] are without a reply.
    async fn send(&mut self, legs: &mut Legs) -> Result<(), End> {
        let now = Instant::now();
        while self.sent.len() < SENT_MAX
            && let Some(Request { command, then }) = self.waiting.pop_front()
        {
            if !legs.still_wanted(&then, now) {
                continue;
            }
            self.text.extend_from_slice(command.as_bytes());
            self.text.extend_from_slice(b"\n\n");
            self.sent.push_back((now, then));
        }
        if self.text.is_empty() {
            return Ok(());
        }
        // Commands are small, so the socket has room for them unless the PBX is stuck.
        let written = tokio::time::timeout(WRITE_WAIT_MAX, self.writing.write_all(&self.text)).await;
        self.text.clear();
        written
            .map_err(|_| End::Lost(Lost::Stuck))?
            .map_err(|err| End::Lost(Lost::Write(err)))
    }
}

/// One link while it is up.
pub(super) struct Session<'a> {
    pub(super) events: Reader,
    /// The writing half of the connection for events. Only pings are sent there.
    pub(super) pings: OwnedWriteHalf,
    /// The job of the last ping, and the time when it was sent.
    pub(super) ping: (Uuid, Moment),
    /// The PBX's answer to a ping while this link drives the channels of [`Self::app`].
    pub(super) owner: String,
    pub(super) app: String,
    pub(super) clock: PbxClock,
    /// The connection for originates.
    pub(super) places: Line,
    /// The connection for all other commands, because a callee or an agent may wait for them.
    pub(super) urgent: Line,
    pub(super) legs: &'a mut Legs,
    pub(super) ports: &'a mut Ports,
    /// The pulse of the connection for events.
    pub(super) pulse: Pulse,
}

/// The source of an input, and the input.
enum From {
    Events(Option<Heard>),
    Places(Option<Heard>),
    Urgent(Option<Heard>),
    Command(Option<paceline_core::pbx::PbxCommand>),
    Tick,
}

impl Session<'_> {
    /// Runs until the link or the driver ends.
    pub(super) async fn run(mut self) -> End {
        let halt = self.carry_on().await;
        // These originates were never sent. After a loss `Legs::unlinked` ends their legs, so they need no resynchronisation.
        self.legs.out.asks.extend(self.places.waiting.drain(..));
        match halt {
            Ok(never) => match never {},
            Err(Halt::End(end)) => end,
            Err(Halt::Deaf(which)) => {
                let reader = match which {
                    Which::Events => self.events,
                    Which::Places => self.places.reader,
                    Which::Urgent => self.urgent.reader,
                };
                End::Lost(Lost::Deaf(reader.why().await))
            }
        }
    }

    async fn carry_on(&mut self) -> Result<std::convert::Infallible, Halt> {
        let mut ticks = wakings::ticks_together(TICK);
        self.deliver(Instant::now()).await?;
        loop {
            let room = self.places.waiting.len() + self.urgent.waiting.len() < WAITING_MAX;
            let from = tokio::select! {
                heard = self.events.heard.recv() => From::Events(heard),
                heard = self.places.reader.heard.recv() => From::Places(heard),
                heard = self.urgent.reader.heard.recv() => From::Urgent(heard),
                command = self.ports.commands.recv(), if room => From::Command(command),
                _ = ticks.tick() => From::Tick,
            };
            let now = Instant::now();
            let read_at = match from {
                From::Events(heard) => self.events(heard.ok_or(Halt::Deaf(Which::Events))?)?,
                From::Places(heard) => self.reply(heard.ok_or(Halt::Deaf(Which::Places))?, Which::Places),
                From::Urgent(heard) => self.reply(heard.ok_or(Halt::Deaf(Which::Urgent))?, Which::Urgent),
                From::Command(command) => {
                    self.legs.command(command.ok_or(End::Stopped)?, now);
                    now
                }
                From::Tick => {
                    self.tick(now).await?;
                    now
                }
            };
            self.deliver(read_at).await?;
        }
    }

    /// Handles `first` and the messages that wait behind it, up to [`TURN_MAX`]. Returns when `first` was read.
    fn events(&mut self, first: Heard) -> Result<Instant, End> {
        let read_at = first.at;
        let mut next = Some(first);
        let mut turns = TURN_MAX;
        while let Some(Heard { at, pbx_ms, what }) = next.take() {
            self.pulse.heard_at = at;
            let ago = pbx_ms.map_or(Duration::ZERO, |pbx_ms| {
                let read_at = Moment::of(at);
                self.clock.heard(pbx_ms, read_at);
                self.clock.ago(pbx_ms, read_at)
            });
            match what {
                What::EslEvent(EslEvent::Printed(job, owner)) => self.ponged(job, &owner, pbx_ms, at)?,
                What::EslEvent(event) => self.legs.event(event, at),
                What::Reply(_) | What::Life => {}
            }
            self.hand_on(at, ago)?;
            turns -= 1;
            if turns > 0 {
                next = self.events.heard.try_recv().ok();
            }
        }
        Ok(read_at)
    }

    /// The PBX has answered a ping with the current owner. If the owner is another link, this link ends. Answers to older pings do
    /// not count.
    fn ponged(&mut self, job: Uuid, owner: &str, pbx_ms: Option<i64>, at: Instant) -> Result<(), End> {
        let (last, sent_at) = self.ping;
        if job != last {
            return Ok(());
        }
        if owner != self.owner {
            return Err(End::Lost(Lost::Replaced));
        }
        if let Some(pbx_ms) = pbx_ms {
            self.clock.round_trip(sent_at, pbx_ms, Moment::of(at));
        }
        Ok(())
    }

    fn reply(&mut self, heard: Heard, which: Which) -> Instant {
        let line = match which {
            Which::Places => &mut self.places,
            Which::Urgent | Which::Events => &mut self.urgent,
        };
        line.replied_at = heard.at;
        if let What::Reply(reply) = heard.what
            && let Some((_, then)) = line.sent.pop_front()
            && !self.legs.replied(then, &reply, heard.at)
        {
            self.ports.stats.commands_failed.fetch_add(1, Relaxed);
        }
        heard.at
    }

    async fn tick(&mut self, now: Instant) -> Result<(), End> {
        let due = self.pulse.tick(now);
        if due == Due::Silent {
            return Err(End::Lost(Lost::Silent));
        }
        if due != Due::Late && (self.places.overdue(now) || self.urgent.overdue(now)) {
            return Err(End::Lost(Lost::NoReply));
        }
        if due == Due::Ping {
            let job = Uuid::new_v4();
            self.ping = (job, Moment::of(now));
            let life = command::show_life(&self.app, job);
            let ping = format!("{life}\n\n{}\n\n", command::ping(&self.app, job));
            let ping = self.pings.write_all(ping.as_bytes());
            tokio::time::timeout(WRITE_WAIT_MAX, ping)
                .await
                .map_err(|_| End::Lost(Lost::Stuck))?
                .map_err(|err| End::Lost(Lost::Write(err)))?;
        }
        self.legs.tick(now);
        Ok(())
    }

    /// Sends the state machine's commands and hands on its events.
    async fn deliver(&mut self, read_at: Instant) -> Result<(), End> {
        self.hand_on(read_at, Duration::ZERO)?;
        while let Some(ask) = self.legs.out.asks.pop_front() {
            if ask.then.places() {
                self.places.waiting.push_back(ask);
            } else {
                self.urgent.waiting.push_back(ask);
            }
        }
        self.urgent.send(self.legs).await?;
        self.places.send(self.legs).await?;
        // `send` ends the legs that were cancelled before their originates were sent.
        self.hand_on(read_at, Duration::ZERO)
    }

    fn hand_on(&mut self, read_at: Instant, ago: Duration) -> Result<(), End> {
        let events = &mut self.legs.out.events;
        match self.ports.hand_on(events, read_at, ago) {
            Ok(()) if events.is_empty() => Ok(()),
            Ok(()) => Err(End::Lost(Lost::Congested)),
            Err(Stopped) => Err(End::Stopped),
        }
    }
}

enum Which {
    Events,
    Places,
    Urgent,
}

/// The reason that a session stops.
enum Halt {
    End(End),
    /// A reader has stopped. Its task returns the reason.
    Deaf(Which),
}

impl std::convert::From<End> for Halt {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}
