//! Tasks that do nothing but read a connection. In: a socket. Out: [`Heard`], through a queue of their own.
//!
//! **Invariant:** a reader waits for its socket and for nothing else. Where its queue is full it lets go of the
//! connection: a FreeSWITCH whose client does not read can stop working for everybody.

use super::connection::{ConnectionError, Reading};
use super::esl_event::{EslEvent, at_ms, read_event};
use crate::LinkStats;
use paceline_esl::{Event, Frame};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

/// Words of the PBX that may wait for us, here and while its state is read.
const HEARD_WAITING_MAX: usize = 65_536;
/// The longest reply that is kept; all that matters of one stands at its start.
const REPLY_BYTES_MAX: usize = 4096;

/// Something that was read, and when.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) at: Instant,
    /// When it happened by the PBX's clock, ms since 1970, where it says so.
    pub(super) pbx_ms: Option<i64>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    EslEvent(EslEvent),
    Reply(String),
    /// Nothing of use, but the PBX lives.
    Life,
}

/// Why a reader stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error(transparent)]
    Wire(#[from] ConnectionError),
    #[error("Paceline's queue of events is full, so it closes the link; check this machine's load")]
    Congested,
    #[error("nobody listens any more")]
    Stopped,
}

/// A running reader; stops, and closes the connection's reading half, when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) heard: Receiver<Heard>,
    task: JoinHandle<Deaf>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    pub(super) fn spawn(reading: Reading, app: String, stats: Arc<LinkStats>) -> Self {
        let (sender, heard) = mpsc::channel(HEARD_WAITING_MAX);
        let task = tokio::spawn(async move {
            match read(reading, &app, &stats, &sender).await {
                Ok(never) => match never {},
                Err(deaf) => deaf,
            }
        });
        Self { heard, task }
    }

    /// Why it stopped, once [`Self::heard`] is closed.
    pub(super) async fn why(mut self) -> Deaf {
        (&mut self.task).await.unwrap_or(Deaf::Stopped)
    }
}

async fn read(
    mut reading: Reading,
    app: &str,
    stats: &LinkStats,
    out: &Sender<Heard>,
) -> Result<std::convert::Infallible, Deaf> {
    loop {
        while let Some(frame) = reading.decoder.next().map_err(ConnectionError::Codec)? {
            let mut pbx_ms = None;
            let what = match frame {
                Frame::Event(body) => {
                    stats.events_read.fetch_add(1, Relaxed);
                    let event = Event::decode(body);
                    pbx_ms = at_ms(&event);
                    match read_event(&event, app) {
                        Some(event) => What::EslEvent(event),
                        None => What::Life,
                    }
                }
                Frame::Reply(text) | Frame::ApiResponse(text) => {
                    let start = text.get(..REPLY_BYTES_MAX).unwrap_or(text);
                    What::Reply(String::from_utf8_lossy(start).trim_end().to_owned())
                }
                Frame::Disconnect => return Err(ConnectionError::Closed.into()),
                Frame::AuthRequest | Frame::Rejected | Frame::Other => What::Life,
            };
            let at = Instant::now();
            match out.try_send(Heard { at, pbx_ms, what }) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Err(Deaf::Stopped),
                Err(TrySendError::Full(_)) => {
                    stats.dropped.fetch_add(1, Relaxed);
                    return Err(Deaf::Congested);
                }
            }
        }
        reading.fill().await?;
    }
}
