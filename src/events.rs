//! The event stream: one bounded stream of the dialer's events, with any number of readers.
//!
//! In: events from [`Events::tell`], which never waits. Out: one [`Reader`] per client. The stream keeps the newest [`KEPT`]
//! events, so that a reader can be slow or reconnect. A reader that is further behind gets [`Next::Missed`], if an event that it
//! wants was dropped. The store does not keep the stream, and no event contains a telephone number.

use paceline_core::event::{EventKind, What};
use paceline_core::ids::CampaignId;
use paceline_core::time::Wall;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Number of events that the stream keeps: about 30 s of a call centre with 1,000 agents, in about 2 MiB.
pub const KEPT: usize = 16_384;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's position in the stream.
    pub id: EventId,
    /// Time of the event, Unix time in milliseconds.
    pub at: Wall,
    /// The campaign of the event. `None` if the event concerns all campaigns.
    pub campaign: Option<CampaignId>,
    /// The event's kind and data.
    pub what: What,
}

/// The position of an event: the start of the process (Unix time in milliseconds) and the event's number in this run, from 1.
/// Notation `RUN-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    run: i64,
    number: u64,
}

/// The text is not an [`EventId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of an event is two numbers with a `-` between, as the stream gave it")]
pub struct EventIdError;

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;
    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (run, number) = text.split_once('-').ok_or(EventIdError)?;
        Ok(Self {
            run: run.parse().map_err(|_| EventIdError)?,
            number: number.parse().map_err(|_| EventIdError)?,
        })
    }
}

/// The events that a reader wants. Default: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `None`: every kind.
    pub kinds: Option<BTreeSet<EventKind>>,
    /// Only events of this campaign, and those that concern all campaigns.
    pub campaign: Option<CampaignId>,
}

