//! A response body that keeps the turn of its request until the body is sent. So a client that reads slowly delays only
//! requests of the same key, and the number of turns limits the memory of bodies that wait to be read.

use super::limit::Turn;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Given out at once: what a connection keeps anyway.
const PART_BYTES: usize = 16 * 1024;

/// The body, in parts that do not keep the rest.
pub(super) struct Held {
    body: Body,
    part: Bytes,
    _turn: Arc<Turn>,
}

impl Held {
    pub(super) fn new(body: Body, turn: Arc<Turn>) -> Self {
        Self {
            body,
            part: Bytes::new(),
            _turn: turn,
        }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.part.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.part = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let length = self.part.len().min(PART_BYTES);
        let part = self.part.split_to(length);
        // A slice would keep all of it alive.
        let part = Bytes::copy_from_slice(&part);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (part, rest) = (self.part.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(part));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(part));
        }
        hint
    }
}
