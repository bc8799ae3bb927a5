//! Dial strings of trunks and of agents' phones, and the rules that limit the dial strings of one PBX.
//!
//! A PBX accepts much more in a dial string than a number and a trunk: applications, functions, hosts, options, several
//! destinations. Therefore only five forms are allowed, each with one user part and at most one plain name. No other text
//! becomes a [`DialString`].

use crate::number::E164;
use crate::pbx::DialString;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A way of dialing. Each names exactly one object that the PBX's administrator has configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialKind {
    /// Asterisk: an endpoint of pjsip.conf.
    Pjsip,
    /// Asterisk: a context of the dialplan.
    Local,
    /// FreeSWITCH: a gateway.
    Gateway,
    /// FreeSWITCH: a context of the dialplan.
    Loopback,
    /// FreeSWITCH: a user of the directory.
    User,
}

impl DialKind {
    const ALL: [Self; 5] = [
        Self::Pjsip,
        Self::Local,
        Self::Gateway,
        Self::Loopback,
        Self::User,
    ];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Pjsip => "PJSIP/",
            Self::Local => "Local/",
            Self::Gateway => "sofia/gateway/",
            Self::Loopback => "loopback/",
            Self::User => "user/",
        }
    }

    /// The form of the dial string; `USER` stands for the placeholder.
    const fn form(self) -> &'static str {
        match self {
            Self::Pjsip => "PJSIP/USER@ENDPOINT",
            Self::Local => "Local/USER@CONTEXT/n",
            Self::Gateway => "sofia/gateway/GATEWAY/USER",
            Self::Loopback => "loopback/USER/CONTEXT",
            Self::User => "user/USER@DOMAIN",
        }
    }

    /// True if the dialplan reads the number. In a dialplan, `*` selects a function, such as call forwarding.
    const fn is_dialplan(self) -> bool {
        matches!(self, Self::Local | Self::Loopback)
    }

    fn of(text: &str) -> Option<(Self, &str)> {
        Self::ALL
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
    }
}

/// A dial string split into its parts. Further syntax of the PBX can only be in `user` or `name`, and their checks refuse it.
struct Parts<'t> {
    kind: DialKind,
    user: &'t str,
    name: Option<&'t str>,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Result<Self, TemplateError> {
        let (kind, rest) = DialKind::of(text).ok_or(TemplateError::Kind)?;
        let two = match kind {
            DialKind::Pjsip | DialKind::User => Some(
                rest.split_once('@')
                    .map_or((rest, None), |(user, name)| (user, Some(name))),
            ),
            DialKind::Local => rest
                .strip_suffix("/n")
                .unwrap_or(rest)
                .split_once('@')
                .map(|(user, name)| (user, Some(name))),
            DialKind::Gateway => rest.split_once('/').map(|(name, user)| (user, Some(name))),
            DialKind::Loopback => rest.split_once('/').map(|(user, name)| (user, Some(name))),
        };
        match two {
            Some((user, name)) if name.is_none_or(is_name) => Ok(Self { kind, user, name }),
            _ => Err(TemplateError::Form(kind.form())),
        }
    }

    /// The texts before and after the placeholder in the user part. An error if the placeholder is not there.
    fn around(&self, placeholder: &str) -> Result<(&'t str, &'t str), TemplateError> {
        let wrong = TemplateError::Form(self.kind.form());
        self.user.split_once(placeholder).ok_or(wrong)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// The name of an endpoint, a gateway, a context, a domain.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

/// True if the text has one of the five forms and no placeholder.
pub(crate) fn is_dial_string(text: &str) -> bool {
    Parts::of(text).is_ok_and(|parts| {
        (1..=128).contains(&parts.user.len())
            && parts
                .user
                .bytes()
                .all(|byte| is_plain(byte) || b"+*#".contains(&byte))
    })
}

/// The dial string of a trunk: `PJSIP/{number}@carrier`, `Local/{digits}@from-internal/n`. `{number}` is E.164 with its `+`,
/// `{digits}` is the same without `+`; exactly one of them must appear, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrunkTemplate(String);

/// The dial string of agents' phones: `PJSIP/{extension}`. `{extension}` must appear exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentTemplate(String);

/// An agent's extension: letters, digits, `-`, `_`, `.`, 1 to 64 of them, so that it cannot end or extend a dial string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Extension(String);

/// A template or extension that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template does not contain exactly one of `{number}` and `{digits}`.
    #[error(
        "a trunk's dial string needs exactly one of {{number}} (with +) or {{digits}} (without), e.g. PJSIP/{{number}}@carrier"
    )]
    TrunkPlaceholder,
    /// The template does not contain exactly one `{extension}`.
    #[error("an agent's dial string needs exactly one {{extension}}, e.g. PJSIP/{{extension}}")]
    AgentPlaceholder,
    /// The text begins as none of the five forms.
    #[error(
        "a dial string begins with PJSIP/ or Local/ (Asterisk), or with sofia/gateway/, loopback/ or user/ (FreeSWITCH); \
         what your PBX dials otherwise, put into a context of its dialplan"
    )]
    Kind,
    /// The text begins as one of the forms, but a part of it is missing, superfluous or not allowed.
    #[error(
        "write it as {0}: USER is the placeholder, with nothing but a prefix of digits (to an endpoint or a gateway also `+`, \
         `*`, `#`) beside it, and the name is 1 to 64 letters, digits, `-`, `_` or `.`. Hosts, applications, functions and \
         options are refused: the PBX would carry them out"
    )]
    Form(&'static str),
    /// Not an extension.
    #[error("an extension is 1 to 64 letters, digits, `-`, `_` or `.`")]
    Extension,
    /// Not a rule.
    #[error(
        "the start of a dial string and one name, such as \"PJSIP/carrier\" or \"sofia/gateway/carrier\", or `*` for every name"
    )]
    Rule,
}

