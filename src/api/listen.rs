//! Connections to the API. In: a listener and the routes. It runs until it is dropped; then its connections end too.
//!
//! No client can block the others. Paceline closes a connection without a request, one that reads too slowly, and after a
//! minute one that never pauses. If all places are taken, an idle connection makes room, or one of a peer that has more than
//! its share ([`places`]). If there is none, a few spare connections can read only the health, for a short time. They have
//! places of their own, with the same rules.

mod places;
mod wire;

use super::audit::Peer;
use crate::metrics::QueueMetrics;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use places::{Place, Places};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wire::{Patient, SLACK_MAX};

/// Half of the open files that most machines allow a process. PBXes and the store need the rest.
const CONNECTIONS_MAX: usize = 512;
/// Maximum number of connections of one address. A proxy is one address.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// Maximum number of further connections, for health only.
const SPARE_MAX: usize = 32;
/// Maximum number of these of one address.
const SPARE_PER_PEER_MAX: usize = 8;
/// Maximum duration of a spare connection.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);
/// The head of a request must arrive within this time after the connection began or after the request before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// After this time a connection gets the answer to the request that it has sent, and is closed. A client that sends each request
/// before it has read the last answer would never be idle.
const LIFE_MAX: Duration = Duration::from_secs(60);
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
    /// The proxies whose `X-Forwarded-For` is believed.
    pub proxies: Arc<[IpAddr]>,
}

/// The limits of time and number.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    per_peer: usize,
    spare: usize,
    head: Duration,
    slack: Duration,
    life: Duration,
}

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    per_peer: CONNECTIONS_PER_PEER_MAX,
    spare: SPARE_MAX,
    head: HEAD_TIMEOUT,
    slack: SLACK_MAX,
    life: LIFE_MAX,
};

/// Serves `routes`.
pub async fn serve(listener: TcpListener, routes: Routes, queue: QueueMetrics) {
    serve_within(listener, routes, queue, LIMITS).await;
}

async fn serve_within(listener: TcpListener, routes: Routes, queue: QueueMetrics, limits: Limits) {
    let places = Places::new(limits.connections, limits.per_peer);
    let spare = Places::new(limits.spare, SPARE_PER_PEER_MAX);
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
            let (all, proxies) = (routes.all.clone(), Arc::clone(&routes.proxies));
            connections.spawn(async move {
                let _depth = depth;
                converse(socket, from.ip(), proxies, all, Arc::new(place), limits).await;
            });
        } else if let Some(place) = spare.take(from.ip()) {
            queue.stalls.inc();
            let (health, proxies) = (routes.health.clone(), Arc::clone(&routes.proxies));
            connections.spawn(async move {
                let talk = converse(socket, from.ip(), proxies, health, Arc::new(place), limits);
                // Only the client needs to know whether the answer was complete.
                tokio::time::timeout(SPARE_TIMEOUT, talk).await.ok();
            });
        } else {
            queue.dropped.inc();
        }
    }
}

/// Answers one connection until it ends or must make room.
async fn converse(
    socket: TcpStream,
    from: IpAddr,
    proxies: Arc<[IpAddr]>,
    routes: Router,
    place: Arc<Place>,
    limits: Limits,
) {
    let inner = TowerToHyperService::new(routes);
    let asked = Arc::clone(&place);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.asks();
        let peer = Peer(client(from, &proxies, request.headers()));
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

/// The address of the client: that of the connection, or what the proxies at its other end say. Each proxy adds the address from
/// which it got the request at the end of the list; what stands before the last proxy of ours may be invented.
fn client(from: IpAddr, proxies: &[IpAddr], headers: &HeaderMap) -> IpAddr {
    let is_ours = |address: &IpAddr| proxies.contains(&address.to_canonical());
    let lists = headers.get_all("x-forwarded-for").into_iter().rev();
    let texts = lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
    let mut client = from;
    for text in texts {
        if !is_ours(&client) {
            break;
        }
        let Ok(next) = text.trim().parse() else { break };
        client = next;
    }
    client
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
    let mut connection = std::pin::pin!(connection);
    if tokio::time::timeout(limits.life, connection.as_mut())
        .await
        .is_err()
    {
        connection.as_mut().graceful_shutdown();
        connection.await.ok();
    }
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
