//! One connection to the Event Socket: connecting, the password, and commands one by one. In: configuration, text.
//! Out: frames. Decides nothing and knows no leg.

use super::EslConfig;
use paceline_esl::{CodecError, Decoder, Frame};
use secrecy::ExposeSecret as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Longest wait for any reply. A command without a reply is not assumed to have failed: the link is dropped and the
/// PBX's state read.
pub(super) const REPLY_WAIT_MAX: Duration = Duration::from_secs(10);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);

/// Why the PBX could not be reached or asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No TCP connection.
    #[error(
        "cannot connect to the Event Socket of the PBX; check that FreeSWITCH runs with mod_event_socket"
    )]
    Connect(#[source] std::io::Error),
    /// It broke.
    #[error("the connection to the Event Socket of the PBX broke; check whether FreeSWITCH was restarted")]
    Broken(#[source] std::io::Error),
    /// It was closed.
    #[error("the PBX closed the connection to its Event Socket; check whether FreeSWITCH was restarted")]
    Closed,
    /// No answer.
    #[error("the Event Socket of the PBX does not answer in time; check FreeSWITCH's load")]
    Slow,
    /// `text/rude-rejection`.
    #[error(
        "the access list of the PBX refuses this machine; add it to apply-inbound-acl of event_socket.conf"
    )]
    Rejected,
    /// `-ERR invalid`.
    #[error("the PBX refuses the password; compare it with event_socket.conf")]
    Password,
    /// A password with a line's end in it.
    #[error(
        "the Event Socket's password contains a control character, which cannot be sent; choose another password"
    )]
    PasswordUnsendable,
    /// Not an Event Socket.
    #[error("the server is not an Event Socket; check the port")]
    Codec(#[source] CodecError),
    /// Another installation is there.
    #[error(
        "another Paceline uses the `app` `{app}` and would lose its calls; stop it, or give this one an `app` of \
         its own in paceline.toml"
    )]
    Taken {
        /// The mark.
        app: String,
    },
    /// `-ERR` to a command that must succeed.
    #[error("the PBX refused `{asked}`; check that mod_commands is loaded and that this user may use it")]
    Refused {
        /// The request or command.
        asked: &'static str,
    },
    /// A reply that is not as expected.
    #[error("the reply of the PBX to `{asked}` cannot be read; report it with the version of FreeSWITCH")]
    Reply {
        /// The request or command.
        asked: &'static str,
        /// The cause.
        #[source]
        err: serde_json::Error,
    },
}

/// Where bytes come from, and where they become frames.
#[derive(Debug)]
pub struct Reading {
    pub(super) socket: OwnedReadHalf,
    /// What was read and not taken yet.
    pub decoder: Decoder,
}

/// One connection past its password.
#[derive(Debug)]
pub struct Connection {
    /// The half that reads.
    pub reading: Reading,
    pub(super) writing: OwnedWriteHalf,
}

impl Reading {
    /// Reads once. What was read is in the decoder.
    pub async fn fill(&mut self) -> Result<(), ConnectionError> {
        let read = self
            .socket
            .read(self.decoder.space())
            .await
            .map_err(ConnectionError::Broken)?;
        if read == 0 {
            return Err(ConnectionError::Closed);
        }
        self.decoder.filled(read);
        Ok(())
    }

    /// Waits for the next frame that `pick` makes a value of; the others are passed over.
    async fn wait_for<T>(
        &mut self,
        mut pick: impl FnMut(Frame<'_>) -> Result<Option<T>, ConnectionError>,
    ) -> Result<T, ConnectionError> {
        let waiting = async {
            loop {
                while let Some(frame) = self.decoder.next().map_err(ConnectionError::Codec)? {
                    if let Some(picked) = pick(frame)? {
                        return Ok(picked);
                    }
                }
                self.fill().await?;
            }
        };
        timeout(REPLY_WAIT_MAX, waiting)
            .await
            .unwrap_or(Err(ConnectionError::Slow))
    }
}

/// What a frame says in answer to a command.
fn reply(frame: Frame<'_>) -> Result<Option<Vec<u8>>, ConnectionError> {
    match frame {
        Frame::Reply(text) | Frame::ApiResponse(text) => Ok(Some(text.to_vec())),
        Frame::Disconnect => Err(ConnectionError::Closed),
        Frame::Rejected => Err(ConnectionError::Rejected),
        Frame::AuthRequest | Frame::Event(_) | Frame::Other => Ok(None),
    }
}

impl Connection {
    /// Connects and gives the password.
    pub async fn open(config: &EslConfig) -> Result<Self, ConnectionError> {
        let connecting = TcpStream::connect(&config.address);
        let socket = match timeout(CONNECT_WAIT_MAX, connecting).await {
            Err(_) => return Err(ConnectionError::Slow),
            Ok(socket) => socket.map_err(ConnectionError::Connect)?,
        };
        // Commands are small and wanted at once; without it they wait for each other.
        socket.set_nodelay(true).map_err(ConnectionError::Connect)?;
        let (socket, writing) = socket.into_split();
        let mut connection = Self {
            reading: Reading {
                socket,
                decoder: Decoder::new(),
            },
            writing,
        };
        connection
            .reading
            .wait_for(|frame| match frame {
                Frame::AuthRequest => Ok(Some(())),
                other => reply(other).map(|_| None),
            })
            .await?;
        let password = config.password.expose_secret();
        if password.chars().any(char::is_control) {
            return Err(ConnectionError::PasswordUnsendable);
        }
        let answer = connection.ask(&format!("auth {password}")).await;
        match answer {
            Ok(answer) if answer.starts_with(b"+OK") => Ok(connection),
            // It says why, then closes, and either may be what we see of it.
            Ok(_) | Err(ConnectionError::Closed) => Err(ConnectionError::Password),
            Err(err) => Err(err),
        }
    }

    /// Sends a command and waits for its reply, whatever it says.
    pub async fn ask(&mut self, command: &str) -> Result<Vec<u8>, ConnectionError> {
        self.send(command).await?;
        self.reply().await
    }

    /// Sends a command that must succeed.
    pub async fn demand(&mut self, asked: &'static str, command: &str) -> Result<Vec<u8>, ConnectionError> {
        let reply = self.ask(command).await?;
        if reply.starts_with(b"-") {
            return Err(ConnectionError::Refused { asked });
        }
        Ok(reply)
    }

    /// Sends a command; its reply is the next but for those that are still to come.
    pub(super) async fn send(&mut self, command: &str) -> Result<(), ConnectionError> {
        // One write: a command of which half has arrived stops this connection on the PBX.
        let text = format!("{command}\n\n");
        match timeout(REPLY_WAIT_MAX, self.writing.write_all(text.as_bytes())).await {
            Err(_) => Err(ConnectionError::Slow),
            Ok(written) => written.map_err(ConnectionError::Broken),
        }
    }

    /// Waits for the next reply.
    pub(super) async fn reply(&mut self) -> Result<Vec<u8>, ConnectionError> {
        self.reading.wait_for(reply).await
    }
}
