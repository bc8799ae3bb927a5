//! Hides telephone numbers in free text: names, attributes, messages of a PBX or a carrier.
//!
//! Input: any text. Output: the same text with everything masked that may be a telephone number, like
//! [`crate::number::E164::masked`]. It hides too much rather than too little: a customer number of seven digits is masked
//! as well.

use std::borrow::Cow;

/// Fewer digits are not a telephone number that can be called from outside its own exchange. They are extensions, years,
/// prices or postal codes.
const DIGITS_MIN: usize = 7;
/// Number of digits that stay readable at the end, as in [`crate::number::E164::masked`].
const DIGITS_SHOWN: usize = 2;
const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
/// Masks runs of seven or more digits. Between two digits of a run there may be anything but a letter, because nobody knows
/// all separators that people and exports of other programs write. UUIDs and ISO 8601 dates and times stay as they are.
pub fn mask_numbers(text: &str) -> Cow<'_, str> {
    if text.chars().filter(|c| c.is_numeric()).count() < DIGITS_MIN {
        return Cow::Borrowed(text);
    }
    let mut masked = String::new();
    let mut rest = text;
    let mut changed = false;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let kept = if after_word { 0 } else { machine_made(rest) };
        let run = if kept == 0 && first.is_numeric() {
            Run::at(rest)
        } else {
            Run::default()
        };
        let taken = if kept > 0 {
            kept
        } else {
            run.bytes.max(first.len_utf8())
        };
        let (head, tail) = rest.split_at(taken);
        if run.digits >= DIGITS_MIN {
            hide(head, run.digits - DIGITS_SHOWN, &mut masked);
            changed = true;
        } else {
            masked.push_str(head);
        }
        after_word = head.chars().next_back().is_some_and(char::is_alphanumeric);
        rest = tail;
    }
    if changed {
        Cow::Owned(masked)
    } else {
        Cow::Borrowed(text)
    }
}

/// A run of digits with their separators.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    digits: usize,
    /// Length in bytes up to the end of the last digit.
    bytes: usize,
}

impl Run {
    fn at(text: &str) -> Self {
        let (mut run, mut in_gap) = (Self::default(), false);
        for (at, c) in text.char_indices() {
            if c.is_numeric() {
                let is_uuid = || shaped(text.get(at..).unwrap_or_default(), UUID) > 0;
                if in_gap && is_uuid() {
                    break;
                }
                run.digits += 1;
                run.bytes = at + c.len_utf8();
            } else if c.is_alphabetic() {
                break;
            }
            in_gap = !c.is_numeric();
        }
        run
    }
}

fn hide(run: &str, mut hidden: usize, into: &mut String) {
    for c in run.chars() {
        if c.is_numeric() && hidden > 0 {
            hidden -= 1;
            into.push('*');
        } else {
            into.push(c);
        }
    }
}

/// Length in bytes of a UUID, or of a date with or without a time, at the beginning of `text`. 0 if it is part of something
/// longer.
fn machine_made(text: &str) -> usize {
    const DATE: &str = "0000-10-30";
    const TIMES: [&str; 4] = ["T20:60:60.000000", "T20:60:60.000", "T20:60:60", "T20:60"];
    let mut taken = shaped(text, UUID);
    if taken == 0 {
        taken = shaped(text, DATE);
        if taken > 0 {
            let after = text.get(taken..).unwrap_or_default();
            taken += TIMES
                .iter()
                .map(|shape| shaped(after, shape))
                .find(|n| *n > 0)
                .unwrap_or(0);
            let after = text.get(taken..).unwrap_or_default();
            taken += shaped(after, "Z")
                .max(shaped(after, "+20:60"))
                .max(shaped(after, "-20:60"));
        }
    }
    let mut after = text
        .get(taken..)
        .unwrap_or_default()
        .chars()
        .skip_while(|c| matches!(c, '-' | '/' | '.'));
    if after.next().is_some_and(char::is_alphanumeric) {
        0
    } else {
        taken
    }
}

