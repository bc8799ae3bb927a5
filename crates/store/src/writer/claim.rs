//! Decides which side may settle a waiting attempt: the writer, which is about to store it, or the sender, whose time
//! limit has passed. Only one side can, so an attempt that the sender gave up is never stored later.

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

/// The future result of preparing an attempt. [`Prepared::Failed`] after two seconds means that the attempt is
/// certainly not stored; the writer gives the contact back once the store works again. The answer takes longer only
/// if the attempt is being stored at that moment or the result of its commit is unknown. Dropping this gives the
/// attempt up.
#[derive(Debug)]
pub struct PendingPrepare {
    state: Arc<AtomicU8>,
    answer: oneshot::Receiver<Prepared>,
    /// `None` after the time limit has passed.
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
    /// Claims the attempt for the writer. Returns false if the sender has given it up, or if its time limit has
    /// passed.
    pub(super) fn claim(&mut self) -> bool {
        if Instant::now() >= self.deadline && swap(&self.state, WAITING, GIVEN_UP) {
            self.send(Prepared::Failed);
        }
        swap(&self.state, WAITING, CLAIMED)
    }

    /// Releases the claim because nothing was stored.
    pub(super) fn release(&self) {
        swap(&self.state, CLAIMED, WAITING);
    }

    /// Sends the result to the sender.
    pub(super) fn answer(mut self, prepared: Prepared) {
        self.send(prepared);
    }

    fn send(&mut self, prepared: Prepared) {
        if let Some(answer) = self.answer.take() {
            // If the sender no longer waits and the attempt is stored, the next start finds it open.
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
            // If the writer has claimed the attempt, the writer will answer.
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
