//! All profiles: one for each jurisdiction and regulator, and those that a team adds.
//!
//! Start at [`Rulebook::shipped`]. A team's overlay can add rules, which only makes the whole stricter. It can switch a rule
//! off only if it says why.

use super::State;
use super::calendar::Calendar;
use super::file::{FileError, Place};
use super::rule::Rule;
use super::shipped::{CALENDARS, PROFILES};
use crate::contact::CountryCode;
use crate::pacing::rules::AbandonRule;
use crate::words::words;
use serde::Deserialize;
use std::sync::{Arc, OnceLock};

/// The rules of one regulator in one place, or of a team.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The name, such as `us-fl`.
    pub name: String,
    /// The authority that enforces the rules.
    pub regulator: String,
    /// The area in which the rules apply, in words.
    pub place: String,
    /// The countries in which the rules apply. Empty for an overlay: everywhere.
    pub countries: Vec<CountryCode>,
    /// The states in which the rules apply. Empty: the whole country.
    pub states: Vec<State>,
    /// The condition under which the rules are asked.
    pub chosen: Chosen,
    /// A remark on the rules, in words.
    pub note: Option<String>,
    /// The rules.
    pub rules: Vec<Rule>,
}

words! {
    /// The condition under which the rules of a profile are asked.
    Chosen {
        /// If the number or the address may be in its place, unless profiles are named; and if it is named.
        ByPlace = "by_place",
        /// Only if it is named.
        ByName = "by_name",
        /// Always, if the number or the address may be in its place. A team's overlay.
        Always = "always",
    }
}

/// A rule that a team has switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The overlay that did it.
    pub overlay: String,
    /// The profile of the rule.
    pub profile: String,
    /// The rule.
    pub rule: String,
    /// The team's reason, in words.
    pub reason: String,
}

/// All profiles that can be chosen from. At most [`Rulebook::PROFILES_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Rulebook {
    profiles: Vec<Profile>,
    calendars: Vec<Arc<Calendar>>,
    overrides: Vec<Override>,
    /// Equal for equal texts of all files.
    fingerprint: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    name: String,
    regulator: String,
    place: String,
    #[serde(default)]
    countries: Vec<CountryCode>,
    #[serde(default)]
    states: Vec<State>,
    #[serde(default = "by_place")]
    chosen: Chosen,
    note: Option<String>,
    #[serde(default)]
    rule: Vec<toml::Value>,
}

fn by_place() -> Chosen {
    Chosen::ByPlace
}

/// A team's overlay: a profile of its own, calendars of its own, and rules that it switches off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OverlayFile {
    name: String,
    #[serde(default)]
    countries: Vec<CountryCode>,
    #[serde(default)]
    states: Vec<State>,
    note: Option<String>,
    #[serde(default)]
    rule: Vec<toml::Value>,
    #[serde(default)]
    calendar: Vec<toml::Value>,
    #[serde(default)]
    switch_off: Vec<SwitchOff>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchOff {
    profile: String,
    rule: String,
    #[serde(rename = "override")]
    reason: String,
}

impl Rulebook {
    /// Most profiles, with the overlays.
    pub const PROFILES_MAX: usize = 64;

    /// The rules that Paceline ships.
    ///
    /// # Errors
    /// None in a build whose tests pass. The error is that of a file in `rules/`.
    pub fn shipped() -> Result<&'static Arc<Rulebook>, &'static FileError> {
        static SHIPPED: OnceLock<Result<Arc<Rulebook>, FileError>> = OnceLock::new();
        SHIPPED
            .get_or_init(|| Self::read(&CALENDARS, &PROFILES).map(Arc::new))
            .as_ref()
    }

