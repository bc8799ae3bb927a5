//! The meaning of each column of a contact file: guessed from the header, or as the user states it. In: the header's
//! cells and a [`Mapping`]. Out: [`Columns`], which are shown to the user, or the reason why the file cannot be read.

mod words;

use super::ImportError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use words::{Meaning, meaning};

/// Maximum number of columns in a file.
const COLUMNS_MAX: usize = 200;
/// Maximum length of a column's name in bytes. The name is stored with each contact, and with each row that is rejected
/// for this column.
const HEADER_BYTES_MAX: usize = 1000;

/// The meaning of the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// The columns of numbers, in the order of dialing.
    pub numbers: Vec<Column>,
    /// The columns of the numbers' country, which is also the contact's.
    pub countries: Vec<Column>,
    /// The columns of other known fields.
    #[serde(flatten)]
    pub fields: BTreeMap<Field, Column>,
    /// All other columns, kept under their header. The columns of the country and the area code are kept too.
    pub attributes: Vec<Column>,
    /// Columns that the user left out.
    pub ignored: Vec<Column>,
    /// Number of columns in the header. A column without a name must be blank.
    #[serde(skip)]
    pub width: usize,
}

/// A field of a contact that a column can hold, beside its numbers and their country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The area code of the numbers.
    AreaCode,
    /// The contact's name.
    Name,
    /// The contact's IANA time zone.
    TimeZone,
    /// The contact's id in the system that it comes from.
    ExternalId,
    /// Words to find and select contacts by, separated by `;`, `,` or `|`.
    Tags,
    /// The tier, 1 to 9 or A to I.
    Tier,
    /// The language (BCP 47).
    Language,
    /// State or province.
    State,
    /// The postal code.
    PostalCode,
    /// The kind of a consent.
    Consent,
    /// The purpose of the consent.
    ConsentScope,
    /// The time when the consent was given.
    ConsentGrantedAt,
    /// The time when the consent ends.
    ConsentExpiresAt,
    /// The place where the consent can be proved.
    ConsentProof,
}

impl Field {
    const ALL: [Self; 14] = [
        Self::AreaCode,
        Self::Name,
        Self::TimeZone,
        Self::ExternalId,
        Self::Tags,
        Self::Tier,
        Self::Language,
        Self::State,
        Self::PostalCode,
        Self::Consent,
        Self::ConsentScope,
        Self::ConsentGrantedAt,
        Self::ConsentExpiresAt,
        Self::ConsentProof,
    ];

    /// The word for the field in a mapping.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AreaCode => "area_code",
            Self::Name => "name",
            Self::TimeZone => "time_zone",
            Self::ExternalId => "external_id",
            Self::Tags => "tags",
            Self::Tier => "tier",
            Self::Language => "language",
            Self::State => "state",
            Self::PostalCode => "postal_code",
            Self::Consent => "consent",
            Self::ConsentScope => "consent_scope",
            Self::ConsentGrantedAt => "consent_granted_at",
            Self::ConsentExpiresAt => "consent_expires_at",
            Self::ConsentProof => "consent_proof",
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Index of the column, from 0.
    #[serde(skip)]
    pub index: usize,
    /// The text in the header line.
    pub header: String,
    /// True if the name means numbers with their country code.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub international: bool,
}

/// The user's statements about the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The column of numbers, or several columns separated by commas, in the order of dialing.
    pub number: Option<ColumnRef>,
    /// The column of the numbers' country.
    pub country: Option<ColumnRef>,
    /// The columns of the other fields.
    pub fields: BTreeMap<Field, ColumnRef>,
    /// The columns to leave out.
    pub ignore: Vec<ColumnRef>,
    /// True if the first line is a contact.
    pub no_header: bool,
}

/// A column, by its header or as `#2` by its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRef(String);

/// The text is not `FIELD=COLUMN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write FIELD=COLUMN: FIELD is number, country, area_code, name, time_zone, external_id, tags, tier, language, state, postal_code, \
     consent, consent_scope, consent_granted_at, consent_expires_at, consent_proof or ignore; COLUMN is a header, or #2 for the second \
     column; numbers may be in several: number=Mobile,Office"
)]
pub struct NotAColumn;

impl Mapping {
    /// True if one of these cells is the header that the user named for the number. `None` if the user named none.
    pub(super) fn number_is_named(&self, cells: &[String]) -> Option<bool> {
        let named = self.number.as_ref().filter(|column| !column.0.starts_with('#'));
        named.map(|column| column.parts(cells).iter().any(|part| part.find(cells).is_some()))
    }

