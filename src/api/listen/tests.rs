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
            Routes {
                all,
                health,
                proxies: Arc::default(),
            },
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

/// Answered connections of another machine: 127.0.0.2 is a loopback address too.
async fn connect_from_another(addr: SocketAddr, said: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut socket = socket.connect(addr).await.unwrap();
    socket.write_all(said.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_machine_that_keeps_all_connections_busy_does_not_keep_others_out() {
    let server = Server::start(Limits {
        connections: 4,
        ..LIMITS
    })
    .await;
    let mut greedy = Vec::new();
    for n in 1..=4 {
        greedy.push(connect_from_another(server.addr, &ask("/never")).await);
        server.until_connected(n).await;
    }
    let mut asker = server.connect(&ask("/")).await;
    let mut reply = vec![0; 12];
    asker.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 200");
    assert!(read_all(&mut greedy[0]).await.is_empty(), "it has left");
}

#[tokio::test]
async fn spare_connections_that_ask_nothing_do_not_keep_health_from_others() {
    let server = Server::start(Limits {
        connections: 1,
        spare: 4,
        ..LIMITS
    })
    .await;
    let _busy = server.connect(&ask("/never")).await;
    server.until_connected(1).await;
    let mut silent = Vec::new();
    for n in 1..=4 {
        silent.push(server.connect("").await);
        while server.queue.stalls.get() < n {
            tokio::task::yield_now().await;
        }
    }
    let mut asker = connect_from_another(
        server.addr,
        &ask("/").replace("Host", "Connection: close\r\nHost"),
    )
    .await;
    let reply = read_all(&mut asker).await;
    assert!(reply.ends_with(b"well"), "{}", String::from_utf8_lossy(&reply));
}

#[tokio::test]
async fn a_client_that_never_pauses_is_disconnected_after_its_last_answer() {
    let server = Server::start(Limits {
        life: Duration::from_millis(300),
        ..LIMITS
    })
    .await;
    let (mut reading, mut writing) = server.connect("").await.into_split();
    let asking = tokio::spawn(async move {
        // It ends when the server has closed the connection.
        while writing.write_all(ask("/").as_bytes()).await.is_ok() {}
    });
    let mut replies = Vec::new();
    let mut some = [0; 4096];
    let read = async {
        while let Ok(count @ 1..) = reading.read(&mut some).await {
            replies.truncate(64);
            replies.extend_from_slice(&some[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it ends");
    asking.await.unwrap();
    assert!(replies.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn the_client_is_whom_a_trusted_proxy_names_and_nobody_else_can_name_one() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (outer, inner) = (ip("192.0.2.1"), ip("::1"));
    let told = |from: IpAddr, lists: &[&str]| {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        client(from, &[outer, inner], &headers).to_string()
    };
    assert_eq!(told(inner, &[]), "::1");
    assert_eq!(told(inner, &["203.0.113.7"]), "203.0.113.7");
    assert_eq!(
        told(ip("203.0.113.9"), &["203.0.113.7"]),
        "203.0.113.9",
        "it is no proxy"
    );
    // The client has invented the first address.
    assert_eq!(told(inner, &["10.0.0.1, 203.0.113.7, 192.0.2.1"]), "203.0.113.7");
    assert_eq!(
        told(inner, &["10.0.0.1", "203.0.113.7", "192.0.2.1"]),
        "203.0.113.7"
    );
    assert_eq!(told(inner, &["203.0.113.7, unknown"]), "::1");
    assert_eq!(told(ip("::ffff:192.0.2.1"), &["203.0.113.7"]), "203.0.113.7");
}
