//! Converts written telephone numbers to E.164. Input: a text, and how numbers are written there ([`Plan`]). Output: a
//! [`Numbered`], or the reason why not. A text that can be read as two numbers is refused, because one of them is another
//! person's. Errors and logs never repeat the text, because it may be personal data. The number plans are those of
//! `rlibphonenumber`. Start at [`read`].

pub mod allowed;
mod clean;
#[cfg(test)]
mod tests;

use clean::clean;
use paceline_core::contact::NumberKind;
use paceline_core::number::E164;
use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
    ValidationError,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The reason why a text is not a number that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NumberError {
    /// The text is empty.
    #[error("empty")]
    Empty,
    /// There is no number plan for this region.
    #[error("unknown default region: write two letters (ISO 3166-1) such as US")]
    UnknownRegion,
    /// A national number without a region.
    #[error("no country code: write the number with + and its country code, or set a default region")]
    NoCountry,
    /// No country has this code.
    #[error("unknown country code")]
    UnknownCountry,
    /// The text can be read as two numbers.
    #[error(
        "could be national, a number in {home}, or international, a number in {abroad}: write it with + and its country code"
    )]
    Ambiguous {
        /// The country, if it is a national number.
        home: Country,
        /// The country, if it is an international number.
        abroad: Country,
    },
    /// An international number without its `+` where national numbers are expected.
    #[error(
        "no number in its region, but one in {abroad} if a + is missing: write it with + and its country code"
    )]
    PlusMissing {
        /// The country of the international number.
        abroad: Country,
    },
    /// The number is not in the stated country.
    #[error("a number in {is}, but its country is given as {said}: correct one of them")]
    OtherCountry {
        /// The country of the number.
        is: Country,
        /// The stated country.
        said: Country,
    },
    /// `+39 (0)31…`: in Italy the zero belongs to some numbers and not to others.
    #[error("the number differs with and without the zero in parentheses: write it as it is dialed")]
    OptionalZero,
    /// `1.2025550123E+10`: digits are lost.
    #[error(
        "written by a spreadsheet in scientific notation, digits are lost: format the column as text and export again"
    )]
    Scientific,
    /// A number with a fraction.
    #[error("a number with a fraction, as a spreadsheet writes quantities")]
    Fraction,
    /// Two numbers where one should be.
    #[error("two numbers in one cell that cannot be told apart: write each in full, with `;` between them")]
    Several,
    /// A number with an extension.
    #[error("has an extension, which cannot be dialed")]
    Extension,
    /// Words, or digits written as letters.
    #[error("contains letters")]
    Letters,
    /// Anything else.
    #[error("not a telephone number")]
    NotANumber,
    /// Fewer digits than the numbers of its country.
    #[error("too short for its country")]
    TooShort,
    /// More digits than the numbers of its country.
    #[error("too long for its country")]
    TooLong,
    /// The length is right, but the range is not in use.
    #[error("no such number range in its country")]
    NotAssigned,
}

impl NumberError {
    /// True if the text is a number, but it is not known which one.
    pub fn is_doubt(self) -> bool {
        matches!(
            self,
            Self::Ambiguous { .. } | Self::PlusMissing { .. } | Self::OptionalZero
        )
    }
}

/// A repair of a text beyond removing spaces and punctuation.
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
    /// `0044…` or `01144…` where the region dials another prefix to go abroad.
    Prefix,
}

impl Repair {
    /// The repair as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scientific => "repaired: scientific notation written out, no digit was lost",
            Self::Fraction => "repaired: the `.0` of a spreadsheet taken off",
            Self::Digits => "repaired: digits of another script rewritten",
            Self::Scheme => "repaired: `tel:` taken off",
            Self::TextMark => "repaired: a spreadsheet's marks for text taken off",
            Self::Invisible => "repaired: invisible characters taken out",
            Self::Prefix => "repaired: `00` or `011` before a country code rewritten as `+`",
        }
    }
}

/// A country (ISO 3166-1), or `001` for numbers without a country.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(Region);

