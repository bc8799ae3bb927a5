//! The places of connections. In: new connections, requests and answers. Out: a place, or none, and the connection that
//! must make room: of the peer with the most connections, the one that has been idle for the longest time. If none is idle,
//! the oldest one of a peer that has more connections than the newcomer, whatever it does: otherwise two peers that read
//! slowly would keep all others out. It opens no connections itself.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A peer whose connections count together: an IPv4 address or an IPv6 network, because one machine can use a whole
/// network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Machine(u128);

impl From<IpAddr> for Machine {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(v4.to_bits())),
            IpAddr::V6(v6) => Self(v6.to_bits() >> 64 << 64),
        }
    }
}

/// The places of all connections.
#[derive(Debug)]
pub(super) struct Places {
    all: Mutex<All>,
    total_max: usize,
    per_peer_max: usize,
}

#[derive(Debug, Default)]
struct All {
    last: u64,
    taken: BTreeMap<u64, Taken>,
    peers: HashMap<Machine, usize>,
}

#[derive(Debug)]
struct Taken {
    peer: Machine,
    /// Sequence number of the moment when it became idle. `None` while a request is being answered.
    idle_since: Option<u64>,
    leave: Arc<Notify>,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    /// Notified when the connection must make room.
    pub(super) leave: Arc<Notify>,
}

impl Places {
    pub(super) fn new(total_max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Mutex::default(),
            total_max,
            per_peer_max,
        })
    }

    /// Takes a place; another connection may have to make room. `None` if all connections are being answered, and no peer has
    /// more of them than this one would have.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = Machine::from(address);
        let mut all = self.lock();
        let its = all.peers.get(&peer).copied().unwrap_or(0);
        if its >= self.per_peer_max {
            all.make_room(Some(peer))?;
        } else if all.taken.len() >= self.total_max {
            all.make_room(None).or_else(|| all.share(its + 1))?;
        }
        all.last += 1;
        let id = all.last;
        let leave = Arc::new(Notify::new());
        let taken = Taken {
            peer,
            idle_since: Some(id),
            leave: Arc::clone(&leave),
        };
        all.taken.insert(id, taken);
        *all.peers.entry(peer).or_default() += 1;
        Some(Place {
            places: Arc::clone(self),
            id,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Each change is complete before the lock is released, so a panic leaves no half-done state.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    /// Closes an idle connection: of this peer if given, otherwise of the peer with the most connections. `None` if no
    /// connection is idle.
    fn make_room(&mut self, only: Option<Machine>) -> Option<()> {
        let idle = self.taken.iter().filter_map(|(id, taken)| {
            let since = taken.idle_since?;
            let of_peer = self.peers.get(&taken.peer).copied().unwrap_or(0);
            only.is_none_or(|peer| peer == taken.peer)
                .then_some((std::cmp::Reverse(of_peer), since, *id))
        });
        let (.., id) = idle.min()?;
        if let Some(gone) = self.remove(id) {
            gone.leave.notify_one();
        }
        Some(())
    }

    /// Closes the oldest connection of the peer with the most, if it has more than `fair`.
    fn share(&mut self, fair: usize) -> Option<()> {
        let most = self.taken.iter().filter_map(|(id, taken)| {
            let of_peer = self.peers.get(&taken.peer).copied().unwrap_or(0);
            (of_peer > fair).then_some((std::cmp::Reverse(of_peer), *id))
        });
        let (_, id) = most.min()?;
        if let Some(gone) = self.remove(id) {
            gone.leave.notify_one();
        }
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Taken> {
        let gone = self.taken.remove(&id)?;
        if let Some(count) = self.peers.get_mut(&gone.peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&gone.peer);
            }
        }
        Some(gone)
    }
}

impl Place {
    /// The connection sent a request. It must not make room before it has the answer.
    pub(super) fn asks(&self) {
        self.set_idle(false);
    }

    /// The connection has its answer and is idle.
    pub(super) fn is_answered(&self) {
        self.set_idle(true);
    }

    fn set_idle(&self, idle: bool) {
        let mut all = self.places.lock();
        all.last += 1;
        let now = all.last;
        if let Some(taken) = all.taken.get_mut(&self.id) {
            taken.idle_since = idle.then_some(now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::net::Ipv6Addr;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn must_leave(place: &Place) -> bool {
        place.leave.notified().now_or_never().is_some()
    }

    #[test]
    fn a_peer_that_takes_too_many_loses_the_one_that_was_idle_for_longest() {
        let places = Places::new(10, 2);
        let first = places.take(address(1)).unwrap();
        let second = places.take(address(1)).unwrap();
        let other = places.take(address(2)).unwrap();
        first.asks();
        let third = places.take(address(1)).unwrap();
        assert!(must_leave(&second) && !must_leave(&first) && !must_leave(&other));
        third.asks();
        assert!(places.take(address(1)).is_none(), "both are being answered");
        first.is_answered();
        assert!(places.take(address(1)).is_some());
        assert!(must_leave(&first));
    }

    #[test]
    fn if_all_connections_are_taken_the_client_with_the_most_loses_one() {
        let places = Places::new(3, 3);
        let modest = places.take(address(1)).unwrap();
        let greedy = [places.take(address(2)).unwrap(), places.take(address(2)).unwrap()];
        let new = places.take(address(3)).unwrap();
        assert!(must_leave(&greedy[0]) && !must_leave(&modest) && !must_leave(&new));
        drop(greedy);
        drop((modest, new));
        assert!(places.lock().taken.is_empty());
        assert!(places.lock().peers.is_empty());
    }

    #[test]
    fn peers_that_are_being_answered_for_ever_leave_each_other_peer_its_share() {
        let places = Places::new(6, 6);
        let take = |peer| {
            let place = places.take(address(peer));
            place.inspect(|place| place.asks())
        };
        let greedy: Vec<_> = (0..6).map(|_| take(1).unwrap()).collect();
        let others: Vec<_> = (0..3).map(|_| take(2).expect("a share")).collect();
        assert!(
            greedy
                .iter()
                .map(must_leave)
                .eq([true, true, true, false, false, false])
        );
        assert!(take(2).is_none() && take(1).is_none(), "both have the same");
        let third = take(3).expect("a share");
        assert!(must_leave(&greedy[3]) != must_leave(&others[0]) && !must_leave(&third));
    }

    #[test]
    fn one_machine_is_one_peer_in_ipv6_too() {
        let places = Places::new(10, 1);
        let machine = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, last));
        let first = places.take(machine(1)).unwrap();
        places.take(machine(2)).unwrap();
        assert!(must_leave(&first));
        let mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201));
        assert_eq!(Machine::from(mapped), Machine::from(address(1)));
    }
}
