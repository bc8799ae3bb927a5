//! One link while it is up. It carries frames, requests and replies between sockets, queues and the state machine. It does so in
//! one task, and never waits for only one of them.

use super::client::{Client, EventStream, HttpError};
use super::decode::{Event, decode};
use super::held::HeldBack;
use super::legs::Legs;
use super::outbox::Purpose;
use super::request_queue::{REQUESTS_MAX, RequestQueue};
use super::requests;
use crate::driver::{Due, Ports, Pulse, Stopped};
use crate::pbx_clock::PbxClock;
use futures_util::{Sink as _, Stream as _};
use memchr::memmem::Finder;
use paceline_core::ids::PbxName;
use paceline_runtime::clock::Moment;
use paceline_runtime::wakings;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tracing::warn;

const TICK: Duration = Duration::from_millis(250);
/// Maximum number of rounds before other tasks run. One round handles at most one frame, one command and one HTTP reply.
const TURN_MAX: usize = 64;

/// The reason for the end of a session.
pub(super) enum End {
    Stopped,
    Lost(Lost),
}

/// The reason for the loss of a link.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the event stream broke; check that Asterisk runs")]
    Broken(#[source] Box<SocketError>),
    #[error("the PBX closed the event stream; check whether it was restarted")]
    Closed,
    #[error("the PBX has sent nothing for seconds; check that Asterisk runs and can be reached")]
    Silent,
    #[error("the PBX did not reply to a request; check its load")]
    NoReply,
    #[error("an HTTP request failed; check the load of the PBX and `sessionlimit` in http.conf")]
    Http(#[source] HttpError),
    #[error("Paceline's queue of events is full, so it closes the link; check this machine's load")]
    Congested,
    #[error("another ARI client uses the same application name; give each client its own name")]
    Replaced,
}

/// One link while it is up.
pub(super) struct Session<'a> {
    socket: EventStream,
    queue: RequestQueue,
    name: &'a PbxName,
    legs: &'a mut Legs,
    ports: &'a mut Ports,
    unflushed: bool,
    warned_of_frame: bool,
    pulse: Pulse,
    /// The time of the last message from the PBX.
    heard: Moment,
    /// The start of the session. A ping carries its time of sending, in milliseconds since this start.
    began_at: Instant,
    /// The time of sending of the last ping that was answered. The PBX wrote every message after its answer later than this time.
    answered_ping_at: Option<Moment>,
    /// The ping that was sent last.
    pinged: (u64, Moment),
    clock: PbxClock,
}

impl<'a> Session<'a> {
    /// `http` is `Some` if requests must go over HTTP.
    pub(super) fn new(
        socket: EventStream,
        http: Option<Client>,
        name: &'a PbxName,
        legs: &'a mut Legs,
        ports: &'a mut Ports,
    ) -> Self {
        let now = Instant::now();
        Self {
            socket,
            queue: RequestQueue::new(http),
            name,
            legs,
            ports,
            unflushed: false,
            warned_of_frame: false,
            pulse: Pulse::new(now),
            heard: Moment::of(now),
            began_at: now,
            answered_ping_at: None,
            pinged: (0, Moment::of(now)),
            clock: PbxClock::new(),
        }
    }

    /// Handles the buffered messages, then runs until the link breaks or the driver stops. Also returns the time of the last
    /// message from the PBX.
    pub(super) async fn run(mut self, buffered: HeldBack) -> (End, Moment) {
        for (read_at, message) in buffered {
            if let Err(end) = self.message(message, read_at) {
                return (end, self.heard);
            }
        }
        if let Err(end) = self.deliver(Instant::now(), Duration::ZERO) {
            return (end, self.heard);
        }
        let mut ticks = wakings::ticks_together(TICK);
        let end = poll_fn(|cx| {
            let mut ticked = false;
            while ticks.poll_tick(cx).is_ready() {
                ticked = true;
            }
            match self.turn(cx, ticked) {
                Err(end) => Poll::Ready(end),
                Ok(()) => Poll::Pending,
            }
        })
        .await;
        self.legs.out.asks.extend(self.queue.take_unsent());
        // The stream is closed, so that Asterisk sees its end at once and not when the socket times out.
        let _ = tokio::time::timeout(Duration::from_millis(100), self.socket.close(None)).await;
        (end, self.heard)
    }