    /// The rule files that Paceline ships: name and text of each.
    pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
        CALENDARS.into_iter().chain(PROFILES)
    }

    fn read(calendars: &[(&str, &str)], profiles: &[(&str, &str)]) -> Result<Self, FileError> {
        let mut book = Self::default();
        for (file, text) in calendars {
            book.fingerprint = fnv1a(book.fingerprint, text);
            book.calendars.push(Arc::new(Calendar::read(file, text)?));
        }
        for (file, text) in profiles {
            book.fingerprint = fnv1a(book.fingerprint, text);
            let place = Place { file, rule: "" };
            let parsed: ProfileFile = place.parse(place.table(text)?)?;
            let rules = book.rules(file, parsed.rule)?;
            if !file.ends_with(&format!("/{}.toml", parsed.name)) {
                return Err(place.wrong("name", "the name of the file"));
            }
            book.profiles.push(Profile {
                name: parsed.name,
                regulator: parsed.regulator,
                place: parsed.place,
                countries: parsed.countries,
                states: parsed.states,
                chosen: parsed.chosen,
                note: parsed.note,
                rules,
            });
        }
        Ok(book)
    }

    fn rules(&self, file: &str, values: Vec<toml::Value>) -> Result<Vec<Rule>, FileError> {
        let mut rules: Vec<Rule> = Vec::new();
        for value in values {
            let rule = Rule::read(file, value, &self.calendars)?;
            if rules.iter().any(|other| other.id == rule.id) {
                let place = Place { file, rule: &rule.id };
                return Err(place.wrong("id", "an id that no other rule of the file has"));
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    /// These rules with a team's overlay, which is the text of a TOML file.
    ///
    /// # Errors
    /// [`FileError`], with the file, the rule and the field.
    pub fn with_overlay(&self, file: &str, text: &str) -> Result<Self, FileError> {
        let place = Place { file, rule: "" };
        let parsed: OverlayFile = place.parse(place.table(text)?)?;
        let mut book = self.clone();
        book.fingerprint = fnv1a(book.fingerprint, text);
        if book.profiles.len() >= Self::PROFILES_MAX {
            return Err(place.wrong("name", "fewer overlays: there are too many"));
        }
        if parsed.name.is_empty() || parsed.name == "paceline" || book.profile(&parsed.name).is_some() {
            return Err(place.wrong("name", "a name that no other profile has"));
        }
        for calendar in parsed.calendar {
            book.calendars.push(Arc::new(Calendar::of_value(file, calendar)?));
        }
        for off in parsed.switch_off {
            book.switch_off(file, &parsed.name, off)?;
        }
        let rules = book.rules(file, parsed.rule)?;
        book.profiles.push(Profile {
            regulator: parsed.name.clone(),
            name: parsed.name,
            place: "overlay".to_owned(),
            countries: parsed.countries,
            states: parsed.states,
            chosen: Chosen::Always,
            note: parsed.note,
            rules,
        });
        Ok(book)
    }

    fn switch_off(&mut self, file: &str, overlay: &str, off: SwitchOff) -> Result<(), FileError> {
        let place = Place {
            file,
            rule: &off.rule,
        };
        if off.reason.trim().is_empty() {
            return Err(place.wrong(
                "switch_off.override",
                "the reason in words: the rules become less strict",
            ));
        }
        let profile = self
            .profiles
            .iter_mut()
            .find(|profile| profile.name == off.profile);
        let profile = profile.ok_or_else(|| place.wrong("switch_off.profile", "the name of a profile"))?;
        let before = profile.rules.len();
        profile.rules.retain(|rule| rule.id != off.rule);
        if profile.rules.len() == before {
            return Err(place.wrong("switch_off.rule", "the id of a rule of this profile"));
        }
        self.overrides.push(Override {
            overlay: overlay.to_owned(),
            profile: off.profile,
            rule: off.rule,
            reason: off.reason,
        });
        Ok(())
    }

    /// All profiles, in the order of the files.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The rules that overlays have switched off.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// A number that is equal for equal rules.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The abandon rules of all profiles, each with the name of its profile.
    pub fn abandon_rules(&self) -> Vec<AbandonRule> {
        let rules = self.profiles.iter().flat_map(|profile| {
            let rules = profile.rules.iter().filter_map(Rule::abandon);
            rules.map(|abandon| abandon.rule(&profile.name))
        });
        rules.collect()
    }

    /// The profile with this name.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

/// Continues a 64-bit FNV-1a hash (draft-eastlake-fnv).
pub(super) fn fnv1a(hash: u64, text: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(hash ^ OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}
