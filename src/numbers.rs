//! From what people write to E.164. In: a text and the region that it is written for. Out: an [`E164`], or why not.
//! Neither errors nor logs repeat the text, as it may be personal data. Number plans: `rlibphonenumber`.

use paceline_core::number::E164;
use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumberFormat, Region, ValidationError,
};

/// Why a text is not a number that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NumberError {
    /// Nothing there.
    #[error("empty")]
    Empty,
    /// A region that no number plan is known for.
    #[error("unknown default region: write two letters (ISO 3166-1) such as US")]
    UnknownRegion,
    /// A national number, and no region to read it in.
    #[error("no country code: write the number with + and its country code, or set a default region")]
    NoCountry,
    /// No country has this code.
    #[error("unknown country code")]
    UnknownCountry,
    /// `1.2025550123E+10`: digits are lost.
    #[error(
        "written by a spreadsheet in scientific notation, digits are lost: format the column as text and export again"
    )]
    Scientific,
    /// A number behind a number.
    #[error("has an extension, which cannot be dialed")]
    Extension,
    /// Words, or digits spelled as letters.
    #[error("contains letters")]
    Letters,
    /// Anything else.
    #[error("not a telephone number")]
    NotANumber,
    /// Fewer digits than its country has.
    #[error("too short for its country")]
    TooShort,
    /// More digits than its country has.
    #[error("too long for its country")]
    TooLong,
    /// The length is fine, the range is not in use.
    #[error("no such number range in its country")]
    NotAssigned,
}

/// Longest text that is looked at; E.164 with every usual kind of punctuation is far below.
const TEXT_BYTES_MAX: usize = 64;

/// Whether a number plan is known for this region: two capital letters (ISO 3166-1) such as `US`.
pub fn is_region(text: &str) -> bool {
    region(text).is_some()
}

fn region(text: &str) -> Option<Region> {
    if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let region = Region::from_code(text).ok()?;
    PHONE_NUMBER_UTIL
        .get_country_code_for_region(region)
        .filter(|code| *code > 0)
        .map(|_| region)
}

/// Reads a number as people and spreadsheets write it. Stray punctuation, spaces and a trailing `.0` are dropped; the
/// number plan of its country must know the result. `default_region` is for numbers without a country code.
///
/// ```
/// use paceline::numbers::{NumberError, normalise};
/// assert_eq!(normalise("(202) 555-0123", Some("US"))?.expose(), "+12025550123");
/// assert_eq!(normalise("202 555 0123", None), Err(NumberError::NoCountry));
/// # Ok::<(), NumberError>(())
/// ```
pub fn normalise(text: &str, default_region: Option<&str>) -> Result<E164, NumberError> {
    let region = match default_region {
        Some(code) => Some(region(code).ok_or(NumberError::UnknownRegion)?),
        None => None,
    };
    let cleaned = clean(text)?;
    if region.is_none() && !cleaned.starts_with('+') {
        return Err(NumberError::NoCountry);
    }
    let number = PHONE_NUMBER_UTIL
        .parse(&cleaned, region)
        .map_err(|error| match error {
            ParseError::InvalidCountryCode => NumberError::UnknownCountry,
            ParseError::NotANumber(_) => NumberError::NotANumber,
            ParseError::TooShortAfterIdd | ParseError::TooShortNsn => NumberError::TooShort,
            ParseError::TooLongNsn => NumberError::TooLong,
        })?;
    match number.is_possible_with_reason() {
        Ok(NumberLengthType::IsPossible) => {}
        // Without its area code it can only be dialed from next door.
        Ok(NumberLengthType::IsPossibleLocalOnly) => return Err(NumberError::TooShort),
        Err(ValidationError::InvalidCountryCode) => return Err(NumberError::UnknownCountry),
        Err(ValidationError::TooLong) => return Err(NumberError::TooLong),
        Err(ValidationError::TooShort | ValidationError::InvalidLength) => return Err(NumberError::TooShort),
    }
    if !number.is_valid() {
        return Err(NumberError::NotAssigned);
    }
    E164::new(&number.format_as(PhoneNumberFormat::E164)).map_err(|_| NumberError::NotANumber)
}