impl Country {
    /// The country with these two capital letters. `None` if it has no number plan.
    pub fn new(code: &str) -> Option<Self> {
        region(code).map(Self)
    }

    /// The main country with this calling code; the US for 1.
    pub fn of_calling_code(code: i32) -> Option<Self> {
        let region = PHONE_NUMBER_UTIL.get_region_for_country_code(code)?;
        (region != Region::World).then_some(Self(region))
    }

    /// Its calling code; 1 for the US and Canada.
    pub fn calling_code(self) -> Option<i32> {
        PHONE_NUMBER_UTIL.get_country_code_for_region(self.0)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.as_region_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The meaning of digits without a `+`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notation {
    /// Not stated: a text that can be read in two ways is refused.
    #[default]
    #[serde(alias = "unsaid")] // by earlier versions
    Unstated,
    /// As a number of the region.
    National,
    /// With a country code.
    International,
}

/// The word is no notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write `national` or `international`")]
pub struct NotANotation;

impl FromStr for Notation {
    type Err = NotANotation;
    fn from_str(text: &str) -> Result<Self, NotANotation> {
        match text {
            "national" => Ok(Self::National),
            "international" => Ok(Self::International),
            _ => Err(NotANotation),
        }
    }
}

/// The rules for reading the numbers of one source: their region and their notation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    region: Option<Region>,
    /// True if the region is stated for this number, and not only as a default.
    stated: bool,
    written: Notation,
}

impl Plan {
    /// Numbers without a country code are numbers of this region, if there is one.
    pub fn new(default_region: Option<&str>, written: Notation) -> Result<Self, NumberError> {
        let region = default_region.map(|code| region(code).ok_or(NumberError::UnknownRegion));
        Ok(Self {
            region: region.transpose()?,
            stated: false,
            written,
        })
    }

    /// The number is one of this country in any notation.
    #[must_use]
    pub fn in_country(self, country: Country) -> Self {
        Self {
            region: Some(country.0),
            stated: true,
            ..self
        }
    }

    /// The same for numbers with a country code.
    #[must_use]
    pub fn international(self) -> Self {
        Self {
            written: Notation::International,
            ..self
        }
    }

    /// The meaning of digits without a `+`.
    pub fn written(&self) -> Notation {
        self.written
    }

    /// The region of national numbers.
    pub fn country(&self) -> Option<Country> {
        self.region.map(Country)
    }
}

/// A number that can be called, with the data of its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number.
    pub number: E164,
    /// Its country.
    pub country: Country,
    /// Its kind.
    pub kind: NumberKind,
    /// The repair, if one was needed.
    pub repair: Option<Repair>,
}

/// True if there is a number plan for this region: two capital letters (ISO 3166-1) such as `US`.
pub fn is_region(text: &str) -> bool {
    region(text).is_some()
}

