//! The two ways to the PBX: its WebSocket and its HTTP server. In: configuration, requests. Out: frames, replies.
//! Decides nothing and knows no leg.

use super::AriConfig;
use super::rest::{Method, Request};
use super::tls::client_config;
use super::turns::InTurns;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

/// The event stream.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<InTurns<TcpStream>>>;

/// Longest wait for a connection, and for any reply. A request without a reply is not assumed to have failed: the link
/// is dropped and the PBX's state read.
pub(super) const REPLY_WAIT_MAX: Duration = Duration::from_secs(10);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
/// Asterisk drops idle connections after 15 s, and a request sent at that moment would be lost.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(5);
/// One event is 1 to 2 kB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// A list of 20,000 channels is 14 MB.
const BODY_BYTES_MAX: usize = 32 << 20;
/// What may wait in us while the PBX does not read.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// Why the PBX could not be reached or asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The URL in the configuration.
    #[error("the url of the PBX is not an http or https URL; write it like http://127.0.0.1:8088")]
    Url,
    /// Whom to trust.
    #[error("cannot set up TLS; check `ca_file`, or this machine's own certificates")]
    Tls(#[source] rustls::Error),
    /// The HTTP client.
    #[error("cannot create an HTTP client; check this machine's TLS set-up")]
    Client(#[source] reqwest::Error),
    /// No HTTP answer.
    #[error(
        "the HTTP server of the PBX does not answer; check that Asterisk runs and that http.conf has enabled=yes"
    )]
    Http(#[source] HttpError),
    /// 401 or 403.
    #[error("the PBX refuses the ARI user; check username, password and read_only in ari.conf")]
    Unauthorised,
    /// Any other refusal.
    #[error("the PBX refused `{asked}` with status {status}; check that res_ari and its modules are loaded")]
    Refused {
        /// The request or command.
        asked: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The WebSocket.
    #[error(
        "cannot open the event stream of the PBX; check that res_http_websocket and res_ari_events are loaded"
    )]
    Socket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// Opening took too long.
    #[error("the PBX does not answer in time; check its load")]
    Slow,
    /// A reply that is not JSON as expected.
    #[error("the reply of the PBX to `{asked}` cannot be read; report it with the version of Asterisk")]
    Reply {
        /// The request or command.
        asked: &'static str,
        /// The cause.
        #[source]
        err: serde_json::Error,
    },
}

/// Why a request over HTTP has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// No reply, or half of one.
    #[error("the connection failed; check that Asterisk runs and can be reached")]
    Broken(#[source] reqwest::Error),
    /// A reply that cannot be meant seriously.
    #[error("the reply is longer than {BODY_BYTES_MAX} bytes; check that `url` is the URL of the PBX")]
    TooLong,
}

/// The PBX's HTTP server.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    /// Ends in `/ari/`.
    base: String,
    authorization: HeaderValue,
    app: String,
    tls: Arc<rustls::ClientConfig>,
}

/// Status and body.
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Http {
    pub(super) fn new(config: &AriConfig) -> Result<Self, WireError> {
        // Elsewhere it may have been installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = client_config(&config.authorities).map_err(WireError::Tls)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .no_proxy()
            .connect_timeout(CONNECT_WAIT_MAX)
            .timeout(REPLY_WAIT_MAX)
            .pool_idle_timeout(HTTP_IDLE_MAX)
            .tcp_nodelay(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(WireError::Client)?;
        let base = config.url.trim_end_matches('/');
        let base = base.strip_suffix("/ari").unwrap_or(base);
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            return Err(WireError::Url);
        }
        let credentials = format!("{}:{}", config.username, config.password.expose_secret());
        let mut authorization = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)))
            .map_err(|_| WireError::Unauthorised)?;
        authorization.set_sensitive(true);
        Ok(Self {
            client,
            base: format!("{base}/ari/"),
            authorization,
            app: config.app.clone(),
            tls: Arc::new(tls),
        })
    }

    /// Sends a request; any status is a reply.
    pub(super) async fn send(&self, request: Request) -> Result<HttpReply, HttpError> {
        let broken = |err: reqwest::Error| HttpError::Broken(err.without_url());
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self
            .client
            .request(method, format!("{}{}", self.base, request.path))
            .header(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = request.body {
            builder = builder
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let mut reply = builder.send().await.map_err(broken)?;
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpReply {
            status: reply.status().as_u16(),
            body,
        })
    }

    /// Sends a request that must succeed.
    pub(super) async fn ask(&self, asked: &'static str, request: Request) -> Result<Vec<u8>, WireError> {
        let reply = self.send(request).await.map_err(WireError::Http)?;
        match reply.status {
            200..300 => Ok(reply.body),
            401 | 403 => Err(WireError::Unauthorised),
            status => Err(WireError::Refused { asked, status }),
        }
    }

    /// Opens the event stream.
    pub(super) async fn open(&self) -> Result<Socket, WireError> {
        let socket_error = |err| WireError::Socket(Box::new(err));
        // http becomes ws, https becomes wss.
        let mut url = format!(
            "ws{}events?app=",
            self.base.strip_prefix("http").unwrap_or_default()
        );
        super::rest::escape(&mut url, &self.app);
        let mut request = url.into_client_request().map_err(socket_error)?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("ari"));
        // The default buffer of 128 KiB is cleared for every read.
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .max_write_buffer_size(UNSENT_BYTES_MAX);
        let tls = Connector::Rustls(Arc::clone(&self.tls));
        let port = if request.uri().scheme_str() == Some("wss") {
            443
        } else {
            80
        };
        let port = request.uri().port_u16().unwrap_or(port);
        // An IPv6 address has its brackets.
        let address = format!("{}:{port}", request.uri().host().unwrap_or_default());
        let opening = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = InTurns::new(stream);
            tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), Some(tls)).await
        };
        match tokio::time::timeout(CONNECT_WAIT_MAX, opening).await {
            Err(_) => Err(WireError::Slow),
            Ok(Err(tokio_tungstenite::tungstenite::Error::Http(reply))) => {
                Err(match reply.status().as_u16() {
                    401 | 403 => WireError::Unauthorised,
                    status => WireError::Refused {
                        asked: "the event stream",
                        status,
                    },
                })
            }
            Ok(Err(err)) => Err(socket_error(err)),
            Ok(Ok((socket, _))) => Ok(socket),
        }
    }
}
