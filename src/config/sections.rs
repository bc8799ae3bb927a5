//! The sections of the configuration file.

use super::reader::{Placed, Section, Wrong, boolean, number, text, texts, whole};
use super::{AmiConfig, Config, Overlay, PbxConfig, PbxKind, RetentionConfig, StoreConfig};
use crate::numbers::is_region;
use crate::pbx::esl::EslConfig;
use paceline_core::dial::{AGENT_DIGITS_MAX, AgentTemplate, DialRule, DialRules};
use paceline_core::gate::Rulebook;
use paceline_core::ids::PbxName;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use std::cell::RefCell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

mod outside_check;

/// The sources that the configuration reads besides its file: other files and environment variables.
pub(super) struct Outside<'o> {
    /// The start of relative paths.
    pub(super) folder: &'o Path,
    /// Looks up an environment variable.
    pub(super) env: &'o dyn Fn(&str) -> Option<String>,
    /// Password files that other users of this machine can read.
    pub(super) open_secrets: RefCell<Vec<PathBuf>>,
}

/// A hundred years.
const DAYS_MAX: u32 = 36_500;

const NO_PASSWORD: (&str, &str) = (
    "password",
    "put the password into a file that only Paceline can read, and write `password_file = \"FILE\"`; or write `password_env = \"NAME\"`",
);

pub(super) fn read(mut root: Section<'_>, outside: &Outside<'_>) -> Config {
    let mut config = Config::default();

    let mut server = root.table("server");
    let listen = server.get(
        "listen",
        text(|t| {
            t.parse()
                .map_err(|_| Wrong::expected("an IP address and a port, such as \"127.0.0.1:8080\""))
        }),
    );
    config.listen = listen.map_or(config.listen, |l| l.value);
    let proxies = server.get(
        "trusted_proxies",
        texts(|t| {
            let address = t.parse::<IpAddr>().map(|address| address.to_canonical());
            address.map_err(|_| Wrong::expected("the IP addresses of proxies, such as [\"127.0.0.1\"]"))
        }),
    );
    config.trusted_proxies = proxies.map_or_else(Vec::new, |proxies| proxies.value);
    server.finish(&[]);

    config.store = read_store(root.table("store"), outside);

    let mut numbers = root.table("numbers");
    let region = numbers.get(
        "default_region",
        text(|t| {
            let wrong = || Wrong::expected("two capital letters (ISO 3166-1), such as \"US\"");
            is_region(t).then(|| t.to_owned()).ok_or_else(wrong)
        }),
    );
    config.default_region = region.map(|r| r.value);
    numbers.finish(&[]);

    let mut compliance = root.table("compliance");
    let overlays = compliance.get("overlays", texts(|file| overlay(file, outside.folder)));
    config.overlays = overlays.map_or_else(Vec::new, |overlays| overlays.value);
    compliance.finish(&[]);

    config.retention = read_retention(root.table("retention"));

    let mut suppression = root.table("suppression");
    let numbers_max = suppression.get("numbers_max", between(1, 2_000_000_000));
    if let Some(max) = numbers_max {
        config.suppression_numbers_max = usize::try_from(max.value).unwrap_or(usize::MAX);
    }
    suppression.finish(&[]);

    let mut ledger = root.table("ledger");
    let checkpoints = ledger.get("checkpoints", text(|t| Ok(outside.folder.join(t))));
    config.ledger.checkpoints = checkpoints.map(|path| path.value);
    ledger.finish(&[]);

    config.outside_check = outside_check::read(&mut root, outside);

    let mut log = root.table("log");
    config.log_json = log.get("json", boolean).is_some_and(|j| j.value);
    log.finish(&[]);

    config.pbxes = read_pbxes(root.tables("pbx"), outside);
    root.finish(&[]);
    config.open_secrets = outside.open_secrets.take();
    config
}

