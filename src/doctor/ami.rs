//! Lists Asterisk's queues, which ARI cannot list, through its manager interface (AMI). Input: the connection. Output:
//! queues with their members. It opens one connection and sends two actions: login and `QueueStatus`.

use super::{Member, Queue};
use crate::config::AmiConfig;
use secrecy::ExposeSecret as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes that are read; enough for 50,000 members.
const BYTES_MAX: u64 = 16 << 20;

/// The reason why the queues cannot be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmiError {
    #[error("nothing answers at the `address` of [pbx.ami]")]
    NoServer,
    #[error("the manager interface does not let this user in")]
    BadPassword,
    #[error("what answers at the `address` of [pbx.ami] is no manager interface")]
    Odd,
    #[error("Asterisk has no queues")]
    NoQueues,
}

type Message = BTreeMap<String, String>;

/// Lists all queues.
pub(super) async fn queues(config: &AmiConfig) -> Result<Vec<Queue>, AmiError> {
    let asked = tokio::time::timeout(TIMEOUT, ask(config));
    asked.await.unwrap_or(Err(AmiError::Odd))
}

async fn ask(config: &AmiConfig) -> Result<Vec<Queue>, AmiError> {
    let socket = TcpStream::connect(&config.address).await;
    let (reading, mut writing) = socket.map_err(|_| AmiError::NoServer)?.into_split();
    let mut lines = BufReader::new(reading.take(BYTES_MAX));
    let mut banner = String::new();
    let read = lines.read_line(&mut banner).await;
    if read.is_err() || !banner.contains("Call Manager") {
        return Err(AmiError::Odd);
    }
    let password = config.password.expose_secret();
    if password.chars().any(char::is_control) {
        return Err(AmiError::BadPassword);
    }
    let login = format!(
        "Action: Login\r\nUsername: {}\r\nSecret: {password}\r\nEvents: off\r\n\r\n",
        config.username
    );
    writing
        .write_all(login.as_bytes())
        .await
        .map_err(|_| AmiError::Odd)?;
    if said(&response(&mut lines).await?, "Response") != "Success" {
        return Err(AmiError::BadPassword);
    }
    let action = writing.write_all(b"Action: QueueStatus\r\n\r\n");
    action.await.map_err(|_| AmiError::Odd)?;
    if said(&response(&mut lines).await?, "Response") != "Success" {
        return Err(AmiError::NoQueues);
    }
    let mut queues: Vec<Queue> = Vec::new();
    loop {
        let message = message(&mut lines).await?;
        let queue = said(&message, "Queue");
        match said(&message, "Event") {
            "QueueParams" => queues.push(Queue {
                name: queue.to_owned(),
                members: Vec::new(),
            }),
            "QueueMember" => {
                if let Some(queue) = queues.iter_mut().find(|known| known.name == queue) {
                    queue.members.push(member(&message));
                }
            }
            "QueueStatusComplete" => break,
            _ => {}
        }
    }
    // Asterisk would close the connection anyway.
    drop(writing.write_all(b"Action: Logoff\r\n\r\n").await);
    Ok(queues)
}

fn member(message: &Message) -> Member {
    let status = said(message, "Status");
    Member {
        name: said(message, "Name").to_owned(),
        // Before version 12 the field was `Location`.
        interface: Some(said(message, "Interface"))
            .filter(|interface| !interface.is_empty())
            .unwrap_or(said(message, "Location"))
            .to_owned(),
        state: match status {
            "1" => "not in use",
            "2" => "in use",
            "3" => "busy",
            "4" => "invalid",
            "5" => "unavailable",
            "6" => "ringing",
            "7" => "ringing and in use",
            "8" => "on hold",
            _ => "unknown",
        }
        .to_owned(),
        paused: said(message, "Paused") == "1",
        invalid: status == "4",
    }
}

fn said<'m>(message: &'m Message, key: &str) -> &'m str {
    message.get(key).map_or("", String::as_str)
}

/// The next response. Events may come before it.
async fn response(lines: &mut (impl AsyncBufReadExt + Unpin)) -> Result<Message, AmiError> {
    loop {
        let message = message(lines).await?;
        if message.contains_key("Response") {
            return Ok(message);
        }
    }
}

async fn message(lines: &mut (impl AsyncBufReadExt + Unpin)) -> Result<Message, AmiError> {
    let mut message = Message::new();
    loop {
        let mut line = Vec::new();
        let read = lines
            .read_until(b'\n', &mut line)
            .await
            .map_err(|_| AmiError::Odd)?;
        if read == 0 {
            return Err(AmiError::Odd);
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim_end().split_once(':') {
            Some((key, value)) => {
                message.insert(key.to_owned(), value.trim().to_owned());
            }
            None if line.trim_end().is_empty() => return Ok(message),
            None => {}
        }
    }
}