    /// Adds a statement `FIELD=COLUMN`.
    pub fn add(&mut self, text: &str) -> Result<(), NotAColumn> {
        let (field, column) = text.split_once('=').ok_or(NotAColumn)?;
        if column.trim().is_empty() {
            return Err(NotAColumn);
        }
        let column = ColumnRef(column.trim().to_owned());
        match field.trim() {
            "number" => self.number = Some(column),
            "country" => self.country = Some(column),
            "ignore" => self.ignore.push(column),
            other => {
                let field = Field::ALL.into_iter().find(|field| field.as_str() == other);
                self.fields.insert(field.ok_or(NotAColumn)?, column);
            }
        }
        Ok(())
    }
}

impl ColumnRef {
    /// The columns of a text with commas, unless the whole text is a header.
    fn parts(&self, header: &[String]) -> Vec<Self> {
        if self.find(header).is_some() {
            return vec![self.clone()];
        }
        let parts = self.0.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Self(part.to_owned())).collect()
    }

    /// Index of the column in a header, from 0.
    fn find(&self, header: &[String]) -> Option<usize> {
        let exact = header.iter().position(|cell| cell.trim() == self.0);
        let by_place = || {
            let place: usize = self.0.strip_prefix('#')?.parse().ok()?;
            place.checked_sub(1).filter(|index| *index < header.len())
        };
        let folded = || header.iter().position(|cell| fold(cell) == fold(&self.0));
        exact.or_else(by_place).or_else(folded)
    }

    fn place(&self, header: &[String]) -> Result<usize, ImportError> {
        self.find(header).ok_or_else(|| ImportError::NoSuchColumn {
            column: self.0.clone(),
            columns: header.join("`, `"),
        })
    }
}

/// True if one of these cells is a known name for numbers.
pub(super) fn names_number(cells: &[String]) -> bool {
    let known = |cell: &String| {
        matches!(
            meaning(&fold(cell)),
            Meaning::Number | Meaning::International | Meaning::NumberPerhaps
        )
    };
    cells.iter().any(known)
}

impl Columns {
    /// Finds the meaning of every column. If several columns could be the same field, the leftmost one is used.
    pub(super) fn guess(header: &[String], mapping: &Mapping) -> Result<Self, ImportError> {
        check_size(header)?;
        let said = |column: &Option<ColumnRef>| column.as_ref().map(|c| c.place(header)).transpose();
        let ignored = mapping.ignore.iter().map(|c| c.place(header));
        let ignored = ignored.collect::<Result<Vec<_>, _>>()?;
        let numbers = mapping
            .number
            .as_ref()
            .map_or(Vec::new(), |column| column.parts(header));
        let mut numbers = numbers
            .iter()
            .map(|c| c.place(header))
            .collect::<Result<Vec<_>, _>>()?;
        let mut countries: Vec<usize> = said(&mapping.country)?.into_iter().collect();
        let fields = mapping
            .fields
            .iter()
            .map(|(field, c)| Ok((*field, c.place(header)?)));
        let mut fields = fields.collect::<Result<BTreeMap<Field, usize>, ImportError>>()?;
        let (numbers_said, country_said) = (!numbers.is_empty(), !countries.is_empty());
        let meanings: Vec<_> = header.iter().map(|cell| meaning(&fold(cell))).collect();
        let sure = meanings
            .iter()
            .any(|m| matches!(m, Meaning::Number | Meaning::International));
        for (index, meaning) in meanings.iter().enumerate() {
            let said = fields.values().any(|place| *place == index)
                || [&ignored, &numbers, &countries]
                    .iter()
                    .any(|all| all.contains(&index));
            match meaning {
                _ if said => {}
                Meaning::Number | Meaning::International if !numbers_said => numbers.push(index),
                Meaning::NumberPerhaps if !numbers_said && !sure => numbers.push(index),
                Meaning::Country if !country_said => countries.push(index),
                Meaning::Field(field) => {
                    fields.entry(*field).or_insert(index);
                }
                Meaning::Number
                | Meaning::International
                | Meaning::NumberPerhaps
                | Meaning::Country
                | Meaning::Other => {}
            }
        }
        // The message does not repeat the header: in a file without a header it would be the first contact.
        if numbers.is_empty() {
            return Err(ImportError::NoNumberColumn);
        }
        let column = |index: usize| Column {
            index,
            header: (header.get(index)).map_or_else(String::new, |cell| cell.trim().to_owned()),
            international: meanings.get(index) == Some(&Meaning::International),
        };
        // The area code is also kept as an attribute, because people use it.
        let is_field = |n: &usize| {
            fields
                .iter()
                .any(|(field, place)| place == n && *field != Field::AreaCode)
        };
        let used = |n: &usize| is_field(n) || numbers.contains(n) || ignored.contains(n);
        let attributes = attributes((0..header.len()).filter(|n| !used(n)).map(column))?;
        Ok(Self {
            numbers: numbers.into_iter().map(column).collect(),
            countries: countries.into_iter().map(column).collect(),
            fields: fields
                .into_iter()
                .map(|(field, index)| (field, column(index)))
                .collect(),
            attributes,
            ignored: ignored.into_iter().map(column).collect(),
            width: header.len(),
        })
    }

