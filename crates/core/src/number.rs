//! Telephone numbers in E.164 form. They are hidden from logs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number in E.164 form: `+`, then 2 to 15 digits, the first not 0 (ITU-T E.164, 6.1). `Debug` does not show it. Code
/// that needs the digits calls [`E164::expose`], so that every such place can be found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct E164(String);

/// The text is not an E.164 number. The error does not repeat the text, because it may be personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an E.164 number: write `+`, the country code and the number, 2 to 15 digits in all, no spaces")]
pub struct NotE164;

impl E164 {
    /// Checks and wraps a number.
    ///
    /// # Errors
    /// [`NotE164`].
    pub fn new(text: &str) -> Result<Self, NotE164> {
        let digits = text.strip_prefix('+').ok_or(NotE164)?;
        let well_formed = (2..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotE164)
        }
    }

    /// The number with its `+`. Only for dialing, for storing, and for users who may see it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digits without the `+`.
    pub fn expose_digits(&self) -> &str {
        self.0.strip_prefix('+').unwrap_or(&self.0)
    }

    /// The number with all digits hidden but the last two: `+*********23`.
    pub fn masked(&self) -> String {
        let digits = self.expose_digits();
        let hidden = digits.len().saturating_sub(2);
        let tail: String = digits.chars().skip(hidden).collect();
        format!("+{}{tail}", "*".repeat(hidden))
    }
}

/// A number that is only compared with others. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NumberText<'a>(pub &'a str);

impl fmt::Debug for NumberText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberText(redacted)")
    }
}

impl<'a> From<&'a E164> for NumberText<'a> {
    fn from(number: &'a E164) -> Self {
        Self(number.expose())
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("E164(redacted)")
    }
}

impl TryFrom<String> for E164 {
    type Error = NotE164;
    fn try_from(text: String) -> Result<Self, NotE164> {
        Self::new(&text)
    }
}

impl From<E164> for String {
    fn from(number: E164) -> String {
        number.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plus_and_two_to_fifteen_digits_are_accepted() {
        for good in ["+12", "+12025550123", "+123456789012345"] {
            assert_eq!(E164::new(good).unwrap().expose(), good);
        }
        for bad in [
            "",
            "+",
            "+1",
            "12025550123",
            "+0123",
            "+1234567890123456",
            "+1 202",
            "+1202555O123",
            "+١٢٣",
        ] {
            assert_eq!(E164::new(bad), Err(NotE164), "{bad}");
        }
    }

    #[test]
    fn debug_and_mask_hide_the_number() {
        let number = E164::new("+12025550123").unwrap();
        assert_eq!(format!("{number:?}"), "E164(redacted)");
        assert_eq!(number.masked(), "+*********23");
    }
}
