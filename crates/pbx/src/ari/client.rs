//! The client of one Asterisk's ARI: its HTTP server and its event stream. Input: the configuration, and requests. Output:
//! replies and frames. It decides nothing and does not know legs. The driver and the doctor use it.

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

/// ARI's event stream, a WebSocket.
pub type EventStream = WebSocketStream<MaybeTlsStream<FairStream<TcpStream>>>;

/// Maximum time for the reply to a request. Over HTTP, it includes the time to connect. The PBX may have executed a request
/// without a reply, so the driver drops the link and reads the PBX's state.
pub(super) const REPLY_WAIT_MAX: Duration = Duration::from_secs(10);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
/// Maximum idle time of an HTTP connection. Asterisk closes idle connections after 15 s. A request sent at that moment would be
/// lost.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(5);
/// Maximum size of a message on the event stream. One event has 1 to 2 kB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Maximum size of the body of an HTTP reply. A list of 20,000 channels has 14 MB.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Maximum number of bytes that wait while the PBX does not read.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// The reason if the PBX cannot be reached, or refuses a request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL in the configuration is not an HTTP URL.
    #[error("the url of the PBX is not an http or https URL; write it like http://127.0.0.1:8088")]
    Url,
    /// TLS cannot be set up.
    #[error("cannot set up TLS; check `ca_file`, or this machine's own certificates")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be created.
    #[error("cannot create an HTTP client; check this machine's TLS set-up")]
    Client(#[source] reqwest::Error),
    /// The PBX sent no complete HTTP reply.
    #[error(
        "the HTTP server of the PBX does not answer; check that Asterisk runs and that http.conf has enabled=yes"
    )]
    Http(#[source] HttpError),
    /// The PBX answered with status 401 or 403.
    #[error("the PBX refuses the ARI user; check username, password and read_only in ari.conf")]
    Unauthorised,
    /// The PBX answered with another status that is not 2xx.
    #[error("the PBX refused `{asked}` with status {status}; check that res_ari and its modules are loaded")]
    Refused {
        /// The object of the request, as in the message: `its channels`.
        asked: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// The event stream cannot be opened.
    #[error(
        "cannot open the event stream of the PBX; check that res_http_websocket and res_ari_events are loaded"
    )]
    Socket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// The event stream was not open within 3 s.
    #[error("the PBX does not answer in time; check its load")]
    Slow,
    /// The reply is not the expected JSON.
    #[error("the reply of the PBX to `{asked}` cannot be read; report it with the version of Asterisk")]
    Reply {
        /// The object of the request, as in the message: `its channels`.
        asked: &'static str,
        /// The error of the JSON parser.
        #[source]
        err: serde_json::Error,
    },
}

/// The reason if a request over HTTP has no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection failed before the reply was complete.
    #[error("the connection failed; check that Asterisk runs and can be reached")]
    Broken(#[source] reqwest::Error),
    /// The server's certificate is not trusted.
    #[error("its certificate is not one that we trust; name its authority in `ca_file`")]
    Untrusted(#[source] reqwest::Error),
    /// TLS failed for another reason. Usually the server does not use TLS on this port.
    #[error("it speaks no TLS; write `http` in place of `https` in the PBX's url")]
    NotTls(#[source] reqwest::Error),
    /// The reply has more than 32 MiB. A PBX does not send so much.
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
            // `source` of an I/O error skips the error that it contains.
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

/// The client of one Asterisk's ARI. It is cheap to clone. All clones share their connections.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    /// The base URL. It ends in `/ari/`.
    base: String,
    authorization: HeaderValue,
    app: String,
    tls: Arc<rustls::ClientConfig>,
}

/// The reply to a request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The PBX's clock when it replied, as `Sat, 28 Nov 2026 10:00:00 GMT`. `None` if the PBX does not give it.
    pub date: Option<HeaderValue>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Sets up TLS and the credentials. It does not connect yet.
    pub fn new(config: &AriConfig) -> Result<Self, ClientError> {
        // It fails if a provider is already installed. That provider serves as well.
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

    /// Sends a request. A reply with any status is `Ok`.
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

    /// Sends a request, and returns the body of the reply. A status other than 2xx is an error. `asked` names the object of the
    /// request for the error's message.
    pub async fn ask(&self, asked: &'static str, request: Request) -> Result<Vec<u8>, ClientError> {
        let reply = self.send(request).await.map_err(ClientError::Http)?;
        match reply.status {
            200..300 => Ok(reply.body),
            401 | 403 => Err(ClientError::Unauthorised),
            status => Err(ClientError::Refused { asked, status }),
        }
    }

    /// Opens the event stream. Error after 3 s.
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
        // The default buffer of 128 KiB is cleared before every read. A smaller one saves CPU time.
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
        // The host of an IPv6 URL has its brackets already.
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
