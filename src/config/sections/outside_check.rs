//! The section of the outside check.

use super::{Outside, SecretSettings, between, read_secret};
use crate::config::OutsideCheckConfig;
use crate::config::reader::{Section, Wrong, text};
use crate::config::warnings::is_loopback;
use reqwest::Url;
use std::time::Duration;

const NO_SECRET: (&str, &str) = (
    "secret",
    "put the secret into a file that only Paceline can read, and write `secret_file = \"FILE\"`; or write `secret_env = \"NAME\"`",
);

const SECRET: SecretSettings = SecretSettings {
    what: "secret",
    file: "secret_file",
    env: "secret_env",
};

/// A reason in the configuration, in characters.
const BECAUSE_MAX: usize = 200;

pub(super) fn read(root: &mut Section<'_>, outside: &Outside<'_>) -> Option<OutsideCheckConfig> {
    if !root.has("outside_check") {
        return None;
    }
    let mut section = root.table("outside_check");
    let url = section.need("url", "\"https://checks.example/numbers\"", text(service_url));
    let secret = read_secret(&mut section, outside, &SECRET);
    let batch_size = section.get("batch_size", between(1, 500));
    let per_minute = section.get("requests_per_minute", between(1, 6_000));
    let timeout_ms = section.get("timeout_ms", between(100, 60_000));
    let ahead = section.get("ask_ahead_minutes", between(1, 24 * 60));
    let open = section
        .get("on_outage", text(on_outage))
        .is_some_and(|open| open.value);
    let because = section.get("open_because", text(reason));
    match &because {
        None if open && !section.has("open_because") => {
            section.missing("open_because", "\"the service only advises us\"");
        }
        Some(because) if !open => {
            let wrong = Wrong::expected("no reason, because `on_outage` is not \"open\"");
            section.invalid("open_because", because.span.clone(), wrong);
        }
        Some(_) | None => {}
    }
    section.finish(&[NO_SECRET]);
    Some(OutsideCheckConfig {
        url: url?.value,
        secret: secret.map(|(_, secret)| secret.value),
        batch_size: batch_size.map_or(100, |n| n.value) as usize,
        requests_per_minute: per_minute.map_or(60, |n| n.value),
        timeout: Duration::from_millis(timeout_ms.map_or(5_000, |n| n.value.into())),
        ask_ahead: Duration::from_secs(60 * ahead.map_or(10, |n| u64::from(n.value))),
        open_because: because.map(|because| because.value),
    })
}

/// True: open.
fn on_outage(written: &str) -> Result<bool, Wrong> {
    match written {
        "closed" => Ok(false),
        "open" => Ok(true),
        _ => Err(Wrong::expected(
            "\"closed\" (numbers without a valid answer are not called) or \"open\" (they are called)",
        )),
    }
}

fn reason(written: &str) -> Result<String, Wrong> {
    let fits = !written.trim().is_empty() && written.chars().count() <= BECAUSE_MAX;
    let fits = fits && !written.chars().any(char::is_control);
    fits.then(|| written.to_owned()).ok_or_else(|| {
        Wrong::expected(format!(
            "why such numbers may be called, in 1 to {BECAUSE_MAX} characters"
        ))
    })
}

fn service_url(written: &str) -> Result<String, Wrong> {
    let url = Url::parse(written).ok().filter(Url::has_host);
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(Wrong::expected(
            "a URL such as \"https://checks.example/numbers\"",
        ));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::expected("no user or password here").hint(NO_SECRET.1));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::expected("nothing after `?` or `#`").hint(NO_SECRET.1));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Wrong::expected(
            "`https`, because telephone numbers must not cross a network unencrypted",
        ));
    }
    Ok(url.into())
}
