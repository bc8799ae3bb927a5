//! Warnings about a valid configuration that others could misuse.

use super::{Config, PbxKind};
use paceline_core::ids::PbxName;
use reqwest::Url;
use secrecy::ExposeSecret as _;
use std::net::SocketAddr;

/// Something that the configuration names is not on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOnLoopback {
    /// The API.
    #[error("the API listens on {0}: choose a loopback address with `listen` under [server]")]
    Api(SocketAddr),
    /// A PBX.
    #[error("PBX `{0}` is not on a loopback address")]
    Pbx(PbxName),
}

impl Config {
    /// Checks that every PBX has a loopback address (a simulated one has none), and that the API listens on one.
    pub fn is_on_loopback(&self) -> Result<(), NotOnLoopback> {
        if !self.listen.ip().is_loopback() {
            return Err(NotOnLoopback::Api(self.listen));
        }
        for pbx in &self.pbxes {
            let url = match &pbx.kind {
                PbxKind::Ari { url, .. } => Url::parse(url),
                PbxKind::Esl { address, .. } => Url::parse(&format!("tcp://{address}")),
                PbxKind::Sim { .. } => continue,
            };
            if !url.is_ok_and(|url| is_loopback(&url)) {
                return Err(NotOnLoopback::Pbx(pbx.name.clone()));
            }
        }
        Ok(())
    }

    /// Everything that is allowed but risky, as text.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.listen.ip().is_loopback() {
            warnings.push(format!(
                "the API listens on {} without encryption: keep this network private, or put a proxy with TLS in front of it",
                self.listen
            ));
        }
        if believes_anybody(self.store.url.expose_secret()) {
            warnings.push(
                "the certificate of the store's PostgreSQL is not checked, so an attacker on the network can read and change all data; \
                 put `?sslmode=verify-full` to its url"
                    .to_owned(),
            );
        }
        for file in &self.open_secrets {
            warnings.push(format!(
                "others on this machine can read the password in `{file}`: run `chmod 600 {file}`",
                file = file.display()
            ));
        }
        for pbx in &self.pbxes {
            let (far, how) = match &pbx.kind {
                PbxKind::Ari { url, .. } => (
                    Url::parse(url).ok().filter(|url| url.scheme() == "http"),
                    "unencrypted HTTP",
                ),
                PbxKind::Esl { address, .. } => (
                    Url::parse(&format!("tcp://{address}")).ok(),
                    "the unencrypted Event Socket",
                ),
                PbxKind::Sim { .. } => (None, ""),
            };
            if far.is_some_and(|url| !is_loopback(&url)) {
                warnings.push(format!(
                    "PBX `{}` is connected over {how}: its password and all numbers are sent unencrypted",
                    pbx.name
                ));
            }
        }
        if self.pbxes.is_empty() {
            warnings.push("no PBX is configured, so nothing can be dialed: add a [[pbx]] section".to_owned());
        }
        warnings
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// True if a server that pretends to be the database would be trusted. By default the driver asks for TLS, accepts any
/// certificate, and goes on without TLS if the server has none.
fn believes_anybody(store: &str) -> bool {
    let Some(url) = Url::parse(store)
        .ok()
        .filter(|url| url.scheme().starts_with("postgres"))
    else {
        return false;
    };
    let last = |names: &[&str]| {
        let values = url.query_pairs().filter(|(key, _)| names.contains(&&**key));
        values.last().map(|(_, value)| value.into_owned())
    };
    let by_socket = match last(&["host"]) {
        Some(host) => host.starts_with('/'),
        None => url
            .host_str()
            .is_none_or(|host| host.is_empty() || host.starts_with("%2F")),
    };
    let verifies = last(&["sslmode", "ssl-mode"]).is_some_and(|mode| mode.starts_with("verify-"));
    !(by_socket || is_loopback(&url) || verifies)
}

#[cfg(test)]
mod tests {
    use super::believes_anybody;

    #[test]
    fn a_remote_database_without_a_checked_certificate_gets_a_warning() {
        for (url, warned) in [
            ("sqlite:paceline.db", false),
            ("postgres://p@127.0.0.1/p", false),
            ("postgres://p@[::1]/p", false),
            ("postgres://p@localhost/p", false),
            ("postgres://p@%2Frun%2Fpostgresql/p", false),
            ("postgres:///p?host=/run/postgresql", false),
            ("postgres://p@db.example.com/p?sslmode=verify-full", false),
            ("postgresql://p@db.example.com/p?ssl-mode=verify-ca", false),
            ("postgres://p@db.example.com/p", true),
            ("postgresql://p@192.0.2.1/p?sslmode=require", true),
            ("postgres://p@db.example.com/p?sslmode=prefer", true),
        ] {
            assert_eq!(believes_anybody(url), warned, "{url}");
        }
    }
}
