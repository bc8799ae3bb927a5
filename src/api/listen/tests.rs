use super::*;
use crate::metrics::Metrics;
use axum::routing::get;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LONG_BYTES: usize = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with short timeouts and few places.
struct Server {
    addr: SocketAddr,
    queue: QueueMetrics,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let all = Router::new()
            .route("/", get(async || "here"))
            .route("/long", get(async || vec![b'x'; LONG_BYTES]))
            .route("/never", get(std::future::pending::<()>));
        let health = Router::new().route("/", get(async || "well"));
        let queue = Metrics::new().queue("api_connections");
        let serving = tokio::spawn(serve_within(
            listener,
            Routes { all, health },
            queue.clone(),
            limits,
        ));
        Self { addr, queue, serving }
    }

    async fn connect(&self, said: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        socket
    }

    async fn until_connected(&self, count: i64) {
        let reached = async {
            while self.queue.depth.get() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{} are connected, not {count}", self.queue.depth.get()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn ask(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: p\r\n\r\n")
}

/// Reads everything up to the end of the connection.
async fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut reply)).await;
    // The server may also reset the connection.
    let _ = read.expect("it ends");
    reply
}

#[tokio::test]
async fn a_request_is_answered_and_a_connection_without_one_is_closed() {
    let server = Server::start(Limits {
        head: Duration::from_millis(200),
        ..LIMITS
    })
    .await;
    for said in ["", "GET / HTTP/1.1\r\nHost: p"] {
        let mut idler = server.connect(said).await;
        let reply = read_all(&mut idler).await;
        assert!(!reply.starts_with(b"HTTP/1.1 200"));
    }
    let mut asker = server.connect(&ask("/")).await;
    let reply = read_all(&mut asker).await;
    assert!(
        reply.ends_with(b"here"),
        "and shown out when it asks nothing more"
    );
    server.until_connected(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let server = Server::start(Limits {
        slack: Duration::from_millis(200),
        ..LIMITS
    })
    .await;
    let mut slow = server.connect(&ask("/long")).await;
    server.until_connected(1).await;
    server.until_connected(0).await;
    assert!(read_all(&mut slow).await.len() < LONG_BYTES);
    let mut reader = server
        .connect(&ask("/long").replace("Host", "Connection: close\r\nHost"))
        .await;
    assert!(
        read_all(&mut reader).await.len() > LONG_BYTES,
        "who reads has all of it"
    );
}

#[tokio::test]
async fn idle_connections_make_room_and_busy_ones_leave_room_for_health() {
    let server = Server::start(Limits {
        connections: 3,
        ..LIMITS
    })
    .await;
    let mut idlers = Vec::new();
    for _ in 0..3 {
        idlers.push(server.connect("GET / HTTP/1.1\r\n").await);
    }
    server.until_connected(3).await;
    let mut asker = server.connect(&ask("/")).await;
    let mut reply = [0; 12];
    asker.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200");
    assert!(
        read_all(&mut idlers[0]).await.is_empty(),
        "the first to come has left"
    );

    drop((asker, idlers));
    server.until_connected(0).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(server.connect(&ask("/never")).await);
    }
    server.until_connected(3).await;
    let mut asker = server
        .connect(&ask("/").replace("Host", "Connection: close\r\nHost"))
        .await;
    let reply = loop {
        // A connection whose request has not arrived yet may have made room for the first of these.
        let reply = read_all(&mut asker).await;
        if !reply.ends_with(b"here") {
            break reply;
        }
        busy.push(server.connect(&ask("/never")).await);
        asker = server
            .connect(&ask("/").replace("Host", "Connection: close\r\nHost"))
            .await;
    };
    assert!(reply.ends_with(b"well"), "{}", String::from_utf8_lossy(&reply));
}
