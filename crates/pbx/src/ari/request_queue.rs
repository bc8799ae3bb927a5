//! The order of sending requests, and the assignment of replies to requests. Input: requests. Output: frames or HTTP requests,
//! and the purpose of each reply.
//!
//! A person on the line waits for a connect or a hang-up, so these urgent requests pass all others. But no request passes an
//! earlier one for the same leg.

use super::client::{Client, HttpError, REPLY_WAIT_MAX, Reply};
use super::outbox::{Purpose, QueuedRequest};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use uuid::Uuid;

/// Maximum number of requests that wait to be sent or for their reply. Further commands wait in the queue of commands.
pub(super) const REQUESTS_MAX: usize = 2048;
/// Maximum number of requests on the event stream at once that are not urgent. Asterisk executes requests one after another, an
/// originate in about 1 ms. So an urgent request waits for at most about this number of milliseconds behind a burst of
/// originates.
const UNHURRIED_MAX: usize = 4;
/// Maximum number of connections to the HTTP server at once. Its `sessionlimit` is 100 by default, for all its clients.
const HTTP_MAX: usize = 24;
/// Maximum number of these connections for requests that are not urgent.
const HTTP_UNHURRIED_MAX: usize = 16;

/// Requests that wait to be sent.
#[derive(Default)]
struct Waiting {
    urgent: VecDeque<QueuedRequest>,
    unhurried: VecDeque<QueuedRequest>,
}

impl Waiting {
    fn push(&mut self, ask: QueuedRequest) {
        if ask.purpose.urgent() && !self.unhurried.iter().any(|earlier| earlier.key == ask.key) {
            self.urgent.push_back(ask);
        } else {
            self.unhurried.push_back(ask);
        }
    }

    fn len(&self) -> usize {
        self.urgent.len() + self.unhurried.len()
    }

    fn take(&mut self) -> impl Iterator<Item = QueuedRequest> {
        std::mem::take(&mut self.urgent)
            .into_iter()
            .chain(std::mem::take(&mut self.unhurried))
    }
}

/// A request on the event stream that waits for its reply.
struct Pending {
    id: u64,
    purpose: Purpose,
    sent_at: Instant,
    urgent: bool,
}

/// The requests on the event stream.
#[derive(Default)]
pub(super) struct SocketRequests {
    waiting: Waiting,
    last_id: u64,
    /// In the order of sending. Asterisk replies in this order.
    pending: VecDeque<Pending>,
    unhurried: usize,
}

impl SocketRequests {
    pub(super) fn push(&mut self, ask: QueuedRequest) {
        self.waiting.push(ask);
    }

    /// The next frame to send. `None` if there is none, or if it must wait.
    pub(super) fn next_frame(&mut self, now: Instant) -> Option<String> {
        loop {
            let (ask, urgent) = match self.waiting.urgent.pop_front() {
                Some(ask) => (ask, true),
                None if self.unhurried < UNHURRIED_MAX => (self.waiting.unhurried.pop_front()?, false),
                None => return None,
            };
            self.last_id += 1;
            // Serialisation of strings does not fail. If it did, this request would not be sent.
            let Ok(frame) = ask.request.frame(self.last_id) else {
                continue;
            };
            self.unhurried += usize::from(!urgent);
            self.pending.push_back(Pending {
                id: self.last_id,
                purpose: ask.purpose,
                sent_at: now,
                urgent,
            });
            return Some(frame);
        }
    }

    /// The purpose of the request with this reply. `None` if no request of this link waits for it.
    pub(super) fn replied(&mut self, request_id: &str) -> Option<Purpose> {
        let id: u64 = request_id.parse().ok()?;
        let position = self.pending.iter().position(|pending| pending.id == id)?;
        let pending = self.pending.remove(position)?;
        self.unhurried -= usize::from(!pending.urgent);
        Some(pending.purpose)
    }

    /// True if a request has waited for its reply for longer than `REPLY_WAIT_MAX`.
    pub(super) fn overdue(&self, now: Instant) -> bool {
        self.pending
            .front()
            .is_some_and(|pending| now.saturating_duration_since(pending.sent_at) > REPLY_WAIT_MAX)
    }
}

type HttpDone = (Uuid, bool, Purpose, Result<Reply, HttpError>);

/// Requests over HTTP: several at once, but one at a time for each leg. A request for the nil leg concerns the whole PBX. While
/// it runs, no other request starts. While it waits, no later request of the same urgency passes it.
pub(super) struct HttpRequests {
    http: Client,
    waiting: Waiting,
    busy: HashSet<Uuid>,
    unhurried: usize,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = HttpDone> + Send>>>,
}

impl HttpRequests {
    fn new(http: Client) -> Self {
        Self {
            http,
            waiting: Waiting::default(),
            busy: HashSet::new(),
            unhurried: 0,
            running: FuturesUnordered::new(),
        }
    }

    pub(super) fn push(&mut self, ask: QueuedRequest) {
        self.waiting.push(ask);
        self.start_some();
    }

    fn start_some(&mut self) {
        while self.running.len() < HTTP_MAX {
            let urgent = first_free(&self.waiting.urgent, &self.busy)
                .and_then(|place| self.waiting.urgent.remove(place))
                .map(|ask| (ask, true));
            let next = urgent.or_else(|| {
                (self.unhurried < HTTP_UNHURRIED_MAX)
                    .then(|| first_free(&self.waiting.unhurried, &self.busy))
                    .flatten()
                    .and_then(|place| self.waiting.unhurried.remove(place))
                    .map(|ask| (ask, false))
            });
            let Some((
                QueuedRequest {
                    request,
                    key,
                    purpose,
                },
                urgent,
            )) = next
            else {
                return;
            };
            self.busy.insert(key);
            self.unhurried += usize::from(!urgent);
            let http = self.http.clone();
            self.running.push(Box::pin(async move {
                (key, urgent, purpose, http.send(request).await)
            }));
        }
    }