/// Length of `shape` if `text` begins with it, else 0. In a shape, `x` is a hexadecimal digit, `0` any digit, `1` to `6` a
/// digit up to that one, `T` a `T` or a space; every other character stands for itself.
fn shaped(text: &str, shape: &str) -> usize {
    let fits = |(is, wanted): (u8, u8)| match wanted {
        b'x' => is.is_ascii_hexdigit(),
        b'0' => is.is_ascii_digit(),
        b'1'..=b'6' => (b'0'..=wanted).contains(&is),
        b'T' => matches!(is, b'T' | b' '),
        other => is == other,
    };
    let matches = text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(fits);
    if matches { shape.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_that_may_be_a_number_is_masked_except_its_last_two_digits() {
        for (text, masked) in [
            ("+12025550123", "+*********23"),
            ("call +1 (202) 555-0123, please", "call +* (***) ***-**23, please"),
            ("0171/39 20 012", "****/** ** *12"),
            ("5550123", "*****23"),
            ("Acme 2025550123 Ltd", "Acme ********23 Ltd"),
            (
                "no endpoint PJSIP/+12025550140@carrier",
                "no endpoint PJSIP/+*********40@carrier",
            ),
            ("sip:12025550140@pbx", "sip:*********40@pbx"),
            ("sip:12025550140@192.0.2.1", "sip:***********@***.*.2.1"),
            ("030*2312*5012", "***********12"),
            ("202)    555    0123", "***)    ***    **23"),
            ("0171:39:20:012; 5=5", "****:**:**:***; 5=5"),
            (
                "2\u{fe0f}\u{20e3}0\u{fe0f}\u{20e3}25550",
                "*\u{fe0f}\u{20e3}*\u{fe0f}\u{20e3}***50",
            ),
            (
                "\u{ff12}\u{ff10}\u{ff12}\u{ff15}\u{ff15}\u{ff15}\u{ff10}",
                "*****\u{ff15}\u{ff10}",
            ),
            ("202\u{a0}555\u{2011}0123", "***\u{a0}***\u{2011}**23"),
            ("2026-11-20/5550123", "****-**-**/*****23"),
            ("x2025550123", "x********23"),
        ] {
            assert_eq!(mask_numbers(text), masked, "{text}");
        }
    }

    #[test]
    fn ids_times_and_short_digit_runs_stay_readable() {
        for text in [
            "",
            "Room 1204, line 2",
            "2026-11-20",
            "2026-11-20T09:00:00.000Z",
            "since 2026-11-20 09:00, until 2026-11-21T10:30:00+01:00.",
            "0198b8c2-7a5e-7c31-9f00-123456789012",
            "leg 00000000-0000-0000-0000-000000000007 is gone",
            "legs 2: 00000000-0000-0000-0000-000000000007, 0198b8c2-7a5e-7c31-9f00-123456789012",
            "PJSIP/{number}@carrier-a",
        ] {
            assert_eq!(mask_numbers(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_masked_in_every_notation(
            digits in "[1-9][0-9]{6,14}", gaps in prop::collection::vec("([ ./()-]{0,2}|[ -/:-@\\[-`{-~\\t\u{a0}\u{200b}\u{2011}\u{fe0f}\u{20e3}]{0,6})", 15), before in "[a-z ]{0,6}", after in "[a-z ]{0,6}"
        ) {
            let mut written = String::new();
            for (digit, gap) in digits.chars().zip(&gaps) {
                written.push(digit);
                written.push_str(gap);
            }
            let text = format!("{before}+{written}{after}");
            let masked = mask_numbers(&text).into_owned();
            let shown: String = masked.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(shown.len() <= 8 && !shown.contains(&digits), "{text} became {masked}");
            // A number may be written like a date, and a date is not masked.
            let date = shown.len() == 8;
            prop_assert!(date || digits.ends_with(&shown), "{text} became {masked}");
        }

        #[test]
        fn masking_keeps_the_length_and_a_second_pass_changes_nothing(text in ".{0,60}") {
            let once = mask_numbers(&text).into_owned();
            prop_assert_eq!(once.chars().count(), text.chars().count());
            prop_assert_eq!(mask_numbers(&once).into_owned(), once);
        }
    }
}
