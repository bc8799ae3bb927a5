//! An HTTPS server whose certificate only its own authority vouches for.

use crate::{LabError, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

const REFUSAL: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Answers 401 to every request over TLS, as a PBX does that does not know the user. It runs until this process ends.
#[derive(Debug)]
pub struct HttpsServer {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The authority to trust.
    pub authority: CertificateDer<'static>,
}

impl HttpsServer {
    /// Starts one with a new authority.
    pub fn start() -> Result<Self> {
        let (authority, certificate, key) = certificates().map_err(LabError::Certificate)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate], key)
            })
            .map_err(LabError::Tls)?;
        let config = Arc::new(config);
        let bind = || LabError::socket("bind the HTTPS server's port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(bind())?;
        let port = listener.local_addr().map_err(bind())?.port();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A client that does not trust the authority breaks off.
                refuse(Arc::clone(&config), socket).ok();
            }
        });
        Ok(Self { port, authority })
    }
}

type Certificates = (
    CertificateDer<'static>,
    CertificateDer<'static>,
    PrivateKeyDer<'static>,
);

/// The authority's certificate, the server's, and the server's key.
fn certificates() -> std::result::Result<Certificates, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()])?;
    let certificate = params.signed_by(&key, &authority)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((authority.der().clone(), certificate, key))
}

fn refuse(config: Arc<rustls::ServerConfig>, socket: TcpStream) -> io::Result<()> {
    let session = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, socket);
    if stream.read(&mut [0; 4096])? > 0 {
        stream.write_all(REFUSAL)?;
    }
    Ok(())
}
