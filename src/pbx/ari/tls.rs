//! Whom we believe to be the switch: one TLS configuration for its HTTP server and for its event stream.

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::sync::Arc;

/// Trusts these authorities only; without any, those that this machine trusts.
pub(crate) fn client_config(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if authorities.is_empty() {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::AriConfig;
    use super::super::rest::{Method, Request};
    use super::super::wire::{Http, HttpError, WireError};
    use paceline_core::ids::PbxName;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    /// Answers 401 to whoever believes it. Its port, and the authority that vouches for it.
    pub(crate) fn server() -> (u16, CertificateDer<'static>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, socket.unwrap());
                if stream.read(&mut [0; 4096]).is_ok() {
                    let refusal =
                        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    stream.write_all(refusal).ok();
                }
            }
        });
        (port, authority.der().clone())
    }

    #[tokio::test]
    async fn a_private_authority_is_believed_on_both_ways_where_it_is_named_and_only_there() {
        let (port, authority) = server();
        let http = |authorities| {
            let config = AriConfig {
                name: PbxName::new("pbx"),
                url: format!("https://127.0.0.1:{port}"),
                username: "paceline".to_owned(),
                password: "secret".to_owned().into(),
                app: AriConfig::APP.to_owned(),
                installation: uuid::Uuid::nil(),
                authorities,
            };
            Http::new(&config).unwrap()
        };
        let get = || Request {
            method: Method::Get,
            path: "asterisk/info".to_owned(),
            body: None,
        };
        let named = http(vec![authority]);
        assert_eq!(named.send(get()).await.unwrap().status, 401);
        assert!(matches!(named.open().await, Err(WireError::Unauthorised)));
        let unnamed = http(Vec::new());
        assert!(matches!(unnamed.send(get()).await, Err(HttpError::Broken(_))));
        assert!(matches!(unnamed.open().await, Err(WireError::Socket(_))));
    }
}
