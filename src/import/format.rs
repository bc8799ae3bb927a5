//! Formats whole numbers of a spreadsheet by their number format. With the format `"+"0`, a spreadsheet shows
//! 491713920012 as +491713920012, and the `+` is part of the number. In: a format code and a whole number. Out: a text,
//! or nothing if the format shows only digits or is not for whole numbers.

/// A format for whole numbers that shows more than their digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown(Vec<Part>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// `0`: a digit, or 0 if there is none.
    Digit,
    /// `#` or `?`: a digit, if there is one.
    DigitIfAny,
}

/// Maximum number of parts in a format.
const PARTS_MAX: usize = 64;

impl Shown {
    /// Reads a format's code.
    pub(super) fn new(code: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut chars = code.chars();
        while let Some(c) = chars.next() {
            match c {
                // The next section is for negative numbers.
                ';' => break,
                '"' => parts.extend(chars.by_ref().take_while(|c| *c != '"').map(Part::Literal)),
                '\\' => parts.push(Part::Literal(chars.next()?)),
                // A space as wide as the next character, or a fill with it.
                '_' | '*' => {
                    chars.next();
                }
                '0' => parts.push(Part::Digit),
                '#' | '?' => parts.push(Part::DigitIfAny),
                '+' | '-' | '(' | ')' | ' ' | ':' => parts.push(Part::Literal(c)),
                // `[$-409]` is a language. Conditions and colours change what is shown.
                '[' => {
                    let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                    if !inside.starts_with("$-") {
                        return None;
                    }
                }
                // Formats of quantities, dates and texts.
                _ => return None,
            }
            if parts.len() > PARTS_MAX {
                return None;
            }
        }
        let digits = parts
            .iter()
            .filter(|part| !matches!(part, Part::Literal(_)))
            .count();
        let zeros = parts.iter().filter(|part| **part == Part::Digit).count();
        (digits > 0 && (digits < parts.len() || zeros > 1)).then_some(Self(parts))
    }

    /// The text that the spreadsheet shows for a whole number.
    pub(super) fn show(&self, number: u64) -> String {
        let text = number.to_string();
        let mut left = text.bytes().rev();
        let first = self.0.iter().position(|part| !matches!(part, Part::Literal(_)));
        let mut shown = Vec::new();
        for (n, part) in self.0.iter().enumerate().rev() {
            match part {
                Part::Literal(c) => shown.push(*c),
                Part::Digit => shown.push(left.next().map_or('0', char::from)),
                Part::DigitIfAny => shown.extend(left.next().map(char::from)),
            }
            if Some(n) == first {
                shown.extend(left.by_ref().map(char::from));
            }
        }
        shown.into_iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_their_format_shows_them() {
        for (code, number, shown) in [
            ("\"+\"0", 491_713_920_012, "+491713920012"),
            ("\\+0", 491_713_920_012, "+491713920012"),
            ("+#", 442_079_460_123, "+442079460123"),
            ("\"+49 \"0", 1_713_920_012, "+49 1713920012"),
            ("+0;-0;0", 33_199_001_234, "+33199001234"),
            ("00000000000", 3_023_125_012, "03023125012"),
            ("[$-409](000) 000-0000", 2_025_550_123, "(202) 555-0123"),
            ("(###) ###-####", 2_025_550_123, "(202) 555-0123"),
            ("0\" \"000\" \"000", 12_345_678, "12 345 678"),
        ] {
            assert_eq!(
                Shown::new(code).map(|s| s.show(number)).as_deref(),
                Some(shown),
                "{code}"
            );
        }
    }

    #[test]
    fn formats_for_other_things_are_left_alone() {
        for code in [
            "General",
            "0",
            "#",
            "@",
            "0.00",
            "#,##0",
            "0%",
            "0.00E+00",
            "yyyy-mm-dd",
            "[Red]0",
            "[<1000]0;\"x\"0",
            "",
        ] {
            assert_eq!(Shown::new(code), None, "{code}");
        }
    }
}