    /// True if a column must be blank, because it has no name and no stated meaning.
    pub(super) fn is_nameless(&self, index: usize) -> bool {
        let known = self
            .fields
            .values()
            .chain(&self.numbers)
            .chain(&self.countries)
            .chain(&self.attributes)
            .chain(&self.ignored);
        !known.into_iter().any(|column| column.index == index)
    }

    /// The column of a field.
    pub fn field(&self, field: Field) -> Option<&Column> {
        self.fields.get(&field)
    }

    /// One line for the user: `number from "Phone", attributes from "City"`.
    pub fn describe(&self) -> String {
        let quoted = |c: &Column| {
            if c.header.is_empty() {
                format!("column {}", c.index + 1)
            } else {
                let international = if c.international { " (international)" } else { "" };
                format!("`{}`{international}", c.header)
            }
        };
        let all = |columns: &[Column]| columns.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let mut parts = vec![format!("number from {}", all(&self.numbers))];
        if self.numbers.len() > 1 {
            parts = vec![format!(
                "numbers, the first allowed one is dialed, from {}",
                all(&self.numbers)
            )];
        }
        if !self.countries.is_empty() {
            parts.push(format!("country from {}", all(&self.countries)));
        }
        for (field, column) in &self.fields {
            parts.push(format!(
                "{} from {}",
                field.as_str().replace('_', " "),
                quoted(column)
            ));
        }
        if !self.attributes.is_empty() {
            parts.push(format!("attributes from {}", all(&self.attributes)));
        }
        if !self.ignored.is_empty() {
            parts.push(format!("left out: {}", all(&self.ignored)));
        }
        parts.join("; ")
    }
}

/// The columns that are kept as attributes. Their names are stored with each contact, so no two may be equal. Columns
/// without a name are left out.
fn attributes(columns: impl Iterator<Item = Column>) -> Result<Vec<Column>, ImportError> {
    let mut attributes: Vec<Column> = Vec::new();
    for column in columns.filter(|column| !column.header.is_empty()) {
        if attributes.iter().any(|a| a.header == column.header) {
            return Err(ImportError::TwoColumnsOfOneName {
                place: column.index + 1,
                header: column.header,
            });
        }
        attributes.push(column);
    }
    Ok(attributes)
}

fn check_size(header: &[String]) -> Result<(), ImportError> {
    if header.len() > COLUMNS_MAX {
        return Err(ImportError::TooManyColumns {
            columns: header.len(),
            max: COLUMNS_MAX,
        });
    }
    match header.iter().position(|cell| cell.len() > HEADER_BYTES_MAX) {
        Some(long) => Err(ImportError::HeaderTooLong {
            column: long + 1,
            max: HEADER_BYTES_MAX,
        }),
        None => Ok(()),
    }
}

/// The plain form of a header: `" Télé-Phone (home) *"` becomes `tele_phone`.
pub(super) fn fold(header: &str) -> String {
    let plain = header.split(['(', '（', '[']).next().unwrap_or(header);
    let words = plain
        .split(|c: char| c.is_whitespace() || "-_./:#*'\"：".contains(c))
        .filter(|w| !w.is_empty());
    let folded = words.collect::<Vec<_>>().join("_").to_lowercase();
    let folded: String = folded.chars().map(without_accent).collect();
    // `Phone 1` means the same as `Phone`.
    folded.strip_suffix("_1").map(str::to_owned).unwrap_or(folded)
}