impl TrunkTemplate {
    /// Checks a template.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let placeholder = match (text.matches("{number}").count(), text.matches("{digits}").count()) {
            (1, 0) => "{number}",
            (0, 1) => "{digits}",
            _ => return Err(TemplateError::TrunkPlaceholder),
        };
        let parts = Parts::of(text)?;
        let (before, after) = parts.around(placeholder)?;
        let extra: &[u8] = if parts.kind.is_dialplan() { b"" } else { b"+*#" };
        let fine = |text: &str| {
            text.len() <= 32
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || extra.contains(&byte))
        };
        if parts.name.is_some() && fine(before) && fine(after) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TemplateError::Form(parts.kind.form()))
        }
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dial string for this number.
    pub fn render(&self, number: &E164) -> DialString {
        DialString::checked(
            self.0
                .replace("{number}", number.expose())
                .replace("{digits}", number.expose_digits()),
        )
    }
}

impl AgentTemplate {
    /// Checks a template.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if text.matches("{extension}").count() != 1 {
            return Err(TemplateError::AgentPlaceholder);
        }
        let parts = Parts::of(text)?;
        let (before, after) = parts.around("{extension}")?;
        if before.len() + after.len() <= 64 && before.bytes().chain(after.bytes()).all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TemplateError::Form(parts.kind.form()))
        }
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dial string for this agent's phone.
    pub fn render(&self, extension: &Extension) -> DialString {
        DialString::checked(self.0.replace("{extension}", &extension.0))
    }
}

impl Extension {
    /// Checks an extension.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TemplateError::Extension)
        }
    }

    /// The extension as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_form {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = TemplateError;
            fn try_from(text: String) -> Result<Self, TemplateError> { Self::new(&text) }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String { value.0 }
        }
    )*};
}
text_form!(TrunkTemplate AgentTemplate Extension);

/// A destination that trunks of a PBX may have: `PJSIP/carrier`, or `PJSIP/*` for every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialRule {
    kind: DialKind,
    /// `None`: every plain name.
    name: Option<String>,
}

/// The destinations that trunks of one PBX may have, and the extensions that its agents may have.
#[derive(Clone, PartialEq, Eq)]
pub struct DialRules {
    trunks: Vec<DialRule>,
    agent_digits_max: u8,
}

/// Digits of an agent's extension that a dialplan reads, unless the configuration allows more. A longer one may be an outside
/// number: an office dialplan sends these to its carrier.
pub const AGENT_DIGITS_MAX: u8 = 7;

impl fmt::Debug for DialRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialRules({self})")
    }
}

