//! A link against a few lines of a PBX.

use super::*;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// More than any two sockets hold.
const FLOOD_BYTES: usize = 48 << 20;

/// Answers as a PBX would, floods whoever subscribes, and lists its channels only after that.
async fn converse(socket: TcpStream, flooded: watch::Sender<bool>) -> std::io::Result<()> {
    let (reading, mut writing) = socket.into_split();
    writing.write_all(b"Content-Type: auth/request\n\n").await?;
    let mut lines = BufReader::new(reading).lines();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            continue;
        }
        if line.starts_with("api show channels") {
            let _ = flooded.subscribe().wait_for(|done| *done).await;
        }
        let reply = match line.strip_prefix("api ") {
            None => "Content-Type: command/reply\nReply-Text: +OK\n\n".to_owned(),
            Some(_) => {
                let body = r#"{"row_count": 0}"#;
                let length = body.len();
                format!("Content-Type: api/response\nContent-Length: {length}\n\n{body}")
            }
        };
        writing.write_all(reply.as_bytes()).await?;
        if line.starts_with("event ") {
            let mut event = "Event-Name: HEARTBEAT\n".to_owned();
            for nth in 0..200 {
                let _ = writeln!(event, "variable_of_no_interest_{nth}: {nth:0>100}");
            }
            let length = event.len();
            let frame = format!("Content-Length: {length}\nContent-Type: text/event-plain\n\n{event}");
            for _ in 0..FLOOD_BYTES / length {
                writing.write_all(frame.as_bytes()).await?;
            }
            let _ = flooded.send(true);
        }
    }
    Ok(())
}

#[tokio::test]
async fn events_are_read_while_the_pbxs_state_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = EslConfig {
        name: PbxName::new("pbx"),
        address: listener.local_addr().unwrap().to_string(),
        password: "secret".to_owned().into(),
        app: EslConfig::APP.to_owned(),
        installation: Uuid::nil(),
    };
    let (flooded, _) = watch::channel(false);
    let pbx = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(converse(socket, flooded.clone()));
        }
    });
    let stats = Arc::new(LinkStats::default());
    let connected = connect(&config, &Owner::new("paceline"), &HashSet::new(), &stats).await;
    assert!(connected.is_ok(), "{:?}", connected.err());
    assert!(stats.events_read.load(Relaxed) > 1000);
    pbx.abort();
}
