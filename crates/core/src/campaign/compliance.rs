//! What a campaign's calls are about, and which regulators' rules bind them.

use super::settings::{SettingError, SettingFault};
use crate::gate::{Purpose, Rulebook};
use serde::{Deserialize, Serialize};

/// What a campaign's calls are about, and which regulators' rules bind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ComplianceSettings {
    /// What the calls are about. Rules differ by purpose, and a consent counts only for the purpose that it names.
    pub purpose: Purpose,
    /// The subject of the calls. Some rules count attempts by subject: campaigns with the same subject share them. 1 to 200
    /// characters. Absent: all campaigns without a subject share them.
    #[cfg_attr(feature = "openapi", schema(example = "loans"))]
    pub subject: Option<String>,
    /// The attribute of a contact that names the debt, for rules that count attempts by debt; 1 to 200 characters. Absent: all
    /// attempts to a contact are about the same debt.
    #[cfg_attr(feature = "openapi", schema(example = "account"))]
    pub debt_attribute: Option<String>,
    /// Names of profiles whose rules are asked about every call, besides those of the places in which the number and the
    /// address may be; numbers of countries that none of these profiles names are denied. Empty: the rules of the places,
    /// in every country that has some. `paceline gate --list` prints all profiles.
    #[cfg_attr(feature = "openapi", schema(example = json!(["us-ftc", "litigation"])))]
    pub profiles: Vec<String>,
}

impl Default for ComplianceSettings {
    fn default() -> Self {
        Self {
            purpose: Purpose::Marketing,
            subject: None,
            debt_attribute: None,
            profiles: Vec::new(),
        }
    }
}

/// Most characters of a subject, or of an attribute's name.
const CHARS_MAX: usize = 200;

impl ComplianceSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        let texts = [
            ("compliance/subject", &self.subject),
            ("compliance/debt_attribute", &self.debt_attribute),
        ];
        for (setting, text) in texts {
            let fits = |text: &String| !text.trim().is_empty() && text.chars().count() <= CHARS_MAX;
            if !text.as_ref().is_none_or(fits) {
                let fault = SettingFault::Text { chars_max: CHARS_MAX };
                return Err(SettingError { setting, fault });
            }
        }
        let known = |name: &String| Rulebook::shipped().is_ok_and(|book| book.profile(name).is_some());
        if self.profiles.len() > Rulebook::PROFILES_MAX || !self.profiles.iter().all(known) {
            return Err(SettingError {
                setting: "compliance/profiles",
                fault: SettingFault::Profiles,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_does_not_exist_and_a_blank_text_are_refused_by_name() {
        let check = |change: fn(&mut ComplianceSettings)| {
            let mut settings = ComplianceSettings::default();
            change(&mut settings);
            settings.check().map_err(|error| error.setting)
        };
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(
            check(|s| s.profiles = vec!["us-fl".into(), "litigation".into()]),
            Ok(())
        );
        assert_eq!(
            check(|s| s.profiles = vec!["us-xx".into()]),
            Err("compliance/profiles")
        );
        assert_eq!(
            check(|s| s.profiles = vec!["sg".into(); Rulebook::PROFILES_MAX + 1]),
            Err("compliance/profiles")
        );
        assert_eq!(check(|s| s.subject = Some(" ".into())), Err("compliance/subject"));
        assert_eq!(
            check(|s| s.debt_attribute = Some("x".repeat(CHARS_MAX + 1))),
            Err("compliance/debt_attribute")
        );
    }
}
