//! The client of one Asterisk's ARI: its HTTP server and its event stream. In: configuration, requests. Out: replies, frames.
//! Decides nothing and knows no leg. The driver and the doctor use it.

use super::AriConfig;
use super::fair_stream::FairStream;
use super::requests::{Method, Request};
use super::tls::client_config;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{
    AUTHORIZATION, DATE, HeaderValue, SEC_WEBSOCKET_PROTOCOL,
};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

/// The event stream.
pub type EventStream = WebSocketStream<MaybeTlsStream<FairStream<TcpStream>>>;

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
pub enum ClientError {
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
pub enum HttpError {
    /// No reply, or half of one.
    #[error("the connection failed; check that Asterisk runs and can be reached")]
    Broken(#[source] reqwest::Error),
    /// No certificate that we trust.
    #[error("its certificate is not one that we trust; name its authority in `ca_file`")]
    Untrusted(#[source] reqwest::Error),
    /// What listens does not speak TLS.
    #[error("it speaks no TLS; write `http` in place of `https` in the PBX's url")]
    NotTls(#[source] reqwest::Error),
    /// A reply that cannot be meant seriously.
    #[error("the reply is longer than {BODY_BYTES_MAX} bytes; check that `url` is the URL of the PBX")]
    TooLong,
}

impl From<reqwest::Error> for HttpError {
    fn from(err: reqwest::Error) -> Self {
        let err = err.without_url();
        let mut cause = err.source();
        while let Some(inner) = cause {
            match inner.downcast_ref() {
                Some(rustls::Error::InvalidCertificate(_)) => return Self::Untrusted(err),
                Some(_) => return Self::NotTls(err),
                None => {}
            }
            // The source of an I/O error is that of its content, not its content.
            let content = inner
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref);
            cause = content
                .map(|content| content as &(dyn std::error::Error + 'static))
                .or_else(|| inner.source());
        }
        Self::Broken(err)
    }
}

/// One Asterisk's ARI. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    /// Ends in `/ari/`.
    base: String,
    authorization: HeaderValue,
    app: String,
    tls: Arc<rustls::ClientConfig>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The clock of the PBX when it answered, where it tells: `Sat, 28 Nov 2026 10:00:00 GMT`.
    pub date: Option<HeaderValue>,
    /// What it says.
    pub body: Vec<u8>,
}

impl Client {
    /// Sets up TLS and the credentials; connects nowhere yet.
    pub fn new(config: &AriConfig) -> Result<Self, ClientError> {
        // Elsewhere it may have been installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = client_config(&config.authorities).map_err(ClientError::Tls)?;
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
            .map_err(ClientError::Client)?;
        let base = config.url.trim_end_matches('/');
        let base = base.strip_suffix("/ari").unwrap_or(base);
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            return Err(ClientError::Url);
        }
        let credentials = format!("{}:{}", config.username, config.password.expose_secret());
        let mut authorization = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)))
            .map_err(|_| ClientError::Unauthorised)?;
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
    pub async fn send(&self, request: Request) -> Result<Reply, HttpError> {
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
        let mut reply = builder.send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: reply.status().as_u16(),
            date: reply.headers_mut().remove(DATE),
            body,
        })
    }

    /// Sends a request that must succeed.
    pub async fn ask(&self, asked: &'static str, request: Request) -> Result<Vec<u8>, ClientError> {
        let reply = self.send(request).await.map_err(ClientError::Http)?;
        match reply.status {
            200..300 => Ok(reply.body),
            401 | 403 => Err(ClientError::Unauthorised),
            status => Err(ClientError::Refused { asked, status }),
        }
    }

    /// Opens the event stream.
    pub async fn open(&self) -> Result<EventStream, ClientError> {
        let socket_error = |err| ClientError::Socket(Box::new(err));
        // http becomes ws, https becomes wss.
        let mut url = format!(
            "ws{}events?app=",
            self.base.strip_prefix("http").unwrap_or_default()
        );
        super::requests::escape(&mut url, &self.app);
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
            let stream = FairStream::new(stream);
            tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), Some(tls)).await
        };
        match tokio::time::timeout(CONNECT_WAIT_MAX, opening).await {
            Err(_) => Err(ClientError::Slow),
            Ok(Err(tokio_tungstenite::tungstenite::Error::Http(reply))) => {
                Err(match reply.status().as_u16() {
                    401 | 403 => ClientError::Unauthorised,
                    status => ClientError::Refused {
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
