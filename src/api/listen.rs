//! Connections to the API. In: a listener and the routes. Runs until it is dropped, and its connections with it. Whoever
//! connects and does not ask anything is shown out, and no more are let in than there is room for.

use super::audit::Peer;
use crate::metrics::QueueMetrics;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Connections at once; others wait until one ends.
const CONNECTIONS_MAX: usize = 1_000;
/// The head of a request must be there so long after the connection, or the request before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when no connection can be accepted, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves `routes`.
pub async fn serve(listener: TcpListener, routes: Router, queue: QueueMetrics) {
    serve_within(listener, routes, queue, HEAD_TIMEOUT).await;
}

async fn serve_within(listener: TcpListener, routes: Router, queue: QueueMetrics, head_timeout: Duration) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        if room.available_permits() == 0 {
            queue.stalls.inc();
        }
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (socket, peer) = match listener.accept().await {
            Ok((socket, peer)) => (socket, Peer(peer.ip())),
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection to the API; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let routes = TowerToHyperService::new(routes.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            routes.call(request)
        });
        let place = Place::taken(permit, &queue);
        connections.spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(head_timeout)
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            // What went wrong with it is its client's business.
            connection.await.ok();
        });
    }
}

/// One connection's, until it is dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    depth: Gauge,
}

impl Place {
    fn taken(permit: OwnedSemaphorePermit, queue: &QueueMetrics) -> Self {
        queue.depth.inc();
        Self {
            _permit: permit,
            depth: queue.depth.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.depth.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_asks_is_answered_and_who_never_gets_to_it_is_shown_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let routes = Router::new().route("/", get(async || "here"));
        let queue = Metrics::new().queue("api_connections");
        let serving = tokio::spawn(serve_within(
            listener,
            routes,
            queue.clone(),
            Duration::from_millis(200),
        ));
        for said in ["", "GET / HTTP/1.1\r\nHost: p"] {
            let mut idler = TcpStream::connect(addr).await.unwrap();
            idler.write_all(said.as_bytes()).await.unwrap();
            let mut reply = Vec::new();
            let shown_out =
                tokio::time::timeout(Duration::from_secs(20), idler.read_to_end(&mut reply)).await;
            assert!(shown_out.is_ok(), "after {said:?} it waits for ever");
            assert!(!reply.starts_with(b"HTTP/1.1 200"));
        }
        let mut asker = TcpStream::connect(addr).await.unwrap();
        asker
            .write_all(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
            .await
            .unwrap();
        let mut reply = Vec::new();
        asker.read_to_end(&mut reply).await.unwrap();
        assert!(
            reply.ends_with(b"here"),
            "and shown out when it asks nothing more"
        );
        let all_gone = async {
            while queue.depth.get() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_gone)
            .await
            .expect("no place is kept");
        serving.abort();
    }
}
