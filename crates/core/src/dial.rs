//! Dial-string templates: how a trunk or an agent's phone is reached on its switch.

use crate::number::E164;
use crate::pbx::DialString;
use serde::{Deserialize, Serialize};

/// How a trunk dials: `PJSIP/{number}@carrier`, `Local/{digits}@from-internal/n`. `{number}` is E.164 with its `+`,
/// `{digits}` the same without; exactly one of them must appear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrunkTemplate(String);

/// How an agent's phone is reached: `PJSIP/{extension}`. `{extension}` must appear.
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
    /// No placeholder, or the wrong ones.
    #[error(
        "a trunk's dial string needs exactly one of {{number}} (with +) or {{digits}} (without), e.g. PJSIP/{{number}}@carrier"
    )]
    TrunkPlaceholder,
    /// No placeholder.
    #[error("an agent's dial string needs exactly one {{extension}}, e.g. PJSIP/{{extension}}")]
    AgentPlaceholder,
    /// A character that no dial string holds.
    #[error(
        "a dial string may hold visible ASCII only, no spaces, commas or braces besides its placeholder; at most 255 characters"
    )]
    Character,
    /// Not an extension.
    #[error("an extension is 1 to 64 letters, digits, `-`, `_` or `.`")]
    Extension,
}

fn plain(rest: &str) -> Result<(), TemplateError> {
    let fine = rest.len() <= 255
        && rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"{},'\"&|\\$".contains(&b));
    if fine {
        Ok(())
    } else {
        Err(TemplateError::Character)
    }
}

impl TrunkTemplate {
    /// Checks a template.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if text.matches("{number}").count() + text.matches("{digits}").count() != 1 {
            return Err(TemplateError::TrunkPlaceholder);
        }
        plain(&text.replace("{number}", "").replace("{digits}", ""))?;
        Ok(Self(text.to_owned()))
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to dial for this number.
    pub fn render(&self, number: &E164) -> DialString {
        DialString(
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
        plain(&text.replace("{extension}", ""))?;
        Ok(Self(text.to_owned()))
    }

    /// What to dial for this agent.
    pub fn render(&self, extension: &Extension) -> DialString {
        DialString(self.0.replace("{extension}", &extension.0))
    }
}

impl Extension {
    /// Checks an extension.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let fine = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fine {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_render_their_placeholder_only() {
        let number = E164::new("+12025550123").unwrap();
        let render = |text: &str| TrunkTemplate::new(text).map(|t| t.render(&number).0);
        assert_eq!(
            render("PJSIP/{number}@carrier").unwrap(),
            "PJSIP/+12025550123@carrier"
        );
        assert_eq!(
            render("Local/{digits}@from-internal/n").unwrap(),
            "Local/12025550123@from-internal/n"
        );
        assert_eq!(render("PJSIP/carrier"), Err(TemplateError::TrunkPlaceholder));
        assert_eq!(
            render("PJSIP/{number}{digits}"),
            Err(TemplateError::TrunkPlaceholder)
        );
        for bad in [
            "PJSIP/{number}@a b",
            "PJSIP/{number},x",
            "PJSIP/{number}|b",
            "{x}{number}",
            "PJSIP/{number}&SIP/1",
            "${A}{number}",
        ] {
            assert_eq!(render(bad), Err(TemplateError::Character), "{bad}");
        }
    }

    #[test]
    fn an_extension_cannot_extend_its_dial_string() {
        let template = AgentTemplate::new("PJSIP/{extension}").unwrap();
        assert_eq!(
            template.render(&Extension::new("agent-7").unwrap()).0,
            "PJSIP/agent-7"
        );
        for bad in ["", "7&SIP/1", "7/n", "7@x", "7,g", "7 8"] {
            assert_eq!(Extension::new(bad), Err(TemplateError::Extension), "{bad}");
        }
    }
}
