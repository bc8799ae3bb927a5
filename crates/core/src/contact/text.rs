//! The short values of a contact, each with its check.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// A value that is refused. The error does not contain the value, because it may be personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text is empty or too long, or contains control characters.
    #[error("1 to {max} characters, no line breaks or other control characters, and not only spaces")]
    Text {
        /// Maximum number of characters.
        max: usize,
    },
    /// The text is not a BCP 47 tag.
    #[error("not a language tag (BCP 47): write one such as en, es-MX or zh-Hans")]
    Language,
    /// The value is not a tier.
    #[error("not a tier: write 1 (the highest) to 9, or A to I")]
    Tier,
    /// The text is not the code of a country.
    #[error("not a country: write its two capital letters (ISO 3166-1), such as US")]
    Country,
}

/// A text of 1 to `MAX` characters without control characters and without space around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// A word by which contacts are found and selected. Its spelling is kept as given.
pub type Tag = Text<60>;
/// A contact's id in another system.
pub type ExternalId = Text<200>;
/// The name of a number in a file or another system, such as `Home Phone`.
pub type Label = Text<100>;
/// A state or province.
pub type State = Text<60>;
/// A postal code.
pub type PostalCode = Text<20>;
/// The place of the evidence of a consent: a document, a recording, or the address of a form.
pub type Proof = Text<1000>;

impl<const MAX: usize> Text<MAX> {
    /// Checks and wraps a text, without the space around it.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        // Characters that control a terminal or change the direction of writing are refused.
        let steers = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        let fits = !text.is_empty() && (text.len() <= MAX || text.chars().count() <= MAX);
        if fits && !text.chars().any(steers) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Text { max: MAX })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A language tag (BCP 47): `en`, `es-MX`, `zh-Hans`. Its subtags are not compared with the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

/// Maximum length of a tag in bytes (RFC 5646, section 4.4.1).
const LANGUAGE_BYTES_MAX: usize = 35;

impl Language {
    /// Checks a tag, and writes it in the usual case.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let mut tag = String::with_capacity(text.len());
        for (n, part) in text.split('-').enumerate() {
            let letters = part.bytes().all(|b| b.is_ascii_alphabetic());
            let fits = match n {
                0 => (2..=3).contains(&part.len()) && letters,
                _ => (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()),
            };
            if !fits {
                return Err(ValueError::Language);
            }
            if n > 0 {
                tag.push('-');
            }
            match (n, part.len(), letters) {
                (1.., 2, true) => tag.push_str(&part.to_ascii_uppercase()),
                (1.., 4, true) => {
                    let (first, others) = part.split_at(1);
                    tag.push_str(&first.to_ascii_uppercase());
                    tag.push_str(&others.to_ascii_lowercase());
                }
                _ => tag.push_str(&part.to_ascii_lowercase()),
            }
        }
        if tag.len() > LANGUAGE_BYTES_MAX {
            return Err(ValueError::Language);
        }
        Ok(Self(tag))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The priority of a contact, 1 (the highest) to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Tier(u8);

impl Tier {
    /// Checks and wraps a tier.
    pub fn new(tier: i64) -> Result<Self, ValueError> {
        match u8::try_from(tier) {
            Ok(tier @ 1..=9) => Ok(Self(tier)),
            _ => Err(ValueError::Tier),
        }
    }

    /// `1` to `9`, or `A` to `I` in either case.
    pub fn read(text: &str) -> Result<Self, ValueError> {
        match text.trim().as_bytes() {
            [digit @ b'1'..=b'9'] => Self::new(i64::from(digit - b'0')),
            [letter @ b'A'..=b'I'] => Self::new(i64::from(letter - b'A') + 1),
            [letter @ b'a'..=b'i'] => Self::new(i64::from(letter - b'a') + 1),
            _ => Err(ValueError::Tier),
        }
    }

