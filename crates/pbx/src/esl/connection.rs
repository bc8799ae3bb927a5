//! One connection to the Event Socket: it connects, sends the password, and sends commands one by one. Input: configuration, text.
//! Output: replies and frames. It decides nothing and knows no leg.

use super::EslConfig;
use paceline_esl::{CodecError, Decoder, Frame};
use secrecy::ExposeSecret as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Maximum time until a reply. A command without a reply may have been executed, so the driver drops the link and reads the PBX's
/// state again.
pub(super) const REPLY_WAIT_MAX: Duration = Duration::from_secs(10);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);

/// The reason that a connection to the PBX failed, or a command on it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The TCP connection failed.
    #[error(
        "cannot connect to the Event Socket of the PBX; check that FreeSWITCH runs with mod_event_socket"
    )]
    Connect(#[source] std::io::Error),
    /// The connection broke while we read or wrote.
    #[error("the connection to the Event Socket of the PBX broke; check whether FreeSWITCH was restarted")]
    Broken(#[source] std::io::Error),
    /// The PBX closed the connection.
    #[error("the PBX closed the connection to its Event Socket; check whether FreeSWITCH was restarted")]
    Closed,
    /// No connection within 3 s, or no answer within 10 s.
    #[error("the Event Socket of the PBX does not answer in time; check FreeSWITCH's load")]
    Slow,
    /// The PBX sent `text/rude-rejection`.
    #[error(
        "the access list of the PBX refuses this machine; add it to apply-inbound-acl of event_socket.conf"
    )]
    Rejected,
    /// The PBX refused the password (`-ERR invalid`), or closed the connection instead of a reply to it.
    #[error("the PBX refuses the password; compare it with event_socket.conf")]
    Password,
    /// The configured password contains a control character, such as a line end. It was not sent.
    #[error(
        "the Event Socket's password contains a control character, which cannot be sent; choose another password"
    )]
    PasswordUnsendable,
    /// The server sent bytes that no Event Socket sends.
    #[error("the server is not an Event Socket; check the port")]
    Codec(#[source] CodecError),
    /// Another installation uses the same `app` on this PBX, and is alive.
    #[error(
        "another Paceline uses the `app` `{app}` and would lose its calls; stop it, or give this one an `app` of \
         its own in paceline.toml"
    )]
    Taken {
        /// The `app` of the configuration.
        app: String,
    },
    /// The PBX refused a command that must succeed. The reply started with `-`, such as `-ERR`.
    #[error("the PBX refused `{asked}`; check that mod_commands is loaded and that this user may use it")]
    Refused {
        /// The name of the command.
        asked: &'static str,
    },
    /// The reply is not the expected JSON.
    #[error("the reply of the PBX to `{asked}` cannot be read; report it with the version of FreeSWITCH")]
    Reply {
        /// The name of the command.
        asked: &'static str,
        /// The error of the JSON parser.
        #[source]
        err: serde_json::Error,
    },
}

/// The reading half of a connection, and the decoder that makes frames of its bytes.
#[derive(Debug)]
pub struct Reading {
    pub(super) socket: OwnedReadHalf,
    /// The decoder. It keeps the bytes that were read and not decoded yet.
    pub decoder: Decoder,
}

/// One connection whose password the PBX has accepted.
#[derive(Debug)]
pub struct Connection {
    /// The reading half.
    pub reading: Reading,
    pub(super) writing: OwnedWriteHalf,
}

impl Reading {
    /// Reads from the socket once, into the decoder. It waits without a limit.
    ///
    /// # Errors
    /// [`ConnectionError::Broken`], or [`ConnectionError::Closed`] at the end of the stream.
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

    /// Waits for the next frame that `pick` turns into a value, for [`REPLY_WAIT_MAX`] at most. Other frames are skipped.
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

/// The reply in a frame. `None` for a frame that is not a reply.
fn reply(frame: Frame<'_>) -> Result<Option<Vec<u8>>, ConnectionError> {
    match frame {
        Frame::Reply(text) | Frame::ApiResponse(text) => Ok(Some(text.to_vec())),
        Frame::Disconnect => Err(ConnectionError::Closed),
        Frame::Rejected => Err(ConnectionError::Rejected),
        Frame::AuthRequest | Frame::Event(_) | Frame::Other => Ok(None),
    }
}

impl Connection {
    /// Connects and sends the password.
    ///
    /// # Errors
    /// All but [`ConnectionError::Taken`], [`ConnectionError::Refused`] and [`ConnectionError::Reply`].
    pub async fn open(config: &EslConfig) -> Result<Self, ConnectionError> {
        let connecting = TcpStream::connect(&config.address);
        let socket = match timeout(CONNECT_WAIT_MAX, connecting).await {
            Err(_) => return Err(ConnectionError::Slow),
            Ok(socket) => socket.map_err(ConnectionError::Connect)?,
        };
        // Commands are small and urgent. Without this option, TCP may keep a command back until the previous one is acknowledged.
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
            // The PBX refuses the password and closes the connection. Sometimes only the close is seen.
            Ok(_) | Err(ConnectionError::Closed) => Err(ConnectionError::Password),
            Err(err) => Err(err),
        }
    }

    /// Sends a command and returns its reply, also if the PBX refuses the command.
    ///
    /// # Errors
    /// [`ConnectionError`] if the connection fails.
    pub async fn ask(&mut self, command: &str) -> Result<Vec<u8>, ConnectionError> {
        self.send(command).await?;
        self.reply().await
    }

    /// Sends a command that must succeed, and returns its reply. `asked` names the command in the error.
    ///
    /// # Errors
    /// [`ConnectionError::Refused`], or another one if the connection fails.
    pub async fn demand(&mut self, asked: &'static str, command: &str) -> Result<Vec<u8>, ConnectionError> {
        let reply = self.ask(command).await?;
        if reply.starts_with(b"-") {
            return Err(ConnectionError::Refused { asked });
        }
        Ok(reply)
    }

    /// Sends a command and does not wait for its reply. Replies come in the order of the commands.
    pub(super) async fn send(&mut self, command: &str) -> Result<(), ConnectionError> {
        // One write, because half a command stops this connection on the PBX until the rest arrives.
        let text = format!("{command}\n\n");
        match timeout(REPLY_WAIT_MAX, self.writing.write_all(text.as_bytes())).await {
            Err(_) => Err(ConnectionError::Slow),
            Ok(written) => written.map_err(ConnectionError::Broken),
        }
    }

    /// Waits for the next reply, for [`REPLY_WAIT_MAX`] at most.
    pub(super) async fn reply(&mut self) -> Result<Vec<u8>, ConnectionError> {
        self.reading.wait_for(reply).await
    }
}
