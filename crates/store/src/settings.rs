//! The stored form of a campaign's settings: the settings with the version of this form.
//!
//! A version of Paceline that renames, moves or removes a setting increases [`VERSION`] and converts the older forms in
//! [`read`], so that no row is lost. A new setting leaves the version as it is: a row without it gets its default, and
//! an older version of Paceline names the setting that it does not know.

use super::error::{DbError, StoreError};
use super::query;
use paceline_core::campaign::settings::CampaignSettings;
use serde::{Deserialize, Serialize};

/// The form that this version writes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    settings: &'a CampaignSettings,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    settings: serde_json::Value,
}

/// The text to store.
///
/// # Errors
///
/// [`StoreError::Query`] if the settings cannot be written as JSON.
pub fn write(settings: &CampaignSettings) -> Result<String, StoreError> {
    let version = VERSION;
    serde_json::to_string(&Written { version, settings })
        .map_err(|_| query("write a campaign's settings")(DbError::decode("setting")))
}

/// The settings of a row. An error concerns one campaign and must not stop the others.
///
/// # Errors
///
/// A sentence for users. It gives only the place of the mistake, because the row may contain personal data.
pub(super) fn read(row: &str) -> Result<CampaignSettings, String> {
    let unreadable = |why: &str| format!("its settings in the store cannot be used ({why}): save them again");
    let stored: Read =
        serde_json::from_str(row).map_err(|error| unreadable(&format!("see column {}", error.column())))?;
    if stored.version != VERSION {
        let why = format!(
            "they have the form {}, and this version reads form {VERSION}",
            stored.version
        );
        return Err(unreadable(&why));
    }
    let settings: CampaignSettings = serde_path_to_error::deserialize(stored.settings)
        .map_err(|error| unreadable(&format!("see `{}`", names_in(&error.path().to_string()))))?;
    settings
        .check()
        .map_err(|error| unreadable(&format!("see `{}`", error.setting)))?;
    Ok(settings)
}

/// The part of a path that can consist only of names of settings, so that no stored value appears in a message.
fn names_in(path: &str) -> &str {
    let end = path.find(|c: char| !(c.is_ascii_lowercase() || matches!(c, '_' | '.')));
    path.get(..end.unwrap_or(path.len()))
        .unwrap_or_default()
        .trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_cells_are_read_back() {
        let mut settings = CampaignSettings::default();
        settings.dialing.ring_timeout_ms = 31_000;
        let row = write(&settings).unwrap();
        assert!(
            row.starts_with(r#"{"version":1,"settings":{"dialing":{"ring_timeout_ms":31000,"#),
            "{row}"
        );
        assert_eq!(read(&row), Ok(settings));
    }

    #[test]
    fn a_fault_of_a_settings_row_is_reported_without_the_rows_content() {
        let secret = "+12025550123";
        for (row, why) in [
            (secret.to_owned(), "see column"),
            (r#"{"version":2,"settings":{}}"#.to_owned(), "form 2"),
            (
                format!(r#"{{"version":1,"settings":{{"pacing":{{"mode":"{secret}"}}}}}}"#),
                "`pacing.mode`",
            ),
            (
                format!(r#"{{"version":1,"settings":{{"agents":{{"{secret}":1}}}}}}"#),
                "`agents",
            ),
            (
                r#"{"version":1,"settings":{"agents":{"wrap_up_ms":4000000}}}"#.to_owned(),
                "`agents/wrap_up_ms`",
            ),
        ] {
            let error = read(&row).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains(secret), "{error}");
        }
    }
}