    /// 1 to 9.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A country, ISO 3166-1 alpha-2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

/// The assigned codes (ISO 3166-1, as of 2026), and `XK`, which Kosovo uses.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW \
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB \
    GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM \
    KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC \
    NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL \
    SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK \
    YE YT ZA ZM ZW";

/// Searches by halves: the codes are in order, and each takes three bytes with its space.
fn is_country(code: &str) -> bool {
    let codes = COUNTRIES.as_bytes();
    let (mut low, mut high) = (0, codes.len().div_ceil(3));
    while low < high {
        let middle = low.midpoint(high);
        match codes
            .get(middle * 3..middle * 3 + 2)
            .map(|known| known.cmp(code.as_bytes()))
        {
            Some(Ordering::Less) => low = middle + 1,
            Some(Ordering::Equal) => return true,
            Some(Ordering::Greater) | None => high = middle,
        }
    }
    false
}

impl CountryCode {
    /// Checks a code of two capital letters against the assigned ones.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let known = text.len() == 2 && is_country(text);
        match text.as_bytes() {
            [a, b] if known => Ok(Self([*a, *b])),
            _ => Err(ValueError::Country),
        }
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(&text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl TryFrom<String> for Language {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(&text)
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

impl TryFrom<u8> for Tier {
    type Error = ValueError;
    fn try_from(tier: u8) -> Result<Self, ValueError> {
        Self::new(i64::from(tier))
    }
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        tier.0
    }
}

impl TryFrom<String> for CountryCode {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(&text)
    }
}

impl From<CountryCode> for String {
    fn from(country: CountryCode) -> Self {
        country.as_str().to_owned()
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use super::{CountryCode, Language, Text, Tier};
    use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
    use utoipa::{PartialSchema, ToSchema, openapi::RefOr};

    impl<const MAX: usize> PartialSchema for Text<MAX> {
        fn schema() -> RefOr<Schema> {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.min_length(Some(1)).max_length(Some(MAX)).into()
        }
    }
    impl<const MAX: usize> ToSchema for Text<MAX> {
        fn name() -> std::borrow::Cow<'static, str> {
            format!("Text{MAX}").into()
        }
    }

    impl PartialSchema for Language {
        fn schema() -> RefOr<Schema> {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.description(Some("A language tag (BCP 47)"))
                .examples(["es-MX"])
                .into()
        }
    }
    impl ToSchema for Language {}

    impl PartialSchema for CountryCode {
        fn schema() -> RefOr<Schema> {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.description(Some("ISO 3166-1 alpha-2"))
                .examples(["US"])
                .into()
        }
    }
    impl ToSchema for CountryCode {}

    impl PartialSchema for Tier {
        fn schema() -> RefOr<Schema> {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            number.minimum(Some(1)).maximum(Some(9)).examples([2]).into()
        }
    }
    impl ToSchema for Tier {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_hold_nothing_that_cannot_be_seen() {
        assert_eq!(Tag::new("  vip ").unwrap().as_str(), "vip");
        assert_eq!(Tag::new(&"é".repeat(60)).unwrap().as_str().chars().count(), 60);
        for bad in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(61)] {
            assert_eq!(Tag::new(bad), Err(ValueError::Text { max: 60 }), "{bad:?}");
        }
        assert!(serde_json::from_str::<Tag>("\"\"").is_err(), "also as JSON");
    }

    #[test]
    fn language_tags_are_written_in_the_usual_case() {
        for (given, tag) in [
            ("EN", "en"),
            ("en-us", "en-US"),
            ("zh-hans-cn", "zh-Hans-CN"),
            ("es-419", "es-419"),
            ("de-CH-1996", "de-CH-1996"),
            ("gsw", "gsw"),
        ] {
            assert_eq!(Language::new(given).unwrap().as_str(), tag);
        }
        for bad in [
            "",
            "e",
            "English",
            "en_US",
            "en-",
            "12",
            "en-toolongsub",
            "Deutsch",
        ] {
            assert_eq!(Language::new(bad), Err(ValueError::Language), "{bad}");
        }
    }

    #[test]
    fn tiers_are_digits_or_letters() {
        for (text, tier) in [("1", 1), (" 9 ", 9), ("A", 1), ("d", 4), ("I", 9)] {
            assert_eq!(Tier::read(text).unwrap().number(), tier);
        }
        for bad in ["", "0", "10", "J", "high", "１"] {
            assert_eq!(Tier::read(bad), Err(ValueError::Tier), "{bad}");
        }
        assert!(serde_json::from_str::<Tier>("10").is_err());
    }

    #[test]
    fn countries_are_those_that_there_are() {
        for good in ["US", "GB", "CN", "XK"] {
            assert_eq!(CountryCode::new(good).unwrap().as_str(), good);
        }
        for known in COUNTRIES.split_ascii_whitespace() {
            assert!(CountryCode::new(known).is_ok(), "{known}");
        }
        for bad in ["", "us", "UK", "USA", "ZZ", "A ", "D AE"] {
            assert_eq!(CountryCode::new(bad), Err(ValueError::Country), "{bad}");
        }
    }
}
