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
    /// A number with a fraction.
    #[error("a number with a fraction, as a spreadsheet writes quantities")]
    Fraction,
    /// Two numbers where one should be.
    #[error("two numbers in one cell: keep one, or give the other a column of its own")]
    Several,
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

/// What was done to a text to make a number of it, beyond dropping spaces and punctuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// `1.2025550123E10`.
    Scientific,
    /// `2025550123.0`.
    Fraction,
    /// `２０２`.
    Digits,
    /// `tel:+1…`.
    Scheme,
    /// `'2025550123` or `="2025550123"`.
    TextMark,
    /// Zero-width and direction marks.
    Invisible,
    /// `0044…` where the region dials another prefix to go abroad.
    Prefix,
}

impl Repair {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scientific => "repaired: scientific notation written out, no digit was lost",
            Self::Fraction => "repaired: the `.0` of a spreadsheet taken off",
            Self::Digits => "repaired: digits of another script rewritten",
            Self::Scheme => "repaired: `tel:` taken off",
            Self::TextMark => "repaired: a spreadsheet's marks for text taken off",
            Self::Invisible => "repaired: invisible characters taken out",
            Self::Prefix => "repaired: `00` before a country code rewritten as `+`",
        }
    }
}

/// Longest text that is looked at; E.164 with every usual kind of punctuation is far below.
const TEXT_BYTES_MAX: usize = 64;

/// Whether a number plan is known for this region: two capital letters (ISO 3166-1) such as `US`.
pub fn is_region(text: &str) -> bool {
    region(text).is_some()
}

/// Loads the number plans, which takes a tenth of a second and would otherwise fall to the first number read.
pub fn load_plans() {
    // Whatever it is read as: reading it is what loads.
    let _ = normalise("+12025550123", None);
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
    normalise_told(text, default_region).map(|(number, _)| number)
}

/// As [`normalise`], and tells what had to be repaired.
pub fn normalise_told(
    text: &str,
    default_region: Option<&str>,
) -> Result<(E164, Option<Repair>), NumberError> {
    let region = match default_region {
        Some(code) => Some(region(code).ok_or(NumberError::UnknownRegion)?),
        None => None,
    };
    let (cleaned, repair) = clean(text)?;
    let abroad = cleaned.strip_prefix("00").map(|rest| format!("+{rest}"));
    match read(&cleaned, region) {
        Ok(number) => Ok((number, repair)),
        // What is no number at home and is one with `+` was written for somewhere else.
        Err(error) => match abroad.and_then(|number| read(&number, None).ok()) {
            Some(number) => Ok((number, Some(Repair::Prefix))),
            None => Err(error),
        },
    }
}

fn read(cleaned: &str, region: Option<Region>) -> Result<E164, NumberError> {
    if region.is_none() && !cleaned.starts_with('+') {
        return Err(NumberError::NoCountry);
    }
    let number = PHONE_NUMBER_UTIL
        .parse(cleaned, region)
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
fn clean(text: &str) -> Result<(String, Option<Repair>), NumberError> {
    let mut repair = None;
    let mut text = text.trim();
    if let Some(rest) = text
        .split_at_checked(4)
        .and_then(|(scheme, rest)| scheme.eq_ignore_ascii_case("tel:").then_some(rest))
    {
        text = rest;
        repair = Some(Repair::Scheme);
    }
    if text.starts_with(['\'', '\u{2019}', '=', '`', '"']) {
        text = text.trim_matches(['\'', '\u{2019}', '=', '`', '"', ' ']);
        repair = Some(Repair::TextMark);
    }
    if text.is_empty() {
        return Err(NumberError::Empty);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(if is_several(text) {
            NumberError::Several
        } else {
            NumberError::NotANumber
        });
    }
    if let Some(whole) = without_fraction(text)? {
        text = whole;
        repair = Some(Repair::Fraction);
    }
    if text.chars().any(char::is_alphabetic) {
        return match written_out(text) {
            Some(digits) => Ok((digits, Some(Repair::Scientific))),
            None => Err(what_letters_mean(text)),
        };
    }
    if is_several(text) {
        return Err(NumberError::Several);
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '0'..='9' => cleaned.push(c),
            '+' | '\u{ff0b}' if cleaned.is_empty() => cleaned.push('+'),
            // A second number, a feature code, or a dialling pause: guessing would call somebody else.
            '+' | '\u{ff0b}' | '*' | '#' | ';' => return Err(NumberError::NotANumber),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                repair = Some(Repair::Invisible);
            }
            _ if c.is_numeric() => {
                cleaned.push(c);
                repair = Some(Repair::Digits);
            }
            _ => {}
        }
    }
    match cleaned.as_str() {
        "" | "+" => Err(NumberError::NotANumber),
        _ => Ok((cleaned, repair)),
    }
}