/// Loads the number plans. It takes a tenth of a second, which the first number would otherwise cost.
pub fn load_plans() {
    // The result does not matter; reading a number loads the plans.
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

/// Reads a number as people and spreadsheets write it. `default_region` is the region of numbers without a country code.
///
/// ```
/// use paceline::numbers::{NumberError, normalise};
/// assert_eq!(normalise("(202) 555-0123", Some("US"))?.expose(), "+12025550123");
/// assert_eq!(normalise("202 555 0123", None), Err(NumberError::NoCountry));
/// // Arkansas, or a Norwegian mobile without its `+`.
/// assert!(matches!(normalise("4795550123", Some("US")), Err(NumberError::Ambiguous { .. })));
/// # Ok::<(), NumberError>(())
/// ```
pub fn normalise(text: &str, default_region: Option<&str>) -> Result<E164, NumberError> {
    let plan = Plan::new(default_region, Notation::Unstated)?;
    read(text, &plan).map(|numbered| numbered.number)
}

/// Reads a number as people and spreadsheets write it. Punctuation, spaces and a trailing `.0` are ignored. The number plan
/// of its country must know the result.
pub fn read(text: &str, plan: &Plan) -> Result<Numbered, NumberError> {
    let (digits, repair) = clean(text)?;
    if repair != Some(Repair::Fraction)
        && let Some(error) = second_number(text, plan)
    {
        return Err(error);
    }
    let chosen = choose(&digits, text, plan);
    let (found, prefix) = match without_optional_zero(text) {
        Some(without) => {
            let without = clean(&without).and_then(|(digits, _)| choose(&digits, text, plan));
            match (chosen, without) {
                (Ok((with, _)), Ok((without, _))) if with.e164 != without.e164 => {
                    return Err(NumberError::OptionalZero);
                }
                (Err(error), _) | (_, Err(error)) if error.is_doubt() => return Err(error),
                (Ok(chosen), _) | (Err(_), Ok(chosen)) => chosen,
                (Err(error), Err(_)) => return Err(error),
            }
        }
        None => chosen?,
    };
    if plan.stated
        && let Some(said) = plan.country()
        && said.calling_code() != Some(found.number.country_code)
    {
        let is = found.country;
        return Err(NumberError::OtherCountry { is, said });
    }
    Ok(Numbered {
        number: found.e164,
        country: found.country,
        kind: found.kind,
        repair: prefix.or(repair),
    })
}

/// A number with the data of its plan.
struct Known {
    number: PhoneNumber,
    e164: E164,
    country: Country,
    kind: NumberKind,
}

/// The only number that these digits can be.
fn choose(digits: &str, text: &str, plan: &Plan) -> Result<(Known, Option<Repair>), NumberError> {
    if digits.starts_with('+') {
        return Ok((known(digits, None)?, None));
    }
    let behind_prefix = ["00", "011"]
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix));
    if plan.written == Notation::International {
        let rest = behind_prefix.unwrap_or(digits);
        return Ok((known(&format!("+{rest}"), None)?, None));
    }
    let with_plus = |rest: &str| known(&format!("+{rest}"), None).ok();
    let home = match plan.region {
        Some(region) => known(digits, Some(region)),
        None => Err(NumberError::NoCountry),
    };
    if let Some(rest) = behind_prefix {
        return match (home, with_plus(rest)) {
            (Ok(home), Some(abroad)) if home.e164 != abroad.e164 => Err(either(&home, &abroad)),
            (Ok(home), _) => Ok((home, None)),
            // Digits that are not a number of the region, but a number with a `+`, were written for another country.
            (Err(_), Some(abroad)) => Ok((abroad, Some(Repair::Prefix))),
            (Err(error), None) => Err(error),
        };
    }
    let without_plus =
        plan.written == Notation::Unstated && plan.region.is_some() && !digits.starts_with('0');
    let abroad = if without_plus { with_plus(digits) } else { None };
    // If the country is stated, a number of another country cannot be meant.
    let abroad = abroad.filter(|abroad| {
        let of_region = plan.country().and_then(Country::calling_code);
        !plan.stated || of_region == Some(abroad.number.country_code)
    });
    match (home, abroad) {
        (Ok(home), Some(abroad))
            if home.e164 != abroad.e164 && !is_grouped_as_at_home(&home, &abroad, text) =>
        {
            Err(either(&home, &abroad))
        }
        (Ok(home), _) => Ok((home, None)),
        (Err(_), Some(abroad)) if plan.stated => Ok((abroad, None)),
        (Err(_), Some(abroad)) => Err(NumberError::PlusMissing {
            abroad: abroad.country,
        }),
        (Err(error), None) => Err(error),
    }
}

fn either(home: &Known, abroad: &Known) -> NumberError {
    NumberError::Ambiguous {
        home: home.country,
        abroad: abroad.country,
    }
}

