//! A connection that is read for some milliseconds at a time. Its reader goes on until nothing is left to read. Without the
//! pauses, bytes that arrive without end, such as empty fragments of a message, would keep the thread from all other tasks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum time of reading without a pause. Other tasks then run.
const TURN_MAX: Duration = Duration::from_millis(2);

/// A connection whose reader lets other tasks run.
#[derive(Debug)]
pub struct FairStream<S> {
    stream: S,
    /// The time since which every read found something. `None` after a read that found nothing, and after a pause.
    busy_since: Option<Instant>,
}

impl<S> FairStream<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            busy_since: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FairStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.busy_since.is_some_and(|since| since.elapsed() >= TURN_MAX) {
            this.busy_since = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            this.busy_since.get_or_insert_with(Instant::now);
        } else {
            this.busy_since = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FairStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// The first fragment of a text message, then empty fragments without end.
    struct Endless(bool);

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            while buf.remaining() >= 2 {
                let begins = std::mem::replace(&mut self.0, true);
                buf.put_slice(&[if begins { 0x00 } else { 0x01 }, 0x00]);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_message_of_empty_parts_without_end_leaves_the_thread_to_others() {
        use futures_util::StreamExt as _;
        let stream = FairStream::new(Endless(false));
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let mut others = 0;
        while others < 10 {
            tokio::select! {
                biased;
                message = socket.next() => panic!("{message:?}"),
                () = std::future::ready(()) => others += 1,
            }
        }
    }
}
