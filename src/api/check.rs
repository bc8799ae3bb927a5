//! Checks that several routes share. Each error names the field and the values that are accepted.

use super::ApiState;
use super::problem::{ApiResult, Fault, Problem};
use crate::numbers::allowed::Allowed;
use crate::numbers::{self, Country, Notation, NumberError, Numbered, Plan};
use paceline_core::ids::PbxName;
use paceline_core::number::E164;

/// Maximum number of numbers in one request. More need an import of a file.
pub(super) const NUMBERS_MAX: usize = 10_000;

/// Collects the faults of a body, so that one answer lists all of them.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault at a JSON pointer.
    pub(super) fn add(&mut self, path: impl AsRef<str>, detail: impl Into<String>) {
        self.0.push(Fault::body(path, detail));
    }

    /// Notes the fault, or returns the value.
    pub(super) fn take<T, E: std::fmt::Display>(
        &mut self,
        path: impl AsRef<str>,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(path, error.to_string())).ok()
    }

    /// A name, or another short text: see [`is_name`].
    pub(super) fn name(&mut self, path: impl AsRef<str>, name: &str) {
        if !is_name(name) {
            self.add(path, "1 to 200 characters, no line breaks, and not only spaces");
        }
    }

    /// Number of faults so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Passes if nothing was noted.
    pub(super) fn none(self) -> ApiResult<()> {
        self.none_or("Nothing was changed. Correct what `errors` names and send again.")
    }

    /// Passes if nothing was noted. Otherwise returns the problem with this detail.
    pub(super) fn none_or(self, detail: impl Into<String>) -> ApiResult<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(detail, self.0))
        }
    }
}

/// True if the text can be a name or another short text: 1 to 200 characters, none of which ends a line, controls a terminal
/// or changes the direction of writing.
pub(super) fn is_name(name: &str) -> bool {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(steers)
}

/// The number in E.164, read in the default region.
pub(super) fn number(state: &ApiState, text: &str) -> Result<E164, NumberError> {
    numbers::normalise(text, state.default_region.as_deref())
}

/// The numbers, in their order, read in the default region.
pub(super) async fn numbers(
    state: &ApiState,
    texts: Vec<String>,
) -> ApiResult<Vec<Result<Numbered, NumberError>>> {
    let region = state.default_region.clone();
    aside(move || {
        let plan = Plan::new(region.as_deref(), Notation::Unstated);
        let read = |text: &String| plan.and_then(|plan| numbers::read(text, &plan));
        texts.iter().map(read).collect()
    })
    .await
}

/// The numbers that a request accepts: those that an import with the same options accepts.
pub(super) fn allowed(
    state: &ApiState,
    countries: Option<&[String]>,
    premium_rate: bool,
    path: &str,
    faults: &mut Faults,
) -> Allowed {
    if let Some(unknown) = Allowed::unknown(countries.unwrap_or_default()) {
        let detail = format!(
            "there is no number plan for `{unknown}`: write two capital letters (ISO 3166-1), or `any`"
        );
        faults.add(format!("{path}/countries"), detail);
    }
    // The region was checked when the configuration was read.
    let plan = Plan::new(state.default_region.as_deref(), Notation::Unstated).unwrap_or_default();
    Allowed::new(countries, premium_rate, &plan)
}

/// The number, if it can be read and is accepted. `stated`: the country of the contact.
pub(super) fn wanted(
    read: Result<Numbered, NumberError>,
    allowed: &Allowed,
    stated: Option<Country>,
) -> Result<Numbered, String> {
    let read = read.map_err(|error| error.to_string())?;
    match allowed.refuses(&read, stated) {
        Some(reason) => Err(reason),
        None => Ok(read),
    }
}

/// Runs work that takes milliseconds on a separate thread, so that no answered call waits for it.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::internal(anyhow::anyhow!("a check panicked")))
}

/// The configured PBX of this name. The error lists the names of all PBXes.
pub(super) fn pbx(state: &ApiState, name: &str) -> Result<PbxName, String> {
    let known = state.dialer.pbxes();
    match known.iter().find(|pbx| pbx.name.as_str() == name) {
        Some(pbx) => Ok(pbx.name.clone()),
        None if known.is_empty() => {
            Err("no PBX is configured: add one to paceline.toml and restart".to_owned())
        }
        None => {
            let names: Vec<&str> = known.iter().map(|pbx| pbx.name.as_str()).collect();
            Err(format!(
                "no PBX of this name is configured; there are: {}",
                names.join(", ")
            ))
        }
    }
}

/// A disposition: a team's own word for how a conversation went.
pub(super) fn disposition(text: &str) -> Result<(), &'static str> {
    let fine = (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fine {
        Ok(())
    } else {
        Err(
            "a disposition is 1 to 40 lower-case letters, digits or `_`, such as success, callback, refused, dnc",
        )
    }
}
