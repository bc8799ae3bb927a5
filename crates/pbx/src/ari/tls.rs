//! One TLS configuration for the PBX's HTTP server and for its event stream.

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::sync::Arc;

/// Trusts these authorities only. If there are none, it trusts those that this machine trusts.
pub(super) fn client_config(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
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
mod tests {
    use super::super::AriConfig;
    use super::super::client::{Client, ClientError, HttpError};
    use super::super::requests::{Method, Request};
    use paceline_core::ids::PbxName;
    use paceline_lab::HttpsServer;

    #[tokio::test]
    async fn a_private_authority_is_trusted_for_requests_and_events_if_and_only_if_it_is_configured() {
        let HttpsServer { port, authority } = HttpsServer::start().unwrap();
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
            Client::new(&config).unwrap()
        };
        let get = || Request {
            method: Method::Get,
            path: "asterisk/info".to_owned(),
            body: None,
        };
        let named = http(vec![authority]);
        assert_eq!(named.send(get()).await.unwrap().status, 401);
        assert!(matches!(named.open().await, Err(ClientError::Unauthorised)));
        let unnamed = http(Vec::new());
        assert!(matches!(unnamed.send(get()).await, Err(HttpError::Untrusted(_))));
        assert!(matches!(unnamed.open().await, Err(ClientError::Socket(_))));
    }
}