/// What a spreadsheet makes of a number that it takes for a quantity: `2025550123.0`, or `2025550123,00`.
fn without_fraction(text: &str) -> Result<Option<&str>, NumberError> {
    let Some((whole, fraction)) = text.rsplit_once(['.', ',']) else {
        return Ok(None);
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = whole.strip_prefix('+').unwrap_or(whole);
    if unsigned.len() < 7 || !digits(unsigned) || !(1..=2).contains(&fraction.len()) || !digits(fraction) {
        return Ok(None);
    }
    if fraction.bytes().all(|b| b == b'0') {
        Ok(Some(whole))
    } else {
        Err(NumberError::Fraction)
    }
}

/// `1.2025550123E10` has all of its digits and is written out; `1.20256E+10` has lost some.
fn written_out(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: usize = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (whole, fraction) = mantissa.split_once(['.', ','])?;
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    (whole.len() == 1 && digits(whole) && digits(fraction) && fraction.len() == exponent)
        .then(|| format!("{whole}{fraction}"))
}

/// Whether numbers stand on both sides of what separates things.
fn is_several(text: &str) -> bool {
    const DIGITS_MIN: usize = 7;
    let digits = |t: &str| t.chars().filter(char::is_ascii_digit).count();
    let parts = text.split(['/', ';', ',', '\n', '|', '&']);
    parts.filter(|part| digits(part) >= DIGITS_MIN).count() > 1
        || text.rfind('+').is_some_and(|at| {
            at > 0
                && text
                    .split_at_checked(at)
                    .is_some_and(|(a, b)| digits(a) >= DIGITS_MIN && digits(b) >= DIGITS_MIN)
        })
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
        "or" if is_several(&lower.replace("or", "/")) => NumberError::Several,
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
            ("TEL:+1-202-555-0123", None, "+12025550123"),
            ("=\"2025550123\"", Some("US"), "+12025550123"),
            ("2025550123,00", Some("US"), "+12025550123"),
            ("1.2025550123E10", Some("US"), "+12025550123"),
            ("2.025550123e+9", Some("US"), "+12025550123"),
            ("\u{202a}+1 202 555 0123\u{202c}", None, "+12025550123"),
            ("0044 20 7946 0123", Some("US"), "+442079460123"),
            ("0044 20 7946 0123", None, "+442079460123"),
            ("٢٠٢٥٥٥٠١٢٣", Some("US"), "+12025550123"),
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
            ("1,20256E+10", Some("US"), Scientific),
            ("1.202555012E10", Some("US"), Scientific),
            ("2025550123.5", Some("US"), Fraction),
            ("202-555-0123 ext. 4", Some("US"), Extension),
            ("202-555-0123x4", Some("US"), Extension),
            ("1-800-FLOWERS", Some("US"), Letters),
            ("n/a", Some("US"), Letters),
            ("-", Some("US"), NotANumber),
            ("*67 202 555 0123", Some("US"), NotANumber),
            ("+12025550123 +12025550124", Some("US"), Several),
            ("202-555-0123 or 202-555-0124", Some("US"), Several),
            ("202555012", Some("US"), TooShort),
            ("5550123", Some("US"), TooShort),
            ("+1202555012345", None, TooLong),
            ("2025550123/2025550124", Some("US"), Several),
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
