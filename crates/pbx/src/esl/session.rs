//! One link while it stands: carries commands, replies and events between connections, queues and the state machine, in
//! one task and without waiting for any single one of them.

use super::command;
use super::connection::{Connection, REPLY_WAIT_MAX};
use super::esl_event::EslEvent;
use super::legs::Legs;
use super::outbox::{OnReply, Request};
use super::reader::{Deaf, Heard, Reader, What};
use crate::LinkStats;
use crate::driver::{Due, Ports, Pulse, Stopped};
use crate::pbx_clock::PbxClock;
use paceline_runtime::wakings;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use uuid::Uuid;

const TICK: Duration = Duration::from_millis(100);
/// Commands that the PBX may have unanswered on one connection. It carries them out one by one.
const SENT_MAX: usize = 64;
/// Commands that may wait here before no more are taken from the dialer.
const WAITING_MAX: usize = 1024;
/// Words of the PBX handled before anything else gets its turn.
const TURN_MAX: usize = 256;
/// What one command may wait for room in the socket.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How a session ended.
pub(super) enum End {
    Stopped,
    Lost(Lost),
}

/// Why a link was lost.
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

/// A connection for commands while it stands.
pub(super) struct Line {
    reader: Reader,
    writing: OwnedWriteHalf,
    waiting: VecDeque<Request>,
    sent: VecDeque<(Instant, OnReply)>,
    replied_at: Instant,
    /// Written together, with one system call.
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

    /// Replies come one by one, so a PBX that is short of CPU is slow with the last of many and lives all the same.
    fn overdue(&self, now: Instant) -> bool {
        self.sent
            .front()
            .is_some_and(|(at, _)| now.duration_since(self.replied_at.max(*at)) > REPLY_WAIT_MAX)
    }

    /// Writes what may be sent.
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
        // The PBX reads commands one by one, but they are small: there is room unless it is stuck.
        let written = tokio::time::timeout(WRITE_WAIT_MAX, self.writing.write_all(&self.text)).await;
        self.text.clear();
        written
            .map_err(|_| End::Lost(Lost::Stuck))?
            .map_err(|err| End::Lost(Lost::Write(err)))
    }
}

/// One link while it stands.
pub(super) struct Session<'a> {
    pub(super) events: Reader,
    /// The other half of the connection for events: only pings go out there.
    pub(super) pings: OwnedWriteHalf,
    /// The last ping, and when it was sent.
    pub(super) ping: (Uuid, Instant),
    /// What the PBX answers while we drive the channels marked with [`Self::app`].
    pub(super) owner: String,
    pub(super) app: String,
    pub(super) clock: PbxClock,
    /// For originates.
    pub(super) places: Line,
    /// For what somebody on the line waits for.
    pub(super) urgent: Line,
    pub(super) legs: &'a mut Legs,
    pub(super) ports: &'a mut Ports,
    /// Of the events.
    pub(super) pulse: Pulse,
}

/// Which of the three connections.
enum From {
    Events(Option<Heard>),
    Places(Option<Heard>),
    Urgent(Option<Heard>),
    Command(Option<paceline_core::pbx::PbxCommand>),
    Tick,
}

impl Session<'_> {
    /// Carries on until the link or the driver ends.
    pub(super) async fn run(mut self) -> End {
        let halt = self.carry_on().await;
        // Originates that were never sent: nobody needs to wonder what became of them.
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

    /// Handles what was heard, and what has come with it.
    fn events(&mut self, first: Heard) -> Result<Instant, End> {
        let read_at = first.at;
        let mut next = Some(first);
        let mut turns = TURN_MAX;
        while let Some(Heard { at, pbx_ms, what }) = next.take() {
            self.pulse.heard_at = at;
            let ago = pbx_ms.map_or(Duration::ZERO, |pbx_ms| {
                self.clock.heard(pbx_ms, at);
                self.clock.ago(pbx_ms, at)
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

    /// The PBX has answered a ping.
    fn ponged(&mut self, job: Uuid, owner: &str, pbx_ms: Option<i64>, at: Instant) -> Result<(), End> {
        let (last, sent_at) = self.ping;
        if job != last {
            return Ok(());
        }
        if owner != self.owner {
            return Err(End::Lost(Lost::Replaced));
        }
        if let Some(pbx_ms) = pbx_ms {
            self.clock.round_trip(sent_at, pbx_ms, at);
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
            self.ping = (job, now);
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

    /// Sends what the state machine wants sent, and hands on what it wants handed on.
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
        // A placement that was taken back came to its end here.
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

/// Why a session stops.
enum Halt {
    End(End),
    /// A reader has stopped, and will say why.
    Deaf(Which),
}

impl std::convert::From<End> for Halt {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}
