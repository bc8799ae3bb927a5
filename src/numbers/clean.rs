//! Removes what people and spreadsheets write around the digits of a number. Input: a text. Output: digits with at most one
//! `+` in front, and the repair if there was one. It knows no number plan.

use super::{NumberError, Repair};

/// Maximum length of a text in bytes. E.164 with all usual punctuation is much shorter.
const TEXT_BYTES_MAX: usize = 64;

/// Digits with at most one `+` in front.
pub(super) fn clean(text: &str) -> Result<(String, Option<Repair>), NumberError> {
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
            '#' if !cleaned.is_empty() => return Err(NumberError::Extension),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                repair = Some(Repair::Invisible);
            }
            _ if is_punctuation(c) => {}
            // This may be a second number, a feature code or a dialling pause. A guess would call another person.
            _ => {
                cleaned.push(digit(c).ok_or(NumberError::NotANumber)?);
                repair = Some(Repair::Digits);
            }
        }
    }
    match cleaned.as_str() {
        "" | "+" => Err(NumberError::NotANumber),
        _ => Ok((cleaned, repair)),
    }
}

/// Characters that people write between digits without a meaning.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '-' | '.'
                | '('
                | ')'
                | '['
                | ']'
                | '/'
                | '\\'
                | ','
                | ':'
                | '_'
                | '~'
                | '|'
                | '&'
                | '\''
                | '"'
                | '`'
        )
        || matches!(
            c,
            '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201f}' | '\u{2212}' | '\u{b7}' | '\u{2022}' | '\u{ad}'
        )
        || matches!(
            c,
            '（' | '）' | '／' | '，' | '、' | '．' | '。' | '：' | '－' | '［' | '］' | '＿' | '\u{fe63}'
        )
}

/// The ASCII digit of a decimal digit of any script that is used in telephone numbers.
pub(super) fn digit(c: char) -> Option<char> {
    #[rustfmt::skip]
    const ZEROS: [u32; 22] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20,
        0x1040, 0x17e0, 0x1810, 0x1946, 0xa9d0, 0xff10,
    ];
    let value = ZEROS
        .iter()
        .find_map(|zero| (c as u32).checked_sub(*zero).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

/// Detects what a spreadsheet makes of a number that it takes for a quantity: `2025550123.0` or `2025550123,00`.
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

/// True if numbers are on both sides of a separator.
fn is_several(text: &str) -> bool {
    const DIGITS_MIN: usize = 7;
    let digits = |t: &str| t.chars().filter(|c| digit(*c).is_some()).count();
    let parts = text.split(['/', ';', ',', '\n', '|', '&', '／', '；', '，', '、']);
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
