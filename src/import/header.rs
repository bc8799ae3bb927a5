//! What each column of a contact file means, guessed from the header line. In: the header's cells. Out: [`Columns`],
//! which is shown to whoever imports, or why the file cannot be read.

use super::ImportError;
use serde::Serialize;

/// Most columns a file may have.
const COLUMNS_MAX: usize = 200;

/// Header names that mean the number, after [`fold`]; whole names only, so that `phone_type` is an attribute.
const NUMBER: &[&str] = &[
    "number",
    "phone",
    "phone_number",
    "phonenumber",
    "phone_no",
    "telephone",
    "telephone_number",
    "tel",
    "mobile",
    "mobile_phone",
    "mobile_number",
    "cell",
    "cell_phone",
    "msisdn",
    "e164",
    "电话",
    "电话号码",
    "手机",
    "手机号",
    "手机号码",
    "号码",
    "联系电话",
];
const NAME: &[&str] = &[
    "name",
    "full_name",
    "fullname",
    "contact",
    "contact_name",
    "customer",
    "customer_name",
    "display_name",
    "姓名",
    "客户姓名",
    "名称",
];
const TIME_ZONE: &[&str] = &["time_zone", "timezone", "tz", "zone", "iana_time_zone", "时区"];

/// What the columns mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// Where the number is.
    pub number: Column,
    /// Where the contact's name is.
    pub name: Option<Column>,
    /// Where the contact's IANA time zone is.
    pub time_zone: Option<Column>,
    /// All others, kept under their header.
    pub attributes: Vec<Column>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// From 0.
    #[serde(skip)]
    pub index: usize,
    /// As in the header line.
    pub header: String,
}

impl Columns {
    /// Every column finds its place; the leftmost wins where several could be the number.
    pub(super) fn guess(header: &[String]) -> Result<Self, ImportError> {
        if header.len() > COLUMNS_MAX {
            return Err(ImportError::TooManyColumns {
                columns: header.len(),
                max: COLUMNS_MAX,
            });
        }
        let mut number = None;
        let mut name = None;
        let mut time_zone = None;
        let mut attributes: Vec<Column> = Vec::new();
        for (index, cell) in header.iter().enumerate() {
            let folded = fold(cell);
            let column = Column {
                index,
                header: cell.trim().to_owned(),
            };
            let place = [
                (NUMBER, &mut number),
                (NAME, &mut name),
                (TIME_ZONE, &mut time_zone),
            ]
            .into_iter()
            .find(|(names, place)| names.contains(&folded.as_str()) && place.is_none());
            match place {
                Some((_, place)) => *place = Some(column),
                None if column.header.is_empty() => {
                    return Err(ImportError::UnnamedColumn { column: index + 1 });
                }
                None if attributes.iter().any(|a| a.header == column.header) => {
                    return Err(ImportError::TwoColumnsOfOneName {
                        header: column.header,
                    });
                }
                None => attributes.push(column),
            }
        }
        // The header is not repeated: in a file without one, it would be the first contact.
        let number = number.ok_or(ImportError::NoNumberColumn)?;
        Ok(Self {
            number,
            name,
            time_zone,
            attributes,
        })
    }

    /// One line for people: `number from "Phone", attributes from "City"`.
    pub fn describe(&self) -> String {
        let quoted = |c: &Column| format!("`{}`", c.header);
        let mut parts = vec![format!("number from {}", quoted(&self.number))];
        parts.extend(self.name.as_ref().map(|c| format!("name from {}", quoted(c))));
        parts.extend(
            self.time_zone
                .as_ref()
                .map(|c| format!("time zone from {}", quoted(c))),
        );
        if !self.attributes.is_empty() {
            let all: Vec<_> = self.attributes.iter().map(quoted).collect();
            parts.push(format!("attributes from {}", all.join(", ")));
        }
        parts.join("; ")
    }
}

/// `" Phone-Number"` is `phone_number`.
fn fold(header: &str) -> String {
    let words = header
        .split(|c: char| c.is_whitespace() || "-_./:#".contains(c))
        .filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(header: &str) -> Result<Columns, ImportError> {
        let cells: Vec<_> = header.split(',').map(str::to_owned).collect();
        Columns::guess(&cells)
    }

    #[test]
    fn columns_are_known_by_the_names_that_people_give_them() {
        for (header, means) in [
            ("number", "number from `number`"),
            (
                "Name, Phone Number ,City",
                "number from `Phone Number`; name from `Name`; attributes from `City`",
            ),
            (
                "TZ,mobile,phone",
                "number from `mobile`; time zone from `TZ`; attributes from `phone`",
            ),
            ("姓名,手机号码", "number from `手机号码`; name from `姓名`"),
            (
                "phone_type,Tel.",
                "number from `Tel.`; attributes from `phone_type`",
            ),
        ] {
            assert_eq!(guess(header).unwrap().describe(), means, "{header}");
        }
    }

    #[test]
    fn a_header_that_would_lose_something_is_refused() {
        assert!(matches!(guess("city,age"), Err(ImportError::NoNumberColumn)));
        assert!(matches!(
            guess("number,,x"),
            Err(ImportError::UnnamedColumn { column: 2 })
        ));
        assert!(matches!(
            guess("number,x,x"),
            Err(ImportError::TwoColumnsOfOneName { .. })
        ));
        let many = format!("number{}", ",x".repeat(200));
        assert!(matches!(
            guess(&many),
            Err(ImportError::TooManyColumns { columns: 201, .. })
        ));
    }
}
