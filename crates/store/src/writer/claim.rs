//! Who may decide over a waiting attempt: the writer, which is about to store it, or the one who asked, whose patience
//! has ended. Never both, so that an attempt given up is certainly not stored later.

use paceline_core::input::Prepared;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Claim {
    state: Arc<AtomicU8>,
    deadline: Instant,
    answer: Option<oneshot::Sender<Prepared>>,
}

/// What will have come of an attempt. [`Prepared::Failed`] after two seconds means: certainly not stored, and the
/// contact is given back as soon as the store is well. Only where a commit's end was lost does the answer take as long as
/// it takes to find out. Dropped, it gives the attempt up.
#[derive(Debug)]
pub struct PendingPrepare {
    state: Arc<AtomicU8>,
    answer: oneshot::Receiver<Prepared>,
    /// `None` once the time is over.
    give_up_at: Option<Pin<Box<Sleep>>>,
}

pub(super) fn pair(deadline: Instant) -> (Claim, PendingPrepare) {
    let state = Arc::new(AtomicU8::new(WAITING));
    let (send, receive) = oneshot::channel();
    let pending = PendingPrepare {
        state: Arc::clone(&state),
        answer: receive,
        give_up_at: Some(Box::pin(tokio::time::sleep_until(deadline))),
    };
    let claim = Claim {
        state,
        deadline,
        answer: Some(send),
    };
    (claim, pending)
}

fn swap(state: &AtomicU8, from: u8, to: u8) -> bool {
    state
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

impl Claim {
    /// Takes the decision over the attempt; false if it was given up, or is now because its time is over.
    pub(super) fn claim(&mut self) -> bool {
        if Instant::now() >= self.deadline && swap(&self.state, WAITING, GIVEN_UP) {
            self.send(Prepared::Failed);
        }
        swap(&self.state, WAITING, CLAIMED)
    }

    /// Lets go again: nothing was stored.
    pub(super) fn release(&self) {
        swap(&self.state, CLAIMED, WAITING);
    }

    /// Tells what came of it.
    pub(super) fn answer(mut self, prepared: Prepared) {
        self.send(prepared);
    }

    fn send(&mut self, prepared: Prepared) {
        if let Some(answer) = self.answer.take() {
            // Nobody waits any more: then the attempt, if stored, is found open at the next start.
            answer.send(prepared).ok();
        }
    }
}

impl Future for PendingPrepare {
    type Output = Prepared;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Prepared> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            return Poll::Ready(answer.unwrap_or(Prepared::Failed));
        }
        if self
            .give_up_at
            .as_mut()
            .is_some_and(|at| at.as_mut().poll(cx).is_ready())
        {
            // Where the writer has it at this moment, the writer sees to the rest.
            self.give_up_at = None;
            if swap(&self.state, WAITING, GIVEN_UP) {
                return Poll::Ready(Prepared::Failed);
            }
        }
        Poll::Pending
    }
}

impl Drop for PendingPrepare {
    fn drop(&mut self) {
        swap(&self.state, WAITING, GIVEN_UP);
    }
}