/// Reads a rule file, and checks it alone. The start checks all of them together.
fn overlay(file: &str, folder: &Path) -> Result<Overlay, Wrong> {
    let text = std::fs::read_to_string(folder.join(file));
    let text = text.map_err(|error| Wrong::expected(format!("a rule file that can be read ({error})")))?;
    if let Ok(book) = Rulebook::shipped() {
        let checked = book.with_overlay(file, &text);
        checked.map_err(|error| Wrong::expected(format!("a rule file without mistakes ({error})")))?;
    }
    Ok(Overlay {
        file: file.to_owned(),
        text,
    })
}

fn read_retention(mut section: Section<'_>) -> RetentionConfig {
    let usual = RetentionConfig::default();
    let mut days = |key, usual: u32| section.get(key, days).map_or(usual, |days| days.value);
    let retention = RetentionConfig {
        audit_days: days("audit_days", usual.audit_days),
        decisions_days: days("decisions_days", usual.decisions_days),
        import_rejects_days: days("import_rejects_days", usual.import_rejects_days),
        opt_outs_days: days("opt_outs_days", usual.opt_outs_days),
        outside_answers_days: days("outside_answers_days", usual.outside_answers_days),
    };
    section.finish(&[]);
    retention
}

fn days(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let days = whole(value).ok().and_then(|days| u32::try_from(days).ok());
    days.filter(|days| (1..=DAYS_MAX).contains(days))
        .ok_or_else(|| Wrong::expected("a whole number of days, 1 to 36500"))
}

enum StoreUrl {
    Sqlite(String),
    Postgres(Url),
}

fn read_store(mut section: Section<'_>, outside: &Outside<'_>) -> StoreConfig {
    let url = section.get("url", text(|t| store_url(t, outside.folder)));
    let password = read_password(&mut section, outside);
    let keys = section.get("keys", text(|t| Ok(outside.folder.join(t))));
    let sqlite = |shown: String| StoreConfig {
        url: shown.clone().into(),
        shown,
        keys: None,
    };
    let store = match url.map(|u| u.value) {
        Some(StoreUrl::Postgres(url)) => {
            let shown = url.to_string();
            let mut full = url;
            if let Some((key, password)) = &password
                && full.set_password(Some(password.value.expose_secret())).is_err()
            {
                let wrong = Wrong::expected("no password, because `url` names no host");
                section.invalid(key, password.span.clone(), wrong);
            }
            StoreConfig {
                url: String::from(full).into(),
                shown,
                keys: None,
            }
        }
        url => {
            if let Some((key, password)) = &password {
                let wrong = Wrong::expected("SQLite has no password")
                    .hint("leave it out, or set `url` to a postgres:// URL");
                section.invalid(key, password.span.clone(), wrong);
            }
            match url {
                Some(StoreUrl::Sqlite(url)) => sqlite(url),
                _ => sqlite(sqlite_url("paceline.db", outside.folder)),
            }
        }
    };
    section.finish(&[NO_PASSWORD]);
    StoreConfig {
        keys: keys.map(|folder| folder.value),
        ..store
    }
}

fn store_url(written: &str, folder: &Path) -> Result<StoreUrl, Wrong> {
    if let Some(rest) = written.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.starts_with(":memory:") || path.starts_with('?') {
            return Err(Wrong::expected("a file, such as \"sqlite:paceline.db\"").hint(
                "the state must survive a crash of the process, so that Paceline can end the calls that it started",
            ));
        }
        return Ok(StoreUrl::Sqlite(sqlite_url(path, folder)));
    }
    let postgres = Url::parse(written)
        .ok()
        .filter(|u| matches!(u.scheme(), "postgres" | "postgresql"));
    match postgres {
        None => Err(Wrong::expected(
            "\"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"",
        )),
        // `sslpassword` is the password of the client's key. Any other parameter with such a name is secret too.
        Some(url)
            if url.password().is_some()
                || url
                    .query_pairs()
                    .any(|(key, _)| key.to_ascii_lowercase().contains("pass")) =>
        {
            Err(Wrong::expected("no password here").hint(NO_PASSWORD.1))
        }
        Some(url) => Ok(StoreUrl::Postgres(url)),
    }
}

