//! The numbers of a row: which is called, which are kept, and which are not wanted. In: [`Cells`] and what the columns mean.
//! Out: a [`Numbered`] to call and [`FurtherNumber`]s, or why the row has none.

use super::{Checker, Fault};
use crate::import::cells::{Cells, Kind};
use crate::import::country::country;
use crate::import::file::Settings;
use crate::import::header::Column;
use crate::numbers::{self, Country, NumberError, NumberKind, Numbered, Plan, Written};
use crate::store::FurtherNumber;

/// Which numbers are taken.
pub(super) struct Allowed {
    /// None: those of every country.
    countries: Option<Vec<Country>>,
    /// Whether somebody named them; else a row whose country is stated may have a number there.
    named: bool,
    premium_rate: bool,
}

impl Allowed {
    pub(super) fn new(settings: &Settings, plan: &Plan) -> Self {
        let named = settings.countries.as_ref().map(|all| {
            let any = all.iter().any(|country| country == Settings::ANY_COUNTRY);
            (!any).then(|| all.iter().filter_map(|country| Country::new(country)).collect())
        });
        Self {
            named: named.is_some(),
            countries: named.unwrap_or_else(|| plan.country().map(|home| vec![home])),
            premium_rate: settings.premium_rate,
        }
    }

    /// Why not, with what takes it.
    fn refuses(&self, number: &Numbered, stated: Option<Country>) -> Option<String> {
        if number.kind == NumberKind::PremiumRate && !self.premium_rate {
            let why = "a premium-rate number, which costs whoever calls it: to take them, say so (`--premium-rate`; in the API \
                `premium_rate=true`)";
            return Some(why.to_owned());
        }
        let wanted = self.countries.as_ref()?;
        if wanted.contains(&number.country) || (!self.named && stated == Some(number.country)) {
            return None;
        }
        let list: Vec<_> = wanted.iter().map(Country::to_string).collect();
        Some(format!(
            "a number in {}, and only those in {} are wanted: to take it, name its country too (`--countries`; in the API \
             `countries`)",
            number.country,
            list.join(", ")
        ))
    }
}

impl Checker<'_> {
    /// The number to call, which is that of the first telephone column in which one stands, and all others.
    pub(super) fn numbers(&mut self, cells: &Cells) -> Result<(Numbered, Vec<FurtherNumber>), Fault> {
        let stated = self.country(cells)?;
        let (mut called, mut further) = (None::<Numbered>, Vec::<FurtherNumber>::new());
        let (mut fault, mut unusable) = (None, false);
        for column in &self.columns.numbers {
            match (self.number(cells, column, stated), &called) {
                (Ok(None), _) => {}
                (Ok(Some(number)), None) => called = Some(number),
                (Ok(Some(number)), Some(first)) => {
                    let known =
                        first.number == number.number || further.iter().any(|f| f.number == number.number);
                    if !known {
                        further.push(FurtherNumber {
                            number: number.number,
                            label: column.header.clone(),
                        });
                    }
                }
                (Err(reason), _) => {
                    unusable = true;
                    fault = fault.or_else(|| Some((Some(column.header.clone()), reason)));
                }
            }
        }
        match called {
            Some(called) => {
                if unusable {
                    self.repaired("left out: a number that cannot be taken, of a contact that has another");
                }
                Ok((called, further))
            }
            None => Err(fault.unwrap_or_else(|| {
                let first = self.columns.numbers.first();
                (first.map(|c| c.header.clone()), NumberError::Empty.to_string())
            })),
        }
    }

    /// How the number to call is written, where nothing but the row itself tells: for a look at many rows.
    pub(in crate::import) fn written(
        &mut self,
        cells: &Cells,
    ) -> Option<(usize, Result<Numbered, NumberError>)> {
        let stated = self.country(cells).ok()?;
        for (n, column) in self.columns.numbers.iter().enumerate() {
            let text = self.text(cells, column).ok()?;
            if !text.is_empty() {
                return Some((n, numbers::read(&text, &self.plan_of(column, stated))));
            }
        }
        None
    }

    /// The country that the row states for its numbers.
    fn country(&mut self, cells: &Cells) -> Result<Option<Country>, Fault> {
        let mut stated: Option<Country> = None;
        let area_code = self.columns.area_code.as_ref();
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
            match stated {
                Some(before) if before.calling_code() != found.calling_code() => {
                    return Err(at("another country than a column before it says"));
                }
                // A name tells more than a calling code that several countries share.
                Some(_) if !text.contains(char::is_alphabetic) => {}
                Some(_) | None => stated = Some(found),
            }
        }
        Ok(stated)
    }

    fn plan_of(&self, column: &Column, stated: Option<Country>) -> Plan {
        let plan = match stated {
            Some(country) => self.plan.in_country(country),
            None => self.plan,
        };
        if column.international && plan.written() == Written::Unsaid {
            plan.international()
        } else {
            plan
        }
    }

    /// The number in a column; none where nothing stands there.
    fn number(
        &mut self,
        cells: &Cells,
        column: &Column,
        stated: Option<Country>,
    ) -> Result<Option<Numbered>, String> {
        match cells.kind(column.index) {
            Kind::Text => {}
            Kind::Rounded => return Err(NumberError::Scientific.to_string()),
            Kind::Date => {
                let reason =
                    "the spreadsheet takes it for a date: format the column as text and type it again";
                return Err(reason.to_owned());
            }
            Kind::Fault => return Err("shows an error of the spreadsheet, such as #N/A".to_owned()),
        }
        let text = self.text(cells, column).map_err(|(_, reason)| reason)?;
        if text.is_empty() {
            return Ok(None);
        }
        let plan = self.plan_of(column, stated);
        let area_code = match &self.columns.area_code {
            Some(column) => self.text(cells, column).map_err(|(_, reason)| reason)?,
            None => "".into(),
        };
        let read = if area_code.is_empty() || is_country_code(&area_code) || text.starts_with('+') {
            numbers::read(&text, &plan)
        } else {
            with_area_code(&area_code, &text, &plan)
        };
        let number = read.map_err(|err| reason(err, &text, &plan))?;
        match self.allowed.refuses(&number, stated) {
            Some(why) => Err(why),
            None => Ok(Some(number)),
        }
    }
}

/// `+49` or `0049` in a column for area codes.
fn is_country_code(text: &str) -> bool {
    text.starts_with('+') || text.starts_with("00")
}

/// A number whose area code stands in a column of its own, and perhaps in the number as well.
fn with_area_code(area_code: &str, text: &str, plan: &Plan) -> Result<Numbered, NumberError> {
    let joined = numbers::read(&format!("{area_code} {text}"), plan);
    let alone = numbers::read(text, plan);
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (area, number) = (digits(area_code), digits(text));
    // Dialed from afar a number begins with its area code, where there is a 0 before that with it.
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

/// With the region, where that is what may be wrong, and with what can be said of all numbers.
fn reason(err: NumberError, text: &str, plan: &Plan) -> String {
    use NumberError::{Ambiguous, NotAssigned, PlusMissing, TooLong, TooShort};
    match (err, plan.country()) {
        (TooLong | TooShort | NotAssigned, Some(region))
            if !text.starts_with('+') && plan.written() != Written::International =>
        {
            format!("{err} (read as a number in {region})")
        }
        (Ambiguous { .. } | PlusMissing { .. }, _) => format!(
            "{err}; or say how all are written (`--numbers national` or `--numbers international`; in the API `numbers`)"
        ),
        _ => err.to_string(),
    }
}