impl Filter {
    fn wants(&self, (kind, campaign): Subject) -> bool {
        let of_campaign = self.campaign.is_none() || campaign.is_none() || campaign == self.campaign;
        of_campaign && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// The parts of an event by which it is filtered.
type Subject = (EventKind, Option<CampaignId>);

impl Event {
    fn subject(&self) -> Subject {
        (self.what.kind(), self.campaign)
    }
}

/// The event stream. All clones are the same stream.
#[derive(Clone, Debug)]
pub struct Events(Arc<Stream>);

#[derive(Debug)]
struct Stream {
    run: i64,
    kept: Mutex<Kept>,
    /// The number of the newest event, 0 if there is none.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    /// The number of the newest event of each subject that is not kept any more.
    dropped: BTreeMap<Subject, u64>,
}

impl Events {
    /// Creates an empty stream for a process that starts at `now`.
    pub fn new(now: Wall) -> Self {
        Self(Arc::new(Stream {
            run: now.0,
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
        }))
    }

    /// Adds an event. It never waits: if the stream is full, it drops the oldest event.
    pub fn tell(&self, at: Wall, campaign: Option<CampaignId>, what: What) {
        let Stream { run, newest, .. } = &*self.0;
        let mut kept = self.kept();
        let number = newest.borrow().saturating_add(1);
        let id = EventId { run: *run, number };
        if kept.events.len() >= KEPT
            && let Some(old) = kept.events.pop_front()
        {
            kept.dropped.insert(old.subject(), old.id.number);
        }
        kept.events.push_back(Arc::new(Event {
            id,
            at,
            campaign,
            what,
        }));
        // This runs under the lock, so that the number and the event change together.
        newest.send_replace(number);
    }

    /// A reader of all events. It begins after the event `last`, or with the next new event if `last` is `None`.
    pub fn read(&self, last: Option<EventId>) -> Reader {
        self.read_some(last, Filter::default())
    }

    /// The same for the events that `filter` wants.
    pub fn read_some(&self, last: Option<EventId>, filter: Filter) -> Reader {
        let newest = self.0.newest.subscribe();
        let now = *newest.borrow();
        let (read, missed) = match last {
            None => (now, false),
            // The stream keeps no events of another run. A number above the newest was never given out.
            Some(last) if last.run != self.0.run || last.number > now => (now, true),
            Some(last) => (last.number, false),
        };
        Reader {
            events: self.clone(),
            newest,
            read,
            missed,
            filter,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of [`Reader::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next event that the reader wants.
    Event(Arc<Event>),
    /// Events that the reader wants are no longer kept. The client must read the present state again.
    Missed,
}

/// Reads the stream from one position on.
#[derive(Debug)]
pub struct Reader {
    events: Events,
    newest: watch::Receiver<u64>,
    /// The number of the last event that was read, passed over or missed.
    read: u64,
    missed: bool,
    filter: Filter,
}

impl Reader {
    /// The id after which this reader goes on. A reader that resumes with it misses nothing.
    pub fn position(&self) -> EventId {
        EventId {
            run: self.events.0.run,
            number: self.read,
        }
    }

    /// True if there are events that it has not looked at.
    pub fn is_behind(&self) -> bool {
        *self.newest.borrow() > self.read
    }

    /// Waits for the next event that the reader wants. If the future is dropped, no event is lost.
    pub async fn next(&mut self) -> Next {
        loop {
            if std::mem::take(&mut self.missed) {
                return Next::Missed;
            }
            match self.kept_next() {
                Some(event) => return event,
                // The wait cannot fail, because `events` holds the sender.
                None => drop(self.newest.changed().await),
            }
        }
    }

    fn kept_next(&mut self) -> Option<Next> {
        // This comes before the search, so that an event that arrives after the search still wakes the reader.
        self.newest.mark_unchanged();
        let kept = self.events.kept();
        let oldest = kept.events.front()?.id.number;
        if self.read.saturating_add(1) < oldest {
            let read = std::mem::replace(&mut self.read, oldest.saturating_sub(1));
            let dropped = |(subject, number): (&Subject, &u64)| *number > read && self.filter.wants(*subject);
            if kept.dropped.iter().any(dropped) {
                return Some(Next::Missed);
            }
        }
        let unread = usize::try_from(self.read.saturating_add(1) - oldest).ok()?;
        for event in kept.events.iter().skip(unread) {
            self.read = event.id.number;
            if self.filter.wants(event.subject()) {
                return Some(Next::Event(Arc::clone(event)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use paceline_core::campaign::TaskState;
    use paceline_core::ids::TaskId;

    fn task(n: i64) -> What {
        let state = TaskState::Running;
        What::Task {
            task: TaskId(n),
            state,
        }
    }

    fn read(reader: &mut Reader) -> Option<Next> {
        reader.next().now_or_never()
    }

    fn number(next: Option<Next>) -> u64 {
        match next {
            Some(Next::Event(event)) => event.id.number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_gets_the_events_after_its_start_and_can_resume() {
        let events = Events::new(Wall(5));
        events.tell(Wall(6), None, task(1));
        let mut reader = events.read(None);
        assert_eq!(read(&mut reader), None, "what was before is not told");
        for n in 2..=4 {
            events.tell(Wall(6), Some(CampaignId(1)), task(n));
        }
        assert_eq!(number(read(&mut reader)), 2);
        assert_eq!(number(read(&mut reader)), 3);
        let id = "5-3".parse::<EventId>().unwrap();
        let mut back = events.read(Some(id));
        assert_eq!(number(read(&mut back)), 4);
        assert_eq!(read(&mut back), None);
    }

    #[test]
    fn a_reader_too_far_behind_is_told_once_and_continues() {
        let events = Events::new(Wall(5));
        let mut reader = events.read(None);
        for n in 0..KEPT + 10 {
            events.tell(Wall(6), None, task(i64::try_from(n).unwrap()));
        }
        assert_eq!(read(&mut reader), Some(Next::Missed));
        assert_eq!(number(read(&mut reader)), 11);
        for last in ["4-3", "5-99999999", "5-2"] {
            let mut back = events.read(Some(last.parse().unwrap()));
            assert_eq!(read(&mut back), Some(Next::Missed), "{last}");
        }
        for bad in ["", "5", "5-", "-5-x", "a-b"] {
            assert_eq!(bad.parse::<EventId>(), Err(EventIdError), "{bad}");
        }
    }

    #[test]
    fn a_reader_misses_only_what_it_wants() {
        let events = Events::new(Wall(5));
        let pbxes = Filter {
            kinds: Some(BTreeSet::from([EventKind::Pbx])),
            campaign: None,
        };
        let of_campaign = |n| Filter {
            kinds: None,
            campaign: Some(CampaignId(n)),
        };
        for n in 0..KEPT + 10 {
            events.tell(Wall(6), Some(CampaignId(1)), task(i64::try_from(n).unwrap()));
        }
        let start = "5-3".parse::<EventId>().unwrap();
        for nothing_missed in [pbxes, of_campaign(2)] {
            let mut back = events.read_some(Some(start), nothing_missed);
            assert_eq!(read(&mut back), None);
            // It can resume from there, although it has had no event.
            assert_eq!(back.position().number, u64::try_from(KEPT + 10).unwrap());
            assert!(!back.is_behind());
        }
        let mut back = events.read_some(Some(start), of_campaign(1));
        assert_eq!(read(&mut back), Some(Next::Missed));
        assert_eq!(back.position().number, 10);
        assert_eq!(number(read(&mut back)), 11);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let events = Events::new(Wall(5));
        let mut reader = events.read(None);
        let waits = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        events.tell(Wall(6), None, task(1));
        assert_eq!(number(Some(waits.await.unwrap())), 1);
    }
}
