//! Reads the numbers of a row in the order of dialing, and refuses unwanted ones. In: [`Cells`] and the meaning of the
//! columns. Out: the first number as [`Numbered`] and all as [`ContactNumber`]s, or the reason why the row has none.

use super::{Checker, Fault};
use crate::import::cells::{Cells, Kind};
use crate::import::country::country;
use crate::import::header::{Column, Field};
use crate::numbers::{self, Country, Notation, NumberError, Numbered, Plan};
use paceline_core::contact::{ContactNumber, CountryCode, NUMBERS_MAX};

impl Checker<'_> {
    /// The number to dial first, from the first number column that is not blank; all numbers; and the country that the
    /// row names.
    pub(super) fn numbers(
        &mut self,
        cells: &Cells,
    ) -> Result<(Numbered, Vec<ContactNumber>, Option<CountryCode>), Fault> {
        let (stated, named) = self.country(cells)?;
        let (mut first, mut all) = (None::<Numbered>, Vec::<ContactNumber>::new());
        let (mut fault, mut unusable) = (None, false);
        let columns = self.columns;
        for (n, column) in columns.numbers.iter().enumerate() {
            for read in self.numbers_in(cells, column, stated) {
                match read {
                    Ok(read) => {
                        let known = all.iter().any(|n| n.number == read.number);
                        if !known && all.len() < NUMBERS_MAX {
                            all.push(ContactNumber {
                                number: read.number.clone(),
                                kind: Some(read.kind),
                                label: self.labels.get(n).cloned().flatten(),
                            });
                        }
                        first.get_or_insert(read);
                    }
                    Err(reason) => {
                        unusable = true;
                        fault = fault.or_else(|| Some((Some(column.header.clone()), reason)));
                    }
                }
            }
        }
        match first {
            Some(first) => {
                if unusable {
                    self.repaired("left out: a number that cannot be taken, of a contact that has another");
                }
                Ok((first, all, named))
            }
            None => Err(fault.unwrap_or_else(|| {
                let first = columns.numbers.first();
                (first.map(|c| c.header.clone()), NumberError::Empty.to_string())
            })),
        }
    }

    /// The column and the first number of a row, or the reason why that is not a number. It uses no area code and
    /// refuses no country, because it serves only to judge how a file's numbers are written. `None` if the row has no
    /// number.
    pub(in crate::import) fn written(
        &mut self,
        cells: &Cells,
    ) -> Option<(usize, Result<Numbered, NumberError>)> {
        let (stated, _) = self.country(cells).ok()?;
        for (n, column) in self.columns.numbers.iter().enumerate() {
            let text = self.text(cells, column).ok()?;
            if !text.is_empty() {
                let parts = several(&text);
                let first = parts.as_ref().and_then(|parts| parts.first()).copied();
                let plan = self.plan_of(column, stated);
                return Some((n, numbers::read(first.unwrap_or(&text), &plan)));
            }
        }
        None
    }

    /// The country that the row states for its numbers, and the country that it names by letters. A calling code names
    /// no country, because several countries may share it.
    fn country(&mut self, cells: &Cells) -> Result<(Option<Country>, Option<CountryCode>), Fault> {
        let (mut stated, mut named) = (None::<Country>, None);
        let area_code = self.columns.field(Field::AreaCode);
        for column in self.columns.countries.iter().chain(area_code) {
            let text = self.text(cells, column)?;
            let is_area = Some(column) == area_code && !is_country_code(&text);
            if text.is_empty() || is_area {
                continue;
            }
            let at = |reason: &str| (Some(column.header.clone()), reason.to_owned());
            let found = country(&text).ok_or_else(|| {
                at("not a country that is known: write two letters (ISO 3166-1) such as US or a calling code such as +1, or leave \
                    the column out (`--column ignore=…`; in the API `ignore_columns`)")
            })?;
            let is_name = text.contains(char::is_alphabetic);
            if is_name && named.is_none() {
                named = CountryCode::new(&found.to_string()).ok();
            }
            match stated {
                Some(before) if before.calling_code() != found.calling_code() => {
                    return Err(at("another country than a column before it says"));
                }
                // A name is more exact than a calling code that several countries share.
                Some(_) if !is_name => {}
                Some(_) | None => stated = Some(found),
            }
        }
        Ok((stated, named))
    }

    fn plan_of(&self, column: &Column, stated: Option<Country>) -> Plan {
        let plan = match stated {
            Some(country) => self.plan.in_country(country),
            None => self.plan,
        };
        if column.international && plan.written() == Notation::Unstated {
            plan.international()
        } else {
            plan
        }
    }

    /// The numbers in a column. Empty if the cell is blank.
    fn numbers_in(
        &mut self,
        cells: &Cells,
        column: &Column,
        stated: Option<Country>,
    ) -> Vec<Result<Numbered, String>> {
        let refused = |reason: String| vec![Err(reason)];
        match cells.kind(column.index) {
            Kind::Text => {}
            Kind::Rounded => return refused(NumberError::Scientific.to_string()),
            Kind::Date => {
                let reason =
                    "the spreadsheet takes it for a date: format the column as text and type it again";
                return refused(reason.to_owned());
            }
            Kind::Fault => return refused("shows an error of the spreadsheet, such as #N/A".to_owned()),
        }
        let text = match self.text(cells, column) {
            Ok(text) => text,
            Err((_, reason)) => return refused(reason),
        };
        if text.is_empty() {
            return Vec::new();
        }
        let area_code = match self.columns.field(Field::AreaCode) {
            Some(column) => match self.text(cells, column) {
                Ok(text) => text,
                Err((_, reason)) => return refused(reason),
            },
            None => "".into(),
        };
        let plan = self.plan_of(column, stated);
        let read = |text: &str| {
            if area_code.is_empty() || is_country_code(&area_code) || text.starts_with('+') {
                numbers::read(text, &plan)
            } else {
                with_area_code(&area_code, text, &plan)
            }
        };
        let each = |text: &str| {
            let read = read(text).map_err(|err| reason(err, text, &plan))?;
            match self.allowed.refuses(&read, stated) {
                Some(why) => Err(why),
                None => Ok(read),
            }
        };
        match several(&text) {
            Some(parts) => parts.into_iter().map(each).collect(),
            None => vec![each(&text)],
        }
    }
}

