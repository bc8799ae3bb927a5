//! Requests as bytes, from chosen addresses: 127.0.0.N.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// An answer.
pub(crate) struct Asked {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

pub(crate) async fn connect(addr: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into())?;
    tokio::time::timeout(Duration::from_secs(5), socket.connect(addr)).await?
}

/// The head of a request whose body has this length.
pub(crate) fn head(method: &str, path: &str, key: &str, length: usize) -> String {
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {key}\r\n")
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: p\r\n{key}Content-Type: application/json\r\nContent-Length: {length}\r\n"
    )
}

/// Sends one request on its own connection.
pub(crate) async fn ask(
    addr: SocketAddr,
    from: u8,
    method: &str,
    path: &str,
    key: &str,
    body: &[u8],
) -> io::Result<Asked> {
    let asked = async {
        let mut socket = connect(addr, from).await?;
        let head = head(method, path, key, body.len()) + "Connection: close\r\n\r\n";
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body).await?;
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).await?;
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let end = reply.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(bad)?;
        let status = reply.get(9..12).and_then(|s| std::str::from_utf8(s).ok());
        let status = status.and_then(|s| s.parse().ok()).ok_or_else(bad)?;
        Ok(Asked {
            status,
            body: reply.split_off(end + 4),
        })
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await?
}
