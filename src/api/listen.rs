//! Connections to the API. In: a listener and the routes. It runs until it is dropped; then its connections end too.
//!
//! No client can block the others. Paceline closes a connection without a request, and one that reads too slowly. If
//! all places are taken, the connection that has been idle for the longest time makes room. If all connections are
//! being answered, a few spare connections can read only the health, for a short time.

mod places;
mod wire;

use super::audit::Peer;
use crate::metrics::QueueMetrics;
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use places::{Place, Places};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::{Patient, SLACK_MAX};

/// Half of the open files that most machines allow a process. PBXes and the store need the rest.
const CONNECTIONS_MAX: usize = 512;
/// Maximum number of connections of one address. A proxy is one address.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// Maximum number of further connections, for health only.
const SPARE_MAX: usize = 32;
/// Maximum duration of a spare connection.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);
/// The head of a request must arrive within this time after the connection began or after the request before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a connection's buffer for received data and for data to send.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Pause if no connection can be accepted, for example because the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The routes of the API.
#[derive(Clone, Debug)]
pub struct Routes {
    /// All routes.
    pub all: Router,
    /// The routes of a spare connection.
    pub health: Router,
}

/// The limits of time and number.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    per_peer: usize,
    head: Duration,
    slack: Duration,
}

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    per_peer: CONNECTIONS_PER_PEER_MAX,
    head: HEAD_TIMEOUT,
    slack: SLACK_MAX,
};

/// Serves `routes`.
pub async fn serve(listener: TcpListener, routes: Routes, queue: QueueMetrics) {
    serve_within(listener, routes, queue, LIMITS).await;
}

async fn serve_within(listener: TcpListener, routes: Routes, queue: QueueMetrics, limits: Limits) {
    let places = Places::new(limits.connections, limits.per_peer);
    let spare = Arc::new(Semaphore::new(SPARE_MAX));
    let mut connections = JoinSet::new();
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection to the API; trying again; check the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if let Some(place) = places.take(from.ip()) {
            let depth = Depth::of(&queue);
            let routes = routes.all.clone();
            connections.spawn(async move {
                let _depth = depth;
                converse(socket, Peer(from.ip()), routes, Arc::new(place), limits).await;
            });
        } else if let Ok(permit) = Arc::clone(&spare).try_acquire_owned() {
            queue.stalls.inc();
            let routes = routes.health.clone();
            connections.spawn(async move {
                let talk = connection(socket, TowerToHyperService::new(routes), limits);
                // Only the client needs to know whether the answer was complete.
                tokio::time::timeout(SPARE_TIMEOUT, talk).await.ok();
                drop(permit);
            });
        } else {
            queue.dropped.inc();
        }
    }
}

/// Answers one connection until it ends or must make room.
async fn converse(socket: TcpStream, peer: Peer, routes: Router, place: Arc<Place>, limits: Limits) {
    let inner = TowerToHyperService::new(routes);
    let asked = Arc::clone(&place);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.asks();
        request.extensions_mut().insert(peer);
        let (answer, place) = (inner.call(request), Arc::clone(&asked));
        async move {
            let response = answer.await?;
            Ok::<_, std::convert::Infallible>(response.map(|body| Sent { body, place }))
        }
    });
    tokio::select! {
        // An error of the connection concerns only its client.
        () = connection(socket, service, limits) => {}
        () = place.leave.notified() => {}
    }
}

async fn connection<S, B>(socket: TcpStream, service: S, limits: Limits)
where
    S: hyper::service::Service<Request<Incoming>, Response = hyper::Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(socket, limits.slack)), service);
    connection.await.ok();
}

/// A response body. It is dropped once all of it is handed to the socket; then the connection counts as idle.
struct Sent {
    body: Body,
    place: Arc<Place>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.place.is_answered();
    }
}

/// Counts a connection until it is dropped.
struct Depth(prometheus_client::metrics::gauge::Gauge);

impl Depth {
    fn of(queue: &QueueMetrics) -> Self {
        queue.depth.inc();
        Self(queue.depth.clone())
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
