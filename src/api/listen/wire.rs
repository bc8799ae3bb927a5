//! Closes a connection if its peer takes data too slowly. In: a socket. Out: the same socket, with an error once the
//! peer has used up its time.
//!
//! A peer that takes nothing has [`SLACK_MAX`]. A peer that takes at least [`BYTES_PER_SECOND_MIN`] is never closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Maximum time in which a peer may take nothing.
pub(super) const SLACK_MAX: Duration = Duration::from_secs(10);
/// At this rate a page of metrics takes about ten seconds.
const BYTES_PER_SECOND_MIN: u32 = 16 * 1024;

/// A socket, and the time that its peer may still let us wait.
pub(super) struct Patient<S> {
    socket: S,
    slack_max: Duration,
    /// The time left. Waiting for the peer spends it; each byte that the peer takes adds to it.
    slack: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(socket: S, slack_max: Duration) -> Self {
        Self {
            socket,
            slack_max,
            slack: slack_max,
            waiting: None,
        }
    }

    /// Passes on the socket's answer to a write. It fails with `TimedOut` when the peer has used up its time.
    fn hear(&mut self, cx: &mut Context<'_>, said: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(taken)) = &said {
            if let Some(waited) = self.waiting.take() {
                self.slack = self.slack.saturating_sub(waited.since.elapsed());
            }
            let taken = u32::try_from(*taken).unwrap_or(u32::MAX);
            let earned = Duration::from_secs(1).saturating_mul(taken) / BYTES_PER_SECOND_MIN;
            self.slack = self.slack.saturating_add(earned).min(self.slack_max);
        }
        if said.is_ready() {
            return said;
        }
        let slack = self.slack;
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            let end = Box::pin(sleep_until(since + slack));
            Waiting { since, end }
        });
        ready!(waiting.end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.hear(cx, said)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let said = Pin::new(&mut this.socket).poll_write_vectored(cx, parts);
        this.hear(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected_and_one_that_reads_enough_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut sending = Patient::new(ours, SLACK_MAX);
        let long = vec![0; 400 * 1024];
        let (sent, ()) = tokio::join!(sending.write_all(&long), async {
            // 20 kB per second, which is above the minimum.
            let mut some = [0; 1024];
            for _ in 0..400 {
                theirs.read_exact(&mut some).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        sent.expect("who takes enough is sent all of it");

        let begun = Instant::now();
        let refused = sending.write_all(&long).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= SLACK_MAX + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_byte_now_and_then_is_disconnected_too() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut sending = Patient::new(ours, SLACK_MAX);
        let begun = Instant::now();
        let long = vec![0; 64 * 1024];
        let refused = tokio::select! {
            sent = sending.write_all(&long) => sent.unwrap_err(),
            () = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    theirs.read_u8().await.unwrap();
                }
            } => unreachable!(),
        };
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= SLACK_MAX * 2);
    }
}