/// The letter without its accent: `é` becomes `e`.
pub(super) fn without_accent(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
        'ç' | 'ć' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ę' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ı' => 'i',
        'ñ' | 'ń' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ł' => 'l',
        'ş' | 'ś' => 's',
        'ğ' => 'g',
        'º' | '°' => 'o',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(header: &str, said: &[&str]) -> Result<Columns, ImportError> {
        let cells: Vec<_> = header.split(',').map(str::to_owned).collect();
        let mut mapping = Mapping::default();
        for said in said {
            mapping.add(said).unwrap();
        }
        Columns::guess(&cells, &mapping)
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
                "numbers, the first allowed one is dialed, from `mobile`, `phone`; time zone from `TZ`",
            ),
            ("姓名,手机号码", "number from `手机号码`; name from `姓名`"),
            (
                "phone_type,Tel.",
                "number from `Tel.`; attributes from `phone_type`",
            ),
            (
                "Kunde,Rufnummer,Ort",
                "number from `Rufnummer`; name from `Kunde`; attributes from `Ort`",
            ),
            ("Nombre,Teléfono", "number from `Teléfono`; name from `Nombre`"),
            (
                "Nom,Numéro de téléphone",
                "number from `Numéro de téléphone`; name from `Nom`",
            ),
            (
                "ФИО,Номер телефона",
                "number from `Номер телефона`; name from `ФИО`",
            ),
            (
                "Phone (mobile) *,Phone 2",
                "numbers, the first allowed one is dialed, from `Phone (mobile) *`, `Phone 2`",
            ),
            (
                "Office Phone,Mobile,Home Phone,Fax,Phone Type,No. of phones",
                "numbers, the first allowed one is dialed, from `Office Phone`, `Mobile`, `Home Phone`; attributes from `Fax`, \
                 `Phone Type`, `No. of phones`",
            ),
            (
                "Number,Telefon privat",
                "number from `Telefon privat`; attributes from `Number`",
            ),
            (
                "MSISDN,Name",
                "number from `MSISDN` (international); name from `Name`",
            ),
            (
                "phone_code,phone_number",
                "number from `phone_number`; country from `phone_code`; attributes from `phone_code`",
            ),
            (
                "国家代码,手机",
                "number from `手机`; country from `国家代码`; attributes from `国家代码`",
            ),
            (
                "Vorwahl,Rufnummer,Vorwahl Land",
                "number from `Rufnummer`; country from `Vorwahl Land`; area code from `Vorwahl`; attributes from `Vorwahl`, \
                 `Vorwahl Land`",
            ),
            (
                "Contact ID,Phone,Tags,Priority,Sprache,State,PLZ,Consent,Consent date,Customer No,ID",
                "number from `Phone`; external id from `Contact ID`; tags from `Tags`; tier from `Priority`; language from `Sprache`; \
                 state from `State`; postal code from `PLZ`; consent from `Consent`; consent granted at from `Consent date`; \
                 attributes from `Customer No`, `ID`",
            ),
            (
                "客户姓名,手机号码,标签,客户等级,省份,邮编",
                "number from `手机号码`; name from `客户姓名`; tags from `标签`; tier from `客户等级`; state from `省份`; postal code \
                 from `邮编`",
            ),
            ("氏名,電話番号", "number from `電話番号`; name from `氏名`"),
        ] {
            assert_eq!(guess(header, &[]).unwrap().describe(), means, "{header}");
        }
    }

    #[test]
    fn an_explicit_column_mapping_wins() {
        assert_eq!(
            guess("phone,fax,zip", &["number=fax", "ignore=#3"])
                .unwrap()
                .describe(),
            "number from `fax`; attributes from `phone`; left out: `zip`"
        );
        assert_eq!(
            guess("a,b", &["number=#2", "name=A"]).unwrap().describe(),
            "number from `b`; name from `a`"
        );
        assert_eq!(
            guess(
                "Home Phone,Office Phone,Mobile,x",
                &["number=Mobile,Office Phone", "country=x"]
            )
            .unwrap()
            .describe(),
            "numbers, the first allowed one is dialed, from `Mobile`, `Office Phone`; country from `x`; attributes from `Home Phone`, `x`"
        );
        assert_eq!(
            guess("Country,Phone", &["ignore=Country"]).unwrap().describe(),
            "number from `Phone`; left out: `Country`"
        );
        assert!(matches!(
            guess("a,b", &["number=c"]),
            Err(ImportError::NoSuchColumn { .. })
        ));
        let external = guess("phone,Kundennummer", &["external_id=Kundennummer"]).unwrap();
        assert_eq!(
            external.describe(),
            "number from `phone`; external id from `Kundennummer`"
        );
        assert!(Mapping::default().add("colour=x").is_err());
    }

    #[test]
    fn a_header_that_would_lose_something_is_refused() {
        assert!(matches!(guess("city,age", &[]), Err(ImportError::NoNumberColumn)));
        assert!(guess("number,,x", &[]).unwrap().is_nameless(1));
        assert!(matches!(
            guess("number,x,x", &[]),
            Err(ImportError::TwoColumnsOfOneName { place: 3, .. })
        ));
        assert!(matches!(
            guess(&format!("number,{}", "x".repeat(1001)), &[]),
            Err(ImportError::HeaderTooLong { column: 2, .. })
        ));
        let many = format!("number{}", ",x".repeat(200));
        assert!(matches!(
            guess(&many, &[]),
            Err(ImportError::TooManyColumns { columns: 201, .. })
        ));
    }
}
