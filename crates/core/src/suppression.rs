//! Do-not-call entries and suppression lists: their names, kinds and scopes, and whether a campaign may call a listed number.
//! The look-up of a number is the store's.

use crate::campaign::suppression::SuppressionSettings;
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

words! {
    /// The way by which a number came on the do-not-call list.
    DncSource {
        /// A request to the API.
        Api = "api",
        /// The disposition of a conversation.
        Agent = "agent",
        /// A key that the callee pressed.
        Keypress = "keypress",
        /// Taken over from another system.
        Import = "import",
        /// Taken from a registry, number by number.
        Registry = "registry",
    }
}

words! {
    /// The use of a suppression list.
    ListKind {
        /// A national or state do-not-call registry. No campaign calls its numbers.
        Registry = "registry",
        /// The team's own list. No campaign calls its numbers.
        Internal = "internal",
        /// An allowlist. A campaign that names it calls its numbers only.
        Allow = "allow",
    }
}

words! {
    /// The reason why a campaign's lists refuse a number. The gate's decision names it.
    ListRefusal {
        /// The number is on the do-not-call list.
        Dnc = "dnc",
        /// The number is on a suppression list: a registry, or one of the team's own.
        Suppressed = "suppressed",
        /// The number is not on the campaign's allowlist.
        NotAllowlisted = "not_allowlisted",
    }
}

/// The name of a suppression list, or of the scope of do-not-call entries: a lower-case letter, then up to 39 lower-case letters,
/// digits, `-` or `_`, but not `all`. So it is never a telephone number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListName(String);

/// The text is not a [`ListName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list's name is a lower-case letter and up to 39 more letters, digits, `-` or `_`, and not `all`")]
pub struct NotAListName;

impl ListName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NotAListName`].
    pub fn new(text: &str) -> Result<Self, NotAListName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if begins && text.len() <= 40 && text.bytes().all(plain) && text != ALL {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAListName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ListName {
    type Error = NotAListName;
    fn try_from(text: String) -> Result<Self, NotAListName> {
        Self::new(&text)
    }
}

impl From<ListName> for String {
    fn from(name: ListName) -> String {
        name.0
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const ALL: &str = "all";

/// The campaigns for which a do-not-call entry holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DncScope {
    /// Every campaign.
    #[default]
    All,
    /// The campaigns whose settings name this list.
    List(ListName),
}

impl DncScope {
    /// `all`, or the list's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => ALL,
            Self::List(name) => name.as_str(),
        }
    }
}

impl FromStr for DncScope {
    type Err = NotAListName;
    fn from_str(text: &str) -> Result<Self, NotAListName> {
        if text == ALL {
            Ok(Self::All)
        } else {
            ListName::new(text).map(Self::List)
        }
    }
}

/// The entries and lists that hold a number at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The scopes of its do-not-call entries.
    pub scopes: Vec<DncScope>,
    /// The suppression lists that hold it.
    pub lists: Vec<(ListName, ListKind)>,
}

impl SuppressionSettings {
    /// The reason why the campaign must not call the number; `None` if its lists allow it.
    pub fn refuses(&self, listed: &Listed) -> Option<ListRefusal> {
        let holds = |scope: &DncScope| match scope {
            DncScope::All => true,
            DncScope::List(name) => self.lists.contains(name),
        };
        if listed.scopes.iter().any(holds) {
            return Some(ListRefusal::Dnc);
        }
        let suppresses = |kind: ListKind| match kind {
            ListKind::Registry | ListKind::Internal => true,
            ListKind::Allow => false,
        };
        if listed.lists.iter().any(|(_, kind)| suppresses(*kind)) {
            return Some(ListRefusal::Suppressed);
        }
        let allows = |allowlist: &ListName| listed.lists.contains(&(allowlist.clone(), ListKind::Allow));
        match &self.allowlist {
            Some(allowlist) if !allows(allowlist) => Some(ListRefusal::NotAllowlisted),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ListName {
        ListName::new(text).unwrap()
    }

    #[test]
    fn names_are_short_lower_case_words_and_all_is_no_list() {
        for good in ["us-dnc", "tps_2026", "a"] {
            assert!(ListName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "all",
            "US",
            "a b",
            "+12025550123",
            "12025550123",
            &"x".repeat(41),
        ] {
            assert_eq!(ListName::new(bad), Err(NotAListName), "{bad}");
        }
        assert_eq!("all".parse(), Ok(DncScope::All));
    }

    #[test]
    fn an_entry_holds_for_every_campaign_or_for_those_that_name_its_scope() {
        let mut settings = SuppressionSettings::default();
        let mut listed = Listed::default();
        assert_eq!(settings.refuses(&listed), None);
        listed.scopes = vec![DncScope::List(name("brand-a"))];
        assert_eq!(settings.refuses(&listed), None);
        settings.lists = vec![name("brand-a")];
        assert_eq!(settings.refuses(&listed), Some(ListRefusal::Dnc));
        listed.scopes = vec![DncScope::All];
        settings.lists.clear();
        assert_eq!(settings.refuses(&listed), Some(ListRefusal::Dnc));
    }

    #[test]
    fn an_allowlist_limits_only_the_campaign_that_names_it() {
        let mut settings = SuppressionSettings::default();
        let mut listed = Listed {
            lists: vec![(name("agreed"), ListKind::Allow)],
            ..Listed::default()
        };
        assert_eq!(settings.refuses(&listed), None);
        settings.allowlist = Some(name("agreed"));
        assert_eq!(settings.refuses(&listed), None);
        let not_listed = Listed::default();
        assert_eq!(settings.refuses(&not_listed), Some(ListRefusal::NotAllowlisted));
        // A list of the same name that is not an allowlist allows nothing.
        listed.lists = vec![(name("agreed"), ListKind::Registry)];
        assert_eq!(settings.refuses(&listed), Some(ListRefusal::Suppressed));
    }
}
