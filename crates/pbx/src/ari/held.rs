//! Keeps events in their order that arrive while the PBX's state is being read. Their memory is bounded.

use std::collections::VecDeque;
use std::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const EVENTS_MAX: usize = 65_536;
/// An event has 1 to 2 kB.
const BYTES_MAX: usize = 64 << 20;

/// There are more events than can be kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Events with the time at which each was read.
#[derive(Default)]
pub(super) struct HeldBack {
    events: VecDeque<(Instant, Message)>,
    bytes: usize,
}

impl HeldBack {
    /// Keeps an event. Other messages, such as pings, are ignored here: the socket answers them.
    pub(super) fn keep(&mut self, message: Message) -> Result<(), Flood> {
        if !message.is_text() {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(message.len());
        if self.events.len() >= EVENTS_MAX || bytes > BYTES_MAX {
            return Err(Flood);
        }
        self.bytes = bytes;
        self.events.push_back((Instant::now(), message));
        Ok(())
    }

    pub(super) fn last(&self) -> Option<&Message> {
        self.events.back().map(|(_, message)| message)
    }

    pub(super) fn forget_last(&mut self) {
        if let Some((_, message)) = self.events.pop_back() {
            self.bytes = self.bytes.saturating_sub(message.len());
        }
    }
}

impl IntoIterator for HeldBack {
    type Item = (Instant, Message);
    type IntoIter = std::collections::vec_deque::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_events_are_as_many_as_many_small_ones() {
        let large = "x".repeat(4 << 20);
        let mut held = HeldBack::default();
        let kept = (0..1000)
            .take_while(|_| held.keep(Message::text(large.as_str())).is_ok())
            .count();
        assert_eq!(kept, BYTES_MAX / large.len());
        held.forget_last();
        assert_eq!(held.keep(Message::text(large.as_str())), Ok(()));
        assert_eq!(held.keep(Message::Ping(vec![0; 125].into())), Ok(()), "not kept");
        assert_eq!(held.into_iter().count(), kept);

        let mut held = HeldBack::default();
        let kept = (0..2 * EVENTS_MAX)
            .take_while(|_| held.keep(Message::text("{}")).is_ok())
            .count();
        assert_eq!(kept, EVENTS_MAX);
    }
}