    fn turn(&mut self, cx: &mut Context<'_>, ticked: bool) -> Result<(), End> {
        let mut turns = TURN_MAX;
        loop {
            let mut idle = true;
            if let Poll::Ready(message) = Pin::new(&mut self.socket).poll_next(cx) {
                idle = false;
                match message {
                    Some(Ok(message)) => self.message(message, Instant::now())?,
                    Some(Err(err)) => return Err(End::Lost(Lost::Broken(Box::new(err)))),
                    None => return Err(End::Lost(Lost::Closed)),
                }
            }
            if self.queue.len() < REQUESTS_MAX
                && let Poll::Ready(command) = self.ports.commands.poll_recv(cx)
            {
                idle = false;
                let now = Instant::now();
                self.legs.command(command.ok_or(End::Stopped)?, now);
                self.deliver(now, Duration::ZERO)?;
            }
            if let RequestQueue::Http(queue) = &mut self.queue
                && let Poll::Ready((purpose, reply)) = queue.poll_reply(cx)
            {
                idle = false;
                let reply = reply.map_err(|err| End::Lost(Lost::Http(err)))?;
                self.replied(purpose, reply.status, &reply.body)?;
            }
            turns -= 1;
            if idle {
                break;
            }
            if turns == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if ticked {
            self.tick()?;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            flushed.map_err(|err| End::Lost(Lost::Broken(Box::new(err))))?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let due = self.pulse.tick(now);
        if let RequestQueue::Socket(queue) = &self.queue
            && due != Due::Late
            && queue.overdue(now)
        {
            return Err(End::Lost(Lost::NoReply));
        }
        match due {
            Due::Nothing | Due::Late => {}
            Due::Silent => return Err(End::Lost(Lost::Silent)),
            Due::Ping => {
                let sent_ms =
                    u64::try_from(now.duration_since(self.began_at).as_millis()).unwrap_or(u64::MAX);
                self.pinged = (sent_ms, Moment::of(now));
                self.write(Message::Ping(sent_ms.to_be_bytes().to_vec().into()))?;
                self.legs.show_life();
            }
        }
        self.legs.tick(now);
        self.deliver(now, Duration::ZERO)
    }

    fn message(&mut self, message: Message, read_at: Instant) -> Result<(), End> {
        self.pulse.heard_at = read_at;
        self.heard = Moment::of(read_at);
        let text = match message {
            Message::Text(text) => text,
            Message::Pong(sent_ms) => {
                let sent_ms = <[u8; 8]>::try_from(sent_ms.as_ref()).map(u64::from_be_bytes);
                let (last_ms, sent_at) = self.pinged;
                if sent_ms.is_ok_and(|sent_ms| sent_ms == last_ms) {
                    self.answered_ping_at = Some(sent_at);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.ports.stats.events_read.fetch_add(1, Relaxed);
        match decode(text.as_bytes()) {
            Ok(Event::ApplicationReplaced) => return Err(End::Lost(Lost::Replaced)),
            Ok(Event::Reply {
                request_id,
                status,
                body,
            }) => {
                if let RequestQueue::Socket(queue) = &mut self.queue
                    && let Some(purpose) = queue.replied(&request_id)
                {
                    return self.replied(purpose, status, body.unwrap_or_default().as_bytes());
                }
            }
            Ok(event) => {
                let ago = self.age(text.as_bytes(), self.heard);
                self.legs.event(&event, read_at);
                return self.deliver(read_at, ago);
            }
            Err(err) => {
                // One warning for each link is enough. A thousand warnings would hide the rest of the log.
                if !std::mem::replace(&mut self.warned_of_frame, true) {
                    warn!(pbx.name = %self.name, cause = err.source().map(tracing::field::display),
                          "PBX `{}`: {err}", self.name);
                }
            }
        }
        self.deliver(read_at, Duration::ZERO)
    }

    /// The time from the event until we read it, by Asterisk's own time. Zero if the frame has no time.
    fn age(&mut self, frame: &[u8], read_at: Moment) -> Duration {
        let Some(pbx_ms) = written_at_ms(frame) else {
            return Duration::ZERO;
        };
        match self.answered_ping_at {
            Some(sent_at) => self.clock.round_trip(sent_at, pbx_ms, read_at),
            None => self.clock.heard(pbx_ms, read_at),
        }
        self.clock.ago(pbx_ms, read_at)
    }

    fn replied(&mut self, purpose: Purpose, status: u16, body: &[u8]) -> Result<(), End> {
        let words = if status < 300 {
            String::new()
        } else {
            requests::words(status, body)
        };
        let now = Instant::now();
        if let Purpose::Packets(leg) = purpose {
            self.legs.packets(leg, requests::packets(body), now);
            return self.deliver(now, Duration::ZERO);
        }
        if !self.legs.replied(purpose, status, &words, now) {
            self.ports.stats.commands_failed.fetch_add(1, Relaxed);
        }
        self.deliver(now, Duration::ZERO)
    }

    /// Sends the requests of the state machine, and delivers its events. `ago` is the time from the events on the PBX until
    /// `read_at`.
    fn deliver(&mut self, read_at: Instant, ago: Duration) -> Result<(), End> {
        while let Some(ask) = self.legs.out.asks.pop_front() {
            match &mut self.queue {
                RequestQueue::Socket(queue) => queue.push(ask),
                RequestQueue::Http(queue) => queue.push(ask),
            }
        }
        while let RequestQueue::Socket(queue) = &mut self.queue
            && let Some(frame) = queue.next_frame(Instant::now())
        {
            self.write(Message::text(frame))?;
        }
        let events = &mut self.legs.out.events;
        match self.ports.hand_on(events, read_at, ago) {
            Ok(()) if events.is_empty() => Ok(()),
            Ok(()) => Err(End::Lost(Lost::Congested)),
            Err(Stopped) => Err(End::Stopped),
        }
    }

    /// Puts a message into the socket's buffer. If the buffer is full, the link is lost.
    fn write(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(|err| End::Lost(Lost::Broken(Box::new(err))))
    }
}

/// The time of an event by Asterisk's clock, in Unix milliseconds. Asterisk writes `"timestamp":"2026-11-28T04:06:27.123+0000"`.
/// `None` if the frame has no such time.
fn written_at_ms(frame: &[u8]) -> Option<i64> {
    static KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"timestamp\":\""));
    let begin = KEY.find(frame)?.checked_add(KEY.needle().len())?;
    let rest = frame.get(begin..)?;
    let text = std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()?;
    Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::written_at_ms;

    #[test]
    fn the_time_of_an_event_is_read_in_any_zone() {
        let frame = |time: &str| format!(r#"{{"type":"StasisStart","timestamp":"{time}","args":[]}}"#);
        for (time, expected) in [
            ("2026-11-28T04:06:27.123+0000", Some(1_795_838_787_123)),
            ("2026-11-28T05:06:27.123+0100", Some(1_795_838_787_123)),
            ("2026-11-28T04:06:27+0000", Some(1_795_838_787_000)),
            ("2026-11-28", None),
            ("", None),
        ] {
            assert_eq!(written_at_ms(frame(time).as_bytes()), expected, "{time}");
        }
        for odd in ["{}", r#"{"timestamp":7}"#, r#"{"timestamp":"2026"#] {
            assert_eq!(written_at_ms(odd.as_bytes()), None, "{odd}");
        }
    }
}
