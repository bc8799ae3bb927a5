//! Readers: tasks that only read a connection. Input: a socket. Output: [`Heard`], through a queue for each reader.
//!
//! **Invariant:** a reader waits for its socket and for nothing else. If its queue is full, it gives up the connection, because
//! one client that does not read can block the whole FreeSWITCH.

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

/// Maximum number of messages in a reader's queue. While the PBX's state is read, nothing takes events from it.
const HEARD_WAITING_MAX: usize = 65_536;
/// Longer replies are cut. Everything that matters is at the start of a reply.
const REPLY_BYTES_MAX: usize = 4096;

/// A message of the PBX, and the time when we read it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) at: Instant,
    /// Unix time in milliseconds by the PBX's clock at which the event happened. `None` if the message has no time.
    pub(super) pbx_ms: Option<i64>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    EslEvent(EslEvent),
    Reply(String),
    /// A message that we do not use. It proves that the PBX is alive.
    Life,
}

/// The reason that a reader stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error(transparent)]
    Wire(#[from] ConnectionError),
    #[error("Paceline's queue of events is full, so it closes the link; check this machine's load")]
    Congested,
    #[error("nobody listens any more")]
    Stopped,
}

/// A running reader. If it is dropped, its task stops and drops the reading half of the connection.
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

    /// Waits for the end of the reader and returns its reason. To be called after [`Self::heard`] was closed.
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