/// Digits with at most one `+` in front.
fn clean(text: &str) -> Result<String, NumberError> {
    let text = text.trim();
    let text = text.strip_prefix("tel:").unwrap_or(text);
    if text.is_empty() {
        return Err(NumberError::Empty);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(NumberError::NotANumber);
    }
    // What a spreadsheet makes of a number that it takes for a quantity.
    let text = match text.strip_suffix(".0") {
        Some(whole) if whole.bytes().all(|b| b.is_ascii_digit()) => whole,
        _ => text,
    };
    if text.chars().any(char::is_alphabetic) {
        return Err(what_letters_mean(text));
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '\u{ff0b}' if cleaned.is_empty() => cleaned.push('+'),
            // A second number, a feature code, or a dialling pause: guessing would call somebody else.
            '+' | '\u{ff0b}' | '*' | '#' | ';' => return Err(NumberError::NotANumber),
            _ if c.is_numeric() => cleaned.push(c),
            _ => {}
        }
    }
    match cleaned.as_str() {
        "" | "+" => Err(NumberError::NotANumber),
        _ => Ok(cleaned),
    }
}

fn what_letters_mean(text: &str) -> NumberError {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or_default();
    let numeric = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit() || b".,+-".contains(&b));
    if numeric(mantissa) && numeric(exponent) {
        return NumberError::Scientific;
    }
    let words: String = lower.chars().filter(|c| c.is_alphabetic()).collect();
    match words.as_str() {
        "x" | "ext" | "extn" | "extension" => NumberError::Extension,
        _ => NumberError::Letters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_people_and_spreadsheets_write_them_are_read() {
        for (text, region, number) in [
            ("+12025550123", None, "+12025550123"),
            (" +1 (202) 555-0123 ", None, "+12025550123"),
            ("202.555.0123", Some("US"), "+12025550123"),
            ("1-202-555-0123", Some("US"), "+12025550123"),
            ("'2025550123", Some("US"), "+12025550123"),
            ("2025550123.0", Some("US"), "+12025550123"),
            ("202\u{a0}555\u{2011}0123", Some("US"), "+12025550123"),
            ("２０２５５５０１２３", Some("US"), "+12025550123"),
            ("011 44 20 7946 0123", Some("US"), "+442079460123"),
            ("+44 (0)20 7946 0123", Some("US"), "+442079460123"),
            ("020 7946 0123", Some("GB"), "+442079460123"),
            ("tel:+12025550123", None, "+12025550123"),
        ] {
            assert_eq!(
                normalise(text, region).as_ref().map(E164::expose),
                Ok(number),
                "{text}"
            );
        }
    }

    #[test]
    fn each_kind_of_wrong_number_has_its_reason() {
        use NumberError::*;
        for (text, region, error) in [
            ("", Some("US"), Empty),
            ("  ", Some("US"), Empty),
            ("2025550123", None, NoCountry),
            ("2025550123", Some("XX"), UnknownRegion),
            ("2025550123", Some("us"), UnknownRegion),
            ("+999 1234567", None, UnknownCountry),
            ("2.02555E+09", Some("US"), Scientific),
            ("1.2025550123e10", Some("US"), Scientific),
            ("202-555-0123 ext. 4", Some("US"), Extension),
            ("202-555-0123x4", Some("US"), Extension),
            ("1-800-FLOWERS", Some("US"), Letters),
            ("n/a", Some("US"), Letters),
            ("-", Some("US"), NotANumber),
            ("*67 202 555 0123", Some("US"), NotANumber),
            ("+12025550123 +12025550124", Some("US"), NotANumber),
            ("202555012", Some("US"), TooShort),
            ("5550123", Some("US"), TooShort),
            ("+1202555012345", None, TooLong),
            ("2025550123/2025550124", Some("US"), TooLong),
            ("+1 111 111 1111", None, NotAssigned),
        ] {
            assert_eq!(normalise(text, region).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn regions_are_two_capital_letters_with_a_number_plan() {
        assert!(["US", "GB", "CN", "DE"].iter().all(|r| is_region(r)));
        assert!(
            !["", "U", "us", "USA", "XX", "ZZ", "é"]
                .iter()
                .any(|r| is_region(r))
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_a_number_or_a_reason_that_does_not_repeat_it(text in "\\PC{0,80}") {
            if let Err(error) = normalise(&text, Some("US")) {
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                prop_assert!(digits.len() < 3 || !error.to_string().contains(&digits));
            }
        }

        #[test]
        fn what_was_read_reads_as_itself(digits in "[2-9][0-9]{9}") {
            if let Ok(number) = normalise(&digits, Some("US")) {
                prop_assert_eq!(normalise(number.expose(), None), Ok(number));
            }
        }
    }
}