    /// The next reply, if one has arrived.
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<(Purpose, Result<Reply, HttpError>)> {
        match self.running.poll_next_unpin(cx) {
            Poll::Ready(Some((key, urgent, purpose, reply))) => {
                self.busy.remove(&key);
                self.unhurried -= usize::from(!urgent);
                self.start_some();
                Poll::Ready((purpose, reply))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The position of the first request whose leg has no running request. `None` if a request for the whole PBX runs, or if one
/// waits before it.
fn first_free(waiting: &VecDeque<QueuedRequest>, busy: &HashSet<Uuid>) -> Option<usize> {
    if busy.contains(&Uuid::nil()) {
        return None;
    }
    for (place, ask) in waiting.iter().enumerate() {
        if ask.key.is_nil() {
            return (place == 0).then_some(place);
        }
        if !busy.contains(&ask.key) {
            return Some(place);
        }
    }
    None
}

/// The queue of requests on the event stream, or of requests over HTTP.
pub(super) enum RequestQueue {
    Socket(SocketRequests),
    Http(Box<HttpRequests>),
}

impl RequestQueue {
    /// `http` is `Some` if requests must go over HTTP.
    pub(super) fn new(http: Option<Client>) -> Self {
        match http {
            None => Self::Socket(SocketRequests::default()),
            Some(http) => Self::Http(Box::new(HttpRequests::new(http))),
        }
    }

    /// Removes the requests that were not sent, and returns them.
    pub(super) fn take_unsent(&mut self) -> Vec<QueuedRequest> {
        match self {
            Self::Socket(queue) => queue.waiting.take().collect(),
            Self::Http(queue) => queue.waiting.take().collect(),
        }
    }

    /// The number of requests that wait to be sent or for their reply.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Socket(queue) => queue.pending.len() + queue.waiting.len(),
            Self::Http(queue) => queue.running.len() + queue.waiting.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ari::requests;
    use paceline_core::ids::{AgentLegId, LegId};

    fn ask(key: Uuid, purpose: Purpose) -> QueuedRequest {
        QueuedRequest {
            request: requests::hang_up(&key.to_string()),
            key,
            purpose,
        }
    }

    fn connect(leg: Uuid) -> Purpose {
        Purpose::Connected(LegId(leg), AgentLegId(Uuid::nil()))
    }

    #[test]
    fn a_connect_passes_a_burst_of_originates_and_a_hang_up_stays_behind_its_own() {
        let mut queue = SocketRequests::default();
        let now = Instant::now();
        let legs: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
        for leg in &legs {
            queue.push(ask(*leg, Purpose::Placed(*leg)));
        }
        let mut sent = 0;
        while queue.next_frame(now).is_some() {
            sent += 1;
        }
        assert_eq!(sent, UNHURRIED_MAX);
        let caller = Uuid::new_v4();
        queue.push(ask(caller, connect(caller)));
        // Its originate has not been sent, so this hang-up waits.
        queue.push(ask(legs[10], Purpose::HungUp(legs[10])));
        // Its originate has been sent, and Asterisk keeps the order, so this hang-up does not wait.
        queue.push(ask(legs[0], Purpose::HungUp(legs[0])));
        let mut order = Vec::new();
        for reply in 1..=23 {
            while queue.next_frame(now).is_some() {}
            order.extend(queue.replied(&reply.to_string()));
            assert!(queue.replied(&reply.to_string()).is_none());
        }
        let place = |purpose: &Purpose| order.iter().position(|other| other == purpose);
        assert_eq!(order.len(), 23);
        assert_eq!(place(&connect(caller)), Some(UNHURRIED_MAX));
        assert_eq!(place(&Purpose::HungUp(legs[0])), Some(UNHURRIED_MAX + 1));
        assert!(place(&Purpose::HungUp(legs[10])) > place(&Purpose::Placed(legs[10])));
        assert!(queue.replied("nonsense").is_none());
    }

    #[test]
    fn a_request_without_a_reply_becomes_overdue() {
        let mut queue = SocketRequests::default();
        let now = Instant::now();
        assert!(!queue.overdue(now + REPLY_WAIT_MAX * 2));
        queue.push(ask(Uuid::nil(), Purpose::Nothing));
        queue.next_frame(now);
        assert!(!queue.overdue(now + REPLY_WAIT_MAX));
        assert!(queue.overdue(now + REPLY_WAIT_MAX * 2));
    }

    #[test]
    fn over_http_a_leg_has_one_request_at_a_time_and_the_pbx_alone() {
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let waiting: VecDeque<QueuedRequest> = [one, one, Uuid::nil(), two]
            .map(|key| ask(key, Purpose::Nothing))
            .into();
        assert_eq!(first_free(&waiting, &HashSet::new()), Some(0));
        assert_eq!(first_free(&waiting, &HashSet::from([one])), None);
        assert_eq!(first_free(&waiting, &HashSet::from([Uuid::nil()])), None);
        let waiting: VecDeque<QueuedRequest> = [one, two].map(|key| ask(key, Purpose::Nothing)).into();
        assert_eq!(first_free(&waiting, &HashSet::from([one])), Some(1));
    }
}
