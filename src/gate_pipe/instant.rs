//! Reads a time as RFC 3339, section 5.6, writes it. Fractions of a millisecond are cut off.

use paceline_core::time::Wall;

/// The time, or `None` if the text is not exactly a `date-time` of RFC 3339.
pub(super) fn instant(text: &str) -> Option<Wall> {
    let (date, rest) = text.as_bytes().split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let year = number([*y1, *y2])? * 100 + number([*y3, *y4])?;
    let (month, day) = (number([*m1, *m2])?, number([*d1, *d2])?);
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't', h1, h2, b':', n1, n2, b':', s1, s2] = time else {
        return None;
    };
    let (hour, minute, second) = (number([*h1, *h2])?, number([*n1, *n2])?, number([*s1, *s2])?);
    let leap = i64::from(month == 2 && (year % 4 == 0 && year % 100 != 0 || year % 400 == 0));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + leap,
        _ => return None,
    };
    // 60 is a leap second. It is read as the second before, as POSIX time has none.
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ms, rest) = fraction(rest)?;
    let offset_ms = offset(rest)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    Some(Wall(seconds * 1_000 + fraction_ms - offset_ms))
}

fn number([tens, ones]: [u8; 2]) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Milliseconds of `.123`, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = after.split_at_checked(length)?;
    let weighted = digits.iter().zip([100, 10, 1]);
    let ms = weighted
        .map(|(digit, weight)| i64::from(digit - b'0') * weight)
        .sum();
    (length > 0).then_some((ms, rest))
}

/// Milliseconds of `Z` or `+05:30`.
fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number([*h1, *h2])?, number([*m1, *m2])?);
            let ms = (hours * 60 + minutes) * 60_000;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -ms } else { ms })
        }
        _ => None,
    }
}

/// In the Gregorian calendar. (H. Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.)
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn only_rfc_3339_is_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t01:00:00.0009z", 3_600_000),
            ("2026-11-20T12:00:00.25-05:00", 1_795_194_000_250),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2024-02-29T00:00:00+05:30", 1_709_145_000_000),
        ] {
            assert_eq!(instant(text), Some(Wall(ms)), "{text}");
        }
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T12:00:00",
            "2026-11-20 12:00:00Z",
            "2026-11-20T12:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T12:60:00Z",
            "2026-11-20T12:00:61Z",
            "2026-11-20T12:00:00.Z",
            "2026-11-20T12:00:00+0530",
            "2026-11-20T12:00:00+24:00",
            "2026-11-20T12:00:00Z ",
            "20261120T120000Z",
            "2026-11-20T12:00:00Z[UTC]",
            "+002026-11-20T12:00:00Z",
            "２026-11-20T12:00:00Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_jiff_reads_it(ms in -62_000_000_000_000..253_000_000_000_000_i64, hours in -23..24_i8) {
            let at = Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(instant(&at.to_string()), Some(Wall(ms)));
            let zone = jiff::tz::Offset::constant(hours);
            let text = at.display_with_offset(zone).to_string();
            prop_assert_eq!(instant(&text), Some(Wall(ms)), "{}", text);
        }
    }
}
