//! The attacks. Each runs until it is dropped, with a fixed number of connections; a refused request is sent again.

use super::http::{connect, head};
use futures_util::future::{BoxFuture, join_all};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The server under attack, and a key for the attackers that have one.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) key: String,
}

pub(crate) type Attack = fn(Target) -> BoxFuture<'static, ()>;

pub(crate) const ATTACKS: [(&str, Attack); 14] = [
    ("nothing", |_| Box::pin(std::future::pending())),
    ("pipelined scrapes", |t| many(t, 64, scrapes)),
    ("slow heads", |t| many(t, 700, slow_head)),
    ("connections and nothing", |t| many(t, 1500, idle)),
    ("slow bodies without a key", |t| many(t, 400, slow_body)),
    ("8 MiB bodies without a key", |t| {
        many(t, 40, |t, n| large_body(t, n, false))
    }),
    ("scrapes that nobody reads", |t| many(t, 600, unread_scrapes)),
    ("readers at the permitted rate", |t| many(t, 600, slow_readers)),
    ("wrong keys", |t| many(t, 64, wrong_keys)),
    ("one key: 60 bodies of 8 MiB", |t| {
        many(t, 60, |t, n| large_body(t, n, true))
    }),
    ("one key: slow bodies", |t| many(t, 100, keyed_slow_body)),
    ("one key: the dearest lists", |t| {
        many(t, 64, |t, n| lists(t, n, true))
    }),
    ("one key: lists that it does not read", |t| {
        many(t, 100, |t, n| lists(t, n, false))
    }),
    ("all of it", everything),
];

fn everything(target: Target) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let all = ATTACKS[1..13].iter().map(|(_, attack)| attack(target.clone()));
        join_all(all).await;
    })
}

/// Runs `count` connections from eight addresses.
fn many<F>(target: Target, count: usize, one: fn(Target, usize) -> F) -> BoxFuture<'static, ()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    Box::pin(async move {
        let forever = (0..count).map(|n| {
            let target = target.clone();
            async move {
                loop {
                    // It is correct that the server ends the connection.
                    let _ = one(target.clone(), n).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        join_all(forever).await;
    })
}

async fn open(target: &Target, n: usize) -> std::io::Result<TcpStream> {
    let from = 20 + u8::try_from(n % 8).unwrap_or(0);
    connect(target.addr, from).await
}

/// Reads and discards everything until the end.
async fn drain(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut block = vec![0; 64 * 1024];
    while socket.read(&mut block).await? > 0 {}
    Ok(())
}

const GET_METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: p\r\n\r\n";

async fn scrapes(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let (mut read, mut write) = socket.split();
    let asked = GET_METRICS.repeat(200);
    let mut block = vec![0; 64 * 1024];
    tokio::select! {
        sent = async {
            loop {
                write.write_all(asked.as_bytes()).await?;
            }
        } => sent,
        got = async {
            while read.read(&mut block).await? > 0 {}
            Ok(())
        } => got,
    }
}

async fn unread_scrapes(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    socket.write_all(GET_METRICS.repeat(50).as_bytes()).await?;
    until_ended(&mut socket).await
}

/// Sends more requests than it reads answers to, and reads just fast enough: it is never idle, and never too slow.
async fn slow_readers(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let asked = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: p\r\n\r\n".repeat(50);
    socket.write_all(asked.as_bytes()).await?;
    // A little more than the bytes of a quarter of a second.
    let mut block = vec![0; 4400];
    loop {
        socket.read_exact(&mut block).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Sends a byte per second until the server has closed the connection.
async fn until_ended(socket: &mut TcpStream) -> std::io::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        socket.write_all(b" ").await?;
    }
}

async fn slow_head(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    socket.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
    until_ended(&mut socket).await
}

async fn idle(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    drain(&mut socket).await
}

const LARGE_BYTES: usize = 8 * 1024 * 1024 - 1024;

async fn slow_body(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let head = head("POST", "/api/v1/tasks", "", LARGE_BYTES) + "\r\n{";
    socket.write_all(head.as_bytes()).await?;
    until_ended(&mut socket).await
}

async fn keyed_slow_body(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let head = head("POST", "/api/v1/tasks", &target.key, LARGE_BYTES) + "\r\n{";
    socket.write_all(head.as_bytes()).await?;
    until_ended(&mut socket).await
}

/// A body with many values. With a key it has values of each kind, more than the API allows.
async fn large_body(target: Target, n: usize, keyed: bool) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let key = if keyed { target.key.as_str() } else { "" };
    let value = match n % 3 {
        0 => "\"\",",
        1 => "\"+12025550123\",",
        _ => "\"x                                     \",",
    };
    let mut body = "{\"name\":\"x\",\"number_pool\":[".to_owned();
    body.push_str(&value.repeat((LARGE_BYTES - 100) / value.len()));
    body.push_str("\"1\"]}");
    let head = head("POST", "/api/v1/tasks", key, body.len()) + "Connection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let (mut read, mut write) = socket.split();
    let mut block = vec![0; 64 * 1024];
    tokio::select! {
        got = async {
            while read.read(&mut block).await? > 0 {}
            Ok(())
        } => got,
        sent = async {
            write.write_all(body.as_bytes()).await?;
            std::future::pending::<std::io::Result<()>>().await
        } => sent,
    }
}

async fn wrong_keys(target: Target, n: usize) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let key = format!("pl_{}_{}", n % 9, "A".repeat(43));
    let one = head("GET", "/api/v1/attempts", &key, 0) + "\r\n";
    let (mut read, mut write) = socket.split();
    let mut block = vec![0; 64 * 1024];
    tokio::select! {
        sent = async {
            loop {
                write.write_all(one.as_bytes()).await?;
            }
        } => sent,
        got = async {
            while read.read(&mut block).await? > 0 {}
            Ok(())
        } => got,
    }
}

const LISTS: [&str; 7] = [
    "/api/v1/live",
    "/api/v1/attempts?limit=200&disposition=nobody_says_so",
    "/api/v1/attempts?limit=200&outcome=fax&created_from=2020-01-01T00:00:00Z",
    "/api/v1/tasks/1/contacts?limit=200",
    "/api/v1/attempts?limit=200",
    "/api/v1/contact-lists/1/contacts?limit=200",
    "/api/v1/campaigns/1/pacing/decisions?limit=200",
];

async fn lists(target: Target, n: usize, reads: bool) -> std::io::Result<()> {
    let mut socket = open(&target, n).await?;
    let all: String = (0..20)
        .map(|k| head("GET", LISTS[(n + k) % LISTS.len()], &target.key, 0) + "\r\n")
        .collect();
    socket.write_all(all.as_bytes()).await?;
    if reads {
        let last = head("GET", LISTS[0], &target.key, 0) + "Connection: close\r\n\r\n";
        socket.write_all(last.as_bytes()).await?;
        drain(&mut socket).await
    } else {
        until_ended(&mut socket).await
    }
}