/// True if the text is written as in the US, `(479) 555-0123`, and not like a Norwegian number with its country code.
fn is_grouped_as_at_home(home: &Known, abroad: &Known, text: &str) -> bool {
    let groups = |text: &str| -> Vec<usize> {
        let groups = text.split(|c: char| !c.is_ascii_digit()).map(str::len);
        groups.filter(|length| *length > 0).collect()
    };
    let written = groups(text);
    let (home, abroad) = (&home.number, &abroad.number);
    written.len() > 1
        && written == groups(&home.format_as(PhoneNumberFormat::National))
        && written != groups(&abroad.format_as(PhoneNumberFormat::International))
}

/// In most countries `+44 (0)20…` is dialed without the zero.
fn without_optional_zero(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(['(', '（'])?;
    let (inside, after) = rest.split_once([')', '）'])?;
    matches!(inside.trim(), "0" | "０").then(|| format!("{before}{after}"))
}

/// True for a complete number followed by fewer digits: `030 23125012/13` is two numbers, `030/23125015` is one.
fn second_number(text: &str, plan: &Plan) -> Option<NumberError> {
    const DIGITS_MIN: usize = 4;
    let count = |text: &str| text.chars().filter(|c| clean::digit(*c).is_some()).count();
    let all = count(text);
    for (at, c) in text.char_indices() {
        let error = match c {
            '/' | '\\' | ',' | '|' | '&' | '／' | '，' | '、' => NumberError::Several,
            '(' | '（' => NumberError::Extension,
            _ => continue,
        };
        let head = text.get(..at).unwrap_or_default();
        let before = count(head);
        let behind = all - before;
        if before < DIGITS_MIN || behind == 0 || behind >= before {
            continue;
        }
        let whole = clean(head).and_then(|(digits, _)| choose(&digits, head, plan));
        if whole.as_ref().err().is_none_or(|error| error.is_doubt()) {
            return Some(error);
        }
    }
    None
}

fn known(digits: &str, region: Option<Region>) -> Result<Known, NumberError> {
    let number = PHONE_NUMBER_UTIL
        .parse(digits, region)
        .map_err(|error| match error {
            ParseError::InvalidCountryCode => NumberError::UnknownCountry,
            ParseError::NotANumber(_) => NumberError::NotANumber,
            ParseError::TooShortAfterIdd | ParseError::TooShortNsn => NumberError::TooShort,
            ParseError::TooLongNsn => NumberError::TooLong,
        })?;
    match number.is_possible_with_reason() {
        Ok(NumberLengthType::IsPossible) => {}
        // Without its area code it can only be dialed within the same area.
        Ok(NumberLengthType::IsPossibleLocalOnly) => return Err(NumberError::TooShort),
        Err(ValidationError::InvalidCountryCode) => return Err(NumberError::UnknownCountry),
        Err(ValidationError::TooLong) => return Err(NumberError::TooLong),
        Err(ValidationError::TooShort | ValidationError::InvalidLength) => return Err(NumberError::TooShort),
    }
    let kind = match number.get_type() {
        PhoneNumberType::FixedLine => NumberKind::Fixed,
        PhoneNumberType::Mobile => NumberKind::Mobile,
        PhoneNumberType::FixedLineOrMobile => NumberKind::FixedOrMobile,
        PhoneNumberType::TollFree => NumberKind::TollFree,
        PhoneNumberType::PremiumRate => NumberKind::PremiumRate,
        PhoneNumberType::SharedCost => NumberKind::SharedCost,
        PhoneNumberType::VoIP => NumberKind::Voip,
        PhoneNumberType::PersonalNumber => NumberKind::Personal,
        PhoneNumberType::Pager => NumberKind::Pager,
        PhoneNumberType::UAN => NumberKind::Uan,
        PhoneNumberType::VoiceMail => NumberKind::Voicemail,
        PhoneNumberType::Unknown => return Err(NumberError::NotAssigned),
    };
    let country = number.get_region_code().ok_or(NumberError::NotAssigned)?;
    let e164 = E164::new(&number.format_as(PhoneNumberFormat::E164)).map_err(|_| NumberError::NotANumber)?;
    Ok(Known {
        number,
        e164,
        country: Country(country),
        kind,
    })
}