/// `path` is already encoded for a URL, `folder` is not.
fn sqlite_url(path: &str, folder: &Path) -> String {
    if path.starts_with('/') || folder.as_os_str().is_empty() {
        return format!("sqlite:{path}");
    }
    format!("sqlite:{}/{path}", escape(folder))
}

/// Encodes a path for a SQLite URL.
pub(super) fn escape(path: &Path) -> String {
    let path = path.display().to_string();
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// True if the mode of the file allows its group or everybody to read it. False on systems without modes.
fn others_can_read(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o044 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn between(min: u32, max: u32) -> impl Fn(&DeValue<'_>) -> Result<u32, Wrong> {
    move |value| {
        let n = whole(value).ok().and_then(|n| u32::try_from(n).ok());
        n.filter(|n| (min..=max).contains(n))
            .ok_or_else(|| Wrong::expected(format!("a whole number, {min} to {max}")))
    }
}

/// The names of the settings that refer to a secret, and the word for the secret in messages.
struct SecretSettings {
    what: &'static str,
    file: &'static str,
    env: &'static str,
}

const PASSWORD: SecretSettings = SecretSettings {
    what: "password",
    file: "password_file",
    env: "password_env",
};

fn read_password(
    section: &mut Section<'_>,
    outside: &Outside<'_>,
) -> Option<(&'static str, Placed<SecretString>)> {
    read_secret(section, outside, &PASSWORD)
}

/// The secret from its file or environment variable, and the name of that setting. `None` if neither is set, or if a problem
/// was reported.
fn read_secret(
    section: &mut Section<'_>,
    outside: &Outside<'_>,
    names: &SecretSettings,
) -> Option<(&'static str, Placed<SecretString>)> {
    let by_file = section.get(
        names.file,
        text(|t| {
            let path = outside.folder.join(t);
            let content = std::fs::read_to_string(&path).map_err(|err| {
                Wrong::expected(format!("cannot be read: {err}")).hint(format!(
                    "put the {}, and nothing else, into `{}`",
                    names.what,
                    path.display()
                ))
            })?;
            if others_can_read(&path) {
                outside.open_secrets.borrow_mut().push(path);
            }
            let secret = content.trim_end_matches(['\r', '\n']);
            match secret {
                "" => Err(Wrong::expected("this file is empty")),
                _ if secret.contains('\n') => Err(Wrong::expected("this file has several lines")
                    .hint(format!("it must contain only the {}", names.what))),
                _ => Ok(SecretString::from(secret)),
            }
        }),
    );
    let by_env = section.get(
        names.env,
        text(|t| match (outside.env)(t) {
            Some(password) if !password.is_empty() => Ok(SecretString::from(password)),
            _ => Err(Wrong::expected("this environment variable is not set")
                .hint(format!("set it before starting Paceline: {t}=…"))),
        }),
    );
    match (by_file, by_env) {
        (Some(_), Some(env)) => {
            section.invalid(
                names.env,
                env.span,
                Wrong::expected(format!("`{}` is set already", names.file)),
            );
            None
        }
        (Some(file), None) => Some((names.file, file)),
        (None, Some(env)) => Some((names.env, env)),
        (None, None) => None,
    }
}

fn read_pbxes(sections: Vec<Section<'_>>, outside: &Outside<'_>) -> Vec<PbxConfig> {
    let mut pbxes: Vec<PbxConfig> = Vec::new();
    let many = sections.len() > 1;
    for mut section in sections {
        let name = section.need("name", "\"office\"", text(name));
        if let Some(name) = &name
            && pbxes.iter().any(|other| other.name.as_str() == name.value)
        {
            section.invalid(
                "name",
                name.span.clone(),
                Wrong::expected("another PBX has this name"),
            );
        }
        let kind = section.need("kind", "\"ari\"", text(kind)).map(|k| k.value);
        let understood = match kind {
            Some(Kind::Ari) => DialRules::asterisk(),
            Some(Kind::Esl) => DialRules::freeswitch(),
            Some(Kind::Sim) | None => DialRules::any(),
        };
        let agent_dial = section.get("agent_dial", text(|t| agent_dial(t, &understood)));
        let dial_allowed = section.get("dial_allowed", texts(|t| dial_rule(t, &understood)));
        let dial_allowed = dial_allowed.map_or(understood, |rules| DialRules::new(rules.value));
        let digits_max = section.get("agent_digits_max", between(1, 64));
        let digits_max = digits_max.and_then(|digits| u8::try_from(digits.value).ok());
        let digits_max = digits_max.unwrap_or(AGENT_DIGITS_MAX);
        let dial_allowed = dial_allowed.with_agent_digits_max(digits_max);
        let agent_dial_usual = match kind {
            Some(Kind::Esl) => "user/{extension}",
            Some(Kind::Ari | Kind::Sim) | None => "PJSIP/{extension}",
        };
        let agent_dial = agent_dial
            .map(|a| a.value)
            .or_else(|| AgentTemplate::new(agent_dial_usual).ok());
        let kind = match kind {
            Some(Kind::Ari) => read_ari(&mut section, outside),
            Some(Kind::Esl) => read_esl(&mut section, outside),
            Some(Kind::Sim) => read_sim(&mut section, many),
            None => {
                // The kind is unknown, so it is not known which settings are unknown.
                continue;
            }
        };
        section.finish(&[NO_PASSWORD]);
        if let (Some(name), Some(agent_dial), Some(kind)) = (name, agent_dial, kind) {
            pbxes.push(PbxConfig {
                name: PbxName::new(&name.value),
                agent_dial,
                dial_allowed,
                kind,
            });
        }
    }
    pbxes
}

fn agent_dial(written: &str, understood: &DialRules) -> Result<AgentTemplate, Wrong> {
    let template = AgentTemplate::new(written).map_err(|err| Wrong::expected(err.to_string()))?;
    let kinds = |_| Wrong::expected(format!("what this kind of PBX dials: {understood}"));
    understood.understand(&template).map_err(kinds)?;
    Ok(template)
}

fn dial_rule(written: &str, understood: &DialRules) -> Result<DialRule, Wrong> {
    let rule = DialRule::new(written).map_err(|err| Wrong::expected(err.to_string()))?;
    if understood.knows(rule.kind()) {
        Ok(rule)
    } else {
        Err(Wrong::expected(format!(
            "what this kind of PBX dials: {understood}"
        )))
    }
}

fn name(written: &str) -> Result<String, Wrong> {
    let fine = (1..=64).contains(&written.len())
        && written
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fine.then(|| written.to_owned())
        .ok_or_else(|| Wrong::expected("1 to 64 letters, digits, `-`, `_` or `.`"))
}

enum Kind {
    Ari,
    Esl,
    Sim,
}

fn kind(written: &str) -> Result<Kind, Wrong> {
    match written {
        "ari" => Ok(Kind::Ari),
        "esl" => Ok(Kind::Esl),
        "sim" => Ok(Kind::Sim),
        _ => Err(Wrong::expected(
            "\"ari\" (Asterisk), \"esl\" (FreeSWITCH) or \"sim\" (a simulated PBX, to try Paceline)",
        )),
    }
}

fn read_ari(section: &mut Section<'_>, outside: &Outside<'_>) -> Option<PbxKind> {
    let url = section.need("url", "\"http://127.0.0.1:8088\"", text(ari_url));
    let username = section.need("username", "\"paceline\"", text(username));
    let password = need_password(section, outside, "\"ari.password\"");
    let app = section.get("app", text(name));
    let authorities = section.get("ca_file", text(|t| read_authorities(&outside.folder.join(t))));
    let ami = read_ami(section, outside);
    Some(PbxKind::Ari {
        url: url?.value,
        username: username?.value,
        password: password?,
        app: app.map_or_else(|| "paceline".to_owned(), |a| a.value),
        authorities: authorities.map_or_else(Vec::new, |a| a.value),
        ami,
    })
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let pem = std::fs::read(path).map_err(|err| {
        Wrong::expected(format!("a file that can be read ({err})"))
            .hint("name a file with the authority's certificate (PEM)")
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| Wrong::expected("a file with one or more certificates (PEM)"))
}

fn username(written: &str) -> Result<String, Wrong> {
    let fine = !written.is_empty() && written.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    fine.then(|| written.to_owned())
        .ok_or_else(|| Wrong::expected("a user of the PBX: visible ASCII, no spaces, no `:`"))
}

fn read_ami(section: &mut Section<'_>, outside: &Outside<'_>) -> Option<AmiConfig> {
    if !section.has("ami") {
        return None;
    }
    let mut section = section.table("ami");
    let address = section.need("address", "\"127.0.0.1:5038\"", text(address("127.0.0.1:5038")));
    let username = section.need("username", "\"paceline\"", text(username));
    let password = need_password(&mut section, outside, "\"ami.password\"");
    section.finish(&[NO_PASSWORD]);
    Some(AmiConfig {
        address: address?.value,
        username: username?.value,
        password: password?,
    })
}

fn need_password(section: &mut Section<'_>, outside: &Outside<'_>, example: &str) -> Option<SecretString> {
    if !section.has("password_file") && !section.has("password_env") {
        section.missing("password_file", example);
    }
    read_password(section, outside).map(|(_, password)| password.value)
}

fn read_esl(section: &mut Section<'_>, outside: &Outside<'_>) -> Option<PbxKind> {
    let address = section.need("address", "\"127.0.0.1:8021\"", text(address("127.0.0.1:8021")));
    let password = need_password(section, outside, "\"esl.password\"");
    let app = section.get("app", text(esl_app));
    Some(PbxKind::Esl {
        address: address?.value,
        password: password?,
        app: app.map_or_else(|| EslConfig::APP.to_owned(), |a| a.value),
    })
}

fn esl_app(written: &str) -> Result<String, Wrong> {
    // FreeSWITCH reads a filter for `-x` as everything except `x`, and a name cannot be quoted.
    if written.starts_with('-') {
        return Err(Wrong::expected("a name that does not begin with `-`"));
    }
    name(written)
}

/// Reads a host and a port.
fn address(example: &str) -> impl Fn(&str) -> Result<String, Wrong> {
    move |written| {
        let fine = written.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok_and(|port| port != 0)
                && Url::parse(&format!("tcp://{written}"))
                    .is_ok_and(|url| url.host_str() == Some(host) && url.path().is_empty())
        });
        fine.then(|| written.to_owned())
            .ok_or_else(|| Wrong::expected(format!("a host and a port, such as \"{example}\"")))
    }
}

fn ari_url(written: &str) -> Result<String, Wrong> {
    let url = Url::parse(written)
        .ok()
        .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let Some(url) = url else {
        return Err(Wrong::expected("a URL such as \"http://127.0.0.1:8088\""));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::expected("no user or password here").hint("set `username` and `password_file`"));
    }
    let path = url.path().trim_end_matches('/');
    if url.query().is_some() || url.fragment().is_some() || path.ends_with("/ari") {
        return Err(Wrong::expected(
            "only the start of the URL, without /ari and all that follows",
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn read_sim(section: &mut Section<'_>, many: bool) -> Option<PbxKind> {
    let seed = section.get("seed", whole);
    let speed = section.get("speed", number(0.1, 100.0));
    if let Some(speed) = &speed
        && many
        && speed.value != 1.0
    {
        let wrong = Wrong::expected("1, because there is another PBX and all have the same clock");
        section.invalid("speed", speed.span.clone(), wrong);
    }
    Some(PbxKind::Sim {
        seed: seed.map_or(1, |s| s.value),
        speed: speed.map_or(1.0, |s| s.value),
    })
}