/// The rules of the PBX do not allow this dial string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "trunks of this PBX may lead to {0} and to nothing else; where this one is wanted, add it to `dial_allowed` of the PBX in \
     paceline.toml and restart"
)]
pub struct NotAllowed(String);

/// The extension may be an outside number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the dialplan of this PBX may take an extension of more than {0} digits as an outside number; if your extensions are \
     longer, set `agent_digits_max` of the PBX in paceline.toml and restart"
)]
pub struct ExtensionTooLong(u8);

impl DialRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// [`TemplateError::Rule`].
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        match DialKind::of(text) {
            Some((kind, "*")) => Ok(Self { kind, name: None }),
            Some((kind, name)) if is_name(name) => Ok(Self {
                kind,
                name: Some(name.to_owned()),
            }),
            _ => Err(TemplateError::Rule),
        }
    }

    /// The way of dialing.
    pub fn kind(&self) -> DialKind {
        self.kind
    }
}

impl fmt::Display for DialRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.name.as_deref().unwrap_or("*"))
    }
}

impl fmt::Display for DialRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, rule) in self.trunks.iter().enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

impl DialRules {
    /// Wraps a list of rules. A trunk must match one of them.
    pub fn new(trunks: Vec<DialRule>) -> Self {
        Self {
            trunks,
            agent_digits_max: AGENT_DIGITS_MAX,
        }
    }

    /// The same with another maximum of digits in an agent's extension that a dialplan reads.
    pub fn with_agent_digits_max(mut self, agent_digits_max: u8) -> Self {
        self.agent_digits_max = agent_digits_max;
        self
    }

    fn all_of(kinds: &[DialKind]) -> Self {
        let rule = |kind: &DialKind| DialRule {
            kind: *kind,
            name: None,
        };
        Self::new(kinds.iter().map(rule).collect())
    }

    /// Every endpoint and every dialplan context of an Asterisk.
    pub fn asterisk() -> Self {
        Self::all_of(&[DialKind::Pjsip, DialKind::Local])
    }

    /// Every gateway, dialplan context and directory user of a FreeSWITCH.
    pub fn freeswitch() -> Self {
        Self::all_of(&[DialKind::Gateway, DialKind::Loopback, DialKind::User])
    }

    /// Every form, for a simulated PBX.
    pub fn any() -> Self {
        Self::all_of(&DialKind::ALL)
    }

    /// True if at least one rule is of this kind.
    pub fn knows(&self, kind: DialKind) -> bool {
        self.trunks.iter().any(|rule| rule.kind == kind)
    }

    /// Checks that the rules allow the destination of this trunk.
    ///
    /// # Errors
    /// [`NotAllowed`], with the rules.
    pub fn permit(&self, trunk: &TrunkTemplate) -> Result<(), NotAllowed> {
        let allowed = Parts::of(&trunk.0).is_ok_and(|parts| {
            self.trunks.iter().any(|rule| {
                rule.kind == parts.kind && (rule.name.is_none() || rule.name.as_deref() == parts.name)
            })
        });
        if allowed {
            Ok(())
        } else {
            Err(NotAllowed(self.to_string()))
        }
    }

    /// Checks that an agent's phone is one inside the PBX. A dialplan (`Local/`, `loopback/`) takes a long extension for an
    /// outside number, and no gate is asked before an agent's phone is called.
    ///
    /// # Errors
    /// [`ExtensionTooLong`].
    pub fn permit_agent(
        &self,
        template: &AgentTemplate,
        extension: &Extension,
    ) -> Result<(), ExtensionTooLong> {
        let digits = extension.0.bytes().filter(u8::is_ascii_digit).count();
        let read_by_dialplan = Parts::of(&template.0).is_ok_and(|parts| parts.kind.is_dialplan());
        if read_by_dialplan && digits > usize::from(self.agent_digits_max) {
            Err(ExtensionTooLong(self.agent_digits_max))
        } else {
            Ok(())
        }
    }

    /// Checks that the rules know the kind of this dial string. The names in the rules do not limit agents' phones.
    ///
    /// # Errors
    /// [`NotAllowed`], with the rules.
    pub fn understand(&self, agent: &AgentTemplate) -> Result<(), NotAllowed> {
        match Parts::of(&agent.0) {
            Ok(parts) if self.knows(parts.kind) => Ok(()),
            _ => Err(NotAllowed(self.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