/// The numbers of a cell with several complete numbers that are written in the same way: `030 23125012; 030 23125013`.
/// `None` if the cell has one number, or if a part could be the end of the number before it, as in `030 23125012/13`:
/// only the user can decide that.
fn several(text: &str) -> Option<Vec<&str>> {
    const SEPARATORS: [&[char]; 4] = [&[';', '；'], &['|'], &[',', '，', '、'], &['/', '／']];
    const DIGITS_MIN: usize = 7;
    let whole = |part: &&str| part.chars().filter(|c| c.is_numeric()).count() >= DIGITS_MIN;
    SEPARATORS.into_iter().find_map(|separators| {
        let parts = text.split(separators).map(str::trim);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let first = how_written(parts.first()?);
        let fits = (2..=NUMBERS_MAX).contains(&parts.len());
        let alike = parts.iter().all(|part| how_written(part) == first);
        (fits && alike && parts.iter().all(whole)).then_some(parts)
    })
}

/// The notation of a number: with its country code, with its trunk prefix, or only a count of digits.
#[derive(PartialEq, Eq)]
enum HowWritten {
    International,
    TrunkPrefix,
    Digits(usize),
}

fn how_written(number: &str) -> HowWritten {
    let mut digits = number.chars().filter(|c| c.is_numeric()).peekable();
    if number.starts_with(['+', '＋']) || number.starts_with("00") {
        HowWritten::International
    } else if digits.peek().is_some_and(|c| matches!(c, '0' | '０')) {
        HowWritten::TrunkPrefix
    } else {
        HowWritten::Digits(digits.count())
    }
}

/// True for `+49` or `0049`, which some lists have in the column of area codes.
fn is_country_code(text: &str) -> bool {
    text.starts_with('+') || text.starts_with("00")
}

/// A number with its area code in another column, and perhaps in the number as well.
fn with_area_code(area_code: &str, text: &str, plan: &Plan) -> Result<Numbered, NumberError> {
    let joined = numbers::read(&format!("{area_code} {text}"), plan);
    let alone = numbers::read(text, plan);
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (area, number) = (digits(area_code), digits(text));
    // A number that is dialed from another area begins with its area code, including the 0 if there is one.
    let is_whole = number.starts_with(&area) && area.starts_with('0');
    let is_local = !number.starts_with('0') && !number.starts_with(area.trim_start_matches('0'));
    match (joined, alone) {
        (Ok(_), Ok(alone)) if is_whole => Ok(alone),
        (Ok(joined), Ok(alone)) if !is_local && joined.number != alone.number => {
            Err(NumberError::Ambiguous {
                home: joined.country,
                abroad: alone.country,
            })
        }
        (Ok(joined), _) => Ok(joined),
        (Err(_), Ok(alone)) if !is_local => Ok(alone),
        (Err(error), _) => Err(error),
    }
}

/// The reason of an error, with the region if the region may be wrong, and with advice that applies to all numbers.
fn reason(err: NumberError, text: &str, plan: &Plan) -> String {
    use NumberError::{Ambiguous, NotAssigned, PlusMissing, TooLong, TooShort};
    match (err, plan.country()) {
        (TooLong | TooShort | NotAssigned, Some(region))
            if !text.starts_with('+') && plan.written() != Notation::International =>
        {
            format!("{err} (read as a number in {region})")
        }
        (Ambiguous { .. } | PlusMissing { .. }, _) => format!(
            "{err}; or say how all are written (`--numbers national` or `--numbers international`; in the API `numbers`)"
        ),
        _ => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_several_numbers_only_if_each_is_complete_and_written_in_the_same_way() {
        for (text, parts) in [
            ("2025550123;2025550124", vec!["2025550123", "2025550124"]),
            (
                "(202) 555-0123 / (202) 555-0124",
                vec!["(202) 555-0123", "(202) 555-0124"],
            ),
            ("030 23125012, 030 23125013", vec!["030 23125012", "030 23125013"]),
            ("089/123456 | 089/123457", vec!["089/123456", "089/123457"]),
            (
                "+12025550123|0014792025550",
                vec!["+12025550123", "0014792025550"],
            ),
            ("13800000001、13800000002", vec!["13800000001", "13800000002"]),
        ] {
            assert_eq!(several(text), Some(parts), "{text}");
        }
        for text in [
            "030 23125012/13",
            "030/23125015",
            "030 23125012, 23125013",
            "2025550123/5550124",
            "12/34/56/78/90",
            "+12025550123",
            "2025550123 2025550124",
            ";",
        ] {
            assert_eq!(several(text), None, "{text}");
        }
    }
}
